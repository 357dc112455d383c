//! Clients by way of a bridge, as Konnect's HTTP DCR has it.

use dcr_gateway::{
    idp::{
        registration::{Access, Change, Config, Dialect, Error, Registrar, Rotation, Trace},
        vendor::Vendor as Preset,
    },
    model::{
        credential::{ClientId, Secret},
        time::Timestamp,
    },
};
use serde_json::{Value, json};

use super::{Twist, config, initial_client, provider, registrar, request};
use crate::{
    harness::{
        http1::{Answer, Manner},
        idp::Endpoint,
        now, rfc3339,
    },
    vendors::{
        bridge::{API, Bridge, KEY},
        emulation::{Deed, Emulation, Vendor},
        faithful::{Said, ask},
    },
};

const REGISTRATION: Endpoint = Endpoint::Registration;

/// A bridge, and whoever registers there.
struct Site {
    idp: Emulation<Bridge>,
    registrar: Registrar,
}

impl Site {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let idp: Emulation<Bridge> = Emulation::start().await;
        let mut config = config(Dialect::Http, Access::ApiKey(Secret::new(KEY)));
        let address = idp.turn(|_, bridge| bridge.address());
        config.endpoint = Some(address.parse().unwrap());
        change(&mut config);
        let registrar = registrar(provider(Preset::Generic, &idp.base), config);
        Self { idp, registrar }
    }

    async fn token(&self, id: &ClientId, secret: &Secret) -> Said {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", id.as_str()),
            ("client_secret", secret.expose()),
        ];
        let url = format!("{}/token", self.idp.base);
        ask(reqwest::Method::POST, &url, &form, None).await
    }

    fn clients(&self) -> usize {
        self.idp.turn(|account, _| account.clients.len())
    }
}

#[tokio::test]
async fn a_client_lives_from_registration_to_deletion() {
    let site = Site::start().await;
    let mut asked = request("Trip Planner");
    asked.scopes = vec![Bridge::READ.to_owned()];
    asked.redirect_uris = vec!["https://app.example/".to_owned()];
    asked.audience = Some(API.to_owned());
    let made = site.registrar.create(&asked).await.unwrap();
    let (id, secret) = (&made.client_id, &made.issued.secret);
    assert_eq!(site.token(id, secret).await.status, 200);
    let sent = site.idp.requests(REGISTRATION).pop().unwrap();
    assert_eq!(sent.path(), "/dcr/");
    let sent: Value = serde_json::from_slice(&sent.body).unwrap();
    assert_eq!(sent["client_name"], "Trip Planner");
    assert_eq!(sent["application_description"], "Plans trips");
    assert_eq!(sent["grant_types"], json!(["client_credentials"]));
    assert_eq!(sent["scopes"], json!([Bridge::READ]));
    assert_eq!(sent["redirect_uris"], json!(["https://app.example/"]));
    assert_eq!(sent["token_endpoint_auth_method"], "client_secret_post");

    asked.name = "Voyager".to_owned();
    let management = &made.management;
    let told = site.registrar.update(id, management, &asked).await.unwrap();
    assert!(
        told.metadata.is_empty() && told.management.is_none(),
        "{told:?}"
    );
    for change in [Change::Added, Change::Removed] {
        let told = site
            .registrar
            .registration_changed(id, management, &asked, "flights", change);
        told.await.unwrap();
    }
    let events = site.idp.turn(|_, bridge| bridge.events.clone());
    let kinds: Vec<&Value> = events.iter().map(|event| &event["event_type"]).collect();
    assert_eq!(
        kinds,
        [
            "update_application",
            "add_registration",
            "remove_registration"
        ]
    );
    for event in &events {
        assert_eq!(event["client_id"], id.as_str());
        assert_eq!(event["application_id"], asked.application.to_string());
        assert_eq!(event["application_name"], "Voyager");
        for name in [
            "portal_id",
            "organization_id",
            "developer_id",
            "auth_strategy_id",
        ] {
            assert_eq!(event[name], sent[name], "{name} is always the same");
        }
    }
    assert_eq!(events[0]["redirect_uris"], json!(["https://app.example/"]));
    assert_eq!(events[1]["audience"], API);
    assert_eq!(
        events[1]["api_product_version_id"],
        events[2]["api_product_version_id"]
    );

    assert_eq!(site.registrar.rotation(), Rotation::InPlace);
    let rotated = site.registrar.rotate(id, management, &asked).await.unwrap();
    assert_eq!(&rotated.client_id, id);
    assert_eq!(site.token(id, secret).await.status, 401);
    assert_eq!(site.token(id, &rotated.issued.secret).await.status, 200);

    site.registrar.delete(id, management).await.unwrap();
    assert_eq!(site.clients(), 0);
    site.registrar.delete(id, management).await.unwrap();
    for gone in [
        site.registrar
            .rotate(id, management, &asked)
            .await
            .map(drop),
        site.registrar
            .update(id, management, &asked)
            .await
            .map(drop),
    ] {
        assert!(matches!(gone, Err(Error::Gone)), "{gone:?}");
    }
}

