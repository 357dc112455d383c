//! `dcr-gateway check`, as whoever types it sees it.

use std::{fs, path::Path, process::Command};

const GATEWAY: &str = "\
listeners: [{ address: 127.0.0.1:0 }]
admin: { address: 127.0.0.1:0 }
apis:
  - name: open
    access: public
    routes: [{ paths: [/open] }]
    upstream: { targets: [{ address: 127.0.0.1:9 }] }
registry: { file: applications.yaml }
";

/// The exit code and the output, in which the directory's own name is left out.
fn check(directory: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_dcr-gateway"))
        .args(["check", "--config", "gateway.yaml"])
        .current_dir(directory)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8(output.stdout).unwrap();
    (
        output.status.code(),
        text.replace(&format!("{}/", directory.display()), ""),
    )
}

fn directory(gateway: &str, applications: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("gateway.yaml"), gateway).unwrap();
    fs::write(directory.path().join("applications.yaml"), applications).unwrap();
    directory
}

#[test]
fn good_files_end_with_a_summary() {
    let directory = directory(
        GATEWAY,
        "applications: [{ name: a, developer: b, auth_strategy: gone, client_id: c }]",
    );
    let (code, output) = check(directory.path());
    assert_eq!(code, Some(0));
    assert_eq!(
        output,
        "gateway.yaml:2:8: warning: admin: no token: everything on the admin address but its \
         status is refused\n\
         applications.yaml:1:56: warning: auth_strategy: \"gone\": no such strategy, so client \
         \"c\" is let through nowhere\n\
         ok: 1 API, 0 strategies, 0 applications, 2 warnings\n"
    );
}

#[test]
fn every_fault_of_value_is_printed_at_once() {
    let gateway = GATEWAY.replace("/open", "open").replace("127.0.0.1:9", "x");
    let directory = directory(&gateway, "applications: []");
    let (code, output) = check(directory.path());
    assert_eq!(code, Some(1));
    assert_eq!(
        output,
        "gateway.yaml:6:24: apis[0].routes[0].paths[0]: \"open\": expected a path that starts \
         with \"/\", or \"=/\" for an exact one\n\
         gateway.yaml:7:38: apis[0].upstream.targets[0].address: \"x\": expected an address with \
         port, as in 10.0.0.5:9000\n\
         failed: 2 faults; applications not read\n"
    );
}

#[test]
fn faulty_applications_fail() {
    let directory = directory(GATEWAY, "applications: 7");
    let (code, output) = check(directory.path());
    assert_eq!(code, Some(1));
    let last = output.lines().last().unwrap();
    assert_eq!(
        last,
        "failed: 1 fault: 1 API, 0 strategies, no applications, 1 warning"
    );
    assert!(output.contains("\napplications.yaml:1:15: "), "{output}");
}

#[test]
fn wrong_usage_is_another_exit_code() {
    let output = Command::new(env!("CARGO_BIN_EXE_dcr-gateway"))
        .arg("check")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn the_file_of_a_guard_is_checked_as_one() {
    let gateway = "\
listeners: [{ address: 127.0.0.1:0 }]
apis:
  - name: open
    access: public
    routes: [{ paths: [/open] }]
registry: { file: applications.yaml }
";
    let directory = directory(gateway, "applications: []");
    let check = |more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_dcr-gateway"))
            .args(["check", "--config", "gateway.yaml"])
            .args(more)
            .current_dir(directory.path())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let text = text.replace(&format!("{}/", directory.path().display()), "");
        (output.status.code(), text)
    };
    let (code, output) = check(&["--guard"]);
    assert_eq!(code, Some(0), "{output}");
    assert_eq!(
        output,
        "gateway.yaml:1:12: warning: listeners: has no effect: the program around the guard decides \
         this itself\n\
         ok: 1 API, 0 strategies, 0 applications, 1 warning\n"
    );
    let (code, output) = check(&[]);
    assert_eq!(code, Some(1));
    assert!(
        output.contains("gateway.yaml:3:5: apis[0]: `upstream` is missing"),
        "{output}"
    );
}
