//! A stand-in for an identity provider, with a knob for everything that a real one does not do on
//! request.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::{
    http1::{self, Answer, Manner, Request},
    keys::{Alg, Key},
    token::Token,
};

/// What can be asked of the stand-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Endpoint {
    /// Any of the three forms of discovery.
    Discovery,
    Introspection,
    Jwks,
    Registration,
    Token,
}

const ENDPOINTS: [Endpoint; 5] = [
    Endpoint::Discovery,
    Endpoint::Introspection,
    Endpoint::Jwks,
    Endpoint::Registration,
    Endpoint::Token,
];

/// Where a discovery document is served (OpenID Connect Discovery section 4, RFC 8414 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Appended,
    Inserted,
    Rfc8414,
}

/// Whether a rotation keeps the old keys published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overlap {
    Drop,
    Keep,
}

/// How the token endpoint reads Basic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoding {
    /// As RFC 6749 section 2.3.1 wants it.
    Form,
    /// As it stands.
    Raw,
}

/// The kind of token that the token endpoint gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Jwt,
    Opaque,
}

/// Everything that a test may turn.
pub(crate) struct Knobs {
    /// Forms of discovery that are served.
    pub(crate) forms: Vec<Form>,
    /// Members put over the metadata; null takes one away.
    pub(crate) metadata: Map<String, Value>,
    /// Further entries of the key set, behind the right ones.
    pub(crate) extra_keys: Vec<Value>,
    /// Kind of token given.
    pub(crate) format: Format,
    /// How Basic is read.
    pub(crate) decoding: Decoding,
    /// `expires_in` of token answers; null leaves it out.
    pub(crate) expires_in: Value,
    /// `token_type` of token answers.
    pub(crate) token_type: String,
    /// `scope` of token answers.
    pub(crate) scope: Option<String>,
    /// Status of good token answers.
    pub(crate) token_status: u16,
    /// Claims put over those of a minted token; null takes one away.
    pub(crate) claims: Map<String, Value>,
    /// What a wrong secret gets.
    pub(crate) wrong_secret: Answer,
    /// Answers of introspection by token; any other is inactive.
    pub(crate) introspections: HashMap<String, Value>,
    /// Answers that replace the right ones.
    faults: HashMap<Endpoint, Answer>,
    /// Keys published; the last one signs.
    keys: Vec<Key>,
    clients: HashMap<String, String>,
    requests: Vec<(Endpoint, Request)>,
}

