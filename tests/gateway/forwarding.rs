//! What is believed and told of the hops before us, with nginx as a real terminator of TLS.

use std::{net::SocketAddr, sync::Arc};

use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpSocket, TcpStream},
};
use tokio_rustls::TlsConnector;

use crate::harness::{
    APP, World,
    certificates::Authority,
    client::{Call, Connection, Response},
    gateway::Setup,
    http1::{Request, read_head},
    nginx::Nginx,
};

/// The client before nginx, which itself comes from 127.0.0.1.
const CLIENT: &str = "127.0.0.2";
/// What most people configure.
const USUAL: &str = "proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;";

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

#[tokio::test]
async fn behind_nginx_the_cookie_is_secure_and_addresses_are_right() {
    let edge = Edge::start(USUAL, trusting).await;
    let world = &edge.world;
    let response = edge.passes(world.flights().bearer(&world.token())).await;
    let cookie = assert_secure(&response);
    assert_eq!(world.gateway.line_of(&response).await["client"], CLIENT);
    let alone = world.flights().cookie(&cookie);
    // What a client writes ahead of its proxy is no more than text.
    let spoofed = alone
        .clone()
        .header("X-Forwarded-For", "6.6.6.6")
        .header("X-Real-IP", "6.6.6.6")
        .header("Forwarded", "for=6.6.6.6;proto=http;host=evil.test")
        .header("X-Forwarded-Proto", "http");
    for (call, addresses) in [
        (alone, "127.0.0.2, 127.0.0.1"),
        (spoofed, "6.6.6.6, 127.0.0.2, 127.0.0.1"),
    ] {
        let response = edge.passes(call).await;
        assert_eq!(world.gateway.line_of(&response).await["client"], CLIENT);
        assert_told(
            &world.upstream.last(),
            &[
                ("x-auth-method", Some("session")),
                ("x-forwarded-for", Some(addresses)),
                ("x-forwarded-proto", Some("https")),
                ("x-forwarded-host", Some("api.test")),
                ("x-forwarded-port", Some("443")),
                ("host", Some("api.test")),
                ("forwarded", None),
                ("x-real-ip", None),
            ],
        );
    }
}

#[tokio::test]
async fn without_trusted_proxies_nothing_is_believed() {
    let edge = Edge::start(USUAL, |_| {}).await;
    let world = &edge.world;
    let call = world.flights().bearer(&world.token());
    let response = edge.passes(call.header("X-Forwarded-For", "6.6.6.6")).await;
    let cookie = response.cookie().unwrap();
    assert!(cookie.starts_with("dcr_session="), "{cookie}");
    assert_eq!(
        world.gateway.line_of(&response).await["client"],
        "127.0.0.1"
    );
    let port = world.gateway.proxy.port().to_string();
    assert_told(
        &world.upstream.last(),
        &[
            ("x-forwarded-for", Some("127.0.0.1")),
            ("x-forwarded-proto", Some("http")),
            ("x-forwarded-port", Some(&port)),
        ],
    );
}

#[tokio::test]
async fn a_terminator_that_tells_nothing_gets_its_secure_cookie_too() {
    let edge = Edge::start("proxy_set_header Host $host;", |s| {
        s.config["auth_strategies"][0]["session"] = json!({"secure": "always"});
    })
    .await;
    let world = &edge.world;
    let response = edge.passes(world.flights().bearer(&world.token())).await;
    let cookie = assert_secure(&response);
    edge.passes(world.flights().cookie(&cookie)).await;
    // A page's own request still is of this very site.
    let post = world.gateway.post("/flights").body("");
    let post = post.header("Origin", "https://api.test").cookie(&cookie);
    edge.passes(post).await;
}

#[tokio::test]
async fn a_terminator_may_tell_by_forwarded() {
    let settings = "proxy_set_header Forwarded \"for=$remote_addr;proto=$scheme;host=$host\";";
    let edge = Edge::start(settings, trusting).await;
    let world = &edge.world;
    let response = edge.passes(world.flights().bearer(&world.token())).await;
    assert_secure(&response);
    assert_eq!(world.gateway.line_of(&response).await["client"], CLIENT);
    assert_told(
        &world.upstream.last(),
        &[
            ("x-forwarded-for", Some("127.0.0.2, 127.0.0.1")),
            ("x-forwarded-proto", Some("https")),
            ("x-forwarded-host", Some("api.test")),
            ("x-forwarded-port", Some("443")),
            ("forwarded", Some("for=127.0.0.2;proto=https;host=api.test")),
        ],
    );
}

#[tokio::test]
async fn a_terminator_may_tell_the_client_by_x_real_ip() {
    let settings = "proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;";
    let edge = Edge::start(settings, trusting).await;
    let world = &edge.world;
    // nginx passes on what it is not told to set.
    let call = world.flights().bearer(&world.token());
    let call = call.header("Forwarded", "for=6.6.6.6;proto=http");
    let response = edge.passes(call).await;
    assert_secure(&response);
    assert_eq!(world.gateway.line_of(&response).await["client"], CLIENT);
    assert_told(
        &world.upstream.last(),
        &[
            ("x-forwarded-for", Some("127.0.0.2, 127.0.0.1")),
            ("x-real-ip", Some(CLIENT)),
            ("forwarded", None),
        ],
    );
}

