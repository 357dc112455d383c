//! What Auth0's preset makes of Auth0.

use serde_json::json;

use super::{API, Auth0, Profile, Refusal, too_many};
use crate::{
    harness::now,
    vendors::{
        emulation::{Vendor, random},
        shared::{self, Mistake, as_ever, as_it_is, asked_for, fields},
        site::{SECRET, Site},
        table,
    },
};

/// Auth0 has no introspection, and its secrets have no end. A client without a client grant is the
/// operator's mistake. A deleted client's tokens live on until they end.
#[tokio::test]
async fn each_credential_in_each_way() {
    table::holds::<Auth0>(
        "credential     | basic                                   | jwt                           | opaque                           | session
         right          | 200 t1                                  | 200                           | 401 invalid_token not_a_jwt cure | 200
         wrong          | 401 invalid_client wrong_secret t1 cure | 401 invalid_token signature   | 401 invalid_token not_a_jwt cure | 401 invalid_session session_unreadable
         rotated        | 401 invalid_client wrong_secret t1 cure | 401 invalid_token unknown_key | 401 invalid_token not_a_jwt cure | 401 invalid_session credentials_changed
         expired        | -                                       | 401 invalid_token expired     | 401 invalid_token not_a_jwt cure | 401 invalid_session session_idle
         unknown here   | 401 invalid_client unknown_client       | 403 unknown_application       | 401 invalid_token not_a_jwt cure | 403 unknown_application
         unknown there  | 401 invalid_client wrong_secret t1 cure | 200                           | 401 invalid_token not_a_jwt cure | 200
         without scope  | 403 insufficient_scope t1               | 403 insufficient_scope        | 401 invalid_token not_a_jwt cure | 403 insufficient_scope
         without grant  | 502 identity_provider_misconfigured token_request_refused t1 cure | - | -                                | -
         not registered | 403 registration_required t1            | 403 registration_required     | 401 invalid_token not_a_jwt cure | 403 registration_required",
    )
    .await;
}

#[tokio::test]
async fn each_refusal_of_the_token_endpoint_has_its_answer_and_its_cure() {
    let refused = "502 identity_provider_misconfigured token_request_refused t1 cure";
    shared::mistakes::<Auth0>(&[
        Mistake {
            case: "wrong secret, as observed",
            strategy: as_it_is,
            vendor: |account, _, id| account.clients.get_mut(id).unwrap().rotate("other"),
            ends: "401 invalid_client wrong_secret t1 cure",
            cure: "30 s",
        },
        Mistake {
            case: "wrong secret, as documented",
            strategy: as_it_is,
            vendor: |account, auth0, id| {
                auth0.refusal = Refusal::Documented;
                account.clients.get_mut(id).unwrap().rotate("other");
            },
            ends: "401 invalid_client wrong_secret t1 cure",
            cure: "30 s",
        },
        Mistake {
            case: "no audience",
            strategy: |strategy| strategy["audience"] = json!([]),
            vendor: as_ever,
            ends: refused,
            cure: "token_request.audience",
        },
        Mistake {
            case: "an audience that is no API",
            strategy: |strategy| strategy["token_request"] = json!({"audience": "https://gone"}),
            vendor: as_ever,
            ends: refused,
            cure: "token_request.audience",
        },
        Mistake {
            case: "no client grant",
            strategy: as_it_is,
            vendor: |account, _, id| account.clients.get_mut(id).unwrap().granted = false,
            ends: refused,
            cure: "client grant",
        },
        Mistake {
            case: "a scope outside the client grant",
            strategy: |strategy| strategy["token_request"] = json!({"scope": "write:orders"}),
            vendor: as_ever,
            ends: refused,
            cure: "token_request.scope",
        },
        Mistake {
            case: "the grant type is switched off",
            strategy: as_it_is,
            vendor: |account, _, id| account.clients.get_mut(id).unwrap().grant_types.clear(),
            ends: "403 grant_refused t1 cure",
            cure: "grant type client credentials",
        },
    ])
    .await;
}

#[tokio::test]
async fn the_token_request_names_the_api() {
    for (request, expected) in [
        (json!(null), vec![("audience", API)]),
        (
            json!({"audience": API, "scope": Auth0::READ}),
            vec![("audience", API), ("scope", Auth0::READ)],
        ),
        (
            json!({"parameters": {"organization": "org_1"}}),
            vec![("audience", API), ("organization", "org_1")],
        ),
    ] {
        let site: Site<Auth0> = Site::with(|setup| {
            if !request.is_null() {
                setup.config["auth_strategies"][0]["token_request"] = request.clone();
            }
        })
        .await;
        site.ends(&site.basic(), "200 t1").await;
        let mut expected = fields(&expected);
        expected.extend(fields(&[("grant_type", "client_credentials")]));
        expected.sort();
        assert_eq!(asked_for(&site), expected, "{request}");
    }
}

/// Auth0 reads Basic as it stands.
#[tokio::test]
async fn every_way_of_sending_a_pair_is_one_that_auth0_reads() {
    for method in ["client_secret_post", "basic_raw"] {
        let site: Site<Auth0> = Site::with(|setup| {
            setup.config["identity_providers"][0]["token_endpoint_auth_method"] = json!(method);
        })
        .await;
        site.ends(&site.basic(), "200 t1").await;
    }
}

