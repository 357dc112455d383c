//! Intents of the living and the dead, answers that are kept a day, sessions that are over.

use std::time::Duration;

use dcr_gateway::{
    clock,
    model::credential::ClientId,
    portal::{
        record::{Actor, Answered, EndedSession, Step},
        registry::{Error, Registry},
    },
};
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use super::{Store, application, at, change, intent, put, with_each_database};
use crate::harness::eventually;

with_each_database![
    an_application_has_one_intent,
    an_intent_is_taken_once_by_its_process,
    intents_of_the_dead_are_orphaned,
    a_process_whose_row_is_gone_is_dead,
    a_process_that_was_held_up_is_fenced,
    one_of_many_claims_an_orphan,
    an_answer_is_kept_once,
    an_answer_is_kept_for_a_day,
    sessions_that_are_over_are_removed,
];

async fn an_application_has_one_intent(store: Store) {
    let (registry, other) = (store.open(), store.open());
    let application = Uuid::new_v4();
    let first = intent(&registry, application);
    put!(registry, put_intent(&first));
    let mut change = change(&other).await;
    let second = intent(&other, application);
    assert_eq!(change.put_intent(&second).await, Err(Error::Busy));
    // Another application's is none of its business.
    let elsewhere = intent(&other, Uuid::new_v4());
    change.put_intent(&elsewhere).await.unwrap();
    change.commit().await.unwrap();
    // The same one may come to its next step.
    let mut next = first.clone();
    next.step = Step::Delete;
    put!(registry, put_intent(&next));
}

async fn an_intent_is_taken_once_by_its_process(store: Store) {
    let (registry, other) = (store.open(), store.open());
    let kept = intent(&registry, Uuid::new_v4());
    put!(registry, put_intent(&kept));
    for (who, expected) in [(&other, false), (&registry, true), (&registry, false)] {
        let mut change = change(who).await;
        assert_eq!(change.take_intent(kept.id).await, Ok(expected));
        change.commit().await.unwrap();
    }
    let mut change = change(&registry).await;
    assert_eq!(change.claim_intent(kept.id).await, Ok(false));
}

async fn intents_of_the_dead_are_orphaned(store: Store) {
    let (living, dying, asking) = (store.open(), store.open(), store.open());
    for registry in [&living, &dying, &asking] {
        put!(registry, put_intent(&intent(registry, Uuid::new_v4())));
    }
    let process = dying.process();
    assert_eq!(asking.orphaned_intents(|_| true).await, Ok(Vec::new()));
    drop(dying);
    eventually!(
        !asking.orphaned_intents(|_| true).await.unwrap().is_empty(),
        "the dead process is noticed"
    );
    let orphans = asking.orphaned_intents(|_| true).await.unwrap();
    assert_eq!(orphans.len(), 1, "{orphans:?}");
    assert_eq!(orphans[0].process, process);
    assert_eq!(orphans[0].data, intent(&asking, Uuid::nil()).data);
    assert_eq!(
        (orphans[0].step, orphans[0].created_at),
        (Step::Create, at(12))
    );
}

/// An intent of a process that is dead, and seen to be.
async fn orphan(store: &Store) -> Uuid {
    let dead = store.open();
    let intent = intent(&dead, Uuid::new_v4());
    put!(dead, put_intent(&intent));
    let process = dead.process();
    drop(dead);
    // Its last sign of life may be under way.
    let delete = format!("DELETE FROM processes WHERE id = '{process}'");
    let count = format!("SELECT COUNT(*) FROM processes WHERE id = '{process}'");
    store.sql(delete.clone()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    if store.number(&count).await != 0 {
        store.sql(delete).await;
    }
    intent.id
}

async fn a_process_whose_row_is_gone_is_dead(store: Store) {
    let id = orphan(&store).await;
    let asking = store.open();
    let orphans = asking.orphaned_intents(|_| true).await.unwrap();
    assert_eq!(orphans.len(), 1);
    let mut change = change(&asking).await;
    assert_eq!(change.claim_intent(id).await, Ok(true));
    change.commit().await.unwrap();
    // Its own now.
    assert_eq!(asking.orphaned_intents(|_| true).await, Ok(Vec::new()));
    let mut change = super::change(&asking).await;
    assert_eq!(change.take_intent(id).await, Ok(true));
    change.commit().await.unwrap();
}

/// A process that is held up: it goes on only within `on`.
struct HeldUp {
    runtime: Option<Runtime>,
    registry: Registry,
}

impl HeldUp {
    fn new(store: &Store) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let _within = runtime.enter();
        let registry = store.open();
        drop(_within);
        Self {
            runtime: Some(runtime),
            registry,
        }
    }

    async fn on<T: Send + 'static>(
        &mut self,
        what: impl AsyncFnOnce(Registry) -> T + Send + 'static,
    ) -> T {
        let (runtime, registry) = (self.runtime.take().unwrap(), self.registry.clone());
        let went_on = tokio::task::spawn_blocking(move || {
            let result = runtime.block_on(what(registry));
            (runtime, result)
        });
        let (runtime, result) = went_on.await.unwrap();
        self.runtime = Some(runtime);
        result
    }
}

