//! Clients at Auth0, through its Management API.

use dcr_gateway::{
    idp::{
        registration::{Access, Config, Dialect, Error, Registrar, Request, Rotation, Trace},
        vendor::Vendor as Preset,
    },
    model::credential::{ClientId, Secret},
};
use serde_json::{Value, json};

use super::{Twist, config, initial_client, provider, registrar, request};
use crate::{
    harness::{
        http1::{Answer, Manner},
        idp::Endpoint,
        now,
    },
    vendors::{
        auth0::{API, Auth0, SCOPES, management},
        emulation::{Deed, Emulation, Vendor},
        faithful::{Said, ask},
    },
};

const ADMIN_SECRET: &str = "initial-Client_s3cret/of+Auth0";
const REGISTRATION: Endpoint = Endpoint::Registration;

/// A tenant, and whoever registers there.
struct Site {
    idp: Emulation<Auth0>,
    registrar: Registrar,
}

impl Site {
    async fn start() -> Self {
        Self::with(&SCOPES, |_| {}).await
    }

    /// With an initial client of these scopes, and changes.
    async fn with(scopes: &[&str], change: impl FnOnce(&mut Config)) -> Self {
        let idp: Emulation<Auth0> = Emulation::start().await;
        let admin = idp.turn(|account, auth0| auth0.administrator(account, ADMIN_SECRET, scopes));
        let mut config = config(Dialect::Auth0, initial_client(&admin, ADMIN_SECRET));
        change(&mut config);
        // Without the final slash, as Konnect asks for it.
        let registrar = registrar(provider(Preset::Auth0, &idp.base), config);
        Self { idp, registrar }
    }

    /// Asks for a token as the gateway does.
    async fn token(&self, id: &ClientId, secret: &Secret) -> Said {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", id.as_str()),
            ("client_secret", secret.expose()),
            ("audience", API),
        ];
        let url = format!("{}/oauth/token", self.idp.base);
        ask(reqwest::Method::POST, &url, &form, None).await
    }

    /// Clients and grants at Auth0 that are not the operator's own.
    fn left(&self) -> (usize, usize) {
        self.idp.turn(|_, auth0| {
            let management = &auth0.management;
            (management.clients.len(), management.grants.len() - 1)
        })
    }

    fn asked(&self) -> Vec<String> {
        let requests = self.idp.requests(REGISTRATION);
        let line = |r: &crate::harness::http1::Request| format!("{} {}", r.method, r.path());
        requests.iter().map(line).collect()
    }
}

fn application() -> Request {
    Request {
        scopes: vec![Auth0::READ.to_owned()],
        audience: Some(API.to_owned()),
        ..request("Trip <Planner>")
    }
}