/// A running stand-in; it ends with this value.
pub(crate) struct Idp {
    /// The issuer, byte for byte.
    pub(crate) issuer: String,
    knobs: Arc<Mutex<Knobs>>,
    gate: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Idp {
    /// Starts one whose issuer has no path, and that signs RS256.
    pub(crate) async fn start() -> Self {
        Self::at("").await
    }

    /// Starts one whose issuer has this path, such as `/tenant`.
    pub(crate) async fn at(path: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let issuer = format!("{base}{path}");
        let knobs = Arc::new(Mutex::new(Knobs::new()));
        let (gate, gated) = watch::channel(true);
        let (shared, name) = (Arc::clone(&knobs), issuer.clone());
        let handler: http1::Handler = Arc::new(move |request| {
            let answer = shared.lock().unwrap().answer(request, &base, path, &name);
            let mut gated = gated.clone();
            Box::pin(async move {
                let _ = gated.wait_for(|open| *open).await;
                answer
            })
        });
        Self {
            issuer,
            knobs,
            gate,
            task: http1::serve(listener, handler),
        }
    }

    /// Turns knobs.
    pub(crate) fn turn<T>(&self, knobs: impl FnOnce(&mut Knobs) -> T) -> T {
        knobs(&mut self.knobs.lock().unwrap())
    }

    /// Registers a client.
    pub(crate) fn client(&self, id: &str, secret: &str) {
        self.turn(|k| k.clients.insert(id.to_owned(), secret.to_owned()));
    }

    /// The ids of all clients.
    pub(crate) fn clients(&self) -> Vec<String> {
        self.turn(|k| k.clients.keys().cloned().collect())
    }

    /// Forgets a client.
    pub(crate) fn forget(&self, id: &str) {
        self.turn(|k| k.clients.remove(id));
    }

    /// How often an endpoint was asked.
    pub(crate) fn hits(&self, endpoint: Endpoint) -> usize {
        self.requests(endpoint).len()
    }

    /// What an endpoint was asked, in order.
    pub(crate) fn requests(&self, endpoint: Endpoint) -> Vec<Request> {
        self.turn(|k| {
            k.requests
                .iter()
                .filter(|(e, _)| *e == endpoint)
                .map(|(_, r)| r.clone())
                .collect()
        })
    }

    /// From now on an endpoint says this.
    pub(crate) fn fault(&self, endpoint: Endpoint, answer: Answer) {
        self.turn(|k| k.faults.insert(endpoint, answer));
    }

    /// An endpoint works again.
    pub(crate) fn heal(&self, endpoint: Endpoint) {
        self.turn(|k| k.faults.remove(&endpoint));
    }

    /// Every endpoint hangs up.
    pub(crate) fn down(&self) {
        for endpoint in ENDPOINTS {
            self.fault(endpoint, Answer::new(500, "").manner(Manner::HangUp));
        }
    }

    /// Every endpoint works again.
    pub(crate) fn up(&self) {
        self.turn(|k| k.faults.clear());
    }

    /// Holds every answer back until [`Self::release`]; what is asked still counts at once.
    pub(crate) fn hold(&self) {
        self.gate.send_replace(false);
    }

    /// Lets held answers go.
    pub(crate) fn release(&self) {
        self.gate.send_replace(true);
    }

    /// The key that signs.
    pub(crate) fn key(&self) -> Key {
        self.turn(|k| k.keys.last().unwrap().clone())
    }

    /// Signs with a new key from now on.
    pub(crate) fn rotate(&self, alg: Alg, overlap: Overlap) -> Key {
        let key = Key::new(alg);
        self.turn(|k| {
            if overlap == Overlap::Drop {
                k.keys.clear();
            }
            k.keys.push(key.clone());
        });
        key
    }

    /// A good token for a client, to change or to build.
    pub(crate) fn token(&self, client_id: &str) -> Token {
        Token::new(self.key(), &self.issuer, client_id)
    }

    /// An opaque token for a client; introspection tells what a JWT would, with these changes.
    pub(crate) fn opaque(&self, client_id: &str, change: impl FnOnce(Token) -> Token) -> String {
        let mut facts = change(self.token(client_id)).claims().clone();
        facts.insert("active".to_owned(), Value::Bool(true));
        let token = format!("opaque-{}", uuid::Uuid::new_v4());
        self.turn(|k| k.introspections.insert(token.clone(), Value::Object(facts)));
        token
    }
}

impl Drop for Idp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Knobs {
    fn new() -> Self {
        Self {
            forms: vec![Form::Appended],
            metadata: Map::new(),
            extra_keys: Vec::new(),
            format: Format::Jwt,
            decoding: Decoding::Form,
            expires_in: json!(300),
            token_type: "Bearer".to_owned(),
            scope: None,
            token_status: 200,
            claims: Map::new(),
            wrong_secret: Answer::json(401, &json!({"error": "invalid_client"})),
            introspections: HashMap::new(),
            faults: HashMap::new(),
            keys: vec![Key::new(Alg::Rs256)],
            clients: HashMap::new(),
            requests: Vec::new(),
        }
    }

    fn answer(&mut self, request: Request, base: &str, path: &str, issuer: &str) -> Answer {
        let asked = request.path().to_owned();
        let endpoint = match asked.strip_prefix(path).unwrap_or(&asked) {
            "/introspect" => Endpoint::Introspection,
            "/jwks" => Endpoint::Jwks,
            "/register" => Endpoint::Registration,
            "/token" => Endpoint::Token,
            _ if asked.contains("/.well-known/") => Endpoint::Discovery,
            _ => return Answer::new(404, "no such page"),
        };
        self.requests.push((endpoint, request.clone()));
        if let Some(fault) = self.faults.get(&endpoint) {
            return fault.clone();
        }
        match endpoint {
            Endpoint::Discovery => self.discovery(&asked, base, path, issuer),
            Endpoint::Introspection => self.introspect(&request),
            Endpoint::Jwks => self.jwks(),
            Endpoint::Registration => self.register(&request),
            Endpoint::Token => self.give_token(&request, issuer),
        }
    }

