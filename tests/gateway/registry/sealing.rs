//! Secrets at rest: none is readable, none can be moved, and keys can be changed.

use std::fs;

use dcr_gateway::{
    idp::registration::Management,
    model::credential::Secret,
    portal::{
        record::{ApplicationFilter, AuditFilter},
        registry::{Error, Rotated},
    },
};
use sqlx::{AssertSqlSafe, Row};

use super::{
    FIRST, Place, Store, application, change, intent, key, provider, put, strategy,
    with_each_database,
};

with_each_database![
    no_secret_can_be_read_in_the_database,
    without_the_key_only_secrets_are_closed,
    without_any_key_no_secret_is_kept,
    what_is_moved_is_refused,
    keys_are_changed_and_the_old_one_dropped,
    a_running_gateway_takes_other_keys,
];

const SECRETS: [&str; 3] = ["provider-s3cret", "management-t0ken", "intent-s3cret"];

/// Everything that the database keeps, as bytes.
async fn raw(store: &Store) -> Vec<u8> {
    const TABLES: [&str; 13] = [
        "answered",
        "apis",
        "applications",
        "audit",
        "credentials",
        "developers",
        "ended_sessions",
        "gone",
        "intents",
        "processes",
        "providers",
        "registrations",
        "strategies",
    ];
    match &store.place {
        Place::Sqlite(directory) => {
            let files = fs::read_dir(directory.path()).unwrap();
            let files = files.map(|file| fs::read(file.unwrap().path()).unwrap());
            files.collect::<Vec<_>>().concat()
        }
        Place::Postgres(database) => {
            let mut connection = database.connect().await;
            let mut text = String::new();
            for table in TABLES {
                let sql = format!("SELECT t::text FROM {table} t");
                let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut connection);
                for row in rows.await.unwrap() {
                    text.push_str(row.get(0));
                }
            }
            text.into_bytes()
        }
    }
}

fn holds(raw: &[u8], text: &str) -> bool {
    raw.windows(text.len()).any(|part| part == text.as_bytes())
}

/// One secret of each kind, all of one application.
async fn fill(store: &Store) -> uuid::Uuid {
    let registry = store.open();
    let one = application("client-1");
    let mut change = change(&registry).await;
    change.put_provider(&provider("curity")).await.unwrap();
    change.put_application(&one).await.unwrap();
    change.put_intent(&intent(&registry, one.id)).await.unwrap();
    change.commit().await.unwrap();
    one.id
}

async fn no_secret_can_be_read_in_the_database(store: Store) {
    fill(&store).await;
    let raw = raw(&store).await;
    // So that the search itself is known to find something.
    for plain in ["Program client-1", "initial_client_id", "dana@example.com"] {
        assert!(holds(&raw, plain), "{plain}");
    }
    for secret in SECRETS {
        assert!(!holds(&raw, secret), "{secret}");
    }
    // Not the names of a provider's secrets either.
    assert!(!holds(&raw, "initial_client_secret"));
}

async fn without_the_key_only_secrets_are_closed(store: Store) {
    let id = fill(&store).await;
    let mut open = application("client-2");
    open.management = None;
    put!(store.open(), put_application(&open));
    let registry = store.open_with(&[2]);
    assert_eq!(registry.providers().await, Err(Error::Sealed));
    assert_eq!(registry.application(id).await, Err(Error::Sealed));
    let all = ApplicationFilter::default();
    assert_eq!(registry.applications(&all, FIRST).await, Err(Error::Sealed));
    assert!(registry.application(open.id).await.unwrap().is_some());
    // The data plane needs no secret.
    assert_eq!(registry.since(0).await.unwrap().entries.len(), 2);
    assert_eq!(registry.rotate_keys().await, Err(Error::Sealed));
    // What is refused in a transaction does not end it.
    let mut change = change(&registry).await;
    assert_eq!(change.application(id).await, Err(Error::Sealed));
    change
        .put_strategy(&strategy("partners", None))
        .await
        .unwrap();
    change.commit().await.unwrap();
    assert_eq!(registry.strategies().await.unwrap().len(), 1);
}

