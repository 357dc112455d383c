//! Pages as a program meets them: who is let in, what a form has to show, what browsers are told.

use serde_json::json;

use super::{PASSWORD, Site, Visitor};
use crate::harness::{
    client::{Call, Connection, Response},
    eventually,
    http1::Answer,
    idp::Endpoint,
    portal::text,
    real_idp::{Product, RealIdp},
};

const EMAIL: &str = "dana@example.com";

impl Visitor {
    /// Sends a form; `csrf` stands in it where there is one.
    pub(super) async fn post(&self, path: &str, csrf: &str, fields: &[(&str, &str)]) -> Response {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        if !csrf.is_empty() {
            body.append_pair("csrf", csrf);
        }
        body.extend_pairs(fields);
        let form = "application/x-www-form-urlencoded";
        let call = self.call("POST", path).header("Content-Type", form);
        call.body(body.finish()).send().await
    }

    /// What the forms of a page show.
    pub(super) async fn csrf(&self, path: &str) -> String {
        let page = self.get(path).await;
        page.assert_status(200);
        csrf(&page)
    }
}

fn csrf(page: &Response) -> String {
    let text = page.text();
    let (_, rest) = text
        .split_once("name=\"csrf\" value=\"")
        .expect("the page has a form");
    rest.split('"').next().unwrap().to_owned()
}

/// Every page of a developer, with the method that it wants a session for.
const PAGES: &[(&str, &str)] = &[
    ("POST", "/sign-out"),
    ("GET", "/account"),
    ("POST", "/account"),
    ("GET", "/apps"),
    ("POST", "/apps"),
    ("GET", "/apps/new"),
    ("GET", "/apps/ID"),
    ("GET", "/apps/ID/edit"),
    ("POST", "/apps/ID/edit"),
    ("GET", "/apps/ID/delete"),
    ("POST", "/apps/ID/delete"),
    ("GET", "/apps/ID/rotate"),
    ("POST", "/apps/ID/rotate"),
    ("GET", "/apps/ID/secrets"),
    ("POST", "/apps/ID/secrets"),
    ("GET", "/apps/ID/secrets/ID/delete"),
    ("POST", "/apps/ID/secrets/ID/delete"),
    ("POST", "/apps/ID/apis"),
    ("GET", "/apps/ID/apis/ID/delete"),
    ("POST", "/apps/ID/apis/ID/delete"),
];

pub(super) async fn made(site: &Site, visitor: &Visitor) -> String {
    made_with(visitor, site.strategy().await).await
}

async fn made_with(visitor: &Visitor, strategy: String) -> String {
    let new = json!({"name": "Trip Planner", "auth_strategy_id": strategy});
    let made = visitor.ask("POST", "/api/v2/applications", new).await;
    made.assert_status(201);
    made.json()["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn nobody_is_led_to_the_sign_in_and_another_developer_finds_nothing() {
    let site = Site::start().await;
    let dana = site.developer(EMAIL).await;
    let id = made(&site, &dana).await;
    let other = site.developer("erin@example.com").await;
    let csrf = other.csrf("/account").await;
    for (method, path) in PAGES {
        let place = path.replace("ID", &id);
        let nobody = match *method {
            "GET" => site.visitor().get(&place).await,
            _ => site.visitor().post(&place, "", &[]).await,
        };
        nobody.assert_status(303);
        let to = nobody.header("location").unwrap();
        assert!(to.starts_with("/sign-in"), "{method} {path}: {to}");
        if !path.contains("ID") {
            continue;
        }
        let found = match *method {
            "GET" => other.get(&place).await,
            _ => other.post(&place, &csrf, &[("api", "flights")]).await,
        };
        assert_eq!(found.status, 404, "{method} {path}");
        assert!(!found.text().contains("Trip Planner"), "{method} {path}");
    }
    let still = dana.get(&format!("/apps/{id}")).await;
    still.assert_status(200);
}

#[tokio::test]
async fn a_form_that_no_page_of_the_session_has_shown_changes_nothing() {
    let site = Site::start().await;
    let dana = site.developer(EMAIL).await;
    let id = made(&site, &dana).await;
    let other = site.developer("erin@example.com").await;
    let foreign = other.csrf("/account").await;
    for (_, path) in PAGES.iter().filter(|(method, _)| *method == "POST") {
        let path = path.replace("ID", &id);
        for csrf in ["", "x", &foreign] {
            let refused = dana.post(&path, csrf, &[("api", "flights")]).await;
            refused.assert_status(403);
            assert!(refused.text().contains("Open the page again"), "{path}");
        }
    }
    for path in ["/sign-in", "/register", "/invitation", "/operator/sign-in"] {
        let fields = [("username", EMAIL), ("password", PASSWORD)];
        let refused = site.visitor().post(path, &foreign, &fields).await;
        refused.assert_status(403);
        assert_eq!(refused.header("set-cookie"), None, "{path}");
    }
    assert!(dana.is_signed_in().await);
}

#[tokio::test]
async fn a_page_of_another_site_is_refused_whatever_it_sends() {
    let site = Site::start().await;
    let dana = site.developer(EMAIL).await;
    let csrf = dana.csrf("/account").await;
    let call = |fields: &[(&str, &str)]| {
        let form = "application/x-www-form-urlencoded";
        let mut call = dana.call("POST", "/sign-out").header("Content-Type", form);
        for (name, value) in fields {
            call = call.header(name, value);
        }
        call.body(format!("csrf={csrf}"))
    };
    for fields in [
        &[("Sec-Fetch-Site", "cross-site")][..],
        &[("Sec-Fetch-Site", "same-site")],
        &[("Origin", "https://evil.test")],
        &[("Origin", "null")],
    ] {
        call(fields).send().await.assert_status(403);
    }
    assert!(dana.is_signed_in().await);
    let own: Call = call(&[("Sec-Fetch-Site", "same-origin")]);
    own.send().await.assert_status(303);
    assert!(!dana.is_signed_in().await);
}

#[tokio::test]
async fn browsers_load_nothing_from_elsewhere_and_keep_no_page() {
    let site = Site::start().await;
    let dana = site.developer(EMAIL).await;
    for path in [
        "/sign-in",
        "/apps",
        "/apps/new",
        "/nothing",
        "/operator/sign-in",
    ] {
        let page = dana.get(path).await;
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; "), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        for (name, value) in [
            ("content-type", "text/html; charset=utf-8"),
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
        ] {
            assert_eq!(page.header(name), Some(value), "{path}");
        }
        let text = page.text();
        assert!(
            !text.contains("https://") && !text.contains("http://"),
            "{text}"
        );
        assert!(
            !text.contains("<style") && !text.contains("style="),
            "{text}"
        );
        for place in text.split("/assets/").skip(1) {
            let place = format!("/assets/{}", place.split('"').next().unwrap());
            let asset = site.visitor().get(&place).await;
            asset.assert_status(200);
            let kept = asset.header("cache-control").unwrap();
            assert_eq!(kept, "public, max-age=31536000, immutable");
        }
    }
    let old = site.visitor().get("/assets/000000000000/style.css").await;
    old.assert_status(200);
    assert_eq!(old.header("cache-control"), Some("no-store"));
    let none = site.visitor().get("/assets/000000000000/other").await;
    none.assert_status(404);
}

