//! What Azure's preset makes of Entra.

use serde_json::{Value, json};

use super::{API, Azure, GRAPH, KeyIssuer, too_many};
use crate::{
    harness::{client::Call, eventually},
    vendors::{
        emulation::{Emulation, Vendor},
        shared::{self, Mistake, as_ever, as_it_is, asked_for, fields},
        site::Site,
        table,
    },
};

/// Tokens of v2, of an API whose manifest asks for them, from a tenant that is configured by its v2
/// issuer. Secrets have an end; an application that the API asks an assignment of, and that has
/// none, is the client's 403; one that was deleted gets a 400 there and a 401 here.
#[tokio::test]
async fn each_credential_in_each_way_v2() {
    table::holds::<Azure<2>>(
        "credential     | basic                                   | jwt                           | opaque                           | session
         right          | 200 t1                                  | 200                           | 401 invalid_token not_a_jwt cure | 200
         wrong          | 401 invalid_client wrong_secret t1 cure | 401 invalid_token signature   | 401 invalid_token not_a_jwt cure | 401 invalid_session session_unreadable
         rotated        | 401 invalid_client wrong_secret t1 cure | 401 invalid_token unknown_key | 401 invalid_token not_a_jwt cure | 401 invalid_session credentials_changed
         expired        | 401 invalid_client wrong_secret t1 cure | 401 invalid_token expired     | 401 invalid_token not_a_jwt cure | 401 invalid_session session_idle
         unknown here   | 401 invalid_client unknown_client       | 403 unknown_application       | 401 invalid_token not_a_jwt cure | 403 unknown_application
         unknown there  | 401 invalid_client wrong_secret t1 cure | 200                           | 401 invalid_token not_a_jwt cure | 200
         without scope  | 403 insufficient_scope t1 cure          | 403 insufficient_scope cure   | 401 invalid_token not_a_jwt cure | 403 insufficient_scope cure
         without grant  | 403 grant_refused t1 cure               | -                             | -                                | -
         not registered | 403 registration_required t1            | 403 registration_required     | 401 invalid_token not_a_jwt cure | 403 registration_required",
    )
    .await;
}

/// The same of v1, the default of every API, from a tenant that is configured by its v1 issuer:
/// other documents, another token endpoint, other claims, and no difference to see from outside.
#[tokio::test]
async fn each_credential_in_each_way_v1() {
    table::holds::<Azure<1>>(
        "credential     | basic                                   | jwt                           | opaque                           | session
         right          | 200 t1                                  | 200                           | 401 invalid_token not_a_jwt cure | 200
         wrong          | 401 invalid_client wrong_secret t1 cure | 401 invalid_token signature   | 401 invalid_token not_a_jwt cure | 401 invalid_session session_unreadable
         rotated        | 401 invalid_client wrong_secret t1 cure | 401 invalid_token unknown_key | 401 invalid_token not_a_jwt cure | 401 invalid_session credentials_changed
         expired        | 401 invalid_client wrong_secret t1 cure | 401 invalid_token expired     | 401 invalid_token not_a_jwt cure | 401 invalid_session session_idle
         unknown here   | 401 invalid_client unknown_client       | 403 unknown_application       | 401 invalid_token not_a_jwt cure | 403 unknown_application
         unknown there  | 401 invalid_client wrong_secret t1 cure | 200                           | 401 invalid_token not_a_jwt cure | 200
         without scope  | 403 insufficient_scope t1 cure          | 403 insufficient_scope cure   | 401 invalid_token not_a_jwt cure | 403 insufficient_scope cure
         without grant  | 403 grant_refused t1 cure               | -                             | -                                | -
         not registered | 403 registration_required t1            | 403 registration_required     | 401 invalid_token not_a_jwt cure | 403 registration_required",
    )
    .await;
}

