//! Okta: a custom authorization server, `/oauth2/default`, beside the org's own; tokens by scope,
//! two discovery documents that differ, keys in no order.

pub(crate) mod management;
mod tests;

pub(crate) use management::MANAGEMENT_SCOPES;

use serde_json::{Value, json};

use super::{
    emulation::{Account, Client, Decoding, Presented, Vendor, random},
    site::OWN_SECRET,
};
use crate::harness::{
    http1::{Answer, Request},
    idp::Endpoint,
    keys::{Alg, Key},
    now,
    token::Token,
};

/// The path of the authorization server.
const SERVER: &str = "/oauth2/default";
/// Its audience.
pub(crate) const API: &str = "api://default";

/// An org with its default authorization server.
pub(crate) struct Okta {
    /// The org's URL.
    base: String,
    /// What is given where no scope is asked for; Okta has none unless an administrator names one.
    pub(super) default_scope: Option<String>,
    /// What signs the tokens of the org's own server, and is published nowhere.
    org_key: Key,
    /// A third key of the set, which signed last quarter.
    pub(super) old_key: Key,
    /// What the org lets its administrators do.
    pub(crate) management: management::Management,
}

impl Vendor for Okta {
    const NAME: &'static str = "okta";
    const READ: &'static str = "orders.read";
    const WRITE: &'static str = "orders.write";

    fn at(base: &str) -> Self {
        Self {
            base: base.to_owned(),
            default_scope: None,
            org_key: Key::new(Alg::Rs256),
            old_key: Key::new(Alg::Rs256),
            management: management::Management::default(),
        }
    }

    fn client_id(&self) -> String {
        format!("0oa{}5d7", random(14))
    }

    fn issuer(&self) -> String {
        format!("{}{SERVER}", self.base)
    }

    /// An application of the operator's own, for introspection.
    fn identity_provider(&self, account: &mut Account) -> Value {
        let id = self.client_id();
        let own = Client::new(OWN_SECRET, Self::READ);
        account.clients.insert(id.clone(), own);
        json!({"client": {"id": id, "secret": {"file": "secrets/own"}}})
    }

    fn strategy(&self) -> Value {
        json!({"audience": [API], "token_request": {"scope": Self::READ}})
    }

    fn endpoint(&self, request: &Request) -> Option<Endpoint> {
        match request.path() {
            "/oauth2/default/.well-known/openid-configuration"
            | "/.well-known/oauth-authorization-server/oauth2/default"
            | "/.well-known/openid-configuration" => Some(Endpoint::Discovery),
            "/oauth2/default/v1/keys" | "/oauth2/v1/keys" => Some(Endpoint::Jwks),
            "/oauth2/default/v1/token" => Some(Endpoint::Token),
            "/oauth2/default/v1/introspect" => Some(Endpoint::Introspection),
            "/oauth2/v1/token" => Some(Endpoint::Token),
            path if management::is_here(path) => Some(Endpoint::Registration),
            _ => None,
        }
    }

    fn answer(&mut self, account: &mut Account, endpoint: Endpoint, request: &Request) -> Answer {
        // A server of the issuer mode DYNAMIC names itself as it was asked.
        let org = org_of(request);
        match endpoint {
            Endpoint::Discovery => discovery(account, &org, request),
            Endpoint::Jwks => self.keys(account, request),
            Endpoint::Introspection => introspect(account, request),
            _ if request.path() == "/oauth2/v1/token" => limited(Self::org_grant(account, request)),
            _ => {
                let answer = limited(self.grant(account, &org, request));
                account.ripen();
                answer
            }
        }
    }

    fn nothing_here(&self, request: &Request) -> Answer {
        self.not_found(request.path())
    }

    fn registration(&mut self, account: &mut Account, request: &Request) -> Answer {
        limited(self.manage(account, &org_of(request), request))
    }

    fn token(&self, account: &Account, client_id: &str) -> Token {
        let scopes = json!(account.clients[client_id].scopes);
        mint(account, &self.base, client_id, scopes)
    }

    fn opaque(&self, account: &mut Account, client_id: &str) -> String {
        let now = now();
        let facts = json!({
            "active": true, "token_type": "Bearer", "client_id": client_id, "sub": client_id,
            "scope": account.clients[client_id].scopes.join(" "), "aud": API,
            "iss": self.issuer(), "iat": now, "exp": now + 3_600, "jti": format!("AT.{}", random(40)),
        });
        account.keep(random(43), facts)
    }
}

