//! What a gateway hears: everything at first, then what has changed.

use dcr_gateway::{
    clock,
    directory::Entry,
    model::{
        application::{Application as Known, Registration as State, Status},
        credential::ClientId,
    },
    portal::{
        record::{EndedSession, Life},
        registry::Changes,
    },
};
use std::time::Duration;

use super::{
    Store, api, application, at, change, provider, put, registration, strategy, with_each_database,
};

with_each_database![
    at_first_everything_is_told,
    then_only_what_has_changed,
    what_is_not_ready_is_not_in_the_directory,
    a_client_that_changed_is_removed_by_its_old_id,
    a_client_that_went_and_came_again_is_there,
    changes_of_a_registration_are_told,
    changes_of_the_configuration_are_told,
    ended_sessions_are_told,
    ended_sessions_stay_ended,
    who_was_away_too_long_hears_everything,
    a_revision_that_is_to_come_hears_everything,
];

fn clients(changes: &Changes) -> Vec<&str> {
    let mut clients: Vec<&str> = changes
        .entries
        .iter()
        .map(|entry| entry.client_id.as_str())
        .collect();
    clients.sort_unstable();
    clients
}

fn removed(changes: &Changes) -> Vec<(&str, &str)> {
    let mut removed: Vec<(&str, &str)> = changes
        .removed
        .iter()
        .map(|(strategy, client)| (&**strategy, client.as_str()))
        .collect();
    removed.sort_unstable();
    removed
}

async fn at_first_everything_is_told(store: Store) {
    let registry = store.open();
    let nothing = registry.since(0).await.unwrap();
    assert!(nothing.whole && nothing.configuration);
    assert!(nothing.entries.is_empty() && nothing.removed.is_empty());
    let mut kept = application("client-1");
    kept.status = Status::Suspended;
    let mut change = change(&registry).await;
    change.put_application(&kept).await.unwrap();
    for (api, state) in [("b", State::Pending), ("a", State::Approved)] {
        let registration = registration(kept.id, api, state);
        change.put_registration(&registration).await.unwrap();
    }
    change
        .put_application(&application("client-2"))
        .await
        .unwrap();
    let revision = change.commit().await.unwrap();
    let told = registry.since(0).await.unwrap();
    assert_eq!((told.revision, told.whole), (revision, true));
    assert_eq!(clients(&told), ["client-1", "client-2"]);
    let first = told
        .entries
        .iter()
        .find(|one| one.application.id == kept.id);
    let expected = Entry {
        strategy: "partners".into(),
        client_id: ClientId::new("client-1").unwrap(),
        application: Known {
            id: kept.id,
            name: "Program client-1".into(),
            developer: "dana@example.com".into(),
            status: Status::Suspended,
            registrations: [("a".into(), State::Approved), ("b".into(), State::Pending)].into(),
            credentials_valid_from: at(5),
        },
    };
    assert_eq!(first, Some(&expected));
}

async fn then_only_what_has_changed(store: Store) {
    let registry = store.open();
    let (first, second) = (application("client-1"), application("client-2"));
    put!(registry, put_application(&first));
    let before = put!(registry, put_application(&second));
    let told = registry.since(before).await.unwrap();
    assert_eq!((told.revision, told.whole), (before, false));
    assert!(told.entries.is_empty() && told.removed.is_empty());
    let third = application("client-3");
    put!(registry, put_application(&third));
    let after = put!(registry, delete_application(first.id));
    let told = registry.since(before).await.unwrap();
    assert_eq!((told.revision, told.whole), (after, false));
    assert_eq!(clients(&told), ["client-3"]);
    assert_eq!(removed(&told), [("partners", "client-1")]);
    assert!(!told.configuration);
}

async fn what_is_not_ready_is_not_in_the_directory(store: Store) {
    let registry = store.open();
    let mut one = application("client-1");
    one.life = Life::Creating;
    one.client_id = None;
    let created = put!(registry, put_application(&one));
    assert_eq!(clients(&registry.since(0).await.unwrap()), [""; 0]);
    one.life = Life::Ready;
    one.client_id = ClientId::new("client-1");
    let ready = put!(registry, put_application(&one));
    let told = registry.since(created).await.unwrap();
    assert_eq!(clients(&told), ["client-1"]);
    one.life = Life::Deleting;
    let deleting = put!(registry, put_application(&one));
    let told = registry.since(ready).await.unwrap();
    assert_eq!(clients(&told), [""; 0]);
    assert_eq!(removed(&told), [("partners", "client-1")]);
    assert_eq!(clients(&registry.since(0).await.unwrap()), [""; 0]);
    put!(registry, delete_application(one.id));
    let told = registry.since(deleting).await.unwrap();
    assert_eq!(removed(&told), [("partners", "client-1")]);
}

async fn a_client_that_changed_is_removed_by_its_old_id(store: Store) {
    let registry = store.open();
    let mut one = application("client-1");
    let before = put!(registry, put_application(&one));
    one.client_id = ClientId::new("client-2");
    put!(registry, put_application(&one));
    let told = registry.since(before).await.unwrap();
    assert_eq!(clients(&told), ["client-2"]);
    assert_eq!(removed(&told), [("partners", "client-1")]);
}

async fn a_client_that_went_and_came_again_is_there(store: Store) {
    let registry = store.open();
    let one = application("client-1");
    let before = put!(registry, put_application(&one));
    let mut change = change(&registry).await;
    change.delete_application(one.id).await.unwrap();
    let again = application("client-1");
    change.put_application(&again).await.unwrap();
    change.commit().await.unwrap();
    let told = registry.since(before).await.unwrap();
    assert_eq!((clients(&told), removed(&told)), (vec!["client-1"], vec![]));
    // By another transaction as well, and from before both.
    put!(registry, delete_application(again.id));
    put!(registry, put_application(&application("client-1")));
    let told = registry.since(before).await.unwrap();
    assert_eq!((clients(&told), removed(&told)), (vec!["client-1"], vec![]));
}

