//! Registration at WSO2 Identity Server as its code does it: DCR v1.1, as much of the application
//! management API as makes a new secret, and WebFinger.

use std::collections::{HashMap, HashSet};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};

use super::Wso2;
use crate::{
    harness::http1::{Answer, Request},
    vendors::emulation::{Account, Client, random},
};

/// An administrator's name and password. Basic splits at the first colon and decodes nothing.
pub(crate) const ADMINISTRATOR: (&str, &str) = ("admin", "Ad:min%41 s+p/w=");

/// Where DCR is below the server or a tenant.
pub(super) const REGISTER: &str = "/api/identity/oauth2/dcr/v1.1/register";
/// Where applications are managed.
pub(super) const APPLICATIONS: &str = "/api/server/v1/applications";

/// The relation of OpenID Connect's issuer, which every answer carries, whatever was asked for.
const ISSUER: &str = "http://openid.net/specs/connect/1.0/issuer";

/// What a server has registered, and how it lets people in.
pub(crate) struct Management {
    /// By client id.
    pub(crate) applications: HashMap<String, Application>,
    /// Users and their passwords.
    pub(crate) users: HashMap<String, String>,
    /// Bearer tokens, with their user and their scopes.
    pub(crate) tokens: HashMap<String, (String, HashSet<String>)>,
    /// Whether anybody may register: a choice of the deployment.
    pub(crate) open: bool,
    /// `client_secret_expires_at`, a number in the code and a text in one of the documents; null
    /// leaves it out.
    pub(crate) expires_at: Value,
    /// Members put over those of each new client's answer.
    pub(crate) over: Map<String, Value>,
}

/// An application with its OAuth client.
#[derive(Clone, Debug)]
pub(crate) struct Application {
    /// The id by which the management API knows it; DCR never tells it.
    id: String,
    pub(crate) name: String,
    owner: String,
    /// Everything else that was registered.
    metadata: Map<String, Value>,
}

impl Default for Management {
    fn default() -> Self {
        let (name, password) = ADMINISTRATOR;
        Self {
            applications: HashMap::new(),
            users: HashMap::from([(name.to_owned(), password.to_owned())]),
            tokens: HashMap::new(),
            open: false,
            expires_at: json!(0),
            over: Map::new(),
        }
    }
}

impl Management {
    /// Whether an application's tokens are JWTs, if it says so.
    pub(super) fn is_jwt(&self, client_id: &str) -> Option<bool> {
        let kind = self
            .applications
            .get(client_id)?
            .metadata
            .get("ext_token_type")?;
        Some(kind.as_str()? == "JWT")
    }

    /// Whatever is below the server or the tenant.
    pub(super) fn answer(
        &mut self,
        account: &mut Account,
        path: &str,
        request: &Request,
    ) -> Answer {
        let caller = match self.caller(path, request) {
            Ok(caller) => caller,
            // The gate in front of everything says no more than this.
            Err(status) => return Answer::new(status, ""),
        };
        if let Some(rest) = path.strip_prefix(APPLICATIONS) {
            return self.manage(account, rest.trim_start_matches('/'), request);
        }
        let id = path.strip_prefix(REGISTER).unwrap_or_default();
        let id = id.trim_start_matches('/');
        match (&*request.method, id) {
            ("POST", "") => self.register(account, request, &caller),
            ("GET", "") => self.by_name(account, request, &caller),
            (_, "") => Answer::new(405, ""),
            (method, id) => self.client(account, method, id, request, &caller),
        }
    }