async fn without_any_key_no_secret_is_kept(store: Store) {
    let registry = store.open_with(&[]);
    let mut change = change(&registry).await;
    let mut one = application("client-1");
    assert_eq!(change.put_application(&one).await, Err(Error::Keyless));
    assert_eq!(
        change.put_provider(&provider("a")).await,
        Err(Error::Keyless)
    );
    let intent = intent(&registry, one.id);
    assert_eq!(change.put_intent(&intent).await, Err(Error::Keyless));
    one.management = None;
    change.put_application(&one).await.unwrap();
    change.commit().await.unwrap();
    assert!(registry.application(one.id).await.unwrap().is_some());
    assert!(Error::Keyless.to_string().contains("registry.keys"));
}

async fn what_is_moved_is_refused(store: Store) {
    let registry = store.open();
    let (one, other) = (application("client-1"), application("client-2"));
    put!(registry, put_application(&one));
    put!(registry, put_application(&other));
    put!(registry, put_provider(&provider("curity")));
    // An attacker who can write in the database hangs one client's token on another application.
    store
        .sql(format!(
            "UPDATE applications SET management = (SELECT management FROM applications \
             WHERE id = '{}') WHERE id = '{}'",
            one.id, other.id
        ))
        .await;
    assert!(registry.application(one.id).await.unwrap().is_some());
    assert_eq!(registry.application(other.id).await, Err(Error::Sealed));
    store
        .sql("UPDATE providers SET secrets = (SELECT MIN(management) FROM applications)")
        .await;
    assert_eq!(registry.providers().await, Err(Error::Sealed));
    store.sql("UPDATE providers SET secrets = 'AAAA'").await;
    assert_eq!(registry.providers().await, Err(Error::Sealed));
}

async fn keys_are_changed_and_the_old_one_dropped(store: Store) {
    let id = fill(&store).await;
    let registry = store.open();
    let mut many = change(&registry).await;
    // More than one batch.
    for n in 0..250 {
        let mut one = application(&format!("many-{n}"));
        one.management = Some(Management(Secret::new(format!("token-{n}"))));
        many.put_application(&one).await.unwrap();
    }
    many.commit().await.unwrap();

    let both = store.open_with(&[2, 1]);
    let expected = Rotated {
        sealed: 253,
        older: 0,
    };
    assert_eq!(both.rotate_keys().await, Ok(expected));
    let new = store.open_with(&[2]);
    let found = new.application(id).await.unwrap().unwrap();
    assert_eq!(found.management, application("x").management);
    let found = new.providers().await.unwrap();
    assert_eq!(found[0].secrets, provider("x").secrets);
    for number in 1..=3 {
        let page = dcr_gateway::portal::record::Page { number, size: 100 };
        let all = ApplicationFilter::default();
        assert!(new.applications(&all, page).await.is_ok());
    }
    let old = store.open_with(&[1]);
    assert_eq!(old.application(id).await, Err(Error::Sealed));
    // Told, with numbers alone.
    let trail = new.audit(&AuditFilter::default(), FIRST).await.unwrap();
    let line = &trail.items[0];
    assert_eq!(line.action, "registry.rotate_keys");
    assert_eq!(
        line.after,
        Some(serde_json::json!({"sealed": 253, "older": 0}))
    );
    // Without a key there is nothing to seal with.
    let none = store.open_with(&[]);
    assert!(matches!(
        none.rotate_keys().await,
        Err(Error::Sealed | Error::Keyless)
    ));
}

async fn a_running_gateway_takes_other_keys(store: Store) {
    let registry = store.open();
    let one = application("client-1");
    put!(registry, put_application(&one));
    registry.set_keys(&[key(2), key(1)]);
    assert!(registry.application(one.id).await.unwrap().is_some());
    let other = application("client-2");
    put!(registry, put_application(&other));
    let new = store.open_with(&[2]);
    assert!(new.application(other.id).await.unwrap().is_some());
    assert_eq!(new.application(one.id).await, Err(Error::Sealed));
}
