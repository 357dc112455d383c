//! WebFinger leads from an account to its issuer, whose metadata leads to the registration.

use std::process::Output;

use serde_json::json;
use tokio::process::Command;

use super::server::Server;
use crate::harness::http1::Answer;

const REL: &str = "http://openid.net/specs/connect/1.0/issuer";

async fn register(resource: &str, further: &[&str]) -> (i32, String) {
    let directory = tempfile::tempdir().unwrap();
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_dcr-gateway"))
        .args(["register", "--resource", resource])
        .args(further)
        .current_dir(directory.path())
        .output()
        .await
        .unwrap();
    let told = [stdout, stderr].concat();
    (status.code().unwrap(), String::from_utf8(told).unwrap())
}

/// The host and port of a server.
fn host(server: &Server) -> &str {
    server.issuer.strip_prefix("http://").unwrap()
}

fn jrd(href: &str) -> Answer {
    // As WSO2 writes it, with a link before it that does not count.
    let href = href.replace('/', "\\/").replace('=', "\\u003d");
    let body = format!(
        r#"{{"subject":"x","links":[{{"rel":"{REL}s","href":"https://a.test"}},{{"rel":"{REL}","href":"{href}"}}]}}"#
    );
    Answer::new(200, body).header("Content-Type", "application/jrd+json")
}

#[tokio::test]
async fn an_account_leads_to_its_issuer_and_there_to_a_client() {
    let server = Server::start().await;
    // The tenant is what stands before the last @.
    for resource in [
        format!("acct:admin@{}", host(&server)),
        format!("acct:bob@tenant.com@{}", host(&server)),
        format!("{}/t/tenant.com", server.issuer),
    ] {
        let found = jrd(&server.issuer);
        server.turn(|k| k.resources.insert(resource.clone(), found));
        let (code, told) = register(&resource, &[]).await;
        assert_eq!(code, 0, "{resource}: {told}");
        assert!(told.contains("client_secret: "), "{told}");
    }
    assert_eq!(server.clients(), 3);
    let asked = server.requests("GET", "/.well-known/webfinger");
    let port = host(&server).rsplit_once(':').unwrap().1;
    assert_eq!(
        asked[1].target,
        format!(
            "/.well-known/webfinger?resource=acct%3Abob%40tenant.com%40127.0.0.1%3A{port}\
             &rel=http%3A%2F%2Fopenid.net%2Fspecs%2Fconnect%2F1.0%2Fissuer"
        )
    );
    assert_eq!(asked[0].header("authorization"), None);
}

#[tokio::test]
async fn what_leads_to_no_issuer_registers_nothing() {
    let server = Server::start().await;
    let other = Server::start().await;
    let resource = format!("acct:admin@{}", host(&server));
    let to_other = Answer::new(302, "").header("Location", &format!("{}/x", other.issuer));
    for (answer, expected) in [
        (None, "status 404"),
        (Some(to_other), "status 302"),
        (Some(Answer::new(500, "")), "status 500"),
        (
            Some(Answer::new(200, "<html>")),
            "no JSON Resource Descriptor",
        ),
        (
            Some(Answer::json(200, &json!({"links": []}))),
            "no link to an issuer",
        ),
        (Some(jrd("http://idp.example.com")), "no https URL"),
        (Some(jrd("https://idp.example.com/?x=1")), "no https URL"),
        (Some(jrd("file:///etc/passwd")), "no https URL"),
        // Its metadata names another issuer than the link.
        (
            Some(jrd(&format!("{}/", server.issuer))),
            "metadata is of another issuer",
        ),
    ] {
        server.turn(|k| {
            k.resources.clear();
            k.resources
                .extend(answer.map(|answer| (resource.clone(), answer)));
        });
        let (code, told) = register(&resource, &[]).await;
        assert_eq!(code, 1, "{expected}: {told}");
        assert!(told.contains(expected), "{expected}: {told}");
    }
    assert_eq!((server.clients(), other.requests("GET", "/").len()), (0, 0));
}

#[tokio::test]
async fn what_is_no_resource_is_asked_about_nowhere() {
    for resource in [
        "acct:admin",
        "admin@idp.test",
        "mailto:a@b.test",
        "http://idp.example.com/u",
        "",
    ] {
        let (code, told) = register(resource, &[]).await;
        assert_eq!(code, 1, "{resource}: {told}");
        assert!(told.contains("Name the issuer itself"), "{told}");
    }
}
