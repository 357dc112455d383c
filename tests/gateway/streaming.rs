//! Bodies that are long, slow or endless: they pass as they come, and cost no memory.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::Response;
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::timeout};

use crate::harness::{
    World,
    client::Connection,
    eventually,
    gateway::{Gateway, Setup},
    h2c::H2c,
    http1::all,
    pass,
    peer::h2load,
    stage::Stage,
};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// What a body may cost, whatever its size.
const BOUND: u64 = 64 * MIB;
/// Longest wait for a large body; it says nothing of speed.
const PATIENCE: Duration = Duration::from_secs(180);

static ZEROS: [u8; 1 << 20] = [0; 1 << 20];

async fn staged() -> (World, Stage) {
    let stage = Stage::start().await;
    let world = World::with(|setup| stage.stand_behind(setup)).await;
    (world, stage)
}

/// Watches the gateway's memory while bytes are counted.
struct Scale<'g> {
    gateway: &'g Gateway,
    before: u64,
    most: u64,
    passed: u64,
}

impl<'g> Scale<'g> {
    fn new(gateway: &'g Gateway) -> Self {
        let before = gateway.memory() * 1024;
        Self {
            gateway,
            before,
            most: before,
            passed: 0,
        }
    }

    fn count(&mut self, bytes: u64) {
        let step = |passed: u64| passed / (8 * MIB);
        if step(self.passed) != step(self.passed + bytes) {
            self.most = self.most.max(self.gateway.memory() * 1024);
        }
        self.passed += bytes;
    }

    #[track_caller]
    fn assert_bounded(&self, case: &str) {
        let grown = self.most.saturating_sub(self.before);
        assert!(grown < BOUND, "{case}: {} MiB more", grown / MIB);
    }
}

/// How a body is framed in HTTP/1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Chunked,
    Length,
}

impl Framing {
    fn line(self, length: u64) -> String {
        match self {
            Self::Chunked => "Transfer-Encoding: chunked".to_owned(),
            Self::Length => format!("Content-Length: {length}"),
        }
    }

    /// Sends so many zeros.
    async fn send(self, connection: &mut Connection, mut left: u64) {
        while left > 0 {
            let part = left.min(MIB);
            let bytes = &ZEROS[..usize::try_from(part).unwrap()];
            if self == Self::Chunked {
                connection.send(format!("{part:x}\r\n")).await;
            }
            connection.send(bytes).await;
            if self == Self::Chunked {
                connection.send("\r\n").await;
            }
            left -= part;
        }
        if self == Self::Chunked {
            connection.send("0\r\n\r\n").await;
        }
    }

