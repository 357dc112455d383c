use std::{
    io::Read,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use super::*;
use crate::server::world::{World, eventually, limits};

const GRACE: Duration = Duration::from_secs(1);

fn world() -> World {
    World::new(limits(), GRACE)
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Relaxed)
}

#[test]
fn requests_share_a_connection() {
    let world = world();
    let mut client = world.client();
    for path in ["/1", "/2", "/3"] {
        let reply = client.get(path);
        assert_eq!(reply.body, format!("GET {path} HTTP/1.1\n"));
        assert!(!reply.closes());
    }
    let counters = &world.counters;
    assert_eq!(
        (count(&counters.accepted), counters.open.load(Relaxed)),
        (1, 1)
    );
    assert_eq!(count(&counters.malformed), 0);
    drop(client);
    eventually("the connection is given back", || {
        counters.open.load(Relaxed) == 0
    });
    assert_eq!(counters.in_flight.load(Relaxed), 0);
}

#[test]
fn the_shortest_request_is_answered() {
    let world = world();
    assert_eq!(
        world.client().send("GET / HTTP/1.1\r\n\r\n").reply().status,
        200
    );
}

#[test]
fn blank_lines_before_a_request_are_skipped() {
    let world = world();
    let mut client = world.client();
    client.send("\r\n\n\r\n").send("\r");
    client.send("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n\r\n");
    assert_eq!(client.reply().status, 200);
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn a_silent_client_is_closed_without_an_answer() {
    let header_timeout = Duration::from_millis(100);
    let world = World::new(
        Limits {
            header_timeout,
            ..limits()
        },
        GRACE,
    );
    assert!(world.client().is_closed());
    assert_eq!(count(&world.counters.head_timeouts), 0);
}

#[test]
fn a_slow_head_gets_408() {
    let header_timeout = Duration::from_millis(200);
    let world = World::new(
        Limits {
            header_timeout,
            ..limits()
        },
        GRACE,
    );
    let mut client = world.client();
    // Each byte comes well within the time-out, the head as a whole never.
    let drip = client.stream().get_ref().try_clone().unwrap();
    let dripping = std::thread::spawn(move || {
        use std::io::Write;
        for byte in b"GET / HTTP/1.1\r\nX: "
            .iter()
            .chain(std::iter::repeat(&b'a'))
        {
            if (&drip).write_all(&[*byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let reply = client.reply();
    assert_eq!(
        (reply.status, reply.body.as_str()),
        (408, "{\"status\":408}")
    );
    assert!(reply.closes());
    assert!(
        reply
            .head
            .contains("content-type: application/problem+json\r\n")
    );
    assert!(reply.head.contains("cache-control: no-store\r\n"));
    assert!(client.is_closed());
    assert_eq!(count(&world.counters.head_timeouts), 1);
    dripping.join().unwrap();
}

#[test]
fn a_slow_second_head_gets_408_too() {
    let header_timeout = Duration::from_millis(100);
    let world = World::new(
        Limits {
            header_timeout,
            ..limits()
        },
        GRACE,
    );
    let mut client = world.client();
    assert_eq!(client.get("/").status, 200);
    assert_eq!(client.send("GET /").reply().status, 408);
    assert!(client.is_closed());
}

#[test]
fn large_heads_get_431() {
    let world = world();
    let fields = |count: usize| "X: y\r\n".repeat(count);
    let request = |fields: &str| format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    for (name, head, status) in [
        (
            "too many bytes",
            request(&format!("X: {}\r\n", "y".repeat(5000))),
            431,
        ),
        (
            "no end in sight",
            "GET /".to_owned() + &"a".repeat(100_000),
            431,
        ),
        ("just too many fields", request(&fields(20)), 431),
        ("just enough fields", request(&fields(19)), 200),
        (
            "cookies count as one",
            request(&"Cookie: a=b\r\n".repeat(50)),
            200,
        ),
    ] {
        let mut client = world.client();
        let reply = client.send(&head).reply();
        assert_eq!(reply.status, status, "{name}");
        assert_eq!(reply.closes(), status == 431, "{name}");
        assert!(status == 200 || client.is_closed(), "{name}");
    }
    assert_eq!(count(&world.counters.head_too_large), 3);
}

#[test]
fn an_answer_to_head_has_no_body() {
    let world = world();
    let mut client = world.client();
    client.send(&format!(
        "HEAD / HTTP/1.1\r\nX: {}\r\n\r\n",
        "y".repeat(5000)
    ));
    let answer = String::from_utf8(client.rest()).unwrap();
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[test]
fn a_half_closed_client_is_answered() {
    let world = world();
    let mut client = world.client();
    client
        .send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n")
        .half_close();
    eventually("the upstream is asked", || world.upstream.count() == 1);
    world.upstream.release();
    assert_eq!(client.reply().status, 200);
    assert!(client.is_closed());
}

#[test]
fn pipelined_requests_are_answered_in_order_one_by_one() {
    let world = world();
    let mut client = world.client();
    client.send(
        "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n\
         POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello\
         GET /3 HTTP/1.1\r\nHost: h\r\nX-Refuse: 1\r\n\r\n\
         GET /4 HTTP/1.1\r\nHost: h\r\n\r\n",
    );
    assert_eq!(client.reply().body, "GET /1 HTTP/1.1\n");
    assert_eq!(client.reply().body, "POST /2 HTTP/1.1\nhello");
    assert_eq!(client.reply().status, 401);
    assert_eq!(client.reply().body, "GET /4 HTTP/1.1\n");
    assert_eq!(client.get("/5").body, "GET /5 HTTP/1.1\n");
    assert_eq!(world.upstream.count(), 4);
}

#[test]
fn a_request_may_arrive_while_another_is_answered() {
    let world = world();
    let mut client = world.client();
    client.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    eventually("the upstream is asked", || world.upstream.count() == 1);
    client.send("GET /2 HTTP/1.1\r\nHo").send("st: h\r\n\r\n");
    client
        .send("GET /3 HTTP/1.1\r\nHost: h\r\n\r\n")
        .half_close();
    world.upstream.release();
    for path in ["/hold", "/2", "/3"] {
        assert_eq!(client.reply().body, format!("GET {path} HTTP/1.1\n"));
    }
    assert!(client.is_closed());
}

#[test]
fn bodies_end_where_they_say() {
    let world = world();
    let mut client = world.client();
    let long = "x".repeat(300_000);
    let chunked = "POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\n\r\n";
    for _ in 0..2 {
        assert_eq!(
            client.send(chunked).reply().body,
            "POST /c HTTP/1.1\nhello world"
        );
        let head = format!(
            "PUT /l HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n",
            long.len()
        );
        let reply = client.send(&head).send(&long).reply();
        assert_eq!(reply.body, format!("PUT /l HTTP/1.1\n{long}"));
        let empty = "POST /e HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(client.send(empty).reply().body, "POST /e HTTP/1.1\n");
    }
    assert_eq!(world.counters.accepted.load(Relaxed), 1);
}

#[test]
fn a_refused_body_is_never_the_next_request() {
    let hidden = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    let world = world();
    let length = format!("Content-Length: {}\r\n\r\n{hidden}", hidden.len());
    let chunked = format!(
        "Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{hidden}\r\n0\r\n\r\n",
        hidden.len()
    );
    let unsent = format!("Content-Length: {}\r\n\r\n", 10_000_000);
    for body in [length, chunked, unsent] {
        let mut client = world.client();
        client.send(&format!(
            "POST / HTTP/1.1\r\nHost: h\r\nX-Refuse: 1\r\n{body}"
        ));
        let reply = client.reply();
        assert_eq!((reply.status, reply.body.as_str()), (401, "no"), "{body}");
        assert!(reply.closes());
        assert!(client.is_closed(), "{body}");
    }
    assert_eq!(world.upstream.count(), 0);
}

#[test]
fn an_answer_survives_a_body_that_nobody_reads() {
    let world = world();
    let mut client = world.client();
    client.send("POST / HTTP/1.1\r\nHost: h\r\nX-Refuse: 1\r\nContent-Length: 500000\r\n\r\n");
    client.send(&"x".repeat(500_000));
    assert_eq!(client.reply().status, 401);
    assert!(client.is_closed());
}

/// One request by any reading, or none: whatever follows it is never answered, or is answered as
/// what it is.
#[test]
fn no_framing_smuggles_a_request() {
    const NEXT: &str = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    let world = world();
    let post = |lines: &str, body: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{lines}\r\n{body}");
    let chunked = "Transfer-Encoding: chunked\r\n";
    // Refused: 400 and close.
    let refused = [
        post("Content-Length: +5\r\n", "hello"),
        post("Content-Length: -5\r\n", "hello"),
        post("Content-Length: 5,6\r\n", "hello!"),
        post("Content-Length:\r\n", "hello"),
        post("Content-Length: 0x5\r\n", "hello"),
        post("Content-Length: 5 5\r\n", "hello"),
        post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"),
        post("Content-Length: 99999999999999999999999\r\n", "hello"),
        post("Content-Length : 5\r\n", "hello"),
        post("Transfer-Encoding : chunked\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n"),
        post("Transfer-Encoding: identity\r\n", "0\r\n\r\n"),
        post("X: a\r\n Content-Length: 5\r\n", "hello"),
        post("X: a\rContent-Length: 5\r\n", "hello"),
        post("X: a\0b\r\n", ""),
        post(" X: a\r\n", ""),
        post("no colon\r\n", ""),
        format!("POST / HTTP/1.0\r\nHost: h\r\n{chunked}\r\n0\r\n\r\n"),
        "GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n".to_owned(),
        "GET / HTTP/3.0\r\nHost: h\r\n\r\n".to_owned(),
        "GET /a b HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "GET /a\tb HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "GET  / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "GE\"T / HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nNO\r\n\r\n".to_owned(),
        "\0\r\n\r\n".to_owned(),
    ];
    for request in &refused {
        let mut client = world.client();
        let reply = client.send(&format!("{request}{NEXT}")).reply();
        assert_eq!(reply.status, 400, "{request:?}");
        assert!(client.is_closed(), "{request:?}");
    }
    assert_eq!(count(&world.counters.malformed), refused.len() as u64);
    assert_eq!(world.upstream.count(), 0);
    // One clean request, or one that never ends; nothing after it but what is a request by itself.
    for (request, follows) in [
        (
            post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
            true,
        ),
        (
            post("Connection: upgrade\r\nUpgrade: websocket\r\n", ""),
            false,
        ),
        (
            post(
                "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                "0\r\n\r\n",
            ),
            false,
        ),
        (
            post(
                "Transfer-Encoding: chunked\r\nContent-Length: 99\r\n",
                "0\r\n\r\n",
            ),
            false,
        ),
        (post(chunked, "0x1\r\na\r\n0\r\n\r\n"), false),
        (post(chunked, "+1\r\na\r\n0\r\n\r\n"), false),
        (post(chunked, "-1\r\na\r\n0\r\n\r\n"), false),
        (post(chunked, "10000000000000001\r\na\r\n0\r\n\r\n"), false),
        (post(chunked, "1\r\nab\r\n0\r\n\r\n"), false),
        (post(chunked, "1\r\na0\r\n\r\n"), false),
    ] {
        world.upstream.lines.lock().unwrap().clear();
        let mut client = world.client();
        client.send(&format!("{request}{NEXT}")).half_close();
        let mut replies = 0;
        while let Some(reply) = client.try_reply() {
            replies += 1;
            assert!(
                follows || !reply.body.contains("smuggled"),
                "{request:?}: {reply:?}"
            );
        }
        assert!(
            replies <= 1 + usize::from(follows),
            "{request:?}: {replies}"
        );
        let lines = world.upstream.lines.lock().unwrap();
        let smuggled = lines
            .iter()
            .filter(|line| line.contains("smuggled"))
            .count();
        assert_eq!(smuggled, usize::from(follows), "{request:?}: {lines:?}");
    }
}

#[test]
fn http_1_0_is_kept_only_on_request() {
    let world = world();
    let mut client = world.client();
    let keep = "GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n";
    assert!(!client.send(keep).reply().closes());
    assert!(
        client
            .send("GET / HTTP/1.0\r\nHost: h\r\n\r\n")
            .reply()
            .closes()
    );
    assert!(client.is_closed());
}

#[test]
fn connect_opens_nothing() {
    let world = world();
    let mut client = world.client();
    let reply = client
        .send("CONNECT h:80 HTTP/1.1\r\nHost: h:80\r\n\r\n")
        .reply();
    assert_eq!(reply.status, 405);
    assert!(client.is_closed());
}

#[test]
fn one_connection_too_many_gets_503() {
    let world = World::new(
        Limits {
            connections: 2,
            ..limits()
        },
        GRACE,
    );
    let mut clients = [world.client(), world.client()];
    for client in &mut clients {
        assert_eq!(client.get("/").status, 200);
    }
    for _ in 0..3 {
        let mut third = world.client();
        let reply = third.get("/");
        assert_eq!(
            (reply.status, reply.body.as_str()),
            (503, "{\"status\":503}")
        );
        assert!(reply.closes());
        assert!(third.is_closed());
    }
    assert_eq!(count(&world.counters.overloaded), 3);
    let [first, mut second] = clients;
    drop(first);
    eventually("a place is free", || world.client().get("/").status == 200);
    assert_eq!(second.get("/").status, 200);
}

#[test]
fn http2_is_told_the_limits_and_half_a_head_is_cut() {
    let header_timeout = Duration::from_millis(200);
    let world = World::new(
        Limits {
            header_timeout,
            ..limits()
        },
        GRACE,
    );
    let mut client = world.client();
    client.send(std::str::from_utf8(PREFACE).unwrap());
    // An empty SETTINGS frame, then the head of a HEADERS frame that never comes.
    client
        .send("\0\0\0\x04\0\0\0\0\0")
        .send("\0\0\x40\x01\x04\0\0\0\x01");
    let mut frame = [0; 9];
    client.stream().read_exact(&mut frame).unwrap();
    assert_eq!(frame[3], 4, "not SETTINGS");
    let mut settings = vec![0; usize::from(frame[2])];
    client.stream().read_exact(&mut settings).unwrap();
    let setting = |id: u8| {
        let found = settings.chunks(6).find(|setting| setting[1] == id)?;
        Some(u32::from_be_bytes([found[2], found[3], found[4], found[5]]))
    };
    assert_eq!((setting(3), setting(6)), (Some(100), Some(4096)));
    client.rest();
}

#[tokio::test]
async fn http2_requests_are_answered() {
    let world = World::new(
        Limits {
            header_count: 3,
            ..limits()
        },
        GRACE,
    );
    let stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    for path in ["/1", "/2"] {
        let request = http::Request::get(format!("http://h{path}"))
            .body(())
            .unwrap();
        client = client.ready().await.unwrap();
        let (answer, _) = client.send_request(request, true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 200);
    }
    let large = http::Request::get("http://h/").header("x", "y".repeat(5000));
    client = client.ready().await.unwrap();
    let (answer, _) = client.send_request(large.body(()).unwrap(), true).unwrap();
    // The h2 crate answers 431 or resets the stream; the upstream is not asked in either case.
    assert!(answer.await.map_or(true, |answer| answer.status() == 431));
    assert_eq!(world.upstream.count(), 2);
    connection.abort();
}
