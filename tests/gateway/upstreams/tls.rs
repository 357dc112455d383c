//! TLS and HTTP/2 towards upstreams: never unverified.

use serde_json::{Value, json};

use super::{line, targets};
use crate::harness::{
    World,
    backend::{Backend, Speaks},
    certificates::{Authority, Kind, Pair, Validity},
    client::Connection,
    eventually,
    h2c::H2c,
};

/// A world whose API `open` has this upstream, with an authority's certificate in `ca.pem`.
async fn trusting(authority: &Authority, upstream: Value) -> World {
    World::with(|s| {
        s.files.push(("ca.pem".to_owned(), authority.pem()));
        s.config["apis"][1]["upstream"] = upstream;
    })
    .await
}

async fn over_tls(pair: &Pair) -> Backend {
    Backend::speaking("a", Speaks::Http1, Some(pair)).await
}

#[tokio::test]
async fn a_certificate_is_verified_by_the_own_authority_and_name() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let named = ours.issue(&["flights.internal"]);
    let numbered = ours.issue(&["127.0.0.1"]);
    let foreign = theirs.issue(&["flights.internal"]);
    let ended = ours.issue_with(&["flights.internal"], Kind::Ecdsa, Validity::Ended);
    let sni = json!({"sni": "flights.internal", "ca_file": "ca.pem"});
    let address = json!({"ca_file": "ca.pem"});
    for (case, pair, tls, reason) in [
        ("the name", &named, &sni, None),
        ("the address", &numbered, &address, None),
        (
            "another authority",
            &foreign,
            &sni,
            Some("tls_certificate_untrusted"),
        ),
        (
            "another name",
            &numbered,
            &sni,
            Some("tls_certificate_name"),
        ),
        (
            "no such address",
            &named,
            &address,
            Some("tls_certificate_name"),
        ),
        ("expired", &ended, &sni, Some("tls_certificate_expired")),
        (
            "the system's authorities",
            &named,
            &json!({"sni": "flights.internal"}),
            Some("tls_certificate_untrusted"),
        ),
    ] {
        let backend = over_tls(pair).await;
        let world = trusting(&ours, json!({"targets": targets(&[&backend]), "tls": tls})).await;
        let response = world.gateway.get("/open").send().await;
        let line = line(&world, 1).await;
        let Some(reason) = reason else {
            response.assert_status(200);
            let seen = backend.seen().pop().unwrap();
            assert_eq!(
                (seen.host.as_str(), seen.protocol),
                ("api.test", "http/1.1"),
                "{case}"
            );
            // An address is not sent as a name (RFC 6066 section 3).
            let name = tls["sni"].as_str().map(str::to_owned);
            assert_eq!(seen.sni, name, "{case}");
            continue;
        };
        response.assert_problem(502, "upstream_failed");
        assert_eq!(line["reason"], reason, "{case}: {line}");
        let detail = line["upstream_detail"].as_str().unwrap();
        assert!(
            detail.contains("invalid peer certificate"),
            "{case}: {line}"
        );
        assert_eq!(backend.hits(), 0, "{case}");
    }
}

#[tokio::test]
async fn a_handshake_that_fails_or_hangs_is_told_apart() {
    let authority = Authority::new();
    let plain = Backend::start("a").await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = trusting(&authority, json!({
        "targets": targets(&[&plain]), "tls": {"ca_file": "ca.pem"}, "timeouts": {"connect": "300ms"},
    }))
    .await;
    let address = silent.local_addr().unwrap().to_string();
    world
        .gateway
        .reconfigure(|c| {
            let mut other = c["apis"][1].clone();
            other["name"] = json!("silent");
            other["routes"] = json!([{"paths": ["/silent"]}]);
            other["upstream"]["targets"] = json!([{"address": address}]);
            c["apis"].as_array_mut().unwrap().push(other);
        })
        .await;
    let response = world.gateway.get("/silent").send().await;
    response.assert_problem(504, "upstream_timeout");
    // A plain server answers a handshake with an error, or waits for a line that never ends.
    let response = world.gateway.get("/open").send().await;
    assert!([502, 504].contains(&response.status), "{response:?}");
    assert_eq!(plain.hits(), 0);
}

