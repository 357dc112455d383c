//! Auth0: tokens for APIs by `audience`, two profiles of them, no introspection, and 403 for what
//! other servers call 400.

pub(crate) mod management;
mod tests;

pub(crate) use management::SCOPES;

use serde_json::{Value, json};

use super::emulation::{Account, Decoding, Presented, Vendor, certified, random};
use crate::harness::{
    http1::{Answer, Request},
    idp::Endpoint,
    now,
    token::Token,
};

/// The identifier of the API; Auth0 suggests a URL.
pub(crate) const API: &str = "https://orders.example/";

/// A tenant.
pub(crate) struct Auth0 {
    /// The tenant's own domain.
    base: String,
    /// What access tokens look like, set for each API.
    pub(super) profile: Profile,
    /// What a wrong secret gets: what is observed, or what the OpenAPI document says.
    pub(super) refusal: Refusal,
    /// The Management API.
    pub(crate) management: management::Management,
}

/// A profile of access tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Profile {
    Auth0,
    Rfc9068,
}

/// What a wrong secret gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Documented,
    Observed,
}

impl Vendor for Auth0 {
    const NAME: &'static str = "auth0";
    const READ: &'static str = "read:orders";
    const WRITE: &'static str = "write:orders";

    fn at(base: &str) -> Self {
        Self {
            base: base.to_owned(),
            profile: Profile::Auth0,
            refusal: Refusal::Observed,
            management: management::Management::default(),
        }
    }

    fn client_id(&self) -> String {
        random(32)
    }

    fn issuer(&self) -> String {
        format!("{}/", self.base)
    }

    fn strategy(&self) -> Value {
        json!({"audience": [API]})
    }

    fn endpoint(&self, request: &Request) -> Option<Endpoint> {
        match request.path() {
            "/.well-known/openid-configuration" | "/.well-known/oauth-authorization-server" => {
                Some(Endpoint::Discovery)
            }
            "/.well-known/jwks.json" => Some(Endpoint::Jwks),
            "/oauth/token" => Some(Endpoint::Token),
            path if path.starts_with("/api/v2/") => Some(Endpoint::Registration),
            _ => None,
        }
    }

    fn answer(&mut self, account: &mut Account, endpoint: Endpoint, request: &Request) -> Answer {
        // A custom domain names itself wherever the tenant's own would stand.
        let domain = format!("http://{}", request.header("host").unwrap_or_default());
        match endpoint {
            Endpoint::Discovery => cached(Answer::json(200, &document(&domain))),
            Endpoint::Jwks => {
                let keys: Vec<Value> = account.keys.iter().map(certified).collect();
                cached(Answer::json(200, &json!({"keys": keys})))
            }
            _ => {
                let answer = limited(self.grant(account, &domain, request));
                account.ripen();
                answer
            }
        }
    }

    fn registration(&mut self, account: &mut Account, request: &Request) -> Answer {
        limited(self.manage(account, request))
    }

    fn token(&self, account: &Account, client_id: &str) -> Token {
        let scope = account.clients[client_id].scopes.join(" ");
        self.mint(account, &self.base, client_id, &scope)
    }

    fn opaque(&self, _account: &mut Account, _client_id: &str) -> String {
        random(32)
    }
}

impl Auth0 {
    /// `POST /oauth/token`.
    fn grant(&mut self, account: &Account, domain: &str, request: &Request) -> Answer {
        if request.method != "POST" {
            return Answer::new(404, "Not Found");
        }
        let (id, secret) = match account.presented(request, Decoding::Raw) {
            Presented::Pair(id, secret) => (id, secret),
            Presented::IdAlone(_) => return self.unauthorized(),
            Presented::Nothing => return refuse(401, "invalid_client", "Missing client_id"),
            Presented::Both => return self.unauthorized(),
        };
        let client = account.clients.get(&id);
        let Some(client) = client.filter(|client| client.knows(&secret)) else {
            return self.unauthorized();
        };
        let grant_type = request.field("grant_type").unwrap_or_default();
        if !client.grant_types.contains(&grant_type) {
            let text = format!("Grant type '{grant_type}' not allowed for the client.");
            let mut body = json!({"error": "unauthorized_client", "error_description": text});
            body["error_uri"] = json!("https://auth0.com/docs/clients/client-grant-types");
            return Answer::json(403, &body);
        }
        let Some(audience) = request.field("audience").filter(|text| !text.is_empty()) else {
            let text = "Non-global clients are not allowed access to APIv1";
            return refuse(403, "access_denied", text);
        };
        if audience == self.own_api() {
            return self.management_token(account, domain, &id, request);
        }
        if audience != API {
            let text = format!("Service not found: {audience}");
            return refuse(403, "access_denied", &text);
        }
        if !client.granted {
            let text = format!(
                "Client is not authorized to access \"{audience}\". You need to create a \
                 \"client-grant\" associated to this API. See: \
                 https://auth0.com/docs/api/v2#!/Client_Grants/post_client_grants"
            );
            return refuse(403, "access_denied", &text);
        }
        let asked = request.field("scope").unwrap_or_default();
        let outside = asked
            .split_ascii_whitespace()
            .find(|scope| !client.scopes.iter().any(|known| known == scope));
        if let Some(scope) = outside {
            let text = format!("Client has not been granted scopes: {scope}");
            return refuse(403, "access_denied", &text);
        }
        // Without a scope all that were granted are given.
        let scope = if asked.is_empty() {
            client.scopes.join(" ")
        } else {
            asked
        };
        let token = self.mint(account, domain, &id, &scope).build();
        let body = json!({"access_token": token, "token_type": "Bearer", "expires_in": 86_400});
        Answer::json(200, &body).header("Cache-Control", "no-store")
    }