#[tokio::test]
async fn guesses_are_counted_by_the_address_before_nginx() {
    let edge = Edge::start(USUAL, |s| {
        trusting(s);
        let strategy = &mut s.config["auth_strategies"][0];
        strategy["client_credentials"] = json!({"guesses_per_address": 2});
    })
    .await;
    let guess = |n: u8| {
        let call = edge.world.flights().basic(APP, &format!("wrong-{n}"));
        // Another address at each try, were it believed.
        call.header("X-Forwarded-For", &format!("6.6.6.{n}"))
    };
    for (n, status) in [(0, 401), (1, 401), (2, 429), (3, 429)] {
        let response = edge.send_from(CLIENT, &guess(n)).await;
        assert_eq!(response.status, status, "{n}: {response:?}");
    }
    let response = edge.send_from("127.0.0.3", &guess(4)).await;
    response.assert_problem(401, "invalid_client");
}

#[tokio::test]
async fn a_websocket_goes_through_nginx_with_the_cookie() {
    let address = echo().await;
    let settings = format!(
        "{USUAL}
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection upgrade;"
    );
    let edge = Edge::start(&settings, |s| {
        trusting(s);
        let mut live = s.config["apis"][0].clone();
        live["name"] = json!("live");
        live["routes"] = json!([{"paths": ["/live"]}]);
        live["upstream"]["targets"] = json!([{"address": address.to_string()}]);
        s.config["apis"].as_array_mut().unwrap().push(live);
        s.applications["applications"][0]["registrations"]["live"] = json!("approved");
    })
    .await;
    let world = &edge.world;
    let earn = world.flights().bearer(&world.token());
    let earned = edge.send_from(CLIENT, &earn).await;
    let cookie = assert_secure(&earned);
    let open = |origin: &str| {
        let call = world.gateway.get("/live").cookie(&cookie);
        call.header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Origin", origin)
    };
    let foreign = edge.send_from(CLIENT, &open("https://evil.example")).await;
    foreign.assert_problem(403, "cross_site_request");
    let mut connection = edge.connect(CLIENT).await;
    let response = open("https://api.test").send_on(&mut connection).await;
    response.unwrap().assert_status(101);
    for message in [b"hello", b"again"] {
        connection.send(message).await;
        let mut back = [0; 5];
        connection.read_exact(&mut back).await;
        assert_eq!(&back, message);
    }
}

#[tokio::test]
async fn forwarded_is_sent_where_asked() {
    let world = World::with(|s| s.config["apis"][1]["upstream"]["forwarded"] = json!(true)).await;
    let call = || world.gateway.get("/open").host("api.test:8000");
    // A stranger's own is replaced.
    let forged = call()
        .header("Forwarded", "for=6.6.6.6;proto=https")
        .header("X-Forwarded-For", "6.6.6.6");
    let own = "for=127.0.0.1;host=\"api.test:8000\";proto=http;by=127.0.0.1";
    for call in [call(), forged] {
        world.passes(call).await;
        assert_told(
            &world.upstream.last(),
            &[
                ("forwarded", Some(own)),
                ("x-forwarded-for", Some("127.0.0.1")),
            ],
        );
    }
    world
        .gateway
        .reconfigure(|c| c["trusted_proxies"] = json!(["127.0.0.0/8"]))
        .await;
    for (name, value, before) in [
        (
            "Forwarded",
            "for=\"[2001:db8::1]:7\";proto=https, For=_hidden",
            "for=\"[2001:db8::1]:7\";proto=https, For=_hidden, ",
        ),
        ("X-Forwarded-For", "2001:db8::1", "for=\"[2001:db8::1]\", "),
        ("Forwarded", "for=\"6.6.6.6", ""),
        ("Forwarded", "for=\"\u{e9}\\\"\"", "for=\"\u{e9}\\\"\", "),
    ] {
        world.passes(call().header(name, value)).await;
        let expected = format!("{before}{own}");
        assert_told(&world.upstream.last(), &[("forwarded", Some(&expected))]);
    }
    world.passes(world.flights().bearer(&world.token())).await;
    assert_eq!(world.upstream.last().header("forwarded"), None, "not asked");
}

#[tokio::test]
async fn hostile_fields_of_a_trusted_proxy_do_no_harm() {
    let world = World::with(trusting).await;
    let long = format!("for={}", "\"\\".repeat(2_000));
    for value in [
        "\u{e9}",
        "for",
        "=",
        ";",
        ",",
        "\"",
        "\\",
        "for=\"",
        "for=;;=",
        "for=[",
        "for=\"[::1",
        "for=1.2.3.4.5",
        "for=6.6.6.6;for=7.7.7.7",
        "unknown",
        "_x",
        "-",
        &long,
    ] {
        for name in [
            "Forwarded",
            "X-Forwarded-For",
            "X-Forwarded-Host",
            "X-Forwarded-Port",
            "X-Forwarded-Proto",
            "X-Real-IP",
        ] {
            let call = world.gateway.get("/open").header(name, value);
            let response = world.passes(call).await;
            let line = world.gateway.line_of(&response).await;
            assert_eq!(line["client"], "127.0.0.1", "{name}: {value}");
        }
    }
}

