//! What is logged while clients are made: the steps and the waits, and no secret, whatever an
//! identity provider sends back.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use dcr_gateway::{
    idp::{
        registration::{Access, Dialect, Error, Registrar, Request},
        vendor::Vendor as Preset,
    },
    model::credential::Secret,
};
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

use super::{config, initial_client, provider, registrar, request};
use crate::{
    harness::{http1::Answer, idp::Endpoint},
    vendors::{
        auth0::{API, Auth0, SCOPES},
        bridge::{Bridge, KEY},
        emulation::{Deed, Emulation, Vendor},
        okta::Okta,
    },
};

const ADMIN_SECRET: &str = "initial-Client_s3cret/8841";

/// All that this thread logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn start() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(log.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Makes a client, waits for a limit, rotates; then leaves one behind, with a refusal that repeats
/// what the gateway sent. Neither log nor errors hold any of it.
async fn stays_silent<V: Vendor>(
    idp: &Emulation<V>,
    registrar: &Registrar,
    asked: &Request,
    (spoil, remove): (fn(&mut V), &'static str),
    secrets: &[&str],
) {
    let (log, _guard) = Log::start();
    let limit = Answer::new(429, "").header("Retry-After", "1");
    let registration = Endpoint::Registration;
    idp.slip(registration, ("POST", ""), Deed::Undone, limit);
    let made = registrar.create(asked).await.unwrap();
    let rotated = registrar.rotate(&made.client_id, &made.management, asked);
    let rotated = rotated.await.unwrap();

    idp.turn(|_, vendor| spoil(vendor));
    for secret in secrets {
        let said = json!({"error": "x", "error_description": format!("{secret} may not")});
        let repeats = Answer::json(400, &said);
        idp.slip(registration, ("DELETE", remove), Deed::Undone, repeats);
        let error = registrar.create(asked).await.unwrap_err();
        assert!(matches!(error, Error::LeftBehind { .. }), "{error:?}");
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains(secret), "{shown}");
    }

    let text = log.text();
    assert!(text.contains("waiting for the identity provider"), "{text}");
    assert!(text.contains("could not be removed"), "{text}");
    assert!(text.contains("repeat a secret"), "{text}");
    let made = [made.issued.secret.expose(), rotated.issued.secret.expose()];
    for secret in secrets.iter().chain(&made) {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

fn public(made: &mut Value) {
    made["token_endpoint_auth_method"] = json!("none");
}

#[tokio::test]
async fn auth0() {
    let idp: Emulation<Auth0> = Emulation::start().await;
    let admin = idp.turn(|account, auth0| auth0.administrator(account, ADMIN_SECRET, &SCOPES));
    let access = config(Dialect::Auth0, initial_client(&admin, ADMIN_SECRET));
    let registrar = registrar(provider(Preset::Auth0, &idp.base), access);
    let mut asked = request("x");
    asked.audience = Some(API.to_owned());
    let spoil: fn(&mut Auth0) = |auth0| auth0.management.made = Some(public);
    stays_silent(
        &idp,
        &registrar,
        &asked,
        (spoil, "/clients/"),
        &[ADMIN_SECRET],
    )
    .await;
}

#[tokio::test]
async fn okta() {
    let idp: Emulation<Okta> = Emulation::start().await;
    idp.turn(|_, okta| okta.management.api_tokens.push(ADMIN_SECRET.to_owned()));
    let access = Access::ApiKey(Secret::new(ADMIN_SECRET));
    let issuer = idp.turn(|_, okta| okta.issuer());
    let registrar = registrar(
        provider(Preset::Okta, &issuer),
        config(Dialect::Okta, access),
    );
    let spoil: fn(&mut Okta) = |okta| okta.management.made = Some(public);
    let asked = request("x");
    stays_silent(
        &idp,
        &registrar,
        &asked,
        (spoil, "/clients/"),
        &[ADMIN_SECRET],
    )
    .await;
}

#[tokio::test]
async fn bridge() {
    let idp: Emulation<Bridge> = Emulation::start().await;
    let mut config = config(Dialect::Http, Access::ApiKey(Secret::new(KEY)));
    let address = idp.turn(|_, bridge| bridge.address());
    config.endpoint = Some(address.parse().unwrap());
    let registrar = registrar(provider(Preset::Generic, &idp.base), config);
    // A secret of the client's own comes back too.
    let spoil: fn(&mut Bridge) = |bridge| {
        bridge.made = Some(|made| {
            public(made);
            made["client_secret"] = json!("told-once-and-never-again-5512");
        });
    };
    let secrets = [KEY, "told-once-and-never-again-5512"];
    stays_silent(&idp, &registrar, &request("x"), (spoil, "/dcr/"), &secrets).await;
}