/// What no bridge can do is told, without asking one.
#[tokio::test]
async fn what_bridges_have_no_call_for_is_impossible() {
    let site = Site::with(|_| {}).await;
    let asked = request("x");
    let trace = site.registrar.trace(&asked).await.unwrap();
    assert!(matches!(trace, Trace::Unknowable), "{trace:?}");
    let id = ClientId::new("app").unwrap();
    let management = site.registrar.adopt(&id).await.unwrap();
    for impossible in [
        site.registrar.read(&id, &management).await.map(drop),
        site.registrar.add_secret(&id, &management).await.map(drop),
        site.registrar.secrets(&id, &management).await.map(drop),
        site.registrar
            .remove_secret(&id, &management, "1")
            .await
            .map(drop),
    ] {
        assert!(
            matches!(impossible, Err(Error::Impossible(_))),
            "{impossible:?}"
        );
    }
    assert_eq!(site.idp.hits(REGISTRATION), 0);
}

#[tokio::test]
async fn a_bridge_without_hooks_and_rotation_is_not_asked_for_them() {
    let site = Site::with(|config| {
        config.event_hooks = false;
        config.refresh_secret = false;
    })
    .await;
    let asked = request("x");
    let made = site.registrar.create(&asked).await.unwrap();
    let (id, management) = (&made.client_id, &made.management);
    site.registrar.update(id, management, &asked).await.unwrap();
    let told = site
        .registrar
        .registration_changed(id, management, &asked, "a", Change::Added);
    told.await.unwrap();
    assert_eq!(site.registrar.rotation(), Rotation::Never);
    let rotated = site.registrar.rotate(id, management, &asked).await;
    assert!(matches!(rotated, Err(Error::Impossible(_))), "{rotated:?}");
    assert_eq!(site.idp.hits(REGISTRATION), 1);
}

/// Ids are opaque: one that looks like a path stays one segment.
#[tokio::test]
async fn awkward_ids_are_one_segment_of_the_path() {
    let asked = request("x");
    for id in ["a/b", "../x", "a?b=c#d", "100%41", "a b;c", "é+", "."] {
        let site = Site::start().await;
        site.idp
            .turn(|_, bridge| bridge.next_id = Some(id.to_owned()));
        let made = site.registrar.create(&asked).await.unwrap();
        assert_eq!(made.client_id.as_str(), id);
        let removed = site
            .registrar
            .delete(&made.client_id, &made.management)
            .await;
        if id == "." {
            // No URL can hold such a segment: nothing else is asked for instead.
            assert!(matches!(removed, Err(Error::Refused(_))), "{removed:?}");
            assert_eq!(site.idp.hits(REGISTRATION), 1);
            continue;
        }
        removed.unwrap();
        assert_eq!(site.clients(), 0, "{id}");
    }
}

/// Times come as dates or as seconds; 0 and null are never.
#[tokio::test]
async fn times_are_read_in_both_forms() {
    let site = Site::start().await;
    let end = Some(Timestamp::from_secs(4_000_000_000));
    let made: [(Twist, Option<Timestamp>); 5] = [
        (
            |told| told["client_secret_expires_at"] = json!(rfc3339(4_000_000_000)),
            end,
        ),
        (
            |told| told["client_secret_expires_at"] = json!(4_000_000_000_u64),
            end,
        ),
        (|told| told["client_secret_expires_at"] = json!(0), None),
        (|told| told["client_secret_expires_at"] = Value::Null, None),
        (|told| told["client_id_issued_at"] = json!(now()), None),
    ];
    for (told, end) in made {
        site.idp.turn(|_, bridge| bridge.made = Some(told));
        let made = site.registrar.create(&request("x")).await.unwrap();
        assert_eq!(made.issued.expires_at, end);
    }
}

#[tokio::test]
async fn any_success_is_one() {
    for status in [200, 201, 202] {
        let site = Site::start().await;
        site.idp.turn(|_, bridge| bridge.status = Some(status));
        let asked = request("x");
        let made = site.registrar.create(&asked).await.unwrap();
        site.registrar
            .rotate(&made.client_id, &made.management, &asked)
            .await
            .unwrap();
        site.registrar
            .update(&made.client_id, &made.management, &asked)
            .await
            .unwrap();
        site.registrar
            .delete(&made.client_id, &made.management)
            .await
            .unwrap();
    }
}

