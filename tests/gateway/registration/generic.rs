//! RFC 7591 and 7592.

use std::time::Duration;

use dcr_gateway::{
    idp::registration::{
        Access, Config, Dialect, Error, Management, Registered, Registrar, Rotation, Trace,
    },
    idp::vendor::Vendor,
    model::credential::{ClientId, Secret},
};
use serde_json::{Value, json};

use super::{
    config, initial_client, provider, registrar, request,
    server::{Renews, Server, hangs_up},
};
use crate::harness::{
    http1::{Answer, Request},
    real_idp::{Product, RealIdp},
};

const TOKEN: &str = "initial-6f1ed002ab559585";

fn speaks(server: &Server, access: Access) -> Registrar {
    speaks_as(server, config(Dialect::Generic, access))
}

fn speaks_as(server: &Server, config: Config) -> Registrar {
    registrar(provider(Vendor::Generic, &server.issuer), config)
}

fn with_token() -> Access {
    Access::InitialAccessToken(Secret::new(TOKEN))
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap()
}

fn id(registered: &Registered) -> &str {
    registered.client_id.as_str()
}

#[tokio::test]
async fn an_initial_access_token_registers_and_what_is_sent_fits_together() {
    let server = Server::start().await;
    server.turn(|k| k.initial = Some(TOKEN.to_owned()));
    let mut settings = config(Dialect::Generic, with_token());
    // A software statement is the operator's, and passed on unchanged.
    let further = json!({"software_statement": "e30.e30.x", "client_name#ja": "旅", "ttl": 300});
    settings.client_metadata = further.as_object().unwrap().clone();
    let registrar = speaks_as(&server, settings);
    let mut asked = request("Zoë's 旅 planner");
    asked.scopes = vec!["read".to_owned(), "write".to_owned()];
    let registered = registrar.create(&asked).await.unwrap();

    let sent = server.requests("POST", "/reg");
    assert_eq!(sent.len(), 1);
    assert_eq!(
        sent[0].header("authorization"),
        Some(&*format!("Bearer {TOKEN}"))
    );
    assert_eq!(sent[0].header("content-type"), Some("application/json"));
    let expected = json!({
        "client_name": "Zoë's 旅 planner", "grant_types": ["client_credentials"],
        "response_types": [], "redirect_uris": [],
        // As the metadata lists it.
        "token_endpoint_auth_method": "client_secret_basic", "scope": "read write",
        "software_statement": "e30.e30.x", "client_name#ja": "旅", "ttl": 300,
    });
    assert_eq!(body(&sent[0]), expected);
    let secret = server.client(id(&registered), |client| client.secret.clone());
    assert_eq!(registered.issued.secret.expose(), secret);
    assert_eq!(registered.issued.expires_at, None);
    assert_eq!(registered.scopes, Some(asked.scopes));
    let shown = format!("{registered:?}");
    assert!(
        !shown.contains(&secret) && !shown.contains(TOKEN),
        "{shown}"
    );
}

#[tokio::test]
async fn an_initial_client_gets_one_token_for_many_registrations_and_another_when_that_is_revoked()
{
    let server = Server::start().await;
    server.turn(|k| k.initial = Some(TOKEN.to_owned()));
    let mut access = initial_client("dcr-admin", "admin:s+cr/t %20~");
    if let Access::InitialClient { scope, .. } = &mut access {
        *scope = Some("dcr".to_owned());
    }
    let registrar = speaks(&server, access);
    let (one, other) = (request("One"), request("Other"));
    let (one, other) = tokio::join!(registrar.create(&one), registrar.create(&other));
    assert_ne!(one.unwrap().client_id, other.unwrap().client_id);
    assert_eq!(server.requests("POST", "/token").len(), 1);
    server.revoke_admin_tokens();
    registrar.create(&request("Third")).await.unwrap();
    assert_eq!(server.requests("POST", "/token").len(), 2);
    assert_eq!(
        (server.clients(), server.requests("POST", "/reg").len()),
        (3, 4)
    );
}

