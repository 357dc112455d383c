//! Clients at Entra, by Microsoft Graph.

use std::time::Duration;

use dcr_gateway::{
    idp::{
        registration::{
            Access, Config, Dialect, Error, Management, Registered, Registrar, Rotation, Trace,
        },
        vendor::Vendor as Kind,
    },
    model::credential::{ClientId, Secret},
};
use serde_json::{Value, json};

use super::{config, initial_client, provider, registrar, request};
use crate::{
    harness::{
        eventually,
        http1::{Answer, Manner},
        idp::Endpoint,
        now,
    },
    vendors::{
        azure::{
            ADMINISTRATOR, API, Azure,
            graph::{
                ALL, Lag, OWNED_BY,
                answers::{concurrency, problem, throttled},
            },
        },
        emulation::{Deed, Emulation, Vendor as _},
        faithful::ask,
    },
};

type Entra = Emulation<Azure<2>>;

/// A tenant, and a registrar that may do in it what the guide says.
async fn tenant() -> (Entra, Registrar) {
    let idp = Entra::start().await;
    idp.turn(|account, azure| azure.appoint(account, OWNED_BY));
    let registrar = speaks(&idp, |_| {});
    (idp, registrar)
}

/// Speaks to a tenant as its administrator, with changes.
fn speaks<const VERSION: u8>(
    idp: &Emulation<Azure<VERSION>>,
    change: impl FnOnce(&mut Config),
) -> Registrar {
    let issuer = idp.turn(|_, azure| azure.issuer());
    let access = initial_client(ADMINISTRATOR.0, ADMINISTRATOR.1);
    let mut config = config(Dialect::Azure, access);
    config.endpoint = Some(format!("{}/v1.0", idp.base).parse().unwrap());
    change(&mut config);
    registrar(provider(Kind::Azure, &issuer), config)
}

/// The status with which the tenant answers a client that asks for a token.
async fn status(idp: &Entra, client_id: &ClientId, secret: &Secret) -> u16 {
    let tenant = idp.turn(|_, azure| azure.tenant.clone());
    let url = format!("{}/{tenant}/oauth2/v2.0/token", idp.base);
    let scope = format!("{API}/.default");
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", client_id.as_str()),
        ("client_secret", secret.expose()),
        ("scope", &scope),
    ];
    ask(reqwest::Method::POST, &url, &form, None).await.status
}

/// What was asked of Graph, in order: method and path below `/v1.0`, ids left out.
fn steps(idp: &Entra) -> Vec<String> {
    let asked = idp.requests(Endpoint::Registration);
    let step = |path: &str| {
        let path = path.strip_prefix("/v1.0/").unwrap();
        let words = path.split('/').map(|word| match word.len() {
            36 => "ID",
            _ => word.split('(').next().unwrap(),
        });
        words.collect::<Vec<_>>().join("/")
    };
    asked
        .iter()
        .map(|request| format!("{} {}", request.method, step(request.path())))
        .collect()
}

/// Nothing of an application is left, not even what could be restored.
fn is_empty(idp: &Entra) -> bool {
    idp.turn(|account, azure| {
        let graph = &azure.graph;
        let left = [
            graph.applications.len(),
            graph.deleted.len(),
            graph.principals.len(),
        ];
        // The administrator is one.
        left == [0, 0, 0] && account.clients.len() == 1
    })
}

