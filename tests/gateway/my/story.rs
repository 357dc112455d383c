//! The whole story in a real browser: a developer makes an application and calls an API, and the
//! operator agrees; with a script and without one, by the keyboard alone.

use serde_json::json;
use tokio::process::Command;

use super::{PASSWORD, Site};
use crate::harness::{
    browser::{Browser, Window},
    gateway::ADMIN_TOKEN,
};

const EMAIL: &str = "dana@example.com";

/// Pages that the story does not come by.
const OPERATORS: &[&str] = &[
    "/operator/applications/new",
    "/operator/audit",
    "/operator/apis",
    "/operator/apis/flights/edit",
    "/operator/providers",
    "/operator/providers/new",
    "/operator/providers/new?type=generic",
    "/operator/providers/new?type=wso2",
    "/operator/strategies",
    "/operator/strategies/new",
    "/operator/registrations?state=approved",
    "/operator/nothing",
];

/// A window at the portal that looks at every page it comes to.
struct Walk<'b> {
    window: Window<'b>,
    origin: String,
    has_script: bool,
}

impl<'b> Walk<'b> {
    async fn begin(browser: &'b Browser, site: &Site, name: &str, has_script: bool) -> Self {
        let options = json!({
            "javaScriptEnabled": has_script,
            "permissions": ["clipboard-read", "clipboard-write"],
        });
        Self {
            window: browser.window(name, options).await,
            origin: format!("http://{}", site.desk),
            has_script,
        }
    }

    async fn go(&self, path: &str) {
        self.window.go(&format!("{}{path}", self.origin)).await;
        self.look().await;
    }

    async fn fill(&self, label: &str, value: &str) {
        self.window.fill(label, value).await;
    }

    async fn press(&self, text: &str) -> u64 {
        let status = self.window.press(text).await;
        self.look().await;
        status
    }

    async fn follow(&self, text: &str) {
        assert_eq!(self.window.follow(text).await, 200, "{text}");
        self.look().await;
    }

    async fn place(&self) -> String {
        self.window.place().await
    }

    /// Whether the page says so.
    #[track_caller]
    fn says(&self, text: &'static str) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move {
            let said = self.window.read().await;
            assert!(
                said.contains(text),
                "at {place}: {text:?} is not in {said:?}"
            );
        }
    }

    /// Nothing is wrong with the page for those who do not see it, in light and dark, and on a phone
    /// nothing lies beyond the edge.
    async fn look(&self) {
        if !self.has_script {
            return;
        }
        let place = self.place().await;
        for (scheme, width) in [("dark", 1280), ("light", 390)] {
            self.window.media(scheme, width).await;
            let wrong = self.window.complaints().await;
            assert!(
                wrong.is_empty(),
                "{place} in {scheme} at {width}: {wrong:#?}"
            );
        }
        let beyond = "document.documentElement.scrollWidth - innerWidth";
        let beyond = self.window.evaluate(beyond).await;
        assert!(beyond.as_i64().unwrap() <= 0, "{place}: {beyond} pixels");
    }
}

/// Runs a line that a page shows, as it is but for the gateway's address; the answer's status.
async fn run(site: &Site, line: &str) -> String {
    let gateway = format!("http://{}", site.world.gateway.proxy);
    let line = line.replace("https://GATEWAY", &gateway);
    assert!(line.starts_with("curl -u '"), "{line}");
    let line = format!("{line} --noproxy '*' -s -o /dev/null -w '%{{http_code}}'");
    let told = Command::new("sh").args(["-c", &line]).output().await;
    String::from_utf8(told.unwrap().stdout).unwrap()
}

async fn story(has_script: bool) {
    let site = Site::start().await;
    let browser = Browser::start(&[]).await;

    let operator = Walk::begin(&browser, &site, "operator", has_script).await;
    site.strategy().await;
    operator.go("/operator").await;
    assert_eq!(operator.place().await, "/operator/sign-in");
    operator.fill("Admin token", ADMIN_TOKEN).await;
    operator.press("Sign in").await;
    assert_eq!(operator.place().await, "/operator");

    // The operator invites a developer, who sets a password.
    operator.follow("Developers").await;
    operator.follow("Invite a developer").await;
    operator.fill("E-mail address", EMAIL).await;
    operator.fill("Name", "Dana Smith").await;
    operator.press("Invite").await;
    let link = operator.window.text("#invitation").await;
    let path = link.split_once("/invitation").expect("a link").1;
    let dana = Walk::begin(&browser, &site, "dana", has_script).await;
    dana.go(&format!("/invitation{path}")).await;
    dana.fill("New password", "short").await;
    assert_eq!(dana.press("Set password").await, 400);
    dana.says("Expected at least 12 characters.").await;
    dana.fill("New password", PASSWORD).await;
    dana.press("Set password").await;
    dana.says("Your password is set.").await;
    dana.fill("E-mail address", EMAIL).await;
    dana.fill("Password", "not the password").await;
    assert_eq!(dana.press("Sign in").await, 401);
    dana.fill("Password", PASSWORD).await;
    dana.press("Sign in").await;
    assert_eq!(dana.place().await, "/apps");
    dana.says("No apps yet").await;

    // A new application, and its secret once.
    dana.follow("Create your first app").await;
    dana.follow("dcr").await;
    dana.fill("Name", "Trip Planner").await;
    dana.fill("What it is for (optional)", "Plans trips").await;
    dana.press("Create app").await;
    dana.says("This page shows the secret once.").await;
    let secret = dana.window.text("#client-secret").await;
    let line = dana.window.text("#call-1").await;
    assert!(line.contains(&secret), "{line}");
    if has_script {
        dana.window.push("Copy").await;
        let copied = dana.window.evaluate("navigator.clipboard.readText()").await;
        assert_eq!(copied, dana.window.text("#client-id").await);
    }
    assert_eq!(run(&site, &line).await, "403");
    dana.follow("I have kept it: go to the app").await;
    assert!(!dana.window.read().await.contains(&secret));
    dana.press("Ask to use flights").await;
    dana.says("Waiting").await;
    assert_eq!(run(&site, &line).await, "403");

    // The operator agrees, and the line passes.
    operator.follow("Registrations").await;
    operator.says("Trip Planner").await;
    operator.press("Approve flights for Trip Planner").await;
    assert_eq!(run(&site, &line).await, "200");

    // Every other page of the operator is looked at, too.
    for path in OPERATORS {
        operator.go(path).await;
    }
    operator.go("/operator/applications").await;
    operator.follow("Trip Planner").await;
    operator.says("Live traffic").await;

    // Another secret, and the end, each at once.
    let app = dana.place().await;
    dana.go(&app).await;
    dana.says("Approved").await;
    dana.follow("New secret").await;
    dana.press("Make a new secret").await;
    let renewed = dana.window.text("#call-1").await;
    assert_ne!(line, renewed);
    assert_eq!(run(&site, &line).await, "401");
    assert_eq!(run(&site, &renewed).await, "200");
    dana.follow("I have kept it: go to the app").await;
    dana.follow("Delete this app").await;
    dana.press("Delete app").await;
    assert_eq!(dana.place().await, "/apps");
    dana.says("The app is deleted.").await;
    assert_eq!(run(&site, &renewed).await, "401");

    dana.press("Sign out").await;
    dana.go("/apps").await;
    assert_eq!(dana.place().await, "/sign-in");
}

#[tokio::test]
async fn an_app_is_made_approved_called_rotated_and_deleted() {
    story(true).await;
}

#[tokio::test]
async fn the_same_without_a_script() {
    story(false).await;
}
