//! Clients at Okta, through `/oauth2/v1/clients` and the secrets of their apps.

use dcr_gateway::{
    idp::{
        registration::{Access, Config, Dialect, Error, Registrar, Rotation, Trace},
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
        emulation::{Deed, Emulation, Vendor},
        faithful::{Said, ask},
        okta::{MANAGEMENT_SCOPES, Okta, management, management_error, too_many},
    },
};

const API_TOKEN: &str = "00QCjAl4MlV-WPXM_vf7Hk9";
const ADMIN_SECRET: &str = "initial-Client_s3cret-of-Okta";
const REGISTRATION: Endpoint = Endpoint::Registration;

/// An org, and whoever registers there.
struct Site {
    idp: Emulation<Okta>,
    registrar: Registrar,
}

impl Site {
    /// With an API token.
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let idp: Emulation<Okta> = Emulation::start().await;
        idp.turn(|_, okta| okta.management.api_tokens.push(API_TOKEN.to_owned()));
        let access = Access::ApiKey(Secret::new(API_TOKEN));
        Self::around(idp, access, change)
    }

    /// With an access token of these scopes.
    async fn with_token(scopes: &[&str]) -> Self {
        let idp: Emulation<Okta> = Emulation::start().await;
        let token = idp.turn(|_, okta| okta.access_token(scopes));
        Self::around(idp, Access::InitialAccessToken(Secret::new(token)), |_| {})
    }

    fn around(idp: Emulation<Okta>, access: Access, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config(Dialect::Okta, access);
        change(&mut config);
        let issuer = idp.turn(|_, okta| okta.issuer());
        let registrar = registrar(provider(Preset::Okta, &issuer), config);
        Self { idp, registrar }
    }

    /// Asks for a token as the gateway does.
    async fn token(&self, id: &ClientId, secret: &Secret) -> Said {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", id.as_str()),
            ("client_secret", secret.expose()),
            ("scope", Okta::READ),
        ];
        let url = format!("{}/oauth2/default/v1/token", self.idp.base);
        ask(reqwest::Method::POST, &url, &form, None).await
    }

    fn clients(&self) -> Vec<Value> {
        self.idp.turn(|_, okta| okta.management.clients.clone())
    }

    /// What was asked of a client, with `ID` for its id and `SECRET` for that of a secret.
    fn asked(&self, id: &ClientId) -> Vec<String> {
        let requests = self.idp.requests(REGISTRATION);
        let line = |r: &crate::harness::http1::Request| {
            let path = r.path().replace(id.as_str(), "ID");
            let parts = path.split('/').map(|part| match part.starts_with("ocs") {
                true => "SECRET",
                false => part,
            });
            format!("{} {}", r.method, parts.collect::<Vec<_>>().join("/"))
        };
        requests.iter().map(line).collect()
    }
}

fn lost() -> Answer {
    Answer::new(500, "").manner(Manner::HangUp)
}

