//! An upstream of WebSockets on bare sockets, whose tunnel echoes bytes.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

use super::{gateway::Setup, http1::read_head};

const GRANT: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\n\r\n";

/// An upstream that grants each upgrade and echoes what comes through the tunnel.
pub(crate) struct Sockets {
    address: String,
    opened: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Sockets {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (opened, closed) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let shared = (Arc::clone(&opened), Arc::clone(&closed), Arc::clone(&heads));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (opened, closed, heads) = shared.clone();
                opened.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    converse(stream, &heads).await;
                    closed.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        Self {
            address,
            opened,
            closed,
            heads,
        }
    }

    /// Puts it behind `flights`, and the ordinary upstream behind a new API `plain`.
    pub(crate) fn stand_behind(&self, setup: &mut Setup) {
        let mut plain = setup.config["apis"][0].clone();
        plain["name"] = json!("plain");
        plain["routes"] = json!([{"paths": ["/plain"]}]);
        let apis = setup.config["apis"].as_array_mut().unwrap();
        apis.push(plain);
        setup.applications["applications"][0]["registrations"]["plain"] = json!("approved");
        setup.config["apis"][0]["upstream"]["targets"] = json!([{"address": self.address}]);
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// How many connections there were.
    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }

    /// How many of them have ended.
    pub(crate) fn closed(&self) -> usize {
        self.closed.load(Ordering::Relaxed)
    }

    /// The head of the latest upgrade.
    pub(crate) fn last_head(&self) -> String {
        self.heads.lock().unwrap().last().cloned().unwrap()
    }
}

async fn converse(stream: TcpStream, heads: &Mutex<Vec<String>>) {
    let mut stream = BufReader::new(stream);
    let Some((first, lines)) = read_head(&mut stream).await else {
        return;
    };
    let lines = lines
        .iter()
        .map(|(name, value)| format!("{name}: {value}\n"));
    let head = format!("{first}\n{}", lines.collect::<String>());
    heads.lock().unwrap().push(head);
    if stream.write_all(GRANT).await.is_err() {
        return;
    }
    loop {
        let Ok(bytes) = stream.fill_buf().await else {
            return;
        };
        let bytes = bytes.to_vec();
        if bytes.is_empty() || stream.write_all(&bytes).await.is_err() {
            return;
        }
        stream.consume(bytes.len());
    }
}
