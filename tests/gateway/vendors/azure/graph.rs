//! Microsoft Graph as far as applications are managed by it: a directory that takes a while to
//! agree with itself, ids of two kinds, and secrets that are shown once and work late.

pub(crate) mod answers;

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value, json};

use crate::{
    harness::{
        http1::{Answer, Request},
        now,
    },
    vendors::emulation::{Account, Client, random},
};
use answers::{denied, instant, not_found, principal, problem, selected, shown};

/// The application permission that suffices for what the client made itself.
pub(crate) const OWNED_BY: &str = "Application.ReadWrite.OwnedBy";
/// The one that suffices for all.
pub(crate) const ALL: &str = "Application.ReadWrite.All";

/// Life of a secret for which no end was asked for.
const TWO_YEARS: i64 = 730 * 86_400;

/// Properties of an application that may be written, as far as this emulation knows them.
const WRITABLE: [&str; 11] = [
    "api",
    "description",
    "displayName",
    "identifierUris",
    "isFallbackPublicClient",
    "notes",
    "publicClient",
    "requiredResourceAccess",
    "signInAudience",
    "tags",
    "web",
];

/// Applications of a tenant, and how slowly the directory learns of them.
#[derive(Default)]
pub(crate) struct Graph {
    pub(crate) applications: Vec<Application>,
    /// Deleted ones that can be restored.
    pub(crate) deleted: Vec<Application>,
    /// Service principals: `appId` to object id.
    pub(crate) principals: HashMap<String, String>,
    /// Tokens for Graph, and the client of each.
    tokens: HashMap<String, String>,
    /// How often each step after a creation is refused before the application has got about.
    pub(crate) lag: Lag,
    /// Requests left until each new secret is known at the token endpoint.
    unknown_yet: HashMap<String, usize>,
    /// Applications of which the token endpoint knew nothing yet when it was asked last.
    unseen: HashSet<String>,
    /// Entries on one page.
    pub(crate) page: usize,
    /// Members put over those of each new application.
    pub(crate) over: Map<String, Value>,
}

/// How often a step is refused after a creation.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lag {
    /// `POST /servicePrincipals`: 400.
    pub(crate) principal: usize,
    /// Whatever is asked of the application itself: 404.
    pub(crate) application: usize,
    /// Lists that do not show it.
    pub(crate) list: usize,
    /// Token requests with a new secret: 400 the first time for a new application, then 401.
    pub(crate) secret: usize,
}

/// An application as the directory keeps it.
#[derive(Clone, Debug)]
pub(crate) struct Application {
    /// The object id.
    pub(crate) id: String,
    /// The client id.
    pub(crate) app_id: String,
    /// The client that made it.
    owner: String,
    /// Everything else.
    pub(crate) properties: Map<String, Value>,
    /// Its secrets, without them.
    pub(crate) passwords: Vec<Password>,
    pub(crate) lag: Lag,
}

/// A secret of an application.
#[derive(Clone, Debug)]
pub(crate) struct Password {
    pub(crate) key_id: String,
    text: String,
    shown: Value,
}

impl Graph {
    pub(super) fn new() -> Self {
        Self {
            page: 100,
            ..Self::default()
        }
    }

    /// Keeps a token for Graph.
    pub(super) fn keep(&mut self, token: String, client: &str) {
        self.tokens.insert(token, client.to_owned());
    }

    /// No token counts any more.
    pub(crate) fn forget_tokens(&mut self) {
        self.tokens.clear();
    }

    /// The application of a client id.
    pub(crate) fn of(&self, app_id: &str) -> &Application {
        let mut all = self.applications.iter();
        all.find(|known| known.app_id == app_id).unwrap()
    }

