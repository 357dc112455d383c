//! An identity provider (IdP) to try the gateway with. For trying out only: anybody on this
//! machine may register, secrets are kept as they are, and all is forgotten when it ends.
//!
//! It does Dynamic Client Registration (RFC 7591, 7592), the grant `client_credentials` (RFC 6749
//! section 4.4), access tokens as signed JWTs (RFC 9068) and introspection (RFC 7662).
//! `examples/quickstart.sh` puts the gateway before it; by hand:
//!
//! ```text
//! cargo run --example idp -- 127.0.0.1:9400 &
//! curl http://127.0.0.1:9400/.well-known/openid-configuration
//! curl http://127.0.0.1:9400/register -H 'Content-Type: application/json' -d '{"client_name": "Trip Planner"}'
//! curl -u "$id:$secret" http://127.0.0.1:9400/token -d grant_type=client_credentials
//! curl -u "$id:$secret" http://127.0.0.1:9400/introspect -d "token=$token"
//! curl -X DELETE -H "Authorization: Bearer $registration_access_token" http://127.0.0.1:9400/register/$id
//! curl http://127.0.0.1:9400/clients
//! ```

use std::{
    collections::{
        HashMap,
        hash_map::{Entry, OccupiedEntry},
    },
    env,
    error::Error,
    io::{self, Write},
    net::SocketAddr,
    process::ExitCode,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use aws_lc_rs::{
    constant_time,
    encoding::{AsDer, Pkcs8V1Der},
    rand,
    rsa::{KeyPair, KeySize},
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State, rejection::JsonRejection},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation,
    jwk::{Jwk, PublicKeyUse},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::form_urlencoded;
use uuid::Uuid;

const WARNING: &str = "for trying out only: anybody may register, and nothing is kept";
/// The API that every token is for.
const AUDIENCE: &str = "https://api.example.com";
/// What a client may ask for that registers without naming scopes.
const SCOPES: &str = "read write";
const GRANT: &str = "client_credentials";
const AUTH_METHODS: [&str; 2] = ["client_secret_basic", "client_secret_post"];
/// How long a token is good, in seconds.
const TOKEN_SECONDS: u64 = 3_600;
/// Registration is open, so its memory is bounded: so many clients, some 10 MiB of them,
const MOST_CLIENTS: usize = 10_000;
/// so many bytes in a request,
const MOST_BYTES: usize = 16 * 1024;
/// and so many characters in a name or a list of scopes.
const MOST_CHARACTERS: usize = 200;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let address: Option<SocketAddr> = match &arguments[..] {
        [address] => address.parse().ok(),
        _ => None,
    };
    let Some(address) = address else {
        eprintln!("usage: idp ADDRESS:PORT");
        return ExitCode::FAILURE;
    };
    if !address.ip().is_loopback() {
        eprintln!("error: {address}: expected a loopback address, as in 127.0.0.1:9400: {WARNING}");
        return ExitCode::FAILURE;
    }
    match serve(address).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind(address).await?;
    let idp = Arc::new(Idp::new(format!("http://{}", listener.local_addr()?))?);
    writeln!(io::stdout(), "listening on {} ({WARNING})", idp.issuer)?;
    let router = Router::new()
        .route("/.well-known/openid-configuration", get(discover))
        .route("/jwks", get(publish_keys))
        .route("/clients", get(list))
        .route("/register", post(register))
        .route("/register/{id}", get(read).delete(delete))
        .route("/token", post(grant))
        .route("/introspect", post(introspect))
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .with_state(idp);
    axum::serve(listener, router).await?;
    Ok(())
}

/// Everything that this provider knows.
struct Idp {
    issuer: String,
    signing: EncodingKey,
    verifying: DecodingKey,
    public: Jwk,
    clients: Mutex<HashMap<String, Client>>,
}

