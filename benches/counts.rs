//! How many instructions and allocations does each piece of a request take?
//!
//! Callgrind runs this program and counts inside of [`counted`] alone. Each piece has run as often
//! before, so that nothing is made for the first time, and is counted over [`RUNS`] runs: what
//! happens only now and then (a cache's upkeep) counts with its share. Without an argument, as
//! `cargo test --benches` runs it, each piece runs once and nothing is counted.
//!
//! `begin`, `judge` and `log` are calls that Pingora makes of the gateway, on a session that stands in
//! memory: the facts of a request, the whole verdict with the pick of a target, and the end, whose
//! line of the log names no upstream. `head` is Pingora's own reading.
//!
//! Fixed: what `decision.rs`, `directory.rs` and `token.rs` fix, but few applications and tokens of
//! Ed25519, since an RSA key would take longer to make than all pieces to count. Keys are new each
//! time, and of one length. A piece that consumes a head works on a copy of one, which counts too.
//!
//! How to run it: `counts.sh`, which compares with `counts.txt`; `README.md` here says what counts.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot be set up has nothing to measure"
)]

mod applications;
mod mint;
mod sealed;
mod world;

use std::{env, fs, hint::black_box, io::Cursor, sync::Arc};

use arc_swap::ArcSwap;
use base64::{Engine, prelude::BASE64_STANDARD};
use dcr_gateway::{
    clock,
    directory::{Directory, file},
    model::credential::Credential,
    proxy::{
        Ctx, Gateway,
        authenticate::{Method as Proof, Permit},
        denial::Code,
        headers::{self, Outgoing},
        hop::{Hop, Scheme},
        path::Path,
        route::{Found, Table},
    },
    telemetry::{lines::Lines, metrics::Metrics},
    token::jwt,
};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Method, header};
use jsonwebtoken::Algorithm;
use mimalloc::MiMalloc;
use mint::{CLIENT, Key};
use pingora::{
    http::{RequestHeader, ResponseHeader},
    proxy::{ProxyHttp, Session},
};
use sealed::Sealed;
use tokio::runtime::{Builder, Runtime};
use world::{World, config, fields};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// How often a piece runs while it is counted, and before.
const RUNS: usize = 256;

const HOST: &str = "api.example.com:8000";
const PATH: &str = "/api-0/flights/2026-11-21/OSL/seats";

type Piece = Box<dyn FnMut()>;

/// `processor` says what it is. With a number N and a count M: the pieces N, N + M and so on, M
/// processes sharing the work.
fn main() {
    if env::args().nth(1).as_deref() == Some("processor") {
        println!("{}", processor());
        return;
    }
    let mut share = env::args()
        .skip(1)
        .filter_map(|argument| argument.parse().ok());
    let share: Option<(usize, usize)> = share.next().zip(share.next());
    let (first, step) = share.unwrap_or((0, 1));
    let pieces: Vec<_> = pieces().into_iter().skip(first).step_by(step).collect();
    if share.is_none() {
        pieces.into_iter().for_each(|(_, mut piece)| piece());
        return;
    }
    for (name, mut piece) in pieces {
        println!("piece {name} {RUNS}");
        for _ in 0..RUNS {
            piece();
        }
        counted(&mut piece);
    }
}

/// Where Callgrind counts.
#[inline(never)]
fn counted(piece: &mut Piece) {
    for _ in 0..RUNS {
        piece();
    }
}