#[tokio::test]
async fn each_refusal_of_the_v2_endpoint_has_its_answer_and_its_cure() {
    let refused = "502 identity_provider_misconfigured token_request_refused t1 cure";
    shared::mistakes::<Azure<2>>(&[
        Mistake {
            case: "7000215: a wrong secret, or its id",
            strategy: as_it_is,
            vendor: |account, _, id| account.clients.get_mut(id).unwrap().rotate("other"),
            ends: "401 invalid_client wrong_secret t1 cure",
            cure: "not its id",
        },
        Mistake {
            case: "7000222: a secret that has ended",
            strategy: as_it_is,
            vendor: |account, _, id| {
                let client = account.clients.get_mut(id).unwrap();
                client.expired = std::mem::take(&mut client.secrets);
            },
            ends: "401 invalid_client wrong_secret t1 cure",
            cure: "expired",
        },
        Mistake {
            case: "700016: no such application",
            strategy: as_it_is,
            vendor: |account, _, id| drop(account.clients.remove(id)),
            ends: "401 invalid_client wrong_secret t1 cure",
            cure: "service principal",
        },
        Mistake {
            case: "7000229: no service principal",
            strategy: as_it_is,
            vendor: |account, _, _| {
                let text = "AADSTS7000229: The client application is missing service principal in \
                            the tenant.";
                let told = super::refuse(401, "unauthorized_client", 7_000_229, text);
                account.fault(crate::harness::idp::Endpoint::Token, told);
            },
            ends: "401 invalid_client wrong_secret t1 cure",
            cure: "service principal",
        },
        Mistake {
            case: "1002012: a scope that is not /.default",
            strategy: |strategy| {
                strategy["token_request"] = json!({"scope": "api://orders/Orders.Read"});
            },
            vendor: as_ever,
            ends: refused,
            cure: "/.default",
        },
        Mistake {
            case: "70011: two APIs at once",
            strategy: |strategy| {
                let both = "api://orders/.default api://flights/.default";
                strategy["token_request"] = json!({"scope": both});
            },
            vendor: as_ever,
            ends: refused,
            cure: "/.default",
        },
        Mistake {
            case: "500011: no such API",
            strategy: |strategy| {
                strategy["token_request"] = json!({"scope": "api://gone/.default"});
            },
            vendor: as_ever,
            ends: refused,
            cure: "app id uri",
        },
        Mistake {
            case: "501051: no assignment",
            strategy: as_it_is,
            vendor: |account, _, id| account.clients.get_mut(id).unwrap().granted = false,
            ends: "403 grant_refused t1 cure",
            cure: "app role",
        },
        Mistake {
            case: "90002: no such tenant",
            strategy: as_it_is,
            vendor: |_, azure, _| azure.tenant = super::guid(),
            ends: refused,
            cure: "tenant in issuer",
        },
        Mistake {
            case: "90100: `resource`, as v1 has it",
            strategy: |strategy| {
                strategy["token_request"] = json!({"parameters": {"resource": API}});
            },
            vendor: as_ever,
            ends: refused,
            cure: "token_request.scope",
        },
        Mistake {
            case: "900144: no scope",
            strategy: |strategy| strategy["audience"] = json!([]),
            vendor: as_ever,
            ends: refused,
            cure: "/.default",
        },
        Mistake {
            case: "a scope of Microsoft Graph",
            strategy: |strategy| {
                strategy["token_request"] = json!({"scope": format!("{GRAPH}/.default")});
            },
            vendor: as_ever,
            ends: "502 identity_provider_misconfigured graph_token t1 cure",
            cure: "microsoft graph",
        },
    ])
    .await;
}

#[tokio::test]
async fn each_mistake_at_the_v1_endpoint_has_its_answer_and_its_cure() {
    shared::mistakes::<Azure<1>>(&[
        Mistake {
            case: "Microsoft Graph",
            strategy: |strategy| {
                strategy["token_request"] = json!({"scope": format!("{GRAPH}/.default")});
            },
            vendor: as_ever,
            ends: "502 identity_provider_misconfigured graph_token t1 cure",
            cure: "microsoft graph",
        },
        Mistake {
            case: "no such API",
            strategy: |strategy| strategy["audience"] = json!(["api://gone"]),
            vendor: as_ever,
            ends: "502 identity_provider_misconfigured token_request_refused t1 cure",
            cure: "app id uri",
        },
    ])
    .await;
}

#[tokio::test]
async fn the_token_request_names_the_api_in_the_way_of_the_endpoint() {
    let grant = ("grant_type", "client_credentials");
    let v2: Site<Azure<2>> = Site::start().await;
    v2.ends(&v2.basic(), "200 t1").await;
    let expected = [grant, ("scope", "api://orders/.default")];
    assert_eq!(asked_for(&v2), fields(&expected));
    let v1: Site<Azure<1>> = Site::start().await;
    v1.ends(&v1.basic(), "200 t1").await;
    assert_eq!(asked_for(&v1), fields(&[grant, ("resource", API)]));
    // By the client id of the API, which is what v2 tokens are for.
    let site: Site<Azure<2>> = Site::with(|setup| {
        let audience = &mut setup.config["auth_strategies"][0]["audience"];
        *audience = json!([audience[1]]);
    })
    .await;
    site.ends(&site.basic(), "200 t1").await;
    let api = site.idp.turn(|_, azure| format!("{}/.default", azure.api));
    assert_eq!(asked_for(&site), fields(&[grant, ("scope", &api)]));
}

