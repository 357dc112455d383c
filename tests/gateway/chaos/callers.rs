//! Who calls while everything changes, and what each must get.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{net::TcpStream, time::Instant};

use crate::harness::{
    APP, SECRET, World,
    certificates::Authority,
    client::{Call, Connection, Response},
    h2c::H2c,
};

/// An application that is suspended and resumed again and again.
pub(super) const TOGGLED: &str = "toggled";
/// An application that is suspended throughout.
pub(super) const SUSPENDED: &str = "suspended";
/// A client whose secret somebody guesses at.
pub(super) const GUESSED: &str = "guessed";

/// Where sessions end.
const LOGOUT: &str = "/-/logout";

/// Between two requests of one caller: all of them make some thousands in a second.
const PAUSE: Duration = Duration::from_millis(15);
/// How long a credential is used before it is made anew.
const USES: usize = 200;

/// What a caller brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// A good pair.
    Basic,
    /// A good token.
    Bearer,
    /// A cookie that a good token earned.
    Cookie,
    /// A token whose time is over.
    Expired,
    /// A good token, for the API whose upstream breaks.
    Faulted,
    /// A token under another token's signature.
    Forged,
    /// A cookie of a session that was logged out.
    Gone,
    /// Wrong secrets.
    Guess,
    /// A good token, for the API of whose two targets one stops now and then.
    Pair,
    /// A good token, with a body to send.
    Post,
    /// A good token, from a client that takes its time for each byte of the body.
    Slow,
    /// A good token of [`SUSPENDED`].
    Suspended,
    /// A good token of [`TOGGLED`].
    Toggled,
}

/// How a caller is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wire {
    /// A new plain connection for each request.
    Fresh,
    /// One HTTP/2 connection over TLS.
    Http2,
    /// One plain connection.
    Plain,
    /// One HTTP/1.1 connection over TLS.
    Tls,
}

/// Four callers of each line make 72.
const CALLERS: [(Role, Wire); 18] = [
    (Role::Bearer, Wire::Plain),
    (Role::Bearer, Wire::Tls),
    (Role::Bearer, Wire::Http2),
    (Role::Bearer, Wire::Fresh),
    (Role::Basic, Wire::Plain),
    (Role::Basic, Wire::Http2),
    (Role::Cookie, Wire::Tls),
    (Role::Cookie, Wire::Http2),
    (Role::Post, Wire::Tls),
    (Role::Pair, Wire::Plain),
    (Role::Expired, Wire::Plain),
    (Role::Forged, Wire::Tls),
    (Role::Gone, Wire::Tls),
    (Role::Guess, Wire::Fresh),
    (Role::Slow, Wire::Plain),
    (Role::Suspended, Wire::Http2),
    (Role::Toggled, Wire::Plain),
    (Role::Faulted, Wire::Plain),
];

/// Something that is so, is not so, or is just changing.
#[derive(Default)]
pub(super) struct Fact {
    /// Odd while it changes.
    version: AtomicU64,
    so: AtomicBool,
}

impl Fact {
    /// Changes it; from the first moment to the last of `change` nothing can be said of it.
    pub(super) async fn change(&self, so: bool, change: impl Future<Output = ()>) {
        self.version.fetch_add(1, SeqCst);
        change.await;
        self.so.store(so, SeqCst);
        self.version.fetch_add(1, SeqCst);
    }

    fn look(&self) -> (u64, bool) {
        (self.version.load(SeqCst), self.so.load(SeqCst))
    }

    /// What was so from one look to another; `None` where it changed.
    fn between(before: (u64, bool), after: (u64, bool)) -> Option<bool> {
        (before.0 == after.0 && before.0.is_multiple_of(2)).then_some(before.1)
    }
}

/// The gateway as the callers know it, and what they saw.
pub(super) struct Field {
    pub(super) plain: SocketAddr,
    pub(super) tls: SocketAddr,
    pub(super) authority: Authority,
    pub(super) world: World,
    /// Whether [`TOGGLED`] is suspended.
    pub(super) suspended: Fact,
    /// Whether one target of the pair is down.
    pub(super) halved: Fact,
    /// Whether the identity provider is down.
    pub(super) idp_down: Fact,
    /// How often the session keys were rotated.
    pub(super) rotations: AtomicUsize,
    pub(super) over: AtomicBool,
    pub(super) tally: Tally,
}

/// What came of the requests.
#[derive(Default)]
pub(super) struct Tally {
    counts: Mutex<BTreeMap<(Role, String), u64>>,
    wrong: Mutex<Vec<String>>,
    lost: Mutex<Vec<String>>,
    longest: Mutex<BTreeMap<Role, Duration>>,
    /// Sent again since the server had said, before it answered, that it would not.
    pub(super) refused_streams: AtomicU64,
}

impl Tally {
    pub(super) fn counts(&self) -> BTreeMap<(Role, String), u64> {
        self.counts.lock().unwrap().clone()
    }