#[tokio::test]
async fn a_client_lives_from_registration_to_deletion() {
    let site = Site::start().await;
    let mut asked = request("Trip Planner");
    asked.scopes = vec![Okta::READ.to_owned()];
    let made = site.registrar.create(&asked).await.unwrap();
    let (id, secret) = (&made.client_id, &made.issued.secret);
    assert_eq!(made.scopes, None, "decided by policies");
    assert_eq!(made.issued.expires_at, None, "0 is never");
    assert_eq!(site.token(id, secret).await.status, 200, "good at once");
    let listed = site.registrar.secrets(id, &made.management).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(made.issued.id.as_ref(), Some(&listed[0].id));
    assert!(listed[0].created_at.is_some() && listed[0].hint.is_none());

    let client = &site.clients()[0];
    let name = format!("{} Trip Planner", asked.application);
    assert_eq!(client["client_name"], name);
    assert_eq!(client["application_type"], "service");
    assert_eq!(client["grant_types"], json!(["client_credentials"]));
    assert_eq!(client["response_types"], json!(["token"]));
    assert_eq!(client["token_endpoint_auth_method"], "client_secret_post");

    let told = site.registrar.read(id, &made.management).await.unwrap();
    assert_eq!(told.metadata["client_name"], name);

    asked.name = "ö".repeat(300);
    let told = site.registrar.update(id, &made.management, &asked);
    let told = told.await.unwrap();
    assert!(!told.metadata.contains_key("client_secret"), "{told:?}");
    let name = told.metadata["client_name"].as_str().unwrap();
    assert_eq!(name.chars().count(), 100);
    assert!(name.starts_with(&asked.application.to_string()));
    assert_eq!(site.token(id, secret).await.status, 200, "untouched");

    assert_eq!(site.registrar.rotation(), Rotation::InPlace);
    let rotated = site.registrar.rotate(id, &made.management, &asked);
    let rotated = rotated.await.unwrap();
    let newer = &rotated.issued.secret;
    assert_ne!(rotated.issued.id, made.issued.id);
    assert_eq!(site.token(id, secret).await.status, 401);
    assert_eq!(site.token(id, newer).await.status, 200);

    site.registrar
        .delete(id, &rotated.management)
        .await
        .unwrap();
    assert_eq!(site.clients().len(), 0);
    assert_eq!(site.token(id, newer).await.status, 401);
    site.registrar
        .delete(id, &rotated.management)
        .await
        .unwrap();
    let management = &made.management;
    for gone in [
        site.registrar.read(id, management).await.map(drop),
        site.registrar
            .update(id, management, &asked)
            .await
            .map(drop),
        site.registrar
            .rotate(id, management, &asked)
            .await
            .map(drop),
        site.registrar.secrets(id, management).await.map(drop),
        site.registrar.add_secret(id, management).await.map(drop),
        site.registrar
            .remove_secret(id, management, "ocs1")
            .await
            .map(drop),
        site.registrar.adopt(id).await.map(drop),
    ] {
        assert!(matches!(gone, Err(Error::Gone)), "{gone:?}");
    }
}

/// A PUT replaces the whole client: what somebody else set at Okta stays, and what Okta alone sets
/// is not sent.
#[tokio::test]
async fn an_update_changes_the_name_alone() {
    let site = Site::start().await;
    let mut asked = request("Trip Planner");
    let made = site.registrar.create(&asked).await.unwrap();
    site.idp.turn(|_, okta| {
        okta.management.clients[0]["client_uri"] = json!("https://acme.example/");
        okta.management.clients[0]["token_endpoint_auth_method"] = json!("client_secret_basic");
    });
    let mut expected = site.clients().remove(0);
    asked.name = "Voyager".to_owned();
    let told = site
        .registrar
        .update(&made.client_id, &made.management, &asked);
    told.await.unwrap();
    expected["client_name"] = json!(format!("{} Voyager", asked.application));
    assert_eq!(site.clients(), [expected]);
    let put = site.idp.requests(REGISTRATION).pop().unwrap();
    let sent: Value = serde_json::from_slice(&put.body).unwrap();
    for name in [
        "client_id_issued_at",
        "client_secret_expires_at",
        "client_secret",
        "logo_uri",
    ] {
        assert_eq!(sent.get(name), None, "{name}");
    }
}

