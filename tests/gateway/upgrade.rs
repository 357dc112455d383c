//! A new process takes the old one's place: no connection is refused, no request is lost, and where
//! nothing comes of it the old one goes on.

use std::{
    os::unix::fs::PermissionsExt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use rustix::net::{self as unix, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{
    World,
    client::{Call, Connection},
    eventually,
    gateway::{Process, Setup},
    h2c::H2c,
    http1::Answer,
};

#[tokio::test]
async fn a_new_process_takes_over_under_load() {
    let mut world = upgradable(|_| {}).await;
    let load = Load::start(&world).await;
    let mut slow = Connection::open(world.gateway.proxy).await;
    slow.send("POST /open HTTP/1.1\r\nHost: api.test\r\nContent-Length: 10\r\n\r\nslow ")
        .await;
    let mut successor = world.gateway.successor().await;
    world.gateway.signal("QUIT").await;
    eventually!(
        world
            .gateway
            .logged(&["the new process serves", &pid(&successor)]),
        "the old process leaves"
    );
    slow.send("body!").await;
    let response = slow.response().await.expect("the answer to a slow body");
    response.assert_status(200);
    assert_eq!(response.json()["body"], "slow body!");
    assert!(world.gateway.ended().await.success());
    load.more(200).await;
    load.stop().await;
    assert!(successor.logged(&[
        "took the old process's place",
        &format!("{}", world.gateway.pid())
    ]));
    world.gateway.status("/readyz").await.assert_status(200);
    world.passes(world.flights().bearer(&world.token())).await;
    successor.signal("TERM").await;
    assert!(successor.ended().await.success());
}

#[tokio::test]
async fn the_program_starts_its_own_successor_and_that_one_its_own() {
    let mut world = upgradable(|_| {}).await;
    let load = Load::start(&world).await;
    world.gateway.signal("USR2").await;
    let first = served_by_another(&world, 1).await;
    assert!(world.gateway.ended().await.success());
    load.more(200).await;
    first.signal("USR2");
    let second = served_by_another(&world, 2).await;
    assert_ne!(first.0, second.0);
    eventually!(!first.lives(), "the second of three has ended");
    load.more(200).await;
    load.stop().await;
    world.gateway.status("/readyz").await.assert_status(200);
    second.signal("TERM");
    eventually!(!second.lives(), "the last one has ended");
}

#[tokio::test]
async fn the_successor_is_what_now_stands_where_the_program_was_started_from() {
    let releases = tempfile::tempdir().unwrap();
    let current = releases.path().join("current");
    let built = env!("CARGO_BIN_EXE_dcr-gateway");
    std::os::unix::fs::symlink(built, &current).unwrap();
    let world = upgradable(|s| s.program.clone_from(&current)).await;
    let next = releases.path().join("next");
    std::fs::copy(built, &next).unwrap();
    std::fs::remove_file(&current).unwrap();
    std::os::unix::fs::symlink(&next, &current).unwrap();
    world.gateway.signal("USR2").await;
    let successor = served_by_another(&world, 1).await;
    let runs = std::fs::read_link(format!("/proc/{}/exe", successor.0)).unwrap();
    assert_eq!(runs, next);
}

#[tokio::test]
async fn http2_clients_are_told_to_go_and_find_the_new_process() {
    let mut world = upgradable(|_| {}).await;
    world
        .upstream
        .answer(Answer::new(200, "late").after(Duration::from_millis(500)));
    let mut client = H2c::open(world.gateway.proxy).await;
    let late = client.send(H2c::request("GET", "/open"), &[]);
    let upgrade = async {
        eventually!(world.upstream.hits() == 1, "the request is in flight");
        world.gateway.signal("USR2").await;
    };
    let (late, ()) = tokio::join!(late, upgrade);
    assert_eq!(late.expect("the answer").status, 200);
    let successor = served_by_another(&world, 1).await;
    eventually!(
        client
            .send(H2c::request("GET", "/open"), &[])
            .await
            .is_err(),
        "the client is told to go"
    );
    assert!(world.gateway.ended().await.success());
    let mut client = H2c::open(world.gateway.proxy).await;
    assert_eq!(
        client
            .send(H2c::request("GET", "/open"), &[])
            .await
            .unwrap()
            .status,
        200
    );
    drop(successor);
}

#[tokio::test]
async fn sessions_go_on_and_what_was_logged_out_stays_so() {
    // Without a configured key: the one that the first process made must come along.
    let world = upgradable(|s| {
        s.config.as_object_mut().unwrap().remove("session_keys");
        s.config["grace_period"] = json!("20s");
    })
    .await;
    let (kept, before, during, here) = (
        world.cookie().await,
        world.cookie().await,
        world.cookie().await,
        world.cookie().await,
    );
    logout(&mut Connection::open(world.gateway.proxy).await, &before).await;
    // Three connections to the old process: one keeps it alive, each other asks one thing more.
    world
        .upstream
        .answer(Answer::new(200, "late").after(Duration::from_secs(3)));
    let mut holding = Connection::open(world.gateway.proxy).await;
    holding.send(world.gateway.get("/open").bytes()).await;
    eventually!(world.upstream.hits() > 4, "the request is in flight");
    world.upstream.echo();
    let mut old = Connection::open(world.gateway.proxy).await;
    let mut older = Connection::open(world.gateway.proxy).await;
    for connection in [&mut old, &mut older] {
        let response = world.gateway.get("/open").send_on(connection).await;
        response.unwrap().assert_status(200);
    }
    world.gateway.signal("USR2").await;
    let _successor = served_by_another(&world, 1).await;
    world.passes(world.flights().cookie(&kept)).await;
    world
        .refuses(world.flights().cookie(&before), 401, "invalid_session")
        .await;
    // One that ends at the old process ends at the new one too, and the other way round.
    logout(&mut old, &during).await;
    eventually!(
        world.flights().cookie(&during).send().await.status == 401,
        "the new process knows of the logout at the old one"
    );
    logout(&mut Connection::open(world.gateway.proxy).await, &here).await;
    crate::harness::pass(Duration::from_millis(200)).await;
    let response = world.flights().cookie(&here).send_on(&mut older).await;
    response.unwrap().assert_problem(401, "invalid_session");
    holding
        .response()
        .await
        .expect("the late answer")
        .assert_status(200);
    world.passes(world.flights().cookie(&kept)).await;
}

#[tokio::test]
async fn without_anybody_waiting_the_old_process_goes_on() {
    let world = upgradable(|_| {}).await;
    world.gateway.signal("QUIT").await;
    eventually!(
        world
            .gateway
            .logged(&["not upgraded", "nobody waits there"]),
        "it says why"
    );
    still_serves(&world).await;
    // A socket that a dead process left behind is nobody either, and the next one takes its place.
    let path = world.gateway.directory.path().join("upgrade.sock");
    drop(listen(&path));
    world.gateway.signal("QUIT").await;
    eventually!(
        count(&world, &["not upgraded", "nobody waits there"]) == 2,
        "it says why again"
    );
    let successor = world.gateway.successor().await;
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut third = world.gateway.process(&["--upgrade"]);
    assert!(!third.ended().await.success(), "one waits already");
    assert!(third.logged(&["another new process waits there already"]));
    world.gateway.signal("QUIT").await;
    eventually!(
        world
            .gateway
            .logged(&["the new process serves", &pid(&successor)]),
        "it leaves"
    );
    assert!(!path.exists(), "the socket went with the wait");
}

#[tokio::test]
async fn without_a_socket_the_program_says_what_to_set() {
    let world = World::start().await;
    for signal in ["QUIT", "USR2"] {
        world.gateway.signal(signal).await;
    }
    eventually!(
        count(&world, &["not upgraded", "upgrade_socket: expected"]) >= 1,
        "it says why"
    );
    still_serves(&world).await;
    let mut successor = world.gateway.process(&["--upgrade"]);
    assert!(!successor.ended().await.success());
    assert!(successor.logged(&["upgrade_socket: expected", "RUNTIME_DIRECTORY"]));
}

#[tokio::test]
async fn the_directory_of_systemd_is_the_default_and_must_be_ours_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_str().unwrap().to_owned();
    let mut world = World::with(|s| {
        s.environment
            .push(("RUNTIME_DIRECTORY".to_owned(), format!("{path}:/nowhere")));
    })
    .await;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
    world.gateway.signal("USR2").await;
    eventually!(
        world
            .gateway
            .logged(&["not upgraded", "that no other may write to"]),
        "it says why"
    );
    still_serves(&world).await;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    world.gateway.signal("USR2").await;
    let _successor = served_by_another(&world, 1).await;
    assert!(world.gateway.ended().await.success());
}

#[tokio::test]
async fn a_faulty_configuration_disturbs_nobody() {
    let world = upgradable(|_| {}).await;
    world
        .gateway
        .overwrite("gateway.yaml", "listeners: [{address: nowhere}]\n");
    world.gateway.signal("USR2").await;
    eventually!(
        world.gateway.logged(&[
            "not upgraded",
            "the started program has ended: exit status 1"
        ]),
        "it says why"
    );
    assert!(
        world
            .gateway
            .logged(&["error: the configuration cannot be used"]),
        "in its own words"
    );
    still_serves(&world).await;
}

#[tokio::test]
async fn a_successor_without_applications_is_none() {
    let world = upgradable(|_| {}).await;
    world
        .gateway
        .overwrite("applications.yaml", "applications: [");
    world.gateway.signal("USR2").await;
    eventually!(
        world
            .gateway
            .logged(&["not upgraded", "the applications cannot be read"]),
        "it says why"
    );
    still_serves(&world).await;
}

#[tokio::test]
async fn a_successor_that_dies_or_hangs_up_midway_disturbs_nobody() {
    let world = upgradable(|_| {}).await;
    let load = Load::start(&world).await;
    // It waits for keys that do not come, and the old process waits for it.
    world.idp.hold();
    let mut successor = world.gateway.successor().await;
    world.gateway.signal("QUIT").await;
    eventually!(
        successor.logged(&["applications are live"]),
        "it sets itself up"
    );
    world.gateway.signal("QUIT").await;
    eventually!(
        world
            .gateway
            .logged(&["ignored: another upgrade is under way"]),
        "a second signal is ignored"
    );
    assert!(!world.gateway.logged(&["not upgraded"]));
    successor.kill().await;
    eventually!(
        world
            .gateway
            .logged(&["not upgraded", "the other process has gone"]),
        "it says why"
    );
    still_serves(&world).await;
    world.idp.release();
    // Speaking nonsense, another version, and nothing at all.
    let path = world.gateway.directory.path().join("upgrade.sock");
    for (said, why) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "speaks another language"),
        (
            &b"\0dcr-gateway upgrade\xff"[..],
            "speaks another version of the upgrade (255)",
        ),
        (&b""[..], "does not answer"),
    ] {
        let listener = listen(&path);
        world.gateway.signal("QUIT").await;
        let stranger = tokio::task::spawn_blocking(move || {
            let stream = unix::accept(&listener).unwrap();
            if !said.is_empty() {
                unix::send(&stream, said, unix::SendFlags::empty()).unwrap();
            }
            stream
        });
        let _stream = stranger.await.unwrap();
        let mut tries = 0;
        while !world.gateway.logged(&["not upgraded", why]) {
            tries += 1;
            assert!(tries < 100, "{why}");
            crate::harness::pass(Duration::from_millis(100)).await;
        }
        std::fs::remove_file(&path).unwrap();
        still_serves(&world).await;
    }
    load.more(50).await;
    load.stop().await;
    // And after all that it still can.
    world.gateway.signal("USR2").await;
    let _successor = served_by_another(&world, 1).await;
    world.passes(world.gateway.get("/open")).await;
}