impl Drop for HeldUp {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn a_process_that_was_held_up_is_fenced(store: Store) {
    let mut held_up = HeldUp::new(&store);
    let kept = intent(&held_up.registry, Uuid::new_v4());
    let id = kept.id;
    held_up
        .on(async move |registry| {
            put!(registry, put_intent(&kept));
        })
        .await;
    let other = store.open();
    let mut early = change(&other).await;
    assert_eq!(early.claim_intent(id).await, Ok(false), "it may live");
    early.commit().await.unwrap();
    eventually!(
        !other.orphaned_intents(|_| true).await.unwrap().is_empty(),
        "it is taken for dead"
    );
    let mut claiming = change(&other).await;
    assert_eq!(claiming.claim_intent(id).await, Ok(true));
    claiming.commit().await.unwrap();
    let taken = held_up.on(async move |registry| {
        let mut change = change(&registry).await;
        change.take_intent(id).await
    });
    assert_eq!(taken.await, Ok(false), "it is no longer its own");
    let mut taking = change(&other).await;
    assert_eq!(taking.take_intent(id).await, Ok(true));
    taking.commit().await.unwrap();
}

async fn one_of_many_claims_an_orphan(store: Store) {
    let id = orphan(&store).await;
    let registries: Vec<Registry> = (0..5).map(|_| store.open()).collect();
    let mut claims = tokio::task::JoinSet::new();
    for registry in &registries {
        let registry = registry.clone();
        claims.spawn(async move {
            let mut change = change(&registry).await;
            let claimed = change.claim_intent(id).await.unwrap();
            change.commit().await.unwrap();
            claimed
        });
    }
    let claims = claims.join_all().await;
    assert_eq!(claims.iter().filter(|claimed| **claimed).count(), 1);
}

fn answered(request: &str) -> Answered {
    Answered {
        request: request.to_owned(),
        subject_kind: "application".to_owned(),
        subject: Uuid::from_u128(7),
    }
}

async fn an_answer_is_kept_once(store: Store) {
    let registry = store.open();
    let now = clock::now();
    assert_eq!(registry.answered("key-1").await, Ok(None));
    put!(registry, put_answered("key-1", &answered("digest-1"), now));
    let kept = Some(answered("digest-1"));
    assert_eq!(registry.answered("key-1").await, Ok(kept.clone()));
    let mut change = change(&registry).await;
    assert_eq!(change.answered("key-1").await, Ok(kept.clone()));
    let again = change
        .put_answered("key-1", &answered("digest-2"), now)
        .await;
    assert!(matches!(again, Err(Error::Taken(_))), "{again:?}");
    let other = change
        .put_answered("key-2", &answered("digest-2"), now)
        .await;
    assert_eq!(other, Ok(()));
    change.commit().await.unwrap();
    assert_eq!(registry.answered("key-1").await, Ok(kept));
    assert!(registry.answered("key-2").await.unwrap().is_some());
}

async fn an_answer_is_kept_for_a_day(store: Store) {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    const MINUTE: Duration = Duration::from_secs(60);
    let registry = store.open();
    let now = clock::now();
    let (old, young) = (now.minus(DAY), now.minus(DAY).plus(MINUTE));
    put!(registry, put_answered("old", &answered("1"), old));
    put!(registry, put_answered("young", &answered("2"), young));
    assert_eq!(registry.answered("old").await, Ok(None));
    assert_eq!(registry.answered("young").await, Ok(Some(answered("2"))));
    // Good for another request; and whoever writes removes what is old.
    put!(registry, put_answered("old", &answered("3"), now));
    assert_eq!(registry.answered("old").await, Ok(Some(answered("3"))));
    let later = now.plus(MINUTE * 2);
    put!(registry, put_answered("new", &answered("4"), later));
    assert_eq!(store.number("SELECT COUNT(*) FROM answered").await, 2);
}

async fn sessions_that_are_over_are_removed(store: Store) {
    let registry = store.open();
    let owner = || ("partners".to_owned(), ClientId::new("client-1").unwrap());
    let mut change = registry.change(&Actor::Gateway, None).await.unwrap();
    let (strategy, client_id) = owner();
    let all = EndedSession::AllBefore {
        strategy,
        client_id,
        time: at(-1_000_000_000),
    };
    change.end_session(&all).await.unwrap();
    for (id, secs) in [(1, -60), (2, 3600)] {
        let until = clock::now();
        let until = match secs < 0 {
            true => until.minus(Duration::from_secs(60)),
            false => until.plus(Duration::from_secs(3600)),
        };
        let (strategy, client_id) = owner();
        let single = EndedSession::Single {
            id: [id; 16],
            strategy,
            client_id,
            until,
        };
        change.end_session(&single).await.unwrap();
    }
    change.commit().await.unwrap();
    let count = "SELECT COUNT(*) FROM ended_sessions";
    assert_eq!(store.number(count).await, 3);
    let _next = store.open();
    eventually!(store.number(count).await == 2, "what is over is removed");
    let told = registry.since(0).await.unwrap().sessions;
    assert!(told.contains(&all) && told.len() == 2, "{told:?}");
    // An application's end does not take them along: its client may come again.
    put!(registry, put_application(&application("client-1")));
    assert_eq!(store.number(count).await, 2);
}