#[tokio::test]
async fn a_token_that_is_about_to_end_is_not_kept() {
    let server = Server::start().await;
    server.turn(|k| (k.initial, k.expires_in) = (Some(TOKEN.to_owned()), 20));
    let mut access = initial_client("dcr-admin", "admin:s+cr/t %20~");
    if let Access::InitialClient { scope, .. } = &mut access {
        *scope = Some("dcr".to_owned());
    }
    let registrar = speaks(&server, access);
    for _ in 0..2 {
        registrar.create(&request("App")).await.unwrap();
    }
    assert_eq!(server.requests("POST", "/token").len(), 2);
}

#[tokio::test]
async fn an_initial_client_that_is_refused_is_the_gateways_own_fault() {
    let server = Server::start().await;
    let registrar = speaks(&server, initial_client("dcr-admin", "wrong"));
    let error = registrar.create(&request("App")).await.unwrap_err();
    assert!(
        matches!(&error, Error::Access(told) if told.contains("invalid_client")),
        "{error}"
    );
    assert_eq!(server.clients(), 0);
}

#[tokio::test]
async fn an_open_endpoint_is_shown_nothing() {
    let server = Server::start().await;
    let registered = speaks(&server, Access::Open).create(&request("App")).await;
    assert!(server.knows(id(&registered.unwrap())));
    assert_eq!(
        server.requests("POST", "/reg")[0].header("authorization"),
        None
    );
}

