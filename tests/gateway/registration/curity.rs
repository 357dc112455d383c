//! Curity: tokens to register with are good once, and reading a client rotates its secret.

use dcr_gateway::{
    idp::{
        registration::{Dialect, Error, Registered, Registrar, Rotation},
        vendor::Vendor,
    },
    model::credential::ClientId,
};
use serde_json::json;

use super::{config, initial_client, provider, registrar, request};
use crate::{
    harness::{http1::Answer, idp::Endpoint},
    vendors::{
        curity::Curity,
        emulation::{Client, Deed, Emulation},
    },
};

const ADMIN: &str = "dcr-admin";
const SECRET: &str = "admin-8c1f40ab";

/// Curity with a client that may ask for these scopes.
async fn curity(scopes: &[&str]) -> Emulation<Curity> {
    let idp = Emulation::<Curity>::start().await;
    idp.turn(|account, _| {
        let mut admin = Client::new(SECRET, "");
        admin.scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        account.clients.insert(ADMIN.to_owned(), admin);
    });
    idp
}

fn speaks(idp: &Emulation<Curity>) -> Registrar {
    let issuer = format!("{}/oauth/v2/oauth-anonymous", idp.base);
    let access = initial_client(ADMIN, SECRET);
    registrar(
        provider(Vendor::Curity, &issuer),
        config(Dialect::Curity, access),
    )
}

fn registered(idp: &Emulation<Curity>) -> usize {
    idp.turn(|_, curity| curity.registry.len())
}

/// Whether Curity knows this secret of the client.
fn knows(idp: &Emulation<Curity>, id: &ClientId, secret: &str) -> bool {
    idp.client(id.as_str(), |client| client.knows(secret))
}

async fn create(registrar: &Registrar) -> Registered {
    registrar.create(&request("Zoë's planner")).await.unwrap()
}

#[tokio::test]
async fn each_registration_has_a_token_of_its_own() {
    let idp = curity(&["dcr"]).await;
    let registrar = speaks(&idp);
    for _ in 0..2 {
        let made = create(&registrar).await;
        assert!(knows(&idp, &made.client_id, made.issued.secret.expose()));
        let name = idp.turn(|_, curity| {
            curity.registry.metadata(made.client_id.as_str())["client_name"].clone()
        });
        assert_eq!(name, "Zoë's planner");
    }
    let asked = idp.requests(Endpoint::Token);
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].field("scope").as_deref(), Some("dcr"));
    let tokens: Vec<_> = idp
        .requests(Endpoint::Registration)
        .iter()
        .map(|request| request.header("authorization").unwrap().to_owned())
        .collect();
    assert_ne!(tokens[0], tokens[1]);
}

#[tokio::test]
async fn an_attempt_that_is_told_to_wait_comes_back_with_another_token() {
    let idp = curity(&["dcr"]).await;
    let registrar = speaks(&idp);
    let later = Answer::new(429, "").header("Retry-After", "1");
    idp.slip(Endpoint::Registration, ("POST", ""), Deed::Undone, later);
    create(&registrar).await;
    let asked = idp.requests(Endpoint::Registration);
    assert_eq!((asked.len(), idp.hits(Endpoint::Token)), (2, 2));
    assert_ne!(
        asked[0].header("authorization"),
        asked[1].header("authorization")
    );
}

#[tokio::test]
async fn a_lost_answer_is_not_asked_for_again() {
    let idp = curity(&["dcr"]).await;
    let lost = Answer::new(502, "");
    idp.slip(Endpoint::Registration, ("POST", ""), Deed::Done, lost);
    let error = speaks(&idp).create(&request("App")).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    assert_eq!((idp.hits(Endpoint::Registration), registered(&idp)), (1, 1));
}

#[tokio::test]
async fn nothing_that_would_rotate_a_secret_is_done_but_rotating_it() {
    let idp = curity(&["dcr"]).await;
    let registrar = speaks(&idp);
    let made = create(&registrar).await;
    let (id, management) = (&made.client_id, &made.management);
    let read = registrar.read(id, management).await.map(|_| ());
    let updated = registrar
        .update(id, management, &request("x"))
        .await
        .map(|_| ());
    for refused in [read, updated] {
        assert!(matches!(refused, Err(Error::Impossible(_))), "{refused:?}");
    }
    assert_eq!(
        idp.hits(Endpoint::Registration),
        1,
        "the registration alone"
    );
    assert!(knows(&idp, id, made.issued.secret.expose()));
}

