//! Auth0's Management API, as far as clients and their grants go.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::{API, Auth0};
use crate::{
    harness::{
        http1::{Answer, Request},
        now,
        token::Token,
    },
    vendors::emulation::{Account, Client, Vendor, random, words},
};

/// What the operator's own client has to be granted at the Management API.
pub(crate) const SCOPES: [&str; 9] = [
    "read:clients",
    "create:clients",
    "update:clients",
    "delete:clients",
    "read:client_grants",
    "create:client_grants",
    "update:client_grants",
    "delete:client_grants",
    "update:client_keys",
];

/// What the Management API knows.
#[derive(Default)]
pub(crate) struct Management {
    /// Clients in the order in which they were made, without their secrets.
    pub(crate) clients: Vec<Value>,
    pub(crate) grants: Vec<Value>,
    /// Tokens for the Management API, and their scopes.
    tokens: HashMap<String, Vec<String>>,
    /// Changes a client while it is made, as a tenant's own rules may.
    pub(crate) made: Option<fn(&mut Value)>,
    /// Changes a grant while it is made.
    pub(crate) granted: Option<fn(&mut Value)>,
    /// How many calls do not know a new client yet.
    pub(crate) lag: usize,
    /// How many token requests do not know a new secret yet.
    pub(crate) late: usize,
    /// Whether the secret before a rotation is good beside the new one, as it is for half a minute.
    pub(crate) keeps_old_secret: bool,
    /// A client that was made a moment ago, and how many calls do not know it yet.
    unseen: Option<(String, usize)>,
}

/// Properties of a client that may be written here.
const PROPERTIES: [&str; 11] = [
    "name",
    "description",
    "app_type",
    "grant_types",
    "token_endpoint_auth_method",
    "oidc_conformant",
    "client_metadata",
    "callbacks",
    "logo_uri",
    "jwt_configuration",
    "sso_disabled",
];

impl Auth0 {
    /// The audience of the Management API: that of the tenant's own domain, whatever domain is asked.
    pub(super) fn own_api(&self) -> String {
        format!("{}/api/v2/", self.base)
    }

    /// The operator's own client, which may do what these scopes say; its id.
    pub(crate) fn administrator(
        &mut self,
        account: &mut Account,
        secret: &str,
        scopes: &[&str],
    ) -> String {
        let id = self.client_id();
        let mut client = Client::new(secret, "");
        client.granted = false;
        account.clients.insert(id.clone(), client);
        self.management.grants.push(json!({
            "id": format!("cgr_{}", random(16)), "client_id": id, "audience": self.own_api(),
            "scope": scopes,
        }));
        id
    }

    /// A token for the Management API, for who has a grant for it.
    pub(super) fn management_token(
        &mut self,
        account: &Account,
        domain: &str,
        client_id: &str,
        request: &Request,
    ) -> Answer {
        let own = self.own_api();
        let grant = self.management.grant_of(client_id, &own);
        let Some(granted) = grant.map(|grant| words(&grant["scope"])) else {
            let text = format!("Client is not authorized to access \"{own}\".");
            return super::refuse(403, "access_denied", &text);
        };
        let asked = request.field("scope").unwrap_or_default();
        let asked: Vec<String> = asked.split_whitespace().map(str::to_owned).collect();
        let scopes = if asked.is_empty() { granted } else { asked };
        let (key, now) = (account.key(), now());
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": key.kid});
        let claims = json!({
            "iss": format!("{domain}/"), "sub": format!("{client_id}@clients"), "aud": own,
            "iat": now, "exp": now + 86_400, "scope": scopes.join(" "),
            "gty": "client-credentials", "azp": client_id, "jti": random(22),
        });
        let token = Token::of(key, header, claims).build();
        self.management.tokens.insert(token.clone(), scopes);
        let body = json!({"access_token": token, "token_type": "Bearer", "expires_in": 86_400});
        Answer::json(200, &body)
    }