    /// Receives a body and counts it.
    async fn receive(self, connection: &mut Connection, length: u64, scale: &mut Scale<'_>) {
        let mut buffer = vec![1; 1 << 18];
        let mut take = async |connection: &mut Connection, mut left: u64| {
            while left > 0 {
                let most = usize::try_from(left.min(1 << 18)).unwrap();
                let read = connection.read_some(&mut buffer[..most]).await;
                let read = read.expect("the body goes on");
                assert!(buffer[..read].iter().all(|byte| *byte == 0));
                left -= read as u64;
                scale.count(read as u64);
            }
        };
        if self == Self::Length {
            return take(connection, length).await;
        }
        let mut total = 0;
        loop {
            let line = connection.line().await.expect("a chunk");
            let size = u64::from_str_radix(line.trim(), 16).unwrap();
            take(connection, size).await;
            assert_eq!(connection.line().await.as_deref(), Some(""));
            total += size;
            if size == 0 {
                break;
            }
        }
        assert_eq!(total, length);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_http_1_pass_in_bounded_memory() {
    let (world, stage) = staged().await;
    let mut client = Connection::open(world.gateway.proxy).await;
    let mut upstream = None;
    for (framing, length) in [
        (Framing::Length, GIB + 1),
        (Framing::Chunked, 128 * MIB + 1),
    ] {
        let mut scale = Scale::new(&world.gateway);
        let line = framing.line(length);
        client
            .send(format!("POST /open HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n"))
            .await;
        let receive = async {
            let mut upstream = match upstream.take() {
                Some(upstream) => upstream,
                None => stage.accept().await,
            };
            upstream.whole_head().await.expect("the connection is kept");
            framing.receive(&mut upstream, length, &mut scale).await;
            upstream
        };
        let both = async { tokio::join!(framing.send(&mut client, length), receive).1 };
        let mut answering = timeout(PATIENCE, both).await.expect("an upload in time");
        scale.assert_bounded(&format!("{framing:?}, up"));

        let send = async {
            answering
                .send(format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n"))
                .await;
            framing.send(&mut answering, length).await;
        };
        let receive = async {
            let (first, lines) = client.whole_head().await.unwrap();
            assert_eq!(first, "HTTP/1.1 200 OK");
            let length_told = all(&lines, "content-length");
            assert_eq!(length_told.is_empty(), framing == Framing::Chunked);
            framing.receive(&mut client, length, &mut scale).await;
        };
        let both = async { tokio::join!(send, receive) };
        timeout(PATIENCE, both).await.expect("a download in time");
        scale.assert_bounded(&format!("{framing:?}, down"));
        upstream = Some(answering);
    }
}

/// Sends so many zeros as the other side takes them; counts what was handed over.
pub(crate) async fn pour(stream: &mut SendStream<Bytes>, length: u64, poured: &AtomicU64) {
    let mut left = length;
    while left > 0 {
        let wanted = usize::try_from(left.min(MIB)).unwrap();
        stream.reserve_capacity(wanted);
        let capacity = std::future::poll_fn(|context| stream.poll_capacity(context)).await;
        let given = capacity.expect("the stream stays").unwrap().min(wanted);
        left -= given as u64;
        poured.fetch_add(given as u64, Relaxed);
        let bytes = Bytes::from_static(&ZEROS[..given]);
        stream.send_data(bytes, left == 0).unwrap();
    }
}

/// Takes a body to its end; says how long it was.
async fn take(stream: &mut RecvStream, mut count: impl FnMut(u64)) -> u64 {
    let mut total = 0;
    while let Some(data) = stream.data().await {
        let data = data.unwrap();
        assert!(data.iter().all(|byte| *byte == 0));
        let _ = stream.flow_control().release_capacity(data.len());
        count(data.len() as u64);
        total += data.len() as u64;
    }
    total
}

/// An upstream of HTTP/2 that takes a whole body and answers with one of that length.
async fn mirror() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, mut answer))) = connection.accept().await {
                    tokio::spawn(async move {
                        let length = take(&mut request.into_body(), |_| {}).await;
                        let head = Response::new(());
                        let mut body = answer.send_response(head, false).unwrap();
                        pour(&mut body, length, &AtomicU64::new(0)).await;
                    });
                }
            });
        }
    });
    address
}

