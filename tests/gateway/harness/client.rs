//! A client on bare sockets: it can send what no library would.

use std::{net::SocketAddr, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::http1::{all, read_body, read_head, read_line};

/// Longest wait for an answer; far above every time-out that a test configures.
const PATIENCE: Duration = Duration::from_secs(15);

/// Fields that an answer may carry. Whatever else appears was leaked or made up.
const ALLOWED: &[&str] = &[
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-expose-headers",
    "access-control-max-age",
    "allow",
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "date",
    "etag",
    "idempotency-replayed",
    "keep-alive",
    "location",
    "retry-after",
    "sec-websocket-accept",
    "set-cookie",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "www-authenticate",
    "x-request-id",
];

/// What pages for people and what they load have beside those.
const OF_PAGES: &[&str] = &[
    "content-security-policy",
    "cross-origin-opener-policy",
    "cross-origin-resource-policy",
    "referrer-policy",
    "refresh",
    "x-content-type-options",
];

/// An answer of the gateway.
#[derive(Clone)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) lines: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = self.text();
        let start: String = text.chars().take(500).collect();
        write!(f, "{} {:?} {start}", self.status, self.lines)
    }
}

impl Response {
    pub(crate) fn headers(&self, name: &str) -> Vec<&str> {
        all(&self.lines, name)
    }

    /// The value of a field that comes once at most.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let values = self.headers(name);
        assert!(
            values.len() < 2,
            "{name} came {} times: {values:?}",
            values.len()
        );
        values.first().copied()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("not JSON ({e}): {self:?}"))
    }

    /// The challenges, one text each.
    pub(crate) fn challenges(&self) -> Vec<&str> {
        self.headers("www-authenticate")
    }

    /// The challenge of one scheme.
    #[track_caller]
    pub(crate) fn challenge(&self, scheme: &str) -> &str {
        let found = self
            .challenges()
            .into_iter()
            .find(|c| c.starts_with(scheme));
        found.unwrap_or_else(|| panic!("no {scheme} challenge: {self:?}"))
    }

    /// The session cookie that was set, as `name=value`.
    pub(crate) fn cookie(&self) -> Option<String> {
        let set = self
            .headers("set-cookie")
            .into_iter()
            .find(|c| c.contains("dcr_session="))?;
        Some(set.split(';').next().unwrap().trim().to_owned())
    }

    /// An answer of our own: RFC 9457, never stored, and the code that the design's table names.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, code: &str) -> &Self {
        assert_eq!(
            (self.status, self.code().as_str()),
            (status, code),
            "{self:?}"
        );
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let stored = self.header("cache-control").unwrap_or_default();
        assert!(stored.contains("no-store"), "may be stored: {self:?}");
        let body = self.json();
        for member in ["type", "title", "request_id"] {
            assert!(body[member].is_string(), "{member} is missing: {self:?}");
        }
        assert_eq!(body["status"], status, "{self:?}");
        assert_eq!(
            self.challenges().is_empty(),
            status != 401 && !challenged(code),
            "{self:?}"
        );
        self
    }

    /// An answer of the admin address: RFC 9457 too, but for a request that has no id.
    #[track_caller]
    pub(crate) fn assert_problem_without_id(&self, status: u16, code: &str) {
        let found = (self.status, self.code());
        assert_eq!(found, (status, code.to_owned()), "{self:?}");
        let kind = self.header("content-type");
        assert_eq!(kind, Some("application/problem+json"), "{self:?}");
        assert_eq!(self.header("cache-control"), Some("no-store"), "{self:?}");
    }

    #[track_caller]
    pub(crate) fn assert_status(&self, status: u16) -> &Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// The member `code` of a problem; empty where there is none.
    pub(crate) fn code(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Every field is one that we know, and none that speaks of the caller's identity.
    #[track_caller]
    fn assert_no_strange_fields(&self) {
        for (name, value) in &self.lines {
            let name = name.to_ascii_lowercase();
            // Pingora answers a malformed head itself, with an empty body and its name.
            if name == "server" && value == "Pingora" && self.body.is_empty() {
                continue;
            }
            // A real nginx, before or behind the gateway, says who it is.
            let nginx = name == "server" && value.starts_with("nginx");
            let known = ALLOWED.contains(&name.as_str()) || name.starts_with("x-upstream-");
            let is_page = self
                .header("content-type")
                .is_none_or(|form| form != "application/json");
            let known = known || nginx || (is_page && OF_PAGES.contains(&name.as_str()));
            assert!(known, "unexpected field {name}: {value} in {self:?}");
        }
    }
}

/// Codes whose answers carry a challenge although they are no 401 (RFC 6750 section 3.1).
fn challenged(code: &str) -> bool {
    matches!(code, "invalid_request" | "insufficient_scope")
}