impl Okta {
    /// What is said of a server that there is not.
    pub(super) fn not_found(&self, path: &str) -> Answer {
        let text = format!("Not found: Resource not found: {path}");
        management_error(404, "E0000007", &text)
    }

    /// A token of the org's own server, for Okta's API: nobody else can verify it.
    pub(super) fn org_token(&self, client_id: &str) -> Token {
        let (key, now) = (self.org_key.clone(), now());
        let header = json!({"kid": key.kid, "alg": "RS256"});
        let claims = json!({
            "ver": 1, "jti": format!("AT.{}", random(40)), "iss": self.base, "aud": self.base,
            "iat": now, "exp": now + 3_600, "cid": client_id, "sub": client_id,
            "scp": ["okta.apps.read"],
        });
        Token::of(key, header, claims)
    }

    fn keys(&self, account: &Account, request: &Request) -> Answer {
        // The org's server publishes the keys of ID tokens alone.
        let keys: Vec<Value> = if request.path().starts_with(SERVER) {
            let next_first = account.keys.iter().rev();
            next_first.chain([&self.old_key]).map(Key::jwk).collect()
        } else {
            vec![self.old_key.jwk()]
        };
        let told = "max-age=3832304, must-revalidate";
        Answer::json(200, &json!({"keys": keys})).header("Cache-Control", told)
    }

    /// `POST /oauth2/default/v1/token`.
    fn grant(&self, account: &Account, org: &str, request: &Request) -> Answer {
        if request.method != "POST" {
            let text = "The endpoint does not support the provided HTTP method";
            return management_error(405, "E0000022", text);
        }
        let id = match authenticate(account, request) {
            Ok(id) => id,
            Err(refusal) => return refusal,
        };
        let client = &account.clients[&id];
        let grant_type = request.field("grant_type").unwrap_or_default();
        if !client.grant_types.contains(&grant_type) {
            let text = format!(
                "The client is not authorized to use the provided grant type. Configured grant \
                 types: [{}].",
                client.grant_types.join(", ")
            );
            return refuse(400, "unauthorized_client", &text);
        }
        let asked = request.field("scope").filter(|scope| !scope.is_empty());
        let Some(asked) = asked.or_else(|| self.default_scope.clone()) else {
            let text = "The authorization server resource does not have any configured default \
                        scopes, 'scope' must be provided.";
            return refuse(400, "invalid_scope", text);
        };
        let scopes: Vec<&str> = asked.split_ascii_whitespace().collect();
        // OpenID scopes say something of a user, and there is none.
        let custom = [Self::READ, Self::WRITE];
        if !scopes.iter().all(|scope| custom.contains(scope)) {
            let text = "One or more scopes are not configured for the authorization server \
                        resource.";
            return refuse(400, "invalid_scope", text);
        }
        let covered = |scope: &&str| client.scopes.iter().any(|known| known == scope);
        if !client.granted || !scopes.iter().all(covered) {
            let text = "Policy evaluation failed for this request, please check the policy \
                        configurations.";
            return refuse(400, "access_denied", text);
        }
        let token = mint(account, org, &id, json!(scopes)).build();
        let body = json!({
            "token_type": "Bearer", "expires_in": 3_600, "access_token": token, "scope": asked,
        });
        Answer::json(200, &body).header("Cache-Control", "no-cache, no-store")
    }
}

/// The org by the host by which it was asked.
fn org_of(request: &Request) -> String {
    format!("http://{}", request.header("host").unwrap_or_default())
}

/// Who asks, or what is said to who does not prove it.
fn authenticate(account: &Account, request: &Request) -> Result<String, Answer> {
    let (id, secret) = match account.presented(request, Decoding::Raw) {
        Presented::Pair(id, secret) => (id, secret),
        Presented::IdAlone(_) | Presented::Nothing => {
            return Err(refuse(
                401,
                "invalid_client",
                "No client credentials found.",
            ));
        }
        Presented::Both => {
            let text = "Can't supply multiple client credentials. Use one of the following: \
                        credentials in the Authorization header, credentials in the post body, or \
                        a client_assertion in the post body.";
            return Err(refuse(400, "invalid_request", text));
        }
    };
    let Some(client) = account.clients.get(&id) else {
        let text = "Invalid value for the `client_id` parameter.";
        return Err(refuse(401, "invalid_client", text));
    };
    if !client.knows(&secret) {
        let text = "The client secret supplied for a confidential client is invalid.";
        return Err(refuse(401, "invalid_client", text));
    }
    Ok(id)
}

