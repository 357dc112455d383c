use std::{collections::BTreeSet, fs, path::PathBuf};

use serde_json::json;

use super::*;
use crate::{config::Config, model::fault::Warning};

/// `conf/gateway.yaml` in a directory with all that it names.
struct World {
    directory: tempfile::TempDir,
    schema: Value,
    validator: jsonschema::Validator,
    good: Value,
}

impl World {
    fn new() -> Self {
        // The tests' own environment is not changed: it is everybody's.
        let text = EVERY_KEY.replace("DCR_GATEWAY_ADMIN_TOKEN", "CARGO_MANIFEST_DIR");
        let schema: Value = serde_json::from_str(&json().unwrap()).unwrap();
        let world = Self {
            directory: tempfile::tempdir().unwrap(),
            validator: jsonschema::draft202012::new(&schema).unwrap(),
            schema,
            good: serde_saphyr::from_str(&text).unwrap(),
        };
        let made = rcgen::generate_simple_self_signed(["api.example.com".to_owned()]).unwrap();
        let key = "A".repeat(43) + "=";
        for (file, content) in [
            ("tls/server.crt", made.cert.pem()),
            ("tls/server.key", made.signing_key.serialize_pem()),
            ("tls/ca.pem", made.cert.pem()),
            ("tls/idp-ca.pem", made.cert.pem()),
            ("secrets/gateway", key.clone()),
            ("secrets/dcr-admin", key.clone()),
            ("secrets/auth0-portal", key.clone()),
            ("secrets/keycloak-initial-access-token", key.clone()),
            ("secrets/bridge-key", key.clone()),
            ("secrets/session-2026-11", key.clone()),
            ("secrets/session-2026-10", key),
        ] {
            let path = world.directory.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        world
    }

    fn load(&self, document: &Value) -> Result<(Config, Vec<Warning>), Vec<Fault>> {
        let file: Arc<Path> = self.directory.path().join("gateway.yaml").into();
        Config::parse(&file, document.to_string().as_bytes())
    }

    /// The good document with another value at a pointer.
    fn with(&self, pointer: &str, value: Value) -> Value {
        let mut document = self.good.clone();
        match document.pointer_mut(pointer) {
            Some(place) => *place = value,
            None => {
                let (parent, key) = pointer.rsplit_once('/').unwrap();
                document.pointer_mut(parent).unwrap()[key] = value;
            }
        }
        document
    }

    fn without(&self, pointer: &str) -> Value {
        let mut document = self.good.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = document.pointer_mut(parent).unwrap();
        parent.as_object_mut().unwrap().remove(key).unwrap();
        document
    }

    /// The faults at or below a pointer.
    fn faults(&self, document: &Value, pointer: &str) -> Vec<String> {
        let path = dotted(pointer);
        let faults = self.load(document).map(|_| ()).err().unwrap_or_default();
        let messages = faults.into_iter().map(|fault| fault.message);
        messages
            .filter(|message| message.starts_with(&path))
            .collect()
    }

    /// Every value of the good document with the schema of it.
    fn values(&self) -> Vec<(String, &Value, &Value)> {
        let mut values = Vec::new();
        collect("", &self.schema, &self.good, &mut values);
        values
    }
}

fn collect<'a>(
    pointer: &str,
    schema: &'a Value,
    value: &'a Value,
    values: &mut Vec<(String, &'a Value, &'a Value)>,
) {
    values.push((pointer.to_owned(), schema, value));
    let mut alternatives: Vec<&Value> = vec![schema];
    alternatives.extend(schema["anyOf"].as_array().into_iter().flatten());
    let found = |key: &str| alternatives.iter().find_map(|schema| schema.get(key));
    match value {
        Value::Array(items) => {
            let schema = found("items").unwrap();
            for (index, item) in items.iter().enumerate() {
                collect(&format!("{pointer}/{index}"), schema, item, values);
            }
        }
        Value::Object(entries) => {
            for (key, entry) in entries {
                let schema = found("properties").and_then(|known| known.get(key));
                let schema = schema.or(found("additionalProperties")).unwrap();
                collect(&format!("{pointer}/{key}"), schema, entry, values);
            }
        }
        _ => {}
    }
}

