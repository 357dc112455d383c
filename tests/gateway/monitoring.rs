//! The dashboard and the alert rules in `conf/`: what they ask for is there, and all that is there
//! is on the dashboard.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::harness::{APP, SECRET, World, certificates::Authority};

/// Labels that Prometheus adds.
const FOREIGN: [&str; 1] = ["instance"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn dashboard() -> Value {
    let text = fs::read_to_string(root().join("conf/grafana-dashboard.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn alerts() -> Vec<Value> {
    let text = fs::read_to_string(root().join("conf/alerts.yaml")).unwrap();
    let rules: Value = serde_saphyr::from_str(&text).unwrap();
    rules["groups"][0]["rules"].as_array().unwrap().clone()
}

/// The queries of all panels, with the names that Grafana puts values for.
fn panel_queries() -> Vec<String> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array())
        .flatten();
    targets.map(|target| text(&target["expr"])).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Runs promtool; its output where it did not like what it saw.
fn promtool(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("promtool")
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("promtool starts: run tests/run.sh");
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// A query as Prometheus gets it from Grafana.
fn filled_in(query: &str) -> String {
    let query = query.replace("$__rate_interval", "5m");
    let query = query.replace("$instance", ".*").replace("$api", ".*");
    assert!(!query.contains('$'), "{query}");
    query
}

/// What a query names.
#[derive(Default)]
struct Named {
    metrics: BTreeSet<String>,
    /// Labels of matchers and of groups.
    labels: BTreeSet<String>,
    /// Values that a label is compared with, its alternatives apart.
    values: BTreeSet<String>,
}

fn named(query: &str) -> Named {
    let mut named = Named::default();
    for (index, part) in query.split('"').enumerate() {
        if index % 2 == 1 {
            let values = part.split('|').filter(|value| !value.contains(['$', '*']));
            named.values.extend(values.map(str::to_owned));
            continue;
        }
        let mut rest = part;
        while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic() || c == '_') {
            rest = &rest[start..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
            let next = after.trim_start();
            if word.starts_with("dcr_") {
                named.metrics.insert(word.to_owned());
            } else if next.starts_with(['=', '!']) {
                named.labels.insert(word.to_owned());
            } else if ["by", "on"].contains(&word) {
                let (group, _) = next[1..].split_once(')').unwrap();
                let group = group.split(',').map(|label| label.trim().to_owned());
                named.labels.extend(group);
            }
            rest = after;
        }
    }
    named
}

/// The metrics of a running gateway to which everything happened once, each with its labels.
async fn metrics() -> BTreeMap<String, BTreeSet<String>> {
    let pair = Authority::new().issue(&["api.test"]);
    let world =
        World::with(|setup| {
            setup
                .files
                .push(("server.crt".to_owned(), pair.certificate));
            setup.files.push(("server.key".to_owned(), pair.key));
            setup.config["listeners"].as_array_mut().unwrap().push(json!({
            "address": "127.0.0.1:0",
            "tls": { "certificates": [{ "certificate": "server.crt", "key": "server.key" }] },
        }));
        })
        .await;
    world.passes(world.flights().bearer(&world.token())).await;
    world.passes(world.flights().basic(APP, SECRET)).await;
    world
        .refuses(world.flights(), 401, "credentials_required")
        .await;
    world.gateway.register(|_| {}).await;
    let answer = world.gateway.status("/metrics").await.text();
    let mut metrics: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in answer.lines().filter(|row| row.starts_with("dcr_")) {
        let end = row.find(['{', ' ']).unwrap();
        let labels = metrics.entry(row[..end].to_owned()).or_default();
        if let Some((all, _)) = row[end..]
            .strip_prefix('{')
            .and_then(|rest| rest.rsplit_once('}'))
        {
            let names = all.split("\",").filter_map(|label| label.split_once('='));
            labels.extend(names.map(|(name, _)| name.to_owned()));
        }
    }
    metrics
}

#[test]
fn alerts_fire_where_they_should_and_only_there() {
    promtool(&["check", "rules", "conf/alerts.yaml"]).unwrap();
    promtool(&["test", "rules", "tests/peers/alerts_test.yaml"]).unwrap();
}

#[test]
fn every_alert_has_a_test_and_says_what_to_do() {
    let tests = fs::read_to_string(root().join("tests/peers/alerts_test.yaml")).unwrap();
    let mut names = BTreeSet::new();
    for alert in alerts() {
        let name = text(&alert["alert"]);
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "{name}");
        let severity = text(&alert["labels"]["severity"]);
        assert!(["critical", "warning"].contains(&&*severity), "{name}");
        for annotation in ["summary", "description"] {
            let text = text(&alert["annotations"][annotation]);
            assert!(text.len() > 20, "{name}: {annotation}");
        }
        assert!(names.insert(name));
    }
    assert!(names.len() >= 20);
}

#[test]
fn every_query_of_the_dashboard_is_promql() {
    let rules: Vec<Value> = panel_queries()
        .iter()
        .enumerate()
        .map(|(index, query)| {
            json!({ "record": format!("panel:{index}"), "expr": filled_in(query) })
        })
        .collect();
    assert!(rules.len() >= 30, "{}", rules.len());
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rules.yaml");
    let check = |rules: &[Value]| {
        let rules = json!({ "groups": [{ "name": "panels", "rules": rules }] });
        fs::write(&file, rules.to_string()).unwrap();
        promtool(&["check", "rules", file.to_str().unwrap()])
    };
    check(&rules).unwrap();
    let broken = [json!({ "record": "panel:0", "expr": "sum(rate(dcr_requests_total[5m])" })];
    assert!(
        check(&broken)
            .unwrap_err()
            .contains("could not parse expression")
    );
}

#[tokio::test]
async fn what_dashboard_and_alerts_ask_for_is_there_and_all_that_is_there_is_shown() {
    let metrics = metrics().await;
    let sources: String = ["idp/call.rs", "proxy/denial.rs", "server/admin.rs"]
        .iter()
        .map(|file| fs::read_to_string(root().join("src").join(file)).unwrap())
        .collect();
    let mut shown = BTreeSet::new();
    let panels = panel_queries();
    let rules = alerts()
        .iter()
        .map(|alert| text(&alert["expr"]))
        .collect::<Vec<_>>();
    for (query, is_panel) in panels
        .iter()
        .map(|q| (q, true))
        .chain(rules.iter().map(|q| (q, false)))
    {
        let named = named(query);
        assert!(!named.metrics.is_empty(), "{query}");
        let mut labels: BTreeSet<&str> = FOREIGN.into();
        for metric in &named.metrics {
            let has = metrics.get(metric);
            labels.extend(
                has.unwrap_or_else(|| panic!("{metric}: {query}"))
                    .iter()
                    .map(|l| &**l),
            );
        }
        for label in &named.labels {
            assert!(labels.contains(&**label), "{label}: {query}");
        }
        for value in &named.values {
            assert!(
                sources.contains(&format!("\"{value}\"")),
                "{value}: {query}"
            );
        }
        if is_panel {
            shown.extend(named.metrics);
        }
    }
    let family = |name: &str| {
        let parts = ["_bucket", "_sum", "_count"];
        let part = parts.iter().find_map(|part| name.strip_suffix(part));
        part.filter(|name| name.ends_with("_seconds"))
            .unwrap_or(name)
            .to_owned()
    };
    let all: BTreeSet<String> = metrics.keys().map(|name| family(name)).collect();
    let shown: BTreeSet<String> = shown.iter().map(|name| family(name)).collect();
    assert_eq!(all, shown);
}

/// Names in braces of legends and annotations are labels of what the query gives.
#[test]
fn legends_and_annotations_name_labels_that_the_query_keeps() {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array())
        .flatten();
    for target in targets {
        let (query, legend) = (text(&target["expr"]), text(&target["legendFormat"]));
        let used = legend
            .split("{{")
            .skip(1)
            .map(|rest| rest.split_once("}}").unwrap().0);
        let mut used: Vec<&str> = used.collect();
        used.sort_unstable();
        // What a panel groups by is what tells its lines apart.
        let (_, group) = query.rsplit_once(" by (").unwrap_or(("", ")"));
        let mut group: Vec<&str> = group.split_once(')').unwrap().0.split(", ").collect();
        group.retain(|label| !["", "le"].contains(label));
        group.sort_unstable();
        assert_eq!(used, group, "{query}");
    }
    for alert in alerts() {
        let (query, annotations) = (text(&alert["expr"]), alert["annotations"].to_string());
        let Some((_, group)) = query.split_once(" by (") else {
            continue;
        };
        let group = group.split_once(')').unwrap().0;
        for used in annotations.split("$labels.").skip(1) {
            let label = used
                .split_once(|c: char| !c.is_ascii_lowercase() && c != '_')
                .unwrap()
                .0;
            assert!(
                group.split(", ").any(|kept| kept == label),
                "{label}: {query}"
            );
        }
    }
}

#[test]
fn panels_do_not_overlap() {
    let mut taken = BTreeSet::new();
    for panel in dashboard()["panels"].as_array().unwrap() {
        let at = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for x in at("x")..at("x") + at("w") {
            assert!(x < 24, "{}", panel["title"]);
            for y in at("y")..at("y") + at("h") {
                assert!(taken.insert((x, y)), "{}", panel["title"]);
            }
        }
    }
}
