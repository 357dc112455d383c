//! Clients at WSO2 Identity Server, by https and its own certificate.

use std::time::Duration;

use dcr_gateway::{
    idp::{
        registration::{Access, Config, Dialect, Error, Registered, Registrar, Rotation, Trace},
        vendor::Vendor as Kind,
    },
    model::credential::{ClientId, Secret},
};
use reqwest::Method;
use serde_json::{Value, json};

use super::{config, initial_client, provider, registrar, request};
use crate::{
    harness::{
        http1::{Answer, Manner},
        idp::Endpoint,
    },
    vendors::{
        emulation::{Deed, Emulation, Vendor as _},
        faithful::ask,
        wso2::{Wso2, management::ADMINISTRATOR},
    },
};

type Server = Emulation<Wso2>;

/// A server, and a registrar with an administrator's name and password.
async fn server() -> (Server, Registrar) {
    let idp = Server::start().await;
    let registrar = speaks(&idp, |_| {});
    (idp, registrar)
}

/// Speaks to a server as its administrator, with changes.
fn speaks(idp: &Server, change: impl FnOnce(&mut Config)) -> Registrar {
    let (issuer, ca) = idp.turn(|account, server| (server.issuer(), account.certificate.clone()));
    let access = initial_client(ADMINISTRATOR.0, ADMINISTRATOR.1);
    let mut config = config(Dialect::Wso2, access);
    change(&mut config);
    let mut provider = provider(Kind::Wso2, &issuer);
    provider.ca = ca.map(String::into_bytes);
    registrar(provider, config)
}

/// Access by a token with some scopes of DCR, after `internal_dcr_`.
fn token(idp: &Server, scopes: &[&str]) -> Access {
    let scopes = scopes.iter().map(|scope| format!("internal_dcr_{scope}"));
    let token = "dcr-token-5b1c9e";
    idp.turn(|_, server| {
        let entry = ("admin".to_owned(), scopes.collect());
        server.management.tokens.insert(token.to_owned(), entry);
    });
    Access::InitialAccessToken(Secret::new(token))
}

const ALL: [&str; 4] = ["create", "view", "update", "delete"];

/// The status with which the server answers a client that asks for a token, and the token.
async fn asks(idp: &Server, client_id: &ClientId, secret: &Secret) -> (u16, String) {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", client_id.as_str()),
        ("client_secret", secret.expose()),
    ];
    let url = idp.turn(|_, server| server.issuer());
    let said = ask(Method::POST, &url, &form, None).await;
    (said.status, said.text("access_token").to_owned())
}

/// How many clients there are.
fn clients(idp: &Server) -> usize {
    idp.turn(|_, server| server.management.applications.len())
}

/// What was asked of the management APIs, in order: method and the rest of the path.
fn steps(idp: &Server) -> Vec<String> {
    let asked = idp.requests(Endpoint::Registration);
    asked
        .iter()
        .map(|request| format!("{} {}", request.method, request.path()))
        .collect()
}

