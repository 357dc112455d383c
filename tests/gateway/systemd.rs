//! What systemd is told, and the unit that it runs.

use std::{path::Path, process::Command, sync::Arc, sync::Mutex};

use serde_json::{Value, json};
use tokio::{net::UnixDatagram, task::JoinHandle};

use crate::harness::{World, eventually};

#[tokio::test]
async fn it_hears_of_the_start_of_reloads_and_of_the_stop() {
    let systemd = Systemd::listen();
    let mut world = systemd.world(json!("upgrade.sock")).await;
    eventually!(systemd.told().len() == 1, "it hears of the start");
    assert_eq!(
        systemd.told(),
        ["READY=1\nSTATUS=Serving 2 APIs to 1 application\n"]
    );
    world.passes(world.flights().bearer(&world.token())).await;
    world.gateway.signal("HUP").await;
    eventually!(systemd.told().len() == 3, "it hears of the reload");
    let told = systemd.told();
    let time = told[1].strip_prefix("RELOADING=1\nMONOTONIC_USEC=");
    let (time, status) = time.and_then(|rest| rest.split_once('\n')).expect(&told[1]);
    assert!(time.parse::<u64>().is_ok_and(|time| time > 0), "{time}");
    assert_eq!(status, "STATUS=Reading the changed files\n");
    assert!(told[2].starts_with("READY=1\n"), "{}", told[2]);
    world.gateway.signal("TERM").await;
    assert!(world.gateway.ended().await.success());
    eventually!(systemd.told().len() == 4, "it hears of the stop");
    assert_eq!(
        systemd.told()[3],
        "STOPPING=1\nSTATUS=Finishing what was begun\n"
    );
}

#[tokio::test]
async fn it_hears_who_serves_after_an_upgrade() {
    let systemd = Systemd::listen();
    let mut world = systemd.world(json!("upgrade.sock")).await;
    let mut successor = world.gateway.successor().await;
    world.gateway.signal("QUIT").await;
    assert!(world.gateway.ended().await.success());
    eventually!(
        systemd.told().len() == 4,
        "it hears of all: {:?}",
        systemd.told()
    );
    assert_eq!(
        systemd.told()[1..],
        [
            "STATUS=Upgrading\n".to_owned(),
            format!("MAINPID={}\n", successor.pid),
            "READY=1\nSTATUS=Serving 2 APIs to 1 application\n".to_owned(),
        ]
    );
    successor.signal("TERM").await;
    assert!(successor.ended().await.success());
    eventually!(systemd.told().len() == 5, "it hears of the stop");
    assert!(systemd.told()[4].starts_with("STOPPING=1\n"));
}

#[tokio::test]
async fn it_hears_that_nothing_came_of_an_upgrade() {
    let systemd = Systemd::listen();
    let world = systemd.world(Value::Null).await;
    world.gateway.signal("QUIT").await;
    eventually!(
        systemd.told().len() == 3,
        "it hears of all: {:?}",
        systemd.told()
    );
    let serves = "READY=1\nSTATUS=Serving 2 APIs to 1 application\n";
    assert_eq!(systemd.told(), [serves, "STATUS=Upgrading\n", serves]);
}

#[test]
fn the_unit_is_one_and_is_sandboxed() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/dcr-gateway.service");
    let text = std::fs::read_to_string(source).unwrap();
    let installed = "/usr/local/bin/dcr-gateway";
    assert!(text.contains(&format!("ExecStart={installed} serve")));
    let directory = tempfile::tempdir().unwrap();
    let unit = directory.path().join("dcr-gateway.service");
    // Whether the program can be run is looked at too.
    let text = text.replace(installed, env!("CARGO_BIN_EXE_dcr-gateway"));
    std::fs::write(&unit, text).unwrap();
    let analyze = |arguments: &[&str]| {
        let mut analyze = Command::new("systemd-analyze");
        let output = analyze.args(arguments).arg(&unit).output();
        let output = output.expect("systemd-analyze; tests/run.sh installs it");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {errors}{text}");
        errors
    };
    // What it does not know it only warns of.
    assert_eq!(analyze(&["verify", "--man=no"]), "");
    // Of 100; 16 when this was written.
    analyze(&["security", "--offline=true", "--threshold=20"]);
}

/// A stand-in for systemd's end of the socket.
struct Systemd {
    directory: tempfile::TempDir,
    told: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Systemd {
    fn listen() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        let told = Arc::<Mutex<Vec<String>>>::default();
        let heard = Arc::clone(&told);
        let task = tokio::spawn(async move {
            let mut packet = [0; 4096];
            while let Ok(length) = socket.recv(&mut packet).await {
                let text = String::from_utf8_lossy(&packet[..length]).into_owned();
                heard.lock().unwrap().push(text);
            }
        });
        Self {
            directory,
            told,
            task,
        }
    }

    /// A world that tells this.
    async fn world(&self, upgrade_socket: Value) -> World {
        let path = self.directory.path().join("notify");
        World::with(|s| {
            let path = path.to_str().unwrap().to_owned();
            s.environment.push(("NOTIFY_SOCKET".to_owned(), path));
            if upgrade_socket.is_string() {
                s.config["upgrade_socket"] = upgrade_socket;
            }
        })
        .await
    }

    /// Everything that was told so far.
    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        self.task.abort();
    }
}