    /// `/api/v2/…`.
    pub(super) fn manage(&mut self, account: &mut Account, request: &Request) -> Answer {
        let line = request.header("authorization").unwrap_or_default();
        let Some(token) = line.strip_prefix("Bearer ") else {
            return unauthorized("Missing authentication");
        };
        let Some(scopes) = self.management.tokens.get(token).cloned() else {
            return unauthorized("Invalid token");
        };
        let path = request.path().trim_start_matches("/api/v2/").to_owned();
        let segments: Vec<String> = path
            .split('/')
            .map(|segment| {
                let decoded = percent_encoding::percent_decode_str(segment);
                decoded.decode_utf8().unwrap().into_owned()
            })
            .collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let needed = match (request.method.as_str(), &segments[..]) {
            ("GET", ["clients"] | ["clients", _]) => "read:clients",
            ("POST", ["clients"]) => "create:clients",
            ("PATCH", ["clients", _]) => "update:clients",
            ("DELETE", ["clients", _]) => "delete:clients",
            ("POST", ["clients", _, "rotate-secret"]) => "update:client_keys",
            ("GET", ["client-grants"]) => "read:client_grants",
            ("POST", ["client-grants"]) => "create:client_grants",
            ("PATCH", ["client-grants", _]) => "update:client_grants",
            ("DELETE", ["client-grants", _]) => "delete:client_grants",
            _ => return error(404, "Not Found", "Not Found", None),
        };
        if !scopes.iter().any(|scope| scope == needed) {
            let text = format!("Insufficient scope, expected any of: {needed}");
            return error(403, "Forbidden", &text, Some("insufficient_scope"));
        }
        let sees_keys = scopes.iter().any(|scope| scope == "read:client_keys");
        let management = &mut self.management;
        match (request.method.as_str(), &segments[..]) {
            ("GET", ["clients"]) => management.list(request),
            ("POST", ["clients"]) => {
                let id = self.client_id();
                self.management.create(account, id, request)
            }
            ("GET", ["clients", id]) => match management.seen(id) {
                Some(client) => {
                    let shown = with_secret(client.clone(), account, sees_keys);
                    Answer::json(200, &selected(shown, &query(request)))
                }
                None => inexistent_client(),
            },
            ("PATCH", ["clients", id]) => match management.update(id, request) {
                Ok(client) => Answer::json(200, &with_secret(client, account, sees_keys)),
                Err(refusal) => refusal,
            },
            ("DELETE", ["clients", id]) => {
                management
                    .clients
                    .retain(|client| client["client_id"] != *id);
                management.grants.retain(|grant| grant["client_id"] != *id);
                account.clients.remove(*id);
                Answer::new(204, "")
            }
            ("POST", ["clients", id, "rotate-secret"]) => management.rotate(account, id),
            ("GET", ["client-grants"]) => management.list_grants(request),
            ("POST", ["client-grants"]) => {
                let own = self.own_api();
                self.management.grant(account, &own, request)
            }
            ("PATCH", ["client-grants", id]) => management.regrant(account, id, request),
            (_, [_, id]) => {
                let ended = management
                    .grants
                    .iter()
                    .position(|grant| grant["id"] == *id);
                if let Some(position) = ended {
                    let grant = management.grants.remove(position);
                    let client = grant["client_id"].as_str().unwrap();
                    if let Some(client) = account.clients.get_mut(client) {
                        (client.granted, client.scopes) = (false, Vec::new());
                    }
                }
                Answer::new(204, "")
            }
            _ => unreachable!("every path with a scope has an answer"),
        }
    }
}

impl Management {
    /// The client of an application of this gateway's.
    pub(crate) fn of_application(&self, application: &str) -> Vec<&Value> {
        let ours = |client: &&Value| {
            let metadata = client["client_metadata"].as_object();
            metadata.is_some_and(|members| members.values().any(|value| value == application))
        };
        self.clients.iter().filter(ours).collect()
    }

    fn client(&mut self, id: &str) -> Option<&mut Value> {
        self.clients
            .iter_mut()
            .find(|client| client["client_id"] == id)
    }

    /// A client, if this call knows it already.
    fn seen(&mut self, id: &str) -> Option<&mut Value> {
        if let Some((new, left)) = &mut self.unseen
            && new == id
            && *left > 0
        {
            *left -= 1;
            return None;
        }
        self.client(id)
    }

    fn grant_of(&self, client_id: &str, audience: &str) -> Option<&Value> {
        let fits =
            |grant: &&Value| grant["client_id"] == client_id && grant["audience"] == audience;
        self.grants.iter().find(fits)
    }

