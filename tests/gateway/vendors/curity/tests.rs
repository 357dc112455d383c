//! What Curity's preset makes of Curity.

use serde_json::json;

use super::{Curity, Format, Inactive, OWN, discovery_url, signer};
use crate::{
    harness::{
        eventually,
        gateway::{Setup, Wait},
        http1::Answer,
        idp::Endpoint,
        keys::Alg,
    },
    vendors::{
        emulation::{Client, Emulation},
        shared::{self, Mistake, Way},
        site::Site,
        table,
    },
};

/// What an operator names as the API's audience at Curity.
const API: &str = "api.example.net";

/// A token outlives its client where nobody asks Curity about it.
#[tokio::test]
async fn each_credential_in_each_way() {
    table::holds::<Curity>(
        "credential     | basic                              | jwt                           | opaque                                | session
         right          | 200 t1                             | 200                           | 200 i1                                | 200
         wrong          | 401 invalid_client wrong_secret t1 | 401 invalid_token signature   | 401 invalid_token inactive i1         | 401 invalid_session session_unreadable
         rotated        | 401 invalid_client wrong_secret t1 | 401 invalid_token unknown_key | 401 invalid_token credentials_changed | 401 invalid_session credentials_changed
         expired        | -                                  | 401 invalid_token expired     | 401 invalid_token inactive i1         | 401 invalid_session session_idle
         unknown here   | 401 invalid_client unknown_client  | 403 unknown_application       | 403 unknown_application i1            | 403 unknown_application
         unknown there  | 401 invalid_client wrong_secret t1 | 200                           | 401 invalid_token inactive i1         | 200
         without scope  | 403 insufficient_scope t1          | 403 insufficient_scope        | 403 insufficient_scope i1             | 403 insufficient_scope
         without grant  | 403 grant_refused t1 cure          | -                             | -                                     | -
         not registered | 403 registration_required t1       | 403 registration_required     | 403 registration_required i1          | 403 registration_required",
    )
    .await;
}

#[tokio::test]
async fn each_mistake_is_named_with_its_cure() {
    shared::mistakes::<Curity>(&[
        Mistake {
            case: "a scope that the client does not have",
            strategy: |strategy| strategy["token_request"] = json!({"scope": "orders:write"}),
            vendor: shared::as_ever,
            ends: "502 identity_provider_misconfigured token_request_refused t1 cure",
            cure: "token_request.scope",
        },
        Mistake {
            case: "OpenID's scope, which Konnect asks for where nothing is set",
            strategy: |strategy| strategy["token_request"] = json!({"scope": "openid"}),
            vendor: shared::as_ever,
            ends: "502 identity_provider_misconfigured token_request_refused t1 cure",
            cure: "token_request.scope",
        },
        Mistake {
            case: "a client without the capability",
            strategy: shared::as_it_is,
            vendor: |account, _, id| account.clients.get_mut(id).unwrap().granted = false,
            ends: "403 grant_refused t1 cure",
            cure: "capability",
        },
        Mistake {
            case: "an audience that no client has",
            strategy: |strategy| strategy["audience"] = json!([API]),
            vendor: shared::as_ever,
            ends: "502 identity_provider_misconfigured audience t1 cure",
            cure: "audience",
        },
    ])
    .await;
}

#[tokio::test]
async fn curity_is_not_blamed_for_its_clients_and_they_are_not_blamed_for_it() {
    shared::wrong_secrets_say_nothing_against_the_vendor::<Curity>().await;
    shared::a_secret_may_become_good_late::<Curity>().await;
    let busy = Answer::new(429, "").header("Retry-After", "2");
    shared::throttled::<Curity>(|| busy, 1..=2).await;
}

#[tokio::test]
async fn three_lines_suffice_for_all_three_methods() {
    for as_konnect_asks in [false, true] {
        let idp = Emulation::<Curity>::start().await;
        idp.turn(|_, curity| curity.audience = json!([API, "other.example.net"]));
        let base = idp.base.clone();
        let site = Site::around(idp, |setup| {
            let issuer = if as_konnect_asks {
                discovery_url(&base)
            } else {
                format!("{base}/oauth/v2/oauth-anonymous")
            };
            setup.config["identity_providers"] =
                json!([{"name": "idp", "vendor": "curity", "issuer": issuer}]);
            setup.config["auth_strategies"] = json!([{
                "name": "partners", "identity_provider": "idp", "audience": [API],
                "auth_methods": ["client_credentials", "bearer", "session"],
            }]);
        })
        .await;
        for (call, method, expected) in [
            (site.basic(), "client_credentials", "200 t1"),
            (site.bearer(|token| token), "bearer", "200"),
            (site.orders().cookie(&site.cookie().await), "session", "200"),
        ] {
            site.ends(&call, expected).await;
            let seen = site.upstream.last();
            assert_eq!(seen.header("x-auth-method"), Some(method));
            assert_eq!(
                seen.header("x-credential-identifier"),
                Some(site.client.as_str())
            );
        }
        let foreign = site.bearer(|token| token.claim("aud", site.client.as_str()));
        let verdict = site.ends(&foreign, "401 invalid_token audience cure").await;
        assert!(verdict.cure().contains("audience"), "{verdict:?}");
    }
}