    pub(super) fn wrong(&self) -> Vec<String> {
        self.wrong.lock().unwrap().clone()
    }

    pub(super) fn lost(&self) -> Vec<String> {
        self.lost.lock().unwrap().clone()
    }

    /// The longest that each kind of caller waited for an answer.
    pub(super) fn longest(&self) -> BTreeMap<Role, Duration> {
        self.longest.lock().unwrap().clone()
    }

    fn took(&self, role: Role, time: Duration) {
        let mut longest = self.longest.lock().unwrap();
        let longest = longest.entry(role).or_default();
        *longest = time.max(*longest);
    }

    fn count(&self, role: Role, outcome: String) {
        *self
            .counts
            .lock()
            .unwrap()
            .entry((role, outcome))
            .or_default() += 1;
    }
}

/// A way to the gateway that stands.
enum Link {
    Http1(Connection),
    Http2(H2c),
}

/// Starts all callers.
pub(super) fn start(field: &Arc<Field>) -> Vec<tokio::task::JoinHandle<()>> {
    let all = CALLERS.iter().cycle().take(4 * CALLERS.len());
    all.map(|(role, wire)| tokio::spawn(call(Arc::clone(field), *role, *wire)))
        .collect()
}

async fn call(field: Arc<Field>, role: Role, wire: Wire) {
    let mut link = None;
    let mut fields = Vec::new();
    let mut uses = 0;
    let mut turn = 0_u64;
    let mut earned = (0, Instant::now());
    while !field.over.load(SeqCst) {
        tokio::time::sleep(PAUSE).await;
        // A cookie that its key has left is refused, and rightly so.
        if field.rotations.load(SeqCst) > earned.0 + 1 {
            uses = 0;
        }
        if uses == 0 {
            earned = (field.rotations.load(SeqCst), Instant::now());
            fields = match credential(&field, role).await {
                Some(fields) => fields,
                None => continue,
            };
            uses = USES;
        }
        uses -= 1;
        turn += 1;
        if role == Role::Guess {
            fields = vec![basic(GUESSED, &format!("wrong-{turn}"))];
        }
        let looks = || {
            (
                field.suspended.look(),
                field.halved.look(),
                field.idp_down.look(),
            )
        };
        let before = looks();
        let asked = Instant::now();
        let answer = ask(&field, role, wire, &mut link, &fields).await;
        let after = looks();
        field.tally.took(role, asked.elapsed());
        if wire == Wire::Fresh {
            link = None;
        }
        let Some((status, code)) = answer else {
            let halved = Fact::between(before.1, after.1);
            // A request that the stopping target had taken already is that target's loss.
            if role != Role::Faulted && !(role == Role::Pair && halved.is_none()) {
                let lost = format!("{role:?} over {wire:?}, its request {turn}");
                field.tally.lost.lock().unwrap().push(lost);
            }
            field.tally.count(role, "no answer".to_owned());
            continue;
        };
        let suspended = Fact::between(before.0, after.0);
        let halved = Fact::between(before.1, after.1);
        let idp_down = Fact::between(before.2, after.2);
        if !is_right(role, status, &code, suspended, halved, idp_down) {
            let (used, age) = (USES - uses, earned.1.elapsed());
            let wrong = format!(
                "{role:?} over {wire:?}: {status} {code}, its request {turn}, use {used} of what is {age:.1?} old"
            );
            field.tally.wrong.lock().unwrap().push(wrong);
        }
        field.tally.count(role, format!("{status} {code}"));
    }
}

/// Whether an answer is one that this caller may get, as things were all the time that it took.
fn is_right(
    role: Role,
    status: u16,
    code: &str,
    suspended: Option<bool>,
    halved: Option<bool>,
    idp_down: Option<bool>,
) -> bool {
    let upstream = matches!(
        code,
        "upstream_failed" | "upstream_timeout" | "upstream_unavailable"
    );
    match role {
        Role::Basic | Role::Bearer | Role::Cookie | Role::Post | Role::Slow => status == 200,
        Role::Gone => code == "invalid_session",
        Role::Expired | Role::Forged => code == "invalid_token",
        Role::Faulted => matches!(status, 200 | 500) || upstream,
        Role::Guess => {
            let unknown = code == "identity_provider_unavailable" && idp_down != Some(false);
            matches!(code, "invalid_client" | "too_many_attempts") || unknown
        }
        Role::Pair => status == 200 || (upstream && halved.is_none()),
        Role::Suspended => code == "application_suspended",
        Role::Toggled => match suspended {
            Some(true) => code == "application_suspended",
            Some(false) => status == 200,
            None => status == 200 || code == "application_suspended",
        },
    }
}

fn basic(id: &str, secret: &str) -> (String, String) {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let pair = BASE64_STANDARD.encode(format!("{id}:{secret}"));
    ("authorization".to_owned(), format!("Basic {pair}"))
}