    /// `GET /clients`.
    fn list(&self, request: &Request) -> Answer {
        let query = query(request);
        let number =
            |name: &str, default: usize| query.get(name).map_or(Ok(default), |text| text.parse());
        let (Ok(page), Ok(size)) = (number("page", 0), number("per_page", 50)) else {
            return invalid(
                "Query validation error: 'Expected type integer'.",
                "invalid_query_string",
            );
        };
        if size > 100 {
            let text = "Query validation error: 'Value 101 is greater than maximum 100' on \
                        property per_page (Number of results per page).";
            return invalid(text, "invalid_query_string");
        }
        let shown = self.clients.iter().skip(page * size).take(size);
        let shown: Vec<Value> = shown
            .map(|client| selected(client.clone(), &query))
            .collect();
        if query
            .get("include_totals")
            .is_some_and(|text| text == "true")
        {
            let total = self.clients.len();
            let body =
                json!({"start": page * size, "limit": size, "total": total, "clients": shown});
            return Answer::json(200, &body);
        }
        Answer::json(200, &json!(shown))
    }

    /// `POST /clients`.
    fn create(&mut self, account: &mut Account, id: String, request: &Request) -> Answer {
        let members = match body(request, &PROPERTIES) {
            Ok(members) => members,
            Err(refusal) => return refusal,
        };
        if !members.get("name").is_some_and(Value::is_string) {
            return invalid_body("'Missing required property: name'");
        }
        if let Err(refusal) = check(&members) {
            return refusal;
        }
        let grant_types = words(&members.get("grant_types").cloned().unwrap_or_default());
        let method = members.get("token_endpoint_auth_method");
        if method.is_none() && grant_types.iter().any(|name| name == "client_credentials") {
            let text = "Invalid grant types: client_credentials";
            return error(400, "Bad Request", text, None);
        }
        let mut client = json!({
            "tenant": "acme-dev", "global": false, "is_token_endpoint_ip_header_trusted": false,
            "is_first_party": true, "oidc_conformant": false, "sso_disabled": false,
            "cross_origin_auth": false, "custom_login_page_on": true, "allowed_clients": [],
            "callbacks": [], "client_aliases": [], "callback_url_template": false,
            "jwt_configuration":
                {"alg": "RS256", "lifetime_in_seconds": 36_000, "secret_encoded": false},
            "signing_keys": [{"cert": "-----BEGIN CERTIFICATE-----", "subject": "/CN=acme-dev"}],
            "client_id": id,
        });
        let own = client.as_object_mut().unwrap();
        own.extend(members);
        if let Some(made) = self.made {
            made(&mut client);
        }
        let secret = format!("{}-{}_k", random(30), random(30));
        account.clients.insert(
            id.clone(),
            Client {
                secrets: Vec::new(),
                expired: Vec::new(),
                grant_types: words(&client["grant_types"]),
                granted: false,
                scopes: Vec::new(),
            },
        );
        account.issue(&id, &secret, self.late);
        self.unseen = Some((id, self.lag));
        self.clients.push(client.clone());
        client["client_secret"] = json!(secret);
        Answer::json(201, &client)
    }

    /// `PATCH /clients/{id}`: members of `client_metadata` are merged, null takes one away.
    fn update(&mut self, id: &str, request: &Request) -> Result<Value, Answer> {
        let members = body(request, &PROPERTIES)?;
        check(&members)?;
        let client = self.seen(id).ok_or_else(inexistent_client)?;
        for (name, value) in members {
            match (name.as_str(), value) {
                ("client_metadata", Value::Object(changes)) => {
                    let mut all = client[&name].as_object().cloned().unwrap_or_default();
                    all.extend(changes);
                    all.retain(|_, value| !value.is_null());
                    client[&name] = Value::Object(all);
                }
                (_, value) => client[&name] = value,
            }
        }
        Ok(client.clone())
    }