#[tokio::test]
async fn a_clients_whole_life() {
    for tenant in [None, Some("acme.example")] {
        let idp = Server::start().await;
        idp.turn(|_, server| server.tenant = tenant);
        let registrar = speaks(&idp, |_| {});
        assert_eq!(registrar.rotation(), Rotation::InPlace);
        assert!(!registrar.has_several_secrets());
        let mut asked = request("Trip Planner");
        let made = registrar.create(&asked).await.unwrap();
        let Registered {
            client_id,
            issued,
            management,
            ..
        } = made;
        assert_eq!((issued.expires_at, &issued.id), (None, &None));
        let (status, token) = asks(&idp, &client_id, &issued.secret).await;
        assert_eq!((status, token.split('.').count()), (200, 3), "a JWT");
        let prefix = tenant.map_or(String::new(), |name| format!("/t/{name}"));
        let register = format!("{prefix}/api/identity/oauth2/dcr/v1.1/register");
        assert_eq!(steps(&idp), [format!("POST {register}")]);
        let sent = &idp.requests(Endpoint::Registration)[0];
        let body: Value = serde_json::from_slice(&sent.body).unwrap();
        let name = format!("Trip Planner {}", asked.application);
        assert_eq!(
            body,
            json!({
                "client_name": name, "grant_types": ["client_credentials"], "redirect_uris": [],
                "ext_token_type": "JWT", "token_endpoint_auth_method": "client_secret_post",
            })
        );

        let told = registrar
            .read(&client_id, &management)
            .await
            .unwrap()
            .metadata;
        assert_eq!(told["client_name"], name);
        assert!(!told.contains_key("client_secret"), "{told:?}");

        asked.name = "Reise-Planer/2".to_owned();
        let told = registrar
            .update(&client_id, &management, &asked)
            .await
            .unwrap();
        assert_eq!(
            told.metadata["client_name"],
            format!("Reise-Planer-2 {}", asked.application)
        );
        assert!(!told.metadata.contains_key("client_secret"));
        assert!(told.issued.is_none() && told.management.is_none());
        assert_eq!(
            asks(&idp, &client_id, &issued.secret).await.0,
            200,
            "its secret is untouched"
        );

        let rotated = registrar
            .rotate(&client_id, &management, &asked)
            .await
            .unwrap();
        assert_eq!(rotated.client_id, client_id);
        assert_eq!(asks(&idp, &client_id, &issued.secret).await.0, 401);
        assert_eq!(asks(&idp, &client_id, &rotated.issued.secret).await.0, 200);
        let applications = format!("GET {prefix}/api/server/v1/applications");
        assert!(steps(&idp).contains(&applications), "{:?}", steps(&idp));

        for result in [
            registrar
                .add_secret(&client_id, &management)
                .await
                .map(drop),
            registrar.secrets(&client_id, &management).await.map(drop),
            registrar
                .remove_secret(&client_id, &management, "x")
                .await
                .map(drop),
        ] {
            assert!(matches!(result, Err(Error::Impossible(_))), "{result:?}");
        }
        for _ in 0..2 {
            registrar
                .delete(&client_id, &rotated.management)
                .await
                .unwrap();
            assert_eq!(clients(&idp), 0);
        }
        for result in [
            registrar.read(&client_id, &management).await.map(drop),
            registrar
                .update(&client_id, &management, &asked)
                .await
                .map(drop),
            registrar
                .rotate(&client_id, &management, &asked)
                .await
                .map(drop),
            registrar.adopt(&client_id).await.map(drop),
        ] {
            assert!(matches!(result, Err(Error::Gone)), "{result:?}");
        }
    }
}

/// A token need not open the management API, nor has who registers openly anything to open it
/// with: another client takes the place of the one before, which is there until it is deleted.
#[tokio::test]
async fn without_an_administrator_a_new_client_takes_the_old_ones_place() {
    for open in [true, false] {
        let idp = Server::start().await;
        idp.turn(|_, server| server.management.open = open);
        let access = if open {
            Access::Open
        } else {
            token(&idp, &ALL)
        };
        let registrar = speaks(&idp, |config| config.access = access);
        assert_eq!(registrar.rotation(), Rotation::Replacement);
        let asked = request("Trip Planner");
        let mut now = registrar.create(&asked).await.unwrap();
        for _ in 0..3 {
            let rotated = registrar
                .rotate(&now.client_id, &now.management, &asked)
                .await
                .unwrap();
            assert_ne!(rotated.client_id, now.client_id);
            assert_eq!(asks(&idp, &now.client_id, &now.issued.secret).await.0, 200);
            registrar
                .delete(&now.client_id, &now.management)
                .await
                .unwrap();
            assert_eq!(asks(&idp, &now.client_id, &now.issued.secret).await.0, 401);
            assert_eq!(
                asks(&idp, &rotated.client_id, &rotated.issued.secret)
                    .await
                    .0,
                200
            );
            assert_eq!(clients(&idp), 1);
            registrar
                .update(&rotated.client_id, &rotated.management, &asked)
                .await
                .unwrap();
            now = Registered {
                client_id: rotated.client_id,
                issued: rotated.issued,
                management: rotated.management,
                scopes: None,
            };
        }
    }
}