/// A registered client, as RFC 7591 section 3.2.1 and RFC 7592 section 3 show it.
#[derive(Clone, Serialize)]
struct Client {
    client_id: String,
    client_id_issued_at: u64,
    client_secret: String,
    /// Never.
    client_secret_expires_at: u64,
    registration_client_uri: String,
    registration_access_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_name: Option<String>,
    grant_types: [&'static str; 1],
    response_types: [&'static str; 0],
    redirect_uris: [&'static str; 0],
    token_endpoint_auth_method: String,
    scope: String,
}

/// What a developer asks for. Other metadata is ignored, as RFC 7591 section 2 wants it.
#[derive(Deserialize)]
struct Metadata {
    client_name: Option<String>,
    grant_types: Option<Vec<String>>,
    token_endpoint_auth_method: Option<String>,
    scope: Option<String>,
}

/// RFC 9068 section 2.2.
#[derive(Deserialize, Serialize)]
struct Claims {
    iss: String,
    sub: String,
    client_id: String,
    aud: String,
    iat: u64,
    exp: u64,
    jti: String,
    scope: String,
}

impl Idp {
    /// Makes a provider with a fresh key and no clients.
    fn new(issuer: String) -> Result<Self, Box<dyn Error>> {
        let pair = KeyPair::generate(KeySize::Rsa2048)?;
        let pkcs8 = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair)?;
        let pem = format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            BASE64_STANDARD.encode(pkcs8.as_ref())
        );
        let signing = EncodingKey::from_rsa_pem(pem.as_bytes())?;
        let mut public = Jwk::from_encoding_key(&signing, Algorithm::RS256)?;
        public.common.key_id = Some(Uuid::new_v4().to_string());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self {
            issuer,
            verifying: DecodingKey::from_jwk(&public)?,
            signing,
            public,
            clients: Mutex::default(),
        })
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<String, Client>> {
        // Every change of the map is a single step, so a panic leaves nothing half done.
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client that a request to the token or introspection endpoint comes from (RFC 6749
    /// section 2.3.1). Either way is taken, whichever was registered: the gateway and the developer
    /// share a client and may differ in it.
    fn authenticate(&self, headers: &HeaderMap, form: &Form) -> Result<Client, Refusal> {
        let in_body = form.get("client_secret");
        let wrong = Refusal::new(
            401,
            "invalid_client",
            "the client id or the secret is wrong",
        );
        let (id, secret) = match (headers.get(header::AUTHORIZATION), in_body) {
            (Some(_), Some(_)) => {
                return Err(Refusal::invalid_request("credentials in header and body"));
            }
            (Some(line), None) => basic(line).ok_or(wrong)?,
            (None, Some(secret)) => {
                let id = form.get("client_id").ok_or(wrong)?;
                (id.to_owned(), secret.to_owned())
            }
            (None, None) => return Err(wrong),
        };
        let clients = self.clients();
        let client = clients.get(&id).ok_or(wrong)?;
        if !equal(&client.client_secret, &secret) {
            return Err(wrong);
        }
        Ok(client.clone())
    }

    /// The claims of a token that was signed here, is still good, and whose client still exists.
    fn verify(&self, token: &str) -> Option<Claims> {
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[&self.issuer]);
        validation.leeway = 0;
        let claims = jsonwebtoken::decode::<Claims>(token, &self.verifying, &validation)
            .ok()?
            .claims;
        self.clients()
            .contains_key(&claims.client_id)
            .then_some(claims)
    }
}

/// RFC 8414 section 2.
async fn discover(State(idp): State<Arc<Idp>>) -> Json<Value> {
    let issuer = &idp.issuer;
    Json(json!({
        "warning": WARNING,
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/jwks"),
        "registration_endpoint": format!("{issuer}/register"),
        "token_endpoint": format!("{issuer}/token"),
        "introspection_endpoint": format!("{issuer}/introspect"),
        "grant_types_supported": [GRANT],
        "response_types_supported": [],
        "scopes_supported": SCOPES.split(' ').collect::<Vec<_>>(),
        "token_endpoint_auth_methods_supported": AUTH_METHODS,
        "introspection_endpoint_auth_methods_supported": AUTH_METHODS,
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }))
}

async fn publish_keys(State(idp): State<Arc<Idp>>) -> Json<Value> {
    Json(json!({ "keys": [idp.public] }))
}

/// RFC 7591 section 3.
async fn register(
    State(idp): State<Arc<Idp>>,
    metadata: Result<Json<Metadata>, JsonRejection>,
) -> Result<Response, Refusal> {
    let invalid = |why| Refusal::new(400, "invalid_client_metadata", why);
    let Json(asked) = metadata.map_err(|_| invalid("expected client metadata as JSON"))?;
    if asked.grant_types.is_some_and(|types| types != [GRANT]) {
        return Err(invalid("grant_types: only client_credentials is offered"));
    }
    let method = asked.token_endpoint_auth_method;
    let method = method.unwrap_or_else(|| AUTH_METHODS[0].to_owned());
    if !AUTH_METHODS.contains(&method.as_str()) {
        return Err(invalid(
            "token_endpoint_auth_method: expected client_secret_basic or client_secret_post",
        ));
    }
    let scope = asked.scope.unwrap_or_else(|| SCOPES.to_owned());
    if scope.len() > MOST_CHARACTERS || !scope.split(' ').all(is_scope) {
        return Err(invalid("scope: expected a few words separated by spaces"));
    }
    let name = asked.client_name;
    if name
        .as_ref()
        .is_some_and(|name| name.len() > MOST_CHARACTERS)
    {
        return Err(invalid("client_name: too long"));
    }
    let id = Uuid::new_v4().to_string();
    let client = Client {
        client_id_issued_at: now(),
        client_secret: random()?,
        client_secret_expires_at: 0,
        registration_client_uri: format!("{}/register/{id}", idp.issuer),
        registration_access_token: random()?,
        client_name: name,
        grant_types: [GRANT],
        response_types: [],
        redirect_uris: [],
        token_endpoint_auth_method: method,
        scope,
        client_id: id.clone(),
    };
    let mut clients = idp.clients();
    if clients.len() >= MOST_CLIENTS {
        return Err(Refusal::new(
            503,
            "temporarily_unavailable",
            "too many clients",
        ));
    }
    clients.insert(id, client.clone());
    Ok(answer(StatusCode::CREATED, &client))
}

/// Every client id there is, in no order: for whoever wonders what others have registered. No
/// standard has it.
async fn list(State(idp): State<Arc<Idp>>) -> Json<Value> {
    let clients = idp.clients();
    let ids: Vec<&str> = clients.keys().map(String::as_str).collect();
    Json(json!({ "client_ids": ids }))
}

/// RFC 7592 section 2.1.
async fn read(
    State(idp): State<Arc<Idp>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let mut clients = idp.clients();
    Ok(answer(
        StatusCode::OK,
        managed(&mut clients, id, &headers)?.get(),
    ))
}

/// RFC 7592 section 2.3. Tokens of the client are no longer active from here on.
async fn delete(
    State(idp): State<Arc<Idp>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Refusal> {
    let mut clients = idp.clients();
    managed(&mut clients, id, &headers)?.remove();
    Ok(StatusCode::NO_CONTENT)
}

/// The client whose registration access token a request brings. One that is gone and a wrong token
/// get the same answer.
fn managed<'a>(
    clients: &'a mut HashMap<String, Client>,
    id: String,
    headers: &HeaderMap,
) -> Result<OccupiedEntry<'a, String, Client>, Refusal> {
    let line = headers.get(header::AUTHORIZATION);
    let token = line.and_then(|line| line.to_str().ok()?.strip_prefix("Bearer "));
    match (clients.entry(id), token) {
        (Entry::Occupied(client), Some(token))
            if equal(&client.get().registration_access_token, token) =>
        {
            Ok(client)
        }
        _ => Err(Refusal::new(
            401,
            "invalid_token",
            "no client has this token",
        )),
    }
}

/// RFC 6749 section 4.4.
async fn grant(
    State(idp): State<Arc<Idp>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let form = Form::read(&headers, &body)?;
    let client = idp.authenticate(&headers, &form)?;
    match form.get("grant_type") {
        Some(GRANT) => {}
        Some(_) => {
            let only = "only client_credentials is offered";
            return Err(Refusal::new(400, "unsupported_grant_type", only));
        }
        None => return Err(Refusal::invalid_request("grant_type is missing")),
    }
    let scope = form.get("scope").unwrap_or(&client.scope);
    let may = |asked: &str| client.scope.split(' ').any(|granted| granted == asked);
    if !scope.split(' ').all(may) {
        let why = "the client is not registered for this scope";
        return Err(Refusal::new(400, "invalid_scope", why));
    }
    let now = now();
    let claims = Claims {
        iss: idp.issuer.clone(),
        sub: client.client_id.clone(),
        client_id: client.client_id,
        aud: AUDIENCE.to_owned(),
        iat: now,
        exp: now + TOKEN_SECONDS,
        jti: Uuid::new_v4().to_string(),
        scope: scope.to_owned(),
    };
    let header = Header {
        typ: Some("at+jwt".to_owned()),
        kid: idp.public.common.key_id.clone(),
        ..Header::new(Algorithm::RS256)
    };
    let token = jsonwebtoken::encode(&header, &claims, &idp.signing)
        .map_err(|_| Refusal::new(500, "server_error", "the token could not be signed"))?;
    let granted = json!({
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": TOKEN_SECONDS,
        "scope": claims.scope,
    });
    Ok(answer(StatusCode::OK, &granted))
}

/// RFC 7662 section 2. Every registered client may ask: a gateway registers as one, too.
async fn introspect(
    State(idp): State<Arc<Idp>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let form = Form::read(&headers, &body)?;
    idp.authenticate(&headers, &form)?;
    let token = form.get("token");
    let token = token.ok_or(Refusal::invalid_request("token is missing"))?;
    let facts = match idp.verify(token) {
        Some(claims) => {
            let mut facts = json!(claims);
            facts["active"] = json!(true);
            facts["token_type"] = json!("Bearer");
            facts
        }
        None => json!({ "active": false }),
    };
    Ok(answer(StatusCode::OK, &facts))
}

/// The fields of a form, each given once (RFC 6749 section 3.2).
struct Form(HashMap<String, String>);

impl Form {
    fn read(headers: &HeaderMap, body: &[u8]) -> Result<Self, Refusal> {
        let kind = headers.get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()?.split(';').next());
        if kind.is_none_or(|kind| kind.trim() != "application/x-www-form-urlencoded") {
            return Err(Refusal::invalid_request("expected a form"));
        }
        let mut fields = HashMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            if fields
                .insert(name.into_owned(), value.into_owned())
                .is_some()
            {
                return Err(Refusal::invalid_request("a parameter stands twice"));
            }
        }
        Ok(Self(fields))
    }

    /// A field that is not empty: one without a value counts as left out.
    fn get(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }
}

