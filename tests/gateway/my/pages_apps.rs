//! The operator's pages about applications: registrations, developers, traffic, audit. Walked as a
//! browser without scripts does, and held against what the REST says.

use serde_json::{Value, json};

use super::{PASSWORD, Site, Visitor, cookie};
use crate::{
    harness::{
        client::{Call, Response},
        eventually,
        gateway::{ADMIN_TOKEN, Setup},
        http1::Answer,
        idp::Endpoint,
        portal::{Made, text},
    },
    vendors::{
        emulation::Emulation,
        generic::{Generic, INITIAL},
    },
};

/// How the harness names the portal.
const HERE: &str = "http://api.test";

/// A browser in which the operator has signed in.
struct Browser {
    visitor: Visitor,
}

/// A form of a page, as it would be sent.
#[derive(Clone, Debug)]
struct Filled {
    action: String,
    values: Vec<(String, String)>,
}

/// What an attribute says, of a tag's text.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let start = tag.find(&format!(" {name}=\""))? + name.len() + 3;
    let value = &tag[start..];
    Some(plain(&value[..value.find('"')?]))
}

/// Text without the marks that HTML needs.
fn plain(html: &str) -> String {
    let pairs = [
        ("&#60;", "<"),
        ("&#62;", ">"),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#38;", "&"),
    ];
    let text = html.to_owned();
    pairs
        .iter()
        .fold(text, |text, (mark, plain)| text.replace(mark, plain))
}

/// The form of a page that goes there, with what it holds by itself.
#[track_caller]
fn form(page: &Response, action: &str) -> Filled {
    let html = page.text();
    let forms = html.split("<form").skip(1);
    let found = forms
        .map(|form| form.split("</form>").next().unwrap())
        .find(|form| attribute(form, "action").as_deref() == Some(action));
    let found = found.unwrap_or_else(|| panic!("no form goes to {action}: {html}"));
    let inputs = found.split("<input").skip(1);
    let values = inputs.filter_map(|input| {
        let input = input.split('>').next().unwrap();
        let is_box = input.contains("type=\"checkbox\"");
        (!is_box || input.contains(" checked")).then(|| {
            let value = attribute(input, "value").unwrap_or_default();
            (attribute(input, "name").unwrap(), value)
        })
    });
    Filled {
        action: action.to_owned(),
        values: values.collect(),
    }
}

impl Filled {
    fn with(mut self, name: &str, value: &str) -> Self {
        self.values.retain(|(known, _)| known != name);
        self.values.push((name.to_owned(), value.to_owned()));
        self
    }

    fn body(&self) -> String {
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(&self.values).finish()
    }
}

impl Site {
    /// A browser in which the operator signs in.
    async fn browser(&self) -> Browser {
        let mut browser = Browser {
            visitor: self.visitor(),
        };
        let page = browser.get("/operator/sign-in").await;
        browser.visitor.cookie = Some(cookie(&page));
        let filled = form(&page, "/operator/sign-in").with("token", ADMIN_TOKEN);
        let entered = browser.send(&filled).await;
        assert_eq!(entered.header("location"), Some("/operator"), "{entered:?}");
        browser.visitor.cookie = Some(cookie(&entered));
        browser
    }

    /// An application of the strategy `dcr`.
    async fn made(&self) -> Made {
        let strategy = self.strategy().await;
        self.operator.application(&strategy).await
    }

    /// What the REST says of the state of an application's only registration; empty: there is none.
    async fn state(&self, app: &Made) -> String {
        let path = format!("/v2/applications/{}/registrations", app.id);
        let listed = self.operator.read(&path).await;
        let state = listed["data"][0]["status"].as_str();
        state.unwrap_or_default().to_owned()
    }

    async fn call(&self, app: &Made) -> Response {
        let call = self.world.gateway.get("/flights");
        call.basic(&app.client_id, &app.secret).send().await
    }
}

impl Browser {
    async fn get(&self, path: &str) -> Response {
        self.visitor.get(path).await
    }

