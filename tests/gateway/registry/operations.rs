//! What is put comes back as it was put, once, and goes when it is deleted.

use dcr_gateway::{
    model::application::{Registration as State, Status},
    portal::{
        record::{
            Actor, ApplicationFilter, AuditFilter, DeveloperFilter, Life, Origin,
            RegistrationFilter, Source,
        },
        registry::Error,
    },
};
use serde_json::json;
use uuid::Uuid;

use super::{
    FIRST, Store, api, application, at, change, credential, intent, labels, provider, put,
    registration, strategy, with_each_database,
};

with_each_database![
    providers_come_back,
    strategies_come_back,
    apis_come_back,
    applications_come_back,
    an_application_may_lack_what_is_optional,
    credentials_come_back,
    registrations_come_back,
    an_application_goes_with_what_belongs_to_it,
    a_name_or_client_is_there_once,
    a_refused_call_leaves_the_transaction_usable,
    a_dropped_transaction_changes_nothing,
    what_a_transaction_wrote_it_reads,
    the_audit_trail_is_kept,
    developers_are_made_once,
];

async fn providers_come_back(store: Store) {
    let registry = store.open();
    let mut first = provider("beta");
    let mut second = provider("alpha");
    second.secrets.clear();
    first.revision = put!(registry, put_provider(&first));
    second.revision = put!(registry, put_provider(&second));
    let found = registry.providers().await.unwrap();
    assert_eq!(found, [second.clone(), first.clone()]);
    // Replaced by id.
    first.display_name = "Another".to_owned();
    first.secrets.clear();
    first.updated_at = at(99);
    first.revision = put!(registry, put_provider(&first));
    let found = registry.providers().await.unwrap();
    assert_eq!(found, [second.clone(), first.clone()]);
    assert!(found.iter().all(|found| found.source == Source::Registry));
    put!(registry, delete_provider(first.id));
    assert_eq!(registry.providers().await.unwrap(), [second]);
}

async fn strategies_come_back(store: Store) {
    let registry = store.open();
    let mut first = strategy("beta", Some(Uuid::new_v4()));
    let mut second = strategy("alpha", None);
    first.revision = put!(registry, put_strategy(&first));
    second.revision = put!(registry, put_strategy(&second));
    let found = registry.strategies().await.unwrap();
    assert_eq!(found, [second.clone(), first.clone()]);
    put!(registry, delete_strategy(second.id));
    assert_eq!(registry.strategies().await.unwrap(), [first]);
}

async fn apis_come_back(store: Store) {
    let registry = store.open();
    let mut flights = api("flights");
    flights.revision = put!(registry, put_api(&flights));
    assert_eq!(registry.apis().await.unwrap(), [flights.clone()]);
    flights.auto_approve = false;
    flights.strategies.clear();
    flights.revision = put!(registry, put_api(&flights));
    assert_eq!(registry.apis().await.unwrap(), [flights]);
}

async fn applications_come_back(store: Store) {
    let registry = store.open();
    let mut kept = application("client-1");
    kept.revision = put!(registry, put_application(&kept));
    let found = registry.application(kept.id).await.unwrap();
    assert_eq!(found.as_ref(), Some(&kept));
    kept.name = "Ümläut \\ % _ 'quoted' \"twice\"\u{1F600}\n".to_owned();
    kept.status = Status::Suspended;
    kept.life = Life::Deleting;
    kept.management = None;
    kept.labels = labels(&[]);
    kept.credentials_valid_from = at(500);
    kept.revision = put!(registry, put_application(&kept));
    let found = registry.application(kept.id).await.unwrap();
    assert_eq!(found, Some(kept));
    let other = registry.application(Uuid::new_v4()).await.unwrap();
    assert_eq!(other, None);
}

async fn an_application_may_lack_what_is_optional(store: Store) {
    let registry = store.open();
    let mut bare = application("x");
    bare.client_id = None;
    bare.provider = None;
    bare.management = None;
    bare.description.clear();
    bare.scopes.clear();
    bare.origin = Origin::Given;
    bare.life = Life::Creating;
    bare.revision = put!(registry, put_application(&bare));
    // A second one without a client is no double.
    let mut other = bare.clone();
    other.id = Uuid::new_v4();
    other.revision = put!(registry, put_application(&other));
    for bare in [bare, other] {
        let found = registry.application(bare.id).await.unwrap();
        assert_eq!(found, Some(bare));
    }
}

async fn credentials_come_back(store: Store) {
    let registry = store.open();
    let owner = application("client-1");
    put!(registry, put_application(&owner));
    let first = credential(owner.id);
    let mut second = credential(owner.id);
    second.at_idp = None;
    second.expires_at = None;
    second.created_at = at(11);
    put!(registry, put_credential(&second));
    put!(registry, put_credential(&first));
    let found = registry.credentials(owner.id).await.unwrap();
    assert_eq!(found, [first.clone(), second.clone()]);
    put!(registry, delete_credential(first.id));
    assert_eq!(registry.credentials(owner.id).await.unwrap(), [second]);
    put!(registry, put_credential(&first));
    put!(registry, delete_credentials(owner.id));
    assert_eq!(registry.credentials(owner.id).await.unwrap(), []);
}

