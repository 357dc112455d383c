//! The built program in a directory of its own.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
};

use super::client::{Call, Response};

/// The operator's token in every test.
pub(crate) const ADMIN_TOKEN: &str = "the-operators-own-token";

/// Lines of the log shown for a failed test: enough for what happened last.
const SHOWN: usize = 100;

/// What the program is started with.
pub(crate) struct Setup {
    /// The configuration; JSON is YAML too.
    pub(crate) config: Value,
    /// `applications.yaml`; null writes none.
    pub(crate) applications: Value,
    /// Further files: name and content.
    pub(crate) files: Vec<(String, String)>,
    /// By which path it is started; the built program's own unless a test links it elsewhere.
    pub(crate) program: PathBuf,
    /// What is added to the environment.
    pub(crate) environment: Vec<(String, String)>,
    /// How far to wait for it.
    pub(crate) wait: Wait,
}

/// How far to wait for the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Until its sockets are bound.
    Listening,
    /// Until `/readyz` says so.
    Ready,
}

/// The running program; it ends with this value.
pub(crate) struct Gateway {
    pub(crate) proxy: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) directory: TempDir,
    state: Mutex<(Value, Value)>,
    process: Process,
    program: PathBuf,
    environment: Vec<(String, String)>,
}

/// One process of the program; it ends with this value, and its log is printed if the test failed.
pub(crate) struct Process {
    child: Child,
    pub(crate) pid: u32,
    log: Log,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Gateway {
    pub(crate) async fn start(setup: Setup) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::create_dir(at("secrets")).unwrap();
        std::fs::write(at("secrets/admin"), ADMIN_TOKEN).unwrap();
        for (name, content) in &setup.files {
            std::fs::write(at(name), content).unwrap();
        }
        write(&at("gateway.yaml"), &pretty(&setup.config));
        if !setup.applications.is_null() {
            write(&at("applications.yaml"), &pretty(&setup.applications));
        }
        let mut process = Process::start(&setup.program, directory.path(), &setup.environment, &[]);
        let (proxy, admin) = addresses(&process.log, &mut process.child).await;
        let state = Mutex::new((setup.config, setup.applications));
        let gateway = Self {
            proxy,
            admin,
            directory,
            state,
            process,
            program: setup.program,
            environment: setup.environment,
        };
        if setup.wait == Wait::Ready {
            gateway.wait_until_ready().await;
        }
        gateway
    }

    /// Waits until `/readyz` is 200.
    pub(crate) async fn wait_until_ready(&self) {
        let mut last = String::new();
        let ready = async {
            loop {
                let response = self.status("/readyz").await;
                if response.status == 200 {
                    return;
                }
                last = response.text();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(10), ready)
            .await
            .is_err()
        {
            panic!("not ready after 10 s: {last}");
        }
    }

    pub(crate) fn call(&self, method: &str, target: &str) -> Call {
        Call::new(self.proxy, method, target)
    }

    pub(crate) fn get(&self, target: &str) -> Call {
        self.call("GET", target)
    }

    pub(crate) fn post(&self, target: &str) -> Call {
        self.call("POST", target)
    }

    /// Asks the admin address without its token.
    pub(crate) async fn status(&self, path: &str) -> Response {
        Call::new(self.admin, "GET", path).send().await
    }

    /// The sum of all rows of a metric with these labels; 0 where there is none.
    pub(crate) async fn metric(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let text = self.status("/metrics").await.text();
        sum(&text, name, labels)
    }

    /// Changes the configuration file, and nothing else.
    pub(crate) fn edit_config(&self, change: impl FnOnce(&mut Value)) {
        let mut state = self.state.lock().unwrap();
        change(&mut state.0);
        write(
            &self.directory.path().join("gateway.yaml"),
            &pretty(&state.0),
        );
    }

    /// Changes the applications, and nothing else.
    pub(crate) fn edit_applications(&self, change: impl FnOnce(&mut Value)) {
        let mut state = self.state.lock().unwrap();
        change(&mut state.1);
        write(
            &self.directory.path().join("applications.yaml"),
            &pretty(&state.1),
        );
    }

    /// Changes the configuration and waits until it is in force.
    pub(crate) async fn reconfigure(&self, change: impl FnOnce(&mut Value)) {
        self.applied("configuration", || self.edit_config(change))
            .await;
    }

    /// Changes the applications and waits until they are in force.
    pub(crate) async fn register(&self, change: impl FnOnce(&mut Value)) {
        self.applied("applications", || self.edit_applications(change))
            .await;
    }

    /// Puts any text into a file, in one step as editors do.
    pub(crate) fn overwrite(&self, name: &str, text: &str) {
        write(&self.directory.path().join(name), text);
    }

    /// How many reloads ended so.
    pub(crate) async fn reloads(&self, what: &str, outcome: &str) -> f64 {
        self.metric("dcr_reloads_total", &[("what", what), ("outcome", outcome)])
            .await
    }

    /// Sends a signal to the program, by its id.
    pub(crate) async fn signal(&self, name: &str) {
        self.process.signal(name).await;
    }

    /// Ends the program at once, without a word, as the kernel would.
    pub(crate) async fn kill(&mut self) {
        self.process.kill().await;
    }

    /// Starts it again with the same files, after it has ended; its ports are others.
    pub(crate) async fn start_again(&mut self) {
        self.process = self.process(&[]);
        (self.proxy, self.admin) = addresses(&self.process.log, &mut self.process.child).await;
        self.wait_until_ready().await;
    }

    /// The id of the process that was started first.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid
    }

