//! Auth0's Management API: a client, and the grant that lets it have tokens for one API.
//!
//! The application's id, its developer and its strategy stand in the client's `client_metadata`, by
//! which a client is found again. Without its client grant every token request of a client is
//! refused, so a client without one is removed. After a rotation Auth0 takes either secret for up
//! to 30 s.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Map, Value, json};
use url::Url;

use super::{
    Error, Management, Registered, Request, Rotated, Told, Trace,
    asked::{auth_method, below, cut, overlay},
    asking::{Asking, Safety, Subject},
    returned::{Returned, undo},
};
use crate::{
    clock,
    idp::call::{Answer, Trouble},
    model::credential::{ClientId, Secret},
    token::json as bytes,
};

/// The member of `client_metadata` by which a client is found again.
const APPLICATION: &str = "dcr_gateway_application_id";

/// What Auth0 keeps of a value of `client_metadata`, in characters.
const VALUE: usize = 255;
/// And of a description.
const DESCRIPTION: usize = 140;

/// Members of a client that are shown; its keys and add-ons are not.
const SHOWN: [&str; 9] = [
    "app_type",
    "client_id",
    "client_metadata",
    "description",
    "grant_types",
    "is_first_party",
    "name",
    "oidc_conformant",
    "token_endpoint_auth_method",
];

/// Clients on a page: the most that Auth0 gives.
const PAGE: usize = 100;

/// First and longest wait for a new client to be known everywhere at Auth0.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));

/// The grant of a client, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Granted {
    id: Option<String>,
    audience: Option<String>,
}

pub(super) async fn create(asking: &Asking<'_>, request: &Request) -> Result<Registered, Error> {
    let audience = request.audience.as_deref().ok_or_else(|| {
        let cure = "Auth0 grants clients one API each, and none is named: give the strategy the \
                    identifier of an API at Auth0 as its audience, or token_request.audience";
        Error::Refused(cure.to_owned())
    })?;
    let asked = client(asking, request).await?;
    let url = api(asking, &["clients"])?;
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
    if let Some(issued) = made.issued() {
        asking.hide(&issued.secret);
    }
    let finished = async {
        let issued = made.check(&asked, clock::now()).map_err(Error::Unusable)?;
        let grant = grant(asking, &client_id, audience, &request.scopes).await?;
        Ok((issued, grant))
    };
    match finished.await {
        Ok((issued, grant)) => Ok(Registered {
            client_id,
            issued,
            management: grant.kept(),
            scopes: Some(request.scopes.clone()),
        }),
        Err(cause) => {
            let undoing = asking.to_undo();
            let removal = delete_client(&undoing, &client_id);
            let management = Granted::default().kept();
            Err(undo(asking, client_id.clone(), management, cause, removal).await)
        }
    }
}