    /// Who asks: by Basic or by a token with the scope for it. Nobody in particular where all is
    /// open.
    fn caller(&self, path: &str, request: &Request) -> Result<String, u16> {
        let Some(line) = request.header("authorization") else {
            let open = self.open && path.starts_with(REGISTER);
            return if open {
                Ok("admin".to_owned())
            } else {
                Err(401)
            };
        };
        if let Some(pair) = line.strip_prefix("Basic ") {
            let pair = BASE64_STANDARD.decode(pair).map_err(|_| 401_u16)?;
            let pair = String::from_utf8(pair).map_err(|_| 401_u16)?;
            let (name, password) = pair.split_once(':').ok_or(401_u16)?;
            let known = self.users.get(name).is_some_and(|known| known == password);
            return if known { Ok(name.to_owned()) } else { Err(401) };
        }
        let token = line.strip_prefix("Bearer ").ok_or(401_u16)?;
        let (name, scopes) = self.tokens.get(token).ok_or(401_u16)?;
        let needed = match (&*request.method, path.starts_with(REGISTER)) {
            ("POST", true) => "internal_dcr_create",
            ("GET", true) => "internal_dcr_view",
            ("PUT", true) => "internal_dcr_update",
            (_, true) => "internal_dcr_delete",
            ("GET", false) => "internal_application_mgt_view",
            (_, false) => "internal_application_mgt_create",
        };
        if scopes.contains(needed) {
            Ok(name.clone())
        } else {
            Err(403)
        }
    }

    /// `POST /register`.
    fn register(&mut self, account: &mut Account, request: &Request, caller: &str) -> Answer {
        let given = match read(request) {
            Ok(given) => given,
            Err(refusal) => return refusal,
        };
        let name = given.get("client_name").and_then(Value::as_str);
        let name = name.unwrap_or_default();
        if let Some(refusal) = self.refuses_name(name, None) {
            return refusal;
        }
        let text = |member: &str| given.get(member)?.as_str().map(str::to_owned);
        let id = text("ext_param_client_id").unwrap_or_else(|| random(28));
        if self.applications.contains_key(&id) {
            let text = format!("Client id {id} already exist in the system");
            return refuse("invalid_client_metadata", &text);
        }
        let secret = text("ext_param_client_secret").unwrap_or_else(|| format!("{}_a", random(26)));
        let mut client = Client::new(&secret, "");
        client.grant_types = grant_types(&given);
        client.scopes = vec!["orders".to_owned()];
        account.clients.insert(id.clone(), client);
        let application = Application {
            id: uuid::Uuid::new_v4().to_string(),
            name: name.to_owned(),
            owner: text("ext_application_owner").unwrap_or_else(|| caller.to_owned()),
            metadata: given,
        };
        let mut body = self.shown(&id, &secret, &application);
        self.applications.insert(id, application);
        for (member, value) in &self.over {
            body[member] = value.clone();
        }
        Answer::json(201, &body)
    }

    /// `GET /register?client_name=`.
    fn by_name(&self, account: &Account, request: &Request, caller: &str) -> Answer {
        let query = query(request);
        let name = query.iter().find(|(name, _)| name == "client_name");
        let name = name.map(|(_, value)| value.as_str()).unwrap_or_default();
        if name.is_empty() {
            return refuse(
                "invalid_client_metadata",
                "Insufficient data in the request",
            );
        }
        let mut all = self.applications.iter();
        match all.find(|(_, known)| known.name == name) {
            None => Answer::new(401, ""),
            Some((_, known)) if known.owner != caller => Answer::new(403, ""),
            Some((id, known)) => {
                let secret = &account.clients[id].secrets[0];
                Answer::json(200, &self.shown(id, secret, known))
            }
        }
    }

    /// Whatever is asked of `/register/ID`.
    fn client(
        &mut self,
        account: &mut Account,
        method: &str,
        id: &str,
        request: &Request,
        caller: &str,
    ) -> Answer {
        let Some(known) = self.applications.get(id).cloned() else {
            return Answer::new(401, "");
        };
        if known.owner != caller {
            return Answer::new(403, "");
        }
        let secret = account.clients[id].secrets[0].clone();
        match method {
            "GET" => Answer::json(200, &self.shown(id, &secret, &known)),
            "DELETE" => {
                self.applications.remove(id);
                account.clients.remove(id);
                account.opaque.retain(|_, facts| facts["client_id"] != id);
                Answer::new(204, "")
            }
            "PUT" => {
                let given = match read(request) {
                    Ok(given) => given,
                    Err(refusal) => return refusal,
                };
                let mut changed = known;
                if let Some(name) = given.get("client_name").and_then(Value::as_str) {
                    if let Some(refusal) = self.refuses_name(name, Some(id)) {
                        return refusal;
                    }
                    changed.name = name.to_owned();
                }
                if !grant_types(&given).is_empty() {
                    account.clients.get_mut(id).unwrap().grant_types = grant_types(&given);
                }
                // What is not sent again stays, but for the switches, which fall to false.
                changed
                    .metadata
                    .insert("ext_public_client".to_owned(), json!(false));
                changed.metadata.extend(given);
                let body = self.shown(id, &secret, &changed);
                self.applications.insert(id.to_owned(), changed);
                Answer::json(200, &body)
            }
            _ => Answer::new(405, ""),
        }
    }

