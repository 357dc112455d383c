//! A small world for tests on real sockets: an upstream that tells what it got, a proxy before it
//! that refuses on request, clients that write and read bytes.

use std::{
    any::Any,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::StatusCode;
use pingora::{
    http::ResponseHeader,
    proxy::{ProxyHttp, Session},
    upstreams::peer::HttpPeer,
};

use super::{
    service::{self, Live, Settings},
    shutdown::Shutdown,
    socket::{Duplicates, Listener, bind},
};
use crate::proxy::connection::{Answer, Arrival, Counters, Limits, Refusal, Refuse};

/// How long anything that must happen may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// A running proxy and its upstream.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) counters: Arc<Counters>,
    pub(crate) shutdown: Shutdown,
    pub(crate) upstream: Arc<Upstream>,
    server: Option<JoinHandle<()>>,
}

/// What the upstream has seen. `/hold…` is answered when released.
#[derive(Default)]
pub(crate) struct Upstream {
    pub(crate) requests: AtomicUsize,
    pub(crate) lines: Mutex<Vec<String>>,
    released: Mutex<bool>,
    release: Condvar,
}

/// An answer as a client read it.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// A client's connection.
pub(crate) struct Client(BufReader<TcpStream>);

struct Hooks {
    upstream: SocketAddr,
}

pub(crate) fn limits() -> Limits {
    Limits {
        header_size: 4096,
        header_count: 20,
        header_timeout: Duration::from_secs(5),
        connections: 1000,
    }
}

impl World {
    pub(crate) fn new(limits: Limits, grace_period: Duration) -> Self {
        let upstream = Arc::<Upstream>::default();
        let hooks = Hooks {
            upstream: Upstream::serve(&upstream),
        };
        let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
        let bound = bind(Listener::Proxy, any_port, &Duplicates::default()).unwrap();
        let address = bound.address();
        let settings = Settings {
            listeners: vec![bound],
            tls: Vec::new(),
            live: Live::new(limits, grace_period, Vec::new()),
            threads: 1,
            retries: 0,
        };
        let counters = Arc::<Counters>::default();
        let shutdown = Shutdown::new();
        let refuse = Refuse::new(|refusal, peer| {
            assert!(peer.is_some());
            let status = match refusal {
                Refusal::HeaderTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                Refusal::MalformedTarget | Refusal::PlainHttp => StatusCode::BAD_REQUEST,
                Refusal::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
                Refusal::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            };
            let body = Bytes::from(format!("{{\"status\":{}}}", status.as_u16()));
            Answer { status, body }
        });
        let (counted, stop) = (counters.clone(), shutdown.clone());
        let server = thread::spawn(|| service::run(settings, hooks, counted, refuse, stop));
        Self {
            address,
            counters,
            shutdown,
            upstream,
            server: Some(server),
        }
    }

    pub(crate) fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client(BufReader::new(stream))
    }

    /// Waits for the server to end.
    pub(crate) fn join(mut self) {
        let server = self.server.take().unwrap();
        eventually("the server ends", || server.is_finished());
        server.join().unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A server that a test leaves behind would share its core with the next ones.
        self.upstream.release();
        self.shutdown.request();
    }
}

impl Upstream {
    pub(crate) fn release(&self) {
        *self.released.lock().unwrap() = true;
        self.release.notify_all();
    }

    pub(crate) fn count(&self) -> usize {
        self.requests.load(SeqCst)
    }

    fn serve(this: &Arc<Self>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let this = this.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (this, stream) = (this.clone(), stream.unwrap());
                thread::spawn(move || while this.answer(&mut BufReader::new(&stream)).is_some() {});
            }
        });
        address
    }

    fn answer(&self, stream: &mut BufReader<&TcpStream>) -> Option<()> {
        let (head, body) = message(stream)?;
        let line = head.lines().next()?.to_owned();
        self.requests.fetch_add(1, SeqCst);
        self.lines.lock().unwrap().push(line.clone());
        if line.contains(" /hold") {
            let mut released = self.released.lock().unwrap();
            while !*released {
                released = self.release.wait(released).unwrap();
            }
        }
        let body = format!("{line}\n{body}");
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.get_mut().write_all(answer.as_bytes()).ok()
    }
}

impl Client {
    pub(crate) fn send(&mut self, bytes: &str) -> &mut Self {
        self.0.get_mut().write_all(bytes.as_bytes()).unwrap();
        self
    }

    pub(crate) fn get(&mut self, path: &str) -> Reply {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"))
            .reply()
    }

    pub(crate) fn reply(&mut self) -> Reply {
        self.try_reply().expect("an answer")
    }

    pub(crate) fn try_reply(&mut self) -> Option<Reply> {
        let (head, body) = message(&mut self.0)?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Reply {
            status,
            head: head.to_ascii_lowercase(),
            body,
        })
    }

    pub(crate) fn half_close(&mut self) -> &mut Self {
        self.0
            .get_mut()
            .shutdown(std::net::Shutdown::Write)
            .unwrap();
        self
    }

    /// Everything up to the end of the connection, which must come.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        if let Err(error) = self.0.read_to_end(&mut rest) {
            assert_eq!(
                error.kind(),
                std::io::ErrorKind::ConnectionReset,
                "not closed"
            );
        }
        rest
    }

    pub(crate) fn is_closed(&mut self) -> bool {
        self.rest().is_empty()
    }

    pub(crate) fn stream(&mut self) -> &mut BufReader<TcpStream> {
        &mut self.0
    }
}

impl Reply {
    pub(crate) fn closes(&self) -> bool {
        self.head.contains("\r\nconnection: close")
    }
}

/// Waits for a condition.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = crate::clock::instant();
    while !condition() {
        assert!(
            start.elapsed() < DEADLINE,
            "{what}: not within {DEADLINE:?}"
        );
        thread::sleep(Duration::from_millis(2));
    }
}

/// Reads one message with a length or chunked. `None`: the connection has ended.
fn message(stream: &mut impl BufRead) -> Option<(String, String)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let lower = head.to_ascii_lowercase();
    let mut body = Vec::new();
    if lower.contains("transfer-encoding: chunked") {
        loop {
            let mut size = String::new();
            stream.read_line(&mut size).ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).ok()?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    } else if let Some((_, rest)) = lower.split_once("content-length: ") {
        body = vec![0; rest.lines().next()?.trim().parse().ok()?];
        stream.read_exact(&mut body).ok()?;
    }
    Some((head, String::from_utf8(body).ok()?))
}

#[async_trait]
impl ProxyHttp for Hooks {
    type CTX = ();

    fn new_ctx(&self) {}

    fn on_connection_reuse(
        &self,
        _: &mut Session,
        (): &mut (),
        context: Box<dyn Any + Send + Sync>,
    ) {
        Arrival::reached(context);
    }

    async fn request_filter(&self, session: &mut Session, (): &mut ()) -> pingora::Result<bool> {
        if session.req_header().headers.contains_key("x-refuse") {
            let mut answer = ResponseHeader::build(401, None)?;
            answer.insert_header("Content-Length", "2")?;
            session
                .write_response_header(Box::new(answer), false)
                .await?;
            session
                .write_response_body(Some(Bytes::from_static(b"no")), true)
                .await?;
            return Ok(true);
        }
        Ok(false)
    }

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }
}
