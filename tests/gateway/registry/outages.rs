//! A database that is away costs an error and nothing else, and is used again once it is back.

use std::{fs, os::unix::fs::PermissionsExt, time::Duration};

use dcr_gateway::{
    model::credential::Secret,
    portal::{
        record::Actor,
        registry::{Config, Error, Kind, Registry},
    },
};
use sqlx::{Connection, Executor};
use tokio::{net::TcpListener, runtime::Handle, time::timeout};

use super::{Store, application, change, put};
use crate::harness::{
    eventually,
    postgres::{self, Cluster},
};

const PATIENCE: Duration = Duration::from_secs(20);

fn registry(kind: Kind) -> Registry {
    let keys = vec![super::key(1)];
    Registry::new(Config { kind, keys }, Handle::current())
}

fn of(database: &postgres::Database) -> Registry {
    registry(Kind::Postgres(Secret::new(&*database.url)))
}

fn is_unavailable<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Unavailable(_)))
}

#[tokio::test]
async fn a_server_that_stops_and_starts_is_used_again() {
    let mut cluster = Cluster::start().await;
    let registry = of(&cluster.database().await);
    let one = application("client-1");
    let revision = put!(registry, put_application(&one));
    assert_eq!(registry.trouble(), None);
    let told = registry.since(0).await.unwrap();
    assert_eq!(told.revision, revision);
    registry.followed(revision);
    let waiting = {
        let registry = registry.clone();
        tokio::spawn(async move { registry.changed().await })
    };
    let mut lost = change(&registry).await;
    lost.put_application(&application("client-2"))
        .await
        .unwrap();
    cluster.stop().await;

    // Whoever follows is told that there is nothing to follow.
    timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert!(is_unavailable(&lost.commit().await));
    eventually!(registry.trouble().is_some(), "the outage is noticed");
    assert!(is_unavailable(&registry.since(revision).await));
    assert!(is_unavailable(&registry.application(one.id).await));
    let begun = registry.change(&Actor::Operator, None).await;
    assert!(is_unavailable(&begun));
    // Once more only when it is back.
    let waiting = {
        let registry = registry.clone();
        tokio::spawn(async move { registry.changed().await })
    };
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!waiting.is_finished());

    cluster.go_on().await;
    timeout(PATIENCE, waiting).await.unwrap().unwrap();
    eventually!(registry.trouble().is_none(), "it is used again");
    let told = registry.since(revision).await.unwrap();
    assert_eq!(
        told.revision, revision,
        "what was not committed is not there"
    );
    let after = put!(registry, put_application(&application("client-3")));
    assert_eq!(registry.since(revision).await.unwrap().revision, after);
}

#[tokio::test]
async fn a_server_that_comes_later_is_found() {
    let mut cluster = Cluster::start().await;
    let database = cluster.database().await;
    cluster.stop().await;
    let registry = of(&database);
    assert!(is_unavailable(&registry.revision().await));
    let trouble = registry.trouble().unwrap();
    assert!(trouble.contains("No such file"), "{trouble}");
    cluster.go_on().await;
    eventually!(registry.revision().await.is_ok(), "it is found");
}

#[tokio::test]
async fn what_happened_while_the_connection_was_cut_is_heard() {
    let database = postgres::database().await;
    let (follower, writer) = (of(&database), of(&database));
    let seen = follower.since(0).await.unwrap().revision;
    // Until it listens.
    put!(writer, put_application(&application("client-1")));
    timeout(PATIENCE, follower.changed()).await.unwrap();
    let seen = follower.since(seen).await.unwrap().revision;
    follower.followed(seen);

    database.refuse().await;
    timeout(PATIENCE, follower.changed()).await.unwrap();
    assert!(is_unavailable(&follower.since(seen).await));
    database.accept().await;
    eventually!(writer.trouble().is_none(), "it is back for the writer");
    put!(writer, put_application(&application("client-2")));
    // Whatever it hears first, it ends where the writer is.
    let caught_up = async {
        loop {
            follower.changed().await;
            if let Ok(told) = follower.since(seen).await
                && told.revision > seen
            {
                return told.entries;
            }
        }
    };
    let entries = timeout(PATIENCE, caught_up).await.unwrap();
    assert_eq!(entries.len(), 1);
}