#[tokio::test]
async fn a_client_lives_from_registration_to_deletion() {
    let site = Site::start().await;
    let mut asked = application();
    asked.description = "ä".repeat(200);
    asked.developer = "d".repeat(300);
    let made = site.registrar.create(&asked).await.unwrap();
    assert_eq!(made.scopes, Some(vec![Auth0::READ.to_owned()]));
    assert_eq!((&made.issued.id, made.issued.expires_at), (&None, None));
    let (id, secret) = (&made.client_id, &made.issued.secret);
    assert_eq!(site.token(id, secret).await.status, 200, "good at once");

    let body = &site.idp.requests(REGISTRATION)[0].body;
    let body: Value = serde_json::from_slice(body).unwrap();
    let metadata = &body["client_metadata"];
    assert_eq!(
        metadata["dcr_gateway_application_id"],
        asked.application.to_string()
    );
    assert_eq!(metadata["dcr_gateway_developer"], "d".repeat(255));
    assert_eq!(metadata["dcr_gateway_strategy"], "partners");
    assert_eq!(body["name"], "Trip  Planner");
    assert_eq!(body["app_type"], "non_interactive");
    assert_eq!(body["token_endpoint_auth_method"], "client_secret_post");
    assert_eq!(body["grant_types"], json!(["client_credentials"]));

    let told = site.registrar.read(id, &made.management).await.unwrap();
    assert_eq!(told.metadata["client_id"], id.as_str());
    assert!(!told.metadata.contains_key("signing_keys"), "{told:?}");

    asked.name = "Voyager".to_owned();
    asked.scopes.push(Auth0::WRITE.to_owned());
    let told = site.registrar.update(id, &made.management, &asked);
    let told = told.await.unwrap();
    assert_eq!(told.metadata["name"], "Voyager");
    assert_eq!(told.management, None, "the grant is the same");
    let scopes = site.idp.client(id.as_str(), |client| client.scopes.clone());
    assert_eq!(scopes, [Auth0::READ, Auth0::WRITE]);
    assert_eq!(site.token(id, secret).await.status, 200, "untouched");

    assert_eq!(site.registrar.rotation(), Rotation::InPlace);
    let rotated = site.registrar.rotate(id, &made.management, &asked);
    let rotated = rotated.await.unwrap();
    assert_eq!(&rotated.client_id, id);
    assert_eq!(site.token(id, secret).await.status, 401);
    let newer = &rotated.issued.secret;
    assert_eq!(site.token(id, newer).await.status, 200);

    site.registrar
        .delete(id, &rotated.management)
        .await
        .unwrap();
    assert_eq!(site.left(), (0, 0));
    assert_eq!(site.token(id, newer).await.status, 401);
    site.registrar
        .delete(id, &rotated.management)
        .await
        .unwrap();
    for gone in [
        site.registrar.read(id, &made.management).await.map(drop),
        site.registrar
            .update(id, &made.management, &asked)
            .await
            .map(drop),
        site.registrar
            .rotate(id, &made.management, &asked)
            .await
            .map(drop),
        site.registrar.adopt(id).await.map(drop),
    ] {
        assert!(matches!(gone, Err(Error::Gone)), "{gone:?}");
    }
    let second = site.registrar.add_secret(id, &made.management).await;
    assert!(matches!(second, Err(Error::Impossible(_))), "{second:?}");
    assert_eq!(
        site.idp.hits(Endpoint::Token),
        6,
        "one management token for all"
    );
}

#[tokio::test]
async fn no_audience_is_a_refusal_with_its_cure_before_anything_is_made() {
    let site = Site::start().await;
    let error = site.registrar.create(&request("x")).await.unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error:?}");
    assert!(
        error.to_string().contains("token_request.audience"),
        "{error}"
    );
    assert_eq!(site.idp.hits(REGISTRATION), 0);
}

/// On a custom domain the audience of the Management API is still the tenant's own.
#[tokio::test]
async fn a_custom_domain_needs_the_audience_told() {
    let idp: Emulation<Auth0> = Emulation::start().await;
    let admin = idp.turn(|account, auth0| auth0.administrator(account, ADMIN_SECRET, &SCOPES));
    let custom = idp.base.replace("127.0.0.1", "localhost");
    for told in [false, true] {
        let mut access = initial_client(&admin, ADMIN_SECRET);
        if let Access::InitialClient { audience, .. } = &mut access
            && told
        {
            *audience = Some(format!("{}/api/v2/", idp.base));
        }
        let custom = provider(Preset::Auth0, &format!("{custom}/"));
        let registrar = registrar(custom, config(Dialect::Auth0, access));
        let made = registrar.create(&application()).await;
        match (told, made) {
            (true, Ok(_)) => {}
            (false, Err(error @ Error::Access(_))) => {
                assert!(error.to_string().contains("audience"), "{error}");
            }
            (_, other) => panic!("{other:?}"),
        }
    }
}

/// What the operator configured goes along, and does not hide whose client it is.
#[tokio::test]
async fn configured_metadata_goes_along() {
    let site = Site::with(&SCOPES, |config| {
        let own = json!({
            "logo_uri": "https://acme.example/logo.png", "name": "mine",
            "client_metadata": {"team": "blue", "dcr_gateway_application_id": "another"},
        });
        config.client_metadata = own.as_object().unwrap().clone();
    })
    .await;
    let asked = application();
    site.registrar.create(&asked).await.unwrap();
    site.idp.turn(|_, auth0| {
        let found = auth0
            .management
            .of_application(&asked.application.to_string());
        assert_eq!(found.len(), 1);
        assert_eq!(found[0]["name"], "Trip  Planner");
        assert_eq!(found[0]["client_metadata"]["team"], "blue");
        assert_eq!(found[0]["logo_uri"], "https://acme.example/logo.png");
    });
}