#[tokio::test]
async fn listeners_may_come_and_go_with_an_upgrade_but_not_change_their_use() {
    let mut world = upgradable(|s| {
        s.config["listeners"] = json!([{"address": "127.0.0.1:0"}, {"address": "127.0.0.2:0"}]);
    })
    .await;
    // The real ports, so that the addresses can be told from one another.
    let addresses = addresses(&world);
    let (kept, gone) = (addresses[0].to_string(), addresses[1].to_string());
    let admin = world.gateway.admin.to_string();
    world.gateway.edit_config(|config| {
        config["listeners"] = json!([{"address": "127.0.0.1:0"}, {"address": "127.0.0.3:0"}]);
    });
    world.gateway.signal("USR2").await;
    let successor = served_by_another(&world, 1).await;
    assert!(world.gateway.ended().await.success());
    assert!(
        world
            .gateway
            .logged(&["no longer configured: not taken over", &gone])
    );
    world
        .passes(Call::new(kept.parse().unwrap(), "GET", "/open"))
        .await;
    let new = self::addresses(&world)
        .into_iter()
        .find(|a| a.ip().to_string() == "127.0.0.3");
    world
        .passes(Call::new(new.expect("a new address"), "GET", "/open"))
        .await;
    assert!(
        tokio::net::TcpStream::connect(&gone).await.is_err(),
        "nobody listens there"
    );
    // By its real port, which it has whatever was asked for: it may stay, but not be another's.
    let mut listeners = json!([{"address": kept}]);
    world
        .gateway
        .edit_config(|config| config["listeners"] = json!([{"address": admin}]));
    successor.signal("USR2");
    let why = "is the proxy listener, but admin in the old process";
    eventually!(world.gateway.logged(&["not upgraded", why]), "it says why");
    world
        .passes(Call::new(kept.parse().unwrap(), "GET", "/open"))
        .await;
    world
        .gateway
        .edit_config(|config| config["listeners"] = listeners.take());
    successor.signal("USR2");
    let _successor = served_by_another(&world, 2).await;
    world
        .passes(Call::new(kept.parse().unwrap(), "GET", "/open"))
        .await;
}

