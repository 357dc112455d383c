//! PostgreSQL, as a cluster of its own: no service, no port, nothing on the disk that lasts.
//!
//! The tests of a process share one cluster, each with a database of its own; a test that stops
//! the server has one for itself. A cluster ends, and its directory goes, when the process that
//! started it does.

use std::{
    io::Write,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions};
use tokio::sync::OnceCell;

/// Below which the files of Debian's package are: the system, or where `tests/run.sh` puts them.
const PLACES: [&str; 2] = [
    "/",
    concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/postgresql"),
];

/// Debian's directory for libraries of this machine's kind.
const MULTIARCH: &str = match cfg!(target_arch = "aarch64") {
    true => "aarch64-linux-gnu",
    false => "x86_64-linux-gnu",
};

/// PostgreSQL refuses to run as root; this is Debian's `nobody`.
const NOBODY: u32 = 65_534;

/// Longest wait for a server to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends the server when its own input ends, which it does with the process that started it. Told to
/// stop, it leaves the directory.
const KEEPER: &str = r#"
dir=$1
shift
"$@" >"$dir/log" 2>&1 &
read -r word
kill -INT "$!"
wait "$!"
[ "$word" = stop ] || rm -rf "$dir"
"#;

/// A cluster; the server runs unless it was stopped.
pub(crate) struct Cluster {
    directory: PathBuf,
    databases: AtomicU32,
    server: Option<Child>,
}

/// A database of a cluster.
#[derive(Clone)]
pub(crate) struct Database {
    /// For `registry.postgres`.
    pub(crate) url: String,
    name: String,
    cluster: String,
}

static SHARED: OnceCell<Arc<Cluster>> = OnceCell::const_new();

/// A new database of the cluster that the tests of this process share.
pub(crate) async fn database() -> Database {
    let cluster = SHARED.get_or_init(|| async { Arc::new(Cluster::start().await) });
    cluster.await.database().await
}

impl Cluster {
    /// Makes a cluster and starts its server.
    pub(crate) async fn start() -> Self {
        let directory = tempfile::Builder::new()
            .prefix("dcr-gateway-postgres-")
            .tempdir()
            .unwrap()
            .keep();
        if is_root() {
            chown(&directory, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let made = unprivileged(&program("initdb"))
            .arg(directory.join("data"))
            .args(["--username=postgres", "--auth=trust", "--no-sync"])
            .args(["--encoding=UTF8", "--locale=C", "--no-instructions"])
            .current_dir("/")
            .output()
            .expect("initdb starts: run tests/run.sh");
        assert!(made.status.success(), "initdb: {made:?}");
        let mut cluster = Self {
            directory,
            databases: AtomicU32::new(0),
            server: None,
        };
        cluster.go_on().await;
        cluster
    }

    /// Stops the server; what it has committed stays.
    pub(crate) async fn stop(&mut self) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        let mut input = server.stdin.take().unwrap();
        input.write_all(b"stop\n").unwrap();
        let ended = tokio::task::spawn_blocking(move || server.wait());
        ended.await.unwrap().unwrap();
    }

    /// Starts the server again.
    pub(crate) async fn go_on(&mut self) {
        let directory = self.directory.to_str().unwrap();
        let server = unprivileged(Path::new("/bin/sh"))
            .args(["-c", KEEPER, "sh", directory])
            .arg(program("postgres"))
            .args(["-D", &format!("{directory}/data"), "-k", directory])
            .args(["-c", "listen_addresses=", "-c", "max_connections=200"])
            .args(["-c", "fsync=off", "-c", "full_page_writes=off"])
            .args(["-c", "jit=off", "-c", "shared_buffers=16MB"])
            .current_dir("/")
            .stdin(Stdio::piped())
            .spawn()
            .expect("the server starts: run tests/run.sh");
        self.server = Some(server);
        let url = self.url("postgres");
        let begun = async {
            while PgConnection::connect(&url).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, begun).await.is_err() {
            let log = std::fs::read_to_string(self.directory.join("log"));
            panic!("PostgreSQL does not start: {log:?}");
        }
    }

    /// Makes a new database.
    pub(crate) async fn database(&self) -> Database {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("registry_{number}");
        let database = Database {
            url: self.url(&name),
            name,
            cluster: self.url("postgres"),
        };
        let made = format!("CREATE DATABASE {} TEMPLATE template0", database.name);
        database.administer(made).await;
        database
    }

    fn url(&self, database: &str) -> String {
        let socket = self.directory.to_str().unwrap();
        format!("postgres:///{database}?user=postgres&host={socket}")
    }
}

impl Database {
    /// Ends every connection to it and takes no new one.
    pub(crate) async fn refuse(&self) {
        let name = &self.name;
        self.administer(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
            .await;
        self.administer(format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        ))
        .await;
    }