#[tokio::test]
async fn what_somebody_wrote_stands_on_a_page_as_text() {
    let site = Site::start().await;
    let dana = site.developer(EMAIL).await;
    let id = made(&site, &dana).await;
    let name = "<script>alert(1)</script>\"'&";
    let csrf = dana.csrf("/account").await;
    let path = format!("/apps/{id}/edit");
    let fields = [("name", name), ("description", "</textarea><b>")];
    dana.post(&path, &csrf, &fields).await.assert_status(303);
    for path in [
        "/apps".to_owned(),
        format!("/apps/{id}"),
        path,
        format!("/apps/{id}/delete"),
    ] {
        let page = dana.get(&path).await;
        page.assert_status(200);
        let text = page.text();
        assert!(
            !text.contains("<script>") && !text.contains("<b>"),
            "{text}"
        );
        assert!(text.contains("&#60;script&#62;"), "{text}");
    }
}

#[tokio::test]
async fn a_form_that_comes_twice_makes_one_application_and_shows_one_secret() {
    let site = Site::start().await;
    let dana = site.developer(EMAIL).await;
    let strategy = site.strategy().await;
    let csrf = dana.csrf("/account").await;
    let fields = [
        ("once", "7f0e"),
        ("auth_strategy_id", &strategy),
        ("name", "Trip Planner"),
    ];
    let first = dana.post("/apps", &csrf, &fields).await;
    first.assert_status(200);
    assert!(
        first.text().contains("id=\"client-secret\""),
        "{}",
        first.text()
    );
    let again = dana.post("/apps", &csrf, &fields).await;
    again.assert_status(200);
    assert!(
        again.text().contains("It was made before"),
        "{}",
        again.text()
    );
    assert!(!again.text().contains("client-secret"));
    let all = dana.get("/api/v2/applications").await.json();
    assert_eq!(all["meta"]["page"]["total"], 1, "{all}");
}

#[tokio::test]
async fn what_was_changed_meanwhile_is_not_overwritten() {
    let site = Site::start().await;
    let dana = site.developer(EMAIL).await;
    let id = made(&site, &dana).await;
    let path = format!("/apps/{id}/edit");
    let page = dana.get(&path).await.text();
    let revision = page.split("name=\"revision\" value=\"").nth(1).unwrap();
    let revision = revision.split('"').next().unwrap().to_owned();
    let csrf = dana.csrf("/account").await;
    let save = async |name: &str| {
        let fields = [("revision", &*revision), ("name", name)];
        dana.post(&path, &csrf, &fields).await
    };
    save("First").await.assert_status(303);
    let late = save("Second").await;
    late.assert_status(412);
    assert!(late.text().contains("value=\"Second\""), "{}", late.text());
    let now = dana.get(&format!("/api/v2/applications/{id}")).await.json();
    assert_eq!(now["name"], "First", "{now}");
}

