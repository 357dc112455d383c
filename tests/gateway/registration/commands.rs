//! `dcr-gateway register` and `dcr-gateway client`, as an operator uses them: no gateway runs, and
//! there is no configuration.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, process::Command};

use super::server::{Renews, Server};
use crate::harness::{
    http1::Answer,
    real_idp::{Product, RealIdp},
};

const TOKEN: &str = "initial-6f1ed002ab559585";

/// A directory in which commands run.
struct Desk {
    directory: TempDir,
}

/// What a command said.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Desk {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    async fn run(&self, arguments: &[&str]) -> Said {
        self.run_with(arguments, "").await
    }

    async fn run_with(&self, arguments: &[&str], input: &str) -> Said {
        let mut child = Command::new(env!("CARGO_BIN_EXE_dcr-gateway"))
            .args(arguments)
            .current_dir(self.directory.path())
            .env("DCR_INITIAL_TOKEN", TOKEN)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        // Who does not want it may be gone already.
        let mut stdin = child.stdin.take().unwrap();
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said {
            code: output.status.code().unwrap(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Files here, by name.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.directory.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

impl Said {
    /// Went well, and nothing went to standard error.
    #[track_caller]
    fn done(self) -> Self {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{}", self.out);
        self
    }

    /// The value on the line of a name.
    #[track_caller]
    fn value(&self, name: &str) -> String {
        let prefix = format!("{name}: ");
        let mut lines = self
            .out
            .lines()
            .filter_map(|line| line.strip_prefix(&prefix));
        let value = lines.next();
        value
            .unwrap_or_else(|| panic!("no {name}: {}", self.out))
            .to_owned()
    }

    /// Ended with this code, having said all of this to standard error, and not the token.
    #[track_caller]
    fn failed(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, code, "{}{}", self.out, self.err);
        for text in texts {
            assert!(self.err.contains(text), "no {text:?} in {}", self.err);
        }
        for said in [&self.out, &self.err] {
            assert!(!said.contains(TOKEN), "{said}");
        }
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_client_is_registered_read_changed_and_deleted_by_hand() {
    let server = Server::start().await;
    server.turn(|k| (k.initial, k.tokens) = (Some(TOKEN.to_owned()), Renews::Always));
    let desk = Desk::new();
    desk.write("token", &format!("{TOKEN}\n"));
    desk.write("metadata.json", r#"{"software_statement": "e30.e30.x"}"#);
    let said = desk
        .run(&[
            "register",
            "--issuer",
            &server.issuer,
            "--initial-access-token",
            "@token",
            "--name",
            "Zoë's tool",
            "--scope",
            "read write",
            "--client-metadata",
            "metadata.json",
        ])
        .await
        .done();
    let (id, secret) = (said.value("client_id"), said.value("client_secret"));
    server.client(&id, |client| {
        assert_eq!(client.secret, secret);
        assert_eq!(client.metadata["client_name"], "Zoë's tool");
        assert_eq!(client.metadata["scope"], "read write");
        assert_eq!(client.metadata["software_statement"], "e30.e30.x");
    });
    let state = format!("{id}.registration.json");
    assert_eq!(said.value("state"), state);
    assert_eq!(mode(&desk.path(&state)), 0o600);
    let kept = fs::read_to_string(desk.path(&state)).unwrap();
    assert!(!kept.contains(&secret) && !kept.contains(TOKEN), "{kept}");

    // Each call gets another token, which the next one needs.
    for _ in 0..2 {
        let said = desk
            .run(&["client", "read", "--state", &state])
            .await
            .done();
        assert_eq!(said.value("client_name"), "Zoë's tool");
        assert!(!said.out.contains(&secret), "shown once: {}", said.out);
    }
    let said = desk
        .run(&[
            "client", "update", "--state", &state, "--name", "Renamed", "--json",
        ])
        .await
        .done();
    let told: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        (&told["client_name"], &told["scope"]),
        (&json!("Renamed"), &json!("read write"))
    );
    assert_eq!(mode(&desk.path(&state)), 0o600);
    let said = desk
        .run(&["client", "delete", "--state", &state])
        .await
        .done();
    assert_eq!(said.out, format!("deleted: {id}\n"));
    assert_eq!(
        (server.clients(), desk.files()),
        (0, vec!["metadata.json".to_owned(), "token".to_owned()])
    );
}

#[tokio::test]
async fn each_way_to_show_a_secret_works_and_none_stands_on_the_line() {
    let server = Server::start().await;
    server.turn(|k| k.initial = Some(TOKEN.to_owned()));
    let desk = Desk::new();
    let issuer = server.issuer.as_str();
    desk.write("admin", "admin:s+cr/t %20~\n");
    let token = |value| {
        [
            "register",
            "--issuer",
            issuer,
            "--initial-access-token",
            value,
        ]
    };
    desk.run_with(&token("-"), &format!("{TOKEN}\n"))
        .await
        .done();
    desk.run(&token("env:DCR_INITIAL_TOKEN")).await.done();
    let client = [
        "register",
        "--issuer",
        issuer,
        "--initial-client",
        "dcr-admin",
        "--initial-client-scope",
        "dcr",
    ];
    let with_file = [&client[..], &["--initial-client-secret", "@admin"]].concat();
    desk.run(&with_file).await.done();
    desk.run_with(&client, "admin:s+cr/t %20~").await.done();
    assert_eq!(server.clients(), 4);

    for (arguments, input, expected) in [
        (&token(TOKEN)[..], "", "expected - for standard input"),
        (&token("-"), "", "what was read is empty"),
        (&token("-"), "a\nb", "control character"),
        (&token("@missing"), "", "missing: cannot be read"),
        (&token("env:DCR_NO_SUCH_NAME"), "", "is not set"),
        (
            &["register", "--issuer", issuer, TOKEN],
            "",
            "an argument too many",
        ),
        (
            &["register", "--issuer", "http://idp.example.com"],
            "",
            "--issuer: expected",
        ),
        (&["register"], "", "--resource"),
        (
            &["register", "--issuer", issuer, "--resource", "acct:a@b"],
            "",
            "cannot be used with",
        ),
        (
            &[
                "register",
                "--issuer",
                issuer,
                "--client-metadata",
                "missing",
            ],
            "",
            "missing",
        ),
        (
            &["register", "--issuer", issuer, "--ca-file", "missing"],
            "",
            "missing",
        ),
        (&["client", "read", "--state", "missing"], "", "missing"),
        (
            &["client", "read", "--state", "admin"],
            "",
            "expected the file that",
        ),
    ] {
        desk.run_with(arguments, input).await.failed(2, &[expected]);
    }
    assert_eq!(server.clients(), 4);
}

#[tokio::test]
async fn a_refusal_says_what_was_asked_what_came_back_and_what_to_do() {
    let server = Server::start().await;
    server.turn(|k| k.initial = Some("another".to_owned()));
    let desk = Desk::new();
    let issuer = server.issuer.as_str();
    let open = ["register", "--issuer", issuer];
    let said = desk.run(&open).await;
    said.failed(
        1,
        &[
            "registering without a credential at",
            issuer,
            "status 401, invalid_token",
            "--initial-access-token",
        ],
    );
    let said = desk
        .run(
            &[
                &open[..],
                &["--initial-access-token", "env:DCR_INITIAL_TOKEN"],
            ]
            .concat(),
        )
        .await;
    said.failed(1, &["with the initial access token", "status 401", "spent"]);
    let told = json!({"error": "invalid_client_metadata", "error_description": "no such scope"});
    server.turn(|k| k.initial = None);
    server.slip("POST", Answer::json(400, &told));
    desk.run(&open).await.failed(
        1,
        &[
            "invalid_client_metadata: no such scope",
            "--client-metadata",
        ],
    );
    server.returns(json!({"token_endpoint_auth_method": "none"}));
    desk.run(&open).await.failed(1, &["it is public"]);
    assert_eq!((server.clients(), desk.files()), (0, vec![]));
    let nobody = format!("{issuer}/nobody");
    desk.run(&["register", "--issuer", &nobody])
        .await
        .failed(1, &["Check the issuer"]);
}

#[tokio::test]
async fn a_server_that_says_later_is_waited_for_and_that_is_told() {
    let server = Server::start().await;
    server.slip("POST", Answer::new(429, "").header("Retry-After", "1"));
    let desk = Desk::new();
    let said = desk.run(&["register", "--issuer", &server.issuer]).await;
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(
        said.err.contains("waiting for the identity provider"),
        "{}",
        said.err
    );
    assert!(
        said.err.contains("step=\"registration\" seconds=1"),
        "{}",
        said.err
    );
    let later = Answer::new(429, "").header("Retry-After", "200");
    server.slip("POST", later);
    let said = desk
        .run(&["register", "--issuer", &server.issuer, "--deadline", "5"])
        .await;
    said.failed(1, &["status 429", "--deadline"]);
    assert_eq!(server.clients(), 1);
}

#[tokio::test]
async fn nothing_is_registered_that_could_not_be_kept() {
    let server = Server::start().await;
    let desk = Desk::new();
    desk.write("taken", "of another client");
    for (argument, file) in [
        ("--state", "taken"),
        ("--output", "taken"),
        ("--state", "no/such/x"),
    ] {
        let said = desk
            .run(&["register", "--issuer", &server.issuer, argument, file])
            .await;
        said.failed(2, &[file]);
    }
    assert_eq!(server.requests("POST", "/reg").len(), 0);
    assert_eq!(
        fs::read_to_string(desk.path("taken")).unwrap(),
        "of another client"
    );
}

#[tokio::test]
async fn id_and_secret_can_go_to_a_file_in_place_of_the_terminal() {
    let server = Server::start().await;
    let desk = Desk::new();
    let said = desk
        .run(&[
            "register",
            "--issuer",
            &server.issuer,
            "--output",
            "pair",
            "--state",
            "state",
            "--json",
        ])
        .await
        .done();
    assert_eq!(mode(&desk.path("pair")), 0o600);
    let pair: Value =
        serde_json::from_str(&fs::read_to_string(desk.path("pair")).unwrap()).unwrap();
    let secret = pair["client_secret"].as_str().unwrap();
    server.client(pair["client_id"].as_str().unwrap(), |client| {
        assert_eq!(client.secret, secret)
    });
    assert!(!said.out.contains(secret), "{}", said.out);
}

#[tokio::test]
async fn a_secret_that_a_server_gives_unasked_is_told_at_once() {
    let server = Server::start().await;
    server.turn(|k| (k.tokens, k.secrets) = (Renews::Always, Renews::Always));
    let desk = Desk::new();
    desk.run(&["register", "--issuer", &server.issuer, "--state", "s"])
        .await
        .done();
    let said = desk.run(&["client", "read", "--state", "s"]).await;
    assert!(said.err.contains("another secret"), "{}", said.err);
    let (id, secret) = (said.value("client_id"), said.value("client_secret"));
    server.client(&id, |client| assert_eq!(client.secret, secret));
}

#[tokio::test]
async fn a_secret_that_ends_in_no_year_that_can_be_written_is_shown_all_the_same() {
    let server = Server::start().await;
    server.returns(json!({"client_secret_expires_at": 1e300}));
    let desk = Desk::new();
    let arguments = ["register", "--issuer", &server.issuer, "--state", "s"];
    let said = desk.run(&arguments).await.done();
    let (id, secret) = (said.value("client_id"), said.value("client_secret"));
    server.client(&id, |client| assert_eq!(client.secret, secret));
    let end = said.value("client_secret_expires_at");
    assert_eq!(end, "9999-12-31T23:59:59Z");
}

#[tokio::test]
async fn a_client_that_came_without_a_token_is_no_longer_the_commands_business() {
    let server = Server::start().await;
    server.returns(json!({"registration_access_token": null}));
    let desk = Desk::new();
    desk.run(&["register", "--issuer", &server.issuer, "--state", "s"])
        .await
        .done();
    let said = desk.run(&["client", "delete", "--state", "s"]).await;
    said.failed(
        1,
        &[
            "deleting a client is not possible",
            "Do it at the server itself",
        ],
    );
    assert_eq!((server.clients(), desk.files()), (1, vec!["s".to_owned()]));
}

#[tokio::test]
async fn real_servers_are_spoken_to_from_the_terminal() {
    for product in [Product::OidcProvider, Product::DjangoOauthToolkit] {
        let idp = RealIdp::start(product).await;
        let initial = idp.pull("/initial-access-token").await;
        let desk = Desk::new();
        let arguments = [
            "register",
            "--issuer",
            &idp.issuer,
            "--initial-access-token",
            "-",
            "--state",
            "s",
            "--name",
            "Tool",
        ];
        let said = desk
            .run_with(&arguments, initial["token"].as_str().unwrap())
            .await
            .done();
        assert!(!said.value("client_secret").is_empty());
        let said = desk
            .run(&["client", "update", "--state", "s", "--name", "Other"])
            .await
            .done();
        assert_eq!(said.value("client_name"), "Other", "{product:?}");
        let said = desk.run(&["client", "read", "--state", "s"]).await.done();
        assert_eq!(said.value("client_name"), "Other", "{product:?}");
        desk.run(&["client", "delete", "--state", "s"]).await.done();
    }
}
