//! The files in `conf/`, as whoever copies one sees them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

use crate::harness::certificates::Authority;

/// The configurations, each with whether it is good enough to come without a warning.
const CONFIGURATIONS: [(&str, bool); 7] = [
    ("auth0", true),
    ("azure", true),
    ("curity", true),
    ("gateway", true),
    ("okta", true),
    // Without session key and admin token, as its comments say.
    ("small", false),
    ("wso2", true),
];

fn conf() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf")
}

fn read(name: &str) -> String {
    fs::read_to_string(conf().join(name)).unwrap()
}

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&read(name)).unwrap()
}

fn gateway(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dcr-gateway"))
        .args(arguments)
        .current_dir(directory)
        .env("DCR_GATEWAY_ADMIN_TOKEN", "s3cret")
        .output()
        .unwrap()
}

/// A copy of a configuration with the applications, and with every file that it names.
fn copy(name: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for file in [name, "applications.yaml"] {
        fs::copy(conf().join(file), directory.path().join(file)).unwrap();
    }
    let authority = Authority::new();
    let pair = authority.issue(&["api.example.com"]);
    for (key, file) in files("", &yaml(name)) {
        let content = match &*key {
            "ca_file" => authority.pem(),
            "certificate" => pair.certificate.clone(),
            "key" => pair.key.clone(),
            // A secret; session keys have to have this form.
            _ => "A".repeat(43) + "=\n",
        };
        let path = directory.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    directory
}

/// The files that a configuration names, the applications aside, each with its key.
fn files(key: &str, value: &Value) -> Vec<(String, String)> {
    match value {
        Value::Object(entries) => entries
            .iter()
            .filter(|(key, _)| *key != "registry")
            .flat_map(|(key, value)| files(key, value))
            .collect(),
        Value::Array(items) => items.iter().flat_map(|item| files(key, item)).collect(),
        Value::String(file) if ["ca_file", "certificate", "file", "key"].contains(&key) => {
            vec![(key.to_owned(), file.clone())]
        }
        _ => Vec::new(),
    }
}

/// What a schema has against a document.
fn objections(schema: &str, document: &Value) -> Vec<String> {
    let schema: Value = serde_json::from_str(&read(schema)).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    validator
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

#[test]
fn every_file_is_known_here() {
    let mut names: Vec<String> = fs::read_dir(conf())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".yaml").map(str::to_owned))
        .collect();
    names.sort_unstable();
    let mut known: Vec<&str> = CONFIGURATIONS.iter().map(|(name, _)| *name).collect();
    known.extend(["alerts", "applications"]);
    known.sort_unstable();
    assert_eq!(names, known);
}

