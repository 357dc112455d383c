//! A real nginx, as a process of its own: an upstream behind the gateway or a terminator before it.

use std::{
    net::SocketAddr,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};

/// A line of the access log: connection, number of the request on it, protocol, request line,
/// status.
const LOG_FORMAT: &str = "$connection $connection_requests $server_protocol [$request] $status";

/// A running nginx; it ends with this value, and its error log is printed if the test failed.
pub(crate) struct Nginx {
    /// Where the first server listens.
    pub(crate) address: SocketAddr,
    directory: TempDir,
    errors: Arc<Mutex<Vec<String>>>,
    // One process without a master: it ends by its handle.
    _child: Child,
}

impl Nginx {
    /// Starts nginx with these files in its directory. `http` makes the content of the section of
    /// that name for an address, which it must let a server listen on; relative paths in it are
    /// relative to the directory.
    pub(crate) async fn start(files: &[(&str, &str)], http: impl Fn(SocketAddr) -> String) -> Self {
        // nginx cannot tell which port it was given, so it is told one that was free just now. If
        // somebody was faster, another is tried.
        for _ in 0..5 {
            if let Some(nginx) = Self::try_start(files, &http).await {
                return nginx;
            }
        }
        panic!("nginx does not start");
    }

    /// The access log so far, a line each; see [`LOG_FORMAT`].
    pub(crate) fn access_log(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.directory.path().join("access.log"));
        text.unwrap_or_default()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    async fn try_start(
        files: &[(&str, &str)],
        http: &impl Fn(SocketAddr) -> String,
    ) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(directory.path().join(name), content).unwrap();
        }
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let config = format!(
            "daemon off;
master_process off;
pid nginx.pid;
error_log stderr info;
events {{ }}
http {{
  log_format test '{LOG_FORMAT}';
  access_log access.log test;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
{}
}}
",
            http(address)
        );
        std::fs::write(directory.path().join("nginx.conf"), config).unwrap();
        let mut child = Command::new(program())
            .args(["-c", "nginx.conf", "-e", "stderr", "-p"])
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("nginx is installed: run tests/run.sh");
        let errors = Arc::<Mutex<Vec<String>>>::default();
        let (collected, stderr) = (Arc::clone(&errors), child.stderr.take().unwrap());
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                collected.lock().unwrap().push(line);
            }
        });
        for _ in 0..1_000 {
            if child.try_wait().unwrap().is_some() {
                // What the collector has not read yet is the reason, most likely.
                tokio::time::sleep(Duration::from_millis(50)).await;
                eprintln!("nginx: {:?}", errors.lock().unwrap());
                return None;
            }
            if TcpStream::connect(address).await.is_ok() {
                return Some(Self {
                    address,
                    directory,
                    errors,
                    _child: child,
                });
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        None
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for line in self.errors.lock().unwrap().iter() {
                eprintln!("nginx: {line}");
            }
        }
    }
}

/// Debian puts it where only the administrator's search path leads.
fn program() -> &'static str {
    let sbin = "/usr/sbin/nginx";
    if Path::new(sbin).exists() {
        sbin
    } else {
        "nginx"
    }
}
