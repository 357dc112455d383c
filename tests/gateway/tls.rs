//! TLS on listeners: certificates by name, HTTP/2 by ALPN, renewal, and what it changes for sessions.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{
    APP, SECRET, World,
    certificates::{Authority, Kind, Pair, Validity},
    client::{Call, Connection, Response},
    eventually,
    gateway::{Gateway, Setup},
    h2c::{H2c, settings},
    pass,
    peer::h2load,
    stage::Stage,
};

/// Puts certificates on the listener, the default one first.
fn secure(setup: &mut Setup, pairs: &[&Pair]) {
    let mut list = Vec::new();
    for (index, pair) in pairs.iter().enumerate() {
        let (certificate, key) = (format!("{index}.crt"), format!("{index}.key"));
        setup
            .files
            .push((certificate.clone(), pair.certificate.clone()));
        setup.files.push((key.clone(), pair.key.clone()));
        list.push(json!({"certificate": certificate, "key": key}));
    }
    setup.config["listeners"][0]["tls"] = json!({"certificates": list});
}

async fn world(pairs: &[&Pair]) -> World {
    World::with(|setup| secure(setup, pairs)).await
}

/// The first certificate that a client is shown, DER.
async fn shown(gateway: &Gateway, authority: &Authority, name: &str) -> Vec<u8> {
    let stream = authority.connect(gateway.proxy, name, &[]).await.unwrap();
    let (_, connection) = stream.get_ref();
    connection.peer_certificates().unwrap()[0].to_vec()
}

fn der(pair: &Pair) -> Vec<u8> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    CertificateDer::from_pem_slice(pair.certificate.as_bytes())
        .unwrap()
        .to_vec()
}

async fn send(world: &World, authority: &Authority, call: &Call) -> Response {
    let stream = authority
        .connect(world.gateway.proxy, "api.test", &["http/1.1"])
        .await
        .unwrap();
    let mut connection = Connection::on(stream);
    call.send_on(&mut connection).await.unwrap()
}

#[tokio::test]
async fn who_closes_its_half_over_tls_may_wait_a_moment_and_who_leaves_holds_nothing() {
    let authority = Authority::new();
    let pair = authority.issue(&["api.test"]);
    let stage = Stage::start().await;
    let world = World::with(|setup| {
        secure(setup, &[&pair]);
        stage.stand_behind(setup);
    })
    .await;
    // With TLS's own word of the end, and without.
    for says in [true, false] {
        let stream = authority
            .connect(world.gateway.proxy, "api.test", &["http/1.1"])
            .await
            .unwrap();
        let mut client = Connection::on(stream);
        client.send(world.gateway.get("/open").bytes()).await;
        let mut upstream = stage.accept().await;
        upstream.whole_head().await.unwrap();
        if says {
            client.finish().await;
            pass(Duration::from_millis(1_000)).await;
            upstream
                .send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
                .await;
            assert_eq!(
                client.whole_head().await.expect("an answer").0,
                "HTTP/1.1 200 OK"
            );
            client.read_exact(&mut [0; 4]).await;
        }
        drop(client);
        // `timeouts.read` is a minute.
        assert!(upstream.rest().await.is_empty());
        eventually!(
            world.gateway.metric("dcr_connections", &[]).await < 0.5,
            "no connection is left"
        );
    }
}

#[tokio::test]
async fn requests_pass_over_http_1_and_the_upstream_hears_of_https() {
    let authority = Authority::new();
    let world = world(&[&authority.issue(&["api.test"])]).await;
    let call = world.flights().bearer(&world.token());
    let stream = authority
        .connect(world.gateway.proxy, "api.test", &["http/1.1"])
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut connection = Connection::on(stream);
    for _ in 0..3 {
        let response = call.send_on(&mut connection).await.unwrap();
        response.assert_status(200);
    }
    let seen = world.upstream.last();
    assert_eq!(seen.header("x-forwarded-proto"), Some("https"));
    let port = world.gateway.proxy.port().to_string();
    assert_eq!(seen.header("x-forwarded-port"), Some(port.as_str()));
}

#[tokio::test]
async fn http_2_is_chosen_by_alpn_and_its_settings_are_bounded() {
    let authority = Authority::new();
    let world = world(&[&authority.issue(&["api.test"])]).await;
    let connect = || authority.connect(world.gateway.proxy, "api.test", &["h2", "http/1.1"]);
    let stream = connect().await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut client = H2c::on(stream).await;
    let token = format!("Bearer {}", world.token());
    let request = H2c::request("GET", "/flights").header("authorization", &token);
    let response = client.send(request, &[]).await.unwrap();
    assert_eq!(response.status, 200, "{response:?}");
    let cookie = response.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.starts_with("__Host-dcr_session="), "{cookie}");
    assert_eq!(
        world.upstream.last().header("x-forwarded-proto"),
        Some("https")
    );

    let settings = settings(connect().await.unwrap()).await;
    // RFC 9113 section 6.5.2.
    let value = |id: u16| {
        settings
            .iter()
            .find(|(other, _)| *other == id)
            .map(|(_, v)| *v)
    };
    let streams = value(3).expect("MAX_CONCURRENT_STREAMS is told");
    assert!((1..=100).contains(&streams), "{streams} streams");
    let list = value(6).expect("MAX_HEADER_LIST_SIZE is told");
    assert!((1..=64 * 1024).contains(&list), "{list} bytes of fields");
}

