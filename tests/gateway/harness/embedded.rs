//! `examples/embed.rs` as a world: somebody's own proxy with the guard in front of it.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    sync::atomic::{AtomicU16, Ordering},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{net::TcpStream, process::Command, sync::OnceCell};

use super::{
    APP, AUDIENCE, SECRET, application,
    client::{Call, Response},
    eventually,
    gateway::{Process, pretty, write},
    idp::Idp,
    session_key,
    upstream::Upstream,
};

/// The example, an identity provider and an upstream.
pub(crate) struct Embedded {
    pub(crate) address: SocketAddr,
    pub(crate) idp: Idp,
    pub(crate) upstream: Upstream,
    pub(crate) process: Process,
    directory: TempDir,
}

/// What the example is started with.
pub(crate) struct Files {
    pub(crate) config: Value,
    pub(crate) applications: Value,
    pub(crate) arguments: Vec<&'static str>,
    /// Where the example sends requests.
    pub(crate) upstream: String,
}

impl Embedded {
    /// One strategy `partners` with all three methods, the API `flights` behind it, the public API
    /// `open`, and one application, [`APP`].
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// The same with changes.
    pub(crate) async fn with(change: impl FnOnce(&mut Files)) -> Self {
        let (idp, upstream) = (Idp::start().await, Upstream::start().await);
        idp.client(APP, SECRET);
        let mut files = Files {
            config: config(&idp.issuer),
            applications: json!({"applications": [application(APP)]}),
            arguments: Vec::new(),
            upstream: upstream.address.to_string(),
        };
        change(&mut files);
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("session"), session_key(7)).unwrap();
        write(&directory.path().join("guard.yaml"), &pretty(&files.config));
        let path = directory.path().join("applications.yaml");
        write(&path, &pretty(&files.applications));
        let address = free_address();
        let mut command = Command::new(example("embed").await);
        command
            .args(&files.arguments)
            .arg(directory.path().join("guard.yaml"))
            .args([&address.to_string(), &files.upstream]);
        let process = Process::spawn(command);
        eventually!(
            TcpStream::connect(address).await.is_ok(),
            "the example listens: {:?}",
            process.log()
        );
        Self {
            address,
            idp,
            upstream,
            process,
            directory,
        }
    }

    pub(crate) fn call(&self, method: &str, target: &str) -> Call {
        Call::new(self.address, method, target)
    }

    /// `GET /flights` without a credential.
    pub(crate) fn flights(&self) -> Call {
        self.call("GET", "/flights")
    }

    /// A good token of [`APP`].
    pub(crate) fn token(&self) -> String {
        self.idp.token(APP).build()
    }

    /// Waits until the keys of the identity provider are there.
    pub(crate) async fn ready(self) -> Self {
        let call = self.flights().bearer(&self.token());
        eventually!(call.send().await.status == 200, "the keys are there");
        self
    }

    /// The call passes, and reaches the upstream once.
    pub(crate) async fn passes(&self, call: Call) -> Response {
        let before = self.upstream.hits();
        let response = call.send().await;
        response.assert_status(200);
        assert_eq!(self.upstream.hits(), before + 1);
        response
    }

    /// The call is refused with this answer, in the gateway's form, and the upstream sees nothing.
    pub(crate) async fn refuses(&self, call: Call, status: u16, code: &str) -> Response {
        let before = self.upstream.hits();
        let response = call.send().await;
        response.assert_problem(status, code);
        assert_eq!(self.upstream.hits(), before, "{code}: reached");
        response
    }

    /// The path of a file of the directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts another content into a file of the directory, in one step as editors do.
    pub(crate) fn edit(&self, name: &str, content: &Value) {
        write(&self.file(name), &pretty(content));
    }
}

/// The gateway's configuration without what a guard has not: listeners, upstreams.
pub(crate) fn config(issuer: &str) -> Value {
    json!({
        "identity_providers": [{"name": "idp", "issuer": issuer, "timeout": "2s"}],
        "auth_strategies": [{
            "name": "partners",
            "identity_provider": "idp",
            "auth_methods": ["client_credentials", "bearer", "session"],
            "credential_claim": ["client_id"],
            "audience": [AUDIENCE],
        }],
        "session_keys": [{"file": "session"}],
        "apis": [
            {"name": "flights", "auth_strategies": ["partners"], "routes": [{"paths": ["/flights"]}]},
            {"name": "open", "access": "public", "routes": [{"paths": ["/open"]}]},
        ],
        "registry": {"file": "applications.yaml"},
    })
}

/// The path of a built example: `embed`, `idp` or `echo`. `cargo test` builds them all, `cargo test
/// --test gateway` does not.
pub(crate) async fn example(name: &str) -> PathBuf {
    static BUILT: OnceCell<()> = OnceCell::const_new();
    let built = Path::new(env!("CARGO_BIN_EXE_dcr-gateway"));
    let directory = built.parent().unwrap();
    let profile = match directory.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        profile => profile,
    };
    let build = || async {
        let output = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--locked"])
            .args(["--example=embed", "--example=idp", "--example=echo"])
            .args(["--profile", profile])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .output()
            .await
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
    };
    BUILT.get_or_init(build).await;
    directory.join("examples").join(name)
}

/// An address that nobody uses. Pingora never tells which port it was given, so one is chosen, below
/// those that the system hands out, where nothing else of a test can take it in the meantime.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 100).unwrap() * 100;
    loop {
        let port = 20_000 + start + NEXT.fetch_add(1, Ordering::Relaxed) % 2_000;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
