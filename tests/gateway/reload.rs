//! A configuration that changes while requests are served.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::json;
use tokio::task::JoinHandle;

use crate::harness::{
    APP, SECRET, World, client::Call, client::Connection, eventually, idp::Endpoint, public,
};

#[tokio::test]
async fn an_edit_is_applied_and_drops_no_request() {
    let world = World::start().await;
    let upstream = &world.upstream;
    let load = Load::start(&[
        world.gateway.get("/open"),
        world.flights().bearer(&world.token()),
        world.flights().basic(APP, SECRET),
    ]);
    for n in 0..4 {
        let name = format!("new-{n}");
        let missing = world.gateway.get(&format!("/{name}")).send().await;
        missing.assert_problem(404, "no_route");
        world
            .gateway
            .reconfigure(|c| {
                c["apis"]
                    .as_array_mut()
                    .unwrap()
                    .push(public(&name, upstream))
            })
            .await;
        world
            .gateway
            .get(&format!("/{name}"))
            .send()
            .await
            .assert_status(200);
    }
    load.stop().await;
}

#[tokio::test]
async fn a_hang_up_signal_reloads() {
    let world = World::start().await;
    let load = Load::start(&[world.gateway.get("/open")]);
    let before = world.gateway.reloads("configuration", "applied").await;
    world.gateway.signal("HUP").await;
    eventually!(
        world.gateway.reloads("configuration", "applied").await > before,
        "the signal is heard"
    );
    world
        .flights()
        .bearer(&world.token())
        .send()
        .await
        .assert_status(200);
    load.stop().await;
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_says_so() {
    let world = World::start().await;
    for (case, text) in [
        ("no YAML", "apis: [\n".to_owned()),
        ("unknown key", "surprise: 1\n".to_owned()),
        ("nothing", String::new()),
    ] {
        let before = world.gateway.reloads("configuration", "refused").await;
        world.gateway.overwrite("gateway.yaml", &text);
        eventually!(
            world.gateway.reloads("configuration", "refused").await > before,
            "{case}: counted"
        );
        eventually!(
            world.gateway.logged(&["gateway.yaml"]),
            "{case}: the log names the file"
        );
        world.passes(world.flights().bearer(&world.token())).await;
    }
    let before = world.gateway.reloads("configuration", "refused").await;
    world
        .gateway
        .edit_config(|c| c["apis"][0]["auth_strategies"] = json!(["nobodys"]));
    eventually!(
        world.gateway.reloads("configuration", "refused").await > before,
        "an unknown strategy is refused"
    );
    world.passes(world.flights().bearer(&world.token())).await;
    world
        .gateway
        .reconfigure(|c| c["apis"][0]["auth_strategies"] = json!(["partners"]))
        .await;
}

#[tokio::test]
async fn a_swapped_symlink_is_noticed() {
    let world = World::start().await;
    let at = |name: &str| world.gateway.directory.path().join(name);
    // As Kubernetes mounts a secret: the file is a link into a directory that is a link itself.
    let mut applications = json!({"applications": [crate::harness::application(APP)]});
    for (version, status) in [("v1", "active"), ("v2", "suspended")] {
        applications["applications"][0]["status"] = json!(status);
        std::fs::create_dir(at(version)).unwrap();
        std::fs::write(
            at(version).join("applications.yaml"),
            applications.to_string(),
        )
        .unwrap();
    }
    std::os::unix::fs::symlink("v1", at("data")).unwrap();
    std::os::unix::fs::symlink("data/applications.yaml", at("linked")).unwrap();
    std::fs::rename(at("linked"), at("applications.yaml")).unwrap();
    world.passes(world.flights().bearer(&world.token())).await;
    std::os::unix::fs::symlink("v2", at("data.new")).unwrap();
    std::fs::rename(at("data.new"), at("data")).unwrap();
    eventually!(
        world.flights().bearer(&world.token()).send().await.code() == "application_suspended",
        "the swap is noticed"
    );
}

#[tokio::test]
async fn a_file_that_the_configuration_names_is_watched_too() {
    let world = World::start().await;
    let cookie = world.cookie().await;
    world
        .gateway
        .overwrite("secrets/session", &crate::harness::session_key(42));
    eventually!(
        world.flights().cookie(&cookie).send().await.code() == "invalid_session",
        "the new key is in force"
    );
}

#[tokio::test]
async fn unchanged_strategies_keep_their_caches_and_changed_ones_do_not() {
    let world = World::start().await;
    let upstream = &world.upstream;
    world.passes(world.flights().basic(APP, SECRET)).await;
    world
        .gateway
        .reconfigure(|c| {
            c["apis"]
                .as_array_mut()
                .unwrap()
                .push(public("more", upstream))
        })
        .await;
    world.passes(world.flights().basic(APP, SECRET)).await;
    assert_eq!(world.idp.hits(Endpoint::Token), 1);
    world
        .gateway
        .reconfigure(|c| c["auth_strategies"][0]["token_request"] = json!({"scope": "read"}))
        .await;
    world.passes(world.flights().basic(APP, SECRET)).await;
    assert_eq!(world.idp.hits(Endpoint::Token), 2);
}

#[tokio::test]
async fn a_change_of_listeners_is_warned_of_and_the_rest_applies() {
    let world = World::start().await;
    world
        .gateway
        .reconfigure(|c| {
            c["listeners"]
                .as_array_mut()
                .unwrap()
                .push(json!({"address": "127.0.0.1:1"}));
            c["apis"].as_array_mut().unwrap().pop();
        })
        .await;
    world
        .refuses(world.gateway.get("/open"), 404, "no_route")
        .await;
    eventually!(
        world.gateway.logged(&["listeners"]),
        "the log says that listeners stay"
    );
}

/// Requests that never pause, each kind on a connection of its own.
struct Load {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<usize>>,
}

impl Load {
    fn start(calls: &[Call]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = calls.iter().map(|call| {
            let (call, stop) = (call.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut connection = Connection::open(call.address).await;
                let mut sent = 0;
                while !stop.load(Ordering::Relaxed) {
                    let response = call.send_on(&mut connection).await;
                    response.expect("no request is dropped").assert_status(200);
                    sent += 1;
                }
                sent
            })
        });
        Self {
            tasks: tasks.collect(),
            stop,
        }
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            assert!(task.await.unwrap() > 0, "load was put on the gateway");
        }
    }
}
