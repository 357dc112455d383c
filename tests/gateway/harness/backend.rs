//! An upstream that can be well or sick in many ways, and speaks HTTP/1.1 or HTTP/2, with TLS or
//! without.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpListener,
    sync::Notify,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

use super::{
    certificates::Pair,
    http1::{all, read_body, read_head},
};

/// What it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http1,
    Http2,
}

/// How it answers what is no health check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// With a status and its own name.
    Answers(u16),
    /// Begins an answer, promises more than it sends, and closes.
    BreaksOff,
    /// Closes the connection, having read the request.
    HangsUp,
    /// Answers the first request of a connection, and closes at the second.
    HangsUpLater,
    /// Not before its mood changes, and then well.
    Silent,
    /// Agrees to any upgrade.
    Upgrades,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    /// `Host` or `:authority`.
    pub(crate) host: String,
    /// `h2` or `http/1.1`.
    pub(crate) protocol: &'static str,
    pub(crate) te: Option<String>,
    /// Name asked for in TLS; none for an address.
    pub(crate) sni: Option<String>,
    pub(crate) body: Vec<u8>,
}

/// A server on a free port of loopback; it ends with this value.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    speaks: Speaks,
    tls: Option<TlsAcceptor>,
    task: JoinHandle<()>,
}

struct Shared {
    name: String,
    mood: Mutex<Mood>,
    /// Status of `/healthz`.
    health: Mutex<u16>,
    seen: Mutex<Vec<Seen>>,
    checks: Mutex<Vec<Seen>>,
    opened: AtomicUsize,
    open: AtomicUsize,
    cheered: Notify,
}

/// A connection that is counted as open until dropped.
struct Open(Arc<Shared>);

impl Backend {
    /// One that is well, in plain HTTP/1.1.
    pub(crate) async fn start(name: &str) -> Self {
        Self::speaking(name, Speaks::Http1, None).await
    }

    pub(crate) async fn speaking(name: &str, speaks: Speaks, tls: Option<&Pair>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            mood: Mutex::new(Mood::Answers(200)),
            health: Mutex::new(200),
            seen: Mutex::default(),
            checks: Mutex::default(),
            opened: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            cheered: Notify::new(),
        });
        let tls = tls.map(|pair| acceptor(pair, speaks));
        let task = serve(listener, Arc::clone(&shared), speaks, tls.clone());
        Self {
            address,
            shared,
            speaks,
            tls,
            task,
        }
    }

    pub(crate) fn mood(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
        self.shared.cheered.notify_waiters();
    }

    /// From now on says this to health checks.
    pub(crate) fn health(&self, status: u16) {
        *self.shared.health.lock().unwrap() = status;
    }

    /// Closes its port and every connection.
    pub(crate) async fn down(&mut self) {
        self.task.abort();
        // It has let go of the port when it has ended.
        let _ = (&mut self.task).await;
    }

    /// Opens the same port again.
    pub(crate) async fn up(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.task = serve(
            listener,
            Arc::clone(&self.shared),
            self.speaks,
            self.tls.clone(),
        );
    }

    /// Everything that arrived but health checks.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub(crate) fn hits(&self) -> usize {
        self.shared.seen.lock().unwrap().len()
    }

    /// Every health check that arrived.
    pub(crate) fn checks(&self) -> Vec<Seen> {
        self.shared.checks.lock().unwrap().clone()
    }

    /// Connections that were ever made.
    pub(crate) fn opened(&self) -> usize {
        self.shared.opened.load(SeqCst)
    }

    /// Connections that there are.
    pub(crate) fn open(&self) -> usize {
        self.shared.open.load(SeqCst)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, SeqCst);
    }
}

impl Shared {
    /// Writes a request down; how to answer it.
    fn take_in(&self, seen: Seen) -> Mood {
        if seen.path == "/healthz" {
            self.checks.lock().unwrap().push(seen);
            return Mood::Answers(*self.health.lock().unwrap());
        }
        self.seen.lock().unwrap().push(seen);
        *self.mood.lock().unwrap()
    }
}