/// What an operator may write as the issuer: either issuer of the tenant, with its slash or
/// without, or the address of a document, v1's also at the host that its issuer names.
#[tokio::test]
async fn tokens_of_both_versions_pass_whatever_the_issuer_is_written_as() {
    const DOCUMENT: &str = "/.well-known/openid-configuration";
    type Form = fn(&Azure<2>) -> String;
    let v2: Form = |azure| format!("{}/{}/v2.0", azure.login, azure.tenant);
    let forms: [(Form, KeyIssuer); 8] = [
        (v2, KeyIssuer::Template),
        (v2, KeyIssuer::Tenant),
        (
            |azure| format!("{}/{}/v2.0/", azure.login, azure.tenant),
            KeyIssuer::Template,
        ),
        (
            |azure| format!("{}/{}/v2.0{DOCUMENT}", azure.login, azure.tenant),
            KeyIssuer::Tenant,
        ),
        (
            |azure| format!("{}/{}{DOCUMENT}", azure.login, azure.tenant),
            KeyIssuer::Template,
        ),
        (
            |azure| format!("{}/{}/", azure.sts, azure.tenant),
            KeyIssuer::Template,
        ),
        (
            |azure| format!("{}/{}", azure.sts, azure.tenant),
            KeyIssuer::Template,
        ),
        (
            |azure| format!("{}/{}{DOCUMENT}", azure.sts, azure.tenant),
            KeyIssuer::Template,
        ),
    ];
    for (form, key_issuer) in forms {
        let idp: Emulation<Azure<2>> = Emulation::start().await;
        let issuer = idp.turn(|_, azure| {
            azure.key_issuer = key_issuer;
            form(azure)
        });
        let site = Site::around(idp, |setup| {
            setup.config["identity_providers"][0]["issuer"] = json!(issuer);
        })
        .await;
        for version in [1, 2] {
            site.idp.turn(|_, azure| azure.version = version);
            let case = format!("{issuer} v{version} {key_issuer:?}");
            let bearer = site.verdict(&site.bearer(|token| token)).await;
            assert_eq!(bearer.to_string(), "200", "{case}: {bearer:?}");
        }
        let basic = site.verdict(&site.basic()).await;
        assert_eq!(basic.to_string(), "200 t1", "{issuer}: {basic:?}");
        // Both are compared byte for byte.
        let other = site.idp.turn(|_, azure| azure.issuer_of(1, &azure.tenant));
        let other = other.trim_end_matches('/').to_owned();
        let call = site.bearer(|token| token.claim("iss", other));
        site.ends(&call, "401 invalid_token issuer cure").await;
    }
}

/// What only the other document can tell is not held against a token while that is out of order.
#[tokio::test]
async fn an_issuer_that_could_not_be_asked_for_is_asked_for_again() {
    let idp: Emulation<Azure<2>> = Emulation::start().await;
    idp.turn(|_, azure| azure.lacks_v1 = true);
    let site = Site::around(idp, |_| ()).await;
    site.ends(&site.bearer(|token| token), "200").await;
    site.ends(&site.basic(), "200 t1").await;
    site.idp.turn(|_, azure| azure.version = 1);
    let v1 = site.bearer(|token| token);
    let verdict = site.verdict(&v1).await;
    let told = verdict.to_string();
    assert!(
        told.starts_with("503 identity_provider_unavailable"),
        "{told}"
    );
    site.idp.turn(|_, azure| azure.lacks_v1 = false);
    eventually!(v1.send().await.status == 200, "the v1 document is read");
}

#[tokio::test]
async fn the_audience_is_the_app_id_uri_or_the_client_id_of_the_api() {
    let site: Site<Azure<2>> = Site::start().await;
    let api = site.idp.turn(|_, azure| azure.api.clone());
    let token = |version: u8, audience: &str| {
        site.idp.turn(|account, azure| {
            let roles = ["Orders.Read".to_owned()];
            let token = azure.mint(account, version, &site.client, audience, &roles);
            site.orders().bearer(&token.build())
        })
    };
    for (call, ends) in [
        (token(1, API), "200"),
        (token(1, &api), "200"),
        (token(2, &api), "200"),
        (
            token(2, &format!("{API}/")),
            "401 invalid_token audience cure",
        ),
        (token(2, "api://other"), "401 invalid_token audience cure"),
    ] {
        site.ends(&call, ends).await;
    }
}