async fn changes_of_a_registration_are_told(store: Store) {
    let registry = store.open();
    let one = application("client-1");
    let before = put!(registry, put_application(&one));
    put!(registry, put_application(&application("client-2")));
    let mut flights = registration(one.id, "flights", State::Approved);
    let before = put!(registry, put_registration(&flights)).max(before);
    flights.state = State::Revoked;
    let revoked = put!(registry, put_registration(&flights));
    let told = registry.since(before).await.unwrap();
    assert_eq!(clients(&told), ["client-1"]);
    let state = |told: &Changes| told.entries[0].application.registration("flights");
    assert_eq!(state(&told), Some(State::Revoked));
    put!(registry, delete_registration(flights.id));
    let told = registry.since(revoked).await.unwrap();
    assert_eq!(clients(&told), ["client-1"]);
    assert_eq!(state(&told), None);
}

async fn changes_of_the_configuration_are_told(store: Store) {
    let registry = store.open();
    let (provider, strategy) = (provider("curity"), strategy("partners", None));
    let mut before = put!(registry, put_application(&application("client-1")));
    for which in 0..5 {
        let mut change = change(&registry).await;
        match which {
            0 => change.put_provider(&provider).await,
            1 => change.put_strategy(&strategy).await,
            2 => change.put_api(&api("flights")).await,
            3 => change.delete_strategy(strategy.id).await,
            _ => change.delete_provider(provider.id).await,
        }
        .unwrap();
        let revision = change.commit().await.unwrap();
        let told = registry.since(before).await.unwrap();
        assert!(told.configuration && !told.whole, "{which}");
        assert!(!registry.since(revision).await.unwrap().configuration);
        before = revision;
    }
}

fn session(id: u8, until: Duration) -> EndedSession {
    EndedSession::Single {
        id: [id; 16],
        strategy: "partners".to_owned(),
        client_id: ClientId::new("client-1").unwrap(),
        until: clock::now().plus(until),
    }
}

fn all_before(secs: i64) -> EndedSession {
    EndedSession::AllBefore {
        strategy: "partners".to_owned(),
        client_id: ClientId::new("client-1").unwrap(),
        time: at(secs),
    }
}

const HOUR: Duration = Duration::from_secs(3600);

async fn ended_sessions_are_told(store: Store) {
    let registry = store.open();
    let before = registry.revision().await.unwrap();
    let (one, other) = (session(1, HOUR), session(0xab, HOUR));
    let over = session(3, Duration::ZERO);
    let first = put!(registry, end_session(&one));
    put!(registry, end_session(&other));
    put!(registry, end_session(&over));
    let told = registry.since(before).await.unwrap();
    assert_eq!(told.sessions, [one.clone(), other.clone()]);
    assert_eq!(registry.since(first).await.unwrap().sessions, [other]);
    assert_eq!(registry.since(0).await.unwrap().sessions.len(), 2);
    // Twice is no fault, and is told again.
    let again = put!(registry, end_session(&one));
    assert_eq!(registry.since(again - 1).await.unwrap().sessions, [one]);
}

async fn ended_sessions_stay_ended(store: Store) {
    let registry = store.open();
    put!(registry, end_session(&session(1, HOUR)));
    put!(registry, end_session(&all_before(60)));
    // They are among all of them.
    let told = registry.since(0).await.unwrap();
    assert_eq!(told.sessions, [all_before(60)]);
    // A gateway whose clock is behind takes nothing back.
    put!(registry, end_session(&all_before(30)));
    let told = registry.since(0).await.unwrap();
    assert_eq!(told.sessions, [all_before(60)]);
    put!(registry, end_session(&all_before(90)));
    let later = session(2, HOUR);
    put!(registry, end_session(&later));
    let mut told = registry.since(0).await.unwrap().sessions;
    told.sort_by_key(|ended| matches!(ended, EndedSession::Single { .. }));
    assert_eq!(told, [all_before(90), later]);
}

async fn who_was_away_too_long_hears_everything(store: Store) {
    let registry = store.open();
    let (old, new) = (application("client-1"), application("client-2"));
    let first = put!(registry, put_application(&old));
    put!(registry, put_application(&new));
    put!(registry, put_application(&application("client-3")));
    let removed_old = put!(registry, delete_application(old.id));
    // A month ago, as far as the database knows.
    store.sql("UPDATE gone SET at = at - 2678400001").await;
    let last = put!(registry, delete_application(new.id));
    // Whoever comes tidies up.
    let next = store.open();
    super::super::harness::eventually!(
        store.number("SELECT COUNT(*) FROM gone").await == 1,
        "the old row is removed"
    );
    let told = next.since(first).await.unwrap();
    assert_eq!((told.whole, told.revision), (true, last));
    assert_eq!(clients(&told), ["client-3"]);
    let told = next.since(removed_old).await.unwrap();
    assert!(!told.whole);
    assert_eq!(removed(&told), [("partners", "client-2")]);
}

async fn a_revision_that_is_to_come_hears_everything(store: Store) {
    let registry = store.open();
    let revision = put!(registry, put_application(&application("client-1")));
    // Of a database that was put back from yesterday's copy.
    let told = registry.since(revision + 1).await.unwrap();
    assert_eq!((told.whole, told.revision), (true, revision));
    assert_eq!(clients(&told), ["client-1"]);
}
