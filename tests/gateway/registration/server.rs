//! A server that keeps to RFC 7591 and 7592, with a knob for everything in which servers differ.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::harness::{
    http1::{self, Answer, Manner, Request},
    now,
};

/// Members that the server alone sets (RFC 7592 section 2.2).
const SERVERS_OWN: [&str; 4] = [
    "client_id_issued_at",
    "client_secret_expires_at",
    "registration_access_token",
    "registration_client_uri",
];

/// Which calls give a client another registration access token or secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renews {
    Never,
    OnWrite,
    Always,
}

/// What a test may turn.
pub(crate) struct Knobs {
    /// The token that registers; `None`: anybody may.
    pub(crate) initial: Option<String>,
    /// The secret of the client `dcr-admin`, which gets such a token with the scope `dcr`.
    pub(crate) admin_secret: String,
    /// `expires_in` of its token.
    pub(crate) expires_in: i64,
    /// Status of a registration.
    pub(crate) created: u16,
    /// Members put over every client that is returned; null takes one away.
    pub(crate) returned: Map<String, Value>,
    /// When a client gets another token.
    pub(crate) tokens: Renews,
    /// When it gets another secret.
    pub(crate) secrets: Renews,
    /// Whether a read tells the secret.
    pub(crate) tells_secret: bool,
    /// What WebFinger says, by resource.
    pub(crate) resources: HashMap<String, Answer>,
    /// Answers that replace the right ones once, by method; the first that fits first.
    slips: Vec<(&'static str, Answer)>,
    clients: HashMap<String, Client>,
    admin_tokens: Vec<String>,
    requests: Vec<Request>,
}

/// A client as it is registered.
pub(crate) struct Client {
    pub(crate) metadata: Map<String, Value>,
    pub(crate) secret: String,
    pub(crate) token: String,
}

/// A running server; it ends with this value.
pub(crate) struct Server {
    pub(crate) issuer: String,
    knobs: Arc<Mutex<Knobs>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Starts one that anybody may register at.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let knobs = Arc::new(Mutex::new(Knobs {
            initial: None,
            admin_secret: "admin:s+cr/t %20~".to_owned(),
            expires_in: 300,
            created: 201,
            returned: Map::new(),
            tokens: Renews::Never,
            secrets: Renews::Never,
            tells_secret: true,
            resources: HashMap::new(),
            slips: Vec::new(),
            clients: HashMap::new(),
            admin_tokens: Vec::new(),
            requests: Vec::new(),
        }));
        let (shared, base) = (Arc::clone(&knobs), issuer.clone());
        let handler: http1::Handler = Arc::new(move |request| {
            let answer = shared.lock().unwrap().answer(&request, &base);
            Box::pin(std::future::ready(answer))
        });
        Self {
            issuer,
            knobs,
            task: http1::serve(listener, handler),
        }
    }

    /// Turns knobs.
    pub(crate) fn turn<T>(&self, knobs: impl FnOnce(&mut Knobs) -> T) -> T {
        knobs(&mut self.knobs.lock().unwrap())
    }

    /// Members put over every client that is returned; null takes one away.
    pub(crate) fn returns(&self, members: Value) {
        self.turn(|k| k.returned = members.as_object().unwrap().clone());
    }

    /// The next request of this method at the registration endpoint or below gets this answer.
    pub(crate) fn slip(&self, method: &'static str, answer: Answer) {
        self.turn(|k| k.slips.push((method, answer)));
    }

    /// How many clients there are.
    pub(crate) fn clients(&self) -> usize {
        self.turn(|k| k.clients.len())
    }

    /// Something of a client.
    pub(crate) fn client<T>(&self, id: &str, look: impl FnOnce(&mut Client) -> T) -> T {
        self.turn(|k| look(k.clients.get_mut(id).unwrap()))
    }

    /// Whether there is such a client.
    pub(crate) fn knows(&self, id: &str) -> bool {
        self.turn(|k| k.clients.contains_key(id))
    }

    /// The tokens that the initial client got are good no more.
    pub(crate) fn revoke_admin_tokens(&self) {
        self.turn(|k| k.admin_tokens.clear());
    }