#[tokio::test]
async fn a_transaction_in_which_reading_failed_is_not_committed() {
    let database = postgres::database().await;
    let registry = of(&database);
    let one = application("client-1");
    let mut failing = change(&registry).await;
    failing.put_application(&one).await.unwrap();
    let mut other = database.connect().await;
    other
        .execute("BEGIN; LOCK TABLE providers IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let read = timeout(PATIENCE, failing.providers()).await.unwrap();
    assert!(is_unavailable(&read), "{read:?}");
    // PostgreSQL itself would call this a success.
    assert!(is_unavailable(&failing.commit().await));
    other.execute("ROLLBACK").await.unwrap();
    assert_eq!(registry.application(one.id).await, Ok(None));
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = format!("postgres://gateway:pa55word@127.0.0.1:{port}/registry?sslmode=disable");
    let registry = registry(Kind::Postgres(Secret::new(url)));
    let result = timeout(PATIENCE, registry.revision()).await.unwrap();
    assert!(is_unavailable(&result), "{result:?}");
    let shown = format!("{result:?} {registry:?} {:?}", registry.trouble());
    assert!(!shown.contains("pa55word"), "{shown}");
}

#[tokio::test]
async fn a_url_that_is_none_is_told_without_being_shown() {
    for url in [
        "mysql://u:pa55word@host/db",
        "pa55word",
        "postgres://u:pa55word@[::1/db",
    ] {
        let registry = registry(Kind::Postgres(Secret::new(url)));
        let Err(error) = registry.revision().await else {
            panic!("{url} is taken");
        };
        let shown = error.to_string();
        assert!(shown.contains("expected postgres://"), "{shown}");
        assert!(!shown.contains("pa55word"), "{shown}");
        assert!(registry.trouble().is_some());
        assert!(timeout(PATIENCE, registry.changed()).await.is_ok());
    }
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_named_and_found_later() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data/registry.db");
    let registry = registry(Kind::Sqlite(path.clone()));
    let Err(error) = registry.revision().await else {
        panic!("there is no directory");
    };
    let shown = error.to_string();
    assert!(shown.contains(path.to_str().unwrap()), "{shown}");
    assert!(
        shown.contains("expected a file in a directory that is there"),
        "{shown}"
    );
    fs::create_dir(directory.path().join("data")).unwrap();
    eventually!(registry.revision().await.is_ok(), "it is found");
}

#[tokio::test]
async fn the_file_is_for_its_owner_alone() {
    let store = Store::sqlite();
    let registry = store.open();
    put!(registry, put_application(&application("client-1")));
    let file = store.file().unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let mut name = file.clone().into_os_string();
        name.push(suffix);
        let mode = fs::metadata(&name).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name:?}");
    }
}

#[tokio::test]
async fn a_path_may_hold_what_a_url_may_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a b?c#d%20ü&mode=ro.db");
    let registry = registry(Kind::Sqlite(path.clone()));
    put!(registry, put_application(&application("client-1")));
    assert!(fs::metadata(path).unwrap().len() > 0);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.db");
    fs::write(&path, "applications: []\n".repeat(1000)).unwrap();
    let registry = registry(Kind::Sqlite(path.clone()));
    let result = registry.revision().await;
    assert!(is_unavailable(&result));
    let shown = result.unwrap_err().to_string();
    assert!(shown.contains("not a database"), "{shown}");
    let content = fs::read_to_string(path).unwrap();
    assert!(content.starts_with("applications"));
}

#[tokio::test]
async fn a_writer_that_does_not_end_holds_up_writers_alone() {
    let store = Store::sqlite();
    let registry = store.open();
    let before = registry.revision().await.unwrap();
    let mut other = store.connect().await;
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let begun = timeout(PATIENCE, registry.change(&Actor::Operator, None)).await;
    assert!(is_unavailable(&begun.unwrap()));
    assert_eq!(registry.revision().await, Ok(before));
    other.execute("ROLLBACK").await.unwrap();
    other.close().await.unwrap();
    put!(registry, put_application(&application("client-1")));
}