    /// A page that is there.
    async fn page(&self, path: &str) -> Response {
        let page = self.get(path).await;
        assert_eq!(page.status, 200, "{path}: {page:?}");
        page
    }

    fn post(&self, path: &str) -> Call {
        let call = self.visitor.call("POST", path);
        call.header("Content-Type", "application/x-www-form-urlencoded")
    }

    async fn send(&self, form: &Filled) -> Response {
        self.post(&form.action).body(form.body()).send().await
    }

    /// Opens a page, and sends its form that goes there.
    #[track_caller]
    fn press(
        &self,
        path: &str,
        action: &str,
        more: &[(&str, &str)],
    ) -> impl Future<Output = Response> {
        let place = std::panic::Location::caller();
        async move {
            let filled = form(&self.page(path).await, action);
            let filled = more
                .iter()
                .fold(filled, |form, (name, value)| form.with(name, value));
            let sent = self.send(&filled).await;
            assert_eq!(sent.status, 303, "at {place}: {sent:?} {}", sent.text());
            self.page(sent.header("location").unwrap()).await
        }
    }
}

#[track_caller]
fn shows(page: &Response, texts: &[&str]) {
    let html = plain(&page.text());
    for text in texts {
        assert!(html.contains(text), "{text:?} is missing: {html}");
    }
}

/// What a page has to be copied.
#[track_caller]
fn code(page: &Response, id: &str) -> String {
    let html = page.text();
    let code = html.split(&format!("<code id=\"{id}\">")).nth(1);
    let code = code.unwrap_or_else(|| panic!("no {id}: {html}"));
    plain(code.split('<').next().unwrap())
}

/// Paths that are read, and paths to which forms go.
fn routes(app: &str, other: &str) -> (Vec<String>, Vec<String>) {
    let app = |rest: &str| format!("/operator/applications/{app}{rest}");
    let other = |kind: &str, rest: &str| format!("/operator/{kind}/{other}{rest}");
    let secret = app("/secrets/6f4f3b0e-6b0c-4f3e-9b43-0d7b8a3a9c55/delete");
    let both = ["/edit", "/suspend", "/rotate", "/secrets", "/delete"].map(app);
    let mut read = vec![
        "/operator".to_owned(),
        "/operator/registrations".to_owned(),
        other("registrations", "/revoke"),
        "/operator/applications".to_owned(),
        "/operator/applications/new".to_owned(),
        app(""),
        secret.clone(),
        "/operator/developers".to_owned(),
        "/operator/developers/new".to_owned(),
        other("developers", ""),
        other("developers", "/close"),
        other("developers", "/delete"),
        "/operator/audit".to_owned(),
    ];
    read.extend(both.clone());
    let mut sent = vec![
        other("registrations", ""),
        "/operator/applications".to_owned(),
        app("/activate"),
        app("/apis"),
        secret,
        "/operator/developers".to_owned(),
        other("developers", ""),
        other("developers", "/invitation"),
        other("developers", "/delete"),
    ];
    sent.extend(both);
    (read, sent)
}