#[tokio::test]
async fn metadata_that_is_not_exposed_is_waited_for_or_named_in_the_configuration() {
    let hidden = || async {
        let idp = Emulation::<Curity>::start().await;
        idp.turn(|_, curity| curity.exposed = false);
        idp
    };
    let site = Site::around(hidden().await, |setup| {
        setup.wait = Wait::Listening;
        setup.config["identity_providers"][0]["jwks"] = json!({"unknown_kid_interval": "100ms"});
    })
    .await;
    for call in [site.basic(), site.bearer(|token| token)] {
        let expected = "503 identity_provider_unavailable no_metadata cure";
        let verdict = site.ends(&call, expected).await;
        assert!(verdict.cure().contains("expose metadata"), "{verdict:?}");
    }
    assert!(
        site.gateway
            .logged(&["ERROR", "no metadata", "404", "expose metadata"]),
        "an alarm"
    );
    site.idp.turn(|_, curity| curity.exposed = true);
    eventually!(
        site.bearer(|token| token).send().await.status == 200,
        "the metadata is found"
    );
    site.ends(&site.basic(), "200 t1").await;

    let idp = hidden().await;
    let base = idp.base.clone();
    let site = Site::around(idp, |setup| {
        let provider = &mut setup.config["identity_providers"][0];
        for (key, endpoint) in [
            ("token_endpoint", "token"),
            ("jwks_uri", "anonymous/jwks"),
            ("introspection_endpoint", "introspect"),
        ] {
            provider[key] = json!(format!("{base}/oauth/v2/oauth-{endpoint}"));
        }
    })
    .await;
    site.ends(&site.basic(), "200 t1").await;
    site.ends(&site.bearer(|token| token), "200").await;
    let token = site.idp.opaque(&site.client);
    site.ends(&site.orders().bearer(&token), "200 i1").await;
    assert_eq!(site.idp.hits(Endpoint::Discovery), 0);
}

#[tokio::test]
async fn opaque_tokens_pass_in_each_way_where_the_gateway_may_introspect() {
    for inactive in [Inactive::NoContent, Inactive::Told] {
        let idp = Emulation::<Curity>::start().await;
        idp.turn(|_, curity| {
            curity.tokens = Format::Opaque;
            curity.inactive = inactive;
        });
        let site = Site::around(idp, |_| {}).await;
        let verdict = site.ends(&site.basic(), "200 t1 i1").await;
        let cookie = verdict.response.cookie().expect("a session cookie");
        site.ends(&site.orders().cookie(&cookie), "200").await;
        site.ends(&site.basic(), "200").await;
        let token = site.idp.opaque(&site.client);
        site.ends(&site.orders().bearer(&token), "200 i1").await;
        site.ends(&site.orders().bearer(&token), "200").await;
        let asked = site.idp.requests(Endpoint::Introspection);
        assert_eq!(asked[0].header("accept"), Some("application/json"));
        for made_up in ["_0XBK7QZM_made-up", "made.up"] {
            let call = site.orders().bearer(made_up);
            let expected = "401 invalid_token inactive i1";
            site.ends(&call, expected).await;
            site.ends(&call, "401 invalid_token inactive").await;
        }
        let wrong = site.orders().basic(&site.client, "not-the-secret");
        site.ends(&wrong, "401 invalid_client wrong_secret t1")
            .await;
    }
}

/// The mistake: nobody told the gateway how to introspect, or Curity to make JWTs.
#[tokio::test]
async fn opaque_tokens_without_introspection_are_refused_with_the_cure() {
    let idp = Emulation::<Curity>::start().await;
    idp.turn(|_, curity| curity.tokens = Format::Opaque);
    let site = Site::around(idp, without_introspection).await;
    let token = site.idp.opaque(&site.client);
    let verdict = site
        .ends(
            &site.orders().bearer(&token),
            "401 invalid_token not_a_jwt cure",
        )
        .await;
    assert!(verdict.cure().contains("introspection"), "{verdict:?}");
    site.explains("--token", &token, &verdict).await;
    // What Curity itself says of the pair is proof enough.
    let verdict = site.ends(&site.basic(), "200 t1").await;
    let cookie = verdict.response.cookie().expect("a session cookie");
    site.ends(&site.orders().cookie(&cookie), "200").await;
    let ledger = site.gateway.get("/ledger");
    let call = ledger.basic(&site.client, crate::vendors::site::SECRET);
    site.ends(&call, "403 insufficient_scope").await;
    let told = site.check();
    for text in ["warning", "opaque", "client for introspection"] {
        assert!(told.contains(text), "{text}: {told}");
    }
}

