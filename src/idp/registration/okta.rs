//! Okta's `/oauth2/v1/clients`, at the org and not at one of its authorization servers, and
//! `/api/v1/apps` for a client's several secrets.
//!
//! A client's name at Okta is the application's id, a space, and the application's name, as in
//! `8d1e7c52-0d7b-4c1f-9d2a-6a5f1b0c7e11 Trip Planner`: Okta finds clients by how their names begin,
//! and by nothing else that this gateway could write. Which scopes a client may have is decided by
//! the access policies of the authorization server alone; they have to hold for all clients.

use std::time::Duration;

use ::http::{HeaderMap, HeaderValue, header};
use reqwest::{Method, RequestBuilder};
use serde_json::{Map, Value, json};
use url::Url;

use super::{
    Access, Error, Issued, Known, Management, Registered, Request, Rotated, Told, Trace,
    asked::{auth_method, below, cut, overlay},
    asking::{Asking, Safety, Subject},
    returned::{Returned, date, undo},
};
use crate::{
    clock,
    idp::call::{Answer, Trouble},
    model::credential::{ClientId, Secret},
    token::json as bytes,
};

/// Where clients are, below the org.
const CLIENTS: [&str; 3] = ["oauth2", "v1", "clients"];

/// Characters of the longest name of a client.
const NAME: usize = 100;

/// Members of a client that Okta sets, and refuses from anybody else.
const SERVERS: [&str; 5] = [
    "_links",
    "client_id_issued_at",
    "client_secret",
    "client_secret_expires_at",
    "registration_client_uri",
];

/// Clients on a page: the most that Okta gives.
const PAGE: &str = "200";

/// The word for a secret that is good.
const ACTIVE: &str = "ACTIVE";

/// A secret as Okta lists it. Okta tells the secret itself too, which is not read.
#[derive(Debug)]
struct Listed {
    known: Known,
    is_active: bool,
}

pub(super) async fn create(asking: &Asking<'_>, request: &Request) -> Result<Registered, Error> {
    let mut asked = Map::new();
    let members = [
        ("client_name", json!(name(request))),
        ("application_type", json!("service")),
        ("grant_types", json!(["client_credentials"])),
        ("response_types", json!(["token"])),
        ("redirect_uris", json!(request.redirect_uris)),
        (
            "token_endpoint_auth_method",
            json!(auth_method(asking).await?),
        ),
    ];
    asked.extend(members.map(|(name, value)| (name.to_owned(), value)));
    overlay(&mut asked, asking, &["client_name"]);
    let url = at(asking, &CLIENTS)?;
    let answer = send(asking, "client", Safety::Once, || {
        asking.http().post(url.clone()).json(&asked)
    });
    let answer = answer.await?;
    if !answer.status.is_success() {
        return Err(refused(asking, &answer, Subject::Endpoint));
    }
    let made = Returned::read(&answer)?;
    let unnamed = Trouble::Unreadable("the new client has no client_id");
    let client_id = (made.client_id()).ok_or(unnamed.after(Duration::from_secs(1)))?;
    let mut issued = match made.check(&asked, clock::now()) {
        Ok(issued) => issued,
        Err(why) => {
            if let Some(issued) = made.issued() {
                asking.hide(&issued.secret);
            }
            let undoing = asking.to_undo();
            let kept = nothing();
            let removal = delete(&undoing, &client_id, &kept);
            let cause = Error::Unusable(why);
            return Err(undo(asking, client_id.clone(), nothing(), cause, removal).await);
        }
    };
    issued.id = only_secret(asking, &client_id).await;
    Ok(Registered {
        client_id,
        issued,
        management: nothing(),
        scopes: made.scopes(),
    })
}

pub(super) async fn trace(asking: &Asking<'_>, request: &Request) -> Result<Trace, Error> {
    let application = request.application.to_string();
    let mut found: Vec<(ClientId, Management)> = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let mut url = at(asking, &CLIENTS)?;
        url.query_pairs_mut()
            .append_pair("q", &application)
            .append_pair("limit", PAGE);
        if let Some(after) = &after {
            url.query_pairs_mut().append_pair("after", after);
        }
        let answer = get(asking, "clients", url, Subject::Endpoint).await?;
        for client in list(&answer)? {
            let name = client.get("client_name").and_then(Value::as_str);
            let id = client.get("client_id").and_then(Value::as_str);
            if let (Some(name), Some(id)) = (name, id.and_then(ClientId::new))
                && name.starts_with(&application)
            {
                found.push((id, nothing()));
            }
        }
        let next = next_page(&answer.headers);
        if next.is_none() || next == after {
            break;
        }
        after = next;
    }
    Ok(match found.is_empty() {
        true => Trace::Nothing,
        false => Trace::Found(found),
    })
}

