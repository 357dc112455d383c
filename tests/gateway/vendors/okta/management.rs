//! What an Okta org lets its administrators do to clients: `/oauth2/v1/clients`, and the secrets of
//! an app.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::{Okta, authenticate, management_error, refuse};
use crate::{
    harness::{
        http1::{Answer, Request},
        now, rfc3339,
    },
    vendors::emulation::{Account, Client, Vendor, random, words},
};

/// Scopes of Okta's API that all of it needs.
pub(crate) const MANAGEMENT_SCOPES: [&str; 5] = [
    "okta.clients.read",
    "okta.clients.register",
    "okta.clients.manage",
    "okta.apps.read",
    "okta.apps.manage",
];

const CLIENTS: &str = "/oauth2/v1/clients";
const APPS: &str = "/api/v1/apps/";

/// What the org knows of clients beside what its token service does.
pub(crate) struct Management {
    /// Clients in the order in which they were made, without their secrets.
    pub(crate) clients: Vec<Value>,
    /// The secrets of each client.
    pub(crate) secrets: HashMap<String, Vec<Value>>,
    /// API tokens; they may do what their administrator may.
    pub(crate) api_tokens: Vec<String>,
    /// Access tokens for Okta's API, and their scopes.
    access_tokens: HashMap<String, Vec<String>>,
    /// Changes a client while it is made, as an org's own rules may.
    pub(crate) made: Option<fn(&mut Value)>,
    /// Clients on a page where fewer are not asked for.
    pub(crate) page: usize,
    /// How many token requests do not know a new secret yet.
    pub(crate) late: usize,
}

impl Default for Management {
    fn default() -> Self {
        Self {
            clients: Vec::new(),
            secrets: HashMap::new(),
            api_tokens: Vec::new(),
            access_tokens: HashMap::new(),
            made: None,
            page: 200,
            late: 0,
        }
    }
}

/// Members of a client that its writer says.
const PROPERTIES: [&str; 15] = [
    "client_id",
    "client_secret",
    "client_name",
    "client_uri",
    "logo_uri",
    "redirect_uris",
    "post_logout_redirect_uris",
    "response_types",
    "grant_types",
    "initiate_login_uri",
    "token_endpoint_auth_method",
    "application_type",
    "tos_uri",
    "policy_uri",
    "contacts",
];

/// Whether a path is one of these.
pub(super) fn is_here(path: &str) -> bool {
    path.starts_with(CLIENTS) || path.starts_with(APPS)
}

impl Okta {
    /// An access token for Okta's API with these scopes, as an app gets it that signs with a key.
    pub(crate) fn access_token(&mut self, scopes: &[&str]) -> String {
        let id = self.client_id();
        let token = self.org_token(&id).claim("scp", json!(scopes)).build();
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        self.management.access_tokens.insert(token.clone(), scopes);
        token
    }

    /// `POST /oauth2/v1/token` of the org's own server.
    pub(super) fn org_grant(account: &Account, request: &Request) -> Answer {
        match authenticate(account, request) {
            Ok(_) => {
                let text = "Client Credentials requests to the Org Authorization Server must use \
                            the private_key_jwt token_endpoint_auth_method.";
                refuse(401, "invalid_client", text)
            }
            Err(refusal) => refusal,
        }
    }