#[tokio::test]
async fn a_clients_whole_life() {
    let (idp, registrar) = tenant().await;
    assert_eq!(registrar.rotation(), Rotation::InPlace);
    assert!(registrar.has_several_secrets());
    let mut asked = request("Trip Planner");
    let made = registrar.create(&asked).await.unwrap();
    let Registered {
        client_id,
        issued,
        management,
        scopes,
    } = made;
    assert_eq!(
        steps(&idp),
        [
            "POST applications",
            "POST servicePrincipals",
            "POST applications/ID/addPassword"
        ]
    );
    assert_eq!(scopes, None);
    let two_years = 730 * 86_400;
    let ends = issued.expires_at.unwrap().secs() - now();
    assert!((two_years - 60..=two_years).contains(&ends), "{ends}");
    assert_eq!(status(&idp, &client_id, &issued.secret).await, 200);

    let told = registrar
        .read(&client_id, &management)
        .await
        .unwrap()
        .metadata;
    assert_eq!(told["displayName"], "Trip Planner");
    assert_eq!(told["description"], "Plans trips");
    assert_eq!(told["signInAudience"], "AzureADMyOrg");
    assert_eq!(told["api"]["requestedAccessTokenVersion"], 2);
    assert_eq!(
        told["tags"],
        json!([format!("dcr-gateway:{}", asked.application)])
    );
    assert!(told["notes"].as_str().unwrap().contains("dana@example.com"));
    assert!(!format!("{told:?}").contains(issued.secret.expose()));

    asked.name = "Trip Planner 2".to_owned();
    asked.description.clear();
    let told = registrar
        .update(&client_id, &management, &asked)
        .await
        .unwrap()
        .metadata;
    assert_eq!(
        (&told["displayName"], &told["description"]),
        (&json!("Trip Planner 2"), &Value::Null)
    );
    idp.turn(|_, azure| {
        let properties = &azure.graph.of(client_id.as_str()).properties;
        assert_eq!(properties["displayName"], "Trip Planner 2");
        assert_eq!(properties["description"], Value::Null);
    });
    assert_eq!(
        status(&idp, &client_id, &issued.secret).await,
        200,
        "its secret is untouched"
    );

    let rotated = registrar
        .rotate(&client_id, &management, &asked)
        .await
        .unwrap();
    assert_eq!(rotated.client_id, client_id);
    assert_eq!(status(&idp, &client_id, &issued.secret).await, 401);
    assert_eq!(status(&idp, &client_id, &rotated.issued.secret).await, 200);

    let (second, management) = registrar
        .add_secret(&client_id, &rotated.management)
        .await
        .unwrap();
    let known = registrar.secrets(&client_id, &management).await.unwrap();
    let ids: Vec<_> = known.iter().map(|known| Some(known.id.clone())).collect();
    assert_eq!(ids, [rotated.issued.id.clone(), second.id.clone()]);
    assert_eq!(known[1].hint.as_deref(), Some(&second.secret.expose()[..3]));
    assert_eq!(known[1].expires_at, second.expires_at);
    assert!(known[1].created_at.is_some());
    for secret in [&rotated.issued.secret, &second.secret] {
        assert_eq!(status(&idp, &client_id, secret).await, 200);
    }
    let id = rotated.issued.id.unwrap();
    let management = registrar
        .remove_secret(&client_id, &management, &id)
        .await
        .unwrap();
    assert_eq!(status(&idp, &client_id, &rotated.issued.secret).await, 401);
    assert_eq!(status(&idp, &client_id, &second.secret).await, 200);
    let last = registrar
        .remove_secret(&client_id, &management, &second.id.unwrap())
        .await;
    assert!(matches!(last, Err(Error::Refused(told)) if told.contains("last")));
    // What is gone is gone.
    let management = registrar
        .remove_secret(&client_id, &management, &id)
        .await
        .unwrap();

    for _ in 0..2 {
        registrar.delete(&client_id, &management).await.unwrap();
        assert!(is_empty(&idp));
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
        registrar
            .add_secret(&client_id, &management)
            .await
            .map(drop),
        registrar.secrets(&client_id, &management).await.map(drop),
        registrar
            .remove_secret(&client_id, &management, &id)
            .await
            .map(drop),
        registrar.adopt(&client_id).await.map(drop),
    ] {
        assert!(matches!(result, Err(Error::Gone)), "{result:?}");
    }
}

