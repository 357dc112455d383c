//! nginx as a real upstream.

use serde_json::json;

use crate::harness::{
    World, certificates::Authority, client::Connection, eventually, nginx::Nginx,
};

#[tokio::test]
async fn requests_reach_it_over_one_kept_connection() {
    let nginx = Nginx::start(&[], |address| {
        format!("server {{ listen {address}; location / {{ return 200 'nginx'; }} }}")
    })
    .await;
    let world = World::with(|s| {
        s.config["apis"][1]["upstream"]["targets"] =
            json!([{"address": nginx.address.to_string()}]);
    })
    .await;
    let mut connection = Connection::open(world.gateway.proxy).await;
    for _ in 0..3 {
        let call = world.gateway.get("/open");
        let response = call.send_on(&mut connection).await.unwrap();
        assert_eq!(response.assert_status(200).text(), "nginx");
    }
    eventually!(nginx.access_log().len() == 3, "three requests are logged");
    let connections: Vec<_> = nginx
        .access_log()
        .iter()
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    assert!(
        connections.iter().all(|c| *c == connections[0]),
        "{connections:?}"
    );
}

#[tokio::test]
async fn it_is_spoken_to_over_tls_in_both_versions() {
    let authority = Authority::new();
    let pair = authority.issue(&["nginx.internal"]);
    let files = [
        ("server.crt", pair.certificate.as_str()),
        ("server.key", pair.key.as_str()),
    ];
    for (http2, protocol, spoken) in [("", "http1", "HTTP/1.1"), (" http2", "h2", "HTTP/2.0")] {
        let nginx = Nginx::start(&files, |address| {
            format!(
                "server {{
  listen {address} ssl{http2};
  ssl_certificate server.crt;
  ssl_certificate_key server.key;
  location / {{ return 200 '$http_host $ssl_server_name $request_method'; }}
  location /healthz {{ return 204; }}
}}"
            )
        })
        .await;
        let world = World::with(|s| {
            s.files.push(("ca.pem".to_owned(), authority.pem()));
            s.config["apis"][1]["upstream"] = json!({
                "targets": [{"address": nginx.address.to_string()}], "protocol": protocol,
                "tls": {"sni": "nginx.internal", "ca_file": "ca.pem"},
                "health_check": {"path": "/healthz", "interval": "100ms"},
            });
        })
        .await;
        for method in ["GET", "POST", "GET"] {
            let call = world.gateway.call(method, "/open").body("body");
            let response = call.send().await;
            let wanted = format!("api.test nginx.internal {method}");
            assert_eq!(response.assert_status(200).text(), wanted, "{protocol}");
        }
        let requests = || {
            let lines = nginx.access_log().into_iter();
            lines
                .filter(|line| line.contains(" /open "))
                .collect::<Vec<_>>()
        };
        eventually!(requests().len() == 3, "{protocol}: logged");
        for line in requests() {
            assert_eq!(
                line.split(' ').next(),
                requests()[0].split(' ').next(),
                "{line}"
            );
            assert_eq!(line.split(' ').nth(2), Some(spoken), "{line}");
        }
        let checks = nginx.access_log().into_iter();
        let mut checks = checks.filter(|line| line.contains("/healthz"));
        assert!(checks.all(|line| line.contains(spoken) && line.ends_with("204")));
    }
}

#[tokio::test]
async fn a_stopped_one_is_done_without() {
    let serve = |name: &'static str| {
        Nginx::start(&[], move |address| {
            format!("server {{ listen {address}; location / {{ return 200 {name}; }} }}")
        })
    };
    let (a, b) = (serve("a").await, serve("b").await);
    let world = World::with(|s| {
        s.config["apis"][1]["upstream"]["targets"] = json!([
            {"address": a.address.to_string()}, {"address": b.address.to_string()},
        ]);
    })
    .await;
    let get = world.gateway.get("/open");
    for _ in 0..4 {
        get.send().await.assert_status(200);
    }
    let address = a.address;
    drop(a);
    // One that is just ending may still take a request and not answer it.
    eventually!(
        tokio::net::TcpStream::connect(address).await.is_err(),
        "it has stopped"
    );
    // Kept connections to it are closed, new ones refused; no request is lost by that.
    for _ in 0..20 {
        get.send().await.assert_status(200);
    }
}