    /// Takes connections again.
    pub(crate) async fn accept(&self) {
        let name = &self.name;
        self.administer(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
            .await;
    }

    /// A connection of the test's own.
    pub(crate) async fn connect(&self) -> PgConnection {
        PgConnection::connect(&self.url).await.unwrap()
    }

    /// Every row of every table as text, and every byte of its files and of the cluster's log of
    /// changes.
    pub(crate) async fn contents(&self) -> (String, Vec<u8>) {
        let mut connection = self.connect().await;
        let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'";
        let tables: Vec<String> = sqlx::query_scalar(tables)
            .fetch_all(&mut connection)
            .await
            .unwrap();
        let mut rows = Vec::new();
        for table in &tables {
            let all = format!("SELECT t::text FROM {table} t");
            let all = sqlx::query_scalar::<_, String>(AssertSqlSafe(all));
            rows.extend(all.fetch_all(&mut connection).await.unwrap());
        }
        let written = sqlx::raw_sql("CHECKPOINT");
        written.execute(&mut connection).await.unwrap();
        let place = "SELECT setting FROM pg_settings WHERE name = 'data_directory'";
        let place: String = sqlx::query_scalar(place)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        let own = "SELECT oid::text FROM pg_database WHERE datname = current_database()";
        let own: String = sqlx::query_scalar(own)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        let mut files = Vec::new();
        for directory in [format!("{place}/base/{own}"), format!("{place}/pg_wal")] {
            for entry in std::fs::read_dir(directory).unwrap() {
                // The server may take a file away meanwhile; what it held stands in others.
                files.extend(std::fs::read(entry.unwrap().path()).unwrap_or_default());
            }
        }
        (rows.join("\n"), files)
    }

    async fn administer(&self, statement: String) {
        let options: PgConnectOptions = self.cluster.parse().unwrap();
        let mut connection = PgConnection::connect_with(&options).await.unwrap();
        let done = sqlx::raw_sql(AssertSqlSafe(statement));
        done.execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        match &mut self.server {
            // Its input ends, and it takes the directory with it.
            Some(server) => drop(server.stdin.take()),
            None => drop(std::fs::remove_dir_all(&self.directory)),
        }
    }
}

/// Where the programs are, and below it their libraries.
fn place() -> PathBuf {
    // A link leads to where who runs it has a way.
    let mut places = PLACES
        .iter()
        .filter_map(|place| Path::new(place).canonicalize().ok());
    places
        .find(|place| program_in(place, "initdb").exists())
        .expect("PostgreSQL 15 is there: run tests/run.sh")
}

fn program(name: &str) -> PathBuf {
    program_in(&place(), name)
}

fn program_in(place: &Path, name: &str) -> PathBuf {
    place.join("usr/lib/postgresql/15/bin").join(name)
}

/// A program that is not run as root.
fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new(program);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    if place() != Path::new("/") {
        let libraries = place().join("usr/lib").join(MULTIARCH);
        command.env("LD_LIBRARY_PATH", libraries);
    }
    command
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
