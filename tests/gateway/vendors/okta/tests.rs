//! What Okta's preset makes of Okta.

use serde_json::json;

use super::{API, Okta, too_many};
use crate::{
    harness::{http1::Answer, idp::Endpoint, now, token::Token},
    vendors::{
        emulation::Vendor,
        shared::{self, Mistake, as_ever, as_it_is, asked_for, fields},
        site::Site,
        table,
    },
};

/// Okta introspects, and a deleted client's tokens are inactive there at once, while its JWTs pass
/// until they end. A policy that does not cover a client is the client's 403.
#[tokio::test]
async fn each_credential_in_each_way() {
    table::holds::<Okta>(
        "credential     | basic                              | jwt                                | opaque                                | session
         right          | 200 t1                             | 200                                | 200 i1                                | 200
         wrong          | 401 invalid_client wrong_secret t1 | 401 invalid_token signature        | 401 invalid_token inactive i1         | 401 invalid_session session_unreadable
         rotated        | 401 invalid_client wrong_secret t1 | 401 invalid_token unknown_key cure | 401 invalid_token credentials_changed | 401 invalid_session credentials_changed
         expired        | -                                  | 401 invalid_token expired          | 401 invalid_token inactive i1         | 401 invalid_session session_idle
         unknown here   | 401 invalid_client unknown_client  | 403 unknown_application            | 403 unknown_application i1            | 403 unknown_application
         unknown there  | 401 invalid_client wrong_secret t1 | 200                                | 401 invalid_token inactive i1         | 200
         without scope  | 403 insufficient_scope t1          | 403 insufficient_scope             | 403 insufficient_scope i1             | 403 insufficient_scope
         without grant  | 403 grant_refused t1 cure          | -                                  | -                                     | -
         not registered | 403 registration_required t1       | 403 registration_required          | 403 registration_required i1          | 403 registration_required",
    )
    .await;
}

#[tokio::test]
async fn each_refusal_of_the_token_endpoint_has_its_answer_and_its_cure() {
    let refused = "502 identity_provider_misconfigured token_request_refused t1 cure";
    shared::mistakes::<Okta>(&[
        Mistake {
            case: "an OpenID scope, as Kong asks for by default",
            strategy: |strategy| strategy["token_request"] = json!({"scope": "openid"}),
            vendor: as_ever,
            ends: refused,
            cure: "openid",
        },
        Mistake {
            case: "an OpenID scope beside a custom one",
            strategy: |strategy| strategy["token_request"] = json!({"scope": "openid orders.read"}),
            vendor: as_ever,
            ends: refused,
            cure: "openid",
        },
        Mistake {
            case: "no scope",
            strategy: |strategy| strategy["token_request"] = json!({}),
            vendor: as_ever,
            ends: refused,
            cure: "token_request.scope",
        },
        Mistake {
            case: "a scope that the server does not have",
            strategy: |strategy| strategy["token_request"] = json!({"scope": "orders.delete"}),
            vendor: as_ever,
            ends: refused,
            cure: "token_request.scope",
        },
        Mistake {
            case: "no policy covers the client",
            strategy: as_it_is,
            vendor: |account, _, id| account.clients.get_mut(id).unwrap().granted = false,
            ends: "403 grant_refused t1 cure",
            cure: "access policy",
        },
        Mistake {
            case: "no rule of the policy covers the scope",
            strategy: |strategy| strategy["token_request"] = json!({"scope": "orders.write"}),
            vendor: as_ever,
            ends: "403 grant_refused t1 cure",
            cure: "access policy",
        },
        Mistake {
            case: "outside the network zone",
            strategy: as_it_is,
            vendor: |account, _, _| {
                let told = json!({"error": "access_denied", "error_description": "Zone."});
                account.fault(Endpoint::Token, Answer::json(403, &told));
            },
            ends: "403 grant_refused t1 cure",
            cure: "policy",
        },
        Mistake {
            case: "the grant type is switched off",
            strategy: as_it_is,
            vendor: |account, _, id| account.clients.get_mut(id).unwrap().grant_types.clear(),
            ends: "403 grant_refused t1 cure",
            cure: "grant type client credentials",
        },
        Mistake {
            case: "an endpoint that was deactivated",
            strategy: as_it_is,
            vendor: |account, okta, _| {
                let gone = okta.not_found("/oauth2/default");
                account.fault(Endpoint::Token, gone);
            },
            ends: "502 identity_provider_misconfigured token_request_refused t1",
            cure: "",
        },
    ])
    .await;
}