/// What the caller brings; `None` where it could not be had just now.
async fn credential(field: &Field, role: Role) -> Option<Vec<(String, String)>> {
    let bearer = |token: String| vec![("authorization".to_owned(), format!("Bearer {token}"))];
    let token = |client: &str| field.world.idp.token(client);
    Some(match role {
        Role::Basic => vec![basic(APP, SECRET)],
        Role::Bearer | Role::Faulted | Role::Pair | Role::Post | Role::Slow => {
            bearer(token(APP).build())
        }
        Role::Expired => {
            let ended = crate::harness::now() - 3600;
            bearer(token(APP).claim("exp", ended).build())
        }
        // The client of one token over the signature of another's.
        Role::Forged => {
            let signed = token(SUSPENDED).build();
            let signature = signed.rsplit('.').next()?;
            bearer(format!("{}.{signature}", token(APP).signing_input()))
        }
        Role::Suspended => bearer(token(SUSPENDED).build()),
        Role::Toggled => bearer(token(TOGGLED).build()),
        Role::Guess => Vec::new(),
        Role::Cookie | Role::Gone => {
            let stream = field
                .authority
                .connect(field.tls, "api.test", &["http/1.1"]);
            let mut connection = Connection::on(stream.await.ok()?);
            let call = Call::new(field.tls, "GET", "/steady").bearer(&token(APP).build());
            let cookie = call.send_on(&mut connection).await?.cookie()?;
            if role == Role::Gone {
                let call = Call::new(field.tls, "POST", LOGOUT).cookie(&cookie);
                call.send_on(&mut connection).await?.assert_status(204);
            }
            vec![("cookie".to_owned(), cookie)]
        }
    })
}

/// Sends one request, on the connection that stands or on a new one; status and code, or `None`
/// where no answer came.
async fn ask(
    field: &Field,
    role: Role,
    wire: Wire,
    link: &mut Option<Link>,
    fields: &[(String, String)],
) -> Option<(u16, String)> {
    let path = match role {
        Role::Faulted => "/faulted",
        Role::Pair => "/pair",
        _ => "/steady",
    };
    let (method, body) = match role {
        Role::Slow => ("POST", vec![b'x'; 16]),
        Role::Post => ("POST", vec![b'x'; 2048]),
        _ => ("GET", Vec::new()),
    };
    // Only a request that the server refused to look at is sent again.
    for _ in 0..10 {
        if link.is_none() {
            *link = Some(connect(field, wire).await?);
        }
        match link.as_mut()? {
            Link::Http1(connection) => {
                let mut call = Call::new(field.plain, method, path);
                for (name, value) in fields {
                    call = call.header(name, value);
                }
                if !body.is_empty() {
                    call = call.body(body.clone());
                }
                let answer = match role {
                    Role::Slow => drip(&call.bytes(), connection).await,
                    _ => call.send_on(connection).await,
                };
                let closes = |a: &Response| a.headers("connection").contains(&"close");
                if answer.as_ref().is_none_or(closes) {
                    *link = None;
                }
                return answer.map(|answer| (answer.status, answer.code()));
            }
            Link::Http2(connection) => {
                let mut request = H2c::request(method, path);
                for (name, value) in fields {
                    request = request.header(name, value);
                }
                let error = match connection.send(request, &[]).await {
                    Ok(answer) => return Some((answer.status, answer.code())),
                    Err(error) => error,
                };
                *link = None;
                // RFC 9113 section 8.7: after GOAWAY with a lower stream, or REFUSED_STREAM, the
                // request was not looked at.
                let untouched = error.reason().is_some_and(|reason| {
                    (error.is_go_away() && reason == h2::Reason::NO_ERROR)
                        || reason == h2::Reason::REFUSED_STREAM
                });
                if !untouched {
                    return None;
                }
                field.tally.refused_streams.fetch_add(1, SeqCst);
            }
        }
    }
    None
}

/// Sends a request, and the end of it byte by byte.
async fn drip(request: &[u8], connection: &mut Connection) -> Option<Response> {
    let (begin, end) = request.split_at(request.len() - 16);
    connection.send(begin).await;
    for byte in end {
        tokio::time::sleep(PAUSE).await;
        connection.send([*byte]).await;
    }
    connection.response_to("POST").await
}

async fn connect(field: &Field, wire: Wire) -> Option<Link> {
    let tls = async |protocol: &'static str| {
        let protocols = [protocol];
        let stream = field.authority.connect(field.tls, "api.test", &protocols);
        stream.await.ok()
    };
    Some(match wire {
        Wire::Fresh | Wire::Plain => {
            let stream = TcpStream::connect(field.plain).await.ok()?;
            stream.set_nodelay(true).ok()?;
            Link::Http1(Connection::on(stream))
        }
        Wire::Tls => Link::Http1(Connection::on(tls("http/1.1").await?)),
        Wire::Http2 => Link::Http2(H2c::try_on(tls("h2").await?).await?),
    })
}