/// What memchr and httparse choose their code by.
fn processor() -> String {
    #[cfg(target_arch = "x86_64")]
    let features = [
        ("sse4.2", is_x86_feature_detected!("sse4.2")),
        ("avx2", is_x86_feature_detected!("avx2")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let features: [(&str, bool); 0] = [];
    let found = features.into_iter().filter(|(_, found)| *found);
    let names: Vec<&str> = found.map(|(name, _)| name).collect();
    format!("{} {}", env::consts::ARCH, names.join(" "))
}

fn pieces() -> Vec<(&'static str, Piece)> {
    // One worker whatever the machine has: some locks look at each thread that ever took them.
    let mut runtime = Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
    // Pieces borrow it, and the world, as long as the process lives.
    let runtime: &'static Runtime = Box::leak(Box::new(runtime));
    let now = clock::now();
    let key = Key::new(Algorithm::EdDSA);
    let world: &'static World = Box::leak(Box::new(World::new(runtime, &key, now)));
    let token = key.token(now.secs(), 0);
    let bearer = format!("Bearer {token}");
    let pair = BASE64_STANDARD.encode(format!("{CLIENT}:secret"));
    let basic = format!("Basic {pair}");
    let cookie = world.cookie(runtime, &bearer);
    let known = |field, value: &str| {
        let fields = fields(Some((field, value)));
        let permit = runtime.block_on(world.verdict(&fields)).unwrap();
        (fields, permit)
    };
    let by_basic = known(header::AUTHORIZATION, &basic);
    let by_bearer = || known(header::AUTHORIZATION, &bearer);
    let by_session = known(header::COOKIE, &cookie);
    let hook = |name| (name, hook(name, world, &bearer));
    vec![
        ("head", head(&bearer)),
        ("path_plain", path(PATH)),
        (
            "path_escaped",
            path("/api-0/flights/2026-11-21/Troms%C3%B8/seats;class=1"),
        ),
        ("route", route()),
        ("credential_basic", credential(basic)),
        ("credential_bearer", credential(bearer.clone())),
        ("authenticate_basic", authenticate(world, by_basic.0)),
        ("authenticate_bearer", authenticate(world, by_bearer().0)),
        ("authenticate_session", authenticate(world, by_session.0)),
        ("authenticate_none", refused(world)),
        ("directory_find", directory()),
        ("session_open", session_open()),
        ("session_seal", session_seal()),
        ("headers_to_upstream", to_upstream(world, by_bearer())),
        ("headers_to_client", to_client(world, by_bearer().1)),
        ("metrics", metrics(world)),
        hook("begin"),
        hook("judge"),
        hook("log"),
        ("verify", verify(world, token)),
        ("authenticate_first", first(world, &key, now.secs())),
    ]
}

fn path(path: &'static str) -> Piece {
    Box::new(move || {
        black_box(Path::check(black_box(path)).unwrap());
    })
}

fn route() -> Piece {
    let directory = tempfile::tempdir().unwrap();
    let table = Table::new(&config(directory.path(), "http://127.0.0.1:1", 100).apis);
    let path = Path::check("/api-50/flights/2026-11-21/OSL/seats").unwrap();
    Box::new(move || {
        let found = table.find(black_box(HOST), &path, &Method::GET);
        assert!(matches!(found, Found::Api { .. }));
    })
}

fn directory() -> Piece {
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    fs::write(&path, applications::text(RUNS)).unwrap();
    let entries = file::load(&path, &applications::known()).unwrap().0;
    let ids = entries.iter().map(|entry| entry.client_id.as_str());
    let ids: Vec<String> = ids.map(str::to_owned).collect();
    let directory = Directory::default();
    directory.replace(entries);
    let table = directory.table("partners");
    let mut next = 0;
    Box::new(move || {
        next = (next + 1) % ids.len();
        black_box(table.find(black_box(&ids[next])).unwrap());
    })
}

fn session_open() -> Piece {
    let sealed = Sealed::new(clock::now());
    let value = sealed.seal();
    Box::new(move || {
        black_box(sealed.open(black_box(&value)));
    })
}

fn session_seal() -> Piece {
    let sealed = Sealed::new(clock::now());
    Box::new(move || {
        black_box(black_box(&sealed).seal());
    })
}

fn credential(line: String) -> Piece {
    Box::new(move || {
        black_box(Credential::parse(black_box(line.as_bytes())).unwrap());
    })
}

fn authenticate(world: &'static World, fields: HeaderMap) -> Piece {
    Box::new(move || {
        let permitted = world.verdict(black_box(&fields)).now_or_never().unwrap();
        black_box(permitted.unwrap());
    })
}

fn refused(world: &'static World) -> Piece {
    let fields = fields(None);
    Box::new(move || {
        let refused = world.verdict(black_box(&fields)).now_or_never().unwrap();
        black_box(refused.unwrap_err());
    })
}

fn to_upstream(world: &'static World, (fields, permit): (HeaderMap, Permit)) -> Piece {
    let mut sent = RequestHeader::build(Method::GET, PATH.as_bytes(), None).unwrap();
    for (name, value) in &fields {
        sent.insert_header(name, value).unwrap();
    }
    let peer = ([127, 0, 0, 1], 40_000).into();
    let hop = Hop::new(&[], peer, None, Scheme::Http, &fields);
    let id = request_id();
    Box::new(move || {
        let outgoing = Outgoing {
            api: &world.state.apis[0],
            target: "127.0.0.1:9000",
            host: HOST,
            hop: &hop,
            request_id: &id,
            prefix_length: "/api-0".len(),
            http2: false,
        };
        let mut request = sent.clone();
        headers::to_upstream(&mut request, &permit, &world.state, &outgoing);
        black_box(request);
    })
}

fn to_client(world: &'static World, permit: Permit) -> Piece {
    let mut sent = ResponseHeader::build(200, None).unwrap();
    for (name, value) in [
        ("content-type", "application/json"),
        ("content-length", "6"),
        ("date", "Sat, 21 Nov 2026 12:00:00 GMT"),
        ("etag", "\"33a64df5\""),
    ] {
        sent.insert_header(name, value).unwrap();
    }
    let id = request_id();
    Box::new(move || {
        let mut answer = sent.clone();
        headers::to_client(&mut answer, permit.caller(), &world.state.owned, None, &id).unwrap();
        black_box(answer);
    })
}

fn request_id() -> HeaderValue {
    HeaderValue::from_static("0b0a8d0e-6f3c-4c56-8f0e-0f6d1a5c9b1e")
}

/// What a request that is forwarded tells them.
fn metrics(world: &'static World) -> Piece {
    let metrics = Metrics::new().unwrap();
    let api = &world.state.apis[0];
    Box::new(move || {
        for histogram in [
            &metrics.authentication_seconds,
            &metrics.upstream_seconds,
            &metrics.request_seconds,
        ] {
            histogram.observe(black_box(0.0007));
        }
        api.count(&metrics, Code::Permit);
        api.strategies[0].count(&metrics, Proof::Bearer, Code::Permit);
    })
}

/// Each time another token that nobody has sent before.
fn first(world: &'static World, key: &Key, now: i64) -> Piece {
    let bearer = |number| format!("Bearer {}", key.token(now, number));
    let all = (1..).take(2 * RUNS).map(bearer);
    let all: Vec<_> = all
        .map(|bearer| fields(Some((header::AUTHORIZATION, &bearer))))
        .collect();
    let mut next = 0;
    Box::new(move || {
        let verdict = world.verdict(black_box(&all[next])).now_or_never();
        next += 1;
        black_box(verdict.unwrap().unwrap());
    })
}

/// What is left of that without memories and application.
fn verify(world: &'static World, token: String) -> Piece {
    let strategy = &world.state.apis[0].strategies[0];
    let keys = strategy.provider.keys(world.now).unwrap();
    let issuers = strategy.provider.issuers();
    Box::new(move || {
        let rules = strategy.rules();
        let verified = jwt::verify(black_box(&token), &keys.set, &issuers, &rules, world.now);
        black_box(verified.unwrap());
    })
}

/// A request as curl sends it.
fn text(bearer: &str) -> Vec<u8> {
    let text = format!(
        "GET {PATH} HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: curl/8.10.1\r\nAccept: */*\r\n\
         Authorization: {bearer}\r\n\r\n"
    );
    text.into_bytes()
}

fn read(text: Vec<u8>) -> Session {
    let mut session = Session::new_h1(Box::new(Cursor::new(text)));
    let read = session.as_downstream_mut().read_request().now_or_never();
    assert!(read.unwrap().unwrap());
    session
}

fn head(bearer: &str) -> Piece {
    let text = text(bearer);
    Box::new(move || {
        black_box(read(black_box(&text).clone()));
    })
}

/// Pingora's calls, for a known bearer token.
fn hook(name: &str, world: &World, bearer: &str) -> Piece {
    let metrics = Arc::new(Metrics::new().unwrap());
    let state = Arc::new(ArcSwap::new(Arc::clone(&world.state)));
    // Nobody writes the lines, and there is room for all.
    let (lines, _) = Lines::start().unwrap();
    let gateway = Gateway::new(state, metrics, lines);
    let mut session = read(text(bearer));
    let begin = |gateway: &Gateway, session: &mut Session| {
        let mut ctx = gateway.new_ctx();
        let begun = gateway.early_request_filter(session, &mut ctx);
        begun.now_or_never().unwrap().unwrap();
        ctx
    };
    let judge = |gateway: &Gateway, session: &mut Session, ctx: &mut Box<Ctx>| {
        let answered = gateway.request_filter(session, ctx).now_or_never();
        assert!(!answered.unwrap().unwrap());
    };
    let mut ctx = begin(&gateway, &mut session);
    judge(&gateway, &mut session, &mut ctx);
    match name {
        "begin" => Box::new(move || {
            black_box(begin(&gateway, &mut session));
        }),
        "judge" => Box::new(move || judge(&gateway, &mut session, &mut ctx)),
        "log" => Box::new(move || {
            let ended = gateway.logging(&mut session, None, &mut ctx);
            ended.now_or_never().unwrap();
        }),
        other => panic!("no piece is called {other}"),
    }
}