/// The token is asked for once and used for all that follows; the operator's own members go along,
/// and take the place of nothing that matters here.
#[tokio::test]
async fn what_is_asked_for() {
    let (idp, _) = tenant().await;
    let registrar = speaks(&idp, |config| {
        config.endpoint = Some(format!("{}/v1.0/", idp.base).parse().unwrap());
        let more = json!({"tags": ["team:travel"], "displayName": "x", "identifierUris": []});
        config.client_metadata = more.as_object().unwrap().clone();
    });
    let mut asked = request(&"é".repeat(300));
    asked.redirect_uris = vec!["https://app.example/".to_owned()];
    let made = registrar.create(&asked).await.unwrap();
    registrar
        .delete(&made.client_id, &made.management)
        .await
        .unwrap();
    let tokens = idp.requests(Endpoint::Token);
    // The last is the new client's own.
    assert_eq!(tokens.len(), 2, "{tokens:?}");
    let scope = format!("{}/.default", idp.base);
    assert_eq!(tokens[0].field("scope").as_deref(), Some(&*scope));
    assert_eq!(
        tokens[0].field("client_id").as_deref(),
        Some(ADMINISTRATOR.0)
    );
    assert_eq!(
        tokens[1].field("client_id").as_deref(),
        Some(made.client_id.as_str())
    );
    let sent: Value =
        serde_json::from_slice(&idp.requests(Endpoint::Registration)[0].body).unwrap();
    assert_eq!(
        sent["displayName"],
        "é".repeat(256),
        "no longer than Graph takes"
    );
    assert_eq!(
        sent["tags"],
        json!([format!("dcr-gateway:{}", asked.application), "team:travel"])
    );
    assert_eq!(sent["web"]["redirectUris"], json!(["https://app.example/"]));
    assert_eq!(sent["identifierUris"], json!([]));
}

/// With the v1 issuer of the preset the token endpoint is v1's, which knows no scopes.
#[tokio::test]
async fn a_tenant_of_the_first_version() {
    let idp: Emulation<Azure<1>> = Emulation::start().await;
    let tenant = idp.turn(|account, azure| {
        azure.appoint(account, ALL);
        azure.tenant.clone()
    });
    let registrar = speaks(&idp, |_| {});
    let made = registrar.create(&request("Trip Planner")).await.unwrap();
    let asked = idp.requests(Endpoint::Token);
    for (request, id) in asked.iter().zip([ADMINISTRATOR.0, made.client_id.as_str()]) {
        assert_eq!(request.path(), format!("/{tenant}/oauth2/token"));
        assert_eq!(request.field("resource").as_deref(), Some(&*idp.base));
        assert_eq!(request.field("client_id").as_deref(), Some(id));
    }
    idp.turn(|_, azure| {
        let properties = &azure.graph.of(made.client_id.as_str()).properties;
        assert_eq!(
            properties["api"]["requestedAccessTokenVersion"],
            Value::Null
        );
    });
}

#[tokio::test]
async fn a_directory_that_takes_its_time_is_waited_for() {
    let (idp, registrar) = tenant().await;
    idp.turn(|_, azure| {
        azure.graph.lag = Lag {
            principal: 2,
            application: 2,
            list: 0,
            secret: 2,
        };
    });
    let made = registrar.create(&request("Trip Planner")).await.unwrap();
    assert_eq!(
        status(&idp, &made.client_id, &made.issued.secret).await,
        200,
        "it works already"
    );
    assert_eq!(idp.turn(|_, azure| azure.graph.applications.len()), 1);
    let rotated = registrar
        .rotate(&made.client_id, &made.management, &request("x"))
        .await
        .unwrap();
    assert_eq!(
        status(&idp, &made.client_id, &rotated.issued.secret).await,
        200
    );
    let passwords = idp.turn(|_, azure| azure.graph.applications[0].passwords.len());
    assert_eq!(passwords, 1, "of all that were tried one is there");
}

#[tokio::test]
async fn who_is_asked_too_often_or_twice_at_once_is_waited_for() {
    let (idp, registrar) = tenant().await;
    for (step, answer) in [
        (("POST", "/applications"), throttled(1)),
        (("POST", "/servicePrincipals"), concurrency()),
        (
            ("POST", "/addPassword"),
            problem(503, "ServiceUnavailable", "x").header("Retry-After", "1"),
        ),
        (("POST", "/addPassword"), concurrency()),
        (("POST", "/removePassword"), concurrency()),
        (("PATCH", "/applications/"), concurrency()),
        (("DELETE", "/applications/"), throttled(1)),
    ] {
        idp.slip(Endpoint::Registration, step, Deed::Undone, answer);
    }
    let asked = request("Trip Planner");
    let made = registrar.create(&asked).await.unwrap();
    registrar
        .update(&made.client_id, &made.management, &asked)
        .await
        .unwrap();
    let rotated = registrar
        .rotate(&made.client_id, &made.management, &asked)
        .await
        .unwrap();
    assert_eq!(
        idp.turn(|_, azure| azure.graph.of(made.client_id.as_str()).passwords.len()),
        1
    );
    registrar
        .delete(&made.client_id, &rotated.management)
        .await
        .unwrap();
    assert!(is_empty(&idp));
}