    /// Requests of this method for paths that begin so, in order.
    pub(crate) fn requests(&self, method: &str, path: &str) -> Vec<Request> {
        self.turn(|k| {
            let fits = |r: &&Request| r.method == method && r.path().starts_with(path);
            k.requests.iter().filter(fits).cloned().collect()
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Knobs {
    fn answer(&mut self, request: &Request, base: &str) -> Answer {
        self.requests.push(request.clone());
        let path = request.path().to_owned();
        match path.as_str() {
            "/.well-known/openid-configuration" => Answer::json(
                200,
                &json!({
                    "issuer": base, "token_endpoint": format!("{base}/token"),
                    "jwks_uri": format!("{base}/jwks"),
                    "registration_endpoint": format!("{base}/reg"),
                    "token_endpoint_auth_methods_supported": ["client_secret_basic"],
                }),
            ),
            "/.well-known/webfinger" => {
                let url = url::Url::parse(base)
                    .unwrap()
                    .join(&request.target)
                    .unwrap();
                let resource = url.query_pairs().find(|(name, _)| name == "resource");
                let resource = resource.unwrap().1.into_owned();
                let known = self.resources.get(&resource).cloned();
                known.unwrap_or_else(|| Answer::new(404, ""))
            }
            "/jwks" => Answer::json(200, &json!({"keys": []})),
            "/token" => self.token(request),
            _ if path.starts_with("/reg") => {
                let slip = self.slips.iter().position(|(m, _)| *m == request.method);
                match slip.map(|at| self.slips.remove(at).1) {
                    Some(answer) => answer,
                    None => self.register(request, base),
                }
            }
            _ => Answer::new(404, ""),
        }
    }

    fn token(&mut self, request: &Request) -> Answer {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let encode = |text: &str| -> String {
            url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
        };
        let pair = format!("dcr-admin:{}", encode(&self.admin_secret));
        let expected = format!("Basic {}", BASE64_STANDARD.encode(pair));
        if request.header("authorization") != Some(&expected) {
            return Answer::json(401, &json!({"error": "invalid_client"}));
        }
        if request.field("scope").as_deref() != Some("dcr") {
            return Answer::json(400, &json!({"error": "invalid_scope"}));
        }
        let token = uuid::Uuid::new_v4().to_string();
        self.admin_tokens.push(token.clone());
        let told = json!({
            "access_token": token, "token_type": "Bearer", "expires_in": self.expires_in,
        });
        Answer::json(200, &told)
    }

    fn register(&mut self, request: &Request, base: &str) -> Answer {
        let bearer = request
            .header("authorization")
            .and_then(|line| line.strip_prefix("Bearer "));
        let body: Option<Map<String, Value>> = serde_json::from_slice(&request.body).ok();
        let id = request.path().strip_prefix("/reg/").map(str::to_owned);
        let denied = Answer::json(401, &json!({"error": "invalid_token"}))
            .header("WWW-Authenticate", "Bearer");
        let Some(id) = id else {
            let admin = bearer.is_some_and(|token| self.admin_tokens.iter().any(|t| t == token));
            let initial = self.initial.is_none() || bearer == self.initial.as_deref();
            if request.method != "POST" || !(admin || initial) {
                return denied;
            }
            let Some(metadata) = body else {
                return Answer::json(400, &json!({"error": "invalid_client_metadata"}));
            };
            let id = uuid::Uuid::new_v4().to_string();
            let client = Client {
                metadata,
                secret: uuid::Uuid::new_v4().to_string(),
                token: uuid::Uuid::new_v4().to_string(),
            };
            self.clients.insert(id.clone(), client);
            return self.told(self.created, &id, base, true);
        };
        let known = self.clients.get(&id).map(|client| client.token.clone());
        if known.is_none() || known.as_deref() != bearer {
            return denied;
        }
        match (request.method.as_str(), body) {
            ("DELETE", _) => {
                self.clients.remove(&id);
                Answer::new(204, "")
            }
            ("GET", _) => {
                self.renew(&id, Renews::Always);
                let tells = self.tells_secret;
                self.told(200, &id, base, tells)
            }
            ("PUT", Some(metadata)) => {
                let own = SERVERS_OWN.iter().any(|name| metadata.contains_key(*name));
                let nulls = metadata.values().any(Value::is_null);
                let secret = metadata.get("client_secret");
                let current = json!(self.clients[&id].secret);
                if own || nulls || secret.is_some_and(|secret| *secret != current) {
                    return Answer::json(400, &json!({"error": "invalid_request"}));
                }
                if metadata.get("client_id") != Some(&json!(id)) {
                    return Answer::json(400, &json!({"error": "invalid_client_id"}));
                }
                self.clients.get_mut(&id).unwrap().metadata = metadata;
                self.renew(&id, Renews::OnWrite);
                let tells = self.tells_secret;
                self.told(200, &id, base, tells)
            }
            _ => Answer::new(405, ""),
        }
    }

    /// Gives another token and secret, where this call does.
    fn renew(&mut self, id: &str, call: Renews) {
        let does = |knob: Renews| knob == Renews::Always || knob == call;
        let (tokens, secrets) = (does(self.tokens), does(self.secrets));
        let client = self.clients.get_mut(id).unwrap();
        if tokens {
            client.token = uuid::Uuid::new_v4().to_string();
        }
        if secrets {
            client.secret = uuid::Uuid::new_v4().to_string();
        }
    }

    fn told(&self, status: u16, id: &str, base: &str, tells_secret: bool) -> Answer {
        let client = &self.clients[id];
        let mut told = client.metadata.clone();
        let mut set = |name: &str, value: Value| told.insert(name.to_owned(), value);
        set("client_id", json!(id));
        set("client_id_issued_at", json!(now()));
        if tells_secret {
            set("client_secret", json!(client.secret));
            set("client_secret_expires_at", json!(0));
        }
        set("registration_access_token", json!(client.token));
        set("registration_client_uri", json!(format!("{base}/reg/{id}")));
        set("logo_uri", Value::Null);
        set("x_own", json!({"nested": [null]}));
        for (name, value) in &self.returned {
            match value {
                Value::Null => told.remove(name),
                value => told.insert(name.clone(), value.clone()),
            };
        }
        Answer::json(status, &Value::Object(told))
    }
}

/// An answer that never comes: the connection is closed.
pub(crate) fn hangs_up() -> Answer {
    Answer::new(500, "").manner(Manner::HangUp)
}
