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
//! sends new tokens to the gateway, then requests to the bare proxy for as long as that took.
//!
//! How to read it: *longest* is the slowest request of a turn. What the machine takes away for a
//! moment falls into a turn of either, with the same chance; what the gateway's memory of tokens
//! does falls into the gateway's alone. So each turn is compared with the two of the other that
//! stand beside it, and *above* counts those whose longest request took 10 ms more than both. A
//! turn is above by chance too: bare's tell how often.

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

/// Bare's requests are sent in parts, so that its turn ends when it has been long enough.
const PART: usize = 500;

/// A request that takes so much longer than those of the other proxy has been held up.
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
    assert!(
        caller.cache >= 3 * ROUND,
        "a third of the memory is whole rounds"
    );
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
    let turns = Turns {
        gateway: [30, 1, 30, 1].map(Duration::from_millis).to_vec(),
        bare: [1, 15, 19, 40].map(Duration::from_millis).to_vec(),
    };
    assert_eq!(turns.above(), [Duration::from_millis(30)]);
    assert!(turns.bare_above().is_empty());
    assert!(no_more_than_by_chance(4, 0) && !no_more_than_by_chance(5, 0));
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
            "{:>10} {:>10} {:>8} {:>22} {:>22} {:>8}",
            "tokens", "remembered", "MiB", "gateway longest ms", "bare longest ms", "above"
        );
        let rounds = tokens.div_ceil(ROUND);
        let mut turns = Turns::default();
        let mut refused = 0;
        let (mut most, mut full) = (0, 0);
        let mut last: Vec<Vec<String>> = Vec::new();
        for round in 1..=rounds {
            let now = now();
            let new: Vec<String> = (0..ROUND)
                .map(|n| self.key.token(now, round * ROUND + n))
                .collect();
            let begun = Instant::now();
            let ours = send(self.gateway, &new).await;
            let time = begun.elapsed();
            refused += ours.refused;
            turns.gateway.push(ours.longest());
            turns.bare.push(self.rest(&new, time).await);
            last.push(new);
            if last.len() > self.cache / ROUND / 3 {
                last.remove(0);
            }
            if round * ROUND == 2 * self.cache {
                full = self.memory();
            }
            let remembered = self.metric("dcr_cache_entries").await;
            most = most.max(remembered);
            if round % rounds.div_ceil(10) == 0 || round == rounds {
                println!(
                    "{:>10} {remembered:>10} {:>8.1} {:>22} {:>22} {:>8}",
                    round * ROUND,
                    self.memory() as f64 / 1024.0,
                    tell(&turns.gateway),
                    tell(&turns.bare),
                    format!("{}, {}", turns.above().len(), turns.bare_above().len()),
                );
            }
        }
        let before = self.metric("dcr_cache_hits_total").await;
        let again = last.concat();
        refused += send(self.gateway, &again).await.refused;
        let known = self.metric("dcr_cache_hits_total").await - before;
        let grown = (self.memory() as f64 - full as f64) / 1024.0;
        println!(
            "{known} of the newest {} were remembered, at most {most} of all; {refused} refused; from the {}th to the end memory grew by {grown:.1} MiB",
            again.len(),
            2 * self.cache,
        );
        let (above, by_chance) = (turns.above(), turns.bare_above());
        println!(
            "the longest request took 10 ms more than both beside it in {} of the gateway's {} turns (most {}) and in {} of bare's (most {})",
            above.len(),
            rounds - 1,
            millis(above.iter().max()),
            by_chance.len(),
            millis(by_chance.iter().max()),
        );
        let checks = [
            ("a request was refused", refused == 0),
            ("the newest were not remembered", known == again.len()),
            ("more is remembered than configured", most <= self.cache),
            (
                "memory grew by a tenth",
                tokens <= 2 * self.cache || grown < 0.1 * full as f64 / 1024.0,
            ),
            (
                "the gateway's turns are above bare's more often than by chance",
                no_more_than_by_chance(above.len(), by_chance.len()),
            ),
        ];
        for (fault, _) in checks.iter().filter(|(_, sound)| !sound) {
            eprintln!("tokens: {fault}");
        }
        checks.iter().all(|(_, sound)| *sound)
    }

    /// Sends to the bare proxy for so long; its longest request.
    async fn rest(&self, tokens: &[String], time: Duration) -> Duration {
        let begun = Instant::now();
        let mut longest = Duration::ZERO;
        for part in tokens.chunks(PART).cycle() {
            longest = longest.max(send(self.bare, part).await.longest());
            if begun.elapsed() >= time {
                break;
            }
        }
        longest
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

impl Told {
    fn longest(&self) -> Duration {
        self.taken.iter().max().copied().unwrap_or_default()
    }
}

/// The longest request of each turn: the gateway's, bare's, the gateway's and so on.
#[derive(Default)]
struct Turns {
    gateway: Vec<Duration>,
    bare: Vec<Duration>,
}

impl Turns {
    /// The gateway's longest where they took [`STALL`] more than both of bare's beside them. The
    /// first turn has none before it.
    fn above(&self) -> Vec<Duration> {
        above(self.gateway.iter().skip(1), &self.bare)
    }

    /// The same of bare's, but for the last turn, which has none after it.
    fn bare_above(&self) -> Vec<Duration> {
        above(self.bare.iter(), &self.gateway)
    }
}

/// Those of `turns` that are a stall above both of the others beside them.
fn above<'a>(turns: impl Iterator<Item = &'a Duration>, others: &[Duration]) -> Vec<Duration> {
    turns
        .zip(others.windows(2))
        .filter(|(longest, beside)| **longest > beside[0].max(beside[1]) + STALL)
        .map(|(longest, _)| *longest)
        .collect()
}

/// Whether chance, which gives each stall to either side, explains how many are on ours: up to two
/// standard deviations of the difference, which it exceeds there in one run of forty.
fn no_more_than_by_chance(ours: usize, others: usize) -> bool {
    ours as f64 <= others as f64 + 2.0 * ((ours + others) as f64).sqrt()
}

/// The median of the longest, and the longest of all, in milliseconds.
fn tell(longest: &[Duration]) -> String {
    let mut sorted = longest.to_vec();
    sorted.sort();
    format!(
        "{} (most {})",
        millis(sorted.get(sorted.len() / 2)),
        millis(sorted.last())
    )
}

fn millis(taken: Option<&Duration>) -> String {
    taken.map_or("-".to_owned(), |taken| {
        format!("{:.1}", taken.as_secs_f64() * 1e3)
    })
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
