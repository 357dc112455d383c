//! Everything is replaced, and everything around fails, while 72 callers go on: no verdict is wrong,
//! and no request is lost but those of the upstream that failed.
//!
//! One round of all disturbances takes part in every run of the tests. `benches/chaos.sh` repeats
//! them for ten minutes (`CHAOS_SECONDS`); `benches/soak.sh` repeats them all but the last, for twenty
//! (`SOAK_SECONDS`), and looks whether the process grows.

mod callers;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle, time::Instant};

use crate::harness::{
    APP, SECRET, World, add, application,
    certificates::{Authority, Pair},
    eventually,
    gateway::{Process, Setup, footprint, runs, signal},
    http1::{self, Answer, Manner},
    idp::{Idp, Overlap},
    keys::Alg,
    pass, session_key,
};
use callers::{Fact, Field, GUESSED, SUSPENDED, TOGGLED, Tally};

/// Resident memory in KiB, and open descriptors.
type Footprint = (u64, usize);

/// How long each fault lasts, and the peace after it.
const FAULT: Duration = Duration::from_millis(700);

/// An upstream that keeps nothing of what it gets, can be told how to answer, and can stop.
struct Site {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    task: Option<JoinHandle<()>>,
}

impl Site {
    async fn start() -> Self {
        // Not 127.0.0.1: nobody else may get the port while it is stopped.
        let listener = TcpListener::bind("127.0.0.3:0").await.unwrap();
        let mut site = Self {
            address: listener.local_addr().unwrap(),
            answer: Arc::new(Mutex::new(good())),
            task: None,
        };
        site.serve(listener);
        site
    }

    fn serve(&mut self, listener: TcpListener) {
        let answer = Arc::clone(&self.answer);
        let handler: http1::Handler =
            Arc::new(move |_| Box::pin(std::future::ready(answer.lock().unwrap().clone())));
        self.task = Some(http1::serve(listener, handler));
    }

    fn say(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// Ends it with all its connections; the port refuses from then on.
    async fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
    }