#[tokio::test]
async fn two_secrets_at_most_and_never_none() {
    let site = Site::start().await;
    let made = site.registrar.create(&request("x")).await.unwrap();
    assert!(site.registrar.has_several_secrets());
    let (id, management) = (&made.client_id, &made.management);
    let first = made.issued.id.clone().unwrap();

    let refused = site.registrar.remove_secret(id, management, &first).await;
    let Err(Error::Refused(told)) = refused else {
        panic!("{refused:?}");
    };
    assert!(told.contains("add another one first"), "{told}");

    let (second, _) = site.registrar.add_secret(id, management).await.unwrap();
    for secret in [&made.issued.secret, &second.secret] {
        assert_eq!(site.token(id, secret).await.status, 200);
    }
    let third = site.registrar.add_secret(id, management).await;
    let Err(Error::Refused(told)) = third else {
        panic!("{third:?}");
    };
    assert!(
        told.contains("maximum") && told.contains("two secrets at most"),
        "{told}"
    );

    let _ = site
        .registrar
        .remove_secret(id, management, &first)
        .await
        .unwrap();
    assert_eq!(site.token(id, &made.issued.secret).await.status, 401);
    assert_eq!(site.token(id, &second.secret).await.status, 200);
    let listed = site.registrar.secrets(id, management).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(second.id.as_ref(), Some(&listed[0].id));
    // Gone already.
    let _ = site
        .registrar
        .remove_secret(id, management, &first)
        .await
        .unwrap();
    assert_eq!(site.token(id, &second.secret).await.status, 200);
}

/// Half way a removal leaves the secret inactive: it is listed so, and removed by the next.
#[tokio::test]
async fn a_removal_that_broke_off_is_finished_by_the_next() {
    let site = Site::start().await;
    let made = site.registrar.create(&request("x")).await.unwrap();
    let (id, management) = (&made.client_id, &made.management);
    let first = made.issued.id.clone().unwrap();
    let (second, _) = site.registrar.add_secret(id, management).await.unwrap();
    let refusal = management::not_permitted();
    site.idp
        .slip(REGISTRATION, ("DELETE", "/secrets/"), Deed::Undone, refusal);
    let broken = site.registrar.remove_secret(id, management, &first).await;
    assert!(matches!(broken, Err(Error::Access(_))), "{broken:?}");
    let listed = site.registrar.secrets(id, management).await.unwrap();
    let inactive = listed.iter().find(|known| known.id == first).unwrap();
    assert_eq!(inactive.hint.as_deref(), Some("inactive"));
    assert_eq!(site.token(id, &made.issued.secret).await.status, 401);
    let last = site
        .registrar
        .remove_secret(id, management, second.id.as_ref().unwrap());
    assert!(
        matches!(last.await, Err(Error::Refused(_))),
        "the only one that is good"
    );
    let _ = site
        .registrar
        .remove_secret(id, management, &first)
        .await
        .unwrap();
    assert_eq!(
        site.registrar.secrets(id, management).await.unwrap().len(),
        1
    );
}

#[tokio::test]
async fn a_rotation_with_two_secrets_leaves_one_that_is_good() {
    let site = Site::start().await;
    let asked = request("x");
    let made = site.registrar.create(&asked).await.unwrap();
    let (id, management) = (&made.client_id, &made.management);
    let (second, _) = site.registrar.add_secret(id, management).await.unwrap();
    let before = site.asked(id).len();
    let rotated = site.registrar.rotate(id, management, &asked).await.unwrap();
    for secret in [&made.issued.secret, &second.secret] {
        assert_eq!(site.token(id, secret).await.status, 401);
    }
    assert_eq!(site.token(id, &rotated.issued.secret).await.status, 200);
    let listed = site.registrar.secrets(id, management).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(rotated.issued.id.as_ref(), Some(&listed[0].id));
    assert_eq!(
        site.asked(id)[before..before + 5],
        [
            "GET /api/v1/apps/ID/credentials/secrets",
            "POST /api/v1/apps/ID/credentials/secrets/SECRET/lifecycle/deactivate",
            "DELETE /api/v1/apps/ID/credentials/secrets/SECRET",
            "POST /oauth2/v1/clients/ID/lifecycle/newSecret",
            "GET /api/v1/apps/ID/credentials/secrets",
        ]
    );
}