/// What a connection runs on: TCP, or TLS over it.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// One connection, open until dropped.
pub(crate) struct Connection {
    stream: BufReader<Box<dyn Transport>>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address)
            .await
            .expect("the gateway's port is open");
        stream.set_nodelay(true).unwrap();
        Self::on(stream)
    }

    /// Takes a connection that stands already, one over TLS for example.
    pub(crate) fn on(stream: impl Transport + 'static) -> Self {
        Self {
            stream: BufReader::new(Box::new(stream)),
        }
    }

    /// Sends bytes as they stand. The other side may have closed already; that shows in reading.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Closes the sending half.
    pub(crate) async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// The next final answer; `None` where the connection ended without one.
    pub(crate) async fn response(&mut self) -> Option<Response> {
        self.response_to("GET").await
    }

    /// The next final answer to a request of this method.
    pub(crate) async fn response_to(&mut self, method: &str) -> Option<Response> {
        let response = timeout(PATIENCE, self.read(method))
            .await
            .expect("an answer in time")?;
        response.assert_no_strange_fields();
        Some(response)
    }

    /// Whether the other side closes, having sent nothing more.
    pub(crate) async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        let end = timeout(Duration::from_secs(5), self.stream.read_to_end(&mut rest)).await;
        end.is_ok() && rest.is_empty()
    }

    /// All bytes up to the end of the connection.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await;
        rest
    }

    /// Fills a buffer with what comes next.
    pub(crate) async fn read_exact(&mut self, bytes: &mut [u8]) {
        let read = timeout(PATIENCE, self.stream.read_exact(bytes)).await;
        read.expect("bytes in time").expect("as many bytes");
    }

    /// What comes next, as much of it as there is; `None` at the end of the connection.
    pub(crate) async fn read_some(&mut self, bytes: &mut [u8]) -> Option<usize> {
        let read = timeout(PATIENCE, self.stream.read(bytes)).await;
        read.expect("bytes in time").ok().filter(|read| *read > 0)
    }

    /// The next head, be it of a request or an answer: its first line, and its fields.
    pub(crate) async fn whole_head(&mut self) -> Option<(String, Vec<(String, String)>)> {
        let head = timeout(PATIENCE, read_head(&mut self.stream)).await;
        head.expect("a head in time")
    }

    /// The next line without its end.
    pub(crate) async fn line(&mut self) -> Option<String> {
        let line = timeout(PATIENCE, read_line(&mut self.stream)).await;
        line.expect("a line in time")
    }

    /// Whether nothing comes for a moment: only for what must *not* happen.
    pub(crate) async fn is_silent(&mut self) -> bool {
        let waited = timeout(Duration::from_millis(200), self.stream.fill_buf()).await;
        waited.is_err()
    }

    /// The next 1xx or final answer's head line.
    pub(crate) async fn head(&mut self) -> Option<String> {
        let head = timeout(PATIENCE, read_head(&mut self.stream))
            .await
            .expect("an answer in time");
        head.map(|(first, _)| first)
    }

    async fn read(&mut self, method: &str) -> Option<Response> {
        loop {
            let (first, lines) = read_head(&mut self.stream).await?;
            let status: u16 = first.split(' ').nth(1)?.parse().ok()?;
            if (100..200).contains(&status) && status != 101 {
                continue;
            }
            let framed = !all(&lines, "content-length").is_empty()
                || !all(&lines, "transfer-encoding").is_empty();
            let body = if method == "HEAD" || matches!(status, 101 | 204 | 304) {
                Vec::new()
            } else if framed {
                read_body(&mut self.stream, &lines).await?
            } else {
                let mut body = Vec::new();
                self.stream.read_to_end(&mut body).await.ok()?;
                body
            };
            return Some(Response {
                status,
                lines,
                body,
            });
        }
    }
}

/// A request to send, alone on its connection.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) address: SocketAddr,
    pub(crate) method: String,
    target: String,
    host: String,
    lines: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Call {
    pub(crate) fn new(address: SocketAddr, method: &str, target: &str) -> Self {
        Self {
            address,
            method: method.to_owned(),
            target: target.to_owned(),
            host: "api.test".to_owned(),
            lines: Vec::new(),
            body: None,
        }
    }

    pub(crate) fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.lines.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn authorization(self, value: &str) -> Self {
        self.header("Authorization", value)
    }

    pub(crate) fn basic(self, id: &str, secret: &str) -> Self {
        let pair = BASE64_STANDARD.encode(format!("{id}:{secret}"));
        self.authorization(&format!("Basic {pair}"))
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.authorization(&format!("Bearer {token}"))
    }

    pub(crate) fn cookie(self, cookie: &str) -> Self {
        self.header("Cookie", cookie)
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// The request as bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut text = format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\n",
            self.method, self.target, self.host
        );
        for (name, value) in &self.lines {
            text += &format!("{name}: {value}\r\n");
        }
        if let Some(body) = &self.body {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        text += "\r\n";
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }

    /// Sends on a connection of its own.
    pub(crate) async fn send(&self) -> Response {
        let mut connection = Connection::open(self.address).await;
        self.send_on(&mut connection)
            .await
            .expect("an answer, not the end of the connection")
    }

    /// Sends on an open connection; `None` where it ended.
    pub(crate) async fn send_on(&self, connection: &mut Connection) -> Option<Response> {
        connection.send(self.bytes()).await;
        connection.response_to(&self.method).await
    }
}