fn over_http2(setup: &mut Setup, address: SocketAddr) {
    setup.config["apis"][1]["upstream"] =
        json!({"targets": [{"address": address.to_string()}], "protocol": "h2c"});
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_http_2_pass_in_bounded_memory() {
    let address = mirror().await;
    let world = World::with(|setup| over_http2(setup, address)).await;
    let length = 256 * MIB + 1;
    let mut scale = Scale::new(&world.gateway);
    let mut client = H2c::open(world.gateway.proxy).await;
    let request = H2c::request("POST", "/open").body(()).unwrap();
    let (answer, mut body) = client.sender.send_request(request, false).unwrap();
    let whole = async {
        pour(&mut body, length, &AtomicU64::new(0)).await;
        let mut answer = answer.await.unwrap().into_body();
        take(&mut answer, |bytes| scale.count(bytes)).await
    };
    let taken = timeout(PATIENCE, whole).await.expect("both bodies in time");
    assert_eq!(taken, length);
    scale.assert_bounded("both ways");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_pass_from_http_2_to_http_1_and_back_in_bounded_memory() {
    let (world, stage) = staged().await;
    let length = 128 * MIB + 1;
    let mut client = H2c::open(world.gateway.proxy).await;
    let request = H2c::request("POST", "/open").body(()).unwrap();
    let (answer, mut body) = client.sender.send_request(request, false).unwrap();
    let mut scale = Scale::new(&world.gateway);
    let upstream = async {
        let mut upstream = stage.accept().await;
        let (_, lines) = upstream.whole_head().await.unwrap();
        assert_eq!(all(&lines, "transfer-encoding"), ["chunked"]);
        Framing::Chunked
            .receive(&mut upstream, length, &mut scale)
            .await;
        let line = Framing::Length.line(length);
        upstream
            .send(format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n"))
            .await;
        Framing::Length.send(&mut upstream, length).await;
    };
    let client = async {
        pour(&mut body, length, &AtomicU64::new(0)).await;
        let mut answer = answer.await.unwrap().into_body();
        take(&mut answer, |_| {}).await
    };
    let both = async { tokio::join!(upstream, client).1 };
    assert_eq!(timeout(PATIENCE, both).await.expect("in time"), length);
    scale.most = scale.most.max(world.gateway.memory() * 1024);
    scale.assert_bounded("HTTP/2 before HTTP/1.1");
}

/// Waits until a count stands still, and gives it back.
pub(crate) async fn stuck(count: &AtomicU64) -> u64 {
    let mut last = u64::MAX;
    eventually!(
        {
            crate::harness::pass(Duration::from_millis(300)).await;
            let now = count.load(Relaxed);
            now > 0 && std::mem::replace(&mut last, now) == now
        },
        "nothing more is taken"
    );
    last
}

/// What may lie in buffers between the two ends, those of the kernel included.
const BUFFERED: u64 = 48 * MIB;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_slowly_makes_the_upstream_wait() {
    let (world, stage) = staged().await;
    let length = 256 * MIB;
    let mut scale = Scale::new(&world.gateway);
    let mut client = Connection::open(world.gateway.proxy).await;
    client.send("GET /open HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut upstream = stage.accept().await;
    upstream.whole_head().await.unwrap();
    let sent = Arc::new(AtomicU64::new(0));
    let sending = tokio::spawn({
        let sent = Arc::clone(&sent);
        async move {
            let line = Framing::Length.line(length);
            upstream
                .send(format!("HTTP/1.1 200 OK\r\n{line}\r\n\r\n"))
                .await;
            while sent.load(Relaxed) < length {
                upstream.send(&ZEROS).await;
                sent.fetch_add(MIB, Relaxed);
            }
        }
    });
    let taken = stuck(&sent).await;
    assert!(taken < BUFFERED, "{} MiB", taken / MIB);
    client.whole_head().await.unwrap();
    Framing::Length
        .receive(&mut client, length, &mut scale)
        .await;
    scale.assert_bounded("a slow client");
    sending.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_reads_slowly_makes_the_client_wait() {
    let (world, stage) = staged().await;
    let length = 256 * MIB;
    let mut scale = Scale::new(&world.gateway);
    let mut client = H2c::open(world.gateway.proxy).await;
    let request = H2c::request("POST", "/open").body(()).unwrap();
    let (answer, mut body) = client.sender.send_request(request, false).unwrap();
    let sent = Arc::new(AtomicU64::new(0));
    let sending = tokio::spawn({
        let sent = Arc::clone(&sent);
        async move { pour(&mut body, length, &sent).await }
    });
    let mut upstream = stage.accept().await;
    upstream.whole_head().await.unwrap();
    let taken = stuck(&sent).await;
    assert!(taken < BUFFERED, "{} MiB", taken / MIB);
    // Meanwhile others on the connection are served.
    let other = client.send(H2c::request("GET", "/flights"), &[]).await;
    assert_eq!(other.unwrap().status, 401);
    Framing::Chunked
        .receive(&mut upstream, length, &mut scale)
        .await;
    scale.assert_bounded("a slow upstream");
    upstream
        .send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .await;
    assert_eq!(
        timeout(PATIENCE, answer).await.unwrap().unwrap().status(),
        200
    );
    sending.await.unwrap();
}

const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
    Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";

fn event(n: u32) -> String {
    format!("id: {n}\ndata: seat {n}\n\n")
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    let (world, stage) = staged().await;
    let mut client = Connection::open(world.gateway.proxy).await;
    let asks = format!(
        "GET /flights HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\nLast-Event-ID: 7\r\n\
         Authorization: Bearer {}\r\n\r\n",
        world.token()
    );
    client.send(&asks).await;
    let mut upstream = stage.accept().await;
    let (_, lines) = upstream.whole_head().await.unwrap();
    assert_eq!(all(&lines, "accept"), ["text/event-stream"]);
    assert_eq!(all(&lines, "last-event-id"), ["7"]);
    // The head comes before the first event does.
    upstream.send(EVENTS).await;
    let (first, lines) = client.whole_head().await.unwrap();
    assert_eq!(first, "HTTP/1.1 200 OK");
    assert_eq!(all(&lines, "content-type"), ["text/event-stream"]);
    for n in 0..50 {
        upstream.send(chunk(&event(n))).await;
        let mut bytes = vec![0; chunk(&event(n)).len()];
        client.read_exact(&mut bytes).await;
        assert_eq!(String::from_utf8(bytes).unwrap(), chunk(&event(n)));
    }
    upstream.send("0\r\n\r\n").await;
    client.read_exact(&mut [0; 5]).await;
    // Where the client goes away, the upstream's side ends: at the first event that nobody takes,
    // since a client that closes its half may still be waiting for an answer.
    client.send(asks).await;
    upstream.whole_head().await.expect("the connection is kept");
    upstream.send(EVENTS).await;
    client.whole_head().await.unwrap();
    drop(client);
    let mut n = 0;
    eventually!(
        {
            upstream.send(chunk(&event(n))).await;
            n += 1;
            !upstream.is_silent().await
        },
        "the upstream's side ends"
    );
    assert!(upstream.is_closed().await);
}

/// A request without a body, one with, and one whose end only its reader knows.
const WHOLE: [&str; 3] = [
    "GET /open HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /open HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi",
    "POST /open HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
];

#[tokio::test]
async fn a_request_that_was_given_up_holds_no_place_at_its_upstream() {
    let (world, stage) = staged().await;
    for (nth, request) in WHOLE.into_iter().enumerate() {
        // With the beginning of another request behind it, it is as much given up.
        let begun = if nth == 1 { "GET /" } else { "" };
        let mut client = Connection::open(world.gateway.proxy).await;
        client.send(format!("{request}{begun}")).await;
        let mut upstream = stage.accept().await;
        upstream.whole_head().await.unwrap();
        drop(client);
        // `timeouts.read` is a minute.
        let asked = upstream.rest().await;
        assert!(asked.len() < 20, "{request}: no more than its body");
        let given_up = |line: &&Value| line["reason"] == "client_gone";
        eventually!(
            world.gateway.access_log().iter().filter(given_up).count() == nth + 1,
            "{request}: a line is written"
        );
    }
    eventually!(
        world.gateway.metric("dcr_connections", &[]).await < 0.5,
        "no connection is left"
    );
}

#[tokio::test]
async fn a_client_that_closes_its_half_gets_its_answer_if_that_keeps_coming() {
    let (world, stage) = staged().await;
    for request in WHOLE {
        let mut client = Connection::open(world.gateway.proxy).await;
        client.send(request).await;
        client.finish().await;
        let mut upstream = stage.accept().await;
        upstream.whole_head().await.unwrap();
        pass(Duration::from_millis(1_500)).await;
        let head = EVENTS.replace("Cache-Control", "Connection: close\r\nCache-Control");
        upstream.send(head).await;
        let (first, _) = client.whole_head().await.expect("an answer");
        assert_eq!(first, "HTTP/1.1 200 OK");
        // Far longer in all than it may be silent.
        for n in 0..3 {
            pass(Duration::from_millis(2_000)).await;
            upstream.send(chunk(&event(n))).await;
            let mut bytes = vec![0; chunk(&event(n)).len()];
            client.read_exact(&mut bytes).await;
            assert_eq!(String::from_utf8(bytes).unwrap(), chunk(&event(n)));
        }
        upstream.send("0\r\n\r\n").await;
        assert_eq!(client.rest().await, b"0\r\n\r\n");
    }
}

#[tokio::test]
async fn events_arrive_one_by_one_over_http_2() {
    let (world, stage) = staged().await;
    let mut client = H2c::open(world.gateway.proxy).await;
    let request = H2c::request("GET", "/open").body(()).unwrap();
    let (answer, _) = client.sender.send_request(request, true).unwrap();
    let mut upstream = stage.accept().await;
    upstream.whole_head().await.unwrap();
    upstream.send(EVENTS).await;
    let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut body = answer.into_body();
    for n in 0..50 {
        upstream.send(chunk(&event(n))).await;
        let mut text = Vec::new();
        while text.len() < event(n).len() {
            let data = timeout(PATIENCE, body.data())
                .await
                .unwrap()
                .unwrap()
                .unwrap();
            let _ = body.flow_control().release_capacity(data.len());
            text.extend_from_slice(&data);
        }
        assert_eq!(String::from_utf8(text).unwrap(), event(n));
    }
    // The stream is reset by its client, and the upstream's side ends.
    drop(body);
    let end = async { while upstream.read_some(&mut [0; 64]).await.is_some() {} };
    timeout(PATIENCE, end)
        .await
        .expect("the upstream's side ends");
    let other = client.send(H2c::request("GET", "/flights"), &[]).await;
    assert_eq!(other.unwrap().status, 401);
}

#[tokio::test]
async fn events_end_when_none_comes_for_as_long_as_an_upstream_may_be_silent() {
    let stage = Stage::start().await;
    let world = World::with(|setup| {
        stage.stand_behind(setup);
        setup.config["apis"][1]["upstream"]["timeouts"] = json!({"read": "1s"});
    })
    .await;
    let mut client = Connection::open(world.gateway.proxy).await;
    client.send("GET /open HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut upstream = stage.accept().await;
    upstream.whole_head().await.unwrap();
    upstream.send(EVENTS).await;
    client.whole_head().await.unwrap();
    // Together longer than any time-out of this world, each pause shorter.
    for n in 0..6 {
        crate::harness::pass(Duration::from_millis(400)).await;
        upstream.send(chunk(&event(n))).await;
        client
            .read_exact(&mut vec![0; chunk(&event(n)).len()])
            .await;
    }
    assert!(client.is_closed().await, "still open");
    eventually!(
        world.gateway.logged(&["upstream_timeout"]),
        "a line is written"
    );
}

#[tokio::test]
async fn h2load_loses_no_request() {
    let world = World::start().await;
    let url = format!("http://{}/flights", world.gateway.proxy);
    let bearer = format!("Bearer {}", world.token());
    h2load(&url, &bearer, 2_000).await;
    assert_eq!(world.upstream.hits(), 2_000);
}

#[tokio::test]
async fn an_upload_may_take_longer_than_an_upstream_may_be_silent() {
    let stage = Stage::start().await;
    let world = World::with(|setup| {
        stage.stand_behind(setup);
        setup.config["apis"][1]["upstream"]["timeouts"] = json!({"read": "1s"});
    })
    .await;
    let mut client = Connection::open(world.gateway.proxy).await;
    client
        .send("POST /open HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n")
        .await;
    let mut upstream = stage.accept().await;
    upstream.whole_head().await.unwrap();
    for _ in 0..8 {
        crate::harness::pass(Duration::from_millis(300)).await;
        client.send("x").await;
        upstream.read_exact(&mut [0; 1]).await;
    }
    upstream
        .send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .await;
    client.response().await.unwrap().assert_status(200);
}