    /// `/oauth2/v1/clients…` and `/api/v1/apps/{id}/credentials/secrets…`.
    pub(super) fn manage(&mut self, account: &mut Account, org: &str, request: &Request) -> Answer {
        let path = request.path().to_owned();
        let method = request.method.as_str();
        let clients = path.strip_prefix(CLIENTS).unwrap_or_default();
        let apps = path.strip_prefix(APPS).unwrap_or_default();
        let segments: Vec<&str> = clients.split('/').chain(apps.split('/')).collect();
        let segments: Vec<&str> = segments
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect();
        let needed = match (path.starts_with(APPS), method) {
            (false, "GET") => &["okta.clients.read", "okta.clients.manage"][..],
            (false, "POST") if segments.is_empty() => {
                &["okta.clients.register", "okta.clients.manage"]
            }
            (false, _) => &["okta.clients.manage"],
            (true, "GET") => &["okta.apps.read", "okta.apps.manage"],
            (true, _) => &["okta.apps.manage"],
        };
        if let Err(refusal) = self.management.admit(request, needed) {
            return refusal;
        }
        if let Some(id) = segments.first()
            && !self
                .management
                .clients
                .iter()
                .any(|client| client["client_id"] == **id)
        {
            let what = if path.starts_with(APPS) {
                "AppInstance"
            } else {
                "PublicClientApp"
            };
            let text = format!("Not found: Resource not found: {id} ({what})");
            return management_error(404, "E0000007", &text);
        }
        let management = &mut self.management;
        match (path.starts_with(APPS), method, &segments[..]) {
            (false, "GET", []) => management.list(org, request),
            (false, "POST", []) => {
                let id = self.client_id();
                self.management.create(account, id, request)
            }
            (false, "GET", [id]) => Answer::json(200, management.client(id)),
            (false, "PUT", [id]) => management.replace(account, id, request),
            (false, "DELETE", [id]) => {
                management
                    .clients
                    .retain(|client| client["client_id"] != **id);
                management.secrets.remove(*id);
                account.clients.remove(*id);
                Answer::new(204, "")
            }
            (false, "POST", [id, "lifecycle", "newSecret"]) => management.renew(account, id),
            (true, "GET", [id, "credentials", "secrets"]) => {
                Answer::json(200, &json!(management.secrets[*id]))
            }
            (true, "POST", [id, "credentials", "secrets"]) => management.add_secret(account, id),
            (true, "POST", [id, "credentials", "secrets", secret, "lifecycle", change]) => {
                let status = match *change {
                    "activate" => "ACTIVE",
                    _ => "INACTIVE",
                };
                management.set_status(account, id, secret, status)
            }
            (true, "DELETE", [id, "credentials", "secrets", secret]) => {
                management.delete_secret(id, secret)
            }
            _ => {
                let text = "The endpoint does not support the provided HTTP method";
                management_error(405, "E0000022", text)
            }
        }
    }
}

impl Management {
    /// The clients whose name begins so.
    pub(crate) fn named(&self, start: &str) -> Vec<&Value> {
        let begins = |client: &&Value| {
            let name = client["client_name"].as_str().unwrap_or_default();
            name.starts_with(start)
        };
        self.clients.iter().filter(begins).collect()
    }

    /// Who asks has to be an administrator, or to have one of the scopes.
    fn admit(&self, request: &Request, needed: &[&str]) -> Result<(), Answer> {
        let line = request.header("authorization").unwrap_or_default();
        let invalid = || management_error(401, "E0000011", "Invalid token provided");
        if let Some(token) = line.strip_prefix("SSWS ") {
            let known = self.api_tokens.iter().any(|known| known == token);
            return if known { Ok(()) } else { Err(invalid()) };
        }
        let Some(token) = line.strip_prefix("Bearer ") else {
            return Err(management_error(401, "E0000005", "Invalid session"));
        };
        let scopes = self.access_tokens.get(token).ok_or_else(invalid)?;
        if scopes.iter().any(|scope| needed.contains(&scope.as_str())) {
            return Ok(());
        }
        let told = format!(
            "Bearer error=\"insufficient_scope\", error_description=\"The access token provided \
             does not contain the required scopes.\", scope=\"{}\"",
            needed[0]
        );
        Err(not_permitted().header("WWW-Authenticate", &told))
    }

    fn client(&mut self, id: &str) -> &mut Value {
        let mut clients = self.clients.iter_mut();
        clients.find(|client| client["client_id"] == id).unwrap()
    }

    /// `GET /oauth2/v1/clients`.
    fn list(&self, org: &str, request: &Request) -> Answer {
        let query = request
            .target
            .split_once('?')
            .map_or("", |(_, query)| query);
        let query: HashMap<String, String> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let limit = match query.get("limit").map(|text| text.parse::<usize>()) {
            None => self.page,
            Some(Ok(limit)) if (1..=200).contains(&limit) => limit.min(self.page),
            Some(_) => {
                let text = "The value of the 'limit' parameter must be between 1 and 200.";
                return refuse(400, "invalid_request", text);
            }
        };
        let start = query.get("q").cloned().unwrap_or_default();
        let found = self.named(&start);
        let after = query.get("after").and_then(|after| {
            let position = found
                .iter()
                .position(|client| client["client_id"] == **after);
            position.map(|position| position + 1)
        });
        let from = after.unwrap_or(0);
        let shown = &found[from..found.len().min(from + limit)];
        let link = |rel: &str, after: Option<&Value>| {
            let mut target = url::Url::parse(&format!("{org}{CLIENTS}")).unwrap();
            let mut pairs = target.query_pairs_mut();
            if let Some(id) = after.and_then(Value::as_str) {
                pairs.append_pair("after", id);
            }
            if !start.is_empty() {
                pairs.append_pair("q", &start);
            }
            pairs.append_pair("limit", &limit.to_string());
            drop(pairs);
            format!("<{target}>; rel=\"{rel}\"")
        };
        let mut answer = Answer::json(200, &json!(shown)).header("Link", &link("self", None));
        if from + shown.len() < found.len() {
            let last = shown.last().map(|client| &client["client_id"]);
            answer = answer.header("Link", &link("next", last));
        }
        answer
    }

