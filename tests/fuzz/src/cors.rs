//! What pages of other origins ask and may read.
//!
//! The input is one byte that picks policy and method, and fields, one a line: a letter for the
//! name, then the value.

use std::{
    path::Path,
    sync::{Arc, LazyLock},
};

use dcr_gateway::{
    config::Config,
    proxy::cors::{self, Origins, Policy, Preflight},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

/// One policy of each kind.
static POLICIES: LazyLock<Vec<(cors::Config, Policy)>> = LazyLock::new(|| {
    let mut text = "listeners: [{ address: 127.0.0.1:0 }]\n\
                    registry: { file: applications.yaml }\napis:\n"
        .to_owned();
    for (index, cors) in [
        "origins: [https://a.test, \"https://b.test:8443\"], credentials: true",
        "origins: [\"*\"]",
        "origins: [https://a.test], methods: [GET, PUT], headers: [X-A], exposed_headers: [X-B]",
        "origins: [https://a.test], credentials: true, headers: []",
    ]
    .iter()
    .enumerate()
    {
        text += &format!(
            "  - name: api{index}\n    access: public\n    cors: {{ {cors} }}\n    \
             routes: [{{ paths: [/{index}] }}]\n    \
             upstream: {{ targets: [{{ address: 127.0.0.1:9 }}] }}\n"
        );
    }
    let file: Arc<Path> = Path::new("input.yaml").into();
    let (config, _) = Config::parse(&file, text.as_bytes()).unwrap();
    let policies = config.apis.into_iter().filter_map(|api| api.cors);
    policies
        .map(|config| (config.clone(), Policy::new(&config)))
        .collect()
});

const FIELDS: [(u8, HeaderName); 3] = [
    (b'o', header::ORIGIN),
    (b'm', header::ACCESS_CONTROL_REQUEST_METHOD),
    (b'h', header::ACCESS_CONTROL_REQUEST_HEADERS),
];

/// A page reads an answer only where its origin is listed, with credentials only where that is
/// said, and what a preflight is told it asked for or was listed.
pub(super) fn run(input: &[u8]) {
    let Some((choice, lines)) = input.split_first() else {
        return;
    };
    let mut request = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(64) {
        let Some((letter, value)) = line.split_first() else {
            continue;
        };
        let name = FIELDS.into_iter().find(|(known, _)| known == letter);
        if let (Some((_, name)), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
            request.append(name, value);
        }
    }
    let (config, policy) = &POLICIES[usize::from(choice % 4)];
    let once = |name: &HeaderName| {
        let values: Vec<&HeaderValue> = request.get_all(name).iter().collect();
        (values.len() == 1).then(|| values[0])
    };
    let origin = once(&header::ORIGIN);
    let listed = match &config.origins {
        Origins::Any => false,
        Origins::Listed(list) => origin.is_some_and(|origin| list.contains(origin)),
    };
    let allowed = listed || config.origins == Origins::Any;
    let expected = match config.origins {
        Origins::Any => Some(HeaderValue::from_static("*")),
        Origins::Listed(_) => origin.filter(|_| listed).cloned(),
    };
    let grants = |fields: &cors::Fields| {
        let value = |name: HeaderName| {
            let mut found = fields.iter().filter(move |(known, _)| *known == name);
            let value = found.next().map(|(_, value)| value.clone());
            assert!(found.next().is_none(), "a field twice");
            value
        };
        assert_eq!(value(header::ACCESS_CONTROL_ALLOW_ORIGIN), expected);
        let credentials = value(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
        assert_eq!(credentials.is_some(), listed && config.credentials);
        assert!(credentials.is_none_or(|value| value == "true"));
    };
    assert_eq!(policy.trusts(&request), listed && config.credentials);
    let fields: cors::Fields = policy.fields(&request).collect();
    grants(&fields);
    assert!(allowed || fields.is_empty(), "something for a foreign page");

    let method = [Method::OPTIONS, Method::GET][usize::from(choice / 4) % 2].clone();
    let Some(preflight) = Preflight::of(&method, &request) else {
        return;
    };
    assert_eq!(method, Method::OPTIONS);
    assert!(origin.is_some(), "no page asks this");
    let asked = once(&header::ACCESS_CONTROL_REQUEST_METHOD).unwrap();
    assert_eq!(preflight.method.as_str(), asked.to_str().unwrap());
    let answer = policy.answer(&preflight, &HeaderValue::from_static("GET"));
    assert_eq!(answer.is_some(), allowed);
    let Some(answer) = answer else {
        return;
    };
    grants(&answer);
    assert!(answer.iter().any(|(name, _)| *name == header::VARY));
    let names = answer
        .iter()
        .find(|(name, _)| *name == header::ACCESS_CONTROL_ALLOW_HEADERS);
    let names = names.map_or("", |(_, names)| names.to_str().unwrap());
    for name in names.split(", ").filter(|name| !name.is_empty()) {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("no name of a field");
        let named = |line: &HeaderValue| {
            let line = line.to_str().unwrap_or_default();
            line.split(',')
                .any(|text| text.trim().eq_ignore_ascii_case(name.as_str()))
        };
        let mut lines = request
            .get_all(header::ACCESS_CONTROL_REQUEST_HEADERS)
            .iter();
        match &config.headers {
            Some(listed) => assert!(listed.contains(&name)),
            None => assert!(lines.any(named), "{name} was not asked for"),
        }
    }
}