#[tokio::test]
async fn the_token_request_names_scopes_and_no_api() {
    let site: Site<Okta> = Site::start().await;
    site.ends(&site.basic(), "200 t1").await;
    let expected = [("grant_type", "client_credentials"), ("scope", Okta::READ)];
    assert_eq!(asked_for(&site), fields(&expected));
    // A server with a default scope needs none.
    let site: Site<Okta> = Site::with(|setup| {
        let strategy = &mut setup.config["auth_strategies"][0];
        strategy.as_object_mut().unwrap().remove("token_request");
    })
    .await;
    site.idp
        .turn(|_, okta| okta.default_scope = Some(Okta::READ.to_owned()));
    site.ends(&site.basic(), "200 t1").await;
    let expected = [("grant_type", "client_credentials")];
    assert_eq!(asked_for(&site), fields(&expected));
}

/// Okta reads Basic as it stands, so that a secret with a `%` in it is another one form-encoded.
#[tokio::test]
async fn every_way_of_sending_a_pair_is_one_that_okta_reads() {
    for method in ["client_secret_post", "basic_raw"] {
        let site: Site<Okta> = Site::with(|setup| {
            setup.config["identity_providers"][0]["token_endpoint_auth_method"] = json!(method);
        })
        .await;
        site.ends(&site.basic(), "200 t1").await;
        let opaque = site.idp.opaque(&site.client);
        site.ends(&site.orders().bearer(&opaque), "200 i1").await;
    }
}

#[tokio::test]
async fn either_document_will_do() {
    for document in [
        "/oauth2/default",
        "/oauth2/default/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server/oauth2/default",
    ] {
        let site: Site<Okta> = Site::with(|setup| {
            let entry = &mut setup.config["identity_providers"][0];
            let issuer = entry["issuer"].as_str().unwrap();
            entry["issuer"] = json!(issuer.replace("/oauth2/default", document));
        })
        .await;
        site.ends(&site.basic(), "200 t1").await;
        site.ends(&site.bearer(|token| token), "200").await;
    }
}

#[tokio::test]
async fn any_key_of_the_set_may_sign() {
    let site: Site<Okta> = Site::start().await;
    let keys = site.idp.turn(|account, okta| {
        let mut keys = account.keys.clone();
        keys.push(okta.old_key.clone());
        keys
    });
    for key in keys {
        let call = site.bearer(|token| token.header("kid", &*key.kid).key(&key));
        site.ends(&call, "200").await;
    }
}

#[tokio::test]
async fn scopes_and_client_are_read_from_both_kinds_of_answer() {
    let site: Site<Okta> = Site::start().await;
    let opaque = site.idp.opaque(&site.client);
    for call in [
        site.basic(),
        site.bearer(|token| token.claim("scp", json!([Okta::READ, "flights.read"]))),
        site.orders().bearer(&opaque),
    ] {
        site.verdict(&call).await.response.assert_status(200);
        let seen = site.upstream.last();
        assert_eq!(seen.header("x-credential-identifier"), Some(&*site.client));
        let scopes = seen.header("x-authenticated-scope").unwrap();
        assert!(
            scopes.split(' ').any(|scope| scope == Okta::READ),
            "{scopes}"
        );
    }
}