    fn mint(&self, account: &Account, domain: &str, client_id: &str, scope: &str) -> Token {
        let (key, now) = (account.key(), now());
        let mut header = json!({"alg": "RS256", "typ": "JWT", "kid": key.kid});
        let mut claims = json!({
            "iss": format!("{domain}/"), "sub": format!("{client_id}@clients"), "aud": API,
            "iat": now, "exp": now + 86_400, "scope": scope,
        });
        match self.profile {
            Profile::Auth0 => {
                claims["gty"] = json!("client-credentials");
                claims["azp"] = json!(client_id);
            }
            Profile::Rfc9068 => {
                header["typ"] = json!("at+jwt");
                claims["client_id"] = json!(client_id);
                claims["jti"] = json!(random(22));
            }
        }
        Token::of(key, header, claims)
    }

    /// What a wrong secret and an unknown client get.
    fn unauthorized(&self) -> Answer {
        match self.refusal {
            Refusal::Documented => refuse(401, "invalid_client", "Client authentication failed"),
            Refusal::Observed => refuse(401, "access_denied", "Unauthorized"),
        }
    }
}

/// The discovery document; no introspection endpoint is in it.
fn document(domain: &str) -> Value {
    json!({
        "issuer": format!("{domain}/"),
        "authorization_endpoint": format!("{domain}/authorize"),
        "token_endpoint": format!("{domain}/oauth/token"),
        "jwks_uri": format!("{domain}/.well-known/jwks.json"),
        "registration_endpoint": format!("{domain}/oidc/register"),
        "revocation_endpoint": format!("{domain}/oauth/revoke"),
        "id_token_signing_alg_values_supported": ["HS256", "RS256", "PS256"],
        "token_endpoint_auth_methods_supported":
            ["client_secret_basic", "client_secret_post", "private_key_jwt"],
        "scopes_supported": ["openid", "profile", "offline_access"],
        "response_types_supported": ["code", "token"],
        "subject_types_supported": ["public"],
    })
}

fn refuse(status: u16, error: &str, description: &str) -> Answer {
    Answer::json(
        status,
        &json!({"error": error, "error_description": description}),
    )
}

/// What a tenant that is asked too often says; some limits tell when to come back in so many
/// seconds, all when that is.
pub(super) fn too_many(description: &str, reset: i64, retry_after: Option<u32>) -> Answer {
    let mut answer = refuse(429, "too_many_requests", description)
        .header("X-RateLimit-Limit", "30")
        .header("X-RateLimit-Remaining", "0")
        .header("X-RateLimit-Reset", &reset.to_string());
    if let Some(seconds) = retry_after {
        answer = answer
            .header("Retry-After", &seconds.to_string())
            .header("Auth0-Client-Quota-Limit", "b=per_hour;q=100;r=0;t=1800")
            .header("Auth0-RateLimit", "client;q=20;t=1;r=0");
    }
    answer
}

fn limited(answer: Answer) -> Answer {
    answer
        .header("X-RateLimit-Limit", "30")
        .header("X-RateLimit-Remaining", "29")
        .header("X-RateLimit-Reset", &(now() + 1).to_string())
}

fn cached(answer: Answer) -> Answer {
    let told = "public, max-age=15, stale-while-revalidate=15, stale-if-error=86400";
    answer.header("Cache-Control", told)
}
