//! `dcr-gateway explain` and `GET /explain/{request-id}`, as an operator sees them: each verdict is
//! the running gateway's own, and nothing secret shows.

use std::process::Stdio;

use base64::{Engine, prelude::BASE64_STANDARD, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, process::Command};

use crate::harness::{
    APP, SECRET, World, add, application,
    client::{Call, Response},
    eventually,
    gateway::ADMIN_TOKEN,
    http1::Answer,
    idp::{Endpoint, Format, Idp, Overlap},
    keys::{Alg, Key},
    session_key,
};

/// What the program said.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.out, self.err))
    }

    /// The one request's report.
    fn report(&self) -> Value {
        let mut all = self.json();
        let requests = all["requests"].as_array_mut().unwrap();
        assert_eq!(requests.len(), 1);
        requests.remove(0)
    }

    /// Nothing of this shows, in no usual encoding.
    #[track_caller]
    fn hides(&self, secret: &str) {
        let base64 = BASE64_STANDARD.encode(secret);
        let url: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        for form in [
            secret,
            base64.trim_end_matches('='),
            &BASE64_URL_SAFE_NO_PAD.encode(secret),
            &url,
        ] {
            for text in [&self.out, &self.err] {
                assert!(!text.contains(form), "{form:?} shows in {text}");
            }
        }
    }
}

/// A credential as it is given to the command, and to the gateway.
#[derive(Clone)]
enum Shown {
    Basic(String, String),
    Cookie(String),
    Token(String),
}

impl Shown {
    fn basic(id: &str, secret: &str) -> Self {
        Self::Basic(id.to_owned(), secret.to_owned())
    }

    fn argument(&self) -> &'static str {
        match self {
            Self::Basic(..) => "--basic",
            Self::Cookie(_) => "--cookie",
            Self::Token(_) => "--token",
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Basic(id, secret) => format!("{id}:{secret}"),
            Self::Cookie(text) | Self::Token(text) => text.clone(),
        }
    }

    fn put(&self, call: Call) -> Call {
        match self {
            Self::Basic(id, secret) => call.basic(id, secret),
            Self::Cookie(text) => call.cookie(text),
            Self::Token(text) => call.bearer(text),
        }
    }

    /// What must show nowhere.
    fn secrets(&self) -> Vec<String> {
        match self {
            // A known id may show, also where it stands in the secret's place.
            Self::Basic(id, secret) if secret == APP => vec![id.clone()],
            Self::Basic(id, secret) => vec![secret.clone(), format!("{id}:{secret}")],
            Self::Cookie(text) => vec![text.rsplit('=').next().unwrap().to_owned()],
            Self::Token(text) => match text.rsplit_once('.') {
                Some((message, signature)) if message.contains('.') => vec![
                    text.clone(),
                    signature.to_owned(),
                    message.split_once('.').unwrap().1.to_owned(),
                ],
                _ => vec![text.clone()],
            },
        }
    }
}