fn mint(account: &Account, org: &str, client_id: &str, scopes: Value) -> Token {
    let (key, now) = (account.key(), now());
    // There is no `typ`.
    let header = json!({"kid": key.kid, "alg": "RS256"});
    let claims = json!({
        "ver": 1, "jti": format!("AT.{}", random(40)), "iss": format!("{org}{SERVER}"), "aud": API,
        "iat": now, "exp": now + 3_600, "cid": client_id, "scp": scopes, "sub": client_id,
    });
    Token::of(key, header, claims)
}

/// Both documents of the authorization server, and the org's own.
fn discovery(account: &Account, org: &str, request: &Request) -> Answer {
    let query = request
        .target
        .split_once('?')
        .map_or("", |(_, query)| query);
    let asks = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "client_id");
    if asks.is_some_and(|(_, id)| !account.clients.contains_key(&*id)) {
        let text = "Invalid value for 'client_id' parameter.";
        return management_error(400, "invalid_client", text);
    }
    let oauth = request
        .path()
        .starts_with("/.well-known/oauth-authorization-server");
    let server = if oauth || request.path().starts_with(SERVER) {
        format!("{org}{SERVER}")
    } else {
        org.to_owned()
    };
    let v1 = if server == org {
        format!("{org}/oauth2/v1")
    } else {
        format!("{server}/v1")
    };
    let mut document = json!({
        "issuer": server,
        "authorization_endpoint": format!("{v1}/authorize"),
        "token_endpoint": format!("{v1}/token"),
        "jwks_uri": format!("{v1}/keys"),
        "registration_endpoint": format!("{org}/oauth2/v1/clients"),
        "introspection_endpoint": format!("{v1}/introspect"),
        "revocation_endpoint": format!("{v1}/revoke"),
        "grant_types_supported": ["authorization_code", "implicit", "refresh_token", "password"],
        "token_endpoint_auth_methods_supported": [
            "client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt",
            "none",
        ],
        "introspection_endpoint_auth_methods_supported":
            ["client_secret_basic", "client_secret_post"],
    });
    if oauth {
        let grants = document["grant_types_supported"].as_array_mut().unwrap();
        grants.push(json!("client_credentials"));
    } else {
        document["id_token_signing_alg_values_supported"] = json!(["RS256"]);
        document["claims_supported"] = json!([
            "ver", "jti", "iss", "aud", "iat", "exp", "cid", "uid", "scp", "sub"
        ]);
    }
    Answer::json(200, &document).header("Cache-Control", "max-age=86400, must-revalidate")
}

/// `POST …/v1/introspect` (RFC 7662): scopes and client under other names than in a JWT.
fn introspect(account: &Account, request: &Request) -> Answer {
    if let Err(refusal) = authenticate(account, request) {
        return refusal;
    }
    let Some(token) = request.field("token") else {
        let text = "The token parameter must be provided.";
        return refuse(400, "invalid_request", text);
    };
    let inactive = json!({"active": false});
    Answer::json(200, account.opaque.get(&token).unwrap_or(&inactive))
}

fn refuse(status: u16, error: &str, description: &str) -> Answer {
    Answer::json(
        status,
        &json!({"error": error, "error_description": description}),
    )
}

/// An error in the shape of Okta's management API, which some OAuth endpoints use too.
pub(crate) fn management_error(status: u16, code: &str, summary: &str) -> Answer {
    let body = json!({
        "errorCode": code, "errorSummary": summary, "errorLink": code,
        "errorId": format!("oae{}", random(20)), "errorCauses": [],
    });
    Answer::json(status, &body)
}

/// What an org that is asked too often says; there is no `Retry-After`.
pub(crate) fn too_many(reset: i64) -> Answer {
    management_error(
        429,
        "E0000047",
        "API call exceeded rate limit due to too many requests.",
    )
    .header("X-Rate-Limit-Limit", "300")
    .header("X-Rate-Limit-Remaining", "0")
    .header("X-Rate-Limit-Reset", &reset.to_string())
}

fn limited(answer: Answer) -> Answer {
    answer
        .header("X-Rate-Limit-Limit", "300")
        .header("X-Rate-Limit-Remaining", "299")
        .header("X-Rate-Limit-Reset", &(now() + 60).to_string())
}
