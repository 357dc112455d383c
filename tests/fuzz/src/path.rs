//! Host, target and method of a request, and the API that they lead to, beside an independent
//! reader who follows every way in which a server behind the gateway could read the path.
//!
//! The input is one byte for the method and which oddities the APIs take, the Host, a line feed,
//! and the target.

use std::{
    collections::BTreeSet,
    path::Path as File,
    sync::{Arc, LazyLock},
};

use dcr_gateway::{
    config::Config,
    proxy::{
        path::{Path, Target, target},
        route::{Found, Table},
    },
};
use http::Method;

/// The APIs of each host: configured path, method; none: all.
const APIS: [(&str, Option<&str>); 9] = [
    ("/", None),
    ("/admin", None),
    ("/admin/keys", None),
    ("=/admin/exact", None),
    ("/a/b", None),
    ("/slash", None),
    ("/café", None),
    ("/mixed", Some("GET")),
    ("/mixed", Some("POST")),
];

const ODDITIES: [&str; 3] = ["double_encoding", "double_slash", "encoded_slash"];

/// For each set of oddities, a table whose APIs take them, on one host.
static TABLES: LazyLock<Vec<Table>> = LazyLock::new(|| (0..8).map(table).collect());

fn table(oddities: usize) -> Table {
    let taken = (0..3).filter(|bit| oddities & (1 << bit) != 0);
    let taken: Vec<&str> = taken.map(|bit| ODDITIES[bit]).collect();
    let mut text = "listeners: [{ address: 127.0.0.1:0 }]\n\
                    registry: { file: applications.yaml }\napis:\n"
        .to_owned();
    for (index, (path, method)) in APIS.iter().enumerate() {
        text += &format!(
            "  - name: api{index}\n    access: public\n    paths_as_sent: [{}]\n    \
             routes: [{{ hosts: [a.test], paths: [\"{path}\"]{} }}]\n    \
             upstream: {{ targets: [{{ address: 127.0.0.1:9 }}] }}\n",
            taken.join(", "),
            method.map_or(String::new(), |method| format!(", methods: [{method}]")),
        );
    }
    let file: Arc<File> = File::new("input.yaml").into();
    let (config, _) = Config::parse(&file, text.as_bytes()).unwrap();
    Table::new(&config.apis)
}

/// Whatever is let through reads, under each reader, as a path of the same API, and under none as
/// one with dot segments, backslashes or control characters.
pub(super) fn run(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else {
        return;
    };
    let line = rest.iter().position(|byte| *byte == b'\n');
    let (host, raw) = rest.split_at(line.map_or(0, |at| at + 1));
    let host = String::from_utf8_lossy(host);
    let host = host.trim_end_matches('\n');
    let path = match target(raw) {
        Ok(Target::Origin { path, query }) => {
            let whole = query.map_or(path.to_owned(), |query| format!("{path}?{query}"));
            assert_eq!(whole.as_bytes(), raw, "split and joined");
            path
        }
        Ok(Target::Absolute { path, .. }) => path,
        Ok(Target::Asterisk) | Err(_) => return,
    };
    assert!(path.starts_with('/') && !path.contains('?'));
    let Ok(path) = Path::check(path) else {
        return;
    };
    let oddities = usize::from(choice % 8);
    let table = &TABLES[oddities];
    let method = [Method::GET, Method::POST, Method::DELETE, Method::HEAD]
        [usize::from(choice / 8) % 4]
        .clone();
    // Every host leads to one of the tables: here, the routes are of one host alone.
    let found = table.find(host, &path, &method);
    assert!(host_is_ours(host) || found == Found::NoRoute || found == Found::Ambiguous);
    let found = table.find("a.test", &path, &method);
    if let Found::MethodNotAllowed { allow } = found {
        assert!(!allow.to_str().unwrap().contains(method.as_str()));
    }
    let Found::Api {
        index,
        prefix_length,
    } = found
    else {
        return;
    };
    let raw = path.raw();
    let readings = readings(raw);
    for reading in &readings {
        for segment in reading.text.split('/') {
            assert!(segment != "." && segment != "..", "{raw}: {reading:?}");
        }
        let bad = |c: char| c == '\\' || c < ' ' || c == '\u{7f}';
        assert!(!reading.text.contains(bad), "{raw}: {reading:?}");
        // One who decodes nothing sees the names of another world, unless there is nothing to
        // decode; one who keeps parameters or empty segments is asked where he finds none.
        if reading.is_decoded && !reading.text.contains(';') {
            let other = route(&reading.text, &method);
            assert_eq!(other, Some(index), "{raw}: {reading:?} is of another API");
        }
        if oddities == 0 {
            assert!(!reading.text.contains("//"), "{raw}: {reading:?}");
        }
    }
    // What `strip_prefix` cuts off is the configured path, however written.
    let (prefix, rest) = raw.split_at(prefix_length);
    let prefix: Vec<String> = prefix.split('/').map(|part| cut(&decoded(part))).collect();
    let configured = APIS[index].0.trim_start_matches('=');
    assert_eq!(prefix.join("/"), configured, "{raw}");
    assert!(rest.is_empty() || rest.starts_with('/') || configured.ends_with('/'));
}