    /// The application management API: `GET ?filter=`, and new secrets.
    fn manage(&mut self, account: &mut Account, rest: &str, request: &Request) -> Answer {
        if request.method == "GET" && rest.is_empty() {
            let query = query(request);
            let filter = query.iter().find(|(name, _)| name == "filter");
            let words: Vec<&str> = filter
                .map_or("", |(_, value)| value)
                .splitn(3, ' ')
                .collect();
            let (by_name, value) = match words[..] {
                ["name", "eq", name] => (true, name),
                ["clientId", "eq", id] => (false, id),
                _ => return trouble(400, "APP-60004", "Invalid filter query format."),
            };
            let fits = |(id, known): &(&String, &Application)| match by_name {
                true => known.name == value,
                false => *id == value,
            };
            let found: Vec<Value> = (self.applications.iter().filter(fits))
                .map(|(_, known)| {
                    json!({
                        "id": known.id, "name": known.name, "access": "WRITE",
                        "self": format!("{APPLICATIONS}/{}", known.id),
                    })
                })
                .collect();
            return Answer::json(
                200,
                &json!({
                    "totalResults": found.len(), "startIndex": 1, "count": found.len(),
                    "applications": found, "links": [],
                }),
            );
        }
        let id = rest.strip_suffix("/inbound-protocols/oidc/regenerate-secret");
        let found = self
            .applications
            .iter()
            .find(|(_, known)| Some(&*known.id) == id);
        let Some((client_id, known)) = found.filter(|_| request.method == "POST") else {
            return trouble(404, "APP-60006", "Application not found.");
        };
        let secret = format!("{}_b", random(26));
        account.clients.get_mut(client_id).unwrap().rotate(&secret);
        // Tokens that the old secret earned go with it.
        account
            .opaque
            .retain(|_, facts| facts["client_id"] != *client_id);
        Answer::json(
            200,
            &json!({
                "clientId": client_id, "clientSecret": secret, "state": "ACTIVE",
                "grantTypes": grant_types(&known.metadata), "publicClient": false,
                "callbackURLs": [], "accessToken": {"type": "JWT"},
            }),
        )
    }

    /// What is wrong with a name, if anything is. A client may keep its own.
    fn refuses_name(&self, name: &str, own: Option<&str>) -> Option<Answer> {
        let legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let word = |word: &str| !word.is_empty() && word.chars().all(legal);
        if !name.split(' ').all(word) {
            let pattern = "^[a-zA-Z0-9._-]+(?: [a-zA-Z0-9._-]+)*$";
            let text = format!("Client Name is not adhering to the regex: {pattern}");
            return Some(refuse("invalid_client_metadata", &text));
        }
        let taken = |(id, known): (&String, &Application)| known.name == name && own != Some(id);
        self.applications.iter().any(taken).then(|| {
            let text = format!("Application with the name {name} already exist in the system");
            refuse("invalid_client_metadata", &text)
        })
    }

