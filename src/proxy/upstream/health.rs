//! Active checks: each address is asked, again and again, whether it is well.
//!
//! They run where all background work does, never on a thread that serves requests, and connect as
//! requests do: same TLS, same protocol, same Host. Each check has a connection of its own, since
//! an old connection can work where no new one can be made.

use std::{
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use futures_util::StreamExt as _;
use http::{HeaderValue, Uri, header};
use pingora::{
    connectors::http::Connector, http::RequestHeader, protocols::http::client::HttpSession,
    upstreams::peer::HttpPeer,
};
use tokio::time::{Instant, sleep_until, timeout};

use super::{Upstream, config::HealthCheckConfig, endpoint::Endpoint, peer, trouble::Trouble};

/// No check takes longer, however rare checks are.
const LONGEST: Duration = Duration::from_secs(5);
/// Checks of one upstream at once.
const AT_ONCE: usize = 64;
const USER_AGENT: HeaderValue = HeaderValue::from_static("dcr-gateway-health-check");

/// Connects for the checks of all upstreams. Made when it is first needed: it reads the system's
/// certificates. Cheap to clone.
#[derive(Clone, Default)]
pub struct Checker(Arc<OnceLock<Connector>>);

impl std::fmt::Debug for Checker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Checker")
    }
}

impl Checker {
    fn connector(&self) -> &Connector {
        self.0.get_or_init(|| Connector::new(None))
    }
}

/// One address to ask.
struct Question {
    target: usize,
    endpoint: Arc<Endpoint>,
    peer: HttpPeer,
    host: HeaderValue,
}

/// Checks all addresses for as long as the upstream lives: at once, then after each interval, and
/// new ones as soon as they are found.
pub(super) async fn run(upstream: Weak<Upstream>, config: HealthCheckConfig, checker: Checker) {
    let mut due = Instant::now();
    loop {
        let Some(strong) = upstream.upgrade() else {
            return;
        };
        let all = Instant::now() >= due;
        if all {
            due = Instant::now() + config.interval;
        }
        let questions = questions(&strong, all);
        let changed = Arc::clone(&strong.changed);
        drop(strong);
        let (config, checker, upstream) = (&config, &checker, &upstream);
        futures_util::stream::iter(questions)
            .for_each_concurrent(AT_ONCE, |question| async move {
                let limit = config.interval.min(LONGEST);
                let asked = timeout(limit, ask(&question, config, checker)).await;
                let outcome = asked.unwrap_or_else(|_| Err("timed_out".to_owned()));
                let Some(upstream) = upstream.upgrade() else {
                    return;
                };
                let healthy = outcome.is_ok();
                if question.endpoint.checked(healthy) {
                    let reason = outcome.err().unwrap_or_default();
                    upstream.tell_health(question.target, &question.endpoint, healthy, &reason);
                }
            })
            .await;
        tokio::select! {
            () = sleep_until(due) => {}
            () = changed.notified() => {}
        }
    }
}

fn questions(upstream: &Upstream, all: bool) -> Vec<Question> {
    let mut questions = Vec::new();
    for (index, target) in upstream.targets.iter().enumerate() {
        let host = upstream.config.host.clone().or_else(|| {
            // A host and a port are a legal value.
            HeaderValue::try_from(target.config.authority()).ok()
        });
        for endpoint in target.endpoints.load().iter() {
            if let (true, Some(host)) = (all || !endpoint.was_checked(), &host) {
                let mut peer = peer::at(&upstream.peers[index], endpoint.address);
                // One stream to a connection, so that it ends with the check.
                peer.options.max_h2_streams = 1;
                questions.push(Question {
                    target: index,
                    endpoint: Arc::clone(endpoint),
                    peer,
                    host: host.clone(),
                });
            }
        }
    }
    questions
}

/// Asks once; the reason where it is not well.
async fn ask(
    question: &Question,
    config: &HealthCheckConfig,
    checker: &Checker,
) -> Result<(), String> {
    let reason = |error: Box<pingora::Error>| Trouble::of(&error).reason.to_owned();
    let connector = checker.connector();
    let (mut session, _) = connector
        .get_http_session(&question.peer)
        .await
        .map_err(reason)?;
    let request = request(question, config, &session).ok_or("request")?;
    session
        .write_request_header(Box::new(request))
        .await
        .map_err(reason)?;
    session.finish_request_body().await.map_err(reason)?;
    loop {
        session.read_response_header().await.map_err(reason)?;
        let Some(response) = session.response_header() else {
            return Err("no_answer".to_owned());
        };
        if !response.status.is_informational() {
            return match response.status.is_success() {
                true => Ok(()),
                false => Err(format!("status_{}", response.status.as_u16())),
            };
        }
    }
}

fn request(
    question: &Question,
    config: &HealthCheckConfig,
    session: &HttpSession,
) -> Option<RequestHeader> {
    let path = config.path.as_str().as_bytes();
    let mut request = RequestHeader::build("GET", path, Some(4)).ok()?;
    if matches!(session, HttpSession::H2(_)) {
        let scheme = match question.peer.is_tls() {
            true => "https",
            false => "http",
        };
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(question.host.as_bytes())
            .path_and_query(config.path.clone());
        request.set_uri(uri.build().ok()?);
        request.set_version(http::Version::HTTP_2);
    } else {
        request.insert_header(header::HOST, &question.host).ok()?;
        request.insert_header(header::CONNECTION, "close").ok()?;
    }
    request.insert_header(header::USER_AGENT, USER_AGENT).ok()?;
    Some(request)
}