/// What never comes about within the deadline is undone; a secret that only is not known yet is
/// told all the same.
#[tokio::test]
async fn the_deadline_ends_every_wait() {
    let idp = Entra::start().await;
    idp.turn(|account, azure| azure.appoint(account, OWNED_BY));
    let registrar = speaks(&idp, |config| config.deadline = Duration::from_secs(2));
    let never = usize::MAX;
    idp.turn(|_, azure| azure.graph.lag.principal = never);
    let error = registrar
        .create(&request("Trip Planner"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Untouched(_)), "{error:?}");
    assert!(error.to_string().contains("deadline"), "{error}");
    assert!(is_empty(&idp));
    idp.turn(|_, azure| {
        azure.graph.lag = Lag {
            secret: never,
            ..Lag::default()
        }
    });
    let made = registrar.create(&request("Trip Planner")).await.unwrap();
    assert_eq!(
        status(&idp, &made.client_id, &made.issued.secret).await,
        401,
        "not known yet"
    );
    let slow = throttled(60);
    idp.slip(
        Endpoint::Registration,
        ("DELETE", "/applications/"),
        Deed::Undone,
        slow,
    );
    let error = registrar
        .delete(&made.client_id, &made.management)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
}

/// Each step of a creation fails in turn; what was made until then is gone after it.
#[tokio::test]
async fn a_creation_that_fails_half_way_leaves_nothing() {
    let gone_dark = || Answer::new(200, "").manner(Manner::HangUp);
    let broken = || problem(500, "InternalServerError", "x");
    let forbidden = || problem(400, "CredentialInvalidLifetimeAsPerAppPolicy", "too long");
    for (case, step, deed, answer) in [
        (
            "its principal is refused",
            ("POST", "/servicePrincipals"),
            Deed::Undone,
            problem(403, "Authorization_RequestDenied", "x"),
        ),
        (
            "its secret fails",
            ("POST", "/addPassword"),
            Deed::Undone,
            broken(),
        ),
        (
            "its secret fails and is there",
            ("POST", "/addPassword"),
            Deed::Done,
            broken(),
        ),
        (
            "its secret is lost",
            ("POST", "/addPassword"),
            Deed::Done,
            gone_dark(),
        ),
        (
            "its secret is refused",
            ("POST", "/addPassword"),
            Deed::Undone,
            forbidden(),
        ),
        (
            "its secret is not told",
            ("POST", "/addPassword"),
            Deed::Done,
            Answer::json(200, &json!({"keyId": "x"})),
        ),
        (
            "its secret is no JSON",
            ("POST", "/addPassword"),
            Deed::Done,
            Answer::new(200, "<html>"),
        ),
    ] {
        let (idp, registrar) = tenant().await;
        idp.slip(Endpoint::Registration, step, deed, answer);
        let error = registrar
            .create(&request("Trip Planner"))
            .await
            .unwrap_err();
        assert!(
            !matches!(error, Error::LeftBehind { .. }),
            "{case}: {error:?}"
        );
        assert!(is_empty(&idp), "{case}: {error:?}");
        assert!(
            steps(&idp).contains(&"DELETE directory/deletedItems/ID".to_owned()),
            "{case}"
        );
    }
    // An answer that is lost where doing it twice is doing it once is no failure.
    let (idp, registrar) = tenant().await;
    idp.slip(
        Endpoint::Registration,
        ("POST", "/servicePrincipals"),
        Deed::Done,
        broken(),
    );
    registrar.create(&request("Trip Planner")).await.unwrap();
    assert_eq!(steps(&idp)[3], "GET servicePrincipals");
}