async fn registrations_come_back(store: Store) {
    let registry = store.open();
    let owner = application("client-1");
    put!(registry, put_application(&owner));
    for (api, state) in [
        ("a", State::Approved),
        ("b", State::Pending),
        ("c", State::Rejected),
        ("d", State::Revoked),
    ] {
        let mut kept = registration(owner.id, api, state);
        kept.revision = put!(registry, put_registration(&kept));
        let found = registry.registration(kept.id).await.unwrap();
        assert_eq!(found.as_ref(), Some(&kept));
        // Changes of a registration are changes of its application.
        let owner = registry.application(owner.id).await.unwrap().unwrap();
        assert_eq!(owner.revision, kept.revision);
        let revision = put!(registry, delete_registration(kept.id));
        assert_eq!(registry.registration(kept.id).await.unwrap(), None);
        let owner = registry.application(owner.id).await.unwrap().unwrap();
        assert_eq!(owner.revision, revision);
    }
}

async fn an_application_goes_with_what_belongs_to_it(store: Store) {
    let registry = store.open();
    let (gone, stays) = (application("client-1"), application("client-2"));
    let mut change = change(&registry).await;
    for one in [&gone, &stays] {
        change.put_application(one).await.unwrap();
        let credential = credential(one.id);
        change.put_credential(&credential).await.unwrap();
        let registration = registration(one.id, "flights", State::Approved);
        change.put_registration(&registration).await.unwrap();
        let intent = intent(&registry, one.id);
        change.put_intent(&intent).await.unwrap();
    }
    change.commit().await.unwrap();
    put!(registry, delete_application(gone.id));
    assert_eq!(registry.application(gone.id).await.unwrap(), None);
    assert_eq!(registry.credentials(gone.id).await.unwrap(), []);
    assert_eq!(registry.credentials(stays.id).await.unwrap().len(), 1);
    let all = RegistrationFilter::default();
    let left = registry.registrations(&all, FIRST).await.unwrap();
    assert_eq!((left.total, left.items[0].application), (1, stays.id));
    assert_eq!(store.number("SELECT COUNT(*) FROM intents").await, 1);
}

async fn a_name_or_client_is_there_once(store: Store) {
    let registry = store.open();
    let (curity, partners) = (provider("curity"), strategy("partners", None));
    let owner = application("client-1");
    let flights = registration(owner.id, "flights", State::Approved);
    let mut first = change(&registry).await;
    first.put_provider(&curity).await.unwrap();
    first.put_strategy(&partners).await.unwrap();
    first.put_application(&owner).await.unwrap();
    first.put_registration(&flights).await.unwrap();
    // The same again is no double.
    first.put_provider(&curity).await.unwrap();
    first.put_strategy(&partners).await.unwrap();
    first.put_application(&owner).await.unwrap();
    first.put_registration(&flights).await.unwrap();
    first.commit().await.unwrap();

    let mut second = change(&registry).await;
    let double = second.put_provider(&provider("curity")).await;
    assert_eq!(double, Err(Error::Taken("a DCR provider of this name")));
    let double = second.put_strategy(&strategy("partners", None)).await;
    assert_eq!(double, Err(Error::Taken("an auth strategy of this name")));
    let double = second.put_application(&application("client-1")).await;
    let taken = Err(Error::Taken("an application with this client"));
    assert_eq!(double, taken);
    let flights = registration(owner.id, "flights", State::Pending);
    let double = second.put_registration(&flights).await;
    assert_eq!(double, Err(Error::Taken("a registration for this API")));
    // Elsewhere the same client, or API, is another one.
    let mut elsewhere = application("client-1");
    elsewhere.strategy = "others".to_owned();
    second.put_application(&elsewhere).await.unwrap();
    let flights = registration(elsewhere.id, "flights", State::Pending);
    second.put_registration(&flights).await.unwrap();
    second.commit().await.unwrap();
}

async fn a_refused_call_leaves_the_transaction_usable(store: Store) {
    let registry = store.open();
    put!(registry, put_provider(&provider("curity")));
    let mut change = change(&registry).await;
    let double = change.put_provider(&provider("curity")).await;
    assert!(matches!(double, Err(Error::Taken(_))), "{double:?}");
    change.put_provider(&provider("other")).await.unwrap();
    change.commit().await.unwrap();
    assert_eq!(registry.providers().await.unwrap().len(), 2);
}

async fn a_dropped_transaction_changes_nothing(store: Store) {
    let registry = store.open();
    let before = registry.revision().await.unwrap();
    let dropped = application("client-1");
    let mut first = change(&registry).await;
    assert_eq!(first.revision(), before + 1);
    first.put_application(&dropped).await.unwrap();
    drop(first);
    let second = change(&registry).await;
    assert_eq!(second.revision(), before + 1, "a revision was left out");
    assert_eq!(second.commit().await.unwrap(), before + 1);
    assert_eq!(registry.application(dropped.id).await.unwrap(), None);
    assert_eq!(
        registry
            .developers(&DeveloperFilter::default(), FIRST)
            .await
            .unwrap()
            .total,
        0
    );
}