pub(super) async fn read(
    asking: &Asking<'_>,
    client_id: &ClientId,
    _management: &Management,
) -> Result<Told, Error> {
    let client = read_client(asking, client_id).await?;
    Ok(Told {
        metadata: client.shown(),
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
    // A PUT replaces the whole client: what is not ours is sent back as it was.
    let mut members = read_client(asking, client_id).await?.shown();
    members.retain(|name, value| !value.is_null() && !SERVERS.contains(&name.as_str()));
    members.insert("client_name".to_owned(), json!(name(request)));
    let url = at_client(asking, client_id, &[])?;
    let answer = send(asking, "client", Safety::Repeatable, || {
        asking.http().put(url.clone()).json(&members)
    });
    let answer = answer.await?;
    if !answer.status.is_success() {
        return Err(refused(asking, &answer, Subject::Client));
    }
    Ok(Told {
        metadata: Returned::read(&answer)?.shown(),
        management: None,
        issued: None,
    })
}

/// Leaves exactly one secret that is good: of several all but one are removed first, since Okta
/// replaces a single one only.
pub(super) async fn rotate(
    asking: &Asking<'_>,
    client_id: &ClientId,
    _management: &Management,
    _request: &Request,
) -> Result<Rotated, Error> {
    match listed(asking, client_id).await {
        Ok(mut secrets) => {
            // The newest active one is left until it is replaced.
            secrets.sort_by_key(|secret| (secret.is_active, secret.known.created_at));
            secrets.pop();
            for secret in secrets {
                remove(asking, client_id, &secret).await?;
            }
        }
        // Whoever may not see the apps has added no secret either.
        Err(Error::Access(_)) => {}
        Err(error) => return Err(error),
    }
    let url = at_client(asking, client_id, &["lifecycle", "newSecret"])?;
    // Whoever asks twice holds the last secret, and no other is good.
    let answer = send(asking, "rotation", Safety::Repeatable, || {
        asking.http().post(url.clone())
    });
    let answer = answer.await?;
    if !answer.status.is_success() {
        return Err(refused(asking, &answer, Subject::Client));
    }
    let mut issued = issued(&Returned::read(&answer)?)?;
    issued.id = only_secret(asking, client_id).await;
    Ok(Rotated {
        client_id: client_id.clone(),
        issued,
        management: nothing(),
    })
}

pub(super) async fn add_secret(
    asking: &Asking<'_>,
    client_id: &ClientId,
    management: &Management,
) -> Result<(Issued, Management), Error> {
    let url = at_secret(asking, client_id, &[])?;
    let answer = send(asking, "second secret", Safety::Once, || {
        asking.http().post(url.clone()).json(&json!({}))
    });
    let answer = answer.await?;
    if answer.status.as_u16() == 400 {
        let told = asking.told(&answer);
        return Err(Error::Refused(format!(
            "{told}; a client at Okta has two secrets at most: remove one first"
        )));
    }
    if !answer.status.is_success() {
        return Err(refused(asking, &answer, Subject::Client));
    }
    let made = Returned::read(&answer)?;
    let mut issued = issued(&made)?;
    issued.id = made.text("id").map(str::to_owned);
    Ok((issued, management.clone()))
}

pub(super) async fn secrets(
    asking: &Asking<'_>,
    client_id: &ClientId,
    _management: &Management,
) -> Result<Vec<Known>, Error> {
    let secrets = listed(asking, client_id).await?;
    Ok(secrets.into_iter().map(|secret| secret.known).collect())
}

pub(super) async fn remove_secret(
    asking: &Asking<'_>,
    client_id: &ClientId,
    management: &Management,
    id: &str,
) -> Result<Management, Error> {
    let secrets = listed(asking, client_id).await?;
    let Some(secret) = secrets.iter().find(|secret| secret.known.id == id) else {
        // It is gone already.
        return Ok(management.clone());
    };
    let others = secrets.iter().filter(|other| other.known.id != id);
    if secret.is_active && !others.clone().any(|other| other.is_active) {
        let told = "the last secret that is good cannot be removed: add another one first, rotate \
                    it, or delete the client";
        return Err(Error::Refused(told.to_owned()));
    }
    remove(asking, client_id, secret).await?;
    Ok(management.clone())
}

pub(super) async fn delete(
    asking: &Asking<'_>,
    client_id: &ClientId,
    _management: &Management,
) -> Result<(), Error> {
    let url = at_client(asking, client_id, &[])?;
    let answer = send(asking, "removal", Safety::Repeatable, || {
        asking.http().delete(url.clone())
    });
    gone(asking, &answer.await?)
}

pub(super) async fn adopt(asking: &Asking<'_>, client_id: &ClientId) -> Result<Management, Error> {
    let client = read_client(asking, client_id).await?;
    client.check_adopted().map_err(Error::Refused)?;
    Ok(nothing())
}

/// The client's name at Okta. The application's id comes first, by which the client is found again.
fn name(request: &Request) -> String {
    let name = format!("{} {}", request.application, request.name);
    cut(name.trim_end(), NAME)
}

/// Okta's ids are all that is needed to manage a client.
fn nothing() -> Management {
    Management(Secret::new("{}"))
}

async fn read_client(asking: &Asking<'_>, client_id: &ClientId) -> Result<Returned, Error> {
    let url = at_client(asking, client_id, &[])?;
    let answer = get(asking, "client", url, Subject::Client).await?;
    Returned::read(&answer)
}

/// The secrets of a client, in Okta's order.
async fn listed(asking: &Asking<'_>, client_id: &ClientId) -> Result<Vec<Listed>, Error> {
    let url = at_secret(asking, client_id, &[])?;
    let answer = get(asking, "secrets", url, Subject::Client).await?;
    let secrets = list(&answer)?;
    let secrets = secrets.iter().filter_map(|secret| {
        let text = |name: &str| secret.get(name)?.as_str();
        let is_active = text("status").is_none_or(|status| status == ACTIVE);
        Some(Listed {
            known: Known {
                id: text("id")?.to_owned(),
                hint: (!is_active).then(|| "inactive".to_owned()),
                created_at: text("created").and_then(date),
                expires_at: None,
            },
            is_active,
        })
    });
    Ok(secrets.collect())
}

/// The id of a client's only secret, where it can be told: it is worth a call, but no failure.
async fn only_secret(asking: &Asking<'_>, client_id: &ClientId) -> Option<String> {
    let mut secrets = listed(asking, client_id).await.ok()?;
    let only = secrets.pop()?;
    secrets.is_empty().then_some(only.known.id)
}

/// Removes a secret; Okta removes none that is active.
async fn remove(asking: &Asking<'_>, client_id: &ClientId, secret: &Listed) -> Result<(), Error> {
    let id = secret.known.id.as_str();
    if secret.is_active {
        let url = at_secret(asking, client_id, &[id, "lifecycle", "deactivate"])?;
        let answer = send(asking, "end of a secret", Safety::Repeatable, || {
            asking.http().post(url.clone())
        });
        let answer = answer.await?;
        if !answer.status.is_success() {
            return Err(refused(asking, &answer, Subject::Endpoint));
        }
    }
    let url = at_secret(asking, client_id, &[id])?;
    let answer = send(asking, "removal of a secret", Safety::Repeatable, || {
        asking.http().request(Method::DELETE, url.clone())
    });
    gone(asking, &answer.await?)
}

/// A secret that was made; it is told this once.
fn issued(made: &Returned) -> Result<Issued, Error> {
    let missing = Trouble::Unreadable("the answer holds no client_secret");
    Ok(made.issued().ok_or(missing.after(Duration::from_secs(1)))?)
}

/// What is gone already is no error.
fn gone(asking: &Asking<'_>, answer: &Answer) -> Result<(), Error> {
    match answer.status.as_u16() {
        404 => Ok(()),
        _ if answer.status.is_success() => Ok(()),
        _ => Err(refused(asking, answer, Subject::Client)),
    }
}

/// The objects of a list.
fn list(answer: &Answer) -> Result<Vec<Map<String, Value>>, Error> {
    let unreadable = Trouble::Unreadable("the answer is no list of JSON objects");
    let listed = serde_json::from_slice(&answer.body);
    Ok(listed.map_err(|_| unreadable.after(Duration::from_secs(1)))?)
}

/// Where the next page begins (RFC 8288): of the link only this is read, so that the gateway calls
/// no address that an answer names.
fn next_page(headers: &HeaderMap) -> Option<String> {
    let lines = headers.get_all(header::LINK).iter();
    let links = lines.filter_map(|line| line.to_str().ok());
    let next = links
        .flat_map(|line| line.split(",<"))
        .flat_map(|line| line.split(", <"))
        .find(|link| link.contains("rel=\"next\""))?;
    let target = next
        .trim_start()
        .trim_start_matches('<')
        .split('>')
        .next()?;
    let (_, query) = target.split_once('?')?;
    url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "after")
        .map(|(_, after)| after.into_owned())
}

async fn get(
    asking: &Asking<'_>,
    what: &'static str,
    url: Url,
    subject: Subject,
) -> Result<Answer, Error> {
    let answer = send(asking, what, Safety::Repeatable, || {
        asking.http().get(url.clone())
    });
    let answer = answer.await?;
    match answer.status.is_success() {
        true => Ok(answer),
        false => Err(refused(asking, &answer, subject)),
    }
}

/// Sends with the API token, or with an access token for Okta's own API: a client that has a secret
/// gets none of those, only one that signs with a key.
async fn send(
    asking: &Asking<'_>,
    what: &'static str,
    safety: Safety,
    make: impl Fn() -> RequestBuilder,
) -> Result<Answer, Error> {
    let make = || make().header(header::ACCEPT, "application/json");
    let key = match &asking.config().access {
        Access::ApiKey(key) => key,
        Access::InitialAccessToken(_) => {
            let make = |token: &Secret| make().bearer_auth(token.expose());
            return asking.send_with_token(what, safety, make).await;
        }
        Access::InitialClient { .. } | Access::Open => {
            return Err(Error::Impossible(
                "registering without an API token (for its own API Okta gives tokens to no client                  with a secret: set registration.api_key, dcr_token)",
            ));
        }
    };
    let mut line = HeaderValue::try_from(format!("SSWS {}", key.expose())).map_err(|_| {
        Error::Access("the API token holds a character that no header may hold".to_owned())
    })?;
    line.set_sensitive(true);
    let make = || make().header(header::AUTHORIZATION, line.clone());
    asking.send(what, safety, make).await
}

/// An address below the org, each segment percent-encoded.
fn at(asking: &Asking<'_>, segments: &[&str]) -> Result<Url, Error> {
    let mut url = asking.base()?;
    // Whoever configures the registration endpoint itself means its org.
    if url
        .path()
        .trim_end_matches('/')
        .ends_with("/oauth2/v1/clients")
    {
        let org = url.path().trim_end_matches('/').len() - "/oauth2/v1/clients".len();
        let org = url.path()[..org].to_owned();
        url.set_path(&org);
    }
    below(url, segments.iter().copied())
}

fn at_client(asking: &Asking<'_>, client_id: &ClientId, rest: &[&str]) -> Result<Url, Error> {
    at(
        asking,
        &[&CLIENTS, &[client_id.as_str()][..], rest].concat(),
    )
}

fn at_secret(asking: &Asking<'_>, client_id: &ClientId, rest: &[&str]) -> Result<Url, Error> {
    let secrets = [
        "api",
        "v1",
        "apps",
        client_id.as_str(),
        "credentials",
        "secrets",
    ];
    at(asking, &[&secrets[..], rest].concat())
}

/// What a refusal means, and what helps.
fn refused(asking: &Asking<'_>, answer: &Answer, subject: Subject) -> Error {
    let told = asking.told(answer);
    let is_key = matches!(asking.config().access, Access::ApiKey(_));
    let code = bytes::object(&answer.body).ok();
    let code = code
        .as_ref()
        .and_then(|body| body.get("errorCode")?.as_str());
    match (answer.status.as_u16(), code, is_key) {
        (401, _, true) => Error::Access(format!(
            "{told}; the API token is wrong, was revoked, or was not used for 30 days: make \
             another one at Okta (Security, API, Tokens)"
        )),
        (401, _, false) => Error::Access(format!(
            "{told}; the initial access token has to be for Okta's own API, from the org \
             authorization server, and ends after an hour"
        )),
        (403, Some("E0000006") | None, true) => Error::Access(format!(
            "{told}; the administrator who made the API token has to be allowed to manage \
             applications"
        )),
        (403, Some("E0000006") | None, false) => Error::Access(format!(
            "{told}; the initial access token needs okta.clients.register and okta.clients.manage, and \
             okta.apps.manage for several secrets"
        )),
        // A feature that is off, a limit of the org.
        (403, _, _) => Error::Refused(told),
        _ => asking.refused(answer, subject),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_read_from_links_in_any_form() {
        let next = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(header::LINK, HeaderValue::from_static(line));
            }
            next_page(&headers)
        };
        let own = "<https://acme.okta.com/oauth2/v1/clients?limit=200>; rel=\"self\"";
        let after = Some("0oa1+/x".to_owned());
        for lines in [
            &[
                own,
                "<https://other.test/?after=0oa1%2B%2Fx&limit=200>; rel=\"next\"",
            ][..],
            &[
                "<https://a.test/?limit=1>; rel=\"self\", <https://a.test/?q=a&after=0oa1%2B%2Fx>; rel=\"next\"",
            ],
            &[
                "<https://a.test/?limit=1>; rel=\"self\",<https://a.test/?after=0oa1%2B%2Fx>; rel=\"next\"",
            ],
        ] {
            assert_eq!(next(lines), after, "{lines:?}");
        }
        for lines in [
            &[][..],
            &[own],
            &["<https://a.test/>; rel=\"next\""],
            &["nonsense rel=\"next\""],
        ] {
            assert_eq!(next(lines), None, "{lines:?}");
        }
    }
}