#[tokio::test]
async fn what_cannot_be_undone_is_told_and_can_be_removed_later() {
    let (idp, registrar) = tenant().await;
    let denied = || {
        problem(
            403,
            "Authorization_RequestDenied",
            "Insufficient privileges",
        )
    };
    idp.slip(
        Endpoint::Registration,
        ("POST", "/addPassword"),
        Deed::Undone,
        denied(),
    );
    idp.slip(
        Endpoint::Registration,
        ("DELETE", "/applications/"),
        Deed::Undone,
        denied(),
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
    assert!(matches!(*cause, Error::Access(_)), "{cause:?}");
    assert_eq!(
        idp.turn(|_, azure| azure.graph.applications[0].app_id.clone()),
        client_id.as_str()
    );
    registrar.delete(&client_id, &management).await.unwrap();
    assert!(is_empty(&idp));
}

/// An application that was made a moment ago and is not found has only not got about.
#[tokio::test]
async fn undoing_waits_for_the_directory_too() {
    let (idp, registrar) = tenant().await;
    idp.turn(|_, azure| azure.graph.lag.application = 3);
    idp.slip(
        Endpoint::Registration,
        ("POST", "/servicePrincipals"),
        Deed::Undone,
        problem(400, "Request_BadRequest", "no"),
    );
    let error = registrar
        .create(&request("Trip Planner"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error:?}");
    assert!(is_empty(&idp));
}

#[tokio::test]
async fn what_an_interrupted_creation_left_is_found() {
    let (idp, registrar) = tenant().await;
    let asked = request("Trip Planner");
    registrar.create(&request("Trip Planner")).await.unwrap();
    let mut left = Vec::new();
    for _ in 0..3 {
        // Lost, and made all the same.
        let lost = Answer::new(200, "").manner(Manner::HangUp);
        idp.slip(
            Endpoint::Registration,
            ("POST", "/applications"),
            Deed::Done,
            lost,
        );
        let error = registrar.create(&asked).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
        left.push(idp.turn(|_, azure| azure.graph.applications.last().unwrap().app_id.clone()));
    }
    idp.turn(|_, azure| {
        azure.graph.page = 2;
        // One that the directory shows late.
        for application in &mut azure.graph.applications {
            application.lag.list = 1;
        }
    });
    let found = registrar.trace(&asked).await.unwrap();
    let Trace::Found(found) = found else {
        panic!("{found:?}")
    };
    assert_eq!(
        found.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(),
        left
    );
    for (client_id, management) in &found {
        registrar.delete(client_id, management).await.unwrap();
    }
    assert_eq!(
        idp.turn(|_, azure| azure.graph.applications.len()),
        1,
        "another's is not touched"
    );
    assert!(matches!(registrar.trace(&asked).await, Ok(Trace::Nothing)));
}

#[tokio::test]
async fn a_page_elsewhere_is_not_asked_for() {
    let (idp, registrar) = tenant().await;
    let body = json!({"value": [], "@odata.nextLink": "https://other.test/v1.0/applications"});
    idp.slip(
        Endpoint::Registration,
        ("GET", "/applications"),
        Deed::Undone,
        Answer::json(200, &body),
    );
    let error = registrar.trace(&request("x")).await.unwrap_err();
    assert!(error.to_string().contains("elsewhere"), "{error}");
}

/// All secrets that there are go with a rotation, also those that the gateway never saw; if one
/// cannot, the new one goes and the old ones stay.
#[tokio::test]
async fn a_rotation_is_whole_or_not_at_all() {
    let (idp, registrar) = tenant().await;
    let asked = request("Trip Planner");
    let made = registrar.create(&asked).await.unwrap();
    let (foreign, _) = registrar
        .add_secret(&made.client_id, &made.management)
        .await
        .unwrap();
    let denied = problem(403, "Authorization_RequestDenied", "x");
    idp.slip(
        Endpoint::Registration,
        ("POST", "/removePassword"),
        Deed::Undone,
        denied,
    );
    let error = registrar
        .rotate(&made.client_id, &made.management, &asked)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Access(_)), "{error:?}");
    for secret in [&made.issued.secret, &foreign.secret] {
        assert_eq!(status(&idp, &made.client_id, secret).await, 200);
    }
    assert_eq!(
        idp.turn(|_, azure| azure.graph.applications[0].passwords.len()),
        2
    );
    let rotated = registrar
        .rotate(&made.client_id, &made.management, &asked)
        .await
        .unwrap();
    for secret in [&made.issued.secret, &foreign.secret] {
        assert_eq!(status(&idp, &made.client_id, secret).await, 401);
    }
    assert_eq!(
        status(&idp, &made.client_id, &rotated.issued.secret).await,
        200
    );
}

