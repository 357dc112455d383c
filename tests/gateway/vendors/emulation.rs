//! A vendor's token service on a free loopback port: what all of them share.
//!
//! The vendor's own file says which path is which endpoint and what is answered there; clients,
//! keys, opaque tokens, the log of requests and the faults are kept here.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use crate::harness::{
    backend::{Speaks, acceptor},
    certificates::Pair,
    http1::{self, Answer, Manner, Request},
    idp::Endpoint,
    keys::{Alg, Key},
    token::Token,
};

/// One vendor: where its endpoints are, what they answer, and what an operator writes for it.
pub(crate) trait Vendor: Send + Sized + 'static {
    /// The word after `vendor:`.
    const NAME: &'static str;
    /// A scope, or an application role, that clients have.
    const READ: &'static str;
    /// One that they do not have.
    const WRITE: &'static str;
    /// Whether its clients' secrets have an end.
    const SECRETS_EXPIRE: bool = false;

    /// The host by which it is reached, and its certificate where that is by https.
    fn host() -> (&'static str, Option<Pair>) {
        ("127.0.0.1", None)
    }

    /// A vendor as it is by default, at an address such as `http://127.0.0.1:4711`.
    fn at(base: &str) -> Self;

    /// A client id as this vendor makes them; a fresh one each time.
    fn client_id(&self) -> String;

    /// What an operator writes as `issuer:`.
    fn issuer(&self) -> String;

    /// What an operator writes for the identity provider beside name, vendor and issuer.
    fn identity_provider(&self, _account: &mut Account) -> Value {
        Value::Null
    }

    /// Files that this names, by name and content.
    fn files(&self, _account: &Account) -> Vec<(String, String)> {
        Vec::new()
    }

    /// What an operator writes for the strategy beside name, identity provider and methods.
    fn strategy(&self) -> Value;

    /// The key with which this vendor begins; its name is what the vendor makes of it.
    fn key(&self) -> Key {
        Key::new(Alg::Rs256)
    }

    /// Which endpoint a request is for.
    fn endpoint(&self, request: &Request) -> Option<Endpoint>;

    /// What that endpoint says.
    fn answer(&mut self, account: &mut Account, endpoint: Endpoint, request: &Request) -> Answer;

    /// What the management API says: it registers, tells of, changes and deletes clients. Requests
    /// come here for which [`Self::endpoint`] says [`Endpoint::Registration`].
    fn registration(&mut self, _account: &mut Account, request: &Request) -> Answer {
        self.nothing_here(request)
    }

    /// What is said where there is no endpoint.
    fn nothing_here(&self, _request: &Request) -> Answer {
        Answer::new(404, "")
    }

    /// The token that a client would be given now, to change or to build.
    fn token(&self, account: &Account, client_id: &str) -> Token;

    /// A token that nobody but the vendor can read, as far as it has such a thing.
    fn opaque(&self, account: &mut Account, client_id: &str) -> String;
}

/// A client as it is registered.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// Secrets that are good; several during a rotation.
    pub(crate) secrets: Vec<String>,
    /// Secrets that were good once.
    pub(crate) expired: Vec<String>,
    /// Grant types that the client may use.
    pub(crate) grant_types: Vec<String>,
    /// Whether the API was granted to it: Auth0's client grant, Okta's access policy, Entra's
    /// assignment.
    pub(crate) granted: bool,
    /// Scopes or application roles that it has.
    pub(crate) scopes: Vec<String>,
}

/// What the vendor knows, apart from how it speaks.
pub(crate) struct Account {
    /// The server's own certificate, PEM, where it is reached by https.
    pub(crate) certificate: Option<String>,
    pub(crate) clients: HashMap<String, Client>,
    /// The first signs; the next one is published before it does.
    pub(crate) keys: Vec<Key>,
    /// Opaque tokens that are good, with what introspection tells of them.
    pub(crate) opaque: HashMap<String, Value>,
    /// Secrets that were made a moment ago, and how many token requests do not know them yet.
    unripe: Vec<(String, String, usize)>,
    /// Answers that replace the right ones.
    faults: HashMap<Endpoint, Answer>,
    /// Answers that replace the right ones once, the first that fits first.
    slips: Vec<Slip>,
    /// Requests that are to be held up, each once, the first that fits first.
    holds: Vec<Hold>,
    requests: Vec<(Endpoint, Request)>,
}

