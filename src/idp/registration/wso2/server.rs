//! The calls to WSO2 Identity Server, or one tenant of it: DCR, and as much of the application
//! management API as makes a new secret.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderValue, StatusCode, header};
use reqwest::RequestBuilder;
use serde_json::{Map, Value, json};
use url::Url;

use super::super::{
    Access, Error, Issued, Request,
    asking::{Asking, Safety, Subject},
    returned::Returned,
};
use crate::{
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

/// When asking again may help with an answer that cannot be read.
const RETRY: Duration = Duration::from_secs(1);

/// A server, or one tenant of it, for one operation.
pub(super) struct Server<'a> {
    asking: &'a Asking<'a>,
    register: Url,
    /// The Authorization line, where there is one.
    line: Option<HeaderValue>,
}

impl<'a> Server<'a> {
    /// Where it is: as configured, as the metadata says, or beside the token endpoint that its
    /// issuer is, in the same tenant.
    pub(super) async fn of(asking: &'a Asking<'a>) -> Result<Self, Error> {
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
    pub(super) async fn asked(&self, name: &str, request: &Request) -> Map<String, Value> {
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

    pub(super) async fn register(&self, asked: &Map<String, Value>) -> Result<Answer, Error> {
        let make = || self.asking.http().post(self.register.clone()).json(asked);
        self.send("client", Safety::Once, make).await
    }

    /// `GET /register/ID`, secret included.
    pub(super) async fn read(&self, client_id: &ClientId) -> Result<Returned, Error> {
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
    pub(super) async fn by_name(&self, name: &str) -> Result<Answer, Error> {
        let mut url = self.register.clone();
        url.query_pairs_mut().append_pair("client_name", name);
        let make = || self.asking.http().get(url.clone());
        self.send("client by its name", Safety::Repeatable, make)
            .await
    }

    /// Whether a client of this name is there, whoever's.
    pub(super) async fn is_taken(&self, name: &str) -> Result<bool, Error> {
        let answer = self.by_name(name).await?;
        Ok(matches!(
            answer.status,
            StatusCode::OK | StatusCode::FORBIDDEN
        ))
    }

    /// Asks something that only who has no access is answered with 401: for the client without a
    /// name.
    pub(super) async fn prove_access(&self) -> Result<(), Error> {
        let answer = self.by_name("").await?;
        match answer.status {
            StatusCode::UNAUTHORIZED => Err(self.refused(&answer)),
            _ => Ok(()),
        }
    }

    /// What a 401 to a question about one client means.
    pub(super) async fn gone_or_access(&self) -> Error {
        self.prove_access().await.err().unwrap_or(Error::Gone)
    }

    /// A new secret by the application management API, where an application has another id.
    pub(super) async fn regenerate(&self, client_id: &ClientId) -> Result<Issued, Error> {
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

    pub(super) fn client(&self, client_id: &ClientId) -> Url {
        let mut url = self.register.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push(client_id.as_str());
        }
        url
    }

    pub(super) async fn send(
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
    pub(super) fn refused(&self, answer: &Answer) -> Error {
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

pub(super) fn unreadable(what: &'static str) -> Error {
    Trouble::Unreadable(what).after(RETRY).into()
}