#[tokio::test]
async fn what_comes_back_counts_whatever_was_asked() {
    for (name, status, returned, scopes, ends) in [
        ("as asked", 201, json!({}), Some("read write"), None),
        ("200", 200, json!({}), Some("read write"), None),
        (
            "narrower",
            201,
            json!({"scope": "read"}),
            Some("read"),
            None,
        ),
        ("no scope", 201, json!({"scope": null}), None, None),
        (
            "as text",
            201,
            json!({"client_secret_expires_at": "32503680000"}),
            Some("read write"),
            Some(32_503_680_000),
        ),
        (
            "absent",
            201,
            json!({"client_secret_expires_at": null}),
            Some("read write"),
            None,
        ),
        (
            "ends",
            201,
            json!({"client_secret_expires_at": 32_503_680_000_i64}),
            Some("read write"),
            Some(32_503_680_000),
        ),
    ] {
        let server = Server::start().await;
        server.turn(|k| k.created = status);
        server.returns(returned);
        let mut asked = request("App");
        asked.scopes = vec!["read".to_owned(), "write".to_owned()];
        let registered = speaks(&server, Access::Open).create(&asked).await.unwrap();
        assert_eq!(
            registered.scopes.map(|s| s.join(" ")).as_deref(),
            scopes,
            "{name}"
        );
        assert_eq!(
            registered.issued.expires_at.map(|end| end.secs()),
            ends,
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_client_that_cannot_be_used_is_deleted_again() {
    for (returned, why) in [
        (json!({"token_endpoint_auth_method": "none"}), "public"),
        (json!({"client_secret": null}), "no client_secret"),
        (json!({"client_secret": ""}), "no client_secret"),
        (
            json!({"grant_types": ["authorization_code"]}),
            "client_credentials",
        ),
        (
            json!({"grant_types": ["client_credentials", "password"]}),
            "\"password\"",
        ),
        (json!({"scope": "read admin"}), "\"admin\""),
        (json!({"scope": "read dcr"}), "manage clients"),
        (json!({"client_secret_expires_at": 1}), "expired"),
        (json!({"client_id": null}), "no client_id"),
        (json!({"client_id": 7}), "no client_id"),
    ] {
        let server = Server::start().await;
        server.returns(returned.clone());
        let mut asked = request("App");
        asked.scopes = vec!["read".to_owned(), "write".to_owned()];
        let error = speaks(&server, Access::Open)
            .create(&asked)
            .await
            .unwrap_err();
        let Error::Unusable(told) = &error else {
            panic!("{returned}: {error}");
        };
        assert!(told.contains(why), "{returned}: {told}");
        assert_eq!(server.clients(), 0, "{returned}");
    }
}

#[tokio::test]
async fn a_client_that_cannot_be_deleted_again_is_told_with_what_deletes_it_later() {
    let server = Server::start().await;
    server.returns(json!({"token_endpoint_auth_method": "none"}));
    server.slip("DELETE", Answer::new(403, ""));
    let registrar = speaks(&server, Access::Open);
    let error = registrar.create(&request("App")).await.unwrap_err();
    let Error::LeftBehind {
        client_id,
        management,
        cause,
    } = error
    else {
        panic!("{error}");
    };
    assert!(matches!(*cause, Error::Unusable(_)));
    assert!(server.knows(client_id.as_str()));
    registrar.delete(&client_id, &management).await.unwrap();
    assert_eq!(server.clients(), 0);
}

#[tokio::test]
async fn a_refusal_is_told_in_the_servers_words_and_not_repeated() {
    let long = "x".repeat(5_000);
    for (status, told, expected) in [
        (
            400,
            json!({"error": "invalid_client_metadata", "error_description": "no\nsuch grant"}),
            "invalid_client_metadata: no\\nsuch grant",
        ),
        (
            400,
            json!({"error": "invalid_redirect_uri"}),
            "invalid_redirect_uri",
        ),
        (
            422,
            json!({"error": "x", "error_description": long}),
            "x: xxx",
        ),
        (302, json!({}), "redirects are not followed"),
        (204, json!({}), "status 204"),
        (404, json!({}), "status 404"),
    ] {
        let server = Server::start().await;
        let answer =
            Answer::json(status, &told).header("Location", &format!("{}/regular", server.issuer));
        server.slip("POST", answer);
        let error = speaks(&server, Access::Open)
            .create(&request("App"))
            .await
            .unwrap_err();
        let shown = error.to_string();
        assert!(matches!(error, Error::Refused(_)), "{status}: {shown}");
        assert!(
            shown.contains(expected) && shown.len() < 400,
            "{status}: {shown}"
        );
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
        assert_eq!(server.requests("POST", "/reg").len(), 1, "{status}");
        assert_eq!(server.requests("GET", "/regular").len(), 0, "{status}");
        assert_eq!(server.clients(), 0);
    }
}

#[tokio::test]
async fn a_refused_token_is_the_gateways_own_and_shows_in_no_error() {
    for status in [401, 403] {
        let server = Server::start().await;
        let told =
            json!({"error": "invalid_token", "error_description": format!("{TOKEN} is spent")});
        server.slip("POST", Answer::json(status, &told));
        let error = speaks(&server, with_token())
            .create(&request("App"))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Access(_)), "{error}");
        assert!(!error.to_string().contains("6f1ed002"), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_says_later_is_waited_for_and_asked_again() {
    for (status, name) in [(429, "throttled"), (503, "restarting")] {
        let server = Server::start().await;
        for _ in 0..2 {
            server.slip("POST", Answer::new(status, "").header("Retry-After", "1"));
        }
        speaks(&server, Access::Open)
            .create(&request("App"))
            .await
            .unwrap();
        assert_eq!(
            (server.clients(), server.requests("POST", "/reg").len()),
            (1, 3),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_registration_whose_answer_is_lost_is_not_sent_twice() {
    for answer in [hangs_up(), Answer::new(503, ""), Answer::new(500, "{}")] {
        let server = Server::start().await;
        server.slip("POST", answer);
        let registrar = speaks(&server, Access::Open);
        let error = registrar.create(&request("App")).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error}");
        assert_eq!(server.requests("POST", "/reg").len(), 1);
        // Nobody can ask for it by anything but its own token.
        let trace = registrar.trace(&request("App")).await.unwrap();
        assert!(matches!(trace, Trace::Unknowable));
    }
}

#[tokio::test]
async fn a_wait_beyond_the_deadline_is_not_begun() {
    let server = Server::start().await;
    server.slip("POST", Answer::new(429, "").header("Retry-After", "250"));
    let error = speaks(&server, Access::Open)
        .create(&request("App"))
        .await
        .unwrap_err();
    let Error::Untouched(unavailable) = &error else {
        panic!("{error}");
    };
    assert_eq!(unavailable.retry_after, Duration::from_secs(250));
    assert_eq!(server.requests("POST", "/reg").len(), 1);
}

#[tokio::test]
async fn what_may_be_sent_twice_outlives_an_outage() {
    let server = Server::start().await;
    let registrar = speaks(&server, Access::Open);
    let made = registrar.create(&request("App")).await.unwrap();
    for method in ["GET", "PUT", "DELETE"] {
        server.slip(method, hangs_up());
        server.slip(method, Answer::new(502, "<html>"));
    }
    let told = registrar
        .read(&made.client_id, &made.management)
        .await
        .unwrap();
    assert_eq!(told.metadata["client_name"], "App");
    let renamed = request("Renamed");
    registrar
        .update(&made.client_id, &made.management, &renamed)
        .await
        .unwrap();
    registrar
        .delete(&made.client_id, &made.management)
        .await
        .unwrap();
    assert_eq!(server.clients(), 0);
    for method in ["GET", "PUT", "DELETE"] {
        assert_eq!(server.requests(method, "/reg/").len(), 3, "{method}");
    }
}

#[tokio::test]
async fn a_client_is_managed_at_its_own_servers_uri_alone() {
    let other = Server::start().await;
    for (place, name) in [
        (format!("{}/reg/c", other.issuer), "another server"),
        (
            "https://127.0.0.1/reg/c".to_owned(),
            "another scheme and port",
        ),
        ("file:///etc/passwd".to_owned(), "a file"),
        ("nonsense".to_owned(), "no URL"),
    ] {
        let server = Server::start().await;
        server.returns(json!({"registration_client_uri": place}));
        let registrar = speaks(&server, Access::Open);
        let made = registrar.create(&request("App")).await.unwrap();
        let (id, management) = (&made.client_id, &made.management);
        assert!(
            !management.0.expose().contains("registration_access_token"),
            "{name}"
        );
        for error in [
            registrar
                .read(id, management)
                .await
                .map(|_| ())
                .unwrap_err(),
            registrar
                .update(id, management, &request("x"))
                .await
                .map(|_| ())
                .unwrap_err(),
            registrar.delete(id, management).await.unwrap_err(),
        ] {
            assert!(matches!(error, Error::Impossible(_)), "{name}: {error}");
        }
    }
    assert_eq!(
        other.requests("GET", "/").len() + other.requests("DELETE", "/").len(),
        0
    );
}

#[tokio::test]
async fn the_uri_is_used_as_it_was_given() {
    let server = Server::start().await;
    let odd = format!("{}/reg/a%2Fb/?id=1&id=2", server.issuer);
    server.returns(json!({"registration_client_uri": odd}));
    let registrar = speaks(&server, Access::Open);
    let made = registrar.create(&request("App")).await.unwrap();
    server.slip("DELETE", Answer::new(204, ""));
    registrar
        .delete(&made.client_id, &made.management)
        .await
        .unwrap();
    assert_eq!(
        server.requests("DELETE", "/reg")[0].target,
        "/reg/a%2Fb/?id=1&id=2"
    );
}

#[tokio::test]
async fn an_update_repeats_the_whole_set_without_what_is_the_servers_own() {
    let server = Server::start().await;
    let registrar = speaks(&server, Access::Open);
    let mut asked = request("App");
    asked.scopes = vec!["read".to_owned()];
    let made = registrar.create(&asked).await.unwrap();
    asked.name = "Zoë".to_owned();
    asked.scopes = vec!["read".to_owned(), "write".to_owned()];
    let told = registrar
        .update(&made.client_id, &made.management, &asked)
        .await
        .unwrap();
    assert_eq!(
        (&told.metadata["client_name"], &told.metadata["scope"]),
        (&json!("Zoë"), &json!("read write"))
    );
    for hidden in [
        "client_secret",
        "registration_access_token",
        "registration_client_uri",
    ] {
        assert!(!told.metadata.contains_key(hidden), "{hidden}");
    }
    // The server is strict: null or a member too many would have been refused.
    let sent = body(&server.requests("PUT", "/reg/")[0]);
    let expected = json!({
        "client_id": id(&made), "client_name": "Zoë", "grant_types": ["client_credentials"],
        "response_types": [], "redirect_uris": [], "scope": "read write",
        "token_endpoint_auth_method": "client_secret_basic", "x_own": {"nested": [null]},
    });
    assert_eq!(sent, expected);
    assert!(told.issued.is_none(), "the secret is untouched");
    let secret = server.client(id(&made), |client| client.secret.clone());
    assert_eq!(secret, made.issued.secret.expose());
}

#[tokio::test]
async fn new_tokens_and_secrets_take_the_old_ones_place_at_once() {
    for (tokens, secrets) in [
        (Renews::Never, Renews::Never),
        (Renews::OnWrite, Renews::Never),
        (Renews::Always, Renews::Never),
        (Renews::Always, Renews::Always),
    ] {
        let server = Server::start().await;
        server.turn(|k| (k.tokens, k.secrets) = (tokens, secrets));
        let registrar = speaks(&server, Access::Open);
        let made = registrar.create(&request("App")).await.unwrap();
        let (id, mut management) = (made.client_id, made.management);
        for name in ["App", "Two", "Three"] {
            let read = registrar.read(&id, &management).await.unwrap();
            assert_eq!(
                read.management.is_some(),
                tokens == Renews::Always,
                "{tokens:?}"
            );
            management = read.management.unwrap_or(management);
            let known = server.client(id.as_str(), |client| client.secret.clone());
            let told = read.issued.map(|issued| issued.secret.expose().to_owned());
            assert_eq!(
                told,
                (secrets == Renews::Always).then_some(known),
                "{secrets:?}"
            );
            let updated = registrar
                .update(&id, &management, &request(name))
                .await
                .unwrap();
            let is_newer = updated.management.is_some();
            assert!(is_newer || tokens == Renews::Never, "{tokens:?}");
            management = updated.management.unwrap_or(management);
        }
        // One that was told is known from then on.
        server.turn(|k| k.secrets = Renews::Never);
        let read = registrar.read(&id, &management).await.unwrap();
        assert!(read.issued.is_none(), "{secrets:?}");
        management = read.management.unwrap_or(management);
        registrar.delete(&id, &management).await.unwrap();
        assert_eq!(server.clients(), 0);
    }
}

#[tokio::test]
async fn what_the_configuration_endpoint_refuses_is_told_apart() {
    let server = Server::start().await;
    let registrar = speaks(&server, Access::Open);
    let made = registrar.create(&request("App")).await.unwrap();
    let (id, management) = (&made.client_id, &made.management);
    for method in ["GET", "PUT"] {
        let mut kinds = Vec::new();
        for status in [401, 403, 404, 405] {
            server.slip(method, Answer::new(status, ""));
            let error = match method {
                "GET" => registrar.read(id, management).await.unwrap_err(),
                _ => registrar
                    .update(id, management, &request("x"))
                    .await
                    .unwrap_err(),
            };
            kinds.push(match error {
                Error::Access(_) => "access",
                Error::Refused(_) => "refused",
                Error::Gone => "gone",
                Error::Impossible(_) => "impossible",
                other => panic!("{other}"),
            });
        }
        assert_eq!(
            kinds,
            ["access", "refused", "gone", "impossible"],
            "{method}"
        );
    }
    for status in [403, 405] {
        server.slip("DELETE", Answer::new(status, ""));
        assert!(registrar.delete(id, management).await.is_err(), "{status}");
    }
    // Gone is gone, whoever deleted it.
    for _ in 0..2 {
        registrar.delete(id, management).await.unwrap();
    }
    assert_eq!(server.clients(), 0);
}

#[tokio::test]
async fn an_answer_about_another_client_is_refused() {
    let server = Server::start().await;
    let registrar = speaks(&server, Access::Open);
    let made = registrar.create(&request("App")).await.unwrap();
    server.returns(json!({"client_id": "another"}));
    let error = registrar
        .read(&made.client_id, &made.management)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error}");
}

#[tokio::test]
async fn a_new_secret_is_a_new_client() {
    let server = Server::start().await;
    let registrar = speaks(&server, Access::Open);
    assert_eq!(registrar.rotation(), Rotation::Replacement);
    let made = registrar.create(&request("App")).await.unwrap();
    let rotated = registrar
        .rotate(&made.client_id, &made.management, &request("App"))
        .await
        .unwrap();
    assert_ne!(rotated.client_id, made.client_id);
    assert!(
        server.knows(id(&made)),
        "the old one is the caller's to delete"
    );
    registrar
        .delete(&made.client_id, &made.management)
        .await
        .unwrap();
    assert!(server.knows(rotated.client_id.as_str()) && server.clients() == 1);
}

#[tokio::test]
async fn what_only_some_can_do_is_impossible_here() {
    let server = Server::start().await;
    let registrar = speaks(&server, Access::Open);
    let (id, nothing) = (ClientId::new("c").unwrap(), Management(Secret::new("")));
    assert!(!registrar.has_several_secrets());
    for error in [
        registrar.adopt(&id).await.map(|_| ()).unwrap_err(),
        registrar
            .add_secret(&id, &nothing)
            .await
            .map(|_| ())
            .unwrap_err(),
        registrar
            .secrets(&id, &nothing)
            .await
            .map(|_| ())
            .unwrap_err(),
        registrar.delete(&id, &nothing).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::Impossible(_)), "{error}");
    }
}

#[tokio::test]
async fn metadata_without_the_endpoint_is_told_as_that() {
    let server = Server::start().await;
    let mut elsewhere = provider(Vendor::Generic, &server.issuer);
    // No document is read where everything else is configured; the endpoint is looked for all the same.
    elsewhere.token_endpoint = Some(format!("{}/token", server.issuer).parse().unwrap());
    elsewhere.jwks_uri = Some(format!("{}/jwks", server.issuer).parse().unwrap());
    let registrar = registrar(elsewhere, config(Dialect::Generic, Access::Open));
    registrar.create(&request("App")).await.unwrap();
    assert_eq!(server.clients(), 1);
}

/// The whole life of a client at a server of other makers.
async fn lives(idp: &RealIdp, renews: bool) {
    let initial = idp.pull("/initial-access-token").await;
    let token = Secret::new(initial["token"].as_str().unwrap());
    let settings = config(Dialect::Generic, Access::InitialAccessToken(token));
    let registrar = registrar(provider(Vendor::Generic, &idp.issuer), settings);
    let mut asked = request("Zoë's trip planner");
    asked.scopes = vec!["read".to_owned()];
    let made = registrar.create(&asked).await.unwrap();
    let (id, mut management) = (made.client_id, made.management);

    let read = registrar.read(&id, &management).await.unwrap();
    assert_eq!(read.metadata["client_name"], "Zoë's trip planner");
    assert!(read.issued.is_none(), "reading leaves the secret alone");
    management = read.management.unwrap_or(management);
    asked.name = "Renamed 旅".to_owned();
    let updated = registrar.update(&id, &management, &asked).await.unwrap();
    assert_eq!(updated.metadata["client_name"], "Renamed 旅");
    assert!(
        updated.issued.is_none(),
        "a new name leaves the secret alone"
    );
    let old = management.clone();
    management = updated.management.unwrap_or(management);
    if renews {
        let error = registrar.read(&id, &old).await.unwrap_err();
        assert!(
            matches!(error, Error::Access(_)),
            "the old token is good no more: {error}"
        );
    }
    let read = registrar.read(&id, &management).await.unwrap();
    assert_eq!(read.metadata["client_name"], "Renamed 旅");
    management = read.management.unwrap_or(management);
    idp.accepts(&id, &made.issued.secret, true).await;
    registrar.delete(&id, &management).await.unwrap();
    registrar.delete(&id, &management).await.unwrap();
    idp.accepts(&id, &made.issued.secret, false).await;
}

#[tokio::test]
async fn a_client_lives_and_dies_at_oidc_provider() {
    let idp = RealIdp::start(Product::OidcProvider).await;
    lives(&idp, false).await;
    idp.pull("/renew-tokens").await;
    lives(&idp, true).await;
}

#[tokio::test]
async fn a_client_lives_and_dies_at_django_oauth_toolkit() {
    let idp = RealIdp::start(Product::DjangoOauthToolkit).await;
    lives(&idp, false).await;
}

#[tokio::test]
async fn real_servers_refuse_a_token_that_is_none() {
    for product in [Product::OidcProvider, Product::DjangoOauthToolkit] {
        let idp = RealIdp::start(product).await;
        let registrar = registrar(
            provider(Vendor::Generic, &idp.issuer),
            config(Dialect::Generic, with_token()),
        );
        let error = registrar.create(&request("App")).await.unwrap_err();
        assert!(matches!(error, Error::Access(_)), "{product:?}: {error}");
        assert!(!error.to_string().contains(TOKEN), "{error}");
    }
}