    /// Starts a second process with the same files, which waits to take the first one's place.
    pub(crate) async fn successor(&self) -> Process {
        let process = self.process(&["--upgrade"]);
        super::eventually!(
            process.logged(&["waiting for the old process"]),
            "it waits: {:?}",
            process.log.lines()
        );
        process
    }

    /// Starts a second process with the same files.
    pub(crate) fn process(&self, arguments: &[&str]) -> Process {
        let directory = self.directory.path();
        Process::start(&self.program, directory, &self.environment, arguments)
    }

    /// Stops the program and starts it with the same files, at other addresses.
    pub(crate) async fn restart(&mut self) {
        self.signal("TERM").await;
        self.ended().await;
        self.process = self.process(&[]);
        let Process { log, child, .. } = &mut self.process;
        (self.proxy, self.admin) = addresses(log, child).await;
        self.wait_until_ready().await;
    }

    /// Waits for the program to end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        self.process.ended().await
    }

    /// Memory in use, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        footprint(self.pid()).0
    }

    /// Where a listener is bound, by its name in the log.
    pub(crate) fn address(&self, listener: &str) -> Option<SocketAddr> {
        self.process.log.address(listener)
    }

    /// Where all listeners of a name are bound.
    pub(crate) fn addresses(&self, listener: &str) -> Vec<SocketAddr> {
        self.process.log.addresses(listener)
    }

    /// Everything it wrote so far, a line each.
    pub(crate) fn log(&self) -> Vec<String> {
        self.process.log.lines().clone()
    }

    /// The access log's lines so far: those that name a status and a method.
    pub(crate) fn access_log(&self) -> Vec<Value> {
        let lines = self.log();
        let values = lines
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        values
            .filter(|v| v.get("status").is_some() && v.get("method").is_some())
            .collect()
    }

    /// The access log's line of an answered request, once it is written.
    pub(crate) async fn line_of(&self, response: &Response) -> Value {
        let id = response.header("x-request-id").unwrap();
        let find = || {
            let mut lines = self.access_log().into_iter();
            lines.find(|line| line["request_id"] == id)
        };
        super::eventually!(find().is_some(), "the line of request {id} is written");
        find().unwrap()
    }

    /// Whether a line holds all of these texts.
    pub(crate) fn logged(&self, texts: &[&str]) -> bool {
        self.process.log.holds(texts)
    }

    async fn applied(&self, what: &str, change: impl FnOnce()) {
        let before = self.reloads(what, "applied").await;
        change();
        super::eventually!(
            self.reloads(what, "applied").await > before,
            "{what} are in force"
        );
    }
}