    /// `POST /clients/{id}/rotate-secret`.
    fn rotate(&mut self, account: &mut Account, id: &str) -> Answer {
        let keeps = self.keeps_old_secret;
        let late = self.late;
        let Some(client) = self.seen(id) else {
            return inexistent_client();
        };
        let mut client = client.clone();
        let secret = format!("{}-{}_r", random(30), random(30));
        let known = account.clients.get_mut(id).unwrap();
        if !keeps && late == 0 {
            known.secrets.clear();
        }
        account.issue(id, &secret, late);
        client["client_secret"] = json!(secret);
        Answer::json(200, &client)
    }

    /// `GET /client-grants`.
    fn list_grants(&self, request: &Request) -> Answer {
        let query = query(request);
        let fits = |grant: &&Value| {
            ["client_id", "audience"].iter().all(|name| {
                let asked = query.get(*name);
                asked.is_none_or(|asked| grant[*name] == **asked)
            })
        };
        let shown: Vec<&Value> = self.grants.iter().filter(fits).collect();
        if query
            .get("include_totals")
            .is_some_and(|text| text == "true")
        {
            let total = shown.len();
            let body = json!({"start": 0, "limit": 100, "total": total, "client_grants": shown});
            return Answer::json(200, &body);
        }
        Answer::json(200, &json!(shown))
    }

    /// `POST /client-grants`.
    fn grant(&mut self, account: &mut Account, own: &str, request: &Request) -> Answer {
        let members = match body(request, &["client_id", "audience", "scope"]) {
            Ok(members) => members,
            Err(refusal) => return refusal,
        };
        for name in ["client_id", "audience"] {
            if !members.get(name).is_some_and(Value::is_string) {
                return invalid_body(&format!("'Missing required property: {name}'"));
            }
        }
        let (id, audience) = (
            members["client_id"].as_str().unwrap(),
            members["audience"].as_str().unwrap(),
        );
        if self.seen(id).is_none() {
            return inexistent_client();
        }
        if audience != API && audience != own {
            let text = format!("No resource with identifier {audience}");
            return error(404, "Not Found", &text, Some("inexistent_resource_server"));
        }
        if self.grant_of(id, audience).is_some() {
            let text = "A resource with the same identifier already exists.";
            return error(409, "Conflict", text, Some("client_grant_conflict"));
        }
        let scope = members.get("scope").cloned().unwrap_or(json!([]));
        if let Err(refusal) = check_scopes(&scope) {
            return refusal;
        }
        let mut grant = json!({
            "id": format!("cgr_{}", random(16)), "client_id": id, "audience": audience,
            "scope": scope,
        });
        if let Some(granted) = self.granted {
            granted(&mut grant);
        }
        if let Some(client) = account.clients.get_mut(id)
            && audience == API
        {
            (client.granted, client.scopes) = (true, words(&grant["scope"]));
        }
        self.grants.push(grant.clone());
        Answer::json(201, &grant)
    }

    /// `PATCH /client-grants/{id}`.
    fn regrant(&mut self, account: &mut Account, id: &str, request: &Request) -> Answer {
        let members = match body(request, &["scope"]) {
            Ok(members) => members,
            Err(refusal) => return refusal,
        };
        let scope = members.get("scope").cloned().unwrap_or(json!([]));
        if let Err(refusal) = check_scopes(&scope) {
            return refusal;
        }
        let Some(grant) = self.grants.iter_mut().find(|grant| grant["id"] == *id) else {
            let text = "The client grant does not exist";
            return error(404, "Not Found", text, Some("inexistent_client_grant"));
        };
        grant["scope"] = scope;
        let client = grant["client_id"].as_str().unwrap();
        if let Some(client) = account.clients.get_mut(client) {
            client.scopes = words(&grant["scope"]);
        }
        Answer::json(200, grant)
    }
}

/// What a tenant says that is asked too often.
pub(crate) fn too_many(reset: i64) -> Answer {
    error(
        429,
        "Too Many Requests",
        "Global limit has been reached",
        Some("too_many_requests"),
    )
    .header("X-RateLimit-Limit", "10")
    .header("X-RateLimit-Remaining", "0")
    .header("X-RateLimit-Reset", &reset.to_string())
}

/// An error in the shape of the Management API.
pub(crate) fn error(status: u16, name: &str, message: &str, code: Option<&str>) -> Answer {
    let mut body = json!({"statusCode": status, "error": name, "message": message});
    if let Some(code) = code {
        body["errorCode"] = json!(code);
    }
    Answer::json(status, &body)
}