/// A request that is to be held up.
struct Hold {
    method: &'static str,
    /// A part of the path.
    path: String,
    /// Whether what it asks for is done before.
    deed: Deed,
    reached: oneshot::Sender<()>,
    release: oneshot::Receiver<()>,
}

/// A request of the management API that is held up, or will be. Dropped, it is never answered.
pub(crate) struct Held {
    what: String,
    reached: oneshot::Receiver<()>,
    release: oneshot::Sender<()>,
}

/// An answer that replaces the right one once.
struct Slip {
    endpoint: Endpoint,
    method: &'static str,
    /// A part of the path.
    path: String,
    /// Whether what was asked for is done all the same.
    deed: Deed,
    answer: Answer,
}

/// Whether what a request asks for is done although its answer is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Done,
    Undone,
}

/// How a request presents a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Presented {
    /// In the Authorization line and in the form at once.
    Both,
    /// An id without a secret.
    IdAlone(String),
    Nothing,
    Pair(String, String),
}

/// How the Authorization line is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoding {
    /// Form-decoded, as RFC 6749 section 2.3.1 wants it.
    Form,
    /// As it stands.
    Raw,
}

/// A running emulation; it ends with this value.
pub(crate) struct Emulation<V> {
    pub(crate) base: String,
    state: Arc<Mutex<(Account, V)>>,
    task: JoinHandle<()>,
}

impl Client {
    /// One that may do what an ordinary one may.
    pub(crate) fn new(secret: &str, scope: &str) -> Self {
        Self {
            secrets: vec![secret.to_owned()],
            expired: Vec::new(),
            grant_types: vec!["client_credentials".to_owned()],
            granted: true,
            scopes: vec![scope.to_owned()],
        }
    }

    /// Whether a secret is good.
    pub(crate) fn knows(&self, secret: &str) -> bool {
        self.secrets.iter().any(|known| known == secret)
    }

    /// Takes a secret's place with another, at once.
    pub(crate) fn rotate(&mut self, secret: &str) {
        self.secrets = vec![secret.to_owned()];
    }
}

impl Account {
    /// The key that signs.
    pub(crate) fn key(&self) -> Key {
        self.keys[0].clone()
    }

    /// Keeps an opaque token with what introspection tells of it.
    pub(crate) fn keep(&mut self, token: String, facts: Value) -> String {
        self.opaque.insert(token.clone(), facts);
        token
    }

    /// Gives a client a secret beside those that it has; so many token requests do not know it yet.
    pub(crate) fn issue(&mut self, client_id: &str, secret: &str, late: usize) {
        let (id, secret) = (client_id.to_owned(), secret.to_owned());
        match self.clients.get_mut(client_id) {
            Some(client) if late == 0 => client.secrets.push(secret),
            _ => self.unripe.push((id, secret, late)),
        }
    }

    /// A token request has passed: secrets that were made a moment ago are known soon.
    pub(crate) fn ripen(&mut self) {
        for (id, secret, left) in &mut self.unripe {
            *left -= 1;
            if *left == 0
                && let Some(client) = self.clients.get_mut(id)
            {
                client.secrets.push(secret.clone());
            }
        }
        self.unripe.retain(|(_, _, left)| *left > 0);
    }

    /// How a request is to be held up, if it is.
    fn hold(&mut self, request: &Request) -> Option<Hold> {
        let fits =
            |hold: &Hold| hold.method == request.method && request.path().contains(&hold.path);
        let at = self.holds.iter().position(fits)?;
        Some(self.holds.remove(at))
    }

    /// From now on an endpoint says this.
    pub(crate) fn fault(&mut self, endpoint: Endpoint, answer: Answer) {
        self.faults.insert(endpoint, answer);
    }

