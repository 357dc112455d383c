//! What WSO2's preset makes of WSO2 Identity Server.

use serde_json::{Value, json};

use super::{Format, Scopes, Subject, Wso2, reference};
use crate::{
    harness::{
        add, eventually,
        gateway::{Setup, Wait},
        http1::Answer,
        idp::Endpoint,
        keys::Alg,
    },
    vendors::{
        emulation::{Emulation, Vendor},
        shared::{self, Mistake, Way},
        site::{Site, application},
        table,
    },
};

/// A token outlives its client where nobody asks the server about it.
#[tokio::test]
async fn each_credential_in_each_way() {
    table::holds::<Wso2>(
        "credential     | basic                              | jwt                           | opaque                                | session
         right          | 200 t1                             | 200                           | 200 i1                                | 200
         wrong          | 401 invalid_client wrong_secret t1 | 401 invalid_token signature   | 401 invalid_token inactive i1         | 401 invalid_session session_unreadable
         rotated        | 401 invalid_client wrong_secret t1 | 401 invalid_token unknown_key | 401 invalid_token credentials_changed | 401 invalid_session credentials_changed
         expired        | -                                  | 401 invalid_token expired     | 401 invalid_token inactive i1         | 401 invalid_session session_idle
         unknown here   | 401 invalid_client unknown_client  | 403 unknown_application       | 403 unknown_application i1            | 403 unknown_application
         unknown there  | 401 invalid_client wrong_secret t1 | 200                           | 401 invalid_token inactive i1         | 200
         without scope  | 403 insufficient_scope t1 cure     | 403 insufficient_scope cure   | 403 insufficient_scope i1 cure        | 403 insufficient_scope cure
         without grant  | 403 grant_refused t1 cure          | -                             | -                                     | -
         not registered | 403 registration_required t1       | 403 registration_required     | 403 registration_required i1          | 403 registration_required",
    )
    .await;
}

#[tokio::test]
async fn each_mistake_is_named_with_its_cure() {
    shared::mistakes::<Wso2>(&[
        Mistake {
            case: "an application without the grant type",
            strategy: shared::as_it_is,
            vendor: |account, _, id| account.clients.get_mut(id).unwrap().grant_types.clear(),
            ends: "403 grant_refused t1 cure",
            cure: "client credentials",
        },
        Mistake {
            case: "an audience that no application has",
            strategy: |strategy| strategy["audience"] = json!(["https://orders.example"]),
            vendor: shared::as_ever,
            ends: "502 identity_provider_misconfigured audience t1 cure",
            cure: "audience",
        },
    ])
    .await;
    let site = Site::<Wso2>::with(|setup| {
        let strategy = setup.config["auth_strategies"][0].as_object_mut();
        strategy.unwrap().remove("token_request");
    })
    .await;
    let expected = "403 insufficient_scope t1 cure";
    let verdict = site.ends(&site.basic(), expected).await;
    assert!(
        verdict.cure().contains("token_request.scope"),
        "{verdict:?}"
    );
}

#[tokio::test]
async fn the_server_is_not_blamed_for_its_clients_and_they_are_not_blamed_for_it() {
    shared::wrong_secrets_say_nothing_against_the_vendor::<Wso2>().await;
    shared::a_secret_may_become_good_late::<Wso2>().await;
    shared::throttled::<Wso2>(|| Answer::new(429, ""), 1..=1).await;
}

