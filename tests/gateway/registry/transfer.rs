//! `dcr-gateway registry`, as whoever types it sees it.

use std::{fs, path::Path, process::Command};

use dcr_gateway::{
    model::{
        application::{Registration as State, Status},
        credential::ClientId,
    },
    portal::record::{ApplicationFilter, AuditFilter, Life, Origin},
};
use serde_json::json;
use tempfile::TempDir;

use super::{FIRST, Place, Store, application, change, key, put, registration, with_each_database};
use crate::harness::session_key;

with_each_database![
    what_is_moved_out_and_in_again_is_the_same,
    an_import_tells_what_is_new_and_changed,
    a_dry_run_changes_nothing,
    an_import_is_done_whole_or_not_at_all,
    what_was_refused_stays_refused,
    names_that_the_configuration_does_not_know_are_kept,
    keys_are_rotated,
    a_running_gateway_hears_of_an_import,
];

/// A directory with a configuration of this store.
fn configured(store: &Store, keys: &[u8]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let registry = match &store.place {
        Place::Postgres(database) => {
            fs::write(directory.path().join("url"), &database.url).unwrap();
            "postgres: { file: url }".to_owned()
        }
        Place::Sqlite(_) => format!("sqlite: {}", store.file().unwrap().display()),
    };
    let mut listed = Vec::new();
    for byte in keys {
        let name = format!("key-{byte}");
        fs::write(directory.path().join(&name), session_key(*byte)).unwrap();
        listed.push(format!("{{ file: {name} }}"));
    }
    let text = format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]\n\
         admin: {{ address: 127.0.0.1:0 }}\n\
         identity_providers: [{{ name: idp, issuer: \"https://idp.test\" }}]\n\
         auth_strategies:\n  \
         - {{ name: partners, identity_provider: idp, auth_methods: [bearer], audience: [a] }}\n\
         apis:\n  \
         - name: flights\n    auth_strategies: [partners]\n    \
         routes: [{{ paths: [/flights] }}]\n    \
         upstream: {{ targets: [{{ address: 127.0.0.1:9 }}] }}\n\
         registry: {{ {registry}, keys: [{}] }}\n",
        listed.join(", ")
    );
    fs::write(directory.path().join("gateway.yaml"), text).unwrap();
    directory
}

/// Exit code, standard output, standard error.
async fn run(directory: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dcr-gateway"));
    command
        .arg("registry")
        .args(arguments)
        .current_dir(directory);
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

const EXPORT: [&str; 3] = ["export", "--config", "gateway.yaml"];
const IMPORT: [&str; 4] = ["import", "--config", "gateway.yaml", "applications.yaml"];

#[track_caller]
fn succeeded((code, out, err): (Option<i32>, String, String)) -> (String, String) {
    assert_eq!(code, Some(0), "{err}");
    (out, err)
}

#[track_caller]
fn failed((code, out, err): (Option<i32>, String, String)) -> String {
    assert_eq!((code, &*out), (Some(1), ""), "{err}");
    err
}

async fn what_is_moved_out_and_in_again_is_the_same(store: Store) {
    let registry = store.open();
    let names = [
        "plain",
        "007",
        "yes",
        "null",
        "- a: b",
        "a: b # c",
        "\"quoted\"",
        "'",
        " ends ",
        "line\nbreak\ttab",
        "Ümläut\u{1F600}\u{85}\u{2028}\u{feff}",
        "|",
        "%",
        "@x",
        "1e3",
        "\u{7f}\u{1b}[31m",
        "~",
        "{}",
        "2026-11-21",
        "trailing:",
        "\\n",
    ];
    let mut all = change(&registry).await;
    for (n, name) in names.iter().enumerate() {
        let mut one = application(&format!("client {n}: #{name}").replace(char::is_control, ""));
        one.name = (*name).to_owned();
        one.developer = (*name).to_owned();
        one.status = [Status::Active, Status::Suspended][n % 2];
        one.credentials_valid_from =
            super::Timestamp::from_millis([0, 1, 1_800_000_000_123][n % 3]);
        all.put_application(&one).await.unwrap();
        for state in [
            State::Approved,
            State::Pending,
            State::Rejected,
            State::Revoked,
        ] {
            if n % 2 == 0 {
                let api = format!("{name} {state:?}").replace(char::is_control, "");
                let registration = registration(one.id, &api, state);
                all.put_registration(&registration).await.unwrap();
            }
        }
    }
    let mut unfinished = application("unfinished");
    unfinished.life = Life::Deleting;
    all.put_application(&unfinished).await.unwrap();
    all.commit().await.unwrap();
    let directory = configured(&store, &[1]);
    let (text, told) = succeeded(run(directory.path(), &EXPORT).await);
    assert!(
        told.starts_with(&format!("exported {} applications\n", names.len())),
        "{told}"
    );
    assert!(
        told.contains("are managed at their identity provider"),
        "{told}"
    );
    assert!(told.contains("1 application left out"), "{told}");

    // Into another registry, through a file.
    let other = Store::sqlite();
    let there = configured(&other, &[2]);
    let file = there.path().join("applications.yaml");
    let mut to_file = EXPORT.to_vec();
    to_file.extend(["--output", file.to_str().unwrap()]);
    let (printed, _) = succeeded(run(directory.path(), &to_file).await);
    assert_eq!(printed, "");
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    let (_, told) = succeeded(run(there.path(), &IMPORT).await);
    let count = names.len();
    assert!(
        told.ends_with(&format!(
            "imported {count} applications: {count} new, 0 changed, 0 unchanged\n"
        )),
        "{told}"
    );
    let (again, _) = succeeded(run(there.path(), &EXPORT).await);
    assert_eq!(again, text);
    let sorted = |mut entries: Vec<dcr_gateway::directory::Entry>| {
        entries.sort_by_key(|entry| entry.client_id.to_string());
        entries
    };
    let moved = sorted(other.open().since(0).await.unwrap().entries);
    assert_eq!(moved, sorted(registry.since(0).await.unwrap().entries));
    // And once more into the first one: nothing is new there.
    fs::copy(&file, directory.path().join("applications.yaml")).unwrap();
    let (_, told) = succeeded(run(directory.path(), &IMPORT).await);
    assert!(
        told.ends_with(&format!("0 new, 0 changed, {count} unchanged\n")),
        "{told}"
    );
}

const APPLICATIONS: &str = "\
applications:
  - { name: One, developer: dana, auth_strategy: partners, client_id: client-1,
      registrations: { flights: approved } }
  - { name: Two, developer: dana, auth_strategy: partners, client_id: client-2 }
  - { name: Three, developer: abel, auth_strategy: partners, client_id: client-3,
      status: suspended, id: 7f1b1dd5-0cbc-4c3a-9c14-94d1b0bd7b2c,
      credentials_valid_from: 2026-11-21T09:30:00Z }
";

fn put_file(directory: &TempDir, text: &str) {
    fs::write(directory.path().join("applications.yaml"), text).unwrap();
}

async fn an_import_tells_what_is_new_and_changed(store: Store) {
    let registry = store.open();
    // Registered here, with another id than the file would give it.
    let mut known = application("client-1");
    let mut change = change(&registry).await;
    change.put_application(&known).await.unwrap();
    let old = registration(known.id, "old", State::Approved);
    change.put_registration(&old).await.unwrap();
    let before = change.commit().await.unwrap();
    let directory = configured(&store, &[1]);
    put_file(&directory, APPLICATIONS);
    let (_, told) = succeeded(run(directory.path(), &IMPORT).await);
    assert_eq!(
        told,
        "imported 3 applications: 2 new, 1 changed, 0 unchanged\n"
    );

    let told = registry.since(before).await.unwrap();
    assert_eq!(
        (told.revision, told.entries.len()),
        (before + 1, 3),
        "one transaction"
    );
    let found = registry.application(known.id).await.unwrap().unwrap();
    known.name = "One".to_owned();
    known.developer = "dana".to_owned();
    known.updated_at = found.updated_at;
    known.revision = before + 1;
    assert_eq!(found, known, "what a file does not know stays");
    let entry = told
        .entries
        .iter()
        .find(|one| one.application.id == known.id);
    let registrations = &entry.unwrap().application.registrations;
    assert_eq!(**registrations, [("flights".into(), State::Approved)]);
    let filter = ApplicationFilter {
        client_id: Some("client-3".to_owned()),
        ..ApplicationFilter::default()
    };
    let third = registry
        .applications(&filter, FIRST)
        .await
        .unwrap()
        .items
        .remove(0);
    assert_eq!(third.id.to_string(), "7f1b1dd5-0cbc-4c3a-9c14-94d1b0bd7b2c");
    assert_eq!(
        (third.origin, third.status),
        (Origin::Given, Status::Suspended)
    );
    assert_eq!((third.provider, third.management), (None, None));
    assert_eq!(third.credentials_valid_from.secs(), 1_795_253_400);

    let trail = registry
        .audit(&AuditFilter::default(), FIRST)
        .await
        .unwrap();
    assert_eq!(trail.total, 3);
    let line = trail
        .items
        .iter()
        .find(|line| line.before.is_some())
        .unwrap();
    assert_eq!(
        (&*line.actor, &*line.action),
        ("command import", "application.import")
    );
    assert_eq!(
        line.before.as_ref().unwrap()["registrations"],
        json!({"old": "approved"})
    );
    assert_eq!(
        line.after.as_ref().unwrap()["registrations"],
        json!({"flights": "approved"})
    );

    let (_, told) = succeeded(run(directory.path(), &IMPORT).await);
    assert_eq!(
        told,
        "imported 3 applications: 0 new, 0 changed, 3 unchanged\n"
    );
    assert_eq!(
        registry.revision().await.unwrap(),
        before + 1,
        "nothing was written"
    );
}

async fn a_dry_run_changes_nothing(store: Store) {
    let registry = store.open();
    let before = registry.revision().await.unwrap();
    let directory = configured(&store, &[1]);
    put_file(&directory, APPLICATIONS);
    let mut dry = IMPORT.to_vec();
    dry.push("--dry-run");
    let (_, told) = succeeded(run(directory.path(), &dry).await);
    assert_eq!(
        told,
        "would import 3 applications: 3 new, 0 changed, 0 unchanged\n"
    );
    assert_eq!(registry.revision().await.unwrap(), before);
    assert!(registry.since(0).await.unwrap().entries.is_empty());
}

async fn an_import_is_done_whole_or_not_at_all(store: Store) {
    let registry = store.open();
    let (mut busy, other) = (application("client-2"), application("client-9"));
    busy.life = Life::Deleting;
    put!(registry, put_application(&busy));
    put!(registry, put_application(&other));
    let before = registry.revision().await.unwrap();
    let directory = configured(&store, &[1]);
    // A fault of the file is told with its place.
    put_file(
        &directory,
        &APPLICATIONS.replace("status: suspended", "status: gone"),
    );
    let told = failed(run(directory.path(), &IMPORT).await);
    assert!(told.contains("applications.yaml:6:"), "{told}");
    assert!(told.contains("expected active or suspended"), "{told}");
    // What the registry refuses, too: every case of it.
    let id = other.id;
    let taken = APPLICATIONS.replace("7f1b1dd5-0cbc-4c3a-9c14-94d1b0bd7b2c", &id.to_string());
    put_file(&directory, &taken);
    let told = failed(run(directory.path(), &IMPORT).await);
    assert_eq!(
        told,
        format!(
            "error: nothing was imported:\n\
         client_id: \"client-2\" of \"partners\": it is being made or deleted: try again when that \
         has ended\n\
         client_id: \"client-3\" of \"partners\": the id {id} is another application's\n"
        )
    );
    assert_eq!(registry.revision().await.unwrap(), before);
    // An id that differs from the one that is there.
    let named = "applications: [{ name: a, developer: b, auth_strategy: partners, \
                 client_id: client-9, id: 7f1b1dd5-0cbc-4c3a-9c14-94d1b0bd7b2c }]";
    put_file(&directory, named);
    let told = failed(run(directory.path(), &IMPORT).await);
    assert!(
        told.contains(&format!("its id in the registry is {id}")),
        "{told}"
    );
    let applications = directory.path().join("applications.yaml");
    fs::remove_file(applications).unwrap();
    let told = failed(run(directory.path(), &IMPORT).await);
    assert!(told.contains("applications.yaml: cannot be read"), "{told}");
}

async fn what_was_refused_stays_refused(store: Store) {
    let registry = store.open();
    let mut rotated = application("client-1");
    rotated.credentials_valid_from = super::at(1_000_000);
    put!(registry, put_application(&rotated));
    let directory = configured(&store, &[1]);
    put_file(&directory, APPLICATIONS);
    succeeded(run(directory.path(), &IMPORT).await);
    let found = registry.application(rotated.id).await.unwrap().unwrap();
    assert_eq!(found.name, "One");
    assert_eq!(found.credentials_valid_from, super::at(1_000_000));
}

async fn names_that_the_configuration_does_not_know_are_kept(store: Store) {
    let directory = configured(&store, &[1]);
    put_file(
        &directory,
        "applications: [{ name: a, developer: b, auth_strategy: later,\n\
              client_id: c, registrations: { hotels: approved } }]",
    );
    let (_, told) = succeeded(run(directory.path(), &IMPORT).await);
    assert!(
        told.contains("applications.yaml:1:56: warning: auth_strategy: \"later\""),
        "{told}"
    );
    assert!(
        told.ends_with("imported 1 application: 1 new, 0 changed, 0 unchanged\n"),
        "{told}"
    );
    let told = store.open().since(0).await.unwrap();
    let entry = &told.entries[0];
    assert_eq!(&*entry.strategy, "later");
    assert_eq!(entry.client_id, ClientId::new("c").unwrap());
    assert_eq!(
        entry.application.registration("hotels"),
        Some(State::Approved)
    );
}

async fn keys_are_rotated(store: Store) {
    let running = store.open();
    let one = application("client-1");
    put!(running, put_application(&one));
    let rotate = ["rotate-keys", "--config", "gateway.yaml"];
    // The command needs a key that opens what there is.
    let wrong = configured(&store, &[3]);
    let told = failed(run(wrong.path(), &rotate).await);
    assert!(
        told.contains("expected the key that sealed it in registry.keys"),
        "{told}"
    );
    let directory = configured(&store, &[2, 1]);
    running.set_keys(&[key(2), key(1)]);
    let (printed, told) = succeeded(run(directory.path(), &rotate).await);
    assert_eq!(
        (&*printed, &*told),
        ("", "1 secret sealed anew with the first key\n")
    );
    running.set_keys(&[key(2)]);
    assert!(running.application(one.id).await.unwrap().is_some());
}

async fn a_running_gateway_hears_of_an_import(store: Store) {
    let running = store.open();
    let seen = running.since(0).await.unwrap().revision;
    let waiting = {
        let running = running.clone();
        tokio::spawn(async move { running.changed().await })
    };
    let directory = configured(&store, &[1]);
    put_file(&directory, APPLICATIONS);
    succeeded(run(directory.path(), &IMPORT).await);
    let heard = tokio::time::timeout(std::time::Duration::from_secs(10), waiting);
    heard.await.expect("it is heard").unwrap();
    assert_eq!(running.since(seen).await.unwrap().entries.len(), 3);
}

#[tokio::test]
async fn a_file_registry_has_nothing_to_move() {
    let store = Store::sqlite();
    let directory = configured(&store, &[1]);
    let config = directory.path().join("gateway.yaml");
    let text = fs::read_to_string(&config).unwrap();
    let (before, _) = text.split_once("registry:").unwrap();
    fs::write(
        &config,
        format!("{before}registry: {{ file: applications.yaml }}\n"),
    )
    .unwrap();
    let told = failed(run(directory.path(), &EXPORT).await);
    assert!(told.contains("expected sqlite or postgres"), "{told}");
    fs::write(&config, before).unwrap();
    let told = failed(run(directory.path(), &EXPORT).await);
    assert!(told.contains("registry"), "{told}");
}

#[tokio::test]
async fn a_database_that_is_away_is_told() {
    let store = Store::sqlite();
    let directory = configured(&store, &[1]);
    let config = directory.path().join("gateway.yaml");
    let text = fs::read_to_string(&config).unwrap();
    let path = store.file().unwrap();
    let text = text.replace(path.to_str().unwrap(), "nowhere/registry.db");
    fs::write(&config, text).unwrap();
    let told = failed(run(directory.path(), &EXPORT).await);
    assert!(told.contains("nowhere/registry.db"), "{told}");
    assert!(
        told.contains("expected a file in a directory that is there"),
        "{told}"
    );
}