#[tokio::test]
async fn an_endpoint_of_its_own_and_a_ready_token_are_used() {
    let idp: Emulation<Auth0> = Emulation::start().await;
    let admin = idp.turn(|account, auth0| auth0.administrator(account, ADMIN_SECRET, &SCOPES));
    let own = format!("{}/api/v2/", idp.base);
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &*admin),
        ("client_secret", ADMIN_SECRET),
        ("audience", &*own),
    ];
    let url = format!("{}/oauth/token", idp.base);
    let said = ask(reqwest::Method::POST, &url, &form, None).await;
    let token = Secret::new(said.text("access_token"));
    let mut config = config(Dialect::Auth0, Access::InitialAccessToken(token));
    config.endpoint = Some(own.parse().unwrap());
    let registrar = registrar(provider(Preset::Auth0, &idp.base), config);
    registrar.create(&application()).await.unwrap();
    assert_eq!(idp.hits(Endpoint::Token), 1);
}

/// The client that has no grant can do nothing, and is removed.
#[tokio::test]
async fn a_failing_grant_removes_the_client() {
    let site = Site::start().await;
    let broken = Answer::new(500, "").manner(Manner::HangUp);
    for (deed, answer) in [
        (Deed::Undone, Answer::new(503, "")),
        (Deed::Undone, broken.clone()),
        (Deed::Done, broken),
        (Deed::Done, Answer::new(201, "<html>")),
    ] {
        site.idp
            .slip(REGISTRATION, ("POST", "/client-grants"), deed, answer);
        let error = site.registrar.create(&application()).await.unwrap_err();
        assert!(
            matches!(error, Error::Unavailable(_) | Error::Untouched(_)),
            "{error:?}"
        );
        assert_eq!(site.left(), (0, 0));
    }
    let mut elsewhere = application();
    elsewhere.audience = Some("https://other.example/".to_owned());
    let mut wide = application();
    wide.scopes.push("delete:everything".to_owned());
    for (asked, cure) in [(elsewhere, "identifier of an API"), (wide, "every scope")] {
        let error = site.registrar.create(&asked).await.unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{error:?}");
        assert!(error.to_string().contains(cure), "{error}");
        assert_eq!(site.left(), (0, 0));
    }
}