#[tokio::test]
async fn nobody_but_the_operator_opens_any_of_them() {
    let site = Site::start().await;
    let app = site.made().await;
    let dana = site.developer("dana@example.com").await;
    let known = site.operator.read("/v2/developers").await;
    let other = text(&known["data"][0], "id");
    let (read, sent) = routes(&app.id, &other);
    for visitor in [site.visitor(), dana] {
        let browser = Browser { visitor };
        for path in &read {
            let refused = browser.get(path).await;
            assert_eq!(refused.status, 303, "{path}: {refused:?}");
            let to = refused.header("location").unwrap();
            assert!(
                to.starts_with("/operator/sign-in?to=%2Foperator"),
                "{path}: {to}"
            );
        }
        for path in &sent {
            let refused = browser.post(path).body("status=approved").send().await;
            assert_eq!(refused.status, 303, "{path}: {refused:?}");
            assert_eq!(
                refused.header("location"),
                Some("/operator/sign-in"),
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn a_form_that_no_page_has_shown_changes_nothing() {
    let site = Site::start().await;
    let app = site.made().await;
    let browser = site.browser().await;
    site.developer("erin@example.com").await;
    let known = site.operator.read("/v2/developers").await;
    let developers = known["data"].as_array().unwrap().iter();
    let mut open = developers.filter(|one| one["status"] == "approved");
    let (_, sent) = routes(&app.id, &text(open.next().unwrap(), "id"));
    let audit = "/v2/audit";
    let before = site.operator.read(audit).await["meta"]["page"]["total"].clone();
    for path in &sent {
        for csrf in [
            "",
            "csrf=&",
            "csrf=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA&",
        ] {
            let body = format!("{csrf}status=revoked&name=x&force=true");
            let refused = browser.post(path).body(body).send().await;
            assert_eq!(refused.status, 403, "{path} {csrf}: {refused:?}");
            shows(&refused, &["This page is no longer good"]);
        }
    }
    let after = site.operator.read(audit).await["meta"]["page"]["total"].clone();
    assert_eq!(before, after);
    assert_eq!(site.call(&app).await.code(), "registration_required");
}

#[tokio::test]
async fn registrations_are_decided() {
    let site = Site::start().await;
    let app = site.made().await;
    let browser = site.browser().await;
    let list = "/operator/registrations";
    shows(
        &browser.page(list).await,
        &["Nothing waits for you", "Nothing decided yet"],
    );
    let path = format!("/v2/applications/{}/registrations", app.id);
    let waiting = json!({"api_id": "flights", "status": "pending"});
    let id = site.operator.make(&path, waiting).await;
    shows(&browser.page("/operator").await, &["1 registration waits"]);
    shows(
        &browser.page(list).await,
        &["1 waits for you", "Trip Planner", "dana@example.com"],
    );

    let decide = format!("{list}/{id}");
    let page = browser
        .press(list, &decide, &[("status", "rejected")])
        .await;
    shows(&page, &["It is rejected"]);
    assert_eq!(site.state(&app).await, "rejected");
    let page = browser
        .press(list, &decide, &[("status", "approved")])
        .await;
    shows(&page, &["It is approved", "Approved"]);
    assert_eq!(site.state(&app).await, "approved");
    site.call(&app).await.assert_status(200);

    let revoke = format!("{decide}/revoke");
    let page = browser.press(&revoke, &decide, &[]).await;
    shows(&page, &["It is revoked"]);
    assert_eq!(site.state(&app).await, "revoked");
    assert_eq!(site.call(&app).await.code(), "registration_revoked");

    let found = format!("{list}?state=revoked&api=flights");
    shows(&browser.page(&found).await, &["Trip Planner"]);
    shows(
        &browser.page(&format!("{list}?state=pending")).await,
        &["None found"],
    );
    for bad in ["state=Pending", "api=a%00b"] {
        let refused = browser.get(&format!("{list}?{bad}")).await;
        assert_eq!(refused.status, 400, "{bad}: {refused:?}");
    }
}

#[tokio::test]
async fn a_decision_on_what_has_changed_meanwhile_is_not_taken() {
    let site = Site::start().await;
    let app = site.made().await;
    let browser = site.browser().await;
    let path = format!("/v2/applications/{}/registrations", app.id);
    let waiting = json!({"api_id": "flights", "status": "pending"});
    let id = site.operator.make(&path, waiting).await;
    let decide = format!("/operator/registrations/{id}");
    let read = form(&browser.page("/operator/registrations").await, &decide);
    let rejected = json!({"status": "rejected"});
    let path = format!("/v2/application-registrations/{id}");
    site.operator.done("PATCH", &path, rejected).await;
    let refused = browser.send(&read.with("status", "approved")).await;
    assert_eq!(refused.status, 412, "{refused:?}");
    shows(
        &refused,
        &[
            "It has changed since it was read",
            "Look at the application",
        ],
    );
    assert_eq!(site.state(&app).await, "rejected");
}

#[tokio::test]
async fn an_application_is_suspended_registered_rotated_edited_and_deleted() {
    let site = Site::start().await;
    let mut app = site.made().await;
    let browser = site.browser().await;
    let path = format!("/operator/applications/{}", app.id);
    let rest = format!("/v2/applications/{}", app.id);
    shows(
        &browser.page(&path).await,
        &[
            "Trip Planner",
            "Active",
            "registered for no API",
            &app.client_id,
        ],
    );

    let apis = format!("{path}/apis");
    let right = [("api_id", "flights"), ("status", "approved")];
    let page = browser.press(&path, &apis, &right).await;
    shows(&page, &["It may call the API from now on", "Approved"]);
    site.call(&app).await.assert_status(200);

    let suspend = format!("{path}/suspend");
    let page = browser.press(&suspend, &suspend, &[]).await;
    shows(&page, &["It is suspended", "Suspended"]);
    assert_eq!(site.call(&app).await.code(), "application_suspended");
    let page = browser.press(&path, &format!("{path}/activate"), &[]).await;
    shows(&page, &["It is active"]);
    site.call(&app).await.assert_status(200);

    let rotate = format!("{path}/rotate");
    let asked = form(&browser.page(&rotate).await, &rotate);
    let rotated = browser.send(&asked).await;
    assert_eq!(rotated.status, 200, "{rotated:?}");
    let old = std::mem::replace(&mut app.secret, code(&rotated, "client-secret"));
    app.client_id = code(&rotated, "client-id");
    assert_ne!(old, app.secret);
    shows(
        &rotated,
        &["shows the secret once", "give it to dana@example.com"],
    );
    site.call(&app).await.assert_status(200);
    let page = browser.page(&path).await;
    assert!(!page.text().contains(&app.secret), "shown once");

    let edit = format!("{path}/edit");
    let more = [
        ("name", "<b>Planner</b>"),
        ("description", "Plans"),
        ("owner.id", "erin@example.com"),
    ];
    let page = browser.press(&edit, &edit, &more).await;
    shows(
        &page,
        &[
            "It is changed",
            "<b>Planner</b>",
            "erin@example.com",
            "credential.rotate",
        ],
    );
    assert!(!page.text().contains("<b>"), "escaped");
    let read = site.operator.read(&rest).await;
    assert_eq!(read["owner"]["id"], "erin@example.com");
    let long = form(&browser.page(&edit).await, &edit).with("name", &"x".repeat(300));
    let refused = browser.send(&long).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    shows(&refused, &["aria-invalid", "erin@example.com"]);

    for (query, is_found) in [
        ("name=PLAN", true),
        ("name=other", false),
        (
            "developer=erin@example.com&strategy=dcr&status=active",
            true,
        ),
        ("status=suspended", false),
    ] {
        let page = browser
            .page(&format!("/operator/applications?{query}"))
            .await;
        assert_eq!(page.text().contains(&app.id), is_found, "{query}");
    }

    let delete = format!("{path}/delete");
    let page = browser.press(&delete, &delete, &[]).await;
    shows(
        &page,
        &["The application is deleted", "No applications yet"],
    );
    assert_eq!(
        site.operator.ask("GET", &rest, Value::Null).await.status,
        404
    );
    assert_eq!(browser.get(&path).await.status, 404);
    assert_eq!(site.call(&app).await.status, 401);
}

#[tokio::test]
async fn an_application_is_made_on_behalf_of_a_developer() {
    let site = Site::start().await;
    let strategy = site.strategy().await;
    let browser = site.browser().await;
    let new = "/operator/applications/new";
    let choices = browser.page(new).await;
    let chosen = format!("{new}?strategy={strategy}");
    shows(&choices, &[&chosen]);
    let list = "/operator/applications";
    let blank = form(&browser.page(&chosen).await, list);
    let refused = browser
        .send(&blank.clone().with("owner.id", "dana@example.com"))
        .await;
    assert_eq!(refused.status, 400, "{refused:?}");
    shows(&refused, &["value=\"dana@example.com\""]);

    let filled = form(&refused, list).with("name", "Trip Planner");
    let made = browser.send(&filled).await;
    assert_eq!(made.status, 200, "{made:?}");
    shows(&made, &["Trip Planner is made", "shows the secret once"]);
    // The same form again: no second application, and no secret.
    let again = browser.send(&filled).await;
    shows(&again, &["It was made before"]);
    let known = site.operator.read("/v2/applications").await;
    assert_eq!(known["meta"]["page"]["total"], 1, "{known}");
    let known = &known["data"][0];
    assert_eq!(known["owner"]["id"], "dana@example.com");
    assert_eq!(known["granted_scopes"], json!(["read"]));

    // One whose client was made elsewhere has no secret to show.
    let all = site.operator.read("/v2/application-auth-strategies").await;
    let mut all = all["data"].as_array().unwrap().iter();
    let partners = text(all.find(|one| one["name"] == "partners").unwrap(), "id");
    let filled = form(
        &browser.page(&format!("{new}?strategy={partners}")).await,
        list,
    );
    let filled = filled.with("name", "Elsewhere").with("owner.id", "Dana");
    let made = browser
        .send(&filled.with("client_id", "made-elsewhere"))
        .await;
    shows(
        &made,
        &["Elsewhere is made", "made-elsewhere", "managed there"],
    );
}

#[tokio::test]
async fn a_deletion_that_is_stuck_is_told_and_can_be_forced() {
    let site = Site::start().await;
    let idp = Emulation::<Generic>::start().await;
    let strategy = site.strategy_at(&idp.base, INITIAL).await;
    let app = site.operator.application(&strategy).await;
    let browser = site.browser().await;
    let path = format!("/operator/applications/{}", app.id);
    let delete = format!("{path}/delete");
    idp.fault(Endpoint::Registration, Answer::new(500, ""));
    let asked = form(&browser.page(&delete).await, &delete);
    let refused = browser.send(&asked).await;
    shows(&refused, &["That did not work", "request", &path]);
    shows(
        &browser.page("/operator").await,
        &["Being deleted", "Trip Planner"],
    );
    shows(
        &browser.page(&path).await,
        &["Being deleted", "though its client may stay"],
    );
    assert_eq!(site.call(&app).await.status, 401);

    let page = browser.press(&delete, &delete, &[]).await;
    shows(&page, &["The application is deleted"]);
    let rest = format!("/v2/applications/{}", app.id);
    assert_eq!(
        site.operator.ask("GET", &rest, Value::Null).await.status,
        404
    );
}

/// The link that a page shows, without its origin.
#[track_caller]
fn invitation(page: &Response, origin: &str) -> String {
    let link = code(page, "invitation");
    let path = link.strip_prefix(origin);
    path.unwrap_or_else(|| panic!("{link} is not at {origin}"))
        .to_owned()
}

fn asking(setup: &mut Setup) {
    setup.config["portal"]["accounts"] = json!({"registration": "approval"});
}

#[tokio::test]
async fn a_developer_is_invited_closed_opened_and_deleted() {
    let site = Site::start().await;
    let browser = site.browser().await;
    let list = "/operator/developers";
    shows(&browser.page(list).await, &["No developers yet"]);
    let new = "/operator/developers/new";
    let filled = form(&browser.page(new).await, list).with("email", "Dana@example.com");
    let refused = browser.send(&filled.clone().with("full_name", "")).await;
    assert_eq!(refused.status, 400, "{refused:?}");
    let invited = browser.send(&filled.with("full_name", "Dana Smith")).await;
    // As the browser names it, where the configuration does not.
    let path = invitation(&invited, HERE);
    let visitor = Browser {
        visitor: site.visitor(),
    };
    let page = visitor.page(&path).await;
    let mut guest = site.visitor();
    guest.cookie = Some(cookie(&page));
    let guest = Browser { visitor: guest };
    let set = guest
        .send(&form(&page, "/invitation").with("password", PASSWORD))
        .await;
    assert_eq!(
        set.header("location"),
        Some("/sign-in?done=password-set"),
        "{set:?}"
    );
    let mut dana = site.visitor();
    dana.sign_in("dana@example.com", PASSWORD)
        .await
        .assert_status(204);

    let known = site.operator.read("/v2/developers").await;
    let one = format!("{list}/{}", text(&known["data"][0], "id"));
    shows(&browser.page(list).await, &[&one, "Dana Smith", "Open"]);
    let page = browser.press(&format!("{one}/close"), &one, &[]).await;
    shows(&page, &["The account is closed", "Closed"]);
    assert!(!dana.is_signed_in().await);
    let page = browser.press(&one, &one, &[("status", "approved")]).await;
    shows(&page, &["The account is open"]);
    dana.sign_in("dana@example.com", PASSWORD)
        .await
        .assert_status(204);

    let again = format!("{one}/invitation");
    let filled = form(&browser.page(&one).await, &again);
    let invited = browser.send(&filled).await;
    assert_ne!(invitation(&invited, HERE), path);

    let strategy = site.strategy().await;
    let app = site.operator.application(&strategy).await;
    let delete = format!("{one}/delete");
    let filled = form(&browser.page(&delete).await, &delete);
    let refused = browser.send(&filled).await;
    assert_eq!(refused.status, 409, "{refused:?}");
    shows(&refused, &["Delete the developer's applications first"]);
    site.operator
        .delete(&format!("/v2/applications/{}", app.id))
        .await;
    let page = browser.press(&delete, &delete, &[]).await;
    shows(&page, &["The developer is deleted"]);
    let known = site.operator.read("/v2/developers").await;
    assert_eq!(known["meta"]["page"]["total"], 0, "{known}");
}

#[tokio::test]
async fn accounts_that_wait_are_approved_with_a_link_to_where_the_portal_is() {
    let site = Site::with(|setup| {
        asking(setup);
        setup.config["portal"]["public_url"] = json!("https://portal.example.com");
    })
    .await;
    let browser = site.browser().await;
    for email in ["dana@example.com", "erin@example.com"] {
        let new = json!({"email": email, "full_name": "Somebody"});
        let asked = site.visitor().ask("POST", "/api/v2/developer", new).await;
        asked.assert_status(201);
    }
    shows(&browser.page("/operator").await, &["2 accounts wait"]);
    let list = "/operator/developers";
    let waiting = format!("{list}?status=pending");
    let known = site.operator.read("/v2/developers").await;
    let [dana, erin] = [0, 1].map(|n| format!("{list}/{}", text(&known["data"][n], "id")));
    let page = browser
        .press(&waiting, &erin, &[("status", "rejected")])
        .await;
    shows(&page, &["The account is rejected"]);
    let filled = form(&browser.page(&waiting).await, &dana).with("status", "approved");
    let approved = browser.send(&filled).await;
    let path = invitation(&approved, "https://portal.example.com");
    let token = path.strip_prefix("/invitation?token=").unwrap();
    let set = site.visitor().set_password(token, PASSWORD).await;
    set.assert_status(204);
    shows(&browser.page(&waiting).await, &["None found"]);
    let known = site.operator.read("/v2/developers").await;
    let states = known["data"].as_array().unwrap().iter();
    let states: Vec<_> = states.map(|one| text(one, "status")).collect();
    assert_eq!(states, ["approved", "rejected"]);
}

#[tokio::test]
async fn a_long_list_has_pages() {
    let site = Site::start().await;
    for number in 0..101 {
        site.invite(&format!("dev{number:03}@example.com")).await;
    }
    let browser = site.browser().await;
    let first = browser.page("/operator/developers?status=approved").await;
    shows(&first, &["101 developers", "dev000@", "dev099@"]);
    let next = "/operator/developers?status=approved&page=2";
    shows(&first, &[next]);
    let second = browser.page(next).await;
    shows(&second, &["dev100@", "page=1"]);
    assert!(!second.text().contains("dev099@"));
    let audit = browser
        .page("/operator/audit?action=developer.invite")
        .await;
    shows(&audit, &["/operator/audit?action=developer.invite&page=2"]);
}

#[tokio::test]
async fn the_audit_tells_what_was_done() {
    let site = Site::start().await;
    let app = site.made().await;
    site.operator.approve(&app, "flights").await;
    site.operator.set_status(&app, "suspended").await;
    let browser = site.browser().await;
    let page = browser.page("/operator/audit").await;
    let link = format!("/operator/applications/{}", app.id);
    shows(
        &page,
        &[
            "application.suspend",
            "active → suspended",
            "registration.create",
            &link,
        ],
    );
    let page = browser
        .page(&format!("/operator/audit?subject={}", app.id))
        .await;
    shows(&page, &["application.create"]);
    assert!(!page.text().contains("registration.create"));
    let page = browser.page("/operator/audit?actor=nobody").await;
    shows(&page, &["Nothing was done"]);
    assert!(!page.text().contains(&app.secret));
}

#[tokio::test]
async fn what_to_set_up_next_is_told() {
    let site = Site::start().await;
    let browser = site.browser().await;
    shows(
        &browser.page("/operator").await,
        &["/operator/providers/new", "idp", "Answers"],
    );
    site.strategy().await;
    let page = browser.page("/operator").await;
    assert!(!page.text().contains("Next:"), "{}", page.text());
}

/// The cells of a row of the table of traffic.
fn row(page: &Response, name: &str) -> Vec<String> {
    let html = page.text();
    let row = html.split(&format!("<th scope=\"row\">{name}</th>")).nth(1);
    let Some(row) = row else {
        return Vec::new();
    };
    let row = row.split("</tr>").next().unwrap();
    let cells = row.split("<td").skip(1);
    let text = |cell: &str| {
        cell.split('>')
            .nth(1)
            .unwrap()
            .split('<')
            .next()
            .unwrap()
            .to_owned()
    };
    cells.map(text).collect()
}

#[tokio::test]
async fn calls_that_pass_and_refusals_are_counted_for_their_application() {
    let site = Site::start().await;
    let app = site.made().await;
    let browser = site.browser().await;
    let path = format!("/operator/applications/{}", app.id);
    shows(&browser.page(&path).await, &["No call of it has come"]);
    site.call(&app).await.assert_status(403);
    site.operator.approve(&app, "flights").await;
    for status in [200, 200, 404, 503] {
        let answer = Answer::new(status, "");
        site.world.upstream.answer(answer);
        site.call(&app).await.assert_status(status);
    }
    site.operator.set_status(&app, "suspended").await;
    for _ in 0..2 {
        site.call(&app).await.assert_status(403);
    }
    // Wrong credentials are nobody's, though the client is known.
    let wrong = site.world.gateway.get("/flights");
    let wrong = wrong.basic(&app.client_id, "wrong").send().await;
    wrong.assert_status(401);

    let expected = [
        "7",
        "2",
        "1",
        "1",
        "0",
        "3",
        "application_suspended 2, registration_required 1",
    ];
    // Counted when they end, which is after they are answered.
    eventually!(
        row(&browser.page(&path).await, "Last 60 minutes") == expected,
        "all calls are counted"
    );
    let page = browser.page(&format!("{path}?live=1")).await;
    assert_eq!(page.header("refresh"), Some("5"));
    shows(&page, &["<svg", "7 in all", "Stop"]);
    assert_eq!(browser.page(&path).await.header("refresh"), None);
    let list = browser.page("/operator/applications").await;
    shows(&list, &["<td class=\"number\">7</td>"]);
}