    /// `POST /oauth2/v1/clients`.
    fn create(&mut self, account: &mut Account, id: String, request: &Request) -> Answer {
        let members = match checked(request) {
            Ok(members) => members,
            Err(refusal) => return refusal,
        };
        if members.contains_key("client_id") || members.contains_key("client_secret") {
            let text = "The client id and secret are generated.";
            return refuse(400, "invalid_client_metadata", text);
        }
        let mut client = json!({
            "client_id": id, "client_id_issued_at": now(), "client_uri": null, "logo_uri": null,
            "redirect_uris": [], "response_types": ["code"], "grant_types": ["authorization_code"],
            "token_endpoint_auth_method": "client_secret_basic", "application_type": "web",
            "client_secret_expires_at": 0, "initiate_login_uri": null,
        });
        client.as_object_mut().unwrap().extend(members);
        if let Some(made) = self.made {
            made(&mut client);
        }
        let secret = format!("{}-{}", random(30), random(12));
        let mut known = Client::new("", "");
        known.secrets.clear();
        known.grant_types = words(&client["grant_types"]);
        // The policy is for all clients.
        known.scopes = vec![Okta::READ.to_owned()];
        account.clients.insert(id.clone(), known);
        account.issue(&id, &secret, self.late);
        self.secrets.insert(id, vec![stored(&secret)]);
        self.clients.push(client.clone());
        client["client_secret"] = json!(secret);
        Answer::json(201, &client)
    }

    /// `PUT /oauth2/v1/clients/{id}`: what is not named is as for a new client.
    fn replace(&mut self, account: &mut Account, id: &str, request: &Request) -> Answer {
        let members = match checked(request) {
            Ok(members) => members,
            Err(refusal) => return refusal,
        };
        if members.get("client_id").is_some_and(|named| named != id) {
            let text = "The 'client_id' of the body differs from that of the path.";
            return refuse(400, "invalid_client_metadata", text);
        }
        let secret = self.secrets[id].last().unwrap()["client_secret"].clone();
        let client = self.client(id);
        let mut new = json!({
            "client_id": id, "client_id_issued_at": client["client_id_issued_at"],
            "client_uri": null, "logo_uri": null, "redirect_uris": [], "response_types": ["code"],
            "grant_types": ["authorization_code"], "initiate_login_uri": null,
            "token_endpoint_auth_method": "client_secret_basic", "application_type": "web",
            "client_secret_expires_at": 0,
        });
        new.as_object_mut().unwrap().extend(members);
        *client = new.clone();
        let known = account.clients.get_mut(id).unwrap();
        known.grant_types = words(&new["grant_types"]);
        new["client_secret"] = secret;
        Answer::json(200, &new)
    }

    /// `POST /oauth2/v1/clients/{id}/lifecycle/newSecret`.
    fn renew(&mut self, account: &mut Account, id: &str) -> Answer {
        if self.secrets[id].len() > 1 {
            let text = "Api validation failed: client_secret";
            return caused(text, "The client has more than one secret.");
        }
        let secret = format!("{}-{}", random(30), random(12));
        self.secrets.insert(id.to_owned(), vec![stored(&secret)]);
        account.clients.get_mut(id).unwrap().secrets.clear();
        account.issue(id, &secret, self.late);
        let mut client = self.client(id).clone();
        client["client_secret"] = json!(secret);
        Answer::json(200, &client)
    }