/// The directory may not have told of the latest secret: the gateway knows it.
#[tokio::test]
async fn a_secret_that_is_not_listed_yet_goes_with_a_rotation_too() {
    let (idp, registrar) = tenant().await;
    let asked = request("Trip Planner");
    let made = registrar.create(&asked).await.unwrap();
    let (object, app_id) = idp.turn(|_, azure| {
        let known = &azure.graph.applications[0];
        (known.id.clone(), known.app_id.clone())
    });
    let stale = json!({"id": object, "appId": app_id, "passwordCredentials": []});
    idp.slip(
        Endpoint::Registration,
        ("GET", "/applications/"),
        Deed::Undone,
        Answer::json(200, &stale),
    );
    registrar
        .rotate(&made.client_id, &made.management, &asked)
        .await
        .unwrap();
    assert_eq!(
        status(&idp, &made.client_id, &made.issued.secret).await,
        401
    );
}

/// A secret that was made although its answer was lost is nobody's, and goes; those that somebody
/// else made stay.
#[tokio::test]
async fn a_secret_that_nobody_was_shown_is_removed() {
    let (idp, registrar) = tenant().await;
    let asked = request("Trip Planner");
    let made = registrar.create(&asked).await.unwrap();
    let lost = || Answer::new(200, "").manner(Manner::HangUp);
    let unusable = json!({"keyId": "x", "secretText": "a\u{7}b"});
    for answer in [lost(), Answer::json(200, &unusable)] {
        for again in [false, true] {
            let step = ("POST", "/addPassword");
            idp.slip(Endpoint::Registration, step, Deed::Done, answer.clone());
            let result = match again {
                false => registrar
                    .rotate(&made.client_id, &made.management, &asked)
                    .await
                    .map(drop),
                true => registrar
                    .add_secret(&made.client_id, &made.management)
                    .await
                    .map(drop),
            };
            assert!(result.is_err());
            let known = registrar
                .secrets(&made.client_id, &made.management)
                .await
                .unwrap();
            assert_eq!(known.len(), 1, "{result:?}");
            assert_eq!(Some(&known[0].id), made.issued.id.as_ref());
        }
    }
    assert_eq!(
        status(&idp, &made.client_id, &made.issued.secret).await,
        200
    );
}

#[tokio::test]
async fn an_application_that_exists_is_adopted() {
    let (idp, registrar) = tenant().await;
    let asked = request("Trip Planner");
    let made = registrar.create(&asked).await.unwrap();
    let management = registrar.adopt(&made.client_id).await.unwrap();
    let rotated = registrar
        .rotate(&made.client_id, &management, &asked)
        .await
        .unwrap();
    assert_eq!(
        status(&idp, &made.client_id, &made.issued.secret).await,
        401
    );
    // What is kept is a convenience: the client id alone finds everything.
    let lost = Management(Secret::new("?"));
    registrar.read(&made.client_id, &lost).await.unwrap();
    registrar
        .rotate(&made.client_id, &lost, &asked)
        .await
        .unwrap();
    assert_eq!(
        status(&idp, &made.client_id, &rotated.issued.secret).await,
        401
    );
    registrar.delete(&made.client_id, &lost).await.unwrap();
    let odd = ClientId::new("it's/../gone?").unwrap();
    assert!(matches!(registrar.adopt(&odd).await, Err(Error::Gone)));
}