/// Three, and one for a certificate that is the server's own.
#[tokio::test]
async fn three_lines_suffice_for_all_three_methods() {
    let site = Site::<Wso2>::with(plain).await;
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
    let asked = site.idp.requests(Endpoint::Token);
    assert_eq!(asked[0].field("ext_token_type").as_deref(), Some("JWT"));
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_not_trusted() {
    let site = Site::<Wso2>::with(|setup| {
        setup.wait = Wait::Listening;
        let provider = setup.config["identity_providers"][0].as_object_mut();
        provider.unwrap().remove("ca_file");
    })
    .await;
    for call in [site.basic(), site.bearer(|token| token)] {
        let response = call.send().await;
        response.assert_problem(503, "identity_provider_unavailable");
    }
    assert_eq!(site.idp.hits(Endpoint::Discovery), 0);
    assert_eq!(site.idp.hits(Endpoint::Token), 0);
    eventually!(site.gateway.logged(&["certificate"]), "the log names it");
}

/// The issuer is the same wherever the metadata is read.
#[tokio::test]
async fn metadata_is_found_at_each_place_and_at_no_other() {
    for place in [
        "token/.well-known/openid-configuration",
        "token/.well-known/oauth-authorization-server",
        "oidcdiscovery/.well-known/openid-configuration",
    ] {
        for key in ["issuer", "discovery_url"] {
            let idp = Emulation::<Wso2>::start().await;
            let url = format!("{}/oauth2/{place}", idp.base);
            let site = Site::around(idp, |setup| {
                setup.config["identity_providers"][0][key] = json!(url);
            })
            .await;
            let verdict = site.verdict(&site.bearer(|token| token)).await;
            assert_eq!(verdict.to_string(), "200", "{key} {place}");
        }
    }
    // The second names an issuer, and that is not how it was asked for.
    for (service, ends, told) in [
        ("whatever", "no_metadata cure", ["no metadata", "400"]),
        (
            "oidcdiscovery",
            "unreadable",
            ["metadata is of another issuer", "/oauth2/token"],
        ),
    ] {
        let idp = Emulation::<Wso2>::start().await;
        let issuer = format!("{}/oauth2/{service}", idp.base);
        let site = Site::around(idp, |setup| {
            setup.wait = Wait::Listening;
            setup.config["identity_providers"][0]["issuer"] = json!(issuer);
        })
        .await;
        let expected = format!("503 identity_provider_unavailable {ends}");
        site.ends(&site.basic(), &expected).await;
        assert!(site.gateway.logged(&told), "{told:?}");
    }
}

#[tokio::test]
async fn a_tenant_is_an_issuer_of_its_own() {
    let idp = Emulation::<Wso2>::start().await;
    idp.turn(|_, server| server.tenant = Some("acme.example"));
    let site = Site::around(idp, |_| {}).await;
    let issuer = format!("{}/t/acme.example/oauth2/token", site.idp.base);
    assert_eq!(site.idp.turn(|_, server| server.issuer()), issuer);
    site.ends(&site.basic(), "200 t1").await;
    site.ends(&site.bearer(|token| token), "200").await;
    let token = site.idp.opaque(&site.client);
    site.ends(&site.orders().bearer(&token), "200 i1").await;
    let base = site.idp.base.clone();
    for other in ["", "/t/other.example"] {
        let issuer = format!("{base}{other}/oauth2/token");
        let call = site.bearer(|token| token.claim("iss", issuer));
        site.ends(&call, "401 invalid_token issuer").await;
    }
}

#[tokio::test]
async fn opaque_tokens_are_introspected_where_jwts_are_not_to_be_had() {
    let silent = || async {
        let idp = Emulation::<Wso2>::start().await;
        idp.turn(|_, server| server.reads_token_type = false);
        idp
    };
    let site = Site::around(silent().await, |_| {}).await;
    let verdict = site.ends(&site.basic(), "200 t1 i1").await;
    let cookie = verdict.response.cookie().expect("a session cookie");
    site.ends(&site.orders().cookie(&cookie), "200").await;

    let site = Site::around(silent().await, plain).await;
    site.ends(&site.basic(), "200 t1").await;
    let token = site.idp.opaque(&site.client);
    let call = site.orders().bearer(&token);
    let verdict = site.ends(&call, "401 invalid_token not_a_jwt cure").await;
    assert!(verdict.cure().contains("ext_token_type"), "{verdict:?}");
    assert!(verdict.cure().contains("introspection"), "{verdict:?}");
    let told = site.check();
    assert!(told.contains("client for introspection"), "{told}");

    // The application itself may say what its tokens are.
    let idp = silent().await;
    idp.turn(|_, server| server.tokens = Format::Jwt);
    let site = Site::around(idp, |_| {}).await;
    site.ends(&site.basic(), "200 t1").await;
}

#[tokio::test]
async fn what_the_operator_says_of_the_token_type_is_said_alone() {
    let site = Site::<Wso2>::with(|setup| {
        setup.config["auth_strategies"][0]["token_request"]["parameters"] =
            json!({"ext_token_type": "Default"});
    })
    .await;
    site.ends(&site.basic(), "200 t1 i1").await;
    let asked = site.idp.requests(Endpoint::Token);
    assert_eq!(asked[0].field("ext_token_type").as_deref(), Some("Default"));
}

/// Each key is published once for every algorithm, and once more under an older name.
#[tokio::test]
async fn a_key_is_found_by_its_name_and_used_as_that_says() {
    let site = Site::<Wso2>::start().await;
    let signing = site.idp.turn(|account, _| account.key());
    let thumbprint = super::thumbprint(&signing).to_owned();
    let named = |alg: Alg| {
        let mut key = signing.named(&format!("{thumbprint}_{}", alg.name()));
        key.alg = alg;
        key
    };
    for alg in [Alg::Ps256, Alg::Rs256, Alg::Rs512] {
        let key = named(alg);
        let call = site.bearer(|token| {
            let token = token.header("alg", alg.name());
            token.header("kid", key.kid.as_str()).key(&key)
        });
        let verdict = site.verdict(&call).await;
        assert_eq!(verdict.to_string(), "200", "{alg:?}");
    }
    let legacy = site.bearer(|token| token.header("kid", thumbprint.as_str()));
    site.ends(&legacy, "200").await;
    let other = named(Alg::Ps256);
    let misnamed = site.bearer(|token| token.header("kid", other.kid.as_str()));
    site.ends(&misnamed, "401 invalid_token algorithm").await;
    let spare = site.idp.turn(|_, server| server.others[1].clone());
    let call = site.bearer(|token| {
        let token = token.header("alg", spare.alg.name());
        token.header("kid", spare.kid.as_str()).key(&spare)
    });
    site.ends(&call, "200").await;
}

#[tokio::test]
async fn scopes_and_audiences_may_be_lists() {
    let idp = Emulation::<Wso2>::start().await;
    let api = "https://orders.example";
    idp.turn(|account, server| {
        server.scopes = Scopes::List;
        server.audiences = vec![api];
        assert!(account.clients.is_empty());
    });
    let site = Site::around(idp, |setup| {
        setup.config["auth_strategies"][0]["audience"] = json!([api]);
    })
    .await;
    site.ends(&site.basic(), "200 t1").await;
    site.ends(&site.bearer(|token| token), "200").await;
    let seen = site.upstream.last();
    assert_eq!(seen.header("x-authenticated-scope"), Some("orders"));
    let mine = site.client.as_str();
    let alone = site.bearer(|token| token.claim("aud", mine));
    let verdict = site.ends(&alone, "401 invalid_token audience cure").await;
    assert!(verdict.cure().contains("audience"), "{verdict:?}");
    // Introspection tells no audience at all.
    let opaque = site.idp.opaque(mine);
    site.ends(
        &site.orders().bearer(&opaque),
        "401 invalid_token audience i1 cure",
    )
    .await;
}

/// In older releases the subject of an application's token is whoever owns it.
#[tokio::test]
async fn an_owner_does_not_become_an_application() {
    let idp = Emulation::<Wso2>::start().await;
    idp.turn(|_, server| server.subject = Subject::Owner);
    let site = Site::around(idp, |_| {}).await;
    site.gateway
        .register(|a| add(a, application("admin@carbon.super")))
        .await;
    for call in [site.basic(), site.bearer(|token| token)] {
        assert_eq!(site.verdict(&call).await.response.status, 200);
        let seen = site.upstream.last();
        assert_eq!(
            seen.header("x-credential-identifier"),
            Some(site.client.as_str())
        );
    }
    let without = site.bearer(|token| token.without("client_id"));
    site.ends(&without, "401 invalid_token client_missing")
        .await;
    site.gateway
        .reconfigure(|c| c["auth_strategies"][0]["credential_claim"] = json!(["sub"]))
        .await;
    site.ends(
        &site.bearer(|token| token),
        "401 invalid_token client_conflict",
    )
    .await;
}

#[tokio::test]
async fn introspection_is_read_as_the_server_means_it() {
    let site = Site::<Wso2>::start().await;
    for scope in [
        "internal_dcr_create",
        "internal_dcr_delete orders",
        "orders internal_dcr_view",
    ] {
        let token = site
            .idp
            .turn(|account, _| reference(account, &site.client, scope));
        let call = site.orders().bearer(&token);
        site.ends(&call, "401 invalid_token management_scope i1")
            .await;
    }
    // What it says of a token that is blank, and of one whose application was deleted.
    let answer = Answer::json(400, &json!({"error": "Invalid input"}));
    site.idp.fault(Endpoint::Introspection, answer);
    let call = site.orders().bearer("some-token");
    site.ends(&call, "503 identity_provider_unavailable error_status i1")
        .await;
    site.idp.heal(Endpoint::Introspection);
    site.ends(&call, "401 invalid_token inactive i1").await;

    // Of a JWT it says more, and calls its kind by another name.
    site.gateway
        .reconfigure(|c| c["auth_strategies"][0]["bearer"] = json!({"verify": "introspection"}))
        .await;
    let token = site.idp.token(&site.client);
    let call = site.orders().bearer(&token.build());
    site.ends(&call, "401 invalid_token inactive i1").await;
    let token = token.claim("jti", "another");
    let mut facts = Value::Object(token.claims().clone());
    facts["active"] = json!(true);
    facts["token_type"] = json!("JWT");
    site.idp
        .turn(|account, _| account.keep(token.build(), facts));
    site.ends(&site.orders().bearer(&token.build()), "200 i1")
        .await;
}

#[tokio::test]
async fn secrets_arrive_as_they_are_in_each_way_that_the_server_reads() {
    shared::secrets_arrive::<Wso2>(&[
        Way::well(None, |_| {}),
        Way::well(Some("client_secret_post"), |_| {}),
        Way::well(Some("basic_raw"), |_| {}),
        // A preset knows how the server reads what its metadata lists.
        Way::well(None, |server| {
            server.lists = vec!["client_secret_basic".to_owned()]
        }),
        // The server decodes nothing, so what was encoded stays so.
        Way {
            method: Some("client_secret_basic"),
            lists: |_| {},
            arrives: |secret| secret.starts_with("plain"),
        },
    ])
    .await;
}

/// As an operator begins: no client for introspection, nothing asked of tokens.
fn plain(setup: &mut Setup) {
    let provider = setup.config["identity_providers"][0].as_object_mut();
    provider.unwrap().remove("client");
    let strategy = setup.config["auth_strategies"][0].as_object_mut();
    let strategy = strategy.unwrap();
    strategy.remove("scopes_required");
    strategy.remove("token_request");
}