/// A world that may be upgraded.
async fn upgradable(change: impl FnOnce(&mut Setup)) -> World {
    World::with(|s| {
        s.config["upgrade_socket"] = json!("upgrade.sock");
        // Under load it would hide what matters.
        s.config["log"] = json!({"access": "off"});
        change(s);
    })
    .await
}

async fn still_serves(world: &World) {
    world.gateway.status("/readyz").await.assert_status(200);
    let call = world.flights().bearer(&world.token());
    call.send().await.assert_status(200);
}

async fn logout(connection: &mut Connection, cookie: &str) {
    let call = Call::new(([127, 0, 0, 1], 1).into(), "POST", "/-/logout").cookie(cookie);
    let response = call.send_on(connection).await.expect("an answer");
    response.assert_status(204);
}

fn pid(process: &Process) -> String {
    format!("\"pid\":{}", process.pid)
}

fn count(world: &World, texts: &[&str]) -> usize {
    let lines = world.gateway.log();
    lines
        .iter()
        .filter(|line| texts.iter().all(|text| line.contains(text)))
        .count()
}

/// Every address on which the proxy was said to listen.
fn addresses(world: &World) -> Vec<std::net::SocketAddr> {
    let lines = world.gateway.log();
    let values = lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let values = values.map(|value| value.get("fields").cloned().unwrap_or(value));
    values
        .filter(|f| f["message"] == "listening" && f["listener"] == "proxy")
        .map(|f| f["address"].as_str().unwrap().parse().unwrap())
        .collect()
}