    /// What the token endpoint says to a pair that is right and has not got about yet, or whose
    /// application nobody can act for.
    pub(super) fn refuses(
        &mut self,
        app_id: &str,
        secret: &str,
    ) -> Option<(u16, &'static str, u32)> {
        if let Some(left) = self.unknown_yet.get_mut(secret).filter(|left| **left > 0) {
            *left -= 1;
            let unseen = self.unseen.remove(app_id);
            return Some(match unseen {
                true => (400, "unauthorized_client", 700_016),
                false => (401, "invalid_client", 7_000_215),
            });
        }
        let made_here = self.applications.iter().any(|known| known.app_id == app_id);
        let acts = !made_here || self.principals.contains_key(app_id);
        (!acts).then_some((401, "invalid_client", 7_000_229))
    }

    /// Whatever lies below `/v1.0`. `base` is where that begins.
    pub(super) fn answer(
        &mut self,
        base: &str,
        account: &mut Account,
        request: &Request,
    ) -> Answer {
        let path = request.path().strip_prefix("/v1.0/").unwrap_or_default();
        let path = percent_decode(path);
        let caller = match self.caller(account, request) {
            Ok(caller) => caller,
            Err(refusal) => return refusal,
        };
        let (collection, rest) = match path.find(['/', '(']) {
            Some(end) => path.split_at(end),
            None => (&*path, ""),
        };
        match (collection, &*request.method, rest) {
            ("applications", "POST", "") => self.create(base, account, request, &caller),
            ("applications", "GET", "") => self.list(base, request),
            ("applications", method, rest) => {
                self.application(base, account, method, rest, request, &caller)
            }
            ("servicePrincipals", "POST", "") => self.principal(base, request),
            ("servicePrincipals", "GET", rest) => self.principal_of(base, rest),
            ("directory", "DELETE", rest) => self.purge(rest),
            _ => problem(
                404,
                "Request_ResourceNotFound",
                "Resource not found for the segment.",
            ),
        }
    }

    /// Who asks: by a token for Graph, of a client with one of the permissions.
    fn caller(&self, account: &Account, request: &Request) -> Result<String, Answer> {
        let code = "InvalidAuthenticationToken";
        let token = request.header("authorization").unwrap_or_default();
        let Some(token) = token.strip_prefix("Bearer ") else {
            return Err(problem(401, code, "Access token is empty."));
        };
        let Some(client) = self.tokens.get(token) else {
            let text = "Access token validation failure. Invalid audience.";
            return Err(problem(401, code, text));
        };
        let scopes = account.clients.get(client).map(|client| &client.scopes);
        let permits = |scope: &String| [OWNED_BY, ALL].contains(&scope.as_str());
        match scopes.is_some_and(|scopes| scopes.iter().any(permits)) {
            true => Ok(client.clone()),
            false => Err(denied()),
        }
    }

    /// `POST /applications`.
    fn create(
        &mut self,
        base: &str,
        account: &mut Account,
        request: &Request,
        caller: &str,
    ) -> Answer {
        let given = match written(request) {
            Ok(given) => given,
            Err(refusal) => return refusal,
        };
        if given
            .get("displayName")
            .and_then(Value::as_str)
            .is_none_or(str::is_empty)
        {
            let text = "A value is required for property 'displayName' of resource 'Application'.";
            return problem(400, "Request_BadRequest", text);
        }
        let time = instant(now());
        let mut properties = json!({
            "deletedDateTime": null, "applicationTemplateId": null, "createdDateTime": time,
            "description": null, "identifierUris": [], "isFallbackPublicClient": null, "notes": null,
            "publisherDomain": "orders.example", "signInAudience": "AzureADMyOrg", "tags": [],
            "api": {
                "acceptMappedClaims": null, "knownClientApplications": [],
                "requestedAccessTokenVersion": null, "oauth2PermissionScopes": [],
                "preAuthorizedApplications": [],
            },
            "appRoles": [], "keyCredentials": [], "requiredResourceAccess": [],
            "publicClient": {"redirectUris": []},
            "web": {
                "homePageUrl": null, "logoutUrl": null, "redirectUris": [],
                "implicitGrantSettings": {
                    "enableAccessTokenIssuance": false, "enableIdTokenIssuance": false,
                },
            },
            "spa": {"redirectUris": []},
        });
        let properties = properties.as_object_mut().unwrap();
        merge(properties, &given);
        merge(properties, &self.over);
        let application = Application {
            id: super::guid(),
            app_id: super::guid(),
            owner: caller.to_owned(),
            properties: properties.clone(),
            passwords: Vec::new(),
            lag: self.lag,
        };
        let mut client = Client::new("", "");
        client.secrets.clear();
        client.scopes.clear();
        account.clients.insert(application.app_id.clone(), client);
        let body = shown(base, "applications/$entity", &application);
        self.applications.push(application);
        Answer::json(201, &body)
    }

