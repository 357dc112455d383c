//! Does a flood of tokens that are all new hold anybody up, and does memory stay within bounds?
//!
//! A caller with ever new tokens, and the identity provider that signed them: for `scale.sh`, which
//! starts the gateway and the bare proxy that this program calls. `cargo test --benches` only sends
//! a few tokens to itself.
//!
//! ```text
//! tokens IDP GATEWAY BARE ADMIN PID TOKENS CACHE
//! ```
//!
//! Fixed: tokens signed with Ed25519 (RSA would take longer to sign than the gateway to verify), of
//! one client and good for an hour; kept connections, each with one request under way. A round
//! sends new tokens to the gateway, then as many requests to the bare proxy; the same moment of a
//! shared machine meets both.
//!
//! How to read it: *longest* is the slowest request of a round. What the machine takes away shows in
//! both columns; what the gateway's memory of tokens does shows in its own alone.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a bench that cannot be set up has nothing to measure; it is what owns the clock here"
)]

mod mint;

use std::{
    env, fs,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::{Router, routing::get};
use jsonwebtoken::Algorithm;
use mint::{ISSUER, Key};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

/// Connections to each proxy.
const CONNECTIONS: usize = 4;

/// Tokens in a round: some seconds' worth.
const ROUND: usize = 10_000;

/// A request that takes longer has been held up.
const STALL: Duration = Duration::from_millis(10);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // Cargo adds `--bench` at the end.
    let arguments: Vec<String> = env::args().skip(1).filter(|a| a != "--bench").collect();
    let [idp, gateway, bare, admin, pid, tokens, cache] = &arguments[..] else {
        return trial().await;
    };
    let key = Arc::new(Key::new(Algorithm::EdDSA));
    serve(idp.parse().unwrap(), &key).await;
    let caller = Caller {
        key,
        gateway: gateway.parse().unwrap(),
        bare: bare.parse().unwrap(),
        admin: admin.parse().unwrap(),
        pid: pid.parse().unwrap(),
        cache: cache.parse().unwrap(),
    };
    let sound = caller.flood(tokens.parse().unwrap()).await;
    std::process::exit(i32::from(!sound));
}

/// Whether this program can be its own upstream and count.
async fn trial() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/flights", get(|| async { "hello\n" }));
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    let key = Key::new(Algorithm::EdDSA);
    let tokens = [key.token(now(), 0), key.token(now(), 1)];
    assert_ne!(tokens[0], tokens[1]);
    let told = send(address, &tokens).await;
    assert_eq!((told.taken.len(), told.refused), (2, 0));
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

/// The identity provider: metadata and keys.
async fn serve(address: SocketAddr, key: &Key) {
    let listener = TcpListener::bind(address).await.unwrap();
    let metadata = json!({"issuer": ISSUER, "jwks_uri": format!("http://{address}/jwks")});
    let (metadata, set) = (metadata.to_string(), key.set());
    let router = Router::new()
        .route("/metadata", get(|| async { metadata }))
        .route("/jwks", get(|| async { set }));
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
}

struct Caller {
    key: Arc<Key>,
    gateway: SocketAddr,
    bare: SocketAddr,
    admin: SocketAddr,
    pid: u32,
    cache: usize,
}