/// What a server with this certificate does with a new connection.
pub(crate) fn acceptor(pair: &Pair, speaks: Speaks) -> TlsAcceptor {
    let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes());
    let chain = chain.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = builder
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = match speaks {
        Speaks::Http1 => vec![b"http/1.1".to_vec()],
        Speaks::Http2 => vec![b"h2".to_vec()],
    };
    TlsAcceptor::from(Arc::new(config))
}

fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    speaks: Speaks,
    tls: Option<TlsAcceptor>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let Ok((stream, _)) = accepted else { continue };
                    let _ = stream.set_nodelay(true);
                    shared.opened.fetch_add(1, SeqCst);
                    shared.open.fetch_add(1, SeqCst);
                    let open = Open(Arc::clone(&shared));
                    let tls = tls.clone();
                    connections.spawn(async move {
                        match tls {
                            None => converse(stream, &open.0, speaks, None).await,
                            Some(tls) => {
                                let Ok(stream) = tls.accept(stream).await else { return };
                                let sni = stream.get_ref().1.server_name().map(str::to_owned);
                                converse(stream, &open.0, speaks, sni).await;
                            }
                        }
                    });
                }
                Some(_) = connections.join_next() => {}
            }
        }
    })
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    shared: &Arc<Shared>,
    speaks: Speaks,
    sni: Option<String>,
) {
    match speaks {
        Speaks::Http1 => {
            let _ = converse_http1(stream, shared, sni).await;
        }
        Speaks::Http2 => converse_http2(stream, shared, sni).await,
    }
}

async fn converse_http1<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    shared: &Shared,
    sni: Option<String>,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut first = true;
    loop {
        let (line, lines) = read_head(&mut stream).await?;
        let body = read_body(&mut stream, &lines).await?;
        let mut words = line.split(' ');
        let one = |name: &str| all(&lines, name).first().map(|value| (*value).to_owned());
        let mood = shared.take_in(Seen {
            method: words.next()?.to_owned(),
            path: words.next()?.to_owned(),
            host: one("host").unwrap_or_default(),
            protocol: "http/1.1",
            te: one("te"),
            sni: sni.clone(),
            body,
        });
        let answer = match mood {
            Mood::HangsUp => return None,
            Mood::HangsUpLater if !first => return None,
            Mood::Silent => {
                shared.cheered.notified().await;
                head(200, &shared.name)
            }
            Mood::Upgrades => {
                let answer = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
                stream.write_all(answer).await.ok()?;
                // Until the other side ends.
                tokio::io::copy(&mut stream, &mut tokio::io::sink())
                    .await
                    .ok()?;
                return None;
            }
            Mood::BreaksOff => "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf".to_owned(),
            Mood::Answers(status) => head(status, &shared.name),
            Mood::HangsUpLater => head(200, &shared.name),
        };
        stream.write_all(answer.as_bytes()).await.ok()?;
        if mood == Mood::BreaksOff {
            return None;
        }
        first = false;
    }
}

fn head(status: u16, name: &str) -> String {
    format!(
        "HTTP/1.1 {status} Answer\r\nContent-Length: {}\r\n\r\n{name}",
        name.len()
    )
}

async fn converse_http2<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    shared: &Arc<Shared>,
    sni: Option<String>,
) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let (shared, sni) = (Arc::clone(shared), sni.clone());
        tokio::spawn(async move {
            let (head, mut stream) = request.into_parts();
            let mut body = Vec::new();
            while let Some(Ok(data)) = stream.data().await {
                let _ = stream.flow_control().release_capacity(data.len());
                body.extend_from_slice(&data);
            }
            let authority = head.uri.authority().map(ToString::to_string);
            let mood = shared.take_in(Seen {
                method: head.method.to_string(),
                path: head.uri.path().to_owned(),
                host: authority.unwrap_or_default(),
                protocol: "h2",
                te: (head.headers.get("te")).map(|te| te.to_str().unwrap().to_owned()),
                sni,
                body,
            });
            let status = match mood {
                Mood::Answers(status) => status,
                Mood::Silent => {
                    shared.cheered.notified().await;
                    200
                }
                _ => return respond.send_reset(h2::Reason::INTERNAL_ERROR),
            };
            let answer = http::Response::builder().status(status).body(()).unwrap();
            if let Ok(mut stream) = respond.send_response(answer, false) {
                let name = Bytes::from(shared.name.clone());
                let _ = stream.send_data(name, true);
            }
        });
    }
}