    /// `GET /applications`, page by page.
    fn list(&mut self, base: &str, request: &Request) -> Answer {
        let query = query(request);
        let get = |name: &str| query.get(name).map(String::as_str);
        let filter = match get("$filter").map(Filter::read) {
            None => None,
            Some(Some(filter)) => Some(filter),
            Some(None) => {
                let text = "Unsupported or invalid query filter clause specified.";
                return problem(400, "Request_UnsupportedQuery", text);
            }
        };
        let mut found = Vec::new();
        for known in &mut self.applications {
            if filter.as_ref().is_some_and(|filter| !filter.takes(known)) {
                continue;
            }
            match known.lag.list {
                0 => found.push(known.clone()),
                _ => known.lag.list -= 1,
            }
        }
        let from: usize = get("$skiptoken").map_or(0, |token| token.parse().unwrap());
        let page = found.iter().skip(from).take(self.page);
        let page: Vec<Value> = page
            .map(|known| selected(known.members(), get("$select")))
            .collect();
        let mut body = json!({
            "@odata.context": format!("{base}/$metadata#applications"),
            "value": page,
        });
        let next = from + self.page;
        if next < found.len() {
            let query = request
                .target
                .split_once('?')
                .map_or("", |(_, query)| query);
            let query: Vec<&str> = query
                .split('&')
                .filter(|pair| !pair.contains("skiptoken"))
                .collect();
            let link = format!("{base}/applications?{}&$skiptoken={next}", query.join("&"));
            body["@odata.nextLink"] = json!(link);
        }
        Answer::json(200, &body)
    }