#[tokio::test]
async fn a_page_shows_that_work_goes_on_and_then_what_came_of_it() {
    let site = Site::start().await;
    let dana = site.developer(EMAIL).await;
    let strategy = site.strategy().await;
    let csrf = dana.csrf("/account").await;
    let mut connection = Connection::open(site.desk).await;
    site.world.idp.hold();
    let form = format!("csrf={csrf}&auth_strategy_id={strategy}&name=Trip+Planner");
    let call = dana
        .call("POST", "/apps")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(form);
    connection.send(call.bytes()).await;
    let mut seen = String::new();
    let mut until = async |text: &str| {
        while !seen.contains(text) {
            let mut some = [0; 4096];
            let read = connection.read_some(&mut some).await.expect("it goes on");
            seen.push_str(&String::from_utf8_lossy(&some[..read]));
        }
        seen.clone()
    };
    let first = until("The app is being registered at the identity provider.").await;
    assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
    until("·").await;
    site.world.idp.release();
    let whole = until("</html>").await;
    assert!(whole.contains("id=\"client-secret\""), "{whole}");
    let ends = whole.matches("<main").count() + whole.matches("</main>").count();
    assert_eq!(ends, 2, "{whole}");
}

#[tokio::test]
async fn a_stop_waits_for_a_secret_that_is_being_made() {
    let mut site = Site::start().await;
    let dana = site.developer(EMAIL).await;
    let strategy = site.strategy().await;
    let csrf = dana.csrf("/account").await;
    let mut connection = Connection::open(site.desk).await;
    site.world.idp.hold();
    let form = format!("csrf={csrf}&auth_strategy_id={strategy}&name=Trip+Planner");
    let call = dana
        .call("POST", "/apps")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(form);
    connection.send(call.bytes()).await;
    let mut some = [0; 4096];
    connection.read_some(&mut some).await.expect("it goes on");
    let gateway = &site.world.gateway;
    gateway.signal("TERM").await;
    let stopped = || gateway.logged(&["\"stopped\""]);
    eventually!(stopped(), "the proxy has stopped");
    site.world.idp.release();
    let rest = String::from_utf8(connection.rest().await).unwrap();
    assert!(rest.contains("id=\"client-secret\""), "{rest}");
    assert!(site.world.gateway.ended().await.success());
}

#[tokio::test]
async fn what_an_identity_provider_refuses_is_told_and_nothing_is_lost() {
    let site = Site::start().await;
    let dana = site.developer(EMAIL).await;
    let strategy = site.strategy().await;
    let csrf = dana.csrf("/account").await;
    let answer = Answer::json(400, &json!({"error": "invalid_client_metadata"}));
    site.world.idp.fault(Endpoint::Registration, answer);
    let fields = [
        ("auth_strategy_id", &*strategy),
        ("name", "Trip Planner"),
        ("description", "Plans trips"),
    ];
    let refused = dana.post("/apps", &csrf, &fields).await;
    refused.assert_status(502);
    let text = refused.text();
    for part in [
        "The identity provider refuses the request",
        "Tell the operator",
        "value=\"Trip Planner\"",
        "Plans trips</textarea>",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    site.world.idp.heal(Endpoint::Registration);
    let made = dana.post("/apps", &csrf, &fields).await;
    made.assert_status(200);
}

#[tokio::test]
async fn a_sign_in_that_is_refused_elsewhere_is_told_on_the_page() {
    let site = Site::start().await;
    for (code, words) in [
        ("account_pending", "waits for the operator"),
        ("email_not_verified", "missing or not verified"),
        ("%3Cb%3E", "Try it once more"),
    ] {
        let page = site
            .visitor()
            .get(&format!("/sign-in?refused={code}"))
            .await;
        page.assert_status(200);
        assert!(page.text().contains(words), "{}", page.text());
        assert!(!page.text().contains("<b>"));
    }
}

#[tokio::test]
async fn a_deletion_goes_on_where_the_identity_provider_does_not_answer() {
    let site = Site::start().await;
    let dana = site.developer(EMAIL).await;
    let idp = RealIdp::start(Product::OidcProvider).await;
    let token = text(&idp.pull("/initial-access-token").await, "token");
    let strategy = site.strategy_at(&idp.issuer, &token).await;
    let id = made_with(&dana, strategy).await;
    let csrf = dana.csrf("/account").await;
    drop(idp);
    let page = dana.post(&format!("/apps/{id}/delete"), &csrf, &[]).await;
    let said = page.text();
    let led = page.header("location").unwrap_or(&said);
    assert!(led.contains("/apps?done=deleting"), "{page:?}");
    let list = dana.get("/apps?done=deleting").await.text();
    assert!(
        list.contains("as soon as the identity provider answers"),
        "{list}"
    );
    assert!(list.contains("Being deleted"), "{list}");
    let app = dana.get(&format!("/apps/{id}")).await.text();
    assert!(
        !app.contains("New secret") && !app.contains("Delete this app"),
        "{app}"
    );
}