#[tokio::test]
async fn http2_is_spoken_with_tls_and_without_on_one_connection() {
    let authority = Authority::new();
    let pair = authority.issue(&["flights.internal"]);
    for (protocol, tls) in [("h2", true), ("h2c", false)] {
        let backend = Backend::speaking("a", Speaks::Http2, tls.then_some(&pair)).await;
        let mut upstream = json!({"targets": targets(&[&backend]), "protocol": protocol});
        if tls {
            upstream["tls"] = json!({"sni": "flights.internal", "ca_file": "ca.pem"});
        }
        let world = trusting(&authority, upstream).await;
        for method in ["GET", "POST"] {
            let call = world.gateway.call(method, "/open/x").body("body");
            let response = call.send().await;
            assert_eq!(response.assert_status(200).text(), "a", "{protocol}");
        }
        let seen = backend.seen().pop().unwrap();
        assert_eq!((seen.protocol, seen.path.as_str()), ("h2", "/open/x"));
        assert_eq!(
            (seen.host.as_str(), seen.body.as_slice()),
            ("api.test", b"body".as_slice())
        );
        let mut client = H2c::open(world.gateway.proxy).await;
        let request = H2c::request("GET", "/open").header("te", "trailers");
        assert_eq!(client.send(request, &[]).await.unwrap().status, 200);
        assert_eq!(
            backend.seen().pop().unwrap().te.as_deref(),
            Some("trailers"),
            "{protocol}"
        );
        // Many at once share a connection.
        let calls = (0..20).map(|_| {
            let call = world.gateway.get("/open");
            tokio::spawn(async move { call.send().await.status })
        });
        for call in calls.collect::<Vec<_>>() {
            assert_eq!(call.await.unwrap(), 200);
        }
        assert!(
            backend.opened() < 10,
            "{protocol}: {} connections",
            backend.opened()
        );
    }
}

#[tokio::test]
async fn an_http1_server_is_not_mistaken_for_http2() {
    let backend = Backend::start("a").await;
    let world = trusting(
        &Authority::new(),
        json!({"targets": targets(&[&backend]), "protocol": "h2c", "timeouts": {"read": "500ms"}}),
    )
    .await;
    let response = world.gateway.get("/open").send().await;
    assert!([502, 504].contains(&response.status), "{response:?}");
    assert!(!response.code().is_empty());
}

#[tokio::test]
async fn an_authority_is_replaced_with_its_file() {
    let (old, new) = (Authority::new(), Authority::new());
    let backend = over_tls(&old.issue(&["127.0.0.1"])).await;
    let world = trusting(
        &old,
        json!({"targets": targets(&[&backend]), "tls": {"ca_file": "ca.pem"}}),
    )
    .await;
    let mut connection = Connection::open(world.gateway.proxy).await;
    let get = world.gateway.get("/open");
    get.send_on(&mut connection)
        .await
        .unwrap()
        .assert_status(200);
    let applied = world.gateway.reloads("configuration", "applied").await;
    world.gateway.overwrite("ca.pem", &new.pem());
    eventually!(
        world.gateway.reloads("configuration", "applied").await > applied,
        "the file is watched"
    );
    // Not even on the connection that is kept from before.
    let response = get.send_on(&mut connection).await.unwrap();
    response.assert_problem(502, "upstream_failed");
    let refused = world.gateway.reloads("configuration", "refused").await;
    world.gateway.overwrite("ca.pem", "no certificate");
    eventually!(
        world.gateway.reloads("configuration", "refused").await > refused,
        "a broken one is refused"
    );
    eventually!(
        world.gateway.logged(&["tls.ca_file", "PEM certificates"]),
        "the log says why"
    );
    // Both: the change of an authority without a gap.
    world.gateway.overwrite("ca.pem", &(new.pem() + &old.pem()));
    eventually!(get.send().await.status == 200, "the good one is in force");
}