/// Runs the command with the running gateway's own files.
async fn run(world: &World, arguments: &[&str], input: &str) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_dcr-gateway"))
        .arg("explain")
        .args(arguments)
        .current_dir(world.gateway.directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // Where the arguments are refused nobody reads it.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = child.wait_with_output();
    let output = tokio::time::timeout(std::time::Duration::from_secs(30), output).await;
    let output = output.expect("it ends").unwrap();
    Said {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Explains one request in both forms.
async fn explain(world: &World, method: &str, target: &str, shown: &Shown) -> (Value, Said) {
    let url = format!("http://api.test{target}");
    let mut arguments = vec![
        "--config",
        "gateway.yaml",
        "--url",
        &url,
        "--method",
        method,
        shown.argument(),
        "-",
    ];
    let text = run(world, &arguments, &format!("{}\n", shown.text())).await;
    arguments.push("--json");
    let json = run(world, &arguments, &shown.text()).await;
    assert_eq!(text.code, json.code, "{} {}", text.out, json.out);
    for said in [&text, &json] {
        for secret in shown.secrets() {
            said.hides(&secret);
        }
        let longest = said.out.lines().map(|line| line.chars().count()).max();
        assert!(said.code != 2, "{}", said.err);
        let escapes = said.out.chars().any(|c| c.is_control() && c != '\n');
        assert!(!escapes, "{}", said.out);
        if !std::ptr::eq(said, &json) {
            assert!(longest.unwrap() <= 100, "{}", said.out);
        }
    }
    (json.report(), text)
}

fn names(report: &Value) -> Vec<String> {
    let checks = report["checks"].as_array().unwrap().iter();
    checks
        .map(|check| check["name"].as_str().unwrap().to_owned())
        .collect()
}

/// The check that stands in the way: the last one that failed.
fn failed(report: &Value) -> (&str, &str) {
    let mut checks = report["checks"].as_array().unwrap().iter();
    let failed = checks.rfind(|check| check["outcome"] == "failed");
    let failed = failed.unwrap_or_else(|| panic!("no check failed: {report}"));
    (
        failed["name"].as_str().unwrap(),
        failed["detail"].as_str().unwrap(),
    )
}

/// The command's verdict is the gateway's, whose log has the same reason.
#[track_caller]
fn assert_same(case: &str, report: &Value, text: &Said, response: &Response, line: &Value) {
    let verdict = &report["verdict"];
    if response.status == 200 {
        assert_eq!(verdict["outcome"], "passed", "{case}: {report}");
        assert_eq!(text.code, 0, "{case}");
        return;
    }
    assert_eq!(text.code, 1, "{case}: {}", text.out);
    assert_eq!(verdict["outcome"], "refused", "{case}: {report}");
    assert_eq!(verdict["status"], response.status, "{case}: {report}");
    assert_eq!(verdict["code"], response.code(), "{case}: {report}");
    assert_eq!(verdict["reason"], line["reason"], "{case}: {report}");
    for member in ["meaning", "cure"] {
        let told = verdict[member].as_str().unwrap();
        assert!(!told.is_empty(), "{case}: {report}");
    }
    if line["cure"].is_string() {
        assert_eq!(verdict["cure"], line["cure"], "{case}: {report}");
    }
    let last = text.out.trim_end().lines();
    let refused = format!("refused: {} {}", response.status, response.code());
    assert!(
        last.clone().any(|line| line.starts_with(&refused)),
        "{case}: {}",
        text.out
    );
    assert!(text.out.contains("\n  cure  "), "{case}: {}", text.out);
}

/// Explains a request, sends it, and compares; the report is for further looks.
async fn compare(case: &str, world: &World, method: &str, target: &str, shown: &Shown) -> Value {
    let (report, text) = explain(world, method, target, shown).await;
    let response = shown.put(world.gateway.call(method, target)).send().await;
    let line = world.gateway.line_of(&response).await;
    assert_same(case, &report, &text, &response, &line);
    report
}

/// The same for the ordinary request.
async fn get(world: &World, case: &str, shown: Shown) -> Value {
    compare(case, world, "GET", "/flights", &shown).await
}

const BEFORE: [&str; 7] = [
    "head",
    "path",
    "route",
    "access",
    "directory",
    "credential",
    "auth_method",
];
const OF_JWT: [&str; 14] = [
    "metadata",
    "keys",
    "token_form",
    "token_header",
    "token_type",
    "key",
    "signature",
    "payload",
    "issuer",
    "token_use",
    "client_claim",
    "claims",
    "times",
    "audience",
];
const OF_ANSWER: [&str; 11] = [
    "introspection_request",
    "introspection_answer",
    "active",
    "issuer",
    "token_use",
    "client_claim",
    "claims",
    "management_scope",
    "times",
    "audience",
    "application",
];
const AFTER: [&str; 4] = [
    "application",
    "application_status",
    "registration",
    "scopes",
];

#[tokio::test]
async fn client_credentials_are_walked_in_order() {
    let world = World::start().await;
    let report = compare(
        "good",
        &world,
        "GET",
        "/flights",
        &Shown::basic(APP, SECRET),
    )
    .await;
    let exchange = ["metadata", "token_request", "token_answer"];
    let expected = [
        &BEFORE[..],
        &["strategy", "attempts"],
        &exchange,
        &OF_JWT,
        &["same_client"],
        &AFTER,
    ]
    .concat();
    assert_eq!(names(&report), expected);
    assert_eq!(report["verdict"]["caller"]["client_id"], APP);
    assert_eq!(
        report["verdict"]["caller"]["application"]["name"],
        "Trip Planner"
    );
    assert_eq!(report["api"], "flights");
    let checks = report["checks"].as_array().unwrap();
    assert!(checks.iter().all(|check| check["outcome"] == "passed"));
}

#[tokio::test]
async fn a_bearer_token_is_walked_in_order() {
    let world = World::start().await;
    let token = Shown::Token(world.token());
    let report = compare("good", &world, "GET", "/flights", &token).await;
    let expected = [&BEFORE[..], &["strategy"], &OF_JWT, &AFTER].concat();
    assert_eq!(names(&report), expected);
}

fn introspecting(setup: &mut crate::harness::gateway::Setup) {
    setup.config["identity_providers"][0]["client"] =
        json!({"id": "gateway", "secret": {"file": "secrets/own"}});
    let own = (
        "secrets/own".to_owned(),
        "own-secret-of-the-gateway".to_owned(),
    );
    setup.files.push(own);
}

#[tokio::test]
async fn an_opaque_token_is_walked_in_order() {
    let world = World::with(introspecting).await;
    let token = Shown::Token(world.idp.opaque(APP, |token| token));
    let (report, text) = explain(&world, "GET", "/flights", &token).await;
    text.hides("own-secret-of-the-gateway");
    let expected = [
        &BEFORE[..],
        &["strategy", "attempts", "metadata"],
        &OF_ANSWER[..10],
        &AFTER,
    ]
    .concat();
    assert_eq!(names(&report), expected);
    compare("good", &world, "GET", "/flights", &token).await;
    for (case, change, check) in [
        ("of another audience", json!({"aud": "other"}), "audience"),
        ("expired", json!({"exp": 1}), "times"),
        (
            "for registering",
            json!({"scope": "dcr"}),
            "management_scope",
        ),
        ("of another issuer", json!({"iss": "x"}), "issuer"),
        (
            "without a client",
            json!({"client_id": null}),
            "client_claim",
        ),
        ("inactive", json!({"active": false}), "active"),
        (
            "without active",
            json!({"active": "yes"}),
            "introspection_answer",
        ),
    ] {
        let token = world.idp.opaque(APP, |token| token);
        world.idp.turn(|k| {
            let facts = k.introspections.get_mut(&token).unwrap();
            for (name, value) in change.as_object().unwrap() {
                match value {
                    Value::Null => drop(facts.as_object_mut().unwrap().remove(name)),
                    value => facts[name] = value.clone(),
                }
            }
        });
        let report = compare(case, &world, "GET", "/flights", &Shown::Token(token)).await;
        assert_eq!(failed(&report).0, check, "{case}: {report}");
    }
    world
        .idp
        .fault(Endpoint::Introspection, Answer::new(401, ""));
    let token = Shown::Token("opaque-and-asked-about-in-vain".to_owned());
    let report = compare("refused itself", &world, "GET", "/flights", &token).await;
    assert_eq!(failed(&report).0, "introspection_answer");
    assert!(failed(&report).1.contains("`client`"), "{report}");
}

#[tokio::test]
async fn a_session_cookie_is_walked_in_order() {
    let world = World::start().await;
    let cookie = world.cookie().await;
    let report = compare(
        "good",
        &world,
        "GET",
        "/flights",
        &Shown::Cookie(cookie.clone()),
    )
    .await;
    let session = [
        "session_opens",
        "session_binding",
        "session_times",
        "session_logout",
        "cross_site",
    ];
    let expected = [&BEFORE[..6], &session, &AFTER].concat();
    assert_eq!(names(&report), expected);
    let skipped = &report["checks"][9];
    assert_eq!(
        (&skipped["name"], &skipped["outcome"]),
        (&json!("session_logout"), &json!("skipped"))
    );
    // The value alone and a whole line do as well.
    let value = cookie.split_once('=').unwrap().1;
    for text in [value.to_owned(), format!("Cookie: other=1; {cookie}")] {
        let arguments = ["--config", "gateway.yaml", "--cookie", "-"];
        let said = run(&world, &arguments, &text).await;
        assert_eq!(said.code, 0, "{} {}", said.out, said.err);
        said.hides(value);
    }
}

#[tokio::test]
async fn a_session_that_does_not_hold_is_told_as_the_gateway_judges_it() {
    let world = World::start().await;
    let cookie = world.cookie().await;
    let last = if cookie.ends_with('A') { 'B' } else { 'A' };
    let changed = format!("{}{last}", &cookie[..cookie.len() - 1]);
    let report = get(&world, "changed", Shown::Cookie(changed)).await;
    assert_eq!(failed(&report).0, "session_opens");
    let report = get(&world, "another's", Shown::Cookie("theme=dark".to_owned())).await;
    assert!(failed(&report).1.contains("theme"), "{report}");
    assert!(failed(&report).1.contains("dcr_session"), "{report}");
    let twice = Shown::Cookie(format!("{cookie}; {cookie}"));
    let report = get(&world, "twice", twice).await;
    assert_eq!(failed(&report).0, "credential");
    // A request of another site.
    let origin = "Origin: https://evil.test";
    let arguments = [
        "--config",
        "gateway.yaml",
        "--url",
        "http://api.test/flights",
        "--method",
        "POST",
        "--header",
        origin,
        "--cookie",
        "-",
        "--json",
    ];
    let said = run(&world, &arguments, &cookie).await;
    let call = world.gateway.post("/flights").cookie(&cookie);
    let response = call.header("Origin", "https://evil.test").send().await;
    let report = said.report();
    assert_eq!(report["verdict"]["code"], response.code());
    assert_eq!(failed(&report).0, "cross_site");
    assert!(failed(&report).1.contains("evil.test"), "{report}");
    // Sealed before the strategy asked for something else.
    world
        .gateway
        .reconfigure(|c| c["auth_strategies"][0]["audience"] = json!(["https://other.test"]))
        .await;
    let report = get(&world, "strategy changed", Shown::Cookie(cookie.clone())).await;
    assert_eq!(failed(&report).0, "session_binding");
    // Sealed with a key that is gone.
    let session = world.gateway.directory.path().join("secrets/session");
    let before = world.gateway.reloads("configuration", "applied").await;
    std::fs::write(session, session_key(9)).unwrap();
    eventually!(
        world.gateway.reloads("configuration", "applied").await > before,
        "the new key is in force"
    );
    let report = get(&world, "foreign key", Shown::Cookie(cookie)).await;
    assert_eq!(failed(&report).0, "session_opens");
}

#[tokio::test]
async fn a_cookie_needs_the_configured_key() {
    let world = World::with(|s| {
        s.config.as_object_mut().unwrap().remove("session_keys");
    })
    .await;
    let cookie = world.cookie().await;
    let arguments = ["--config", "gateway.yaml", "--cookie", "-"];
    let said = run(&world, &arguments, &cookie).await;
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    assert!(said.err.contains("session_keys"), "{}", said.err);
    assert!(
        said.err.contains("GET /explain/{request-id}"),
        "{}",
        said.err
    );
    said.hides(cookie.split_once('=').unwrap().1);
}

#[tokio::test]
async fn a_bad_token_is_told_as_the_gateway_judges_it() {
    let world = World::start().await;
    let good = || world.idp.token(APP);
    let stranger = Key::new(Alg::Rs256);
    let now = crate::harness::now();
    for (case, token, check, words) in [
        (
            "audience",
            good().claim("aud", "https://other.test").build(),
            "audience",
            &["https://other.test", "https://api.test"][..],
        ),
        (
            "issuer",
            good().claim("iss", "https://other.test").build(),
            "strategy",
            &["https://other.test", &world.idp.issuer, "unverified"],
        ),
        (
            "expired",
            good().claim("exp", now - 7200).build(),
            "times",
            &["exp 2h", "ago"],
        ),
        (
            "not yet",
            good().claim("nbf", now + 7200).build(),
            "times",
            &["nbf in 1h 59m"],
        ),
        (
            "no exp",
            good().without("exp").build(),
            "claims",
            &["does not say when"],
        ),
        (
            "forged",
            good().key(&stranger).build(),
            "signature",
            &["signature is wrong"],
        ),
        (
            "unknown key",
            good().header("kid", "key-of-nobody").build(),
            "key",
            &["key-of-nobody", "kid in the key set"],
        ),
        (
            "algorithm",
            good().header("alg", "HS256").build(),
            "key",
            &["HS256"],
        ),
        (
            "type",
            good().header("typ", "logout+jwt").build(),
            "token_type",
            &["logout+jwt"],
        ),
        (
            "an ID token",
            good().claim("nonce", "n").build(),
            "token_use",
            &["nonce"],
        ),
        (
            "no client",
            good().without("client_id").build(),
            "client_claim",
            &["[client_id] absent", "sub"],
        ),
        (
            "opaque",
            "no-jwt-at-all".to_owned(),
            "strategy",
            &["introspect"],
        ),
        (
            "stranger",
            world.idp.token("stranger").build(),
            "application",
            &["stranger"],
        ),
        (
            "hostile",
            good()
                .claim("iss", "\u{1b}[2J\u{202e}\r\nx".repeat(100))
                .build(),
            "strategy",
            &["\\u{1b}[2J\\u{202e}\\r\\n"],
        ),
    ] {
        let report = compare(case, &world, "GET", "/flights", &Shown::Token(token)).await;
        let (name, detail) = failed(&report);
        assert_eq!(name, check, "{case}: {report}");
        for word in words {
            assert!(detail.contains(word), "{case}: {word} in {detail}");
        }
    }
}

#[tokio::test]
async fn a_pair_that_is_refused_is_told_as_the_gateway_judges_it() {
    let world = World::start().await;
    let report = get(
        &world,
        "unknown",
        Shown::basic("nobody", "secret-of-nobody"),
    )
    .await;
    assert_eq!(failed(&report).0, "strategy");
    assert_eq!(
        world.idp.hits(Endpoint::Token),
        0,
        "no identity provider is asked"
    );
    let (_, swapped) = explain(&world, "GET", "/flights", &Shown::basic(SECRET, APP)).await;
    swapped.hides(SECRET);
    assert!(swapped.out.contains("\"corr\""), "{}", swapped.out);
    let wrong = Shown::basic(APP, "canary-wrong-secret");
    // One that repeats what it was sent.
    let echo = json!({
        "error": "invalid_client",
        "error_description": "canary-wrong-secret is not it\u{1b}[31m",
    });
    world
        .idp
        .turn(|k| k.wrong_secret = Answer::json(401, &echo));
    let report = get(&world, "wrong", wrong).await;
    assert_eq!(failed(&report).0, "token_answer");
    assert!(failed(&report).1.contains("(hidden) is not it"), "{report}");
    for (case, answer, word) in [
        (
            "scope",
            Answer::json(
                400,
                &json!({"error": "invalid_scope", "error_description": "no such scope: read"}),
            ),
            "no such scope: read",
        ),
        (
            "grant",
            Answer::json(400, &json!({"error": "unauthorized_client"})),
            "unauthorized_client",
        ),
        ("server error", Answer::new(500, "<html>"), "status 500"),
        ("no JSON", Answer::new(200, "<html>"), "no JSON object"),
    ] {
        world.idp.fault(Endpoint::Token, answer);
        let report = get(
            &world,
            case,
            Shown::basic(APP, &format!("some-secret-{case}")),
        )
        .await;
        let (name, detail) = failed(&report);
        assert_eq!(name, "token_answer", "{case}: {report}");
        assert!(detail.contains(word), "{case}: {detail}");
    }
    world.idp.heal(Endpoint::Token);
    // The token that is issued does not fit.
    for (case, claim, check) in [
        ("another audience", json!({"aud": "other"}), "audience"),
        (
            "another client",
            json!({"client_id": "other"}),
            "same_client",
        ),
        ("no client", json!({"client_id": null}), "client_claim"),
    ] {
        let id = case.replace(' ', "-");
        world.idp.client(&id, "issued-a-misfit");
        world.gateway.register(|a| add(a, application(&id))).await;
        world
            .idp
            .turn(|k| k.claims = claim.as_object().unwrap().clone());
        let report = get(&world, case, Shown::basic(&id, "issued-a-misfit")).await;
        assert_eq!(failed(&report).0, check, "{case}: {report}");
        assert_eq!(report["verdict"]["status"], 502);
    }
}

#[tokio::test]
async fn a_secret_that_an_identity_provider_sends_back_shows_nowhere() {
    let world = World::start().await;
    let secret = "Canary/of+a&<secret%\"x";
    let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let html = secret.replace('&', "&amp;").replace('<', "&lt;");
    let pair = BASE64_STANDARD.encode(format!("{APP}:{encoded}"));
    let hexadecimal: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    for echo in [
        secret.to_owned(),
        encoded.to_lowercase(),
        html,
        pair,
        hexadecimal,
    ] {
        for member in ["error", "error_description"] {
            let mut answer = json!({"error": "invalid_scope"});
            answer[member] = json!(format!("sent-{echo}"));
            world.idp.fault(Endpoint::Token, Answer::json(400, &answer));
            let shown = Shown::basic(APP, secret);
            let (report, text) = explain(&world, "GET", "/flights", &shown).await;
            assert_eq!(failed(&report).0, "token_answer", "{report}");
            let response = shown.put(world.flights()).send().await;
            response.assert_problem(502, "identity_provider_misconfigured");
            let log = world.gateway.log().join("\n");
            for place in [report.to_string(), text.out, text.err, log] {
                assert!(!place.contains(&echo), "{echo} in {place}");
            }
        }
    }
}

#[tokio::test]
async fn what_the_front_refuses_is_told_too() {
    let world = World::with(|s| s.config["limits"] = json!({"header_size": "4KiB"})).await;
    let long = Shown::Token(format!(
        "eyJhbGciOiJSUzI1NiJ9.{}.c2lnbmF0dXJl",
        "A".repeat(6_000)
    ));
    let cookie = Shown::Cookie(format!("other={}", "x".repeat(6_000)));
    for (case, target, shown, reason) in [
        ("long token", "/flights", &long, "head"),
        ("long cookie", "/flights", &cookie, "head"),
        (
            "space",
            "/flights?a=b c",
            &Shown::Token(world.token()),
            "malformed_target",
        ),
    ] {
        let (report, text) = explain(&world, "GET", target, shown).await;
        assert_eq!(text.code, 1, "{case}");
        assert_eq!(report["verdict"]["reason"], reason, "{case}: {report}");
        assert_eq!(failed(&report).0, "head", "{case}: {report}");
        let response = shown.put(world.gateway.call("GET", target)).send().await;
        assert_eq!(report["verdict"]["status"], response.status, "{case}");
        assert_eq!(report["verdict"]["code"], response.code(), "{case}");
    }
}

#[tokio::test]
async fn a_client_of_another_strategy_is_told_where_it_is_known() {
    let world = World::with(|s| {
        let mut other = s.config["auth_strategies"][0].clone();
        other["name"] = json!("staff");
        other["session"] = json!({"cookie_name": "staff"});
        let strategies = s.config["auth_strategies"].as_array_mut().unwrap();
        strategies.push(other);
        let mut entry = application("app-of-staff");
        entry["auth_strategy"] = json!("staff");
        add(&mut s.applications, entry);
    })
    .await;
    for shown in [
        Shown::basic("app-of-staff", "any-secret-at-all"),
        Shown::Token(world.idp.token("app-of-staff").build()),
    ] {
        let report = get(&world, "of another strategy", shown).await;
        let checks = report["checks"].as_array().unwrap();
        let told = checks.last().unwrap()["detail"].as_str().unwrap();
        assert!(
            told.contains("staff") && told.contains("does not list"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn an_opaque_token_that_is_issued_and_not_introspected_is_told_to_be_so() {
    let world = World::start().await;
    world.idp.turn(|k| k.format = Format::Opaque);
    let report = compare(
        "opaque",
        &world,
        "GET",
        "/flights",
        &Shown::basic(APP, SECRET),
    )
    .await;
    let checks = report["checks"].as_array().unwrap();
    let told = checks.iter().find(|check| {
        let detail = check["detail"].as_str().unwrap();
        check["outcome"] == "skipped" && detail.contains("audience is not checked")
    });
    assert!(told.is_some(), "{report}");
}

#[tokio::test]
async fn a_token_that_was_cut_is_not_taken_for_an_opaque_one() {
    let world = World::start().await;
    let token = world.token();
    let header = token.find('.').unwrap();
    for (place, cure) in [
        (header - 1, "has no end"),
        (header + 9, "has no end"),
        (0, "client"),
    ] {
        let token = match place {
            0 => "no-jwt-at-all".to_owned(),
            place => token[..place].to_owned(),
        };
        let report = get(&world, "cut", Shown::Token(token)).await;
        let told = report["verdict"]["cure"].as_str().unwrap();
        assert!(told.contains(cure), "{report}");
    }
}

#[tokio::test]
async fn an_identity_provider_that_is_down_is_told() {
    let idp = Idp::start().await;
    idp.down();
    let world = World::around(idp, |_| {}).await;
    for shown in [Shown::basic(APP, SECRET), Shown::Token(world.token())] {
        let report = get(&world, "down", shown).await;
        assert_eq!(failed(&report).0, "metadata", "{report}");
        assert_eq!(report["verdict"]["status"], 503);
        let log = report["log"].as_array().unwrap();
        assert!(!log.is_empty(), "what would be logged is shown: {report}");
        let mut once = log.clone();
        once.dedup();
        assert_eq!(*log, once, "and once: {report}");
    }
}

#[tokio::test]
async fn metadata_of_another_issuer_is_told_with_both_names() {
    let idp = Idp::start().await;
    idp.turn(|k| {
        let issuer = json!("https://renamed.test");
        k.metadata.insert("issuer".to_owned(), issuer);
    });
    let world = World::around(idp, |_| {}).await;
    let (report, text) = explain(&world, "GET", "/flights", &Shown::basic(APP, SECRET)).await;
    assert_eq!(failed(&report).0, "metadata");
    for name in ["https://renamed.test", &world.idp.issuer] {
        assert!(report["log"].to_string().contains(name), "{report}");
        assert!(text.out.replace("\n", "").contains(name), "{}", text.out);
    }
}

#[tokio::test]
async fn keys_are_fetched_anew_as_by_the_gateway() {
    let world = World::start().await;
    world.idp.rotate(Alg::Es256, Overlap::Drop);
    let report = compare(
        "rotated",
        &world,
        "GET",
        "/flights",
        &Shown::Token(world.token()),
    )
    .await;
    assert_eq!(report["verdict"]["outcome"], "passed");
}

#[tokio::test]
async fn applications_are_told_as_the_gateway_judges_them() {
    let world = World::with(|s| {
        s.config["apis"][0]["scopes_required"] = json!(["read"]);
        for (id, change) in [
            ("unregistered", json!({"registrations": {}})),
            ("pending", json!({"registrations": {"flights": "pending"}})),
            ("suspended", json!({"status": "suspended"})),
            (
                "rotated",
                json!({"credentials_valid_from": "2100-01-01T00:00:00Z"}),
            ),
        ] {
            let mut entry = application(id);
            let members = change.as_object().unwrap().clone();
            entry.as_object_mut().unwrap().extend(members);
            add(&mut s.applications, entry);
        }
    })
    .await;
    for (id, check) in [
        ("unregistered", "registration"),
        ("pending", "registration"),
        ("suspended", "application_status"),
        ("rotated", "credentials_valid_from"),
    ] {
        let token = Shown::Token(world.idp.token(id).build());
        let report = compare(id, &world, "GET", "/flights", &token).await;
        assert_eq!(failed(&report).0, check, "{id}: {report}");
    }
    let token = world.idp.token(APP).claim("scope", "write").build();
    let report = compare("scope", &world, "GET", "/flights", &Shown::Token(token)).await;
    let (name, detail) = failed(&report);
    assert_eq!(name, "scopes");
    assert!(
        detail.contains("\"write\"") && detail.contains("read"),
        "{detail}"
    );
}

#[tokio::test]
async fn routes_are_told_as_the_gateway_finds_them() {
    let world = World::with(|s| {
        s.config["apis"][0]["routes"] =
            json!([{"hosts": ["api.test"], "paths": ["/flights"], "methods": ["GET"]}]);
    })
    .await;
    let token = Shown::Token(world.token());
    for (method, target, check, word) in [
        ("GET", "/nowhere", "route", "/flights"),
        ("POST", "/flights", "route", "GET, HEAD"),
        ("GET", "/flights/../open", "path", "dot segment"),
        ("GET", "/flights%2f..", "path", "dot segment"),
        ("GET", "/flights//x", "route", "paths_as_sent"),
    ] {
        let report = compare(target, &world, method, target, &token).await;
        let (name, detail) = failed(&report);
        assert_eq!(name, check, "{target}: {report}");
        assert!(detail.contains(word), "{target}: {detail}");
    }
    let arguments = [
        "--config",
        "gateway.yaml",
        "--url",
        "http://other.test/flights",
        "--token",
        "-",
        "--json",
    ];
    let said = run(&world, &arguments, &world.token()).await;
    let report = said.report();
    assert_eq!(report["verdict"]["code"], "no_route");
    let (_, detail) = failed(&report);
    let elsewhere = detail.ends_with("hosts that have this path: \"api.test\"");
    assert!(elsewhere, "{detail}");
    // A query may hold anything, and is not read.
    let arguments = [
        "--config",
        "gateway.yaml",
        "--url",
        "http://api.test/flights?password=canary-in-query",
    ];
    let said = run(&world, &arguments, "").await;
    assert_eq!(said.code, 1);
    assert!(said.out.contains("credentials_required"), "{}", said.out);
    said.hides("canary-in-query");
}

#[tokio::test]
async fn without_a_url_each_guarded_api_is_asked() {
    let world = World::with(|s| {
        let mut other = s.config["apis"][0].clone();
        other["name"] = json!("hotels");
        other["routes"] =
            json!([{"hosts": ["*.hotels.test"], "paths": ["=/h"], "methods": ["PUT"]}]);
        s.config["apis"].as_array_mut().unwrap().push(other);
    })
    .await;
    let file = world.gateway.directory.path().join("pair");
    let encoded = BASE64_STANDARD.encode(format!("{APP}:{SECRET}"));
    std::fs::write(file, format!("{encoded}\r\n")).unwrap();
    let arguments = ["--config", "gateway.yaml", "--basic", "@pair", "--json"];
    let said = run(&world, &arguments, "").await;
    said.hides(SECRET);
    said.hides(&format!("{APP}:{SECRET}"));
    let all = said.json();
    assert_eq!((said.code, &all["passed"]), (1, &json!(false)));
    let found: Vec<_> = all["requests"].as_array().unwrap().iter().collect();
    let told: Vec<_> = found
        .iter()
        .map(|r| [&r["api"], &r["method"], &r["verdict"]["outcome"]])
        .collect();
    assert_eq!(
        told[0],
        [&json!("flights"), &json!("GET"), &json!("passed")]
    );
    assert_eq!(
        told[1],
        [&json!("hotels"), &json!("PUT"), &json!("refused")]
    );
    assert_eq!(found[1]["verdict"]["code"], "registration_required");
    assert_eq!(found.len(), 2, "the public one is not asked");
    assert_eq!(
        world.idp.hits(Endpoint::Token),
        1,
        "the pair is exchanged once"
    );
    assert!(names(found[1]).contains(&"remembered".to_owned()));
}

#[tokio::test]
async fn a_guards_file_is_explained_too() {
    let world = World::start().await;
    let mut config = Value::Null;
    world.gateway.edit_config(|c| config = c.clone());
    let members = config.as_object_mut().unwrap();
    for name in ["listeners", "admin", "threads", "grace_period"] {
        members.remove(name);
    }
    for api in config["apis"].as_array_mut().unwrap() {
        api.as_object_mut().unwrap().remove("upstream");
    }
    world.gateway.overwrite("guard.yaml", &config.to_string());
    let arguments = ["--config", "guard.yaml", "--basic", "-", "--guard"];
    let pair = format!("{APP}:{SECRET}");
    let said = run(&world, &arguments, &pair).await;
    assert_eq!(said.code, 0, "{} {}", said.out, said.err);
    let said = run(&world, &arguments[..4], &pair).await;
    assert_eq!(said.code, 2, "{} {}", said.out, said.err);
}

#[tokio::test]
async fn wrong_usage_is_told_without_a_secret() {
    let world = World::start().await;
    const CANARY: &str = "canary-on-the-command-line";
    let pair = format!("{APP}:{CANARY}");
    let url = format!("http://me:{CANARY}@api.test/");
    let field = format!("Authorization: Bearer {CANARY}");
    let (glued, switched) = (format!("--token{CANARY}"), format!("--json={CANARY}"));
    let config = ["--config", "gateway.yaml"];
    for (case, arguments, input, word) in [
        ("token", &["--token", CANARY][..], "", "standard input"),
        ("with =", &["--token", &pair], "", "standard input"),
        ("basic", &["--basic", &pair], "", "standard input"),
        ("cookie", &["--cookie", CANARY], "", "standard input"),
        (
            "two words",
            &["--token", "Bearer", CANARY],
            "",
            "an argument too many",
        ),
        ("alone", &[CANARY], "", "an argument too many"),
        ("no space", &[&glued], "", "unexpected argument"),
        ("as a flag", &["--", &glued], "", "an argument too many"),
        ("behind a switch", &[&switched], "", "unexpected value"),
        ("in the URL", &["--url", &url], "", "--url"),
        (
            "in a field",
            &["--url", "/", "--header", &field],
            "",
            "--header",
        ),
        ("method", &["--url", "/", "--method", "G T"], "", "--method"),
        ("no file", &["--token", "@nothing-here"], "", "nothing-here"),
        ("empty", &["--token", "-"], "\n", "empty"),
        (
            "two lines",
            &["--token", "-"],
            "canary-on-the-command-line\nx",
            "line end",
        ),
        ("nothing", &[], "", "--url"),
        (
            "both",
            &["--token", "-", "--basic", "-"],
            "",
            "cannot be used",
        ),
        (
            "too long",
            &["--token", "-"],
            &"x".repeat(70_000),
            "longer than",
        ),
    ] {
        let arguments = [&config[..], arguments].concat();
        let said = run(&world, &arguments, input).await;
        assert_eq!(
            (said.code, said.out.as_str()),
            (2, ""),
            "{case}: {}",
            said.err
        );
        assert!(said.err.contains(word), "{case}: {}", said.err);
        said.hides(CANARY);
    }
    let said = run(&world, &["--config", "no-such.yaml", "--token", "-"], "x").await;
    assert_eq!(said.code, 2);
    assert!(said.err.contains("no-such.yaml"), "{}", said.err);
    world.gateway.overwrite("faulty.yaml", "listeners: 7\n");
    let said = run(&world, &["--config", "faulty.yaml", "--token", "-"], "x").await;
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    assert!(
        said.err.contains("faulty.yaml:1:12: listeners"),
        "{}",
        said.err
    );
}

#[tokio::test]
async fn no_upstream_is_asked_for_an_explanation() {
    let world = World::with(|s| {
        let upstream = &mut s.config["apis"][0]["upstream"];
        upstream["health_check"] = json!({"path": "/healthz", "interval": "1s"});
    })
    .await;
    // The gateway's own checks are of the other process: this one's would come at its start.
    let arguments = ["--config", "gateway.yaml", "--basic", "-", "--json"];
    world.gateway.signal("STOP").await;
    // What it sent before arrives.
    crate::harness::pass(std::time::Duration::from_millis(200)).await;
    let before = world.upstream.hits();
    let said = run(&world, &arguments, &format!("{APP}:{SECRET}")).await;
    let after = world.upstream.hits();
    world.gateway.signal("CONT").await;
    assert_eq!(said.code, 0, "{} {}", said.out, said.err);
    assert_eq!(after, before);
}

#[tokio::test]
async fn applications_that_cannot_be_read_are_told() {
    let world = World::start().await;
    world
        .gateway
        .overwrite("applications.yaml", "applications: 7\n");
    let arguments = ["--config", "gateway.yaml", "--token", "-", "--json"];
    let said = run(&world, &arguments, &world.token()).await;
    assert_eq!(said.code, 1);
    assert!(said.err.contains("applications.yaml:1:15"), "{}", said.err);
    let report = said.report();
    assert_eq!(failed(&report).0, "directory");
    assert_eq!(report["verdict"]["code"], "not_ready");
}

/// Asks the running gateway.
fn ask(world: &World, path: &str) -> Call {
    Call::new(world.gateway.admin, "GET", path).bearer(ADMIN_TOKEN)
}

fn id_of(response: &Response) -> String {
    response.header("x-request-id").unwrap().to_owned()
}

/// What the running gateway says of a refusal, once it has written it down.
async fn kept(world: &World, response: &Response) -> Value {
    let path = format!("/explain/{}", id_of(response));
    eventually!(
        ask(world, &path).send().await.status == 200,
        "{path} is known"
    );
    ask(world, &path).send().await.json()
}

#[tokio::test]
async fn a_running_gateway_knows_what_a_good_token_lacks() {
    let world = World::with(|s| {
        s.config["auth_strategies"][0]["scopes_required"] = json!(["read write"]);
    })
    .await;
    let token = || world.idp.token(APP).claim("scope", "read");
    for (token, reason, found, needed) in [
        (
            token().claim("aud", json!(["https://other.test", "b"])),
            "audience",
            "https://other.test, b",
            "https://api.test",
        ),
        (token().without("aud"), "audience", "", "https://api.test"),
        (token(), "insufficient_scope", "read", "read write"),
    ] {
        let response = world.flights().bearer(&token.build()).send().await;
        let told = kept(&world, &response).await;
        assert_eq!(told["reason"], reason);
        assert_eq!(told["found"], found, "{told}");
        assert_eq!(told["needed"], needed, "{told}");
    }
    // What nobody has signed is not repeated.
    let mut forged = token().claim("aud", "https://other.test").build();
    forged.truncate(forged.len() - 8);
    let response = world.flights().bearer(&forged).send().await;
    let told = kept(&world, &response).await;
    assert_eq!(told["found"], json!(null), "{told}");
}

#[tokio::test]
async fn a_running_gateway_knows_why_it_refused() {
    let world = World::with(|s| {
        add(&mut s.applications, {
            let mut entry = application("suspended");
            entry["status"] = json!("suspended");
            entry
        });
    })
    .await;
    let expired = world.idp.token(APP).claim("exp", 1).build();
    let call = world.flights().bearer(&expired);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let call = call.header("traceparent", &format!("00-{trace}-b7ad6b7169203331-01"));
    let response = call.send().await;
    let told = kept(&world, &response).await;
    for (member, value) in [
        ("status", json!(401)),
        ("code", json!("invalid_token")),
        ("reason", json!("expired")),
        ("meaning", json!("The token has expired.")),
        ("method", json!("GET")),
        ("host", json!("api.test")),
        ("path", json!("/flights")),
        ("client", json!("127.0.0.1")),
        ("api", json!("flights")),
        ("strategy", json!("partners")),
        ("auth_method", json!("bearer")),
        ("client_id", json!(null)),
        ("application", json!(null)),
        ("trace_id", json!(trace)),
        ("request_id", json!(id_of(&response))),
    ] {
        assert_eq!(told[member], value, "{member} of {told}");
    }
    assert!(
        told["cure"].is_string() && told["time"].is_string(),
        "{told}"
    );
    let text = told.to_string();
    for secret in [&expired, expired.rsplit('.').next().unwrap()] {
        assert!(!text.contains(secret), "{text}");
    }
    // One whose client is known.
    let token = world.idp.token("suspended").build();
    let response = world.flights().bearer(&token).send().await;
    let told = kept(&world, &response).await;
    assert_eq!(told["client_id"], "suspended");
    assert_eq!(told["application"]["name"], "Trip Planner");
    assert_eq!(told["code"], "application_suspended");
    // For people.
    let path = format!("/explain/{}", id_of(&response));
    let text = ask(&world, &path)
        .header("Accept", "text/plain")
        .send()
        .await;
    assert_eq!(
        text.header("content-type"),
        Some("text/plain; charset=utf-8")
    );
    assert!(
        text.text()
            .starts_with("refused: 403 application_suspended")
    );
    assert!(text.text().contains("\n  cure  Set status: active"));
    // As wide as the command's, whatever the cure and the path.
    let path = format!("/flights/{}", "x".repeat(120));
    let response = world.gateway.get(&path).basic(APP, "wrong").send().await;
    kept(&world, &response).await;
    let text =
        ask(&world, &format!("/explain/{}", id_of(&response))).header("Accept", "text/plain");
    let text = text.send().await.text();
    assert!(text.contains("wrong_secret"), "{text}");
    assert!(text.lines().all(|line| line.len() <= 100), "{text}");
}

#[tokio::test]
async fn what_is_not_kept_is_not_found() {
    let world = World::start().await;
    let passed = world.flights().bearer(&world.token()).send().await;
    passed.assert_status(200);
    for id in [
        id_of(&passed),
        "00000000-0000-4000-8000-000000000000".to_owned(),
        "no-id".to_owned(),
        "x/y".to_owned(),
    ] {
        let response = ask(&world, &format!("/explain/{id}")).send().await;
        response.assert_problem_without_id(404, "unknown_request");
    }
    // Not the same word further on.
    for path in ["/explained", "/explain.json"] {
        let response = ask(&world, path).send().await;
        response.assert_problem_without_id(404, "not_found");
    }
}

#[tokio::test]
async fn explanations_need_the_admin_token_and_are_only_read() {
    let world = World::with(|s| s.config["status"] = json!({"address": "127.0.0.1:0"})).await;
    let refused = world.flights().send().await;
    kept(&world, &refused).await;
    let status = world.gateway.address("status").unwrap();
    for path in [
        "/explain".to_owned(),
        format!("/explain/{}", id_of(&refused)),
    ] {
        let call = |method: &str| Call::new(world.gateway.admin, method, &path);
        call("GET").send().await.assert_status(401);
        call("GET").bearer("wrong").send().await.assert_status(401);
        let on_status = Call::new(status, "GET", &path).bearer(ADMIN_TOKEN);
        on_status.send().await.assert_status(404);
        let head = call("HEAD").bearer(ADMIN_TOKEN).send().await;
        head.assert_status(200);
        assert!(head.body.is_empty());
        for method in ["POST", "DELETE"] {
            let response = call(method).bearer(ADMIN_TOKEN).send().await;
            response.assert_status(405);
            assert_eq!(response.header("allow"), Some("GET, HEAD"));
        }
    }
}

#[tokio::test]
async fn the_latest_refusals_are_listed_newest_first() {
    let world = World::start().await;
    for path in ["/one", "/two", "/three"] {
        let refused = world.gateway.get(path).send().await;
        kept(&world, &refused).await;
    }
    let list = ask(&world, "/explain?limit=2").send().await.json();
    let paths: Vec<_> = list["refusals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["path"])
        .collect();
    assert_eq!(paths, [&json!("/three"), &json!("/two")]);
    for limit in ["0", "4097", "x", "-1", ""] {
        let response = ask(&world, &format!("/explain?limit={limit}")).send().await;
        response.assert_problem_without_id(400, "invalid_limit");
    }
    let text = ask(&world, "/explain")
        .header("Accept", "text/plain")
        .send()
        .await;
    assert_eq!(text.text().lines().count(), 3);
    assert!(
        text.text()
            .lines()
            .next()
            .unwrap()
            .ends_with("\"GET\" \"/three\"")
    );
}

#[tokio::test]
async fn what_the_front_refuses_is_kept_too() {
    let world = World::with(|s| s.config["limits"] = json!({"header_size": "4KiB"})).await;
    let large = world.flights().header("X-Large", &"x".repeat(9_000));
    let response = large.bearer("canary-token").send().await;
    response.assert_status(431);
    let id = response.json()["request_id"].as_str().unwrap().to_owned();
    let path = format!("/explain/{id}");
    eventually!(ask(&world, &path).send().await.status == 200, "it is known");
    let told = ask(&world, &path).send().await.json();
    assert_eq!(told["code"], "header_too_large");
    assert_eq!(told["path"], json!(null));
    assert!(!told.to_string().contains("canary"));
}

#[tokio::test]
async fn old_refusals_make_room_and_memory_is_bounded() {
    let world = World::start().await;
    let first = world.flights().bearer("canary-first").send().await;
    let second = world.gateway.get("/second").send().await;
    kept(&world, &first).await;
    kept(&world, &second).await;
    let (first, second) = (id_of(&first), id_of(&second));
    let before = world.gateway.memory();
    // As long as heads may be, with a secret that must not be kept.
    let long = format!("/{}?canary-in-query", "x".repeat(8_000));
    let mut connection = crate::harness::client::Connection::open(world.gateway.proxy).await;
    for n in 0..4_095 {
        let call = world.gateway.get(&long).bearer("canary-token");
        if call.send_on(&mut connection).await.is_none() {
            connection = crate::harness::client::Connection::open(world.gateway.proxy).await;
            assert!(n > 0, "the connection stays");
        }
    }
    let status = |id: &str| {
        let call = ask(&world, &format!("/explain/{id}"));
        async move { call.send().await.status }
    };
    eventually!(status(&first).await == 404, "the oldest has gone");
    assert_eq!(status(&second).await, 200, "the next one has not");
    let all = ask(&world, "/explain?limit=4096").send().await.text();
    assert!(!all.contains("canary"));
    let list: Value = serde_json::from_str(&all).unwrap();
    let list = list["refusals"].as_array().unwrap();
    assert_eq!(list.len(), 4_096);
    let longest = list.iter().filter_map(|told| told["path"].as_str());
    assert!(longest.map(str::len).max().unwrap() <= 256);
    let grown = world.gateway.memory().saturating_sub(before);
    // All the paths, kept whole, would be 32 MiB.
    assert!(grown < 30 * 1024, "{grown} KiB more than before");
}

#[tokio::test]
async fn what_a_client_asked_for_does_not_reach_the_operators_terminal() {
    let world = World::start().await;
    let refused = world.gateway.get("/\u{9b}31m\u{202e}x").send().await;
    let told = kept(&world, &refused).await;
    assert_eq!(told["path"], "/\u{9b}31m\u{202e}x");
    for (path, accept) in [
        (format!("/explain/{}", id_of(&refused)), "text/plain"),
        (format!("/explain/{}", id_of(&refused)), "application/json"),
        ("/explain".to_owned(), "text/plain"),
        ("/explain".to_owned(), "application/json"),
    ] {
        let answer = ask(&world, &path).header("Accept", accept).send().await;
        let text = answer.text();
        let obeyed = |c: char| c == '\u{202e}' || (c.is_control() && c != '\n');
        assert!(!text.contains(obeyed), "{accept}: {text:?}");
    }
}

#[tokio::test]
async fn refusals_outlive_a_reload() {
    let world = World::start().await;
    let refused = world.flights().send().await;
    kept(&world, &refused).await;
    world
        .gateway
        .reconfigure(|c| c["auth_strategies"][0]["audience"] = json!(["https://other.test"]))
        .await;
    assert_eq!(kept(&world, &refused).await["reason"], "no_credential");
}