#[test]
fn every_configuration_passes_check_beside_the_files_that_it_names() {
    for (name, quiet) in CONFIGURATIONS {
        let file = format!("{name}.yaml");
        let directory = copy(&file);
        let output = gateway(directory.path(), &["check", "--config", &file]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{name}: {text}");
        let last = text.lines().last().unwrap();
        assert!(
            last.starts_with("ok: ") && last.contains(" 1 application,"),
            "{name}: {text}"
        );
        assert_eq!(last.ends_with(" 0 warnings"), quiet, "{name}: {text}");
    }
}

#[test]
fn every_file_names_its_schema_and_fits_it() {
    let configurations = CONFIGURATIONS
        .iter()
        .map(|(name, _)| (*name, "gateway.schema.json"));
    for (name, schema) in configurations.chain([("applications", "applications.schema.json")]) {
        let file = format!("{name}.yaml");
        let first = format!("# yaml-language-server: $schema={schema}");
        assert_eq!(read(&file).lines().next(), Some(&*first), "{name}");
        assert_eq!(objections(schema, &yaml(&file)), [""; 0], "{name}");
    }
}

#[test]
fn a_schema_has_objections() {
    let mut document = yaml("small.yaml");
    document["apis"][0]["acess"] = "public".into();
    let found = objections("gateway.schema.json", &document);
    assert!(found.len() == 1 && found[0].contains("acess"), "{found:?}");
    let mut document = yaml("applications.yaml");
    document["applications"][0]["status"] = "asleep".into();
    let found = objections("applications.schema.json", &document);
    assert!(found.len() == 1 && found[0].contains("asleep"), "{found:?}");
}

#[test]
fn the_program_prints_the_schemas() {
    for (arguments, file) in [
        (&["schema"][..], "gateway.schema.json"),
        (&["schema", "gateway"], "gateway.schema.json"),
        (&["schema", "applications"], "applications.schema.json"),
    ] {
        let output = gateway(Path::new("/"), arguments);
        assert!(output.status.success());
        assert!(
            String::from_utf8(output.stdout).unwrap() == read(file),
            "run `cargo run -- {} > conf/{file}`",
            arguments.join(" ")
        );
    }
}

/// What the files are for: a vendor's server in three lines, and what it cannot do without.
#[test]
fn a_vendors_provider_is_three_lines() {
    for (name, vendor, more) in [
        ("auth0", "auth0", &[][..]),
        ("azure", "azure", &[]),
        ("curity", "curity", &["client"]),
        ("okta", "okta", &[]),
        ("wso2", "wso2", &["client"]),
    ] {
        let document = yaml(&format!("{name}.yaml"));
        let provider = document["identity_providers"][0].as_object().unwrap();
        let mut keys: Vec<&str> = provider.keys().map(String::as_str).collect();
        keys.retain(|key| !more.contains(key));
        keys.sort_unstable();
        assert_eq!(keys, ["issuer", "name", "vendor"], "{name}");
        assert_eq!(provider["vendor"], vendor);
    }
}

/// What the schema of the applications refuses, the reader refuses, and the other way round.
#[test]
fn schema_and_reader_agree_on_applications() {
    let good = yaml("applications.yaml");
    for (key, values) in [
        ("name", &["[]", "{}"][..]),
        ("developer", &["[]", "{}"]),
        ("auth_strategy", &["[]"]),
        ("client_id", &["[]", "{}"]),
        ("status", &["asleep", "Active", "[]"]),
        (
            "registrations",
            &["{ flights: maybe }", "[flights]", "{ flights: [] }", "yes"],
        ),
        ("credentials_valid_from", &["yesterday", "2026-11-21", "[]"]),
        ("id", &["[]", "{}"]),
        ("no_such_key", &["1"]),
    ] {
        for value in values {
            let mut document = good.clone();
            document["applications"][0][key] = serde_saphyr::from_str(value).unwrap();
            assert_ne!(
                objections("applications.schema.json", &document),
                [""; 0],
                "{key} {value}"
            );
            assert_eq!(check_applications(&document), Some(1), "{key}: {value}");
        }
    }
    for key in ["name", "developer", "auth_strategy", "client_id"] {
        let mut document = good.clone();
        document["applications"][0]
            .as_object_mut()
            .unwrap()
            .remove(key)
            .unwrap();
        assert_ne!(
            objections("applications.schema.json", &document),
            [""; 0],
            "{key}"
        );
        assert_eq!(check_applications(&document), Some(1), "{key}");
    }
    for (key, values) in [
        ("name", &["7", "yes", "a b"][..]),
        ("client_id", &["123456", "true"]),
        ("status", &["active", "suspended"]),
        (
            "registrations",
            &["{ flights: pending }", "{ a: rejected, b: revoked }", "{}"],
        ),
        (
            "credentials_valid_from",
            &["2026-11-21T09:30:00Z", "2026-11-21t09:30:00.5+01:00"],
        ),
        ("id", &["3f9c0a52-6d0e-5b7a-9d4e-2c1b7a8e9f00"]),
    ] {
        for value in values {
            let mut document = good.clone();
            document["applications"][0][key] = serde_saphyr::from_str(value).unwrap();
            assert_eq!(
                objections("applications.schema.json", &document),
                [""; 0],
                "{key} {value}"
            );
            assert_eq!(check_applications(&document), Some(0), "{key}: {value}");
        }
    }
    for (text, code) in [
        ("applications:", 0),
        ("applications: 7", 1),
        ("aplications: []", 1),
    ] {
        let document: Value = serde_saphyr::from_str(text).unwrap();
        let refused = !objections("applications.schema.json", &document).is_empty();
        assert_eq!(
            (refused, check_applications(&document)),
            (code == 1, Some(code)),
            "{text}"
        );
    }
}

/// How `check` ends where these are the applications of the small configuration.
fn check_applications(document: &Value) -> Option<i32> {
    let directory = copy("small.yaml");
    let text = document.to_string();
    fs::write(directory.path().join("applications.yaml"), text).unwrap();
    gateway(directory.path(), &["check", "--config", "small.yaml"])
        .status
        .code()
}