/// Whether a Host is `a.test` to everybody.
fn host_is_ours(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    [host, name]
        .iter()
        .any(|name| name.trim_end_matches('.').eq_ignore_ascii_case("a.test"))
}

/// One way to read a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reading {
    text: String,
    /// Whether escapes were decoded at least once, or there were none.
    is_decoded: bool,
}

/// Every text that some chain of servers can make of a path: each decodes, cuts parameters off or
/// merges slashes, in any order and as often as it likes.
fn readings(raw: &str) -> BTreeSet<Reading> {
    let mut found = BTreeSet::new();
    let mut next = vec![Reading {
        text: raw.to_owned(),
        is_decoded: decoded(raw) == raw,
    }];
    while let Some(reading) = next.pop() {
        let step = |text: String, is_decoded: bool| Reading {
            is_decoded: reading.is_decoded || is_decoded,
            text,
        };
        let text = &reading.text;
        let cut: Vec<String> = text.split('/').map(cut).collect();
        let steps = [
            step(decoded(text), true),
            step(cut.join("/"), false),
            step(merged(text), false),
        ];
        if found.insert(reading) {
            next.extend(steps);
        }
        assert!(found.len() < 4096, "{raw}: too many readings to follow");
    }
    found
}

fn decoded(text: &str) -> String {
    let bytes = percent_encoding::percent_decode_str(text).collect::<Vec<u8>>();
    String::from_utf8(bytes).expect("a reading that is not UTF-8")
}

fn cut(segment: &str) -> String {
    segment.split(';').next().unwrap_or_default().to_owned()
}

fn merged(text: &str) -> String {
    let mut merged = text.to_owned();
    while merged.contains("//") {
        merged = merged.replace("//", "/");
    }
    merged
}

/// The API of a path that has one meaning only: the longest configured one on a boundary.
fn route(path: &str, method: &Method) -> Option<usize> {
    let length = |configured: &str| match configured.strip_prefix('=') {
        Some(exact) => (path == exact).then_some(usize::MAX),
        None => {
            let rest = path.strip_prefix(configured)?;
            let ends = rest.is_empty() || rest.starts_with('/') || configured.ends_with('/');
            ends.then_some(configured.len())
        }
    };
    let longest = APIS.iter().filter_map(|(path, _)| length(path)).max()?;
    let takes = |listed: Option<&str>| {
        let head = *method == Method::HEAD && listed == Some("GET");
        head || listed.is_none_or(|listed| listed == method.as_str())
    };
    APIS.iter()
        .position(|(path, listed)| length(path) == Some(longest) && takes(*listed))
}