    /// Whatever is asked of one application, by either of its ids.
    fn application(
        &mut self,
        base: &str,
        account: &mut Account,
        method: &str,
        rest: &str,
        request: &Request,
        caller: &str,
    ) -> Answer {
        let (named, action) = match rest.strip_prefix("(appId='") {
            Some(rest) => match rest.split_once("')") {
                Some((app_id, action)) => (Named::App(app_id), action.trim_start_matches('/')),
                None => return problem(400, "BadRequest", "Bad Request - Error in query syntax."),
            },
            None => {
                let rest = rest.trim_start_matches('/');
                let (id, action) = rest.split_once('/').unwrap_or((rest, ""));
                (Named::Object(id), action)
            }
        };
        let named_so = |known: &&mut Application| match named {
            Named::App(app_id) => known.app_id == app_id,
            Named::Object(id) => known.id == id,
        };
        let Some(known) = self.applications.iter_mut().find(named_so) else {
            return not_found(named.text());
        };
        if known.lag.application > 0 {
            known.lag.application -= 1;
            return not_found(named.text());
        }
        if method == "GET" && action.is_empty() {
            let query = query(request);
            let select = query.get("$select").map(String::as_str);
            return Answer::json(
                200,
                &selected(shown(base, "applications/$entity", known), select),
            );
        }
        let all = account.clients[caller]
            .scopes
            .iter()
            .any(|scope| scope == ALL);
        if known.owner != caller && !all {
            return denied();
        }
        match (method, action) {
            ("PATCH", "") => match written(request) {
                Ok(given) => {
                    merge(&mut known.properties, &given);
                    Answer::new(204, "")
                }
                Err(refusal) => refusal,
            },
            ("DELETE", "") => {
                let app_id = known.app_id.clone();
                account.clients.remove(&app_id);
                // Its service principal in this tenant goes with it.
                self.principals.remove(&app_id);
                let place = self
                    .applications
                    .iter()
                    .position(|known| known.app_id == app_id);
                let mut gone = self.applications.remove(place.unwrap());
                gone.properties["deletedDateTime"] = json!(instant(now()));
                self.deleted.push(gone);
                Answer::new(204, "")
            }
            ("POST", "addPassword") => {
                let lag = self.lag.secret;
                let given = body(request);
                let given = &given["passwordCredential"];
                let (start, end) = (now(), given["endDateTime"].as_str());
                let password = Password::new(&given["displayName"], start, end);
                let client = account.clients.get_mut(&known.app_id).unwrap();
                client.secrets.push(password.text.clone());
                if lag > 0 {
                    if known.passwords.is_empty() {
                        self.unseen.insert(known.app_id.clone());
                    }
                    self.unknown_yet.insert(password.text.clone(), lag);
                }
                let mut body = password.shown.clone();
                body["secretText"] = json!(password.text);
                body["@odata.context"] = json!(format!(
                    "{base}/$metadata#microsoft.graph.passwordCredential"
                ));
                known.passwords.push(password);
                Answer::json(200, &body)
            }
            ("POST", "removePassword") => {
                let key_id = body(request)["keyId"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
                let place = known
                    .passwords
                    .iter()
                    .position(|known| known.key_id == key_id);
                let Some(place) = place else {
                    let text = format!("No password credential found with keyId '{key_id}'.");
                    return problem(400, "Request_BadRequest", &text);
                };
                let gone = known.passwords.remove(place);
                let client = account.clients.get_mut(&known.app_id).unwrap();
                client.secrets.retain(|secret| *secret != gone.text);
                Answer::new(204, "")
            }
            _ => problem(
                405,
                "Request_BadRequest",
                "Specified HTTP method is not allowed.",
            ),
        }
    }

    /// `POST /servicePrincipals`.
    fn principal(&mut self, base: &str, request: &Request) -> Answer {
        let app_id = body(request)["appId"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let mut all = self.applications.iter_mut();
        let known = all.find(|known| known.app_id == app_id);
        let unseen = known.is_none_or(|known| {
            let unseen = known.lag.principal > 0;
            known.lag.principal = known.lag.principal.saturating_sub(1);
            unseen
        });
        if unseen {
            let text = format!(
                "The appId '{app_id}' of the service principal does not reference a valid \
                 application object."
            );
            return problem(400, "Request_BadRequest", &text);
        }
        if self.principals.contains_key(&app_id) {
            let text = format!(
                "The service principal cannot be created, updated, or restored because the \
                 service principal name {app_id} is already in use."
            );
            return problem(409, "Request_MultipleObjectsWithSameKeyValue", &text);
        }
        let id = super::guid();
        let body = principal(base, &id, self.of(&app_id));
        self.principals.insert(app_id, id);
        Answer::json(201, &body)
    }

    /// `GET /servicePrincipals(appId='…')`.
    fn principal_of(&self, base: &str, rest: &str) -> Answer {
        let app_id = rest
            .strip_prefix("(appId='")
            .and_then(|rest| rest.strip_suffix("')"));
        let app_id = app_id.unwrap_or_default();
        match self.principals.get(app_id) {
            Some(id) => Answer::json(200, &principal(base, id, self.of(app_id))),
            None => not_found(app_id),
        }
    }

    /// `DELETE /directory/deletedItems/ID`: for good.
    fn purge(&mut self, rest: &str) -> Answer {
        let id = rest.strip_prefix("/deletedItems/").unwrap_or_default();
        match self.deleted.iter().position(|known| known.id == id) {
            Some(place) => {
                self.deleted.remove(place);
                Answer::new(204, "")
            }
            None => not_found(id),
        }
    }
}

impl Application {
    /// Everything that is told of it.
    fn members(&self) -> Value {
        let mut members = self.properties.clone();
        members.insert("id".to_owned(), json!(self.id));
        members.insert("appId".to_owned(), json!(self.app_id));
        let passwords: Vec<Value> = self
            .passwords
            .iter()
            .map(|known| known.shown.clone())
            .collect();
        members.insert("passwordCredentials".to_owned(), json!(passwords));
        Value::Object(members)
    }
}

impl Password {
    /// Forty letters, among them those that forms, URLs and Basic treat in their own way.
    fn new(name: &Value, start: i64, end: Option<&str>) -> Self {
        let text = format!("[{}8Q~x.y-_@+:]{}", random(3), random(22));
        let key_id = super::guid();
        let end = end.map_or_else(|| instant(start + TWO_YEARS), str::to_owned);
        let shown = json!({
            "customKeyIdentifier": null, "displayName": name, "startDateTime": instant(start),
            "endDateTime": end, "hint": &text[..3], "keyId": key_id, "secretText": null,
        });
        Self {
            key_id,
            text,
            shown,
        }
    }
}

/// By which id an application is named.
#[derive(Clone, Copy)]
enum Named<'a> {
    App(&'a str),
    Object(&'a str),
}

impl<'a> Named<'a> {
    fn text(self) -> &'a str {
        match self {
            Self::App(text) | Self::Object(text) => text,
        }
    }
}

/// The filters that are understood.
enum Filter {
    Name(String),
    Tag(String),
}

impl Filter {
    fn read(text: &str) -> Option<Self> {
        let value = |text: &str| {
            Some(
                text.strip_prefix('\'')?
                    .strip_suffix('\'')?
                    .replace("''", "'"),
            )
        };
        if let Some(rest) = text.strip_prefix("displayName eq ") {
            return Some(Self::Name(value(rest)?));
        }
        let inner = text.strip_prefix("tags/any(")?.strip_suffix(')')?;
        let (variable, test) = inner.split_once(':')?;
        let tag = test.strip_prefix(&format!("{variable} eq "))?;
        Some(Self::Tag(value(tag)?))
    }

    fn takes(&self, application: &Application) -> bool {
        match self {
            Self::Name(name) => application.properties["displayName"] == json!(name),
            Self::Tag(tag) => {
                let tags = application.properties["tags"].as_array();
                tags.is_some_and(|tags| tags.contains(&json!(tag)))
            }
        }
    }
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).unwrap_or_default()
}

/// The properties that a request writes.
fn written(request: &Request) -> Result<Map<String, Value>, Answer> {
    let kind = request.header("content-type").unwrap_or_default();
    let Value::Object(given) = body(request) else {
        let text = "Unable to read JSON request payload.";
        return Err(problem(400, "BadRequest", text));
    };
    if !kind.starts_with("application/json") {
        let text = "Write requests must contain the Content-Type header declaration.";
        return Err(problem(400, "BadRequest", text));
    }
    if given.contains_key("passwordCredentials") {
        let text = "Adding passwords when applications are created is not supported.";
        return Err(problem(400, "Request_BadRequest", text));
    }
    match given.keys().find(|name| !WRITABLE.contains(&name.as_str())) {
        Some(name) => {
            let text = format!("Invalid property '{name}'.");
            Err(problem(400, "Request_BadRequest", &text))
        }
        None => Ok(given),
    }
}

/// Puts members over those that are there; those of objects one by one.
fn merge(into: &mut Map<String, Value>, given: &Map<String, Value>) {
    for (name, value) in given {
        match (into.get_mut(name), value) {
            (Some(Value::Object(known)), Value::Object(given)) => merge(known, given),
            _ => drop(into.insert(name.clone(), value.clone())),
        }
    }
}

fn query(request: &Request) -> HashMap<String, String> {
    let query = request
        .target
        .split_once('?')
        .map_or("", |(_, query)| query);
    url::form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect()
}

fn percent_decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}