/// Waits until so many upgrades of processes that write into one log have come to an end, and
/// gives the process that serves then.
async fn served_by_another(world: &World, upgrades: usize) -> Stray {
    let mut pid = None;
    let done = async {
        while pid.is_none() {
            let lines = world.gateway.log();
            let told = lines
                .iter()
                .filter(|line| line.contains("the new process serves"));
            let last = told.clone().next_back();
            let taken = lines
                .iter()
                .filter(|l| l.contains("took the old process's place"))
                .count();
            if told.count() == upgrades && taken == upgrades {
                let value: Value = serde_json::from_str(last.unwrap()).unwrap();
                let fields = value.get("fields").cloned().unwrap_or(value);
                pid = fields["pid"].as_i64();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let _ = tokio::time::timeout(Duration::from_secs(20), done).await;
    Stray(pid.expect("an upgrade within 20 s"))
}

/// A listening socket of the kind on which processes meet.
fn listen(path: &std::path::Path) -> rustix::fd::OwnedFd {
    let flags = SocketFlags::CLOEXEC;
    let socket =
        unix::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    unix::bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    unix::listen(&socket, 1).unwrap();
    socket
}

/// A process that the program has started, and that ends with this value.
struct Stray(i64);

impl Stray {
    fn signal(&self, name: &str) {
        let mut kill = std::process::Command::new("kill");
        let _ = kill
            .args(["-s", name, &self.0.to_string()])
            .stderr(std::process::Stdio::null())
            .status();
    }

    /// Whether it runs; one that has ended may still be listed until somebody asks how.
    fn lives(&self) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", self.0));
        status.is_ok_and(|text| !text.contains(") Z "))
    }
}

impl Drop for Stray {
    fn drop(&mut self) {
        if self.lives() {
            self.signal("KILL");
        }
    }
}

/// Clients that ask without a pause, half of them on kept connections.
struct Load {
    clients: JoinSet<()>,
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
}

impl Load {
    async fn start(world: &World) -> Self {
        let mut load = Self {
            clients: JoinSet::new(),
            stop: Arc::default(),
            answered: Arc::default(),
        };
        let token = world.token();
        for client in 0..40 {
            let call = world.flights().bearer(&token);
            let (stop, answered) = (Arc::clone(&load.stop), Arc::clone(&load.answered));
            load.clients.spawn(async move {
                let mut kept = None;
                while !stop.load(Relaxed) {
                    let mut connection = match kept.take() {
                        Some(connection) => connection,
                        None => Connection::open(call.address).await,
                    };
                    let response = call.send_on(&mut connection).await;
                    let response = response.expect("no request is lost");
                    response.assert_status(200);
                    let closes = response.header("connection").is_some_and(|c| c == "close");
                    if client % 2 == 0 && !closes {
                        kept = Some(connection);
                    }
                    answered.fetch_add(1, Relaxed);
                }
            });
        }
        load.more(80).await;
        load
    }

    /// Waits for so many more answers.
    async fn more(&self, answers: usize) {
        let enough = self.answered.load(Relaxed) + answers;
        eventually!(
            self.answered.load(Relaxed) >= enough,
            "{answers} more answers"
        );
    }

    /// Ends it; every client must have got every answer.
    async fn stop(mut self) {
        self.stop.store(true, Relaxed);
        while let Some(done) = self.clients.join_next().await {
            done.unwrap();
        }
    }
}
