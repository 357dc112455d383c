//! Looks target names up, again and again.

use std::{net::SocketAddr, pin::pin, sync::Weak, time::Duration};

use super::Upstream;
use crate::clock;

/// Pause before a name is looked up again that has no address yet.
const RETRY: Duration = Duration::from_secs(1);
/// After so long a look-up is told to hang. No second one is begun beside it, since the system's
/// resolver gives each a thread; nobody but this target waits for it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks a target up for as long as its upstream lives.
pub(super) async fn run(upstream: Weak<Upstream>, index: usize, interval: Duration) {
    loop {
        let Some(strong) = upstream.upgrade() else {
            return;
        };
        let (host, port) = {
            let config = &strong.targets[index].config;
            (config.host.clone(), config.port)
        };
        drop(strong);
        let found = patiently(&host, port, &upstream).await;
        let Some(strong) = upstream.upgrade() else {
            return;
        };
        let target = &strong.targets[index];
        match found {
            Ok(addresses) => {
                if target.take_in(addresses.clone(), clock::instant()) {
                    tracing::info!(
                        api = &*strong.api,
                        host,
                        ?addresses,
                        "looked up an upstream target"
                    );
                    strong.changed.notify_one();
                }
            }
            // The last known addresses go on serving: a name server's trouble is not the upstream's.
            Err(error) => {
                tracing::warn!(api = &*strong.api, host, %error, "an upstream target cannot be looked up");
            }
        }
        let pause = if target.endpoints.load().is_empty() {
            RETRY
        } else {
            interval
        };
        drop(strong);
        tokio::time::sleep(pause).await;
    }
}

async fn patiently(
    host: &str,
    port: u16,
    upstream: &Weak<Upstream>,
) -> std::io::Result<Vec<SocketAddr>> {
    let mut answer = pin!(tokio::net::lookup_host((host, port)));
    loop {
        match tokio::time::timeout(PATIENCE, &mut answer).await {
            Ok(found) => return found.map(Iterator::collect),
            Err(_) if upstream.strong_count() == 0 => {
                return Err(std::io::ErrorKind::TimedOut.into());
            }
            Err(_) => {
                tracing::warn!(host, "the look-up of an upstream target hangs");
            }
        }
    }
}