#[tokio::test]
async fn roles_are_an_applications_scopes_and_scp_a_users() {
    let site: Site<Azure<2>> = Site::start().await;
    let ledger =
        |token: crate::harness::token::Token| site.gateway.get("/ledger").bearer(&token.build());
    let token = || site.idp.token(&site.client);
    let write = token().claim("roles", json!(["Orders.Read", "Orders.Write"]));
    site.ends(&ledger(write), "200").await;
    let user = token()
        .without("roles")
        .claim("scp", "Orders.Read Orders.Write");
    site.ends(&ledger(user), "200").await;
    // Without an assignment there is no such claim at all, and nothing else counts as one.
    let none = token().without("roles");
    site.ends(&site.orders().bearer(&none.clone().build()), "200")
        .await;
    let none = none.claim("scope", "Orders.Write");
    let verdict = site.verdict(&ledger(none)).await;
    assert_eq!(verdict.to_string(), "403 insufficient_scope cure");
    assert!(verdict.cure().contains("app role"), "{verdict:?}");
}

/// A client that calls for a user has scopes of its own, and the user's roles are none of them.
#[tokio::test]
async fn a_users_roles_are_not_the_clients() {
    let site: Site<Azure<2>> = Site::with(|setup| {
        let role = <Azure<2> as Vendor>::READ;
        setup.config["auth_strategies"][0]["scopes_required"] = json!([role]);
    })
    .await;
    site.ends(&site.bearer(|token| token), "200").await;
    let delegated = site.bearer(|token| token.claim("scp", "Orders.Look"));
    let expected = "403 insufficient_scope cure";
    site.ends(&delegated, expected).await;
    site.gateway
        .reconfigure(|c| c["auth_strategies"][0]["scope_claims"] = json!(["scp", "roles"]))
        .await;
    site.ends(&delegated, "200").await;
}

#[tokio::test]
async fn the_client_is_read_from_the_claim_of_the_tokens_version() {
    let site: Site<Azure<2>> = Site::start().await;
    for (case, call, ends) in [
        (
            "the service principal is not the client",
            site.bearer(|token| token.without("azp")),
            "401 invalid_token client_missing",
        ),
        (
            "two clients",
            site.bearer(|token| token.claim("appid", "another")),
            "401 invalid_token client_conflict",
        ),
        (
            "a number",
            site.bearer(|token| token.claim("azp", 7)),
            "401 invalid_token claim_type",
        ),
    ] {
        let verdict = site.verdict(&call).await;
        assert_eq!(verdict.to_string(), ends, "{case}: {verdict:?}");
    }
}

/// What the real documents of Kong's guide and of many a forum ask for.
#[tokio::test]
async fn a_token_for_graph_is_told_from_a_forged_one() {
    let site: Site<Azure<1>> = Site::start().await;
    let token = site
        .idp
        .turn(|account, azure| azure.graph_token(account, &site.client));
    let call = site.orders().bearer(&token);
    let verdict = site.ends(&call, "401 invalid_token graph_token cure").await;
    assert!(verdict.cure().contains("/.default"), "{verdict:?}");
    site.explains("--token", &token, &verdict).await;
    // A `nonce` alone excuses nothing.
    let forged = site.bearer(|token| token.claim("appid", "x").header("nonce", "n"));
    let verdict = site.verdict(&forged).await;
    assert_eq!(verdict.response.status, 403, "{verdict:?}");
}

/// A gateway for the tenants of a list, by the document that serves all.
async fn for_many(
    authority: &str,
    configure: impl FnOnce(&mut Value, &Azure<2>),
) -> Site<Azure<2>> {
    let idp: Emulation<Azure<2>> = Emulation::start().await;
    let mut entry = idp.turn(|_, azure| {
        let mut entry = json!({
            "issuer": format!("{}/{authority}", azure.login), "tenants": [azure.tenant],
        });
        configure(&mut entry, azure);
        entry
    });
    Site::around(idp, |setup| {
        let provider = &mut setup.config["identity_providers"][0];
        for (name, value) in entry.as_object_mut().unwrap() {
            provider[name] = value.take();
        }
    })
    .await
}

/// A call with a token that is right in all but its tenant.
fn of_tenant(site: &Site<Azure<2>>, version: u8, tenant: &str) -> Call {
    let token = site.idp.turn(|account, azure| {
        let issuer = azure.issuer_of(version, tenant);
        let token = azure.mint(account, version, &site.client, &azure.api, &[]);
        token.claim("iss", issuer).claim("tid", tenant)
    });
    site.orders().bearer(&token.build())
}