#[tokio::test]
async fn each_refusal_is_told_with_what_helps() {
    let (idp, registrar) = tenant().await;
    for (answer, kind, words) in [
        (
            problem(
                403,
                "Authorization_RequestDenied",
                "Insufficient privileges",
            ),
            "access",
            "Application.ReadWrite.OwnedBy",
        ),
        (
            problem(401, "InvalidAuthenticationToken", "Invalid audience"),
            "access",
            "not for Microsoft Graph",
        ),
        (
            problem(
                403,
                "Directory_QuotaExceeded",
                "The directory object quota limit",
            ),
            "refused",
            "quota",
        ),
        (
            problem(400, "Request_BadRequest", "Invalid property 'x'."),
            "refused",
            "Invalid property 'x'.",
        ),
        (
            problem(404, "Request_ResourceNotFound", "no"),
            "refused",
            "status 404",
        ),
        (
            Answer::new(302, "").header("Location", "http://127.0.0.1:1/"),
            "refused",
            "status 302",
        ),
        (Answer::new(201, "<html>"), "unavailable", "no JSON object"),
        (
            Answer::json(201, &json!({"id": "x"})),
            "unavailable",
            "no appId",
        ),
        (Answer::new(502, "<html>"), "unavailable", "502"),
    ] {
        let again = answer.clone();
        let step = ("POST", "/applications");
        idp.slip(Endpoint::Registration, step, Deed::Undone, answer);
        if again.status == 401 {
            // A new token is tried first.
            idp.slip(Endpoint::Registration, step, Deed::Undone, again);
        }
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
    assert!(is_empty(&idp));
    let denied = |change: fn(&mut Access)| speaks(&idp, |config| change(&mut config.access));
    let wrong = denied(|access| {
        if let Access::InitialClient { secret, .. } = access {
            *secret = Secret::new("wrong-8Q~x.y");
        }
    });
    let error = wrong.create(&request("x")).await.unwrap_err();
    assert!(
        matches!(&error, Error::Access(told) if told.contains("initial client")),
        "{error:?}"
    );
    assert!(!format!("{error} {error:?}").contains("wrong-8Q~x.y"));
    let elsewhere = denied(|access| {
        if let Access::InitialClient { scope, .. } = access {
            *scope = Some(format!("{API}/.default"));
        }
    });
    let error = elsewhere.create(&request("x")).await.unwrap_err();
    assert!(
        error.to_string().contains("not for Microsoft Graph"),
        "{error}"
    );
    let open = denied(|access| *access = Access::Open);
    assert!(matches!(
        open.create(&request("x")).await,
        Err(Error::Impossible(_))
    ));
}

#[tokio::test]
async fn an_application_that_is_not_what_was_asked_for_is_removed_again() {
    for (over, words) in [
        (json!({"isFallbackPublicClient": true}), "public"),
        (
            json!({"signInAudience": "AzureADMultipleOrgs"}),
            "other tenants",
        ),
        (
            json!({"requiredResourceAccess": [{"resourceAppId": "x"}]}),
            "permissions",
        ),
    ] {
        let (idp, registrar) = tenant().await;
        idp.turn(|_, azure| azure.graph.over = over.as_object().unwrap().clone());
        let error = registrar
            .create(&request("Trip Planner"))
            .await
            .unwrap_err();
        assert!(
            matches!(&error, Error::Unusable(told) if told.contains(words)),
            "{error:?}"
        );
        assert!(is_empty(&idp), "{words}");
    }
    for (step, body) in [
        (
            ("POST", "/servicePrincipals"),
            json!({"id": "x", "accountEnabled": false}),
        ),
        (
            ("POST", "/addPassword"),
            json!({"keyId": "x", "secretText": "a\u{7}b"}),
        ),
    ] {
        let (idp, registrar) = tenant().await;
        idp.slip(
            Endpoint::Registration,
            step,
            Deed::Done,
            Answer::json(200, &body),
        );
        let error = registrar
            .create(&request("Trip Planner"))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Unusable(_)), "{error:?}");
        assert!(is_empty(&idp));
    }
}

/// A token that Graph takes no more, though its time has not come, is replaced.
#[tokio::test]
async fn a_token_that_was_revoked_is_asked_for_again() {
    let (idp, registrar) = tenant().await;
    let made = registrar.create(&request("Trip Planner")).await.unwrap();
    idp.turn(|_, azure| azure.graph.forget_tokens());
    registrar
        .read(&made.client_id, &made.management)
        .await
        .unwrap();
    eventually!(idp.hits(Endpoint::Token) == 3, "one more");
}

/// An answer that repeats a secret is not told, and what is kept shows nothing.
#[tokio::test]
async fn no_secret_is_told() {
    let (idp, registrar) = tenant().await;
    let made = registrar.create(&request("Trip Planner")).await.unwrap();
    let shown = format!("{made:?} {registrar:?}");
    for secret in [made.issued.secret.expose(), ADMINISTRATOR.1] {
        assert!(!shown.contains(secret), "{shown}");
        let text = format!("{secret} is not right");
        let answer = problem(400, "Request_BadRequest", &text);
        idp.slip(
            Endpoint::Registration,
            ("GET", "/applications/"),
            Deed::Undone,
            answer,
        );
        let error = registrar
            .read(&made.client_id, &made.management)
            .await
            .unwrap_err();
        if secret == ADMINISTRATOR.1 {
            assert!(error.to_string().contains("repeat a secret"), "{error}");
        }
    }
    assert!(
        !made
            .management
            .0
            .expose()
            .contains(made.issued.secret.expose())
    );
}
