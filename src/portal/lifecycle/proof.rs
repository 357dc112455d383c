//! Proves a DCR provider end to end: registers a client, gets a token with it, deletes it.

use std::time::Duration;

use uuid::Uuid;

use crate::{
    clock,
    idp::{
        grant,
        registration::{Error, Registered, Registrar, Request},
        vendor::Wanted,
    },
    portal::live::StrategyView,
    telemetry::checks::Checks,
};

/// What the client is called, if somebody looks while it is there.
const NAME: &str = "dcr-gateway verify";

/// How long a new secret may take to be known.
const PATIENCE: Duration = Duration::from_secs(20);
/// How soon it is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// What is wrong, in words that an operator can act on, the first step that failed first; empty:
/// all of it works. `user` is a strategy that uses the provider: its scopes and audience are asked
/// for.
pub(crate) async fn run(registrar: &Registrar, user: Option<&StrategyView>) -> Vec<String> {
    let request = Request {
        application: Uuid::new_v4(),
        name: NAME.to_owned(),
        description: "Made to verify the provider, and deleted at once.".to_owned(),
        developer: "operator".to_owned(),
        strategy: user.map_or_else(String::new, |user| user.name.to_string()),
        scopes: user.map(|user| user.scopes.clone()).unwrap_or_default(),
        audience: user.and_then(|user| user.audience.clone()),
        redirect_uris: Vec::new(),
    };
    let registered = match registrar.create(&request).await {
        Ok(registered) => registered,
        Err(error) => return vec![format!("register: {}", said(&error))],
    };
    let mut errors = Vec::new();
    if let Err(error) = token(registrar, &registered, user).await {
        errors.push(format!("token: {error}"));
    }
    let Registered {
        client_id,
        management,
        ..
    } = registered;
    if let Err(error) = registrar.delete(&client_id, &management).await {
        errors.push(format!(
            "delete: {}; client {:?} is left at the identity provider: delete it there",
            said(&error),
            client_id.as_str()
        ));
    }
    errors
}

async fn token(
    registrar: &Registrar,
    registered: &Registered,
    user: Option<&StrategyView>,
) -> Result<(), String> {
    let scopes = user.map(|user| user.scopes.join(" ")).unwrap_or_default();
    let wanted = Wanted {
        scope: Some(&*scopes).filter(|scopes| !scopes.is_empty()),
        audience: user.and_then(|user| user.audience.as_deref()),
        parameters: &[],
        api: user.and_then(|user| user.audience.as_deref()),
    };
    let (id, secret) = (&registered.client_id, &registered.issued.secret);
    let until = clock::instant() + registrar.config().deadline.min(PATIENCE);
    loop {
        let (now, checks) = (clock::now(), Checks::default());
        let exchanged =
            grant::exchange(registrar.provider(), id, secret, &wanted, now, &checks).await;
        match exchanged {
            Ok(_) => return Ok(()),
            // A new secret takes some seconds until every server of an IdP knows it.
            Err(grant::Error::WrongSecret(_)) if clock::instant() < until => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// An error with what to do about it.
fn said(error: &Error) -> String {
    let cure = match error {
        Error::Access(_) => {
            "; check the initial client or token of the provider, and its rights at the identity \
             provider"
        }
        Error::Unavailable(_) | Error::Untouched(_) => {
            "; check the issuer, and whether the gateway can reach it"
        }
        Error::Unusable(_) => "; check the policy for new clients at the identity provider",
        Error::LeftBehind { .. } | Error::Gone | Error::Impossible(_) | Error::Refused(_) => "",
    };
    format!("{error}{cure}")
}
