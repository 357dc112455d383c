//! Somebody's own Pingora proxy, with load balancing over a few upstreams, and the guard of this
//! crate in front of it. What the guard adds is three lines: `Guard::load`, `guard.protect` and,
//! where the proxy wants to know who calls, `Visit::of`.
//!
//! ```text
//! cargo run --example idp -- 127.0.0.1:9400 &
//! cargo run --example echo -- 127.0.0.1:9000 &
//! curl http://127.0.0.1:9400/register -H 'Content-Type: application/json' -d '{"client_name": "Trip Planner"}'
//! id=…; secret=…    # of what that printed
//! mkdir -p target/embed
//! echo "applications: [{ name: Trip Planner, developer: dana@example.com, auth_strategy: partners,
//!     client_id: $id, registrations: { flights: approved } }]" > target/embed/applications.yaml
//! cargo run --example embed -- examples/embed.yaml 127.0.0.1:8000 127.0.0.1:9000 &
//! curl -i http://127.0.0.1:8000/flights                                              # 401
//! curl -i -u "$id:$secret" -H 'X-Application-Name: me' http://127.0.0.1:8000/flights  # who calls
//! curl -i http://127.0.0.1:8000/status                                               # public
//! sed -i s/approved/revoked/ target/embed/applications.yaml; sleep 1
//! curl -i -u "$id:$secret" http://127.0.0.1:8000/flights                             # 403
//! ```
//!
//! More than one upstream may be named; `--h2c` first takes HTTP/2 without TLS too.

use std::{env, error::Error, process::ExitCode};

use async_trait::async_trait;
use dcr_gateway::guard::{Guard, Visit};
use pingora::{
    apps::HttpServerOptions,
    lb::{LoadBalancer, selection::RoundRobin},
    proxy::{ProxyHttp, Session, http_proxy_service},
    server::{Server, configuration::ServerConf},
    upstreams::peer::HttpPeer,
};

/// The proxy as it was before: it knows nothing of credentials.
struct Balance {
    upstreams: LoadBalancer<RoundRobin>,
}

#[async_trait]
impl ProxyHttp for Balance {
    type CTX = ();

    fn new_ctx(&self) {}

    /// Runs for requests alone that the guard has let through.
    async fn upstream_peer(
        &self,
        session: &mut Session,
        (): &mut (),
    ) -> pingora::Result<Box<HttpPeer>> {
        if let Some(visit) = Visit::of(session) {
            let caller = visit.caller();
            tracing::info!(
                api = visit.api(),
                application = caller.and_then(|c| Some(&*c.application()?.name)),
                developer = caller.and_then(|c| Some(&*c.application()?.developer)),
                client_id = caller.map(|c| c.client_id()),
                method = caller.map(|c| c.method().name()),
                scopes = caller.map(|c| c.scopes().as_str()),
                request_id = visit.request_id(),
                "who calls"
            );
        }
        let upstream = self.upstreams.select(b"", 256);
        let upstream = upstream.ok_or_else(|| pingora::Error::new_str("no upstream"))?;
        Ok(Box::new(HttpPeer::new(upstream, false, String::new())))
    }
}

fn main() -> ExitCode {
    let mut arguments: Vec<String> = env::args().skip(1).collect();
    let h2c = arguments.first().is_some_and(|first| first == "--h2c");
    arguments.drain(..usize::from(h2c));
    let [file, address, upstreams @ ..] = &arguments[..] else {
        eprintln!("usage: embed [--h2c] FILE ADDRESS:PORT UPSTREAM:PORT...");
        return ExitCode::FAILURE;
    };
    match run(file, address, upstreams, h2c) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(file: &str, address: &str, upstreams: &[String], h2c: bool) -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let guard = Guard::load(file)?;
    let balance = Balance {
        upstreams: LoadBalancer::try_from_iter(upstreams)?,
    };
    let conf = ServerConf {
        // The default is to wait five minutes at every stop.
        grace_period_seconds: Some(3),
        graceful_shutdown_timeout_seconds: Some(5),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, guard.protect(balance));
    if let (true, Some(proxy)) = (h2c, service.app_logic_mut()) {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        proxy.server_options = Some(options);
    }
    service.add_tcp(address);
    server.add_service(service);
    server.run_forever()
}
