//! `dcr-gateway registry …`, `check` and `explain` beside a gateway that runs.

use std::{path::Path, process::Output, sync::Arc};

use serde_json::{Value, json};

use super::{
    products::Product,
    site::{Site, Source},
};
use crate::harness::{
    World, add, application, eventually, gateway::Gateway, portal::Store, postgres, session_key,
    setup,
};

/// Runs the program in a gateway's directory.
async fn run(gateway: &Gateway, environment: &[(String, String)], arguments: &[&str]) -> Output {
    tokio::process::Command::new(env!("CARGO_BIN_EXE_dcr-gateway"))
        .args(arguments)
        .current_dir(gateway.directory.path())
        .envs(environment.iter().cloned())
        .output()
        .await
        .unwrap()
}

/// The same where it has to succeed; what it prints.
#[track_caller]
fn succeeds<'a>(
    gateway: &'a Gateway,
    environment: &'a [(String, String)],
    arguments: &'a [&str],
) -> impl Future<Output = String> + use<'a> {
    let place = std::panic::Location::caller();
    async move {
        let output = run(gateway, environment, arguments).await;
        assert!(
            output.status.success(),
            "at {place}: {arguments:?}: {output:?}"
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

const EXPORT: [&str; 4] = ["registry", "export", "--config", "gateway.yaml"];

fn read(directory: &Path, name: &str) -> String {
    std::fs::read_to_string(directory.join(name)).unwrap()
}

#[tokio::test]
async fn imported_applications_are_live_on_sqlite() {
    imported_applications_are_live(Store::Sqlite).await;
}

#[tokio::test]
async fn imported_applications_are_live_on_postgresql() {
    let store = Store::Postgres(postgres::database().await);
    imported_applications_are_live(store).await;
}

async fn imported_applications_are_live(store: Store) {
    let environment = match &store {
        Store::Postgres(database) => vec![("DATABASE_URL".to_owned(), database.url.clone())],
        Store::Sqlite => Vec::new(),
    };
    let world = World::with(|setup| store.configure(setup)).await;
    world.idp.client("app-2", "another-secret");
    let calls = [
        world.flights().basic("app-1", "correct-horse-battery"),
        world.flights().basic("app-2", "another-secret"),
    ];
    for call in &calls {
        world.refuses(call.clone(), 401, "invalid_client").await;
    }
    let mut entry = application("app-2");
    entry["name"] = json!("Hotel finder: \u{201e}Zw\u{f6}lf\u{201c}");
    entry["registrations"] = json!({"flights": "pending"});
    let mut applications = json!({"applications": [application("app-1")]});
    add(&mut applications, entry);
    world
        .gateway
        .overwrite("applications.yaml", &applications.to_string());
    let import = [
        "registry",
        "import",
        "--config",
        "gateway.yaml",
        "applications.yaml",
    ];
    succeeds(&world.gateway, &environment, &import).await;
    eventually!(calls[0].send().await.status == 200, "it is live");
    world
        .refuses(calls[1].clone(), 403, "registration_pending")
        .await;

    // Out, in and out again: the same file.
    let first = succeeds(&world.gateway, &environment, &EXPORT).await;
    assert!(
        first.contains("app-2") && first.contains("Zw\u{f6}lf"),
        "{first}"
    );
    world.gateway.overwrite("applications.yaml", &first);
    succeeds(&world.gateway, &environment, &import).await;
    let second = succeeds(&world.gateway, &environment, &EXPORT).await;
    assert_eq!(first, second);

    // A suspension in the file is one in the registry.
    let suspended = first.replace("client_id: app-1", "client_id: app-1\n  status: suspended");
    let suspended = match first.contains("status: active") {
        true => first.replacen("status: active", "status: suspended", 1),
        false => suspended,
    };
    world.gateway.overwrite("applications.yaml", &suspended);
    succeeds(&world.gateway, &environment, &import).await;
    eventually!(
        {
            let codes = [calls[0].send().await.code(), calls[1].send().await.code()];
            codes.contains(&"application_suspended".to_owned())
        },
        "it is suspended: {suspended}"
    );

    // A faulty file changes nothing.
    let faulty = suspended.replace("client_id: app-1", "client: app-1");
    world.gateway.overwrite("applications.yaml", &faulty);
    let refused = run(&world.gateway, &environment, &import).await;
    assert!(!refused.status.success(), "{refused:?}");
    let third = succeeds(&world.gateway, &environment, &EXPORT).await;
    assert_ne!(third, second);
    assert!(third.contains("app-1"), "{third}");
}

#[tokio::test]
async fn a_file_user_moves_in_and_out_with_the_same_verdicts() {
    let entries = || {
        let mut applications = json!({"applications": [application("app-1")]});
        let mut suspended = application("app-2");
        suspended["status"] = json!("suspended");
        let mut pending = application("app-3");
        pending["registrations"] = json!({"flights": "pending"});
        let mut rejected = application("app-4");
        rejected["registrations"] = json!({"flights": "rejected"});
        let mut none = application("app-5");
        none["registrations"] = json!({});
        for entry in [suspended, pending, rejected, none] {
            add(&mut applications, entry);
        }
        applications
    };
    let world = World::with(|setup| setup.applications = entries()).await;
    let ids = ["app-1", "app-2", "app-3", "app-4", "app-5", "app-6"];
    for id in &ids[1..] {
        world.idp.client(id, "secret");
    }
    let verdicts = async |gateway: &Gateway| {
        let mut verdicts = Vec::new();
        for id in ids {
            let token = world.idp.token(id).build();
            let response = gateway.get("/flights").bearer(&token).send().await;
            let code = match response.status {
                200 => String::new(),
                _ => response.code(),
            };
            verdicts.push((id, response.status, code));
        }
        verdicts
    };
    let at_home = verdicts(&world.gateway).await;
    let statuses: Vec<u16> = at_home.iter().map(|(_, status, _)| *status).collect();
    assert_eq!(statuses, [200, 403, 403, 403, 403, 403], "{at_home:?}");

    // In.
    let mut moved = setup(&world.idp.issuer, &world.upstream);
    Store::Sqlite.configure(&mut moved);
    let moved = Gateway::start(moved).await;
    moved.overwrite(
        "came.yaml",
        &read(world.gateway.directory.path(), "applications.yaml"),
    );
    let import = [
        "registry",
        "import",
        "--config",
        "gateway.yaml",
        "came.yaml",
    ];
    succeeds(&moved, &[], &import).await;
    eventually!(
        verdicts(&moved).await == at_home,
        "the same verdicts: {:?}",
        at_home
    );

    // And out.
    let export = [
        "registry",
        "export",
        "--config",
        "gateway.yaml",
        "--output",
        "went.yaml",
    ];
    succeeds(&moved, &[], &export).await;
    let back = Gateway::start(setup(&world.idp.issuer, &world.upstream)).await;
    back.overwrite(
        "applications.yaml",
        &read(moved.directory.path(), "went.yaml"),
    );
    eventually!(
        verdicts(&back).await == at_home,
        "the same verdicts: {at_home:?}"
    );
}

#[tokio::test]
async fn keys_change_under_a_gateway_that_runs() {
    let stage = Arc::new(Product::Curity.start().await);
    let site = Site::start(&stage, Source::Registry, &Store::Sqlite).await;
    let strategy = site.bring().await;
    let made = site.operator.application(&strategy).await;
    site.operator.approve(&made, "flights").await;
    site.passes_in_each_way(&made).await;

    let old = json!({"file": "secrets/registry"});
    let new = json!({"file": "secrets/registry-new"});
    let place = site.gateway.directory.path().join("secrets/registry-new");
    std::fs::write(place, session_key(11)).unwrap();
    let keys = async |keys: Value| {
        site.gateway
            .reconfigure(|config| config["registry"]["keys"] = keys)
            .await;
    };
    keys(json!([old, new])).await;
    keys(json!([new, old])).await;
    let rotate = ["registry", "rotate-keys", "--config", "gateway.yaml"];
    succeeds(&site.gateway, &[], &rotate).await;
    keys(json!([new])).await;

    // The provider's secret, and what manages the client, open with the new key alone.
    let rotated = site.operator.rotate(&made).await;
    site.passes_in_each_way(&rotated).await;
    let path = format!("/v2/applications/{}", rotated.id);
    site.operator.delete(&path).await;
    let (status, _) = stage.grant(&rotated.client_id, &rotated.secret).await;
    assert_eq!(status, 401, "the client is gone");
}

#[tokio::test]
async fn check_and_explain_read_the_registry() {
    let stage = Arc::new(Product::Bridge.start().await);
    let site = Site::start(&stage, Source::Registry, &Store::Sqlite).await;
    let strategy = site.bring().await;
    let made = site.operator.application(&strategy).await;
    let pair = format!("{}:{}", made.client_id, made.secret);
    std::fs::write(site.gateway.directory.path().join("pair"), &pair).unwrap();
    let explained = async || {
        let arguments = [
            "explain",
            "--json",
            "--config",
            "gateway.yaml",
            "--url",
            "http://api.test/flights",
            "--basic",
            "@pair",
        ];
        let output = run(&site.gateway, &[], &arguments).await;
        let told: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {output:?}"));
        let verdict = &told["requests"][0]["verdict"];
        (verdict["status"].clone(), verdict["code"].clone())
    };
    assert_eq!(
        explained().await,
        (json!(403), json!("registration_required"))
    );
    site.operator.approve(&made, "flights").await;
    assert_eq!(explained().await.0, json!(200));
    site.operator.set_status(&made, "suspended").await;
    assert_eq!(
        explained().await,
        (json!(403), json!("application_suspended"))
    );

    let check = ["check", "--config", "gateway.yaml"];
    let output = run(&site.gateway, &[], &check).await;
    assert!(output.status.success(), "{output:?}");
    site.gateway.edit_config(|config| {
        config["apis"][0]["auth_strategies"] = json!(["partners", "nobody-has-it"]);
    });
    let output = run(&site.gateway, &[], &check).await;
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8(told).unwrap();
    assert!(told.contains("nobody-has-it"), "{told}");
    assert!(!told.contains("\"partners\""), "{told}");
}
