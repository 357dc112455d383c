//! The guard in this very process, around a proxy that caches: what the library offers beside its
//! hooks.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use dcr_gateway::guard::{Error, Guard, Guarded, Visit};
use pingora::{
    cache::{CacheKey, CacheMeta, MemCache, RespCacheable},
    http::ResponseHeader,
    proxy::{ProxyHttp, RangeType, Session, http_proxy_service},
    server::{RunArgs, Server, ShutdownSignal, ShutdownSignalWatch, configuration::ServerConf},
    upstreams::peer::HttpPeer,
};
use serde_json::json;
use tempfile::TempDir;
use tokio::{net::TcpStream, runtime::Handle, sync::Semaphore};

use crate::harness::{
    APP, SECRET, application,
    certificates::Authority,
    client::{Call, Connection},
    embedded::{config, free_address},
    eventually,
    gateway::{pretty, sum, write},
    idp::Idp,
    now, session_key,
    upstream::Upstream,
};

/// Keeps whatever the upstream says, by the path alone.
struct Caching {
    upstream: SocketAddr,
    storage: &'static MemCache,
    /// How many requests were let through to it.
    seen: Arc<AtomicUsize>,
}

#[async_trait]
impl ProxyHttp for Caching {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn request_filter(&self, session: &mut Session, (): &mut ()) -> pingora::Result<bool> {
        assert!(Visit::of(session).is_some());
        self.seen.fetch_add(1, Ordering::Relaxed);
        Ok(false)
    }

    fn request_cache_filter(&self, session: &mut Session, (): &mut ()) -> pingora::Result<()> {
        session.cache.enable(self.storage, None, None, None, None);
        Ok(())
    }

    fn cache_key_callback(&self, session: &Session, (): &mut ()) -> pingora::Result<CacheKey> {
        Ok(CacheKey::new(session.req_header().uri.path(), ""))
    }

    fn response_cache_filter(
        &self,
        _: &Session,
        response: &ResponseHeader,
        (): &mut (),
    ) -> pingora::Result<RespCacheable> {
        let seconds = Duration::from_secs(now().unsigned_abs());
        let created = SystemTime::UNIX_EPOCH + seconds;
        let fresh_until = created + Duration::from_secs(600);
        let meta = CacheMeta::new(fresh_until, created, 0, 0, response.clone());
        Ok(RespCacheable::Cacheable(meta))
    }

    fn range_header_filter(
        &self,
        _: &mut Session,
        _: &mut ResponseHeader,
        (): &mut (),
    ) -> RangeType {
        RangeType::None
    }

    /// Answers from the cache tell their age, which the tests' client does not know.
    async fn response_filter(
        &self,
        _: &mut Session,
        response: &mut ResponseHeader,
        (): &mut (),
    ) -> pingora::Result<()> {
        response.remove_header("age");
        Ok(())
    }

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }
}

/// A server of Pingora on a thread of its own, until this value is dropped.
struct Running {
    address: SocketAddr,
    /// The same over TLS, by its own certificate.
    secure: SocketAddr,
    authority: Authority,
    stop: Arc<Semaphore>,
    thread: Option<JoinHandle<()>>,
}

struct Stop(Arc<Semaphore>);

#[async_trait]
impl ShutdownSignalWatch for Stop {
    async fn recv(&self) -> ShutdownSignal {
        let _ = self.0.acquire().await;
        ShutdownSignal::FastShutdown
    }
}

impl Running {
    async fn start(proxy: Guarded<Caching>) -> Self {
        let (address, secure) = (free_address(), free_address());
        let authority = Authority::new();
        let pair = authority.issue(&["api.test"]);
        let directory = tempfile::tempdir().unwrap();
        let at = |name| directory.path().join(name).to_str().unwrap().to_owned();
        let (certificate, key) = (at("server.crt"), at("server.key"));
        std::fs::write(&certificate, &pair.certificate).unwrap();
        std::fs::write(&key, &pair.key).unwrap();
        let stop = Arc::new(Semaphore::new(0));
        let signal = Box::new(Stop(Arc::clone(&stop)));
        let conf = ServerConf::default();
        let thread = thread::spawn(move || {
            let mut server = Server::new_with_opt_and_conf(None, conf);
            let mut service = http_proxy_service(&server.configuration, proxy);
            service.add_tcp(&address.to_string());
            service
                .add_tls(&secure.to_string(), &certificate, &key)
                .unwrap();
            server.add_service(service);
            server.run(RunArgs {
                shutdown_signal: signal,
            });
        });
        for address in [address, secure] {
            eventually!(TcpStream::connect(address).await.is_ok(), "it listens");
        }
        Self {
            address,
            secure,
            authority,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.add_permits(1);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking(), "the server panicked");
    }
}

