//! WSO2's DCR v1.1, as its code answers, which is not always as its description says: a name that
//! is taken is 400, a client that is not known is 401 like a wrong password, and reading a client
//! tells its secret, which never leaves here.
//!
//! Names are unique there, so a client's name holds the gateway's own id of the application, by
//! which an orphan is found. There are two such names, since a client that takes another one's
//! place stands beside it for a moment.
//!
//! DCR knows no new secrets. An administrator's password, which is what WSO2's guide asks for, also
//! opens the application management API, which makes one, and the client keeps its id. A token or
//! open registration need not open that, so with these a new client takes the old one's place.

mod server;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{
    Access, Config, Error, Issued, Management, Registered, Request, Rotated, Rotation, Told, Trace,
    asking::{Asking, Safety},
    returned::{Returned, undo},
};
use crate::{
    clock,
    model::credential::{ClientId, Secret},
};
use server::{Server, unreadable};

/// Characters of an application's own name that stay in the client's: the column has 255.
const LONGEST_NAME: usize = 200;

/// How a client gets another secret.
pub(super) fn rotation(config: &Config) -> Rotation {
    match config.access {
        Access::InitialClient { .. } => Rotation::InPlace,
        _ => Rotation::Replacement,
    }
}

pub(super) async fn create(asking: &Asking<'_>, request: &Request) -> Result<Registered, Error> {
    let server = Server::of(asking).await?;
    let [first, second] = names(request);
    let mut asked = server.asked(&first, request).await;
    let mut answer = server.register(&asked).await?;
    if answer.status == StatusCode::BAD_REQUEST && server.is_taken(&first).await? {
        asked.insert("client_name".to_owned(), json!(second));
        answer = server.register(&asked).await?;
    }
    if !matches!(answer.status, StatusCode::CREATED | StatusCode::OK) {
        return Err(server.refused(&answer));
    }
    let returned = Returned::read(&answer)?;
    let Some(client_id) = returned.client_id() else {
        return Err(unreadable("the registration answer holds no client_id"));
    };
    match check(&returned, &asked) {
        Ok(issued) => {
            asking.hide(&issued.secret);
            Ok(Registered {
                client_id,
                issued,
                management: management(),
                scopes: returned.scopes(),
            })
        }
        Err(what) => {
            let cause = Error::Unusable(what);
            let removal = remove(asking, &client_id);
            Err(undo(asking, client_id.clone(), management(), cause, removal).await)
        }
    }
}

pub(super) async fn trace(asking: &Asking<'_>, request: &Request) -> Result<Trace, Error> {
    let server = Server::of(asking).await?;
    let mut found = Vec::new();
    for name in names(request) {
        let answer = server.by_name(&name).await?;
        match answer.status {
            StatusCode::OK => {
                let client_id = Returned::read(&answer)?.client_id();
                found.extend(client_id.map(|id| (id, management())));
            }
            StatusCode::UNAUTHORIZED => server.prove_access().await?,
            _ => return Err(server.refused(&answer)),
        }
    }
    match found.is_empty() {
        true => Ok(Trace::Nothing),
        false => Ok(Trace::Found(found)),
    }
}

pub(super) async fn read(
    asking: &Asking<'_>,
    client_id: &ClientId,
    _management: &Management,
) -> Result<Told, Error> {
    let server = Server::of(asking).await?;
    Ok(Told {
        metadata: shown(server.read(client_id).await?),
        management: None,
        issued: None,
    })
}

