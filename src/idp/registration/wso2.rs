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

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, StatusCode, header};
use reqwest::RequestBuilder;
use serde_json::{Map, Value, json};
use url::Url;
use uuid::Uuid;

use super::{
    Access, Config, Error, Issued, Management, Registered, Request, Rotated, Rotation, Told, Trace,
    asking::{Asking, Safety, Subject},
    returned::{Returned, undo},
};
use crate::{
    clock,
    idp::{
        AuthMethod,
        call::{Answer, Endpoint, Trouble},
    },
    model::credential::{ClientId, Secret},
    token::json,
};

/// Where DCR is below a server or a tenant.
const REGISTER: &str = "/api/identity/oauth2/dcr/v1.1/register";
/// Where both of its APIs begin to differ.
const DCR: &str = "/api/identity/";
/// Where applications are managed, beside it.
const APPLICATIONS: &str = "/api/server/v1/applications";

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
        let what = "the registration answer holds no client_id";
        return Err(Trouble::Unreadable(what).after(RETRY).into());
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
            Err(undo(client_id.clone(), management(), cause, removal).await)
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

/// When asking again may help with an answer that cannot be read.
const RETRY: std::time::Duration = std::time::Duration::from_secs(1);

/// A server, or one tenant of it, for one operation.
struct Server<'a> {
    asking: &'a Asking<'a>,
    register: Url,
    /// The Authorization line, where there is one.
    line: Option<HeaderValue>,
}

impl<'a> Server<'a> {
    /// Where it is: as configured, as the metadata says, or beside the token endpoint that its
    /// issuer is, in the same tenant.
    async fn of(asking: &'a Asking<'a>) -> Result<Self, Error> {
        let register = match asking.registration_endpoint().await {
            Err(Error::Unavailable(unavailable))
                if unavailable.kind == Trouble::UnknownAddress(Endpoint::Registration) =>
            {
                beside(&asking.provider().config().issuer).ok_or(unavailable)?
            }
            other => other?,
        };
        let line = match &asking.config().access {
            // The server splits at the first colon and decodes nothing.
            Access::InitialClient { id, secret, .. } => {
                let pair = STANDARD.encode(format!("{id}:{}", secret.expose()));
                asking.hide(&Secret::new(&*pair));
                Some(format!("Basic {pair}"))
            }
            Access::InitialAccessToken(token) => Some(format!("Bearer {}", token.expose())),
            Access::Open => None,
            Access::ApiKey(_) => {
                return Err(Error::Impossible(
                    "access by a key (WSO2 takes an administrator's password or a token)",
                ));
            }
        };
        let line = line.map(HeaderValue::try_from).transpose();
        let mut line = line.map_err(|_| {
            Error::Access("the token holds a character that no token has".to_owned())
        })?;
        if let Some(line) = &mut line {
            line.set_sensitive(true);
        }
        Ok(Self {
            asking,
            register,
            line,
        })
    }

    /// What is asked for, under a name: the operator's own members, and over them what a client
    /// here has to be.
    async fn asked(&self, name: &str, request: &Request) -> Map<String, Value> {
        let provider = self.asking.provider();
        let configured = provider.config().token_endpoint_auth_method;
        let listed = match configured {
            Some(_) => None,
            None => provider
                .metadata()
                .await
                .ok()
                .and_then(|metadata| metadata.token_auth),
        };
        // A server may hold a client to the way that it was registered with: that of the gateway.
        let method = match configured.or(listed) {
            None | Some(AuthMethod::ClientSecretPost) => "client_secret_post",
            Some(AuthMethod::BasicRaw | AuthMethod::ClientSecretBasic) => "client_secret_basic",
        };
        let mut asked = Map::new();
        // Else tokens are opaque.
        asked.insert("ext_token_type".to_owned(), json!("JWT"));
        asked.insert("token_endpoint_auth_method".to_owned(), json!(method));
        asked.extend(self.asking.config().client_metadata.clone());
        let ours = [
            ("client_name", json!(name)),
            ("grant_types", json!(["client_credentials"])),
            // Needed, be it empty.
            ("redirect_uris", json!(request.redirect_uris)),
        ];
        asked.extend(ours.map(|(name, value)| (name.to_owned(), value)));
        asked
    }

    async fn register(&self, asked: &Map<String, Value>) -> Result<Answer, Error> {
        let make = || self.asking.http().post(self.register.clone()).json(asked);
        self.send("client", Safety::Once, make).await
    }

    /// `GET /register/ID`, secret included.
    async fn read(&self, client_id: &ClientId) -> Result<Returned, Error> {
        let make = || self.asking.http().get(self.client(client_id));
        let answer = self.send("client", Safety::Repeatable, make).await?;
        match answer.status {
            StatusCode::OK => Returned::read(&answer),
            StatusCode::NOT_FOUND => Err(Error::Gone),
            StatusCode::UNAUTHORIZED => Err(self.gone_or_access().await),
            _ => Err(self.refused(&answer)),
        }
    }

    /// `GET /register?client_name=`.
    async fn by_name(&self, name: &str) -> Result<Answer, Error> {
        let mut url = self.register.clone();
        url.query_pairs_mut().append_pair("client_name", name);
        let make = || self.asking.http().get(url.clone());
        self.send("client by its name", Safety::Repeatable, make)
            .await
    }