/// The path of a pointer as faults write it.
fn dotted(pointer: &str) -> String {
    let mut path = String::new();
    for step in pointer.split('/').skip(1) {
        match step.parse::<usize>() {
            Ok(index) => path += &format!("[{index}]"),
            Err(_) if path.is_empty() => path += step,
            Err(_) => path += &format!(".{step}"),
        }
    }
    path
}

/// Every key in a schema, by its path as [`docs`] writes it.
fn keys(path: &str, schema: &Value, found: &mut Vec<(String, Value)>) {
    for (key, below) in schema["properties"].as_object().into_iter().flatten() {
        let path = match path {
            "" => key.clone(),
            path => format!("{path}.{key}"),
        };
        found.push((path.clone(), below.clone()));
        keys(&path, below, found);
    }
    for alternative in schema["anyOf"].as_array().into_iter().flatten() {
        keys(path, alternative, found);
    }
    if let Some(items) = schema.get("items") {
        keys(&format!("{path}[]"), items, found);
    }
    if let Some(each @ Value::Object(_)) = schema.get("additionalProperties") {
        keys(&format!("{path}.*"), each, found);
    }
}

/// A schema, or the alternatives that it is made of.
fn kinds(schema: &Value) -> impl Iterator<Item = &Value> {
    std::iter::once(schema).chain(schema["anyOf"].as_array().into_iter().flatten())
}

/// The range that a description tells.
fn range(schema: &Value) -> Option<(&str, &str)> {
    let (_, range) = schema["description"].as_str()?.rsplit_once(" From ")?;
    range.split_once('.')?.0.split_once(" to ")
}

fn conf() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conf")
}

#[test]
fn the_copy_in_conf_is_what_the_code_says() {
    let copy = fs::read_to_string(conf().join("gateway.schema.json")).unwrap();
    assert!(
        copy == json().unwrap(),
        "run `cargo run -- schema > conf/gateway.schema.json`"
    );
}

#[test]
fn every_key_has_a_meaning_and_every_meaning_a_key() {
    let mut found = Vec::new();
    keys("", &World::new().schema, &mut found);
    let secret = |path: &str| {
        ["secret", "token", "api_key", "keys[]", "postgres"]
            .iter()
            .any(|s| {
                path.strip_suffix(".env")
                    .or(path.strip_suffix(".file"))
                    .is_some_and(|p| p.ends_with(s))
            })
    };
    let known: BTreeSet<String> = found
        .iter()
        .map(|(path, _)| path.clone())
        .filter(|path| !secret(path))
        .collect();
    let documented: BTreeSet<String> = docs::DOCS
        .iter()
        .flat_map(|(section, keys)| {
            let path = |key: &str| match *section {
                "" => key.to_owned(),
                section => format!("{section}.{key}"),
            };
            keys.iter().map(move |(key, _)| path(key))
        })
        .collect();
    assert_eq!(known, documented);
    for (path, schema) in found {
        assert!(schema["description"].is_string(), "{path}");
    }
}

/// A key that the file does not set is known by name only, since nobody asked for its value.
#[test]
fn the_file_with_every_key_has_every_key() {
    let mut found = Vec::new();
    keys("", &World::new().schema, &mut found);
    for (path, schema) in found {
        let kinds = ["type", "enum", "anyOf"];
        assert!(
            kinds.iter().any(|kind| schema.get(kind).is_some()),
            "{path} is not in conf/gateway.yaml"
        );
    }
}

#[test]
fn the_file_with_every_key_is_good_to_schema_and_reader() {
    let world = World::new();
    let errors: Vec<String> = world
        .validator
        .iter_errors(&world.good)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert_eq!(errors, [""; 0]);
    let (_, warnings) = world.load(&world.good).unwrap();
    assert_eq!(warnings, []);
}