#[tokio::test]
async fn rotating_gives_a_secret_and_a_token_and_ends_the_old_ones() {
    let idp = curity(&["dcr"]).await;
    let registrar = speaks(&idp);
    assert_eq!(registrar.rotation(), Rotation::InPlace);
    let made = create(&registrar).await;
    let id = made.client_id;
    let (mut management, mut secret) = (made.management, made.issued.secret);
    for _ in 0..2 {
        let asked = request("App");
        let rotated = registrar.rotate(&id, &management, &asked).await.unwrap();
        assert_eq!(rotated.client_id, id);
        assert!(knows(&idp, &id, rotated.issued.secret.expose()));
        assert!(!knows(&idp, &id, secret.expose()));
        let stale = registrar
            .rotate(&id, &management, &asked)
            .await
            .unwrap_err();
        assert!(matches!(stale, Error::Access(_)), "{stale}");
        (management, secret) = (rotated.management, rotated.issued.secret);
    }
    registrar.delete(&id, &management).await.unwrap();
    registrar.delete(&id, &management).await.unwrap();
    assert_eq!(registered(&idp), 0);
}

#[tokio::test]
async fn without_management_there_a_client_of_the_operators_manages() {
    let idp = curity(&["dcr", "dcrm"]).await;
    idp.turn(|_, curity| curity.registry.managed = false);
    let registrar = speaks(&idp);
    let made = create(&registrar).await;
    let (id, asked) = (made.client_id, request("App"));
    let rotated = registrar
        .rotate(&id, &made.management, &asked)
        .await
        .unwrap();
    assert!(knows(&idp, &id, rotated.issued.secret.expose()));
    assert!(!knows(&idp, &id, made.issued.secret.expose()));
    registrar.delete(&id, &rotated.management).await.unwrap();
    assert_eq!(registered(&idp), 0);
    let scopes: Vec<_> = idp
        .requests(Endpoint::Token)
        .iter()
        .map(|request| request.field("scope").unwrap())
        .collect();
    assert_eq!(scopes, ["dcr", "dcrm", "dcrm"]);
}

#[tokio::test]
async fn an_existing_client_is_taken_over_with_the_same_scope() {
    let idp = curity(&["dcr", "dcrm"]).await;
    let registrar = speaks(&idp);
    let made = create(&registrar).await;
    let adopted = registrar.adopt(&made.client_id).await.unwrap();
    assert!(
        knows(&idp, &made.client_id, made.issued.secret.expose()),
        "taking over changes nothing"
    );
    let rotated = registrar
        .rotate(&made.client_id, &adopted, &request("App"))
        .await
        .unwrap();
    assert!(knows(&idp, &made.client_id, rotated.issued.secret.expose()));
    registrar
        .delete(&made.client_id, &rotated.management)
        .await
        .unwrap();
    assert_eq!(registered(&idp), 0);

    let narrow = curity(&["dcr"]).await;
    let error = speaks(&narrow).adopt(&made.client_id).await.unwrap_err();
    assert!(
        matches!(&error, Error::Access(told) if told.contains("invalid_scope")),
        "{error}"
    );
}

#[tokio::test]
async fn without_either_a_client_that_cannot_be_used_is_told_to_be_left_behind() {
    let idp = curity(&["dcr"]).await;
    idp.turn(|_, curity| {
        curity.registry.managed = false;
        let returned = json!({"grant_types": ["client_credentials", "implicit"]});
        curity.registry.returned = returned.as_object().unwrap().clone();
    });
    let error = speaks(&idp).create(&request("App")).await.unwrap_err();
    assert!(matches!(error, Error::LeftBehind { .. }), "{error}");
}

#[tokio::test]
async fn a_client_that_cannot_be_used_is_removed_again() {
    let idp = curity(&["dcr"]).await;
    idp.turn(|_, curity| {
        let returned = json!({"token_endpoint_auth_method": "none"});
        curity.registry.returned = returned.as_object().unwrap().clone();
    });
    let error = speaks(&idp).create(&request("App")).await.unwrap_err();
    assert!(matches!(error, Error::Unusable(_)), "{error}");
    assert_eq!(registered(&idp), 0);
}

#[tokio::test]
async fn its_refusals_are_told_in_its_words() {
    let idp = curity(&["dcr"]).await;
    let mut wide = request("App");
    wide.scopes = vec!["admin".to_owned()];
    let error = speaks(&idp).create(&wide).await.unwrap_err();
    assert!(
        matches!(&error, Error::Refused(told) if told.contains("unknown scope admin")),
        "{error}"
    );

    let issuer = format!("{}/oauth/v2/oauth-anonymous", idp.base);
    let mut settings = config(Dialect::Curity, initial_client(ADMIN, SECRET));
    let further = json!({"client_uri": "https://elsewhere.test/"});
    settings.client_metadata = further.as_object().unwrap().clone();
    let registrar = registrar(provider(Vendor::Curity, &issuer), settings);
    let error = registrar.create(&request("App")).await.unwrap_err();
    assert!(
        matches!(&error, Error::Refused(told) if told.contains("another origin")),
        "{error}"
    );

    let powerless = curity(&["orders"]).await;
    let error = speaks(&powerless)
        .create(&request("App"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::Access(told) if told.contains("invalid_scope")),
        "{error}"
    );
    assert_eq!((registered(&idp), registered(&powerless)), (0, 0));
}