    fn discovery(&self, asked: &str, base: &str, path: &str, issuer: &str) -> Answer {
        let served = self.forms.iter().any(|form| {
            asked
                == match form {
                    Form::Appended => format!("{path}/.well-known/openid-configuration"),
                    Form::Inserted => format!("/.well-known/openid-configuration{path}"),
                    Form::Rfc8414 => format!("/.well-known/oauth-authorization-server{path}"),
                }
        });
        if !served {
            return Answer::new(404, "no metadata here");
        }
        let mut document = json!({
            "issuer": issuer,
            "token_endpoint": format!("{base}{path}/token"),
            "jwks_uri": format!("{base}{path}/jwks"),
            "introspection_endpoint": format!("{base}{path}/introspect"),
            "registration_endpoint": format!("{base}{path}/register"),
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        });
        overlay(document.as_object_mut().unwrap(), &self.metadata);
        Answer::json(200, &document)
    }

    fn jwks(&self) -> Answer {
        let keys = self
            .keys
            .iter()
            .map(Key::jwk)
            .chain(self.extra_keys.iter().cloned());
        Answer::json(200, &json!({"keys": keys.collect::<Vec<_>>()}))
    }

    fn introspect(&self, request: &Request) -> Answer {
        let token = request.field("token").unwrap_or_default();
        let inactive = json!({"active": false});
        Answer::json(200, self.introspections.get(&token).unwrap_or(&inactive))
    }

    /// RFC 7591 section 3.
    fn register(&mut self, request: &Request) -> Answer {
        let mut facts: Value = serde_json::from_slice(&request.body).unwrap_or_else(|_| json!({}));
        let (id, secret) = (
            uuid::Uuid::new_v4().to_string(),
            uuid::Uuid::new_v4().to_string(),
        );
        facts["client_id"] = json!(id);
        facts["client_secret"] = json!(secret);
        self.clients.insert(id, secret);
        Answer::json(201, &facts)
    }

    fn give_token(&mut self, request: &Request, issuer: &str) -> Answer {
        let Some((id, secret)) = self.presented(request) else {
            return Answer::json(400, &json!({"error": "invalid_request"}));
        };
        if self.clients.get(&id) != Some(&secret) {
            return self.wrong_secret.clone();
        }
        let mut token = Token::new(self.keys.last().unwrap().clone(), issuer, &id);
        for (name, value) in &self.claims {
            token = if value.is_null() {
                token.without(name)
            } else {
                token.claim(name, value.clone())
            };
        }
        let text = match self.format {
            Format::Jwt => token.build(),
            Format::Opaque => {
                let mut facts = token.claims().clone();
                facts.insert("active".to_owned(), Value::Bool(true));
                let text = format!("opaque-{}", uuid::Uuid::new_v4());
                self.introspections
                    .insert(text.clone(), Value::Object(facts));
                text
            }
        };
        let mut answer = json!({"access_token": text, "token_type": self.token_type});
        if !self.expires_in.is_null() {
            answer["expires_in"] = self.expires_in.clone();
        }
        if let Some(scope) = &self.scope {
            answer["scope"] = json!(scope);
        }
        Answer::json(self.token_status, &answer)
    }

    /// The pair of a token request; `None` where it came in no way or in both.
    fn presented(&self, request: &Request) -> Option<(String, String)> {
        let form = request
            .field("client_id")
            .zip(request.field("client_secret"));
        let Some(line) = request.header("authorization") else {
            return form;
        };
        if form.is_some() {
            return None;
        }
        let pair = BASE64_STANDARD.decode(line.strip_prefix("Basic ")?).ok()?;
        let pair = String::from_utf8(pair).ok()?;
        let (id, secret) = pair.split_once(':')?;
        let decode = |text: &str| match self.decoding {
            Decoding::Form => form_decode(text),
            Decoding::Raw => text.to_owned(),
        };
        Some((decode(id), decode(secret)))
    }
}

fn overlay(members: &mut Map<String, Value>, changes: &Map<String, Value>) {
    for (name, value) in changes {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
}

/// One form-encoded value (RFC 6749 appendix B).
fn form_decode(text: &str) -> String {
    url::form_urlencoded::parse(format!("v={text}").as_bytes())
        .next()
        .unwrap()
        .1
        .into_owned()
}