#[test]
fn what_the_schema_refuses_the_reader_refuses() {
    let world = World::new();
    for (pointer, schema, value) in world.values() {
        // What is passed on as it stands may be anything.
        if *schema == json!({}) {
            continue;
        }
        let mut wrong = vec![
            json!("no such word"),
            json!(""),
            json!([["x"]]),
            json!({ "no_such_key": 1 }),
            json!(-1),
            json!(12.5),
        ];
        if value.is_array() {
            wrong.push(json!([]));
        }
        for kind in kinds(schema) {
            wrong.extend(
                kind["minimum"]
                    .as_u64()
                    .and_then(|n| n.checked_sub(1))
                    .map(Value::from),
            );
            wrong.extend(kind["maximum"].as_u64().map(|n| json!(n + 1)));
        }
        let mut refused = 0;
        for wrong in wrong {
            let document = world.with(&pointer, wrong.clone());
            if world.validator.is_valid(&document) {
                continue;
            }
            refused += 1;
            let faults = world.faults(&document, &pointer);
            assert!(!faults.is_empty(), "{pointer}: {wrong}");
        }
        // A text may be nearly anything, but no map and no list of lists.
        assert!(refused >= 2, "{pointer}");
    }
}

#[test]
fn a_key_that_is_unknown_or_missing_to_the_schema_is_so_to_the_reader() {
    let world = World::new();
    let (mut sections, mut required) = (0, 0);
    for (pointer, schema, _) in world.values() {
        if schema["additionalProperties"] == json!(false) {
            sections += 1;
            let document = world.with(&format!("{pointer}/no_such_key"), json!(1));
            assert!(!world.validator.is_valid(&document), "{pointer}");
            assert_ne!(world.faults(&document, &pointer), [""; 0], "{pointer}");
        }
        for key in schema["required"].as_array().into_iter().flatten() {
            required += 1;
            let document = world.without(&format!("{pointer}/{}", key.as_str().unwrap()));
            assert!(!world.validator.is_valid(&document), "{pointer}");
            assert_ne!(
                world.faults(&document, &pointer),
                [""; 0],
                "{pointer} {key}"
            );
        }
    }
    assert!(sections >= 25 && required >= 20, "{sections} {required}");
}