/// A user's token names the user in `sub` and the application in `cid`.
#[tokio::test]
async fn the_client_is_cid_and_no_other_claim() {
    let site: Site<Okta> = Site::start().await;
    let user = |token: Token| token.claim("sub", "dana@example.com").claim("uid", "00u1");
    site.ends(&site.bearer(user), "200").await;
    let seen = site.upstream.last();
    assert_eq!(seen.header("x-credential-identifier"), Some(&*site.client));
    let none = site.bearer(|token| token.without("cid"));
    site.ends(&none, "401 invalid_token client_missing").await;
}

#[tokio::test]
async fn a_server_that_follows_the_host_has_two_issuers() {
    for (extra, ends) in [(false, "401 invalid_token issuer cure"), (true, "200")] {
        let site: Site<Okta> = Site::with(|setup| {
            let entry = &mut setup.config["identity_providers"][0];
            let custom = custom_url(entry["issuer"].as_str().unwrap());
            if extra {
                entry["extra_issuers"] = json!([custom]);
            }
        })
        .await;
        let custom = custom_url(&site.idp.turn(|_, okta| okta.issuer()));
        let call = site.bearer(|token| token.claim("iss", custom));
        site.ends(&call, ends).await;
    }
}

/// An org's address under a domain of its own.
fn custom_url(issuer: &str) -> String {
    issuer.replace("127.0.0.1", "localhost")
}

/// The keys of the org's own server are published nowhere: naming it among the issuers helps
/// nothing, and the log says so.
#[tokio::test]
async fn tokens_of_the_org_cannot_be_verified() {
    for (extra, ends) in [
        (false, "401 invalid_token issuer cure"),
        (true, "401 invalid_token unknown_key k1 cure"),
    ] {
        let site: Site<Okta> = Site::with(|setup| {
            let entry = &mut setup.config["identity_providers"][0];
            let org = entry["issuer"]
                .as_str()
                .unwrap()
                .replace("/oauth2/default", "");
            if extra {
                entry["extra_issuers"] = json!([org]);
            }
        })
        .await;
        let token = site.idp.turn(|_, okta| okta.org_token(&site.client));
        let token = token.claim("aud", API).build();
        let verdict = site.ends(&site.orders().bearer(&token), ends).await;
        assert!(verdict.cure().contains("/oauth2/default"), "{verdict:?}");
    }
}

#[tokio::test]
async fn without_a_client_to_introspect_as_only_jwts_pass() {
    let site: Site<Okta> = Site::with(|setup| {
        let entry = &mut setup.config["identity_providers"][0];
        entry.as_object_mut().unwrap().remove("client");
    })
    .await;
    site.ends(&site.basic(), "200 t1").await;
    site.ends(&site.bearer(|token| token), "200").await;
    let opaque = site.idp.opaque(&site.client);
    let call = site.orders().bearer(&opaque);
    let verdict = site.ends(&call, "401 invalid_token not_a_jwt cure").await;
    assert!(verdict.cure().contains("introspection"), "{verdict:?}");
}

/// A wrong secret of the gateway's own is nobody else's fault.
#[tokio::test]
async fn a_refused_introspection_is_no_verdict() {
    let site: Site<Okta> = Site::start().await;
    let opaque = site.idp.opaque(&site.client);
    site.idp.turn(|account, _| {
        for client in account.clients.values_mut() {
            client.rotate("other");
        }
    });
    let verdict = site.verdict(&site.orders().bearer(&opaque)).await;
    let told = verdict.to_string();
    assert!(
        told.starts_with("503 identity_provider_unavailable"),
        "{told}"
    );
}

#[tokio::test]
async fn an_org_that_is_asked_too_often_is_left_alone() {
    shared::throttled::<Okta>(|| too_many(now() + 5), 2..=5).await;
}

#[tokio::test]
async fn wrong_secrets_say_nothing_against_the_org() {
    shared::wrong_secrets_say_nothing_against_the_vendor::<Okta>().await;
}

#[tokio::test]
async fn a_rotated_secret_works_as_soon_as_okta_knows_it() {
    shared::a_secret_may_become_good_late::<Okta>().await;
}