/// At whatever step a rotation breaks off, one secret is good that was before, and the next one
/// finishes it.
#[tokio::test]
async fn a_rotation_that_breaks_off_leaves_the_client_with_a_secret() {
    for step in [
        ("GET", "/credentials/secrets"),
        ("POST", "/deactivate"),
        ("DELETE", "/credentials/secrets"),
        ("POST", "/newSecret"),
    ] {
        let site = Site::start().await;
        let asked = request("x");
        let made = site.registrar.create(&asked).await.unwrap();
        let (id, management) = (&made.client_id, &made.management);
        let (second, _) = site.registrar.add_secret(id, management).await.unwrap();
        let refusal = management_error(400, "E0000001", "not now");
        site.idp.slip(REGISTRATION, step, Deed::Undone, refusal);
        let broken = site.registrar.rotate(id, management, &asked).await;
        let Err(Error::Refused(told)) = broken else {
            panic!("{step:?}: {broken:?}");
        };
        assert!(told.contains("not now"), "{told}");
        let mut good = 0;
        for secret in [&made.issued.secret, &second.secret] {
            good += usize::from(site.token(id, secret).await.status == 200);
        }
        assert!(good >= 1, "{step:?}");
        let rotated = site.registrar.rotate(id, management, &asked).await.unwrap();
        assert_eq!(site.token(id, &rotated.issued.secret).await.status, 200);
        for secret in [&made.issued.secret, &second.secret] {
            assert_eq!(site.token(id, secret).await.status, 401, "{step:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_cannot_be_used_is_removed() {
    let site = Site::start().await;
    let clients: [(Twist, &str); 4] = [
        (
            |made| made["token_endpoint_auth_method"] = json!("none"),
            "public",
        ),
        (
            |made| made["grant_types"] = json!(["client_credentials", "password"]),
            "password",
        ),
        (|made| made["grant_types"] = json!([]), "client_credentials"),
        (
            |made| made["client_secret_expires_at"] = json!(1_000),
            "expired",
        ),
    ];
    for (made, why) in clients {
        site.idp.turn(|_, okta| okta.management.made = Some(made));
        let error = site.registrar.create(&request("x")).await.unwrap_err();
        assert!(matches!(error, Error::Unusable(_)), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(site.clients().len(), 0, "{why}");
    }
    let refusal = management::not_permitted();
    site.idp
        .slip(REGISTRATION, ("DELETE", "/clients/"), Deed::Undone, refusal);
    let error = site.registrar.create(&request("x")).await.unwrap_err();
    let Error::LeftBehind {
        client_id,
        management,
        ..
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(site.clients().len(), 1);
    site.registrar
        .delete(&client_id, &management)
        .await
        .unwrap();
    assert_eq!(site.clients().len(), 0);
}

/// Okta has no `Retry-After`: its own field tells when to come back.
#[tokio::test]
async fn limits_are_waited_out() {
    let site = Site::start().await;
    let asked = request("x");
    let limit = || too_many(now() + 1);
    site.idp
        .slip(REGISTRATION, ("POST", "/clients"), Deed::Undone, limit());
    let made = site.registrar.create(&asked).await.unwrap();
    assert_eq!(site.clients().len(), 1);
    site.idp
        .slip(REGISTRATION, ("POST", "/newSecret"), Deed::Undone, limit());
    let rotated = site
        .registrar
        .rotate(&made.client_id, &made.management, &asked);
    let newer = rotated.await.unwrap().issued.secret;
    assert_eq!(site.token(&made.client_id, &newer).await.status, 200);
}

/// A replica that is behind: the secret is good a moment later.
#[tokio::test]
async fn a_new_secret_may_become_good_late() {
    let site = Site::start().await;
    site.idp.turn(|_, okta| okta.management.late = 1);
    let made = site.registrar.create(&request("x")).await.unwrap();
    assert_eq!(
        site.token(&made.client_id, &made.issued.secret)
            .await
            .status,
        401
    );
    assert_eq!(
        site.token(&made.client_id, &made.issued.secret)
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn what_an_interrupted_registration_left_is_found_on_any_page() {
    let site = Site::start().await;
    let asked = request("Trip Planner");
    let trace = site.registrar.trace(&asked).await.unwrap();
    assert!(matches!(trace, Trace::Nothing), "{trace:?}");
    site.registrar.create(&request("another")).await.unwrap();
    for _ in 0..3 {
        site.idp
            .slip(REGISTRATION, ("POST", "/clients"), Deed::Done, lost());
        let error = site.registrar.create(&asked).await.unwrap_err();
        assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    }
    site.idp.turn(|_, okta| okta.management.page = 2);
    let Trace::Found(found) = site.registrar.trace(&asked).await.unwrap() else {
        panic!("not found");
    };
    assert_eq!(found.len(), 3);
    for (id, management) in &found {
        site.registrar.delete(id, management).await.unwrap();
    }
    let trace = site.registrar.trace(&asked).await.unwrap();
    assert!(matches!(trace, Trace::Nothing), "{trace:?}");
    assert_eq!(site.clients().len(), 1, "another application's");
}

#[tokio::test]
async fn a_client_made_elsewhere_is_adopted() {
    let site = Site::start().await;
    let made = site.registrar.create(&request("x")).await.unwrap();
    let management = site.registrar.adopt(&made.client_id).await.unwrap();
    site.registrar
        .rotate(&made.client_id, &management, &request("x"))
        .await
        .unwrap();
    for (member, value) in [
        ("grant_types", json!(["authorization_code"])),
        ("token_endpoint_auth_method", json!("none")),
    ] {
        site.idp
            .turn(|_, okta| okta.management.clients[0][member] = value);
        let refused = site.registrar.adopt(&made.client_id).await;
        assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
    }
}

/// A token for Okta's API that was got elsewhere does what its scopes allow.
#[tokio::test]
async fn an_access_token_does_instead_of_an_api_token() {
    let site = Site::with_token(&MANAGEMENT_SCOPES).await;
    let asked = request("x");
    let made = site.registrar.create(&asked).await.unwrap();
    let (id, management) = (&made.client_id, &made.management);
    site.registrar.add_secret(id, management).await.unwrap();
    site.registrar.rotate(id, management, &asked).await.unwrap();
    site.registrar.delete(id, management).await.unwrap();
    for request in site.idp.requests(REGISTRATION) {
        assert!(
            request
                .header("authorization")
                .unwrap()
                .starts_with("Bearer ")
        );
    }
}

/// A client with a secret gets no token for Okta's API, so it is not sent there.
#[tokio::test]
async fn an_initial_client_is_told_what_to_use_instead() {
    let access = initial_client("0oa1", ADMIN_SECRET);
    let site = Site::around(Emulation::start().await, access, |_| {});
    let error = site.registrar.create(&request("x")).await.unwrap_err();
    assert!(matches!(error, Error::Impossible(_)), "{error:?}");
    assert!(
        error.to_string().contains("registration.api_key"),
        "{error}"
    );
    assert_eq!(
        (site.idp.hits(REGISTRATION), site.idp.hits(Endpoint::Token)),
        (0, 0)
    );
}

/// Without a right to the apps there is one secret, which can be rotated.
#[tokio::test]
async fn without_a_right_to_the_apps_one_secret_is_rotated() {
    let site = Site::with_token(&["okta.clients.register", "okta.clients.manage"]).await;
    let asked = request("x");
    let made = site.registrar.create(&asked).await.unwrap();
    assert_eq!(made.issued.id, None);
    let rotated = site
        .registrar
        .rotate(&made.client_id, &made.management, &asked);
    let newer = rotated.await.unwrap().issued.secret;
    assert_eq!(site.token(&made.client_id, &newer).await.status, 200);
    let refused = site
        .registrar
        .add_secret(&made.client_id, &made.management)
        .await;
    let Err(Error::Access(told)) = refused else {
        panic!("{refused:?}");
    };
    assert!(told.contains("okta.apps.manage"), "{told}");
}

#[tokio::test]
async fn the_org_or_its_endpoint_can_be_configured() {
    for place in ["", "/", "/oauth2/v1/clients"] {
        let idp: Emulation<Okta> = Emulation::start().await;
        idp.turn(|_, okta| okta.management.api_tokens.push(API_TOKEN.to_owned()));
        let endpoint = format!("{}{place}", idp.base).parse().unwrap();
        let access = Access::ApiKey(Secret::new(API_TOKEN));
        let site = Site::around(idp, access, |config| config.endpoint = Some(endpoint));
        site.registrar.create(&request("x")).await.unwrap();
        assert_eq!(site.clients().len(), 1, "{place}");
    }
}

/// What the operator configured goes along, and does not hide whose client it is.
#[tokio::test]
async fn configured_metadata_goes_along() {
    let site = Site::with(|config| {
        let own = json!({"client_uri": "https://acme.example/", "client_name": "mine"});
        config.client_metadata = own.as_object().unwrap().clone();
    })
    .await;
    let asked = request("x");
    site.registrar.create(&asked).await.unwrap();
    let client = &site.clients()[0];
    assert_eq!(client["client_uri"], "https://acme.example/");
    assert_eq!(client["client_name"], format!("{} x", asked.application));
}

/// Both shapes of errors are told in words that help, and none repeats a secret.
#[tokio::test]
async fn refusals_say_what_helps() {
    let site = Site::start().await;
    let rfc = json!({"error": "invalid_client_metadata", "error_description": "no such type"});
    let repeats = management_error(400, "E0000001", &format!("SSWS {API_TOKEN} is odd"));
    for (answer, is_access, words) in [
        (
            Answer::json(400, &rfc),
            false,
            "invalid_client_metadata: no such type",
        ),
        (
            management_error(400, "E0000003", "not well-formed"),
            false,
            "E0000003: not well-formed",
        ),
        (management::not_permitted(), true, "manage applications"),
        (
            management_error(403, "E0000038", "not in this org"),
            false,
            "not in this org",
        ),
        (
            management_error(404, "E0000007", "Not found"),
            false,
            "E0000007",
        ),
        (repeats, false, "words that repeat a secret"),
        (Answer::new(418, "<html>"), false, "status 418"),
    ] {
        site.idp
            .slip(REGISTRATION, ("POST", "/clients"), Deed::Undone, answer);
        let error = site.registrar.create(&request("x")).await.unwrap_err();
        let kind = matches!(error, Error::Access(_));
        assert!(kind || matches!(error, Error::Refused(_)), "{error:?}");
        assert_eq!(kind, is_access, "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
        let shown = format!("{error} {error:?} {:?}", site.registrar);
        assert!(!shown.contains(API_TOKEN), "{shown}");
    }
    site.idp.turn(|_, okta| okta.management.api_tokens.clear());
    let error = site.registrar.create(&request("x")).await.unwrap_err();
    let told = error.to_string();
    assert!(matches!(error, Error::Access(_)), "{error:?}");
    assert!(
        told.contains("E0000011") && told.contains("another one at Okta"),
        "{told}"
    );

    let site = Site::with_token(&["okta.clients.read"]).await;
    let error = site.registrar.create(&request("x")).await.unwrap_err();
    assert!(matches!(error, Error::Access(_)), "{error:?}");
    assert!(
        error.to_string().contains("okta.clients.register"),
        "{error}"
    );
}

#[tokio::test]
async fn nothing_shows_a_secret() {
    let site = Site::start().await;
    let made = site.registrar.create(&request("x")).await.unwrap();
    let told = site
        .registrar
        .secrets(&made.client_id, &made.management)
        .await
        .unwrap();
    let shown = format!("{made:?} {told:?} {:?}", site.registrar);
    assert!(!shown.contains(made.issued.secret.expose()), "{shown}");
    assert!(!shown.contains(API_TOKEN), "{shown}");
}