#[test]
fn a_default_is_what_the_reader_takes_for_nothing() {
    let world = World::new();
    let (mut with_default, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for (pointer, schema, _) in world.values() {
        let Some(default) = schema.get("default") else {
            continue;
        };
        // The same keys stand in each element of a list.
        let key = pointer.replace(|c: char| c.is_ascii_digit(), "");
        with_default.insert(key.clone());
        let said = world.with(&pointer, default.clone());
        assert!(world.validator.is_valid(&said), "{pointer}");
        let said = world.load(&said).map(|(config, _)| config);
        let left_out = world.load(&world.without(&pointer));
        let left_out = left_out.map(|(config, _)| config);
        // One may not go with what the element says else, as generic with tenants.
        if said.is_ok() {
            taken.insert(key);
        }
        assert_eq!(said.ok(), left_out.ok(), "{pointer}: {default}");
    }
    assert_eq!(with_default, taken);
    assert!(taken.len() >= 40, "{}", taken.len());
}

#[test]
fn every_word_is_one_to_the_reader() {
    let world = World::new();
    for (pointer, schema, _) in world.values() {
        for kind in kinds(schema) {
            for word in kind["enum"].as_array().into_iter().flatten() {
                let document = world.with(&pointer, word.clone());
                assert!(world.validator.is_valid(&document), "{pointer}: {word}");
                // A word may not go with others, as `public` with strategies, but is known.
                let faults = world.load(&document).map(|_| ()).err().unwrap_or_default();
                let shown = format!("{}: {word:?}: expected", dotted(&pointer));
                let unknown = faults.iter().find(|f| f.message.starts_with(&shown));
                assert_eq!(unknown.map(|f| &f.message), None);
            }
        }
    }
}

#[test]
fn the_ends_of_every_range_are_in_it() {
    let world = World::new();
    let mut ends = 0;
    for (pointer, schema, _) in world.values() {
        let mut both: Vec<Value> = kinds(schema)
            .flat_map(|kind| [kind.get("minimum"), kind.get("maximum")])
            .flatten()
            .cloned()
            .collect();
        // Those of durations are in the description alone.
        if let (true, Some((least, most))) = (both.is_empty(), range(schema)) {
            both = vec![json!(least), json!(most)];
            for beyond in [format!("{most} 1ms"), "1ns".to_owned()] {
                let refused = world.faults(&world.with(&pointer, json!(beyond)), &pointer);
                // A nanosecond is in a range from nothing.
                let legal = beyond == "1ns" && least == "0s";
                assert_eq!(refused.is_empty(), legal, "{pointer}: {beyond}");
            }
        }
        for end in both {
            let document = world.with(&pointer, end.clone());
            assert!(world.validator.is_valid(&document), "{pointer}: {end}");
            let loaded = world.load(&document).map(|_| ());
            assert_eq!(loaded, Ok(()), "{pointer}: {end}");
            ends += 1;
        }
    }
    assert!(ends >= 60, "{ends}");
}

#[test]
fn durations_and_sizes_are_written_as_they_are_read() {
    for (text, millis) in [("0s", 0), ("10ms", 10), ("90s", 90_000), ("15m", 900_000)]
        .into_iter()
        .chain([("24h", 86_400_000), ("30d", 30 * 86_400_000)])
    {
        assert_eq!(duration(Duration::from_millis(millis)), text);
        let read = humantime::parse_duration(text).unwrap();
        assert_eq!(read, Duration::from_millis(millis));
    }
    for (text, bytes) in [
        ("1B", 1),
        ("32KiB", 32 << 10),
        ("1500B", 1500),
        ("1PiB", 1 << 50),
    ] {
        assert_eq!(size(bytes), text);
        assert_eq!(text.parse::<bytesize::ByteSize>().unwrap().as_u64(), bytes);
    }
}

/// The patterns let everything through that the readers take.
#[test]
fn no_good_text_is_refused_by_a_pattern() {
    let world = World::new();
    for (pointer, texts) in [
        (
            "/grace_period",
            &[
                "0", "1m 30s", "2m30sec", "1.5s", "90 sec", "500ms", "20000us",
            ][..],
        ),
        (
            "/limits/body_size",
            &["10MiB", "1 kb", "1.5M", "4096", "1G", "none"],
        ),
        ("/limits/header_size", &["2048", "32 KiB", "32k"]),
        ("/admin/address", &["[::1]:8001", "127.0.0.1:0"]),
        ("/trusted_proxies/0", &["::1", "10.0.0.1", "2001:db8::/32"]),
        (
            "/identity_providers/0/token_endpoint",
            &["HTTPS://h/t?x=1", "http://127.0.0.1:1/t"],
        ),
        (
            "/apis/0/routes/0/paths/0",
            &["/", "=/", "/a b/c~d", "/bücher"],
        ),
        ("/apis/0/routes/0/methods/0", &["M-SEARCH", "PATCH"]),
        ("/apis/0/name", &["0123", "a.b-c_d"]),
        ("/log/access", &["yes", "off"]),
    ] {
        for text in texts {
            let document = world.with(pointer, json!(text));
            assert!(world.load(&document).is_ok(), "{pointer}: {text}");
            let number: Option<Value> = serde_json::from_str(text).ok();
            let plain = world.with(pointer, number.unwrap_or(json!(text)));
            assert!(world.validator.is_valid(&plain), "{pointer}: {text}");
        }
    }
}

/// What readers ask for under some condition only would not be in the schema.
#[test]
fn no_other_file_makes_the_readers_ask_for_more() {
    let schema = World::new().schema;
    let mut known = Vec::new();
    keys("", &schema, &mut known);
    let known: BTreeSet<String> = known.into_iter().map(|(path, _)| path).collect();
    let mut asked = 0;
    for name in ["auth0", "azure", "curity", "okta", "small", "wso2"] {
        let text = fs::read_to_string(conf().join(name).with_extension("yaml")).unwrap();
        let file: Arc<Path> = Path::new(NOWHERE).into();
        let document = document::parse(&file, &text).unwrap();
        let report = Report::with_questions(&file);
        top::read(At::top(&report, &document), None);
        for (path, question) in report.into_questions() {
            let Asked::Key(key) = question else { continue };
            let path = path.replace(|c: char| c.is_ascii_digit(), "");
            let path = if path.is_empty() {
                key.to_owned()
            } else {
                format!("{path}.{key}")
            };
            assert!(known.contains(&path), "{name}: {path}");
            asked += 1;
        }
    }
    assert!(asked > 300, "{asked}");
}

/// The comment beside a key and on the lines below it, as one line.
fn comment(line: u64) -> String {
    let line = usize::try_from(line).unwrap() - 1;
    let mut lines = EVERY_KEY.lines().skip(line);
    let (_, mut text) = lines
        .next()
        .and_then(|first| first.split_once(" #"))
        .map(|(key, text)| (key, text.trim().to_owned()))
        .unwrap_or_default();
    for more in lines.map_while(|line| line.trim_start().strip_prefix('#')) {
        text = format!("{text} {}", more.trim());
    }
    text
}

fn commented(
    node: &document::Node,
    schema: &Value,
    path: &str,
    found: &mut Vec<(String, Value, u64)>,
) {
    match &node.value {
        document::Value::Map(entries) => {
            for entry in entries {
                let below = &schema["properties"][&entry.key];
                let path = format!("{path}.{}", entry.key);
                if !found.iter().any(|(known, ..)| *known == path) {
                    found.push((path.clone(), below.clone(), entry.line));
                }
                commented(&entry.value, below, &path, found);
            }
        }
        document::Value::List(items) => {
            for item in items {
                commented(item, &schema["items"], path, found);
            }
        }
        _ => {}
    }
}

/// The brackets behind a key hold its range and its default, as the readers have them.
#[test]
fn comments_tell_ranges_and_defaults_as_they_are() {
    let document = document::parse(&Path::new("gateway.yaml").into(), EVERY_KEY).unwrap();
    let mut found = Vec::new();
    commented(&document, &World::new().schema, "", &mut found);
    let (mut ranges, mut defaults) = (0, 0);
    for (path, schema, line) in found {
        let comment = comment(line);
        if let Some((least, most)) = range(&schema) {
            let told = comment.contains(&format!("[{least} to {most}; "))
                || comment.contains(&format!("up to {most}; "));
            assert!(told, "{path}: {least} to {most}: {comment}");
            ranges += 1;
        }
        let words = match schema.get("default") {
            None => continue,
            Some(Value::Bool(true)) => vec!["true".to_owned(), "on".to_owned()],
            Some(Value::Bool(false)) => vec!["false".to_owned(), "off".to_owned()],
            Some(Value::String(text)) => vec![text.clone()],
            Some(other) => vec![other.to_string()],
        };
        let told = words.iter().any(|word| {
            let before = ["[", "; "].map(|start| format!("{start}{word}"));
            before.iter().any(|start| {
                let mut rest = comment.split(start.as_str()).skip(1);
                rest.any(|rest| rest.starts_with([']', ':']))
            })
        });
        assert!(told, "{path}: {words:?}: {comment}");
        defaults += 1;
    }
    assert!(ranges >= 30 && defaults >= 40, "{ranges} {defaults}");
}