    /// Who a request says that it comes from.
    pub(crate) fn presented(&self, request: &Request, decoding: Decoding) -> Presented {
        let (id, secret) = (request.field("client_id"), request.field("client_secret"));
        let Some(line) = request.header("authorization") else {
            return match (id, secret) {
                (Some(id), Some(secret)) => Presented::Pair(id, secret),
                (Some(id), None) => Presented::IdAlone(id),
                (None, _) => Presented::Nothing,
            };
        };
        if id.is_some() || secret.is_some() {
            return Presented::Both;
        }
        let pair = line
            .strip_prefix("Basic ")
            .and_then(|text| BASE64_STANDARD.decode(text).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let Some((id, secret)) = pair.as_deref().and_then(|pair| pair.split_once(':')) else {
            return Presented::Nothing;
        };
        let decode = |text: &str| match decoding {
            Decoding::Form => form_decode(text),
            Decoding::Raw => text.to_owned(),
        };
        Presented::Pair(decode(id), decode(secret))
    }
}

impl<V: Vendor> Emulation<V> {
    /// Starts one as the vendor is by default.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (host, pair) = V::host();
        let scheme = if pair.is_some() { "https" } else { "http" };
        let base = format!("{scheme}://{host}:{port}");
        let tls = pair.as_ref().map(|pair| acceptor(pair, Speaks::Http1));
        let vendor = V::at(&base);
        let account = Account {
            certificate: pair.map(|pair| pair.certificate),
            clients: HashMap::new(),
            keys: vec![vendor.key(), vendor.key()],
            opaque: HashMap::new(),
            unripe: Vec::new(),
            faults: HashMap::new(),
            slips: Vec::new(),
            holds: Vec::new(),
            requests: Vec::new(),
        };
        let state = Arc::new(Mutex::new((account, vendor)));
        let shared = Arc::clone(&state);
        let handler: http1::Handler = Arc::new(move |request| {
            let shared = Arc::clone(&shared);
            Box::pin(async move {
                let now = |request| {
                    let mut state = shared.lock().unwrap();
                    let (account, vendor) = &mut *state;
                    answer(account, vendor, request)
                };
                let Some(hold) = shared.lock().unwrap().0.hold(&request) else {
                    return now(request);
                };
                let done = (hold.deed == Deed::Done).then(|| now(request.clone()));
                let _ = hold.reached.send(());
                match (hold.release.await, done) {
                    (Err(_), _) => Answer::new(500, "").manner(Manner::Silent),
                    (Ok(()), Some(answer)) => answer,
                    (Ok(()), None) => now(request),
                }
            })
        });
        Self {
            base,
            state,
            task: http1::serve_over(listener, tls, handler),
        }
    }

    /// Changes what the vendor knows and how it speaks.
    pub(crate) fn turn<T>(&self, change: impl FnOnce(&mut Account, &mut V) -> T) -> T {
        let mut state = self.state.lock().unwrap();
        let (account, vendor) = &mut *state;
        change(account, vendor)
    }

    /// Registers an ordinary client; its id.
    pub(crate) fn register(&self, secret: &str) -> String {
        self.turn(|account, vendor| {
            let id = vendor.client_id();
            account
                .clients
                .insert(id.clone(), Client::new(secret, V::READ));
            id
        })
    }

    /// Changes a client.
    pub(crate) fn client<T>(&self, id: &str, change: impl FnOnce(&mut Client) -> T) -> T {
        self.turn(|account, _| change(account.clients.get_mut(id).unwrap()))
    }

    /// Deletes a client: its secrets, and its opaque tokens with them.
    pub(crate) fn delete(&self, id: &str) {
        self.turn(|account, _| {
            account.clients.remove(id);
            account.opaque.retain(|_, facts| facts["client_id"] != id);
        });
    }

    /// The token that a client would be given now, to change or to build.
    pub(crate) fn token(&self, client_id: &str) -> Token {
        self.turn(|account, vendor| vendor.token(account, client_id))
    }

    /// A token that nobody but the vendor can read.
    pub(crate) fn opaque(&self, client_id: &str) -> String {
        self.turn(|account, vendor| vendor.opaque(account, client_id))
    }

    /// The key that was next signs now, the one that signed is withdrawn, and a new one is
    /// published.
    pub(crate) fn rotate_keys(&self) {
        self.turn(|account, vendor| {
            account.keys.remove(0);
            account.keys.push(vendor.key());
        });
    }

    /// From now on an endpoint says this.
    pub(crate) fn fault(&self, endpoint: Endpoint, answer: Answer) {
        self.turn(|account, _| account.fault(endpoint, answer));
    }