/// Goes through all clients of the tenant: Auth0 does not search by metadata.
pub(super) async fn trace(asking: &Asking<'_>, request: &Request) -> Result<Trace, Error> {
    let application = request.application.to_string();
    let mut found: Vec<(ClientId, Management)> = Vec::new();
    let (mut page, mut total) = (0, 0);
    loop {
        let mut url = api(asking, &["clients"])?;
        url.query_pairs_mut()
            .append_pair("fields", "client_id,client_metadata")
            .append_pair("include_fields", "true")
            .append_pair("include_totals", "true")
            .append_pair("page", &page.to_string())
            .append_pair("per_page", &PAGE.to_string());
        let listed = read_object(asking, "clients", url, Subject::Endpoint).await?;
        let now_total = listed.get("total").and_then(Value::as_u64).unwrap_or(0);
        let clients = listed.get("clients").and_then(Value::as_array);
        let clients = clients.map_or(&[][..], Vec::as_slice);
        for client in clients {
            let id = client.get("client_id").and_then(Value::as_str);
            let ours = client
                .get("client_metadata")
                .and_then(|all| all.get(APPLICATION));
            if let (Some(id), Some(ours)) = (id.and_then(ClientId::new), ours)
                && *ours == *application
                && !found.iter().any(|(known, _)| *known == id)
            {
                found.push((id, Granted::default().kept()));
            }
        }
        if now_total < total {
            // Clients went away meanwhile, and others may have moved to a page that was read.
            (page, total) = (0, now_total);
            continue;
        }
        if clients.len() < PAGE {
            break;
        }
        (page, total) = (page + 1, now_total);
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
    let metadata = read_client(asking, client_id).await?;
    Ok(Told {
        metadata,
        management: None,
        issued: None,
    })
}

pub(super) async fn update(
    asking: &Asking<'_>,
    client_id: &ClientId,
    management: &Management,
    request: &Request,
) -> Result<Told, Error> {
    let all = client(asking, request).await?;
    let ours = ["name", "description", "client_metadata"];
    let changes: Map<String, Value> = all
        .into_iter()
        .filter(|(name, _)| ours.contains(&name.as_str()))
        .collect();
    let url = api(asking, &["clients", client_id.as_str()])?;
    let answer = send(asking, "client", Safety::Repeatable, || {
        asking.http().patch(url.clone()).json(&changes)
    });
    let answer = answer.await?;
    if !answer.status.is_success() {
        return Err(refused(asking, &answer, Subject::Client));
    }
    let metadata = shown(Returned::read(&answer)?);
    let before = Granted::of(management);
    let audience = request.audience.clone().or(before.audience.clone());
    let Some(audience) = audience else {
        return Ok(Told {
            metadata,
            management: None,
            issued: None,
        });
    };
    let same_api = before
        .audience
        .as_deref()
        .is_none_or(|known| known == audience);
    let known = before.id.clone().filter(|_| same_api);
    let now = regrant(asking, client_id, known, &audience, &request.scopes).await?;
    if let Some(old) = before.id.as_deref().filter(|_| !same_api) {
        delete_grant(asking, old).await?;
    }
    Ok(Told {
        metadata,
        management: (now != before).then(|| now.kept()),
        issued: None,
    })
}

pub(super) async fn rotate(
    asking: &Asking<'_>,
    client_id: &ClientId,
    management: &Management,
    _request: &Request,
) -> Result<Rotated, Error> {
    let url = api(asking, &["clients", client_id.as_str(), "rotate-secret"])?;
    // Whoever rotates twice holds the last secret, and no other is good.
    let answer = send(asking, "rotation", Safety::Repeatable, || {
        asking.http().post(url.clone())
    });
    let answer = answer.await?;
    if !answer.status.is_success() {
        return Err(refused(asking, &answer, Subject::Client));
    }
    let issued = Returned::read(&answer)?.issued().ok_or_else(|| {
        let told =
            "the new secret is not told: grant the initial client the scope read:client_keys";
        Error::Access(told.to_owned())
    })?;
    Ok(Rotated {
        client_id: client_id.clone(),
        issued,
        management: management.clone(),
    })
}

pub(super) async fn delete(
    asking: &Asking<'_>,
    client_id: &ClientId,
    management: &Management,
) -> Result<(), Error> {
    if let Some(grant) = Granted::of(management).id {
        // A grant that cannot be taken away goes with its client.
        match delete_grant(asking, &grant).await {
            Ok(()) | Err(Error::Access(_) | Error::Refused(_)) => {}
            Err(error) => return Err(error),
        }
    }
    delete_client(asking, client_id).await
}

pub(super) async fn adopt(asking: &Asking<'_>, client_id: &ClientId) -> Result<Management, Error> {
    let metadata = read_client(asking, client_id).await?;
    let client = Returned::of(metadata);
    client.check_adopted().map_err(Error::Refused)?;
    let mut grants = grants(asking, client_id, None).await?;
    let only = grants.pop().filter(|_| grants.is_empty());
    Ok(only.unwrap_or_default().kept())
}

/// The metadata of a client of this gateway's.
async fn client(asking: &Asking<'_>, request: &Request) -> Result<Map<String, Value>, Error> {
    // Auth0 takes names without angle brackets only, and none that is empty.
    let name = request.name.replace(['<', '>'], " ");
    let name = match name.trim() {
        "" => request.application.to_string(),
        name => name.to_owned(),
    };
    let mut asked = Map::new();
    let members = [
        ("name", json!(name)),
        ("description", json!(cut(&request.description, DESCRIPTION))),
        ("app_type", json!("non_interactive")),
        ("grant_types", json!(["client_credentials"])),
        (
            "token_endpoint_auth_method",
            json!(auth_method(asking).await?),
        ),
        ("oidc_conformant", json!(true)),
    ];
    asked.extend(members.map(|(name, value)| (name.to_owned(), value)));
    if !request.redirect_uris.is_empty() {
        asked.insert("callbacks".to_owned(), json!(request.redirect_uris));
    }
    overlay(&mut asked, asking, &["name", "client_metadata"]);
    let configured = asking.config().client_metadata.get("client_metadata");
    let mut metadata = configured
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    let marks = [
        (APPLICATION, request.application.to_string()),
        ("dcr_gateway_developer", cut(&request.developer, VALUE)),
        ("dcr_gateway_strategy", cut(&request.strategy, VALUE)),
    ];
    metadata.extend(marks.map(|(name, value)| (name.to_owned(), json!(value))));
    asked.insert("client_metadata".to_owned(), Value::Object(metadata));
    Ok(asked)
}

/// Lets a client that has no grant for an API have tokens for it, with these scopes.
async fn grant(
    asking: &Asking<'_>,
    client_id: &ClientId,
    audience: &str,
    scopes: &[String],
) -> Result<Granted, Error> {
    let url = api(asking, &["client-grants"])?;
    let body = json!({"client_id": client_id.as_str(), "audience": audience, "scope": scopes});
    let mut pause = PAUSE.0;
    loop {
        let answer = send(asking, "client grant", Safety::Once, || {
            asking.http().post(url.clone()).json(&body)
        });
        let answer = answer.await?;
        if answer.status.is_success() {
            return granted(&answer, audience, scopes);
        }
        if code(&answer).as_deref() != Some("inexistent_client") {
            return Err(refused_grant(asking, &answer));
        }
        // The client was made a moment ago, and this part of Auth0 does not know it yet.
        asking.wait("new client", pause).await?;
        pause = (pause * 2).min(PAUSE.1);
    }
}

/// Gives a client's grant these scopes; makes it where there is none.
async fn regrant(
    asking: &Asking<'_>,
    client_id: &ClientId,
    known: Option<String>,
    audience: &str,
    scopes: &[String],
) -> Result<Granted, Error> {
    let id = match known {
        Some(id) => Some(id),
        None => {
            let mut grants = grants(asking, client_id, Some(audience)).await?;
            grants.pop().and_then(|grant| grant.id)
        }
    };
    let Some(id) = id else {
        return grant(asking, client_id, audience, scopes).await;
    };
    let url = api(asking, &["client-grants", &id])?;
    let body = json!({"scope": scopes});
    let answer = send(asking, "client grant", Safety::Repeatable, || {
        asking.http().patch(url.clone()).json(&body)
    });
    let answer = answer.await?;
    match answer.status.as_u16() {
        // Somebody took it away meanwhile.
        404 => grant(asking, client_id, audience, scopes).await,
        _ if answer.status.is_success() => granted(&answer, audience, scopes),
        _ => Err(refused_grant(asking, &answer)),
    }
}

/// A grant as it came back; no wider than asked for.
fn granted(answer: &Answer, audience: &str, scopes: &[String]) -> Result<Granted, Error> {
    let grant = Returned::read(answer)?;
    let given = grant
        .get("scope")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let wider = given
        .filter_map(Value::as_str)
        .find(|given| !scopes.iter().any(|asked| asked == given));
    if let Some(scope) = wider {
        return Err(Error::Unusable(format!(
            "its client grant holds the scope {scope:?}, which was not asked for"
        )));
    }
    if grant.get("allow_all_scopes") == Some(&Value::Bool(true)) {
        return Err(Error::Unusable(
            "its client grant allows all scopes of the API".to_owned(),
        ));
    }
    Ok(Granted {
        id: grant.text("id").map(str::to_owned),
        audience: Some(audience.to_owned()),
    })
}

/// A client's grants, for one API or all.
async fn grants(
    asking: &Asking<'_>,
    client_id: &ClientId,
    audience: Option<&str>,
) -> Result<Vec<Granted>, Error> {
    let mut url = api(asking, &["client-grants"])?;
    url.query_pairs_mut()
        .append_pair("client_id", client_id.as_str());
    if let Some(audience) = audience {
        url.query_pairs_mut().append_pair("audience", audience);
    }
    url.query_pairs_mut()
        .append_pair("include_totals", "true")
        .append_pair("per_page", &PAGE.to_string());
    let listed = read_object(asking, "client grants", url, Subject::Endpoint).await?;
    let grants = listed.get("client_grants").and_then(Value::as_array);
    let text = |grant: &Value, name: &str| grant.get(name)?.as_str().map(str::to_owned);
    let grants = grants.into_iter().flatten().map(|grant| Granted {
        id: text(grant, "id"),
        audience: text(grant, "audience"),
    });
    Ok(grants.collect())
}

async fn read_client(
    asking: &Asking<'_>,
    client_id: &ClientId,
) -> Result<Map<String, Value>, Error> {
    let mut url = api(asking, &["clients", client_id.as_str()])?;
    url.query_pairs_mut()
        .append_pair("fields", &SHOWN.join(","))
        .append_pair("include_fields", "true");
    let members = read_object(asking, "client", url, Subject::Client).await?;
    Ok(shown(Returned::of(members)))
}

async fn read_object(
    asking: &Asking<'_>,
    what: &'static str,
    url: Url,
    subject: Subject,
) -> Result<Map<String, Value>, Error> {
    let answer = send(asking, what, Safety::Repeatable, || {
        asking.http().get(url.clone())
    });
    let answer = answer.await?;
    match answer.status.is_success() {
        true => Ok(Returned::read(&answer)?.shown()),
        false => Err(refused(asking, &answer, subject)),
    }
}

async fn delete_client(asking: &Asking<'_>, client_id: &ClientId) -> Result<(), Error> {
    let url = api(asking, &["clients", client_id.as_str()])?;
    remove(asking, "removal", url).await
}

async fn delete_grant(asking: &Asking<'_>, id: &str) -> Result<(), Error> {
    let url = api(asking, &["client-grants", id])?;
    remove(asking, "removal of the client grant", url).await
}

/// What is gone already is no error.
async fn remove(asking: &Asking<'_>, what: &'static str, url: Url) -> Result<(), Error> {
    let answer = send(asking, what, Safety::Repeatable, || {
        asking.http().request(Method::DELETE, url.clone())
    });
    let answer = answer.await?;
    match answer.status.as_u16() {
        404 => Ok(()),
        _ if answer.status.is_success() => Ok(()),
        _ => Err(refused(asking, &answer, Subject::Client)),
    }
}

async fn send(
    asking: &Asking<'_>,
    what: &'static str,
    safety: Safety,
    make: impl Fn() -> RequestBuilder,
) -> Result<Answer, Error> {
    let make = |token: &Secret| make().bearer_auth(token.expose());
    asking.send_with_token(what, safety, make).await
}

/// An address below the Management API; each segment percent-encoded.
fn api(asking: &Asking<'_>, segments: &[&str]) -> Result<Url, Error> {
    let own: &[&str] = match asking.config().endpoint {
        Some(_) => &[],
        None => &["api", "v2"],
    };
    below(asking.base()?, [own, segments].concat())
}

/// The `errorCode` of a refusal.
fn code(answer: &Answer) -> Option<String> {
    let members = bytes::object(&answer.body).ok()?;
    members.get("errorCode")?.as_str().map(str::to_owned)
}

/// What a refusal means, and what helps.
fn refused(asking: &Asking<'_>, answer: &Answer, subject: Subject) -> Error {
    let told = asking.told(answer);
    match (answer.status.as_u16(), code(answer).as_deref()) {
        (401, _) => Error::Access(format!(
            "{told}; the token that the initial client gets has to be for the Management API: its \
             audience is https://TENANT/api/v2/ of the tenant's own domain, also where a custom \
             domain is used"
        )),
        (403, Some("insufficient_scope")) => Error::Access(format!(
            "{told}; authorize the initial client at Auth0 (APIs, Auth0 Management API) for the \
             scopes read, create, update and delete of clients and client_grants, and \
             update:client_keys"
        )),
        // Quotas, and what a tenant's plan does not hold.
        (403, Some(_)) => Error::Refused(told),
        _ => asking.refused(answer, subject),
    }
}

fn refused_grant(asking: &Asking<'_>, answer: &Answer) -> Error {
    match answer.status.as_u16() {
        404 => Error::Refused(format!(
            "{}; the audience has to be the identifier of an API at Auth0",
            asking.told(answer)
        )),
        400 => Error::Refused(format!(
            "{}; the API at Auth0 has to have every scope that the strategy asks for",
            asking.told(answer)
        )),
        _ => refused(asking, answer, Subject::Client),
    }
}

/// What of a client may be shown.
fn shown(client: Returned) -> Map<String, Value> {
    let members = client.shown().into_iter();
    members
        .filter(|(name, _)| SHOWN.contains(&name.as_str()))
        .collect()
}

impl Granted {
    /// What was kept of it.
    fn of(management: &Management) -> Self {
        let members = bytes::object(management.0.expose().as_bytes()).unwrap_or_default();
        let text = |name: &str| members.get(name)?.as_str().map(str::to_owned);
        Self {
            id: text("grant"),
            audience: text("audience"),
        }
    }

    fn kept(&self) -> Management {
        let text = json!({"grant": self.id, "audience": self.audience}).to_string();
        Management(Secret::new(text))
    }
}
