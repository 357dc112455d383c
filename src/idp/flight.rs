//! One piece of work in flight for each key, however many requests wait for it.

use std::{
    collections::HashMap,
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{FutureExt as _, future::Shared};
use tokio::{runtime::Handle, sync::oneshot};

type Waiting<V> = Shared<oneshot::Receiver<V>>;

/// Work in flight, by key. The work runs on a runtime of its own, so a client that goes away
/// takes nothing from the others who wait.
#[derive(Debug)]
pub struct Flights<K, V: Clone> {
    runtime: Handle,
    waiting: Arc<Mutex<HashMap<K, Waiting<V>>>>,
}

/// The work ended without an answer: it panicked, or the program is stopping.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the work in flight ended without an answer")]
pub struct Lost;

impl<K, V> Flights<K, V>
where
    K: Eq + Hash + Clone + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Makes an empty set whose work will run on `runtime`.
    pub fn new(runtime: Handle) -> Self {
        Self {
            runtime,
            waiting: Arc::default(),
        }
    }

    /// The runtime that the work runs on.
    pub const fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Waits for the work of `key`, starting it if there is none.
    ///
    /// `landed` is asked first, while nobody can start or end work: it finds what a flight
    /// stored that ended just before. The work must store its result itself before it ends.
    ///
    /// # Errors
    /// [`Lost`] where the work ended without an answer.
    pub async fn join<F>(
        &self,
        key: K,
        landed: impl FnOnce() -> Option<V>,
        start: impl FnOnce() -> F,
    ) -> Result<V, Lost>
    where
        F: Future<Output = V> + Send + 'static,
    {
        let flight = {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(flight) = waiting.get(&key) {
                flight.clone()
            } else if let Some(value) = landed() {
                return Ok(value);
            } else {
                let (answer, receiver) = oneshot::channel();
                let flight = receiver.shared();
                waiting.insert(key.clone(), flight.clone());
                let landing = Landing {
                    key,
                    waiting: Arc::clone(&self.waiting),
                };
                let work = start();
                self.runtime.spawn(async move {
                    let value = work.await;
                    drop(landing);
                    // Nobody may be waiting any more; the work has stored what it found.
                    let _ = answer.send(value);
                });
                flight
            }
        };
        flight.await.map_err(|_| Lost)
    }
}

/// Takes the flight off the list, also when its work panics.
struct Landing<K: Eq + Hash, V: Clone> {
    key: K,
    waiting: Arc<Mutex<HashMap<K, Waiting<V>>>>,
}

impl<K: Eq + Hash, V: Clone> Drop for Landing<K, V> {
    fn drop(&mut self) {
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_thousand_waiters_share_one_flight() {
        let flights = Arc::new(Flights::<u8, usize>::new(Handle::current()));
        let started = Arc::new(AtomicUsize::new(0));
        let (release, released) = tokio::sync::watch::channel(false);
        let mut waiters = Vec::new();
        for _ in 0..1000 {
            let (flights, started) = (Arc::clone(&flights), Arc::clone(&started));
            let mut released = released.clone();
            waiters.push(tokio::spawn(async move {
                let work = async move {
                    released.wait_for(|go| *go).await.unwrap();
                    7
                };
                let start = || {
                    started.fetch_add(1, Ordering::Relaxed);
                    work
                };
                flights.join(1, || None, start).await.unwrap()
            }));
        }
        tokio::task::yield_now().await;
        release.send(true).unwrap();
        for waiter in waiters {
            assert_eq!(waiter.await.unwrap(), 7);
        }
        // Later waiters may find the first flight ended; none starts while one is in flight.
        assert!(started.load(Ordering::Relaxed) <= 2);
    }

    #[tokio::test]
    async fn work_that_panics_frees_its_key() {
        let flights = Flights::<u8, u8>::new(Handle::current());
        assert!(
            flights
                .join(1, || None, || async { panic!("on purpose") })
                .await
                .is_err()
        );
        assert_eq!(flights.join(1, || None, || async { 2 }).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn what_landed_just_before_is_not_fetched_again() {
        let flights = Flights::<u8, u8>::new(Handle::current());
        let start = || async { unreachable!("nothing is started") };
        assert_eq!(flights.join(1, || Some(3), start).await.unwrap(), 3);
    }
}