pub(super) async fn update(
    asking: &Asking<'_>,
    client_id: &ClientId,
    _management: &Management,
    request: &Request,
) -> Result<Told, Error> {
    let server = Server::of(asking).await?;
    let known = server.read(client_id).await?;
    let [first, second] = names(request);
    let is_second = known
        .text("client_name")
        .is_some_and(|name| name.ends_with(&mark(request, 1)));
    let name = if is_second { second } else { first };
    let asked = server.asked(&name, request).await;
    let answer = server
        .send("change", Safety::Repeatable, || {
            asking.http().put(server.client(client_id)).json(&asked)
        })
        .await?;
    match answer.status {
        StatusCode::OK => {
            let returned = Returned::read(&answer)?;
            // Both answers tell the secret, which no release is known to change.
            let was = known.issued().map(|issued| issued.secret);
            let issued = returned.issued();
            let issued = issued.filter(|issued| was.as_ref() != Some(&issued.secret));
            Ok(Told {
                metadata: shown(returned),
                management: None,
                issued,
            })
        }
        StatusCode::UNAUTHORIZED => Err(server.gone_or_access().await),
        _ => Err(server.refused(&answer)),
    }
}

pub(super) async fn rotate(
    asking: &Asking<'_>,
    client_id: &ClientId,
    management: &Management,
    request: &Request,
) -> Result<Rotated, Error> {
    if rotation(asking.config()) == Rotation::InPlace {
        let server = Server::of(asking).await?;
        return Ok(Rotated {
            client_id: client_id.clone(),
            issued: server.regenerate(client_id).await?,
            management: management.clone(),
        });
    }
    // The old client stays until the new one's id is kept: the caller deletes it then.
    let made = create(asking, request).await?;
    Ok(Rotated {
        client_id: made.client_id,
        issued: made.issued,
        management: made.management,
    })
}

pub(super) async fn delete(
    asking: &Asking<'_>,
    client_id: &ClientId,
    _management: &Management,
) -> Result<(), Error> {
    let server = Server::of(asking).await?;
    let make = || asking.http().delete(server.client(client_id));
    let answer = server.send("deletion", Safety::Repeatable, make).await?;
    match answer.status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Ok(()),
        // Not known, or we are not: another call tells which.
        StatusCode::UNAUTHORIZED => server.prove_access().await,
        status if status.is_success() => Ok(()),
        _ => Err(server.refused(&answer)),
    }
}

pub(super) async fn adopt(asking: &Asking<'_>, client_id: &ClientId) -> Result<Management, Error> {
    Server::of(asking).await?.read(client_id).await?;
    Ok(management())
}

/// Removes a client that was made just now.
async fn remove(asking: &Asking<'_>, client_id: &ClientId) -> Result<(), Error> {
    delete(&asking.to_undo(), client_id, &management()).await
}

/// Whether a client that came back is one that can be used.
fn check(returned: &Returned, asked: &Map<String, Value>) -> Result<Issued, String> {
    if returned.get("ext_public_client") == Some(&Value::Bool(true)) {
        return Err("it is public (ext_public_client)".to_owned());
    }
    returned.check(asked, clock::now())
}

/// What of a client may be seen.
fn shown(returned: Returned) -> Map<String, Value> {
    let mut members = returned.shown();
    members.retain(|name, _| !name.contains("secret") || name == "client_secret_expires_at");
    members
}

/// Nothing is to be kept of a client: whoever made it manages it, by its id.
fn management() -> Management {
    Management(Secret::new("{}"))
}

/// The two names of an application's clients: letters, digits, dots, dashes and underlines, words
/// apart by one blank, as the server's pattern has it.
fn names(request: &Request) -> [String; 2] {
    let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let words = request.name.split_whitespace().map(|word| {
        let word = word.chars();
        word.map(|c| if legal(c) { c } else { '-' })
            .collect::<String>()
    });
    let name = words.collect::<Vec<_>>().join(" ");
    let name = name.get(..LONGEST_NAME).unwrap_or(&name).trim_end();
    [0, 1].map(|place| {
        format!("{name} {}", mark(request, place))
            .trim_start()
            .to_owned()
    })
}

/// What tells a client's name from all others: ends it.
fn mark(request: &Request, place: u8) -> String {
    match place {
        0 => request.application.to_string(),
        _ => format!("{}-2", request.application),
    }
}