#[tokio::test]
async fn what_cannot_be_removed_is_left_behind_and_removed_later() {
    let site = Site::start().await;
    let refusal = management::error(403, "Forbidden", "Locked", Some("operation_not_supported"));
    site.idp.slip(
        REGISTRATION,
        ("POST", "/client-grants"),
        Deed::Undone,
        refusal.clone(),
    );
    site.idp
        .slip(REGISTRATION, ("DELETE", "/clients/"), Deed::Undone, refusal);
    let error = site.registrar.create(&application()).await.unwrap_err();
    assert!(error.to_string().contains("Locked"), "{error}");
    let Error::LeftBehind {
        client_id,
        management,
        ..
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(site.left(), (1, 0));
    site.registrar
        .delete(&client_id, &management)
        .await
        .unwrap();
    assert_eq!(site.left(), (0, 0));
}

#[tokio::test]
async fn a_client_that_cannot_be_used_is_removed() {
    let site = Site::start().await;
    let clients: [(Twist, &str); 3] = [
        (
            |made| made["token_endpoint_auth_method"] = json!("none"),
            "public",
        ),
        (
            |made| made["grant_types"] = json!(["client_credentials", "implicit"]),
            "implicit",
        ),
        (|made| made["grant_types"] = json!([]), "client_credentials"),
    ];
    for (made, why) in clients {
        site.idp.turn(|_, auth0| auth0.management.made = Some(made));
        let error = site.registrar.create(&application()).await.unwrap_err();
        assert!(matches!(error, Error::Unusable(_)), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(site.left(), (0, 0), "{why}");
    }
    site.idp.turn(|_, auth0| auth0.management.made = None);
    let grants: [(Twist, &str); 2] = [
        (
            |grant| grant["scope"] = json!([Auth0::READ, Auth0::WRITE]),
            Auth0::WRITE,
        ),
        (
            |grant| grant["allow_all_scopes"] = json!(true),
            "all scopes",
        ),
    ];
    for (granted, why) in grants {
        site.idp
            .turn(|_, auth0| auth0.management.granted = Some(granted));
        let error = site.registrar.create(&application()).await.unwrap_err();
        assert!(matches!(error, Error::Unusable(_)), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(site.left(), (0, 0), "{why}");
    }
}

/// A limit is waited out at every step, as is a client that is not known everywhere yet.
#[tokio::test]
async fn limits_and_replication_are_waited_out() {
    let site = Site::start().await;
    site.idp.turn(|_, auth0| auth0.management.lag = 2);
    for path in ["/clients", "/client-grants"] {
        let limit = management::too_many(now() + 1);
        site.idp
            .slip(REGISTRATION, ("POST", path), Deed::Undone, limit);
    }
    let made = site.registrar.create(&application()).await.unwrap();
    let said = site.token(&made.client_id, &made.issued.secret).await;
    assert_eq!(said.status, 200);
    assert_eq!(
        site.asked(),
        [
            "POST /api/v2/clients",
            "POST /api/v2/clients",
            "POST /api/v2/client-grants",
            "POST /api/v2/client-grants",
            "POST /api/v2/client-grants",
            "POST /api/v2/client-grants",
        ]
    );
}

#[tokio::test]
async fn a_limit_beyond_the_deadline_is_told_at_once() {
    let site = Site::with(&SCOPES, |config| {
        config.deadline = std::time::Duration::from_secs(20);
    })
    .await;
    let limit = management::too_many(now() + 200);
    site.idp
        .slip(REGISTRATION, ("POST", "/clients"), Deed::Undone, limit);
    let error = site.registrar.create(&application()).await.unwrap_err();
    assert!(matches!(error, Error::Untouched(_)), "{error:?}");
    assert_eq!(site.left(), (0, 0));
}

/// A new secret that Auth0 does not know everywhere yet: the old one is good so long.
#[tokio::test]
async fn a_rotation_may_overlap() {
    let site = Site::start().await;
    let asked = application();
    let made = site.registrar.create(&asked).await.unwrap();
    site.idp.turn(|_, auth0| auth0.management.late = 1);
    let rotated = site
        .registrar
        .rotate(&made.client_id, &made.management, &asked);
    let newer = rotated.await.unwrap().issued.secret;
    assert_eq!(site.token(&made.client_id, &newer).await.status, 401);
    assert_eq!(site.token(&made.client_id, &newer).await.status, 200);
}

/// A rotation whose answer is lost is done again: the last secret is the good one.
#[tokio::test]
async fn a_rotation_whose_answer_is_lost_is_done_again() {
    let site = Site::start().await;
    let asked = application();
    let made = site.registrar.create(&asked).await.unwrap();
    let lost = Answer::new(500, "").manner(Manner::HangUp);
    site.idp
        .slip(REGISTRATION, ("POST", "/rotate-secret"), Deed::Done, lost);
    let rotated = site
        .registrar
        .rotate(&made.client_id, &made.management, &asked);
    let newer = rotated.await.unwrap().issued.secret;
    assert_eq!(site.token(&made.client_id, &newer).await.status, 200);
    assert_eq!(
        site.token(&made.client_id, &made.issued.secret)
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn what_an_interrupted_registration_left_is_found() {
    let site = Site::start().await;
    let asked = application();
    let trace = site.registrar.trace(&asked).await.unwrap();
    assert!(matches!(trace, Trace::Nothing), "{trace:?}");
    // Somebody else's clients, two pages of them.
    site.idp.turn(|_, auth0| {
        for n in 0..150 {
            let other = json!({"client_id": format!("other{n}"), "name": "x"});
            auth0.management.clients.push(other);
        }
    });
    let lost = Answer::new(500, "").manner(Manner::HangUp);
    site.idp
        .slip(REGISTRATION, ("POST", "/clients"), Deed::Done, lost);
    let error = site.registrar.create(&asked).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert_eq!(site.left().0, 151, "the client was made");
    let Trace::Found(found) = site.registrar.trace(&asked).await.unwrap() else {
        panic!("not found");
    };
    assert_eq!(found.len(), 1);
    site.registrar
        .delete(&found[0].0, &found[0].1)
        .await
        .unwrap();
    assert_eq!(site.left().0, 150);
    let trace = site.registrar.trace(&application()).await.unwrap();
    assert!(matches!(trace, Trace::Nothing), "{trace:?}");
}

#[tokio::test]
async fn a_client_made_elsewhere_is_adopted() {
    let site = Site::start().await;
    let asked = application();
    let made = site.registrar.create(&asked).await.unwrap();
    let management = site.registrar.adopt(&made.client_id).await.unwrap();
    assert_eq!(management, made.management, "its grant is found again");
    site.idp
        .turn(|_, auth0| auth0.management.clients[0]["grant_types"] = json!(["implicit"]));
    let refused = site.registrar.adopt(&made.client_id).await;
    assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
}

/// A grant that somebody has taken away, or that is for another API now, is made again.
#[tokio::test]
async fn an_update_sees_to_the_grant() {
    let site = Site::start().await;
    let asked = application();
    let made = site.registrar.create(&asked).await.unwrap();
    let id = &made.client_id;
    site.idp.turn(|account, auth0| {
        auth0.management.grants.pop();
        account.clients.get_mut(id.as_str()).unwrap().granted = false;
    });
    assert_eq!(site.token(id, &made.issued.secret).await.status, 403);
    let told = site
        .registrar
        .update(id, &made.management, &asked)
        .await
        .unwrap();
    assert!(told.management.is_some(), "another grant");
    assert_eq!(site.token(id, &made.issued.secret).await.status, 200);
    // Found by its client and API where its id is not known.
    let nothing = dcr_gateway::idp::registration::Management(Secret::new("{}"));
    let again = site.registrar.update(id, &nothing, &asked).await.unwrap();
    assert_eq!(again.management, told.management);
    assert_eq!(site.left(), (1, 1));
}

/// Each refusal is told in words that help, and none repeats a secret.
#[tokio::test]
async fn refusals_say_what_helps() {
    let site = Site::with(&["read:clients"], |_| {}).await;
    let error = site.registrar.create(&application()).await.unwrap_err();
    let told = error.to_string();
    assert!(matches!(error, Error::Access(_)), "{error:?}");
    assert!(
        told.contains("create:clients") && told.contains("update:client_keys"),
        "{told}"
    );

    let idp: Emulation<Auth0> = Emulation::start().await;
    let wrong = config(Dialect::Auth0, initial_client("nobody", ADMIN_SECRET));
    let wrong = registrar(provider(Preset::Auth0, &idp.base), wrong);
    let error = wrong.create(&application()).await.unwrap_err();
    assert!(matches!(error, Error::Access(_)), "{error:?}");

    let stale = Access::InitialAccessToken(Secret::new("stale-token-8841"));
    let stale = registrar(
        provider(Preset::Auth0, &idp.base),
        config(Dialect::Auth0, stale),
    );
    let error = stale.create(&application()).await.unwrap_err();
    assert!(matches!(error, Error::Access(_)), "{error:?}");
    assert!(error.to_string().contains("Invalid token"), "{error}");

    let site = Site::start().await;
    for (answer, words) in [
        (
            management::error(
                400,
                "Bad Request",
                "Payload validation error: 'x'",
                Some("invalid_body"),
            ),
            "invalid_body: Payload validation error",
        ),
        (
            management::error(
                403,
                "Forbidden",
                "You have reached your limit of clients",
                Some("too_many_entities"),
            ),
            "limit of clients",
        ),
        (
            management::error(400, "Bad Request", &format!("not {ADMIN_SECRET}"), None),
            "words that repeat a secret",
        ),
        (Answer::new(418, "<html>"), "status 418"),
    ] {
        site.idp
            .slip(REGISTRATION, ("POST", "/clients"), Deed::Undone, answer);
        let error = site.registrar.create(&application()).await.unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
        let shown = format!("{error} {error:?} {:?}", site.registrar);
        assert!(!shown.contains(ADMIN_SECRET), "{shown}");
    }
}

#[tokio::test]
async fn nothing_shows_a_secret() {
    let site = Site::start().await;
    let made = site.registrar.create(&application()).await.unwrap();
    let shown = format!("{made:?} {:?}", site.registrar);
    assert!(!shown.contains(made.issued.secret.expose()), "{shown}");
    assert!(!shown.contains(ADMIN_SECRET), "{shown}");
    assert!(!shown.contains("cgr_"), "{shown}");
}
