//! A small HTTP/1.1 server on bare sockets: it sees each header line as sent, and can misbehave
//! in every way in which a real server may.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

use super::client::Transport;

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Header lines in order, spelled as sent, repeated ones too.
    pub(crate) lines: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// The target without its query.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap()
    }

    /// Every value of a field.
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

    /// The decoded fields of a form body, in order.
    pub(crate) fn form(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(&self.body)
            .into_owned()
            .collect()
    }

    /// A form field that comes once at most.
    #[track_caller]
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let mut values = self
            .form()
            .into_iter()
            .filter(|(n, _)| n == name)
            .map(|(_, v)| v);
        let first = values.next();
        assert!(values.next().is_none(), "{name} came twice in the form");
        first
    }
}

/// What a server says, and how.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) lines: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) delay: Duration,
    pub(crate) manner: Manner,
}

/// How an answer is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// In chunks.
    Chunked,
    /// The connection is closed instead.
    HangUp,
    /// Nothing is ever said.
    Silent,
    /// With half of the promised body, then the connection is closed.
    Truncated,
    /// With a length.
    Whole,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            lines: Vec::new(),
            body: body.into(),
            delay: Duration::ZERO,
            manner: Manner::Whole,
        }
    }

    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::new(status, body.to_string()).header("Content-Type", "application/json")
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.lines.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    pub(crate) fn manner(mut self, manner: Manner) -> Self {
        self.manner = manner;
        self
    }
}

/// Every value of a field among header lines.
pub(crate) fn all<'a>(lines: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    lines
        .iter()
        .filter(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, v)| v.as_str())
        .collect()
}

/// What decides the answers of a server.
pub(crate) type Handler =
    Arc<dyn Fn(Request) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

/// Serves until the handle is aborted; then every connection ends too.
pub(crate) fn serve(listener: TcpListener, handler: Handler) -> JoinHandle<()> {
    serve_over(listener, None, handler)
}

/// The same over TLS, where a certificate is given.
pub(crate) fn serve_over(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    handler: Handler,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    let _ = stream.set_nodelay(true);
                    let (tls, handler) = (tls.clone(), Arc::clone(&handler));
                    connections.spawn(async move {
                        let Some(tls) = tls else {
                            return converse(stream, handler).await;
                        };
                        // Whoever does not trust the certificate goes away.
                        if let Ok(stream) = tls.accept(stream).await {
                            converse(stream, handler).await;
                        }
                    });
                }
                Some(_) = connections.join_next() => {}
            }
        }
    })
}

async fn converse(stream: impl Transport, handler: Handler) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read_request(&mut stream).await {
        let no_body = request.method == "HEAD";
        let answer = handler(request).await;
        tokio::time::sleep(answer.delay).await;
        if !write_answer(&mut stream, &answer, no_body).await {
            return;
        }
    }
}

/// Reads header lines up to the empty one; `None` at the end of the connection.
pub(crate) async fn read_head<S: AsyncBufReadExt + Unpin>(
    stream: &mut S,
) -> Option<(String, Vec<(String, String)>)> {
    let first = read_line(stream).await?;
    let mut lines = Vec::new();
    loop {
        let line = read_line(stream).await?;
        if line.is_empty() {
            return Some((first, lines));
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        lines.push((name.to_owned(), value.trim().to_owned()));
    }
}

/// Reads a body as its framing fields say; `None` where the connection ended too soon.
pub(crate) async fn read_body<S: AsyncBufReadExt + Unpin>(
    stream: &mut S,
    lines: &[(String, String)],
) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    if all(lines, "transfer-encoding")
        .iter()
        .any(|v| v.eq_ignore_ascii_case("chunked"))
    {
        loop {
            let line = read_line(stream).await?;
            let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).await.ok()?;
            if size == 0 {
                return Some(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }
    if let Some(length) = all(lines, "content-length").first() {
        body = vec![0; length.parse().ok()?];
        stream.read_exact(&mut body).await.ok()?;
    }
    Some(body)
}

/// Reads one line without its end.
pub(crate) async fn read_line<S: AsyncBufReadExt + Unpin>(stream: &mut S) -> Option<String> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await.ok()?;
    line.ends_with(b"\n")
        .then(|| String::from_utf8_lossy(&line).trim_end().to_owned())
}

async fn read_request(stream: &mut BufReader<impl Transport>) -> Option<Request> {
    let (first, lines) = read_head(stream).await?;
    if all(&lines, "expect").contains(&"100-continue") {
        stream
            .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            .await
            .ok()?;
    }
    let body = read_body(stream, &lines).await?;
    let mut words = first.split(' ');
    let method = words.next()?.to_owned();
    let target = words.next()?.to_owned();
    Some(Request {
        method,
        target,
        lines,
        body,
    })
}

/// Whether the connection may go on.
async fn write_answer(
    stream: &mut BufReader<impl Transport>,
    answer: &Answer,
    no_body: bool,
) -> bool {
    match answer.manner {
        Manner::HangUp => return false,
        Manner::Silent => std::future::pending::<()>().await,
        Manner::Chunked | Manner::Truncated | Manner::Whole => {}
    }
    let mut bytes = format!("HTTP/1.1 {} Answer\r\n", answer.status).into_bytes();
    for (name, value) in &answer.lines {
        bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    let bodiless = answer.status == 204 || answer.status == 304 || answer.status < 200;
    match answer.manner {
        Manner::Chunked => {
            bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            for chunk in answer.body.chunks(7) {
                bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
        }
        manner => {
            if !bodiless {
                let length = format!("Content-Length: {}\r\n", answer.body.len());
                bytes.extend_from_slice(length.as_bytes());
            }
            bytes.extend_from_slice(b"\r\n");
            let end = if manner == Manner::Truncated {
                answer.body.len() / 2
            } else {
                answer.body.len()
            };
            if !bodiless && !no_body {
                bytes.extend_from_slice(&answer.body[..end]);
            }
        }
    }
    let sent = stream.write_all(&bytes).await.is_ok() && stream.flush().await.is_ok();
    sent && answer.manner != Manner::Truncated
}