fn unauthorized(message: &str) -> Answer {
    let mut body = json!({"statusCode": 401, "error": "Unauthorized", "message": message});
    body["attributes"] = json!({"error": message});
    Answer::json(401, &body)
}

fn inexistent_client() -> Answer {
    error(
        404,
        "Not Found",
        "The client does not exist",
        Some("inexistent_client"),
    )
}

fn invalid(message: &str, code: &str) -> Answer {
    error(400, "Bad Request", message, Some(code))
}

fn invalid_body(what: &str) -> Answer {
    invalid(
        &format!("Payload validation error: {what}."),
        "invalid_body",
    )
}

/// The members of a body that may hold these properties and no others.
fn body(request: &Request, properties: &[&str]) -> Result<Map<String, Value>, Answer> {
    let kind = request.header("content-type").unwrap_or_default();
    if !kind.starts_with("application/json") {
        return Err(error(
            415,
            "Unsupported Media Type",
            "Unsupported Media Type",
            None,
        ));
    }
    let Ok(Value::Object(members)) = serde_json::from_slice(&request.body) else {
        let text = "Invalid request payload JSON format";
        return Err(error(400, "Bad Request", text, None));
    };
    match members
        .keys()
        .find(|name| !properties.contains(&name.as_str()))
    {
        Some(name) => {
            let text = format!("'Additional properties not allowed: {name}'");
            Err(invalid_body(&text))
        }
        None => Ok(members),
    }
}

/// What the schema of a client asks of its members.
fn check(members: &Map<String, Value>) -> Result<(), Answer> {
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let too_long = |length: usize, limit: usize, name: &str| {
        invalid_body(&format!(
            "'String is too long ({length} chars), maximum {limit}' on property {name}"
        ))
    };
    if text("name").is_some_and(|name| name.is_empty() || name.contains(['<', '>'])) {
        let what = "'String does not match pattern: ^[^<>]+$' on property name";
        return Err(invalid_body(what));
    }
    let described = text("description").map_or(0, |text| text.chars().count());
    if described > 140 {
        return Err(too_long(described, 140, "description"));
    }
    let metadata = members.get("client_metadata").and_then(Value::as_object);
    let metadata = metadata.into_iter().flatten();
    for (name, value) in metadata.clone() {
        let length = match value {
            Value::Null => 0,
            Value::String(value) => value.chars().count(),
            _ => {
                return Err(invalid_body(&format!(
                    "'Expected type string' on property {name}"
                )));
            }
        };
        if length > 255 {
            return Err(too_long(length, 255, &format!("client_metadata.{name}")));
        }
    }
    match metadata.count() {
        0..=10 => Ok(()),
        _ => Err(invalid_body(
            "'Too many properties' on property client_metadata",
        )),
    }
}

/// A grant may hold the scopes that its API has.
fn check_scopes(scope: &Value) -> Result<(), Answer> {
    let known = [Auth0::READ, Auth0::WRITE];
    let words = words(scope);
    match words.iter().find(|word| !known.contains(&word.as_str())) {
        Some(word) => {
            let text = format!("The following scopes are not allowed: {word}");
            Err(error(400, "Bad Request", &text, Some("invalid_scope")))
        }
        None => Ok(()),
    }
}

fn with_secret(mut client: Value, account: &Account, sees_keys: bool) -> Value {
    let known = client["client_id"]
        .as_str()
        .and_then(|id| account.clients.get(id));
    if let Some(secret) = known.and_then(|known| known.secrets.last())
        && sees_keys
    {
        client["client_secret"] = json!(secret);
    }
    client
}

fn query(request: &Request) -> HashMap<String, String> {
    let query = request
        .target
        .split_once('?')
        .map_or("", |(_, query)| query);
    let pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.into_owned().collect()
}

/// The members that `fields` names, if it does.
fn selected(mut client: Value, query: &HashMap<String, String>) -> Value {
    if let Some(fields) = query.get("fields") {
        let named: Vec<&str> = fields.split(',').collect();
        let includes = query
            .get("include_fields")
            .is_none_or(|text| text == "true");
        let members = client.as_object_mut().unwrap();
        members.retain(|name, _| named.contains(&name.as_str()) == includes);
    }
    client
}
