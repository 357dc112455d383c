//! Real clients and servers of other makers, as programs of Node.js in `tests/peers`.

use std::{net::SocketAddr, process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

/// Longest wait for a line; Node.js starts slowly on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running program, to which a test speaks in lines of JSON. It ends with this value.
pub(crate) struct Peer {
    lines: Lines<BufReader<ChildStdout>>,
    stdin: ChildStdin,
    _child: Child,
}

/// Starts a program of Node.js in the package at `directory`. It ends with its handle.
pub(crate) fn node(directory: &str, script: &str, arguments: &[&str]) -> Child {
    assert_installed(directory, "node_modules");
    let mut command = Command::new("node");
    command.args(["--no-warnings", script]).args(arguments);
    spawn(command, directory)
}

/// Starts a program of Python beside its own environment. It ends with its handle.
pub(crate) fn python(directory: &str, script: &str, arguments: &[&str]) -> Child {
    assert_installed(directory, ".venv");
    let mut command = Command::new(format!("{directory}/.venv/bin/python"));
    command.arg(script).args(arguments);
    spawn(command, directory)
}

fn assert_installed(directory: &str, packages: &str) {
    assert!(
        std::path::Path::new(directory).join(packages).exists(),
        "{directory}: its packages are not installed: run tests/run.sh"
    );
}

fn spawn(mut command: Command, directory: &str) -> Child {
    command
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Node makes an inherited stderr non-blocking, ours too, and then our writes fail.
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the program starts: run tests/run.sh")
}

/// Lets h2load send so many requests with this Authorization, 50 at once on each of four
/// connections. Every one of them is answered with a 2xx. Gives what it printed.
pub(crate) async fn h2load(url: &str, authorization: &str, requests: usize) -> String {
    let output = Command::new("h2load")
        .arg(format!("--requests={requests}"))
        .args(["--clients=4", "--max-concurrent-streams=50"])
        .args(["--header", &format!("authorization: {authorization}"), url])
        .output()
        .await
        .expect("h2load starts: run tests/run.sh");
    let text = String::from_utf8(output.stdout).unwrap();
    let n = requests;
    for line in [
        format!("{n} total, {n} started, {n} done, {n} succeeded, 0 failed, 0 errored, 0 timeout"),
        format!("status codes: {n} 2xx, 0 3xx, 0 4xx, 0 5xx"),
    ] {
        assert!(text.contains(&line), "{line}: {text}");
    }
    text
}

impl Peer {
    /// Starts `tests/peers/<script>`.
    pub(crate) fn start(script: &str, arguments: &[&str]) -> Self {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers");
        let mut child = node(directory, script, arguments);
        Self {
            lines: BufReader::new(child.stdout.take().unwrap()).lines(),
            stdin: child.stdin.take().unwrap(),
            _child: child,
        }
    }

    /// Starts a server and waits for its port.
    pub(crate) async fn serve(script: &str, arguments: &[&str]) -> (Self, SocketAddr) {
        let mut peer = Self::start(script, arguments);
        let told = peer.hear("listening").await;
        let port = u16::try_from(told["listening"].as_u64().unwrap()).unwrap();
        (peer, SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// Tells it to do something.
    pub(crate) async fn tell(&mut self, command: Value) {
        let line = format!("{command}\n");
        self.stdin.write_all(line.as_bytes()).await.unwrap();
    }

    /// The next line that has this member.
    #[track_caller]
    pub(crate) fn hear(&mut self, member: &str) -> impl Future<Output = Value> {
        let place = std::panic::Location::caller();
        async move {
            let mut passed = Vec::new();
            let search = async {
                while let Some(line) = self.lines.next_line().await.unwrap() {
                    let told: Value = serde_json::from_str(&line).unwrap_or_default();
                    if told.get(member).is_some() {
                        return Some(told);
                    }
                    passed.push(line);
                }
                None
            };
            let found = timeout(PATIENCE, search).await.unwrap_or_default();
            found.unwrap_or_else(|| panic!("at {place}: no {member:?}, but {passed:?}"))
        }
    }
}