impl Caller {
    /// Sends so many new tokens, and tells of each tenth; whether all was as it has to be.
    async fn flood(&self, tokens: usize) -> bool {
        let first = [self.key.token(now(), 0)];
        let begun = Instant::now();
        while send(self.gateway, &first).await.refused > 0 {
            assert!(begun.elapsed() < Duration::from_secs(20), "nothing passes");
            sleep(Duration::from_millis(50)).await;
        }
        println!(
            "{:>10} {:>10} {:>8} {:>22} {:>22} {:>14}",
            "tokens", "remembered", "MiB", "gateway longest ms", "bare longest ms", "over 10 ms"
        );
        let rounds = tokens.div_ceil(ROUND);
        let (mut ours, mut bare) = (Figures::default(), Figures::default());
        let (mut most, mut full) = (0, 0);
        let mut last: Vec<Vec<String>> = Vec::new();
        for round in 1..=rounds {
            let now = now();
            let new: Vec<String> = (0..ROUND)
                .map(|n| self.key.token(now, round * ROUND + n))
                .collect();
            ours.add(send(self.gateway, &new).await);
            bare.add(send(self.bare, &new).await);
            last.push(new);
            if last.len() > self.cache / ROUND / 2 {
                last.remove(0);
            }
            if round * ROUND == 2 * self.cache {
                full = self.memory();
            }
            if round % rounds.div_ceil(10) == 0 || round == rounds {
                let remembered = self.metric("dcr_cache_entries").await;
                most = most.max(remembered);
                println!(
                    "{:>10} {remembered:>10} {:>8.1} {:>22} {:>22} {:>14}",
                    round * ROUND,
                    self.memory() as f64 / 1024.0,
                    ours.longest(),
                    bare.longest(),
                    format!("{}, {}", ours.stalls, bare.stalls),
                );
            }
        }
        let before = self.metric("dcr_cache_hits_total").await;
        let again = last.concat();
        ours.add(send(self.gateway, &again).await);
        let known = self.metric("dcr_cache_hits_total").await - before;
        let grown = (self.memory() as f64 - full as f64) / 1024.0;
        println!(
            "{} of the newest {} were remembered; {} refused; from the {}th to the end memory grew by {grown:.1} MiB",
            known,
            again.len(),
            ours.refused,
            2 * self.cache,
        );
        let checks = [
            ("a request was refused", ours.refused == 0),
            ("the newest were not remembered", known == again.len()),
            ("more is remembered than configured", most <= self.cache),
            (
                "memory grew by a tenth",
                tokens <= 2 * self.cache || grown < 0.1 * full as f64 / 1024.0,
            ),
            (
                "a round's longest request takes 10 ms more than bare's",
                ours.usual() <= bare.usual() + STALL,
            ),
            (
                "stalls beside bare's",
                ours.stalls <= 2 * bare.stalls + rounds / 10,
            ),
        ];
        for (fault, _) in checks.iter().filter(|(_, sound)| !sound) {
            eprintln!("tokens: {fault}");
        }
        checks.iter().all(|(_, sound)| *sound)
    }

    /// The sum of the gateway's metric for tokens.
    async fn metric(&self, name: &str) -> usize {
        let mut connection = TcpStream::connect(self.admin).await.unwrap();
        let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.unwrap();
        let start = format!("{name}{{cache=\"tokens\"");
        let lines = answer.lines().filter(|line| line.starts_with(&start));
        lines
            .map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap())
            .sum()
    }

    /// KiB that the kernel counts for the gateway now.
    fn memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        line.unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap()
    }
}

/// What became of a round's requests.
#[derive(Default)]
struct Told {
    taken: Vec<Duration>,
    refused: usize,
}

/// What became of all rounds.
#[derive(Default)]
struct Figures {
    /// The longest of each round.
    longest: Vec<Duration>,
    stalls: usize,
    refused: usize,
}

impl Figures {
    fn add(&mut self, told: Told) {
        self.longest
            .push(told.taken.iter().max().copied().unwrap_or_default());
        self.stalls += told.taken.iter().filter(|taken| **taken > STALL).count();
        self.refused += told.refused;
    }

    /// The median of the rounds' longest.
    fn usual(&self) -> Duration {
        let mut sorted = self.longest.clone();
        sorted.sort();
        sorted[sorted.len() / 2]
    }

    /// Of the rounds' longest the median and the last of all.
    fn longest(&self) -> String {
        let most = self.longest.iter().max().copied().unwrap_or_default();
        let millis = |taken: Duration| taken.as_secs_f64() * 1e3;
        format!("{:.2} (most {:.1})", millis(self.usual()), millis(most))
    }
}

/// Sends a request with each token, over a few connections.
async fn send(to: SocketAddr, tokens: &[String]) -> Told {
    let mut connections = JoinSet::new();
    for part in tokens.chunks(tokens.len().div_ceil(CONNECTIONS)) {
        let requests: Vec<String> = part
            .iter()
            .map(|token| {
                format!("GET /flights HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n")
            })
            .collect();
        connections.spawn(async move {
            let mut told = Told::default();
            let mut connection = TcpStream::connect(to).await.unwrap();
            connection.set_nodelay(true).unwrap();
            let mut answer = Vec::with_capacity(4_096);
            for request in requests {
                let begun = Instant::now();
                connection.write_all(request.as_bytes()).await.unwrap();
                answer.clear();
                // Whoever refuses says why in JSON.
                while !answer.ends_with(b"hello\n") && !answer.ends_with(b"}") {
                    assert!(
                        connection.read_buf(&mut answer).await.unwrap() > 0,
                        "closed"
                    );
                }
                told.taken.push(begun.elapsed());
                told.refused += usize::from(!answer.starts_with(b"HTTP/1.1 200 "));
            }
            told
        });
    }
    let mut all = Told::default();
    while let Some(told) = connections.join_next().await {
        let told = told.unwrap();
        all.taken.extend(told.taken);
        all.refused += told.refused;
    }
    all
}