    /// Whether a client of this name is there, whoever's.
    async fn is_taken(&self, name: &str) -> Result<bool, Error> {
        let answer = self.by_name(name).await?;
        Ok(matches!(
            answer.status,
            StatusCode::OK | StatusCode::FORBIDDEN
        ))
    }

    /// Asks something that only who has no access is answered with 401: for the client without a
    /// name.
    async fn prove_access(&self) -> Result<(), Error> {
        let answer = self.by_name("").await?;
        match answer.status {
            StatusCode::UNAUTHORIZED => Err(self.refused(&answer)),
            _ => Ok(()),
        }
    }

    /// What a 401 to a question about one client means.
    async fn gone_or_access(&self) -> Error {
        self.prove_access().await.err().unwrap_or(Error::Gone)
    }

    /// A new secret by the application management API, where an application has another id.
    async fn regenerate(&self, client_id: &ClientId) -> Result<Issued, Error> {
        let applications = self.applications()?;
        let mut list = applications.clone();
        list.query_pairs_mut()
            .append_pair("filter", &format!("clientId eq {client_id}"));
        let make = || self.asking.http().get(list.clone());
        let answer = self.send("application", Safety::Repeatable, make).await?;
        if answer.status != StatusCode::OK {
            return Err(self.refused_management(&answer));
        }
        let found = object(&answer)?;
        let found = found.get("applications").and_then(Value::as_array);
        let id = match found.map_or(&[][..], Vec::as_slice) {
            [] => return Err(Error::Gone),
            [only] => only.get("id").and_then(Value::as_str),
            _ => None,
        };
        let id = id.ok_or(unreadable("the list of applications does not tell one id"))?;
        let mut url = applications;
        if let Ok(mut path) = url.path_segments_mut() {
            path.extend([id, "inbound-protocols", "oidc", "regenerate-secret"]);
        }
        let make = || self.asking.http().post(url.clone());
        let answer = self.send("secret", Safety::Once, make).await?;
        if !answer.status.is_success() {
            return Err(self.refused_management(&answer));
        }
        let members = object(&answer)?;
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        let secret = text("clientSecret").filter(|text| !text.is_empty());
        let secret = Secret::new(secret.ok_or(unreadable("the new secret is not told"))?);
        self.asking.hide(&secret);
        if text("clientId").is_some_and(|id| id != client_id.as_str()) {
            let what = "the new secret is another client's: its old one is still good";
            return Err(Error::Refused(what.to_owned()));
        }
        Ok(Issued {
            id: None,
            secret,
            expires_at: None,
        })
    }

    /// Where applications are managed: beside DCR.
    fn applications(&self) -> Result<Url, Error> {
        let mut url = self.register.clone();
        let Some(place) = url.path().find(DCR) else {
            return Err(Error::Impossible(
                "a new secret (the application management API is not beside the endpoint)",
            ));
        };
        let path = format!("{}{APPLICATIONS}", &url.path()[..place]);
        url.set_path(&path);
        url.set_query(None);
        Ok(url)
    }

    fn client(&self, client_id: &ClientId) -> Url {
        let mut url = self.register.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push(client_id.as_str());
        }
        url
    }

    async fn send(
        &self,
        what: &'static str,
        safety: Safety,
        make: impl Fn() -> RequestBuilder,
    ) -> Result<Answer, Error> {
        let with_line = || {
            let request = make().header(header::ACCEPT, "application/json");
            match &self.line {
                Some(line) => request.header(header::AUTHORIZATION, line.clone()),
                None => request,
            }
        };
        self.asking.send(what, safety, with_line).await
    }

    /// What a refusal by DCR means, and what an operator can do about it.
    fn refused(&self, answer: &Answer) -> Error {
        let refused = self.asking.refused(answer, Subject::Endpoint);
        let cure = match (answer.status, &self.asking.config().access) {
            (StatusCode::FORBIDDEN, _) => {
                "the user or token lacks a permission (internal_dcr_create, _view, _update, \
                 _delete), or the client is another owner's"
            }
            (_, Access::InitialClient { .. }) => {
                "check the administrator's name and password (initial client)"
            }
            (_, Access::Open) => "the endpoint is not open: it asks for credentials",
            _ => "check the token: it may have expired",
        };
        match refused {
            Error::Access(told) => Error::Access(format!("{told}: {cure}")),
            other => other,
        }
    }

    /// What a refusal by the application management API means.
    fn refused_management(&self, answer: &Answer) -> Error {
        match self.asking.refused(answer, Subject::Client) {
            Error::Access(told) => Error::Access(format!(
                "{told}: a new secret needs the permission to manage applications"
            )),
            other => other,
        }
    }
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
    let application: Uuid = request.application;
    match place {
        0 => application.to_string(),
        _ => format!("{application}-2"),
    }
}

/// DCR of the server, and tenant, whose issuer this is.
fn beside(issuer: &str) -> Option<Url> {
    let mut url = Url::parse(issuer).ok()?;
    let path = url.path();
    let root = path.find("/oauth2/").map_or(path, |place| &path[..place]);
    let path = format!("{}{REGISTER}", root.trim_end_matches('/'));
    url.set_path(&path);
    url.set_query(None);
    Some(url)
}

fn object(answer: &Answer) -> Result<Map<String, Value>, Error> {
    let members = json::object(&answer.body);
    members.map_err(|_| unreadable("an answer of the management API is no JSON object"))
}

fn unreadable(what: &'static str) -> Error {
    Trouble::Unreadable(what).after(RETRY).into()
}