/// Client id and secret, each of which was form-encoded before it was joined.
fn basic(line: &HeaderValue) -> Option<(String, String)> {
    let (scheme, encoded) = line.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    let decode = |text: &str| {
        let (value, _) = form_urlencoded::parse(text.as_bytes()).next()?;
        Some(value.into_owned())
    };
    Some((decode(id)?, decode(secret)?))
}

/// One scope (RFC 6749 section 3.3).
fn is_scope(text: &str) -> bool {
    let legal = |c: char| matches!(c, '!' | '#'..='[' | ']'..='~');
    !text.is_empty() && text.chars().all(legal)
}

/// Compares secrets in a time that tells nothing of where they differ.
fn equal(known: &str, presented: &str) -> bool {
    constant_time::verify_slices_are_equal(known.as_bytes(), presented.as_bytes()).is_ok()
}

/// 256 bits that nobody guesses.
fn random() -> Result<String, Refusal> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes)
        .map_err(|_| Refusal::new(500, "server_error", "the system gives no randomness"))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

#[expect(clippy::disallowed_methods, reason = "this program owns its clock")]
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// An error as RFC 6749 section 5.2 and RFC 7591 section 3.2.2 write it.
#[derive(Clone, Copy)]
struct Refusal {
    status: u16,
    error: &'static str,
    description: &'static str,
}

impl Refusal {
    const fn new(status: u16, error: &'static str, description: &'static str) -> Self {
        Self {
            status,
            error,
            description,
        }
    }

    const fn invalid_request(description: &'static str) -> Self {
        Self::new(400, "invalid_request", description)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = json!({ "error": self.error, "error_description": self.description });
        let mut response = answer(status, &body);
        let challenge = match self.error {
            "invalid_client" => "Basic realm=\"idp\", charset=\"UTF-8\"",
            "invalid_token" => "Bearer realm=\"idp\", error=\"invalid_token\"",
            _ => return response,
        };
        let headers = response.headers_mut();
        headers.insert(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static(challenge),
        );
        response
    }
}

/// JSON that nobody may store: most of it holds secrets.
fn answer(status: StatusCode, body: &impl Serialize) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