    async fn resume(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.serve(listener);
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

fn good() -> Answer {
    Answer::json(200, &json!({"from": "the upstream"}))
}

/// What the disturbances work on.
struct Story {
    field: Arc<Field>,
    faulted: Site,
    pair: Site,
    certificates: [Pair; 2],
    /// What took the first process's place.
    successor: Option<Process>,
    turn: usize,
}

/// The disturbances of a round, in order.
const ROUND: [&str; 13] = [
    "keys are rotated",
    "an application is suspended",
    "the upstream hangs up",
    "the upstream stops",
    "one of two targets stops",
    "the identity provider is down",
    "the certificate is renewed",
    "the configuration is changed",
    "the session keys are rotated",
    "the configuration is broken",
    "the upstream breaks off",
    "the application is resumed",
    "the binary is replaced",
];

/// The session keys: one that stays, and the newest three. A key goes with the third rotation after
/// its own; callers use no cookie for so long.
const KEYS: [&str; 4] = [
    "secrets/session",
    "secrets/newer-0",
    "secrets/newer-1",
    "secrets/newer-2",
];

/// What a process may hold more at the end than once it was warm. What callers have under way at one
/// moment or another differs by some connections, each with its buffers.
const GROWTH: (u64, usize) = (8 * 1024, 32);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_verdict_is_wrong_and_no_request_lost_whatever_happens() {
    disturb_for(seconds("CHAOS_SECONDS").unwrap_or_default(), &ROUND).await;
}

/// One and the same process all the time: what it does not give back shows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "nothing can grow in a round, which is played above: benches/soak.sh"]
async fn nothing_grows_whatever_happens() {
    let time = seconds("SOAK_SECONDS").expect("SOAK_SECONDS is set");
    let (last, others) = ROUND.split_last().unwrap();
    assert_eq!(*last, "the binary is replaced");
    let (warm, end) = disturb_for(time, others).await;
    assert!(end.0 <= warm.0 + GROWTH.0, "KiB: {} and {}", warm.0, end.0);
    let descriptors = (warm.1, end.1);
    assert!(end.1 <= warm.1 + GROWTH.1, "descriptors: {descriptors:?}");
}

fn seconds(name: &str) -> Option<Duration> {
    let text = std::env::var(name).ok()?;
    Some(Duration::from_secs(text.parse().expect("seconds")))
}

/// Repeats the disturbances; the process's footprint when it was warm, after a tenth of the time or
/// a round, and at the end.
async fn disturb_for(time: Duration, disturbances: &[&str]) -> (Footprint, Footprint) {
    let (mut story, steady) = Story::begin().await;
    let callers = callers::start(&story.field);
    pass(FAULT).await;
    let mut warm = None;
    let started = Instant::now();
    let mut rounds = 0;
    while rounds == 0 || started.elapsed() < time {
        for disturbance in disturbances {
            story.disturb(disturbance).await;
            pass(FAULT).await;
            let wrong = story.field.tally.wrong();
            assert!(
                wrong.is_empty(),
                "round {rounds}, {disturbance}: {wrong:#?}"
            );
            let lost = story.field.tally.lost();
            assert!(lost.is_empty(), "round {rounds}, {disturbance}: {lost:#?}");
        }
        rounds += 1;
        if started.elapsed() >= time / 10 {
            warm.get_or_insert_with(|| footprint(story.pid()));
        }
    }
    let (warm, end) = (warm.unwrap(), footprint(story.pid()));
    story.field.over.store(true, SeqCst);
    for caller in callers {
        caller.await.expect("a caller has not panicked");
    }
    let count = rounds * disturbances.len();
    report(&story.field.tally, count, started.elapsed(), warm, end);
    let tally = &story.field.tally;
    assert!(tally.wrong().is_empty() && tally.lost().is_empty());
    drop(steady);
    (warm, end)
}

fn report(tally: &Tally, disturbances: usize, time: Duration, warm: Footprint, end: Footprint) {
    let counts = tally.counts();
    let requests: u64 = counts.values().sum();
    println!(
        "{requests} requests from 72 callers in {} s, {disturbances} disturbances",
        time.as_secs()
    );
    for ((role, outcome), count) in &counts {
        println!("{count:>9}  {:<10} {outcome}", format!("{role:?}"));
    }
    let longest = tally.longest();
    println!("longest answers: {longest:.1?}");
    println!(
        "wrong {}, lost {}, sent again after GOAWAY {}",
        tally.wrong().len(),
        tally.lost().len(),
        tally.refused_streams.load(SeqCst)
    );
    println!(
        "memory {} KiB when warm, {} KiB at last; descriptors {} and {}",
        warm.0, end.0, warm.1, end.1
    );
}

impl Story {
    async fn begin() -> (Self, Site) {
        let authority = Authority::new();
        let certificates = [
            authority.issue(&["api.test"]),
            authority.issue(&["api.test"]),
        ];
        let (steady, pair, faulted) = (
            Site::start().await,
            Site::start().await,
            Site::start().await,
        );
        let idp = Idp::start().await;
        for (id, secret) in [(APP, SECRET), (GUESSED, "a-secret-of-its-own")] {
            idp.client(id, secret);
        }
        let world = World::around(idp, |setup| {
            configure(setup, &certificates[0], [&steady, &pair, &faulted]);
        })
        .await;
        let addresses = world.gateway.addresses("proxy");
        let field = Arc::new(Field {
            plain: addresses[0],
            tls: addresses[1],
            authority,
            world,
            suspended: Fact::default(),
            halved: Fact::default(),
            idp_down: Fact::default(),
            rotations: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            tally: Tally::default(),
        });
        let story = Self {
            field,
            faulted,
            pair,
            certificates,
            successor: None,
            turn: 0,
        };
        (story, steady)
    }

    async fn disturb(&mut self, what: &str) {
        self.turn += 1;
        let turn = self.turn;
        let field = Arc::clone(&self.field);
        match what {
            "keys are rotated" => {
                let world = &field.world;
                world.idp.rotate(Alg::Rs256, Overlap::Keep);
                // Nobody could judge its tokens if the identity provider went down before the
                // gateway has seen one.
                let token = world.idp.token(APP).build();
                while world
                    .gateway
                    .get("/steady")
                    .bearer(&token)
                    .send()
                    .await
                    .status
                    != 200
                {
                    pass(Duration::from_millis(100)).await;
                }
            }
            "an application is suspended" => self.suspend(true).await,
            "the application is resumed" => self.suspend(false).await,
            "the upstream hangs up" => self.fault(Manner::HangUp).await,
            "the upstream breaks off" => self.fault(Manner::Truncated).await,
            "the upstream stops" => {
                self.faulted.stop().await;
                pass(FAULT).await;
                self.faulted.resume().await;
            }
            "one of two targets stops" => {
                field.halved.change(true, self.pair.stop()).await;
                pass(FAULT).await;
                field.halved.change(false, self.pair.resume()).await;
            }
            "the identity provider is down" => {
                let idp = &field.world.idp;
                field.idp_down.change(true, async { idp.down() }).await;
                pass(FAULT).await;
                // For a while after, its endpoints are still left alone.
                idp.up();
                let rested = async {
                    let wrong = || {
                        self.field
                            .world
                            .gateway
                            .get("/steady")
                            .basic(GUESSED, "wrong")
                    };
                    while wrong().send().await.status == 503 {
                        pass(Duration::from_millis(100)).await;
                    }
                };
                field.idp_down.change(false, rested).await;
            }
            "the certificate is renewed" => {
                let pair = &self.certificates[turn % 2];
                self.field
                    .world
                    .gateway
                    .overwrite("0.crt", &pair.certificate);
                self.field.world.gateway.overwrite("0.key", &pair.key);
            }
            "the configuration is changed" => {
                // Of a changed strategy nothing is remembered; sessions stay.
                let change = |config: &mut Value| {
                    let leeway = format!("{}s", 20 + turn % 10);
                    config["auth_strategies"][0]["bearer"] = json!({"leeway": leeway});
                    config["limits"] = json!({"header_count": 50 + turn % 50});
                };
                self.field.world.gateway.reconfigure(change).await;
            }
            "the session keys are rotated" => {
                let gateway = &self.field.world.gateway;
                let rotation = field.rotations.fetch_add(1, SeqCst);
                let newest = KEYS[1 + rotation % 3];
                let byte = u8::try_from(10 + rotation % 200).unwrap();
                gateway.overwrite(newest, &session_key(byte));
                for sealing in [newest, KEYS[0]] {
                    gateway
                        .reconfigure(|config| config["session_keys"] = ring(sealing))
                        .await;
                    pass(FAULT).await;
                }
            }
            "the configuration is broken" => {
                let gateway = &self.field.world.gateway;
                gateway.edit_config(|config| config["apis"][0]["acess"] = json!("registered"));
                pass(FAULT).await;
                let mend = |config: &mut Value| {
                    config["apis"][0].as_object_mut().unwrap().remove("acess");
                };
                gateway.edit_config(mend);
            }
            "the binary is replaced" => self.upgrade().await,
            other => panic!("what is {other:?}?"),
        }
    }

    /// The process that serves.
    fn pid(&self) -> u32 {
        let successor = self.successor.as_ref().map(|process| process.pid);
        successor.unwrap_or_else(|| self.field.world.gateway.pid())
    }

    async fn upgrade(&mut self) {
        let old = self.pid();
        let successor = self.field.world.gateway.successor().await;
        signal(old, "QUIT").await;
        eventually!(
            successor.logged(&["took the old process's place"]),
            "the new process serves"
        );
        eventually!(!runs(old), "the old process has ended");
        self.successor = Some(successor);
    }

    async fn suspend(&self, suspended: bool) {
        let status = if suspended { "suspended" } else { "active" };
        let change = |file: &mut Value| {
            for entry in file["applications"].as_array_mut().unwrap() {
                if entry["client_id"] == TOGGLED {
                    entry["status"] = json!(status);
                }
            }
        };
        let applied = self.field.world.gateway.register(change);
        self.field.suspended.change(suspended, applied).await;
    }

    async fn fault(&self, manner: Manner) {
        self.faulted.say(good().manner(manner));
        pass(FAULT).await;
        self.faulted.say(Answer::new(500, "out of order"));
        pass(FAULT).await;
        self.faulted.say(good());
    }
}

/// All keys, the one that seals first.
fn ring(sealing: &str) -> Value {
    let mut files = KEYS;
    files.sort_by_key(|file| *file != sealing);
    files.iter().map(|file| json!({"file": file})).collect()
}

fn configure(setup: &mut Setup, pair: &Pair, [steady, half, faulted]: [&Site; 3]) {
    for (name, content) in [("0.crt", &pair.certificate), ("0.key", &pair.key)] {
        setup.files.push((name.to_owned(), content.clone()));
    }
    for (byte, name) in (1..).zip(&KEYS[1..]) {
        setup.files.push(((*name).to_owned(), session_key(byte)));
    }
    let config = &mut setup.config;
    config["session_keys"] = ring(KEYS[0]);
    config["listeners"] = json!([
        {"address": "127.0.0.1:0"},
        {"address": "127.0.0.1:0",
         "tls": {"certificates": [{"certificate": "0.crt", "key": "0.key"}]}},
    ]);
    config["log"] = json!({"access": "off"});
    config["upgrade_socket"] = json!("upgrade.sock");
    config["identity_providers"][0]["jwks"] = json!({"unknown_kid_interval": "100ms"});
    // The stand-in shares its threads with all callers, and a busy machine makes it slow.
    config["identity_providers"][0]["timeout"] = json!("30s");
    let guarded = |name: &str, sites: &[&Site]| {
        let targets: Vec<Value> = sites
            .iter()
            .map(|site| json!({"address": site.address.to_string()}))
            .collect();
        json!({
            "name": name, "auth_strategies": ["partners"], "routes": [{"paths": [format!("/{name}")]}],
            "upstream": {"targets": targets},
        })
    };
    config["apis"] = json!([
        guarded("steady", &[steady]),
        guarded("pair", &[steady, half]),
        guarded("faulted", &[faulted]),
    ]);
    let rights = json!({"steady": "approved", "pair": "approved", "faulted": "approved"});
    setup.applications = json!({"applications": []});
    for client in [APP, SUSPENDED, TOGGLED, GUESSED] {
        let mut entry = application(client);
        entry["registrations"] = rights.clone();
        if client == SUSPENDED {
            entry["status"] = json!("suspended");
        }
        add(&mut setup.applications, entry);
    }
}