/// A password or a token that is wrong is told from a client that is not there, in every call
/// that the server answers alike.
#[tokio::test]
async fn a_401_is_told_apart() {
    let (idp, right) = server().await;
    let made = right.create(&request("Trip Planner")).await.unwrap();
    let wrong = |access| speaks(&idp, |config| config.access = access);
    for access in [
        initial_client("admin", "wrong-password"),
        Access::InitialAccessToken(Secret::new("wrong-token")),
        Access::Open,
    ] {
        let wrong = wrong(access);
        let (id, management) = (&made.client_id, &made.management);
        let asked = request("x");
        for result in [
            wrong.create(&asked).await.map(drop),
            wrong.trace(&asked).await.map(drop),
            wrong.read(id, management).await.map(drop),
            wrong.update(id, management, &asked).await.map(drop),
            wrong.rotate(id, management, &asked).await.map(drop),
            wrong.delete(id, management).await,
            wrong.adopt(id).await.map(drop),
        ] {
            let Err(Error::Access(told)) = &result else {
                panic!("{result:?}");
            };
            assert!(told.contains("401") && !told.contains("wrong-"), "{told}");
        }
    }
    assert_eq!(clients(&idp), 1);
    assert!(matches!(
        wrong(Access::ApiKey(Secret::new("x")))
            .create(&request("x"))
            .await,
        Err(Error::Impossible(_))
    ));
}

