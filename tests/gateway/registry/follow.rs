//! How soon a gateway hears of what another one has changed.

use std::time::Duration;

use dcr_gateway::portal::registry::{Changes, Registry};
use tokio::time::timeout;

use super::{Store, application, put, with_each_database};

with_each_database![
    a_change_of_another_process_is_heard,
    a_change_between_two_calls_is_heard,
    without_a_change_nothing_is_heard,
    ones_own_change_is_heard_until_it_is_read,
];

/// Far longer than it should take: only what never comes is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Takes what has changed, and has it at work at once.
async fn read(registry: &Registry, seen: i64) -> Changes {
    let told = registry.since(seen).await.unwrap();
    registry.followed(told.revision);
    told
}

async fn a_change_of_another_process_is_heard(store: Store) {
    let (follower, writer) = (store.open(), store.open());
    let mut seen = read(&follower, 0).await.revision;
    for n in 0..5 {
        let waiting = {
            let follower = follower.clone();
            tokio::spawn(async move { follower.changed().await })
        };
        put!(
            writer,
            put_application(&application(&format!("client-{n}")))
        );
        timeout(PATIENCE, waiting)
            .await
            .expect("it is heard")
            .unwrap();
        let told = read(&follower, seen).await;
        assert_eq!(told.entries.len(), 1);
        seen = told.revision;
    }
}

async fn a_change_between_two_calls_is_heard(store: Store) {
    let (follower, writer) = (store.open(), store.open());
    let seen = read(&follower, 0).await.revision;
    put!(writer, put_application(&application("client-1")));
    let heard = timeout(PATIENCE, follower.changed()).await;
    heard.expect("it is heard");
    let seen = read(&follower, seen).await.revision;
    // Now that it listens, too.
    put!(writer, put_application(&application("client-2")));
    let heard = timeout(PATIENCE, follower.changed()).await;
    heard.expect("it is heard");
    assert_eq!(read(&follower, seen).await.entries.len(), 1);
}

async fn without_a_change_nothing_is_heard(store: Store) {
    let (follower, writer) = (store.open(), store.open());
    // Both tell in the meantime that they live, which is no change.
    writer.revision().await.unwrap();
    read(&follower, 0).await;
    let heard = timeout(Duration::from_secs(2), follower.changed()).await;
    assert!(heard.is_err(), "nothing was changed");
}

async fn ones_own_change_is_heard_until_it_is_read(store: Store) {
    let registry = store.open();
    read(&registry, 0).await;
    let revision = put!(registry, put_application(&application("client-1")));
    for _ in 0..2 {
        let heard = timeout(PATIENCE, registry.changed()).await;
        heard.expect("it is heard");
    }
    read(&registry, revision).await;
    let heard = timeout(Duration::from_millis(600), registry.changed()).await;
    assert!(heard.is_err(), "it was read");
}