#[tokio::test]
async fn a_trace_passes_unchanged_and_its_id_is_logged() {
    let world = World::start().await;
    let good = format!("00-{TRACE}-b7ad6b7169203331-01");
    let call = world.gateway.get("/open").header("traceparent", &good);
    let call = call.header("tracestate", "a=b").header("tracestate", "c=d");
    let response = world.passes(call).await;
    let seen = world.upstream.last();
    assert_eq!(seen.header("traceparent"), Some(good.as_str()));
    assert_eq!(seen.headers("tracestate"), ["a=b", "c=d"]);
    assert_eq!(world.gateway.line_of(&response).await["trace_id"], TRACE);
    let refused = world.flights().header("traceparent", &good).send().await;
    assert_eq!(world.gateway.line_of(&refused).await["trace_id"], TRACE);
    for bad in [
        format!("00-{}-b7ad6b7169203331-01", "0".repeat(32)),
        "00-x\"}-b7ad6b7169203331-01".to_owned(),
        "\u{e9}".to_owned(),
    ] {
        let call = world.gateway.get("/open").header("traceparent", &bad);
        let response = world.passes(call).await;
        let seen = world.upstream.last();
        assert_eq!(seen.header("traceparent"), Some(bad.as_str()));
        let line = world.gateway.line_of(&response).await;
        assert_eq!(line.get("trace_id"), None, "{bad}");
    }
    let response = world.passes(world.gateway.get("/open")).await;
    let line = world.gateway.line_of(&response).await;
    assert_eq!(line.get("trace_id"), None, "absent where there is none");
}

/// nginx ends TLS in front of the gateway.
struct Edge {
    world: World,
    nginx: Nginx,
    authority: Authority,
}

impl Edge {
    /// With these settings of its one location.
    async fn start(settings: &str, change: impl FnOnce(&mut Setup)) -> Self {
        let world = World::with(change).await;
        let authority = Authority::new();
        let pair = authority.issue(&["api.test"]);
        let files = [
            ("server.crt", pair.certificate.as_str()),
            ("server.key", pair.key.as_str()),
        ];
        let proxy = world.gateway.proxy;
        let nginx = Nginx::start(&files, |address| {
            format!(
                "server {{
  listen {address} ssl;
  ssl_certificate server.crt;
  ssl_certificate_key server.key;
  location / {{
    proxy_http_version 1.1;
    proxy_pass http://{proxy};
    {settings}
  }}
}}"
            )
        })
        .await;
        Self {
            world,
            nginx,
            authority,
        }
    }

    /// A connection over TLS from an address of this machine.
    async fn connect(&self, from: &str) -> Connection {
        let socket = TcpSocket::new_v4().unwrap();
        socket
            .bind(SocketAddr::new(from.parse().unwrap(), 0))
            .unwrap();
        let stream = socket.connect(self.nginx.address).await.unwrap();
        let connector = TlsConnector::from(Arc::new(self.authority.trust(&["http/1.1"])));
        let name = ServerName::try_from("api.test").unwrap();
        Connection::on(connector.connect(name, stream).await.unwrap())
    }

    async fn send_from(&self, from: &str, call: &Call) -> Response {
        let mut connection = self.connect(from).await;
        call.send_on(&mut connection).await.expect("an answer")
    }

    /// Sends from [`CLIENT`]; it reaches the upstream.
    async fn passes(&self, call: Call) -> Response {
        let before = self.world.upstream.hits();
        let response = self.send_from(CLIENT, &call).await;
        response.assert_status(200);
        assert_eq!(self.world.upstream.hits(), before + 1);
        response
    }
}

/// Trusts nginx, and nobody else on this machine.
fn trusting(setup: &mut Setup) {
    setup.config["trusted_proxies"] = json!(["127.0.0.1/32"]);
}

/// The cookie is the one that browsers guard; as a client sends it back.
#[track_caller]
fn assert_secure(response: &Response) -> String {
    let set = response.header("set-cookie").expect("a session cookie");
    assert!(
        set.starts_with("__Host-dcr_session=") && set.contains("; Secure"),
        "{set}"
    );
    response.cookie().unwrap()
}

#[track_caller]
fn assert_told(seen: &Request, fields: &[(&str, Option<&str>)]) {
    for (name, value) in fields {
        assert_eq!(seen.header(name), *value, "{name}: {:?}", seen.lines);
    }
}

/// An upstream that takes every upgrade and sends back what it gets.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(send_back(stream));
        }
    });
    address
}

async fn send_back(stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    if read_head(&mut stream).await.is_none() {
        return Ok(());
    }
    let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                Upgrade: websocket\r\n\r\n";
    stream.write_all(head.as_bytes()).await?;
    let mut bytes = [0; 1024];
    loop {
        let count = stream.read(&mut bytes).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&bytes[..count]).await?;
    }
}
