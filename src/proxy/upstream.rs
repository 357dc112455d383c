//! Where an API's requests go: weighted targets, their names looked up again and again.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

use super::api::UpstreamConfig;

/// Pause before a name is looked up again that has no address yet.
const RETRY: Duration = Duration::from_secs(1);

/// The targets of one API.
#[derive(Debug)]
pub struct Upstream {
    targets: Vec<Target>,
    /// Positions in `targets`, each as often as its weight says, evenly spread.
    schedule: Vec<usize>,
    next: AtomicUsize,
}

#[derive(Debug)]
struct Target {
    host: String,
    port: u16,
    addresses: ArcSwap<Vec<SocketAddr>>,
}

impl Upstream {
    /// Makes the targets; names are looked up on `runtime` for as long as the value lives.
    pub fn start(config: &UpstreamConfig, runtime: &Handle) -> Arc<Self> {
        let targets = config.targets.iter().map(|target| {
            let address: Option<IpAddr> = target.host.parse().ok();
            let address = address.map(|ip| SocketAddr::new(ip, target.port));
            Target {
                host: target.host.clone(),
                port: target.port,
                addresses: ArcSwap::from_pointee(address.into_iter().collect()),
            }
        });
        let weights: Vec<u16> = config.targets.iter().map(|target| target.weight).collect();
        let upstream = Arc::new(Self {
            targets: targets.collect(),
            schedule: schedule(&weights),
            next: AtomicUsize::new(0),
        });
        for (index, target) in upstream.targets.iter().enumerate() {
            if target.addresses.load().is_empty() {
                let upstream = Arc::downgrade(&upstream);
                runtime.spawn(look_up(upstream, index, config.resolve_interval));
            }
        }
        upstream
    }

    /// The address for the next request; `None` where no target has one.
    pub fn pick(&self) -> Option<SocketAddr> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let length = self.schedule.len();
        (0..length).find_map(|skipped| {
            let target = &self.targets[self.schedule[turn.wrapping_add(skipped) % length]];
            let addresses = target.addresses.load();
            let count = addresses.len().max(1);
            addresses.get((turn / length) % count).copied()
        })
    }
}

/// Spreads targets evenly by weight: at each place stands the one that is furthest behind its
/// share, so that equal weights alternate and no burst goes to one.
fn schedule(weights: &[u16]) -> Vec<usize> {
    let divisor = weights.iter().fold(0, |a, b| gcd(a, i64::from(*b))).max(1);
    let shares: Vec<i64> = weights
        .iter()
        .map(|weight| i64::from(*weight) / divisor)
        .collect();
    let total: i64 = shares.iter().sum();
    let mut credit = vec![0; shares.len()];
    let mut schedule = Vec::new();
    for _ in 0..total {
        credit
            .iter_mut()
            .zip(&shares)
            .for_each(|(credit, share)| *credit += share);
        let Some(first) = (0..credit.len()).max_by_key(|index| (credit[*index], -(*index as i64)))
        else {
            break;
        };
        credit[first] -= total;
        schedule.push(first);
    }
    schedule
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

async fn look_up(upstream: Weak<Upstream>, index: usize, interval: Duration) {
    loop {
        let Some((host, port)) = upstream.upgrade().map(|upstream| {
            (
                upstream.targets[index].host.clone(),
                upstream.targets[index].port,
            )
        }) else {
            return;
        };
        let found = tokio::net::lookup_host((host.as_str(), port)).await;
        let Some(upstream) = upstream.upgrade() else {
            return;
        };
        let known = &upstream.targets[index].addresses;
        match found {
            Ok(found) => {
                let mut found: Vec<SocketAddr> = found.collect();
                found.sort_unstable();
                if **known.load() != found {
                    tracing::info!(host, addresses = ?found, "looked up an upstream target");
                    known.store(Arc::new(found));
                }
            }
            // The last known addresses go on serving: a name server's trouble is not the upstream's.
            Err(error) => tracing::warn!(host, %error, "an upstream target cannot be looked up"),
        }
        let pause = if known.load().is_empty() {
            RETRY
        } else {
            interval
        };
        drop(upstream);
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_keeps_the_weights_and_spreads_them() {
        for (weights, expected) in [
            (&[1][..], &[0][..]),
            (&[5, 5], &[0, 1]),
            (&[2, 1], &[0, 1, 0]),
            (&[3, 1], &[0, 0, 1, 0]),
        ] {
            assert_eq!(schedule(weights), expected, "{weights:?}");
        }
        let long = schedule(&[1000, 999]);
        assert_eq!(long.iter().filter(|target| **target == 0).count(), 1000);
    }
}