    /// The next request of this method whose path holds this part gets this answer instead, once;
    /// several such answers come one after the other.
    pub(crate) fn slip(
        &self,
        endpoint: Endpoint,
        (method, path): (&'static str, &str),
        deed: Deed,
        answer: Answer,
    ) {
        let slip = Slip {
            endpoint,
            method,
            path: path.to_owned(),
            deed,
            answer,
        };
        self.turn(|account, _| account.slips.push(slip));
    }

    /// Holds up the next request of this method whose path holds this part, once; what it asks for
    /// is done before or not at all.
    pub(crate) fn hold(&self, (method, path): (&'static str, &str), deed: Deed) -> Held {
        let (reached, seen) = oneshot::channel();
        let (release, released) = oneshot::channel();
        let hold = Hold {
            method,
            path: path.to_owned(),
            deed,
            reached,
            release: released,
        };
        self.turn(|account, _| account.holds.push(hold));
        Held {
            what: format!("{method} {path} {deed:?}"),
            reached: seen,
            release,
        }
    }

    /// An endpoint works again.
    pub(crate) fn heal(&self, endpoint: Endpoint) {
        self.turn(|account, _| account.faults.remove(&endpoint));
    }

    /// What an endpoint was asked, in order.
    pub(crate) fn requests(&self, endpoint: Endpoint) -> Vec<Request> {
        self.turn(|account, _| {
            let asked = account.requests.iter().filter(|(e, _)| *e == endpoint);
            asked.map(|(_, request)| request.clone()).collect()
        })
    }

    /// How often an endpoint was asked.
    pub(crate) fn hits(&self, endpoint: Endpoint) -> usize {
        self.requests(endpoint).len()
    }
}

impl Held {
    /// Waits for the request; what it asked for is done by then, if it is to be.
    pub(crate) async fn reached(&mut self) {
        let reached = tokio::time::timeout(Duration::from_secs(20), &mut self.reached);
        let what = &self.what;
        reached
            .await
            .unwrap_or_else(|_| panic!("nobody asked for {what}"))
            .unwrap_or_else(|_| panic!("the emulation is gone before {what}"));
    }

    /// Lets it go on: what was done is answered, the rest done.
    pub(crate) fn release(self) {
        let _ = self.release.send(());
    }
}

impl<V> Drop for Emulation<V> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn answer<V: Vendor>(account: &mut Account, vendor: &mut V, request: Request) -> Answer {
    let Some(endpoint) = vendor.endpoint(&request) else {
        return vendor.nothing_here(&request);
    };
    account.requests.push((endpoint, request.clone()));
    let slip = account.slips.iter().position(|slip| {
        let named = slip.endpoint == endpoint && slip.method == request.method;
        named && request.path().contains(&slip.path)
    });
    let slip = slip.map(|at| account.slips.remove(at));
    if let Some(slip) = &slip
        && slip.deed == Deed::Undone
    {
        return slip.answer.clone();
    }
    if let Some(fault) = account.faults.get(&endpoint) {
        return fault.clone();
    }
    let answer = match endpoint {
        Endpoint::Registration => vendor.registration(account, &request),
        _ => vendor.answer(account, endpoint, &request),
    };
    slip.map_or(answer, |slip| slip.answer)
}

/// The public half of a key with the certificate that some vendors publish beside it: `x5c` and its
/// SHA-1 thumbprint `x5t` (RFC 7517 sections 4.7 and 4.8).
pub(crate) fn certified(key: &Key) -> Value {
    let certificate = key.certificate();
    let thumbprint = digest(&SHA1_FOR_LEGACY_USE_ONLY, &certificate);
    let mut jwk = key.jwk();
    jwk["x5c"] = json!([BASE64_STANDARD.encode(&certificate)]);
    jwk["x5t"] = json!(BASE64_URL_SAFE_NO_PAD.encode(thumbprint));
    jwk
}

/// The items of a list of texts; none where it is no list.
pub(crate) fn words(list: &Value) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items
        .map(|item| item.as_str().unwrap().to_owned())
        .collect()
}

/// Letters and digits, as vendors make ids and opaque tokens of them.
pub(crate) fn random(length: usize) -> String {
    let mut text = String::new();
    while text.len() < length {
        text += &uuid::Uuid::new_v4().simple().to_string();
    }
    text.truncate(length);
    text
}

/// One form-encoded value (RFC 6749 appendix B).
fn form_decode(text: &str) -> String {
    let form = format!("v={}", text.replace('&', "%26"));
    let mut fields = url::form_urlencoded::parse(form.as_bytes());
    fields.next().unwrap().1.into_owned()
}