impl Process {
    /// Starts the program with the files of a directory.
    fn start(
        program: &Path,
        directory: &Path,
        environment: &[(String, String)],
        arguments: &[&str],
    ) -> Self {
        let mut command = Command::new(program);
        command
            .args(["serve", "--config"])
            .arg(directory.join("gateway.yaml"))
            .args(arguments)
            .env_remove("MIMALLOC_PURGE_DELAY")
            .env_remove("NOTIFY_SOCKET")
            .env_remove("RUNTIME_DIRECTORY")
            .envs(environment.iter().cloned());
        Self::spawn(command)
    }

    /// Starts any program whose log a failed test is to show.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = Log::default();
        log.collect(child.stdout.take().unwrap());
        log.collect(child.stderr.take().unwrap());
        let pid = child.id().unwrap();
        Self { child, pid, log }
    }

    /// Whether a line holds all of these texts.
    pub(crate) fn logged(&self, texts: &[&str]) -> bool {
        self.log.holds(texts)
    }

    /// What it has written so far, a line each.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lines().clone()
    }

    /// Sends a signal to it, by its id.
    pub(crate) async fn signal(&self, name: &str) {
        signal(self.pid, name).await;
    }

    /// Ends it at once, without a word.
    pub(crate) async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits for it to end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let end = tokio::time::timeout(Duration::from_secs(20), self.child.wait()).await;
        end.expect("the process ends").unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // `kill_on_drop` ends the program, this very child, by its handle.
        self.log.show();
    }
}

impl Log {
    /// Prints the last lines where a test has failed.
    fn show(&self) {
        if !std::thread::panicking() {
            return;
        }
        let lines = self.lines();
        let left_out = lines.len().saturating_sub(SHOWN);
        eprintln!("--- log of a gateway, {left_out} lines left out ---");
        for line in lines.iter().skip(left_out) {
            eprintln!("{line}");
        }
        eprintln!("--- end of log ---");
    }

    fn holds(&self, texts: &[&str]) -> bool {
        self.lines()
            .iter()
            .any(|line| texts.iter().all(|text| line.contains(text)))
    }

    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        // A test that fails while it reads still shows what there is.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn collect(&self, stream: impl AsyncRead + Send + Unpin + 'static) {
        let log = self.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stream).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                log.lines().push(line);
            }
        });
    }

    /// The address of a bound socket, once it was logged.
    fn address(&self, listener: &str) -> Option<SocketAddr> {
        self.addresses(listener).first().copied()
    }

    fn addresses(&self, listener: &str) -> Vec<SocketAddr> {
        let address = |line: &String| {
            let line: Value = serde_json::from_str(line).ok()?;
            // Formatters differ in whether fields stand inside `fields`.
            let fields = line.get("fields").unwrap_or(&line);
            let named = fields["message"] == "listening" && fields["listener"] == listener;
            named
                .then(|| fields["address"].as_str()?.parse().ok())
                .flatten()
        };
        self.lines().iter().filter_map(address).collect()
    }
}

async fn addresses(log: &Log, child: &mut Child) -> (SocketAddr, SocketAddr) {
    for _ in 0..1_000 {
        if let (Some(proxy), Some(admin)) = (log.address("proxy"), log.address("admin")) {
            return (proxy, admin);
        }
        if let Some(status) = child.try_wait().unwrap() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            panic!(
                "the gateway ended with {status}:\n{}",
                log.lines().join("\n")
            );
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!(
        "the gateway does not say where it listens:\n{}",
        log.lines().join("\n")
    );
}

pub(crate) async fn signal(pid: u32, name: &str) {
    let status = Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .status()
        .await;
    assert!(status.unwrap().success(), "kill -s {name}");
}

/// Memory of a process in KiB, and its open descriptors.
pub(crate) fn footprint(pid: u32) -> (u64, usize) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.unwrap().trim().split(' ').next().unwrap();
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    (number.parse().unwrap(), open.count())
}

/// Whether a process runs; one that has ended may still be listed until somebody asks how.
pub(crate) fn runs(pid: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    status.is_ok_and(|text| !text.contains(") Z "))
}

/// The sum of the rows of a text exposition that have these labels.
pub(crate) fn sum(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let rows = text.lines().filter(|row| {
        row.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels
                .iter()
                .all(|(label, value)| row.contains(&format!("{label}=\"{value}\"")))
    });
    rows.filter_map(|row| row.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

pub(crate) fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}

pub(crate) fn write(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(&beside, path).unwrap();
}