async fn what_a_transaction_wrote_it_reads(store: Store) {
    let registry = store.open();
    let owner = application("client-1");
    let mut change = change(&registry).await;
    change.put_provider(&provider("curity")).await.unwrap();
    change.put_strategy(&strategy("p", None)).await.unwrap();
    change.put_api(&api("flights")).await.unwrap();
    change.put_application(&owner).await.unwrap();
    change.put_credential(&credential(owner.id)).await.unwrap();
    let flights = registration(owner.id, "flights", State::Approved);
    change.put_registration(&flights).await.unwrap();
    assert_eq!(change.providers().await.unwrap().len(), 1);
    assert_eq!(change.strategies().await.unwrap().len(), 1);
    assert_eq!(change.apis().await.unwrap().len(), 1);
    assert_eq!(change.credentials(owner.id).await.unwrap().len(), 1);
    assert!(change.application(owner.id).await.unwrap().is_some());
    assert!(change.registration(flights.id).await.unwrap().is_some());
    let all = ApplicationFilter::default();
    assert_eq!(change.applications(&all, FIRST).await.unwrap().total, 1);
    let all = RegistrationFilter::default();
    assert_eq!(change.registrations(&all, FIRST).await.unwrap().total, 1);
    // Nobody else does yet.
    assert_eq!(registry.application(owner.id).await.unwrap(), None);
    change.commit().await.unwrap();
    assert!(registry.application(owner.id).await.unwrap().is_some());
}

async fn the_audit_trail_is_kept(store: Store) {
    let registry = store.open();
    let actors = [
        (Actor::Operator, "operator"),
        (Actor::Gateway, "gateway"),
        (Actor::Command("import"), "command import"),
        (
            Actor::Developer("dana@example.com".to_owned()),
            "developer dana@example.com",
        ),
    ];
    let (before, after) = (json!({"status": "active"}), json!({"status": "suspended"}));
    for (actor, _) in &actors {
        let mut change = registry.change(actor, Some("request-1")).await.unwrap();
        let values = (Some(before.clone()), Some(after.clone()));
        change
            .audit("application.patch", "application", "7", values.0, values.1)
            .await
            .unwrap();
        change
            .audit("application.read", "application", "8", None, None)
            .await
            .unwrap();
        change.commit().await.unwrap();
    }
    let all = registry.audit(&AuditFilter::default(), FIRST).await;
    let all = all.unwrap();
    assert_eq!(all.total, 8);
    let ids: Vec<i64> = all.items.iter().map(|line| line.id).collect();
    assert_eq!(ids, [8, 7, 6, 5, 4, 3, 2, 1]);
    let told = all.items.iter().rev().step_by(2).map(|line| &*line.actor);
    assert!(told.eq(actors.iter().map(|(_, word)| *word)));
    let line = all.items.last().unwrap();
    assert_eq!(line.request_id.as_deref(), Some("request-1"));
    assert_eq!((&line.before, &line.after), (&Some(before), &Some(after)));
    assert_eq!(
        (&*line.action, &*line.subject_kind, &*line.subject),
        ("application.patch", "application", "7")
    );
    for (filter, total) in [
        (
            AuditFilter {
                action: Some("application.read".to_owned()),
                ..AuditFilter::default()
            },
            4,
        ),
        (
            AuditFilter {
                actor: Some("gateway".to_owned()),
                ..AuditFilter::default()
            },
            2,
        ),
        (
            AuditFilter {
                subject: Some("7".to_owned()),
                ..AuditFilter::default()
            },
            4,
        ),
        (
            AuditFilter {
                subject: Some("7".to_owned()),
                actor: Some("operator".to_owned()),
                action: Some("application.read".to_owned()),
            },
            0,
        ),
    ] {
        let found = registry.audit(&filter, FIRST).await.unwrap();
        assert_eq!(found.total, total, "{filter:?}");
        assert_eq!(found.items.len() as u64, total, "{filter:?}");
    }
}

async fn developers_are_made_once(store: Store) {
    let registry = store.open();
    let mut second = application("client-2");
    second.developer = "abel@example.com".to_owned();
    for one in [application("client-1"), second, application("client-3")] {
        put!(registry, put_application(&one));
    }
    let found = registry
        .developers(&DeveloperFilter::default(), FIRST)
        .await
        .unwrap();
    let names: Vec<&str> = found.items.iter().map(|one| &*one.name).collect();
    assert_eq!(names, ["abel@example.com", "dana@example.com"]);
    assert_eq!(found.total, 2);
    assert_eq!(found.items[0].created_at, at(7));
    // They stay when their applications go.
    let all = ApplicationFilter::default();
    for one in registry.applications(&all, FIRST).await.unwrap().items {
        put!(registry, delete_application(one.id));
    }
    assert_eq!(
        registry
            .developers(&DeveloperFilter::default(), FIRST)
            .await
            .unwrap(),
        found
    );
}