#[tokio::test]
async fn of_a_document_for_many_only_the_listed_tenants_pass() {
    for authority in [
        "common/v2.0",
        "organizations/v2.0",
        "common/v2.0/.well-known/openid-configuration",
        "common/.well-known/openid-configuration",
    ] {
        let site = for_many(authority, |_, _| ()).await;
        let (own, strange) = (
            site.idp.turn(|_, azure| azure.tenant.clone()),
            super::guid(),
        );
        for version in [1, 2] {
            site.ends(&of_tenant(&site, version, &own), "200").await;
            let refused = "401 invalid_token issuer cure";
            for tenant in [&*strange, super::TENANT, "common", super::CONSUMERS] {
                site.ends(&of_tenant(&site, version, tenant), refused).await;
            }
        }
        // Nobody gets a token where the tenant is not named, and the log says what to do.
        let refused = "502 identity_provider_misconfigured token_request_refused t1 cure";
        let verdict = site.ends(&site.basic(), refused).await;
        assert!(verdict.cure().contains("one tenant"), "{verdict:?}");
    }
}

/// With the tenant's own token endpoint pairs work too, and its v1 issuer comes in by no back door.
#[tokio::test]
async fn a_configured_token_endpoint_adds_no_tenant_to_the_list() {
    let site = for_many("common/v2.0", |entry, azure| {
        entry["tenants"] = json!([super::guid()]);
        let endpoint = format!("{}/{}/oauth2/v2.0/token", azure.login, azure.tenant);
        entry["token_endpoint"] = json!(endpoint);
    })
    .await;
    let own = site.idp.turn(|_, azure| azure.tenant.clone());
    for version in [1, 2] {
        let call = of_tenant(&site, version, &own);
        site.ends(&call, "401 invalid_token issuer cure").await;
    }
    let site = for_many("common/v2.0", |entry, azure| {
        let endpoint = format!("{}/{}/oauth2/v2.0/token", azure.login, azure.tenant);
        entry["token_endpoint"] = json!(endpoint);
    })
    .await;
    site.ends(&site.basic(), "200 t1").await;
}

/// The keys of private accounts stand beside everybody's and name whose they are.
#[tokio::test]
async fn a_key_that_names_another_tenant_signs_nothing_of_ours() {
    let site = for_many("common/v2.0", |_, _| ()).await;
    let consumers = site.idp.turn(|_, azure| azure.consumers.clone());
    for version in [1, 2] {
        site.idp.turn(|_, azure| azure.version = version);
        let call = site.bearer(|token| token.header("kid", &*consumers.kid).key(&consumers));
        site.ends(&call, "401 invalid_token issuer cure").await;
    }
    // Tokens of private accounts themselves are nobody's either, unless their tenant is listed.
    let site = for_many("common/v2.0", |entry, azure| {
        entry["tenants"] = json!([azure.tenant, super::CONSUMERS]);
    })
    .await;
    let (consumers, token) = site.idp.turn(|account, azure| {
        let issuer = azure.issuer_of(2, super::CONSUMERS);
        let token = azure.mint(account, 2, &site.client, &azure.api, &[]);
        (azure.consumers.clone(), token.claim("iss", issuer))
    });
    let token = token.header("kid", &*consumers.kid).key(&consumers);
    site.ends(&site.orders().bearer(&token.build()), "200")
        .await;
}

/// Entra reads Basic form-encoded, as RFC 6749 wants it.
#[tokio::test]
async fn every_way_of_sending_a_pair_is_one_that_entra_reads() {
    for method in ["client_secret_post", "client_secret_basic"] {
        let site: Site<Azure<2>> = Site::with(|setup| {
            setup.config["identity_providers"][0]["token_endpoint_auth_method"] = json!(method);
        })
        .await;
        site.ends(&site.basic(), "200 t1").await;
    }
}

#[tokio::test]
async fn a_tenant_that_is_asked_too_often_is_left_alone() {
    shared::throttled::<Azure<2>>(|| too_many(3), 2..=3).await;
}

#[tokio::test]
async fn wrong_secrets_say_nothing_against_the_tenant() {
    shared::wrong_secrets_say_nothing_against_the_vendor::<Azure<2>>().await;
}

#[tokio::test]
async fn a_new_secret_works_as_soon_as_entra_knows_it() {
    shared::a_secret_may_become_good_late::<Azure<1>>().await;
}
