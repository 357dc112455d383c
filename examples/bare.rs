//! A Pingora proxy that does nothing but forward: what `benches/compare.sh` measures the gateway
//! beside. One worker thread if no other number is given, a pool as large as the gateway's, and
//! otherwise as Pingora comes. With a public key, as `tokens.rs` writes it, it checks the signature of
//! each bearer token, and nothing else of it: what that costs in a proxy, beside all that else runs.
//!
//! ```text
//! cargo run --release --example fixed -- 127.0.0.1:9000 &
//! cargo run --release --example bare -- 127.0.0.1:8100 127.0.0.1:9000 &
//! curl -i http://127.0.0.1:8100/
//! ```

use std::{env, fs, net::SocketAddr, process::ExitCode};

use async_trait::async_trait;
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use http::header;
use pingora::{
    Error, ErrorType,
    proxy::{ProxyHttp, Session, http_proxy_service},
    server::{Server, configuration::ServerConf},
    upstreams::peer::HttpPeer,
};

struct Forward {
    upstream: SocketAddr,
    key: Option<ParsedPublicKey>,
}

/// Whether an Authorization line is `Bearer` and an RS256 token that the key has signed.
fn is_signed(line: &[u8], key: &ParsedPublicKey) -> bool {
    let token = line.strip_prefix(b"Bearer ").unwrap_or_default();
    let Some(dot) = token.iter().rposition(|byte| *byte == b'.') else {
        return false;
    };
    let (message, signature) = (&token[..dot], &token[dot + 1..]);
    BASE64_URL_SAFE_NO_PAD
        .decode(signature)
        .is_ok_and(|signature| key.verify_sig(message, &signature).is_ok())
}

#[async_trait]
impl ProxyHttp for Forward {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn request_filter(&self, session: &mut Session, (): &mut ()) -> pingora::Result<bool> {
        let Some(key) = &self.key else {
            return Ok(false);
        };
        let line = session.req_header().headers.get(header::AUTHORIZATION);
        if line.is_some_and(|line| is_signed(line.as_bytes(), key)) {
            return Ok(false);
        }
        Error::e_explain(
            ErrorType::HTTPStatus(401),
            "no token that the key has signed",
        )
    }

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }
}

fn read_key(file: &str) -> Result<ParsedPublicKey, String> {
    let der = fs::read(file).map_err(|error| format!("{file}: {error}"))?;
    ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der)
        .map_err(|error| format!("{file}: no RSA public key in DER: {error}"))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let address = |place: usize| arguments.get(place)?.parse::<SocketAddr>().ok();
    let (Some(address), Some(upstream)) = (address(0), address(1)) else {
        eprintln!("usage: bare ADDRESS:PORT UPSTREAM:PORT [THREADS [KEY]]");
        return ExitCode::FAILURE;
    };
    let threads = arguments.get(2).and_then(|threads| threads.parse().ok());
    let key = match arguments.get(3).map(|file| read_key(file)).transpose() {
        Ok(key) => key,
        Err(error) => {
            eprintln!("bare: {error}");
            return ExitCode::FAILURE;
        }
    };
    let conf = ServerConf {
        threads: threads.unwrap_or(1),
        upstream_keepalive_pool_size: 4_096,
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    let mut service = http_proxy_service(&server.configuration, Forward { upstream, key });
    service.add_tcp(&address.to_string());
    server.add_service(service);
    server.run_forever()
}
