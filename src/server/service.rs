//! The proxy as a Pingora service.

use std::{net::SocketAddr, num::NonZero, pin::pin, sync::Arc, thread, time::Duration};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::{
    apps::ServerApp,
    proxy::{ProxyHttp, http_proxy},
    server::{ListenFds, RunArgs, Server, ShutdownWatch, configuration::ServerConf},
    services::{Service, listening},
};

use super::{
    shutdown::{Shutdown, Signals},
    socket::{Bound, raise_descriptor_limit},
};
use crate::proxy::connection::{
    Counters, Front, Limits, Refuse,
    tls::{Certificates, Tls},
};

/// Idle connections to all upstreams together, beyond which the oldest is closed. Each keeps a
/// descriptor, and clients beyond so many at once are rare.
const POOL: usize = 4_096;

/// Everything about the data plane's service that the configuration says.
#[derive(Debug)]
pub struct Settings {
    /// Where clients connect.
    pub listeners: Vec<Bound>,
    /// Those among them, by bound address, where they speak TLS.
    pub tls: Vec<(SocketAddr, Tls)>,
    /// What may change while it runs.
    pub live: Arc<Live>,
    /// Worker threads; 0: one for each core.
    pub threads: usize,
    /// How often a request may be tried again at its upstream, where a hook allows it at all.
    pub retries: usize,
}

/// What a reload changes on the running service.
#[derive(Debug)]
pub struct Live {
    /// What one client may cost.
    pub limits: Arc<ArcSwap<Limits>>,
    /// How long a stop may take.
    pub grace_period: ArcSwap<Duration>,
    /// What each listener shows, in the order of the configuration; `None`: it speaks no TLS.
    pub certificates: Vec<Option<Arc<Certificates>>>,
}

impl Live {
    /// The values to start with.
    pub fn new(
        limits: Limits,
        grace_period: Duration,
        certificates: Vec<Option<Arc<Certificates>>>,
    ) -> Arc<Self> {
        let limits = Arc::new(ArcSwap::from_pointee(limits));
        Arc::new(Self {
            limits,
            grace_period: ArcSwap::from_pointee(grace_period),
            certificates,
        })
    }
}

/// A listening service whose sockets are bound already, and which closes them when we say.
struct Listening<A> {
    service: listening::Service<A>,
    sockets: Vec<Bound>,
    shutdown: Shutdown,
}

/// Serves until [`Shutdown`] is requested or a signal comes, and returns when all is answered.
/// Blocks, and makes runtimes of its own: not to be called from asynchronous code.
pub fn run<P>(
    settings: Settings,
    hooks: P,
    counters: Arc<Counters>,
    refuse: Refuse,
    shutdown: Shutdown,
) where
    P: ProxyHttp + Send + Sync + 'static,
    P::CTX: Send + Sync,
{
    raise_descriptor_limit(settings.live.limits.load().connections);
    let conf = conf(&settings);
    let mut server = Server::new_with_opt_and_conf(None, conf);
    let front = Front::new(
        http_proxy(&server.configuration, hooks),
        Arc::clone(&settings.live.limits),
        counters.clone(),
        refuse,
        shutdown.draining(),
        settings.tls,
    );
    let mut service = listening::Service::new("proxy".to_owned(), front);
    for socket in &settings.listeners {
        service.add_tcp(&socket.address().to_string());
    }
    server.add_service(Listening {
        service,
        sockets: settings.listeners,
        shutdown: shutdown.clone(),
    });
    let shutdown_signal = Box::new(Signals {
        shutdown,
        counters,
        live: settings.live,
    });
    server.run(RunArgs { shutdown_signal });
}

fn conf(settings: &Settings) -> ServerConf {
    let threads = match settings.threads {
        0 => thread::available_parallelism().map_or(1, NonZero::get),
        threads => threads,
    };
    ServerConf {
        threads,
        // Measured: a runtime for each thread costs 2 to 4 % less than one that shares work. But
        // Pingora finds such a runtime by thread, and threads of a later server in the same
        // process find the dead one of an earlier. Only tests have a later server.
        work_stealing: cfg!(test),
        // Measured: Pingora's own timers read the clock five times for each request, also where
        // nothing has to be waited for, and keep what ended early until it is due. The runtime's
        // do neither.
        fast_timeout_to_tokio_threshold_seconds: Some(0),
        // Despite its name this counts tries, the first one too.
        max_retries: settings.retries.saturating_add(1),
        // Pingora multiplies it by the threads.
        upstream_keepalive_pool_size: POOL.div_ceil(threads),
        // `Signals` does all the waiting.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        // Neither is used without daemon and upgrade; the defaults are in a directory that
        // everybody may write to.
        pid_file: String::new(),
        upgrade_sock: String::new(),
        ..ServerConf::default()
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> Service for Listening<A> {
    /// Pingora's own watch turns only when the runtimes are about to end, so it is not used.
    async fn start_service(
        &mut self,
        table: Option<ListenFds>,
        _: ShutdownWatch,
        listeners_per_socket: usize,
    ) {
        if let Some(table) = &table {
            let mut table = table.lock();
            for socket in self.sockets.drain(..) {
                socket.hand_over(&mut table);
            }
        }
        let closing = self.shutdown.closing();
        let mut accepting = pin!(
            self.service
                .start_service(table, closing, listeners_per_socket)
        );
        // It builds every listener before it waits for the first time.
        tokio::select! {
            biased;
            () = &mut accepting => return,
            () = std::future::ready(()) => self.shutdown.set_serving(),
        }
        accepting.await;
        self.shutdown.set_closed();
    }

    fn name(&self) -> &str {
        self.service.name()
    }

    fn threads(&self) -> Option<usize> {
        self.service.threads()
    }
}

#[cfg(test)]
mod tests;
