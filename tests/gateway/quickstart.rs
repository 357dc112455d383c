//! `examples/quickstart.sh`, as a newcomer runs it, on free ports.

use std::process::Command;

#[test]
fn every_credential_of_the_quickstart_works() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/quickstart.sh"
    ));
    command
        .arg("--once")
        .env("QUICKSTART_DIR", directory.path());
    for port in [
        "GATEWAY_PORT",
        "ADMIN_PORT",
        "PORTAL_PORT",
        "UPSTREAM_PORT",
        "IDP_PORT",
    ] {
        command.env(port, "0");
    }
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");

    let count = |wanted: &str| text.lines().filter(|line| line.contains(wanted)).count();
    for (wanted, times) in [
        ("for trying out only", 1),
        ("client secret  ", 1),
        ("page               http://127.0.0.1:", 1),
        ("sign in as         dana@example.com", 1),
        ("HTTP/1.1 200 OK", 5),
        ("HTTP/1.1 401 Unauthorized", 2),
        ("\"x-application-name\": \"Trip Planner\"", 5),
        ("\"x-auth-method\": \"client_credentials\"", 3),
        ("\"x-auth-method\": \"bearer\"", 1),
        ("\"x-auth-method\": \"session\"", 1),
        ("Set-Cookie: dcr_session=", 4),
        ("uthenticate: Bearer realm=\"flights\"", 1),
        ("uthenticate: Basic realm=\"flights\"", 2),
        ("\"code\":\"credentials_required\"", 1),
        ("\"code\":\"invalid_client\"", 1),
    ] {
        assert_eq!(count(wanted), times, "{wanted}:\n{text}");
    }
    assert_eq!(
        text.lines().last(),
        Some("== every answer was as expected"),
        "{text}"
    );

    // The commands that it prints hold the pair that it printed.
    let told = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let id = told("client id          ").unwrap();
    let secret = told("client secret      ").unwrap();
    assert!(text.contains(&format!("-u {id}:{secret} ")), "{text}");

    // What is printed for the person at the terminal goes into no log.
    let log = std::fs::read_to_string(directory.path().join("gateway.log")).unwrap();
    let password = told("password           ").unwrap();
    let is_silent = !log.contains(secret) && !log.contains(password);
    assert!(log.contains(id) && is_silent, "{log}");
}

#[test]
fn a_taken_port_is_named_before_anything_is_built() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = Command::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/quickstart.sh"
    ))
    .env("GATEWAY_PORT", &port)
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    let told = format!("quickstart.sh: port {port} is taken: choose another one with GATEWAY_PORT");
    assert!(errors.starts_with(&told), "{errors}");
    assert!(output.stdout.is_empty());
}
