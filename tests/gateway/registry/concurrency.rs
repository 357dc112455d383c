//! Many writers, several processes: they take turns, and nothing is lost.

use std::{collections::HashMap, sync::Arc};

use dcr_gateway::{
    model::application::Registration as State,
    portal::{
        record::{ApplicationFilter, Page},
        registry::{Error, Registry},
    },
};
use tokio::{sync::watch, task::JoinSet};

use super::{Store, application, change, put, registration, with_each_database};

with_each_database![
    many_writers_lose_no_update,
    a_follower_sees_every_revision_in_order,
    what_is_read_in_a_transaction_holds_until_it_ends,
    of_many_that_want_one_client_one_gets_it,
    a_reader_waits_for_no_writer,
];

/// Two processes on one file are no set-up for production, so SQLite need not be fair to them.
#[tokio::test]
async fn a_process_that_writes_without_a_pause_lets_others_have_their_turn() {
    const MOST: usize = 500;
    let store = Store::postgres().await;
    let [busy, other] = two(&store);
    let (stop, stopped) = watch::channel(false);
    let write = async move |registry: Registry| {
        let mut written = 0;
        while written < MOST && !*stopped.borrow() {
            change(&registry).await.commit().await.unwrap();
            written += 1;
        }
        written
    };
    let mut writers = JoinSet::new();
    for _ in 0..10 {
        let (write, busy) = (write.clone(), busy.clone());
        writers.spawn(async move { write(busy).await });
    }
    for _ in 0..10 {
        change(&other).await.commit().await.unwrap();
    }
    stop.send_replace(true);
    let written = writers.join_all().await;
    assert!(written.iter().all(|written| *written < MOST), "{written:?}");
}

const WRITERS: usize = 50;

/// Two processes, as far as the database can tell.
fn two(store: &Store) -> [Registry; 2] {
    [store.open(), store.open()]
}

async fn many_writers_lose_no_update(store: Store) {
    let registries = two(&store);
    let shared = application("shared");
    put!(registries[0], put_application(&shared));
    let before = registries[0].revision().await.unwrap();
    let mut writers = JoinSet::new();
    for n in 0..WRITERS {
        let (registry, id) = (registries[n % 2].clone(), shared.id);
        writers.spawn(async move {
            let mut change = change(&registry).await;
            let own = application(&format!("client-{n}"));
            change.put_application(&own).await.unwrap();
            // Read, changed and written: the classic way to lose something.
            let mut shared = change.application(id).await.unwrap().unwrap();
            let count: usize = shared.description.parse().unwrap_or(0);
            shared.description = (count + 1).to_string();
            change.put_application(&shared).await.unwrap();
            change.commit().await.unwrap()
        });
    }
    let mut revisions = writers.join_all().await;
    revisions.sort_unstable();
    let last = before + i64::try_from(WRITERS).unwrap();
    assert!(revisions.into_iter().eq(before + 1..=last));
    let shared = registries[1].application(shared.id).await.unwrap();
    assert_eq!(shared.unwrap().description, WRITERS.to_string());
    let one = Page { number: 1, size: 1 };
    let all = ApplicationFilter::default();
    let all = registries[1].applications(&all, one).await.unwrap();
    assert_eq!(all.total, WRITERS as u64 + 1);
    // The directory hears the same.
    let told = registries[0].since(before).await.unwrap();
    assert_eq!((told.entries.len(), told.revision), (WRITERS + 1, last));
}

async fn a_follower_sees_every_revision_in_order(store: Store) {
    let registries = two(&store);
    let begin = registries[0].revision().await.unwrap();
    let follower = store.open();
    let last = begin + i64::try_from(WRITERS).unwrap();
    let followed = tokio::spawn(async move {
        let (mut seen, mut met) = (begin, HashMap::new());
        while seen < last {
            follower.changed().await;
            let told = follower.since(seen).await.unwrap();
            assert!(told.revision >= seen && !told.whole);
            for entry in told.entries {
                met.insert(entry.client_id.to_string(), told.revision);
            }
            seen = told.revision;
        }
        met
    });
    let mut writers = JoinSet::new();
    for n in 0..WRITERS {
        let registry = registries[n % 2].clone();
        writers.spawn(async move {
            let client = format!("client-{n}");
            (
                client.clone(),
                put!(registry, put_application(&application(&client))),
            )
        });
    }
    let written = writers.join_all().await;
    let met = tokio::time::timeout(std::time::Duration::from_secs(30), followed);
    let met = met.await.expect("the follower ends").unwrap();
    // Nothing that was written at a revision is told after a later one: with a gap, it would have
    // been passed over.
    assert_eq!(met.len(), WRITERS);
    for (client, revision) in written {
        assert!(met[&client] >= revision, "{client}");
    }
}

async fn what_is_read_in_a_transaction_holds_until_it_ends(store: Store) {
    let registries = two(&store);
    let mut first = change(&registries[0]).await;
    let other = registries[1].clone();
    let second = tokio::spawn(async move {
        let mut change = change(&other).await;
        let found = change.application(application("x").id).await.unwrap();
        assert_eq!(found, None);
        let page = Page { number: 1, size: 9 };
        let all = ApplicationFilter::default();
        let total = change.applications(&all, page).await.unwrap().total;
        change.commit().await.unwrap();
        total
    });
    first
        .put_application(&application("client-1"))
        .await
        .unwrap();
    assert!(!second.is_finished());
    first.commit().await.unwrap();
    assert_eq!(
        second.await.unwrap(),
        1,
        "it began after the first one ended"
    );
}

async fn of_many_that_want_one_client_one_gets_it(store: Store) {
    let registries = Arc::new(two(&store));
    let mut writers = JoinSet::new();
    for n in 0..20 {
        let registries = registries.clone();
        writers.spawn(async move {
            let mut change = change(&registries[n % 2]).await;
            let put = change.put_application(&application("client-1")).await;
            change.commit().await.unwrap();
            put
        });
    }
    let results = writers.join_all().await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    let taken = Err(Error::Taken("an application with this client"));
    assert_eq!(
        results.iter().filter(|result| **result == taken).count(),
        19
    );
}

async fn a_reader_waits_for_no_writer(store: Store) {
    let registries = two(&store);
    let one = application("client-1");
    put!(registries[0], put_application(&one));
    // To show that it lives, the other one writes before it answers.
    registries[1].revision().await.unwrap();
    let mut writing = change(&registries[0]).await;
    let flights = registration(one.id, "flights", State::Approved);
    writing.put_registration(&flights).await.unwrap();
    for registry in &registries {
        let told = registry.since(0).await.unwrap();
        assert_eq!(told.entries[0].application.registration("flights"), None);
        assert!(registry.application(one.id).await.unwrap().is_some());
    }
    writing.commit().await.unwrap();
    let told = registries[1].since(0).await.unwrap();
    let state = told.entries[0].application.registration("flights");
    assert_eq!(state, Some(State::Approved));
}
