//! A Pingora proxy that does nothing but forward: what `benches/compare.sh` measures the gateway
//! beside. One worker thread if no other number is given, a pool as large as the gateway's, and
//! otherwise as Pingora comes.
//!
//! ```text
//! cargo run --release --example fixed -- 127.0.0.1:9000 &
//! cargo run --release --example bare -- 127.0.0.1:8100 127.0.0.1:9000 &
//! curl -i http://127.0.0.1:8100/
//! ```

use std::{env, net::SocketAddr, process::ExitCode};

use async_trait::async_trait;
use pingora::{
    proxy::{ProxyHttp, Session, http_proxy_service},
    server::{Server, configuration::ServerConf},
    upstreams::peer::HttpPeer,
};

struct Forward {
    upstream: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Forward {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let address = |place: usize| arguments.get(place)?.parse::<SocketAddr>().ok();
    let (Some(address), Some(upstream)) = (address(0), address(1)) else {
        eprintln!("usage: bare ADDRESS:PORT UPSTREAM:PORT [THREADS]");
        return ExitCode::FAILURE;
    };
    let threads = arguments.get(2).and_then(|threads| threads.parse().ok());
    let conf = ServerConf {
        threads: threads.unwrap_or(1),
        upstream_keepalive_pool_size: 4_096,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    let mut service = http_proxy_service(&server.configuration, Forward { upstream });
    service.add_tcp(&address.to_string());
    server.add_service(service);
    server.run_forever()
}