#[tokio::test]
async fn an_introspection_client_that_curity_refuses_is_no_fault_of_the_caller() {
    let other = ("client-without-the-capability", "its-secret");
    for (id, secret) in [(OWN, "not-the-secret"), other] {
        let idp = Emulation::<Curity>::start().await;
        let capable_of_nothing = Client::new(other.1, "");
        idp.turn(|account, _| {
            account
                .clients
                .insert(other.0.to_owned(), capable_of_nothing);
        });
        let site = Site::around(idp, |setup| {
            setup.config["identity_providers"][0]["client"]["id"] = json!(id);
            setup.files.retain(|(name, _)| name != "secrets/own");
            setup
                .files
                .push(("secrets/own".to_owned(), secret.to_owned()));
        })
        .await;
        let token = site.idp.opaque(&site.client);
        let expected = "503 identity_provider_unavailable error_status i1";
        let verdict = site.ends(&site.orders().bearer(&token), expected).await;
        assert!(verdict.response.header("retry-after").is_some());
        assert!(
            site.gateway.logged(&["ERROR", "idp", "check `client`"]),
            "an alarm"
        );
        site.ends(&site.bearer(|token| token), "200").await;
    }
}

#[tokio::test]
async fn keys_of_every_kind_verify_by_their_negative_names() {
    let idp = Emulation::<Curity>::start().await;
    let keys: Vec<_> = [
        Alg::EdDsa,
        Alg::Es256,
        Alg::Es384,
        Alg::Ps256,
        Alg::Rs256,
        Alg::Rs512,
    ]
    .map(signer)
    .into();
    idp.turn(|account, _| account.keys.clone_from(&keys));
    let site = Site::around(idp, |_| {}).await;
    for n in 0..keys.len() {
        let signing = site.idp.turn(|account, _| account.key());
        assert!(signing.kid.starts_with('-'), "{}", signing.kid);
        let token = site.idp.token(&site.client);
        assert!(!token.head().contains("typ"), "{}", token.head());
        let verdict = site.verdict(&site.orders().bearer(&token.build())).await;
        assert_eq!(verdict.to_string(), "200", "{:?}", signing.alg);
        // The same key under a name that another one bears.
        let misnamed = token.header("kid", keys[(n + 1) % keys.len()].kid.as_str());
        let call = site.orders().bearer(&misnamed.build());
        site.verdict(&call)
            .await
            .response
            .assert_problem(401, "invalid_token");
        site.idp.turn(|account, _| account.keys.rotate_left(1));
    }
}

#[tokio::test]
async fn what_is_no_access_token_does_not_pass() {
    let site = Site::<Curity>::start().await;
    for (name, value) in [
        ("purpose", json!("id")),
        ("purpose", json!("refresh_token")),
        ("nonce", json!("n-0S6_WzA2Mj")),
        ("at_hash", json!("MTIzNDU2Nzg5MDEyMzQ1Ng")),
    ] {
        let call = site.bearer(|token| token.claim(name, value));
        site.ends(&call, "401 invalid_token not_access_token").await;
    }
    // A mapper may leave it out.
    site.ends(&site.bearer(|token| token.without("purpose")), "200")
        .await;
}

/// They register and manage clients; Curity calls them active as any other.
#[tokio::test]
async fn tokens_for_registration_do_not_pass() {
    let site = Site::<Curity>::start().await;
    for scope in ["dcr", "dcrm", "orders dcr"] {
        let token = site.idp.turn(|account, curity| {
            let client = site.client.as_str();
            curity.reference(account, client, scope)
        });
        let call = site.orders().bearer(&token);
        site.ends(&call, "401 invalid_token management_scope i1")
            .await;
    }
}

#[tokio::test]
async fn a_user_does_not_become_the_application_of_its_name() {
    let site = Site::<Curity>::start().await;
    let theirs = |claim: &'static str| {
        let client = "a-client-that-dana-signed-in-to";
        site.bearer(|token| token.claim(claim, client))
    };
    for claim in ["client_id", "azp"] {
        let verdict = site
            .ends(&theirs(claim), "401 invalid_token client_conflict cure")
            .await;
        assert!(verdict.cure().contains("credential_claim"), "{verdict:?}");
    }
    site.gateway
        .reconfigure(|c| c["auth_strategies"][0]["credential_claim"] = json!(["client_id"]))
        .await;
    let expected = "403 unknown_application";
    site.ends(&theirs("client_id"), expected).await;
    let client = site.client.as_str();
    let ours = site.bearer(|token| token.claim("sub", "dana").claim("client_id", client));
    site.ends(&ours, "200").await;
}

#[tokio::test]
async fn secrets_arrive_as_they_are_in_each_way_that_curity_reads() {
    shared::secrets_arrive::<Curity>(&[
        Way::well(None, |_| {}),
        Way::well(Some("client_secret_post"), |_| {}),
        Way::well(Some("client_secret_basic"), |_| {}),
        // A preset goes by what the metadata lists.
        Way::well(None, |curity| {
            curity.lists = vec!["client_secret_basic".to_owned()]
        }),
        // Curity form-decodes, which makes something else of what was not encoded.
        Way {
            method: Some("basic_raw"),
            lists: |_| {},
            arrives: |secret| !(secret.contains('+') || secret.contains("%41")),
        },
    ])
    .await;
}

/// As an operator begins: without a client for introspection.
fn without_introspection(setup: &mut Setup) {
    let provider = setup.config["identity_providers"][0].as_object_mut();
    provider.unwrap().remove("client");
}
