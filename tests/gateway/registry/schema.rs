//! The schema: made once however many begin at once, kept, and never taken for what it is not.

use dcr_gateway::portal::{record::Actor, registry::Error};
use tokio::task::JoinSet;

use super::{Store, application, put, with_each_database};
use crate::harness::eventually;

with_each_database![
    many_that_begin_at_once_make_it_once,
    what_is_there_is_kept,
    a_newer_one_is_refused,
    a_newer_one_that_is_put_back_is_used,
];

async fn many_that_begin_at_once_make_it_once(store: Store) {
    let registries: Vec<_> = (0..8).map(|_| store.open()).collect();
    let mut begun = JoinSet::new();
    for registry in registries {
        begun.spawn(async move {
            let application = application(&registry.process().to_string());
            let revision = put!(registry, put_application(&application));
            (revision, registry)
        });
    }
    let begun = begun.join_all().await;
    let mut revisions: Vec<i64> = begun.iter().map(|(revision, _)| *revision).collect();
    revisions.sort_unstable();
    assert_eq!(revisions, [2, 3, 4, 5, 6, 7, 8, 9]);
    let steps = store.number("SELECT COUNT(*) FROM migrations").await;
    let last = store.number("SELECT MAX(version) FROM migrations").await;
    assert_eq!(steps, last, "each step once");
}

async fn what_is_there_is_kept(store: Store) {
    let mut one = application("client-1");
    one.revision = put!(store.open(), put_application(&one));
    for _ in 0..2 {
        let found = store.open().application(one.id).await.unwrap();
        assert_eq!(found.as_ref(), Some(&one));
    }
}

async fn a_newer_one_is_refused(store: Store) {
    store.open().revision().await.unwrap();
    store
        .sql("INSERT INTO migrations (version, at) VALUES (99, 0)")
        .await;
    let registry = store.open();
    assert_eq!(registry.revision().await, Err(Error::Newer(99)));
    assert_eq!(registry.since(0).await.unwrap_err(), Error::Newer(99));
    let begun = registry.change(&Actor::Operator, None).await;
    assert_eq!(begun.unwrap_err(), Error::Newer(99));
    let trouble = registry.trouble().unwrap();
    assert!(
        trouble.contains("expected a newer dcr-gateway"),
        "{trouble}"
    );
    let kept = store.number("SELECT COUNT(*) FROM migrations WHERE version = 99");
    assert_eq!(kept.await, 1);
}

async fn a_newer_one_that_is_put_back_is_used(store: Store) {
    store.open().revision().await.unwrap();
    store
        .sql("INSERT INTO migrations (version, at) VALUES (99, 0)")
        .await;
    let registry = store.open();
    assert_eq!(registry.revision().await, Err(Error::Newer(99)));
    store.sql("DELETE FROM migrations WHERE version = 99").await;
    eventually!(registry.revision().await.is_ok(), "it is used");
}