/// What a bridge tells beyond its specification counts too.
#[tokio::test]
async fn a_client_that_cannot_be_used_is_removed() {
    let site = Site::start().await;
    let mut asked = request("x");
    asked.scopes = vec![Bridge::READ.to_owned()];
    let clients: [(Twist, &str); 4] = [
        (|made| made["client_secret"] = Value::Null, "client_secret"),
        (
            |made| made["token_endpoint_auth_method"] = json!("none"),
            "public",
        ),
        (
            |made| made["grant_types"] = json!(["client_credentials", "password"]),
            "password",
        ),
        (
            |made| made["scope"] = json!("orders:read orders:write"),
            Bridge::WRITE,
        ),
    ];
    for (made, why) in clients {
        site.idp.turn(|_, bridge| bridge.made = Some(made));
        let error = site.registrar.create(&asked).await.unwrap_err();
        assert!(matches!(error, Error::Unusable(_)), "{error:?}");
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(site.clients(), 0, "{why}");
    }
    let refusal = Answer::json(400, &json!({"error": "busy", "error_description": "later"}));
    site.idp
        .slip(REGISTRATION, ("DELETE", "/dcr/"), Deed::Undone, refusal);
    let error = site.registrar.create(&asked).await.unwrap_err();
    let Error::LeftBehind {
        client_id,
        management,
        ..
    } = error
    else {
        panic!("{error:?}");
    };
    site.registrar
        .delete(&client_id, &management)
        .await
        .unwrap();
    assert_eq!(site.clients(), 0);
}

#[tokio::test]
async fn limits_are_waited_out_and_lost_answers_asked_for_again() {
    let site = Site::start().await;
    let asked = request("x");
    let limit = Answer::new(429, "").header("Retry-After", "1");
    site.idp
        .slip(REGISTRATION, ("POST", "/dcr/"), Deed::Undone, limit);
    let made = site.registrar.create(&asked).await.unwrap();
    assert_eq!(site.clients(), 1);
    let lost = Answer::new(500, "").manner(Manner::HangUp);
    site.idp.slip(
        REGISTRATION,
        ("POST", "/new-secret"),
        Deed::Done,
        lost.clone(),
    );
    let rotated = site
        .registrar
        .rotate(&made.client_id, &made.management, &asked);
    let newer = rotated.await.unwrap().issued.secret;
    assert_eq!(site.token(&made.client_id, &newer).await.status, 200);
    site.idp
        .slip(REGISTRATION, ("DELETE", "/dcr/"), Deed::Done, lost.clone());
    site.registrar
        .delete(&made.client_id, &made.management)
        .await
        .unwrap();
    site.idp
        .slip(REGISTRATION, ("POST", "/dcr/"), Deed::Done, lost);
    let error = site.registrar.create(&asked).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
    assert_eq!(site.clients(), 1, "never asked for twice");
}

/// Names that are UUIDs are sent as they are, and what the operator names instead of ours.
#[tokio::test]
async fn ids_are_sent_as_they_are_where_they_are_some() {
    let portal = "7710d5c4-d902-410b-992f-18b814155b53";
    let developer = "5f9fd312-a987-4628-b4c5-bb4f4fddd5f7";
    let site = Site::with(|config| {
        config
            .client_metadata
            .insert("portal_id".to_owned(), json!(portal));
    })
    .await;
    let mut asked = request("x");
    asked.developer = developer.to_owned();
    let made = site.registrar.create(&asked).await.unwrap();
    site.registrar
        .update(&made.client_id, &made.management, &asked)
        .await
        .unwrap();
    for sent in site.idp.requests(REGISTRATION) {
        let sent: Value = serde_json::from_slice(&sent.body).unwrap();
        assert_eq!(sent["portal_id"], portal);
        assert_eq!(sent["developer_id"], developer);
    }
}

#[tokio::test]
async fn refusals_say_what_helps() {
    let site =
        Site::with(|config| config.access = Access::ApiKey(Secret::new("wrong-key-77"))).await;
    let error = site.registrar.create(&request("x")).await.unwrap_err();
    let told = error.to_string();
    assert!(matches!(error, Error::Access(_)), "{error:?}");
    assert!(
        told.contains("X-API-KEY") && told.contains("dcr_token"),
        "{told}"
    );

    let open = Site::with(|config| config.access = Access::Open).await;
    let error = open.registrar.create(&request("x")).await.unwrap_err();
    assert!(matches!(error, Error::Access(_)), "{error:?}");

    let site = Site::with(|config| config.endpoint = None).await;
    let error = site.registrar.create(&request("x")).await.unwrap_err();
    assert!(error.to_string().contains("dcr_base_url"), "{error}");
    assert_eq!(site.idp.hits(REGISTRATION), 0);

    let site = Site::with(|config| config.access = initial_client("x", "y-secret")).await;
    let error = site.registrar.create(&request("x")).await.unwrap_err();
    assert!(matches!(error, Error::Impossible(_)), "{error:?}");

    let site = Site::start().await;
    let said = json!({"error": "idp_down", "error_description": format!("no {KEY} today")});
    let plain = json!({"error": "name_taken", "error_description": "There is one of this name."});
    for (body, words) in [
        (said, "repeat a secret"),
        (plain, "name_taken: There is one"),
    ] {
        let answer = Answer::json(400, &body);
        site.idp
            .slip(REGISTRATION, ("POST", "/dcr/"), Deed::Undone, answer);
        let error = site.registrar.create(&request("x")).await.unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
        let shown = format!("{error} {error:?} {:?}", site.registrar);
        assert!(!shown.contains(KEY), "{shown}");
    }
}