    /// A client as every answer shows it, its secret too.
    fn shown(&self, id: &str, secret: &str, application: &Application) -> Value {
        let mut body = json!({
            "client_id": id, "client_secret": secret, "client_secret_expires_at": self.expires_at,
            // One callback, which is empty where there is none.
            "redirect_uris": [""], "grant_types": grant_types(&application.metadata),
            "client_name": application.name, "ext_application_display_name": application.name,
            "ext_application_owner": application.owner, "ext_application_token_lifetime": 3600,
            "ext_user_token_lifetime": 3600, "ext_refresh_token_lifetime": 86_400,
            "ext_id_token_lifetime": 3600, "ext_pkce_mandatory": false,
            "ext_public_client": false, "require_signed_request_object": false,
        });
        for (member, value) in &application.metadata {
            if !["redirect_uris", "grant_types"].contains(&member.as_str()) {
                body[member] = value.clone();
            }
        }
        body["client_name"] = json!(application.name);
        if let Some(kind) = application.metadata.get("ext_token_type") {
            body["token_type_extension"] = kind.clone();
        }
        // Nulls are left out.
        body.as_object_mut()
            .unwrap()
            .retain(|_, value| !value.is_null());
        body
    }
}

impl Wso2 {
    /// `GET /.well-known/webfinger`, which knows the tenants and nobody in them.
    pub(super) fn webfinger(&self, request: &Request) -> Answer {
        let query = query(request);
        let names: HashSet<&str> = query.iter().map(|(name, _)| name.as_str()).collect();
        if names != HashSet::from(["rel", "resource"]) {
            return Answer::new(400, "");
        }
        let resource = query.iter().find(|(name, _)| name == "resource");
        let resource = resource
            .map(|(_, value)| value.as_str())
            .unwrap_or_default();
        if resource.trim().is_empty() {
            return Answer::new(404, "");
        }
        let user = match resource.split_once(':') {
            // No scheme, or none that the server can read, is its own fault.
            None => return Answer::new(500, ""),
            Some(("acct", rest)) => match rest.rsplit_once('@') {
                None => return Answer::new(400, ""),
                Some((user, _)) => user.to_owned(),
            },
            Some(_) => match url::Url::parse(resource) {
                Err(_) => return Answer::new(500, ""),
                Ok(url) => url.username().replace("%40", "@"),
            },
        };
        let tenant = user.rsplit_once('@').map(|(_, tenant)| tenant);
        let root = match tenant {
            None | Some("carbon.super") => self.base.clone(),
            Some(name) if self.tenant == Some(name) => format!("{}/t/{name}", self.base),
            Some(_) => return Answer::new(404, ""),
        };
        let body = json!({
            "subject": resource,
            "links": [{"rel": ISSUER, "href": format!("{root}/oauth2/token")}],
        });
        Answer::new(200, escaped(&body.to_string())).header("Content-Type", "application/jrd+json")
    }
}

/// JSON as Gson writes it: fit for HTML.
fn escaped(json: &str) -> String {
    let mut text = json.to_owned();
    for (letter, code) in [
        ('=', "3d"),
        ('&', "26"),
        ('<', "3c"),
        ('>', "3e"),
        ('\'', "27"),
    ] {
        text = text.replace(letter, &format!("\\u00{code}"));
    }
    text
}

fn grant_types(metadata: &Map<String, Value>) -> Vec<String> {
    let listed = metadata.get("grant_types").and_then(Value::as_array);
    let listed = listed.into_iter().flatten();
    listed
        .filter_map(|one| one.as_str().map(str::to_owned))
        .collect()
}

fn read(request: &Request) -> Result<Map<String, Value>, Answer> {
    let kind = request.header("content-type").unwrap_or_default();
    if !kind.starts_with("application/json") {
        return Err(Answer::new(415, ""));
    }
    match serde_json::from_slice(&request.body) {
        Ok(Value::Object(given)) if given.get("redirect_uris").is_some_and(Value::is_array) => {
            Ok(given)
        }
        _ => Err(refuse("invalid_client_metadata", "Invalid input")),
    }
}

fn query(request: &Request) -> Vec<(String, String)> {
    let query = request
        .target
        .split_once('?')
        .map_or("", |(_, query)| query);
    url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect()
}

/// Every refusal of DCR that has a body.
fn refuse(error: &str, description: &str) -> Answer {
    let body = json!({"error": error, "error_description": description, "traceId": random(32)});
    Answer::json(400, &body)
}

/// Every refusal of the management API.
fn trouble(status: u16, code: &str, message: &str) -> Answer {
    let body = json!({
        "code": code, "message": message, "description": message, "traceId": random(32),
    });
    Answer::json(status, &body)
}