#[tokio::test]
async fn each_refusal_is_told_with_what_helps() {
    let (idp, registrar) = server().await;
    let refusal =
        json!({"error": "invalid_redirect_uri", "error_description": "Invalid redirect URI: x"});
    for (answer, kind, words) in [
        (Answer::new(401, ""), "access", "name and password"),
        (Answer::new(403, ""), "access", "internal_dcr_create"),
        (
            Answer::json(400, &refusal),
            "refused",
            "Invalid redirect URI: x",
        ),
        (Answer::new(404, ""), "refused", "404"),
        (
            Answer::new(302, "").header("Location", "https://127.0.0.1:1/"),
            "refused",
            "302",
        ),
        (Answer::new(201, "<html>"), "unavailable", "no JSON object"),
        (
            Answer::json(201, &json!({"client_secret": "x"})),
            "unavailable",
            "no client_id",
        ),
        (Answer::new(500, ""), "unavailable", "500"),
    ] {
        idp.slip(
            Endpoint::Registration,
            ("POST", "/register"),
            Deed::Undone,
            answer,
        );
        let error = registrar
            .create(&request("Trip Planner"))
            .await
            .unwrap_err();
        let found = match &error {
            Error::Access(_) => "access",
            Error::Refused(_) => "refused",
            Error::Unavailable(_) | Error::Untouched(_) => "unavailable",
            _ => "?",
        };
        assert_eq!(found, kind, "{words}: {error:?}");
        assert!(error.to_string().contains(words), "{words}: {error}");
    }
    assert_eq!(clients(&idp), 0);
    // A token that may only register.
    let access = token(&idp, &["create"]);
    let narrow = speaks(&idp, |config| config.access = access);
    let made = narrow.create(&request("Trip Planner")).await.unwrap();
    let error = narrow
        .delete(&made.client_id, &made.management)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Access(told) if told.contains("_delete")),
        "{error:?}"
    );
    // One that is another's.
    idp.turn(|_, server| {
        server
            .management
            .users
            .insert("carol".to_owned(), "x".to_owned())
    });
    let carol = speaks(&idp, |config| config.access = initial_client("carol", "x"));
    let error = carol.adopt(&made.client_id).await.unwrap_err();
    assert!(
        matches!(&error, Error::Access(told) if told.contains("another owner's")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_new_secret_needs_the_management_api() {
    let (idp, registrar) = server().await;
    let asked = request("Trip Planner");
    let made = registrar.create(&asked).await.unwrap();
    let list = ("GET", "/applications");
    let secret = ("POST", "/regenerate-secret");
    let other = json!({"clientId": "other", "clientSecret": "x-9f2c1b"});
    for (step, answer, words) in [
        (
            list,
            Answer::new(403, ""),
            "permission to manage applications",
        ),
        (list, Answer::new(200, "x"), "no JSON object"),
        (
            list,
            Answer::json(200, &json!({"applications": [{"id": "a"}, {"id": "b"}]})),
            "one id",
        ),
        (
            secret,
            Answer::new(403, ""),
            "permission to manage applications",
        ),
        (secret, Answer::json(200, &json!({})), "not told"),
        (secret, Answer::json(200, &other), "another client's"),
    ] {
        idp.slip(Endpoint::Registration, step, Deed::Undone, answer);
        let error = registrar
            .rotate(&made.client_id, &made.management, &asked)
            .await
            .unwrap_err();
        assert!(error.to_string().contains(words), "{words}: {error}");
        assert!(!error.to_string().contains("x-9f2c1b"), "{error}");
        assert_eq!(
            asks(&idp, &made.client_id, &made.issued.secret).await.0,
            200
        );
    }
    let elsewhere = speaks(&idp, |config| {
        config.endpoint = Some(format!("{}/register", idp.base).parse().unwrap());
    });
    let result = elsewhere
        .rotate(&made.client_id, &made.management, &asked)
        .await;
    assert!(matches!(result, Err(Error::Impossible(_))), "{result:?}");
}

#[tokio::test]
async fn what_an_interrupted_creation_left_is_found() {
    let (idp, registrar) = server().await;
    let asked = request("Ausflug für zwei!");
    registrar.create(&request("Trip Planner")).await.unwrap();
    assert!(matches!(registrar.trace(&asked).await, Ok(Trace::Nothing)));
    let mut left = Vec::new();
    for _ in 0..2 {
        let lost = Answer::new(201, "").manner(Manner::HangUp);
        idp.slip(
            Endpoint::Registration,
            ("POST", "/register"),
            Deed::Done,
            lost,
        );
        let error = registrar.create(&asked).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        // The second try stops where the first one's client has the name.
        if left.is_empty() {
            let name = format!("Ausflug f-r zwei- {}", asked.application);
            let known = idp.turn(|_, server| {
                let mut all = server.management.applications.iter();
                all.find(|(_, known)| known.name == name)
                    .map(|(id, _)| id.clone())
            });
            left.extend(known);
        }
    }
    assert_eq!(left.len(), 1);
    let Ok(Trace::Found(found)) = registrar.trace(&asked).await else {
        panic!("nothing is found");
    };
    assert_eq!(found[0].0.as_str(), left[0]);
    for (client_id, management) in &found {
        registrar.delete(client_id, management).await.unwrap();
    }
    assert_eq!(clients(&idp), 1, "another's is not touched");
}

/// A name that is taken leaves one more; when both are, it is said.
#[tokio::test]
async fn a_name_that_is_taken_leaves_another() {
    let (idp, registrar) = server().await;
    let asked = request("Trip Planner");
    let first = registrar.create(&asked).await.unwrap();
    let second = registrar.create(&asked).await.unwrap();
    assert_ne!(first.client_id, second.client_id);
    let error = registrar.create(&asked).await.unwrap_err();
    assert!(
        matches!(&error, Error::Refused(told) if told.contains("already exist")),
        "{error:?}"
    );
    let Ok(Trace::Found(found)) = registrar.trace(&asked).await else {
        panic!("nothing is found");
    };
    assert_eq!(found.len(), 2);
    let name = |id: &ClientId| {
        idp.turn(|_, server| server.management.applications[id.as_str()].name.clone())
    };
    let names = [name(&first.client_id), name(&second.client_id)];
    for made in [&first, &second] {
        registrar
            .update(&made.client_id, &made.management, &asked)
            .await
            .unwrap();
    }
    assert_eq!(
        [name(&first.client_id), name(&second.client_id)],
        names,
        "each keeps its own"
    );
}

#[tokio::test]
async fn a_client_that_is_not_what_was_asked_for_is_removed_again() {
    for (over, words) in [
        (json!({"ext_public_client": true}), "public"),
        (json!({"token_endpoint_auth_method": "none"}), "public"),
        (json!({"client_secret": null}), "no client_secret"),
        (json!({"client_secret_expires_at": "946684800"}), "expired"),
        (
            json!({"grant_types": ["refresh_token"]}),
            "client_credentials",
        ),
        (
            json!({"grant_types": ["client_credentials", "password"]}),
            "password",
        ),
        (json!({"scope": "internal_dcr_create"}), "manage clients"),
    ] {
        let (idp, registrar) = server().await;
        idp.turn(|_, server| server.management.over = over.as_object().unwrap().clone());
        let error = registrar
            .create(&request("Trip Planner"))
            .await
            .unwrap_err();
        assert!(
            matches!(&error, Error::Unusable(told) if told.contains(words)),
            "{words}: {error:?}"
        );
        assert_eq!(clients(&idp), 0, "{words}");
    }
    let (idp, registrar) = server().await;
    idp.turn(|_, server| {
        server
            .management
            .over
            .insert("ext_public_client".to_owned(), json!(true))
    });
    idp.slip(
        Endpoint::Registration,
        ("DELETE", "/register/"),
        Deed::Undone,
        Answer::new(403, ""),
    );
    let error = registrar
        .create(&request("Trip Planner"))
        .await
        .unwrap_err();
    let Error::LeftBehind {
        client_id,
        management,
        cause,
    } = error
    else {
        panic!("{error:?}");
    };
    assert!(matches!(*cause, Error::Unusable(_)));
    registrar.delete(&client_id, &management).await.unwrap();
    assert_eq!(clients(&idp), 0);
}

/// A number in the code, a text in one of the descriptions.
#[tokio::test]
async fn the_end_of_a_secret_is_read_either_way() {
    for (told, secs) in [
        (json!(0), None),
        (json!("0"), None),
        (Value::Null, None),
        (json!(4_102_444_800_u64), Some(4_102_444_800)),
        (json!("4102444800"), Some(4_102_444_800)),
    ] {
        let (idp, registrar) = server().await;
        idp.turn(|_, server| server.management.expires_at = told.clone());
        let made = registrar.create(&request("Trip Planner")).await.unwrap();
        let ends = made.issued.expires_at.map(|end| end.secs());
        assert_eq!(ends, secs, "{told}");
    }
}

/// Where it is: as configured, as the metadata says, else beside the token endpoint.
#[tokio::test]
async fn the_endpoint_is_found() {
    let idp = Server::start().await;
    idp.turn(|_, server| server.tenant = Some("acme.example"));
    let register = "/t/acme.example/api/identity/oauth2/dcr/v1.1/register";
    let configured = speaks(&idp, |config| {
        config.endpoint = Some(format!("{}{register}/", idp.base).parse().unwrap());
    });
    let made = configured.create(&request("Trip Planner")).await;
    // What is configured is taken as it stands; ids are put behind it, whatever it ends in.
    let made = made.unwrap();
    configured
        .read(&made.client_id, &made.management)
        .await
        .unwrap();
    let silent = Server::start().await;
    silent.turn(|_, server| {
        server.tenant = Some("acme.example");
        server.tells_registration = false;
    });
    let registrar = speaks(&silent, |_| {});
    registrar.create(&request("Trip Planner")).await.unwrap();
    assert_eq!(steps(&silent), [format!("POST {register}")]);
}

#[tokio::test]
async fn a_server_that_is_busy_is_waited_for_and_no_longer() {
    let (idp, registrar) = server().await;
    let busy = |seconds: u32| Answer::new(429, "").header("Retry-After", &seconds.to_string());
    for method in ["POST", "PUT", "DELETE"] {
        idp.slip(
            Endpoint::Registration,
            (method, "/register"),
            Deed::Undone,
            busy(1),
        );
    }
    let asked = request("Trip Planner");
    let made = registrar.create(&asked).await.unwrap();
    registrar
        .update(&made.client_id, &made.management, &asked)
        .await
        .unwrap();
    registrar
        .delete(&made.client_id, &made.management)
        .await
        .unwrap();
    assert_eq!(clients(&idp), 0);
    let hasty = speaks(&idp, |config| config.deadline = Duration::from_secs(2));
    idp.slip(
        Endpoint::Registration,
        ("POST", "/register"),
        Deed::Undone,
        busy(60),
    );
    let error = hasty.create(&asked).await.unwrap_err();
    assert!(matches!(error, Error::Untouched(_)), "{error:?}");
}

#[tokio::test]
async fn an_application_that_exists_is_adopted() {
    let (idp, registrar) = server().await;
    let made = registrar.create(&request("Made before")).await.unwrap();
    let management = registrar.adopt(&made.client_id).await.unwrap();
    let asked = request("Trip Planner");
    let rotated = registrar
        .rotate(&made.client_id, &management, &asked)
        .await
        .unwrap();
    assert_eq!(
        asks(&idp, &made.client_id, &made.issued.secret).await.0,
        401
    );
    registrar
        .update(&made.client_id, &management, &asked)
        .await
        .unwrap();
    assert_eq!(
        asks(&idp, &made.client_id, &rotated.issued.secret).await.0,
        200
    );
    let name = format!("Trip Planner {}", asked.application);
    let known = idp.turn(|_, server| {
        server.management.applications[made.client_id.as_str()]
            .name
            .clone()
    });
    assert_eq!(known, name);
    let odd = ClientId::new("../gone?x#y").unwrap();
    assert!(matches!(registrar.adopt(&odd).await, Err(Error::Gone)));
}

#[tokio::test]
async fn names_keep_to_the_servers_pattern() {
    let (idp, registrar) = server().await;
    for (name, expected) in [
        ("  two   blanks ", "two blanks "),
        ("a/b@c", "a-b-c "),
        ("旅", "- "),
        ("\u{a0}\t", ""),
        (&*"x".repeat(300), &*format!("{} ", "x".repeat(200))),
    ] {
        let asked = request(name);
        let made = registrar.create(&asked).await.unwrap();
        let known = registrar
            .read(&made.client_id, &made.management)
            .await
            .unwrap();
        let expected = format!("{expected}{}", asked.application);
        assert_eq!(known.metadata["client_name"], expected, "{name:?}");
    }
    assert_eq!(clients(&idp), 5);
}

/// An answer that repeats a secret is not told, and what is kept shows nothing.
#[tokio::test]
async fn no_secret_is_told() {
    let (idp, registrar) = server().await;
    let made = registrar.create(&request("Trip Planner")).await.unwrap();
    let shown = format!("{made:?} {registrar:?}");
    for secret in [made.issued.secret.expose(), ADMINISTRATOR.1] {
        assert!(!shown.contains(secret), "{shown}");
    }
    // Whatever the server calls it.
    let odd = json!({"client_id": "x", "ext_param_client_secret": "s-1", "client_secret": "s-2"});
    let step = ("GET", "/register/");
    idp.slip(
        Endpoint::Registration,
        step,
        Deed::Undone,
        Answer::json(200, &odd),
    );
    let told = registrar
        .read(&made.client_id, &made.management)
        .await
        .unwrap();
    assert_eq!(Value::Object(told.metadata), json!({"client_id": "x"}));
    let text = json!({"error": "x", "error_description": format!("no {} here", ADMINISTRATOR.1)});
    idp.slip(
        Endpoint::Registration,
        ("GET", "/register/"),
        Deed::Undone,
        Answer::json(400, &text),
    );
    let error = registrar
        .read(&made.client_id, &made.management)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("repeat a secret"), "{error}");
}