    /// `POST /api/v1/apps/{id}/credentials/secrets`.
    fn add_secret(&mut self, account: &mut Account, id: &str) -> Answer {
        if self.secrets[id].len() > 1 {
            let cause = "You've reached the maximum number of client secrets per client.";
            return caused("Api validation failed: client_secret", cause);
        }
        let secret = format!("{}-{}", random(30), random(12));
        let stored = stored(&secret);
        self.secrets.get_mut(id).unwrap().push(stored.clone());
        account.issue(id, &secret, self.late);
        Answer::json(201, &stored)
    }

    /// `POST …/secrets/{secret}/lifecycle/(de)activate`.
    fn set_status(
        &mut self,
        account: &mut Account,
        id: &str,
        secret: &str,
        status: &str,
    ) -> Answer {
        let secrets = self.secrets.get_mut(id).unwrap();
        let active = secrets
            .iter()
            .filter(|known| known["status"] == "ACTIVE")
            .count();
        let Some(found) = secrets.iter_mut().find(|known| known["id"] == secret) else {
            return no_secret(secret);
        };
        if status == "INACTIVE" && found["status"] == "ACTIVE" && active < 2 {
            let cause = "You can't deactivate the only active client secret.";
            return caused("Api validation failed: client_secret", cause);
        }
        found["status"] = json!(status);
        let found = found.clone();
        let good = secrets.iter().filter(|known| known["status"] == "ACTIVE");
        let good = good.map(|known| known["client_secret"].as_str().unwrap().to_owned());
        account.clients.get_mut(id).unwrap().secrets = good.collect();
        Answer::json(200, &found)
    }

    /// `DELETE …/secrets/{secret}`.
    fn delete_secret(&mut self, id: &str, secret: &str) -> Answer {
        let secrets = self.secrets.get_mut(id).unwrap();
        let Some(found) = secrets.iter().find(|known| known["id"] == secret) else {
            return no_secret(secret);
        };
        if found["status"] == "ACTIVE" {
            let cause = "You can't delete an active client secret.";
            return caused("Api validation failed: client_secret", cause);
        }
        secrets.retain(|known| known["id"] != secret);
        Answer::new(204, "")
    }
}

/// What who may not gets.
pub(crate) fn not_permitted() -> Answer {
    let text = "You do not have permission to perform the requested action";
    management_error(403, "E0000006", text)
}

fn no_secret(secret: &str) -> Answer {
    let text = format!("Not found: Resource not found: {secret} (OAuth2ClientSecret)");
    management_error(404, "E0000007", &text)
}

/// A refusal that says more in its causes.
fn caused(summary: &str, cause: &str) -> Answer {
    let mut answer = management_error(400, "E0000001", summary);
    let mut body: Value = serde_json::from_slice(&answer.body).unwrap();
    body["errorCauses"] = json!([{"errorSummary": cause}]);
    answer.body = body.to_string().into_bytes();
    answer
}

fn stored(secret: &str) -> Value {
    let made = rfc3339(now());
    json!({
        "id": format!("ocs{}", random(17)), "status": "ACTIVE", "client_secret": secret,
        "secret_hash": random(22), "created": made, "lastUpdated": made, "_links": {},
    })
}

/// The members of a body that may stand in it.
fn checked(request: &Request) -> Result<Map<String, Value>, Answer> {
    let wrong = |text: &str| Err(refuse(400, "invalid_client_metadata", text));
    let Ok(Value::Object(members)) = serde_json::from_slice(&request.body) else {
        let text = "The request body was not well-formed.";
        return Err(management_error(400, "E0000003", text));
    };
    if let Some(name) = members
        .keys()
        .find(|name| !PROPERTIES.contains(&name.as_str()))
    {
        return wrong(&format!(
            "The '{name}' parameter must not be in the request."
        ));
    }
    let name = members
        .get("client_name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !(1..=100).contains(&name.chars().count()) {
        return wrong("The 'client_name' must be between 1 and 100 characters.");
    }
    let lists = |name: &str, item: &str| {
        let items = members.get(name).and_then(Value::as_array);
        items.is_some_and(|items| items.iter().any(|known| known == item))
    };
    if lists("grant_types", "client_credentials") {
        if members.get("application_type") != Some(&json!("service")) {
            return wrong("The 'client_credentials' grant needs the application type 'service'.");
        }
        if !lists("response_types", "token") {
            return wrong("Invalid value for the 'response_types' parameter.");
        }
    }
    Ok(members)
}