fn files(idp: &Idp) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("session"), session_key(7)).unwrap();
    let guard = pretty(&config(&idp.issuer));
    write(&directory.path().join("guard.yaml"), &guard);
    let both = json!({"applications": [application(APP), application("app-2")]});
    write(&directory.path().join("applications.yaml"), &pretty(&both));
    directory
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_caller_was_told_is_never_anothers() {
    let (idp, upstream) = (Idp::start().await, Upstream::start().await);
    idp.client(APP, SECRET);
    idp.client("app-2", "another");
    let directory = files(&idp);
    // All work in the background is on this test's own runtime.
    let guard = Guard::load_on(directory.path().join("guard.yaml"), &Handle::current()).unwrap();
    eventually!(guard.is_ready(), "the keys are there");
    let seen = Arc::<AtomicUsize>::default();
    let caching = Caching {
        upstream: upstream.address,
        storage: Box::leak(Box::new(MemCache::new())),
        seen: Arc::clone(&seen),
    };
    let running = Running::start(guard.protect(caching)).await;
    let get = |path| Call::new(running.address, "GET", path);
    let told = |response: &crate::harness::client::Response| {
        let text = response.text();
        [APP, "app-2"].map(|id| text.contains(&format!("\"{id}\"")))
    };

    let first = get("/flights").basic(APP, SECRET);
    let other = get("/flights").basic("app-2", "another");
    for (call, hits, whose) in [
        (&first, 1, [true, false]),
        // Kept.
        (&first, 1, [true, false]),
        (&other, 2, [false, true]),
        (&other, 2, [false, true]),
        (&first, 2, [true, false]),
    ] {
        let response = call.send().await;
        response.assert_status(200);
        assert_eq!(told(&response), whose);
        assert_eq!(upstream.hits(), hits);
    }
    // One session's answers are another key's, since the upstream is told how the caller came.
    let cookie = first.send().await.cookie().unwrap();
    let by_cookie = get("/flights").cookie(&cookie);
    for _ in 0..2 {
        let response = by_cookie.send().await;
        response.assert_status(200);
        // What was kept is nobody's cookie.
        assert_eq!(response.headers("set-cookie"), Vec::<&str>::new());
        assert_eq!(upstream.hits(), 3);
    }
    // Over TLS the cookie is another, which is bound to it.
    let (authority, address) = (&running.authority, running.secure);
    let stream = authority.connect(address, "api.test", &["http/1.1"]).await;
    let mut secure = Connection::on(stream.unwrap());
    let response = first.send_on(&mut secure).await.unwrap();
    let line = response.header("set-cookie").unwrap();
    assert!(
        line.starts_with("__Host-dcr_session=") && line.contains("; Secure"),
        "{line}"
    );
    assert!(cookie.starts_with("dcr_session="), "{cookie}");
    // A public API has one answer for all.
    for _ in 0..2 {
        get("/open").send().await.assert_status(200);
        assert_eq!(upstream.hits(), 4);
    }
    let passed = seen.load(Ordering::Relaxed);
    // A cache answers nobody who was not judged.
    get("/flights")
        .send()
        .await
        .assert_problem(401, "credentials_required");
    let one = json!({"applications": [application("app-2")]});
    write(&directory.path().join("applications.yaml"), &pretty(&one));
    eventually!(first.send().await.status == 401, "it is gone");
    assert_eq!(upstream.hits(), 4);

    let permits = [("api", "flights"), ("code", "permit")];
    let metrics = guard.metrics();
    assert!(
        passed >= 10 && sum(&metrics, "dcr_requests_total", &permits) >= 8.0,
        "{metrics}"
    );
    let denied = [("api", "flights"), ("code", "credentials_required")];
    assert!(
        sum(&metrics, "dcr_requests_total", &denied) == 1.0,
        "{metrics}"
    );
}

#[tokio::test]
async fn a_guard_ends_with_its_last_holder() {
    let idp = Idp::start().await;
    let directory = files(&idp);
    let path = directory.path().join("guard.yaml");
    // With a runtime of its own, dropped where nothing may wait.
    let guard = Guard::load(&path).unwrap();
    let again = guard.clone();
    eventually!(guard.is_ready(), "the keys are there");
    drop(guard);
    assert!(again.is_ready());
    drop(again);

    let tasks = || Handle::current().metrics().num_alive_tasks();
    let guard = Guard::load_on(&path, &Handle::current()).unwrap();
    eventually!(guard.is_ready(), "the keys are there");
    let working = tasks();
    drop(guard);
    eventually!(tasks() < working, "its task has ended");
}

#[tokio::test]
async fn a_file_that_does_not_serve_makes_no_guard() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("guard.yaml");
    let missing = Guard::load(&path).unwrap_err();
    assert!(matches!(missing, Error::Configuration(faults) if faults.len() == 1));
    std::fs::write(&path, "apis: []\nupstreams: []\nregistry: { file: a }\n").unwrap();
    let Error::Configuration(faults) = Guard::load(&path).unwrap_err() else {
        panic!("a fault of the configuration");
    };
    let place = &faults[0].place;
    assert_eq!((faults.len(), place.line, place.column), (1, 2, 1));
    assert!(faults[0].message.contains("upstreams: unknown key"));
}

#[tokio::test]
async fn asked_to_it_reads_everything_again() {
    let idp = Idp::start().await;
    let directory = files(&idp);
    let guard = Guard::load(directory.path().join("guard.yaml")).unwrap();
    let read = |guard: &Guard| {
        let labels = [("what", "applications"), ("outcome", "applied")];
        sum(&guard.metrics(), "dcr_reloads_total", &labels)
    };
    assert!(read(&guard) == 1.0);
    guard.reload();
    eventually!(read(&guard) > 1.0, "read again");
}