#[tokio::test]
async fn who_chose_http_2_has_to_speak_it() {
    let authority = Authority::new();
    let world = world(&[&authority.issue(&["api.test"])]).await;
    let stream = authority
        .connect(world.gateway.proxy, "api.test", &["h2"])
        .await
        .unwrap();
    let mut connection = Connection::on(stream);
    connection
        .send(world.flights().bearer(&world.token()).bytes())
        .await;
    assert!(connection.is_closed().await);
    assert_eq!(world.upstream.hits(), 0);

    // And who chose HTTP/1.1, or nothing, is no HTTP/2 client by prior knowledge.
    for protocols in [&["http/1.1"][..], &[]] {
        let stream = authority
            .connect(world.gateway.proxy, "api.test", protocols)
            .await
            .unwrap();
        let mut connection = Connection::on(stream);
        connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        let answer = connection.rest().await;
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn the_certificate_follows_the_name() {
    let authority = Authority::new();
    let first = authority.issue(&["api.test"]);
    let exact = authority.issue(&["deep.wild.test"]);
    let wild = authority.issue(&["*.wild.test", "other.test"]);
    let world = world(&[&first, &exact, &wild]).await;
    for (name, pair) in [
        ("api.test", &first),
        ("API.test", &first),
        ("deep.wild.test", &exact),
        ("any.wild.test", &wild),
        ("other.test", &wild),
    ] {
        let got = shown(&world.gateway, &authority, name).await;
        assert!(got == der(pair), "{name}");
    }
    // No such name, or one label more than the star stands for: the default, which does not fit.
    for name in ["unknown.test", "a.b.wild.test"] {
        let refused = authority.connect(world.gateway.proxy, name, &[]).await;
        let reason = refused.unwrap_err().to_string();
        assert!(reason.contains("not valid for name"), "{name}: {reason}");
    }
}

#[tokio::test]
async fn the_certificate_follows_what_the_client_can_check() {
    let authority = Authority::new();
    let ecdsa = authority.issue(&["api.test"]);
    let rsa = authority.issue_with(&["api.test"], Kind::Rsa, Validity::Good);
    let world = world(&[&ecdsa, &rsa]).await;
    assert!(shown(&world.gateway, &authority, "api.test").await == der(&ecdsa));
    let address = world.gateway.proxy.to_string();
    // A client of TLS 1.2 that knows RSA only.
    let output = tokio::process::Command::new("openssl")
        .args(["s_client", "-connect", &address, "-servername", "api.test"])
        .args(["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"])
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("Cipher is ECDHE-RSA-AES128-GCM-SHA256"),
        "{text}"
    );
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_no_connection_ends() {
    let authority = Authority::new();
    let (old, new) = (
        authority.issue(&["api.test"]),
        authority.issue(&["api.test"]),
    );
    let world = world(&[&old]).await;
    let stream = authority
        .connect(world.gateway.proxy, "api.test", &["http/1.1"])
        .await
        .unwrap();
    let mut standing = Connection::on(stream);
    let call = world.flights().bearer(&world.token());
    call.send_on(&mut standing)
        .await
        .unwrap()
        .assert_status(200);
    assert!(shown(&world.gateway, &authority, "api.test").await == der(&old));

    // Half of a renewal is refused and changes nothing.
    world.gateway.overwrite("0.crt", &new.certificate);
    eventually!(
        world.gateway.reloads("configuration", "refused").await > 0.0,
        "the half is seen"
    );
    eventually!(
        world
            .gateway
            .logged(&["gateway.yaml", "certificates[0].key", "private key"]),
        "the log says which file is wrong"
    );
    assert!(shown(&world.gateway, &authority, "api.test").await == der(&old));

    world.gateway.overwrite("0.key", &new.key);
    eventually!(
        shown(&world.gateway, &authority, "api.test").await == der(&new),
        "the renewed certificate is shown"
    );
    call.send_on(&mut standing)
        .await
        .unwrap()
        .assert_status(200);
}

#[tokio::test]
async fn the_cookie_of_https_is_bound_to_it() {
    let authority = Authority::new();
    let pair = authority.issue(&["api.test"]);
    let world = World::with(|setup| {
        secure(setup, &[&pair]);
        let listeners = setup.config["listeners"].as_array_mut().unwrap();
        listeners.push(json!({"address": "127.0.0.1:0"}));
    })
    .await;
    let basic = world.flights().basic(APP, SECRET);
    let response = send(&world, &authority, &basic).await;
    let line = response.header("set-cookie").unwrap().to_owned();
    let (cookie, attributes) = line.split_once("; ").unwrap();
    assert!(cookie.starts_with("__Host-dcr_session="), "{line}");
    for attribute in ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"] {
        assert!(attributes.split("; ").any(|a| a == attribute), "{line}");
    }
    assert!(!attributes.contains("Domain"), "{line}");
    let by_cookie = world.flights().cookie(cookie);
    send(&world, &authority, &by_cookie)
        .await
        .assert_status(200);

    // The same value on the plain listener, under either name.
    let plain = world
        .gateway
        .addresses("proxy")
        .into_iter()
        .find(|address| *address != world.gateway.proxy)
        .unwrap();
    let bare = cookie.trim_start_matches("__Host-");
    let over_http = Call::new(plain, "GET", "/flights").cookie(cookie);
    over_http
        .send()
        .await
        .assert_problem(401, "credentials_required");
    let without = world.flights().cookie(bare);
    send(&world, &authority, &without)
        .await
        .assert_problem(401, "credentials_required");
}

#[tokio::test]
async fn a_client_that_makes_no_handshake_holds_its_place_for_a_while_only() {
    let authority = Authority::new();
    let pair = authority.issue(&["api.test"]);
    let world = World::with(|setup| {
        secure(setup, &[&pair]);
        setup.config["limits"] = json!({"header_timeout": "200ms"});
    })
    .await;
    let mut silent = Connection::open(world.gateway.proxy).await;
    assert!(silent.is_closed().await);
    let mut plain = Connection::open(world.gateway.proxy).await;
    plain.send(world.flights().bytes()).await;
    let answer = plain.response().await.unwrap();
    answer.assert_problem(400, "https_required");
    assert!(plain.is_closed().await);
    eventually!(
        world
            .gateway
            .metric(
                "dcr_connection_refusals_total",
                &[("reason", "tls_handshake")]
            )
            .await
            >= 2.0,
        "both are counted"
    );
}

#[tokio::test]
async fn one_connection_too_many_is_told_so_over_tls() {
    let authority = Authority::new();
    let pair = authority.issue(&["api.test"]);
    let world = World::with(|setup| {
        secure(setup, &[&pair]);
        setup.config["limits"] = json!({"connections": 2});
    })
    .await;
    // One in the middle of its handshake counts as much as one that stands.
    let _silent = Connection::open(world.gateway.proxy).await;
    let stream = authority
        .connect(world.gateway.proxy, "api.test", &["h2", "http/1.1"])
        .await
        .unwrap();
    let mut stands = H2c::on(stream).await;
    let response = stands.send(H2c::request("GET", "/open"), &[]).await;
    assert_eq!(response.unwrap().status, 200);
    // HTTP/2 is not offered then, so that the answer can be read.
    let stream = authority
        .connect(world.gateway.proxy, "api.test", &["h2", "http/1.1"])
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut refused = Connection::on(stream);
    let answer = world.flights().send_on(&mut refused).await.unwrap();
    answer.assert_problem(503, "overloaded");
    assert_eq!(world.gateway.status("/livez").await.status, 200);
}

#[tokio::test]
async fn h2load_loses_no_request_over_tls() {
    let authority = Authority::new();
    let world = world(&[&authority.issue(&["api.test"])]).await;
    let url = format!("https://{}/flights", world.gateway.proxy);
    let bearer = format!("Bearer {}", world.token());
    let told = h2load(&url, &bearer, 1_000).await;
    assert!(told.contains("Application protocol: h2"), "{told}");
    assert_eq!(world.upstream.hits(), 1_000);
}

#[tokio::test]
async fn old_versions_of_tls_are_refused() {
    let authority = Authority::new();
    let world = world(&[&authority.issue(&["api.test"])]).await;
    let mut stream = tokio::net::TcpStream::connect(world.gateway.proxy)
        .await
        .unwrap();
    // A ClientHello of TLS 1.1 without extensions (RFC 4346 section 7.4.1.2).
    let mut hello = vec![0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0]);
    stream.write_all(&hello).await.unwrap();
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(10), read)
        .await
        .expect("the connection is ended");
    // An alert: record type 21, level fatal, protocol_version (70) or handshake_failure (40).
    assert_eq!(answer.first(), Some(&21), "{answer:?}");
    assert!(matches!(answer.last(), Some(70 | 40)), "{answer:?}");
}

#[tokio::test]
async fn the_end_of_a_certificate_is_a_metric_and_a_warning() {
    let authority = Authority::new();
    let good = authority.issue(&["api.test"]);
    let ended = authority.issue_with(&["old.test"], Kind::Ecdsa, Validity::Ended);
    let world = world(&[&good, &ended]).await;
    eventually!(
        world.gateway.logged(&["certificates[1]", "has expired"]),
        "the log warns"
    );
    let name = "dcr_certificate_not_after_seconds";
    let end = world.gateway.metric(name, &[("name", "old.test")]).await;
    assert!((end - 1_609_459_200.0).abs() < 1.0, "{end}");
    let end = world.gateway.metric(name, &[("name", "api.test")]).await;
    assert!(end > 32_000_000_000.0, "{end}");
}