#[tokio::test]
async fn the_issuer_may_be_written_with_its_slash_or_without() {
    for ending in [
        "",
        "/",
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
    ] {
        let site: Site<Auth0> = Site::with(|setup| {
            let entry = &mut setup.config["identity_providers"][0];
            let bare = entry["issuer"].as_str().unwrap().trim_end_matches('/');
            entry["issuer"] = json!(format!("{bare}{ending}"));
        })
        .await;
        site.ends(&site.basic(), "200 t1").await;
        site.ends(&site.bearer(|token| token), "200").await;
        // `iss` is compared byte for byte all the same.
        let bare = site.idp.base.clone();
        let other = site.bearer(|token| token.claim("iss", bare));
        site.ends(&other, "401 invalid_token issuer").await;
    }
}

#[tokio::test]
async fn a_custom_domain_is_an_issuer_of_its_own() {
    for (extra, ends) in [(false, "401 invalid_token issuer"), (true, "200")] {
        let site: Site<Auth0> = Site::with(|setup| {
            let entry = &mut setup.config["identity_providers"][0];
            let custom = custom_domain(entry["issuer"].as_str().unwrap());
            if extra {
                entry["extra_issuers"] = json!([custom]);
            }
        })
        .await;
        let custom = custom_domain(&format!("{}/", site.idp.base));
        let call = site.bearer(|token| token.claim("iss", custom));
        site.ends(&call, ends).await;
    }
    // Configured by it, a tenant names it in everything.
    let site: Site<Auth0> = Site::with(|setup| {
        let entry = &mut setup.config["identity_providers"][0];
        entry["issuer"] = json!(custom_domain(entry["issuer"].as_str().unwrap()));
    })
    .await;
    site.ends(&site.basic(), "200 t1").await;
    let canonical = site.bearer(|token| token);
    site.ends(&canonical, "401 invalid_token issuer").await;
}

/// A tenant's address under another name.
fn custom_domain(issuer: &str) -> String {
    issuer.replace("127.0.0.1", "localhost")
}

#[tokio::test]
async fn both_profiles_of_access_tokens_name_the_client() {
    for profile in [Profile::Auth0, Profile::Rfc9068] {
        let site: Site<Auth0> = Site::start().await;
        site.idp.turn(|_, auth0| auth0.profile = profile);
        for call in [site.basic(), site.bearer(|token| token)] {
            let verdict = site.verdict(&call).await;
            verdict.response.assert_status(200);
            let seen = site.upstream.last();
            assert_eq!(
                seen.header("x-credential-identifier"),
                Some(&*site.client),
                "{profile:?}"
            );
            assert_eq!(seen.header("x-authenticated-scope"), Some(Auth0::READ));
        }
    }
}

#[tokio::test]
async fn what_no_tenant_signs_for_an_api_is_refused() {
    let site: Site<Auth0> = Site::start().await;
    let id = site.client.clone();
    for (case, call, ends) in [
        (
            "two clients",
            site.bearer(|token| token.claim("client_id", "another")),
            "401 invalid_token client_conflict",
        ),
        (
            "no client: the subject is none",
            site.bearer(|token| token.without("azp")),
            "401 invalid_token client_missing",
        ),
        (
            "for the Management API",
            site.bearer(|token| token.claim("aud", "https://acme.example/api/v2/")),
            "401 invalid_token audience cure",
        ),
        (
            "for /userinfo too",
            site.bearer(|token| token.claim("aud", json!([API, "https://acme.example/userinfo"]))),
            "200",
        ),
        (
            "HS256, by the secret of the API",
            site.orders().bearer(&hs256(&site, &id)),
            "401 invalid_token algorithm cure",
        ),
        (
            "encrypted",
            site.orders().bearer(&encrypted()),
            "401 invalid_token not_a_jwt cure",
        ),
    ] {
        let verdict = site.verdict(&call).await;
        assert_eq!(verdict.to_string(), ends, "{case}: {verdict:?}");
    }
}

/// A token of an API that is set to HS256.
fn hs256(site: &Site<Auth0>, client_id: &str) -> String {
    let token = site.idp.token(client_id).header("alg", "HS256");
    let input = token.without_header("kid").signing_input();
    let signature = crate::harness::keys::hs256(SECRET.as_bytes(), input.as_bytes());
    crate::harness::token::assemble(&input, &signature)
}

/// What a tenant gives where no API is asked for, as far as it looks like something: five parts.
fn encrypted() -> String {
    let header = r#"{"alg":"dir","enc":"A256GCM","iss":"https://acme-dev.eu.auth0.com/"}"#;
    let header = crate::harness::token::input(header, "");
    format!("{header}.{}.{}.{}", random(16), random(200), random(22))
}

#[tokio::test]
async fn the_next_key_is_known_before_it_signs() {
    let site: Site<Auth0> = Site::start().await;
    let next = site.idp.turn(|account, _| account.keys[1].clone());
    let call = site.bearer(|token| token.header("kid", &*next.kid).key(&next));
    site.ends(&call, "200").await;
}

#[tokio::test]
async fn a_tenant_that_is_asked_too_often_is_left_alone() {
    let quota = || too_many("Client quota exceeded", now() + 600, Some(3));
    shared::throttled::<Auth0>(quota, 2..=3).await;
    // The global limit tells when it ends, and nothing else.
    let text = "Global limit has been reached: see the X-RateLimit headers";
    shared::throttled::<Auth0>(|| too_many(text, now() + 5, None), 2..=5).await;
}

#[tokio::test]
async fn wrong_secrets_say_nothing_against_the_tenant() {
    shared::wrong_secrets_say_nothing_against_the_vendor::<Auth0>().await;
}

#[tokio::test]
async fn a_rotated_secret_works_as_soon_as_auth0_knows_it() {
    shared::a_secret_may_become_good_late::<Auth0>().await;
}
