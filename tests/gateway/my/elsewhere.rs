//! Signing in at the operator's own identity provider, a real one: a browser goes there and comes
//! back.

use std::net::{SocketAddr, TcpListener};

use serde_json::{Value, json};

use super::{Site, Visitor};
use crate::harness::{
    browser::Browser as Chromium,
    client::{Call, Response},
    gateway::Setup,
    portal::{Store, text},
    real_idp::{Product, RealIdp},
};

const BEGIN: &str = "/api/v2/developer/authenticate/sso";

/// The portal and the identity provider.
struct Pair {
    idp: RealIdp,
    site: Site,
}

impl Pair {
    async fn start(registration: &str) -> Self {
        let idp = RealIdp::start(Product::OidcProvider).await;
        // Known before it is bound, since the identity provider has to know where browsers return.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let desk = free.local_addr().unwrap();
        drop(free);
        let back = format!("http://{desk}{BEGIN}/callback");
        let (id, secret) = register(&idp, &back).await;
        let configure = |setup: &mut Setup| {
            setup.files.push(("secrets/portal".to_owned(), secret));
            let providers = setup.config["identity_providers"].as_array_mut().unwrap();
            providers.push(json!({"name": "workforce", "issuer": idp.issuer}));
            setup.config["portal"] = json!({
                "address": desk.to_string(),
                "public_url": format!("http://{desk}"),
                "oidc": {
                    "identity_provider": "workforce", "registration": registration,
                    "client": {"id": id, "secret": {"file": "secrets/portal"}},
                },
            });
        };
        let site = Site::over(&Store::Sqlite, configure).await;
        Self { idp, site }
    }

    /// Says who signs in there from now on.
    async fn person(&self, claims: Value) {
        let claims = claims.to_string();
        let claims: String = url::form_urlencoded::byte_serialize(claims.as_bytes()).collect();
        self.idp.pull(&format!("/person?claims={claims}")).await;
    }

    /// Goes there and comes back, as far as the portal's callback, in a new browser.
    async fn go(&self) -> Browser {
        let mut browser = Browser {
            place: format!("http://{}{BEGIN}", self.site.desk),
            ..Browser::default()
        };
        while !browser.place.contains("/callback?") {
            browser.follow().await;
        }
        browser
    }

    /// The same, and what the portal says.
    async fn sign_in(&self) -> (Browser, Response) {
        let mut browser = self.go().await;
        let place = browser.place.clone();
        let response = browser.get(&place).await;
        (browser, response)
    }

    fn visitor(&self, browser: &Browser) -> Visitor {
        Visitor {
            cookie: browser.of(self.site.desk, "dcr_portal"),
            ..self.site.visitor()
        }
    }
}

/// The portal's client at the identity provider.
async fn register(idp: &RealIdp, back: &str) -> (String, String) {
    let initial = idp.pull("/initial-access-token").await;
    let metadata = json!({
        "client_name": "Portal", "redirect_uris": [back], "response_types": ["code"],
        "grant_types": ["authorization_code"],
    });
    let place = idp.metadata["registration_endpoint"].as_str().unwrap();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = http
        .post(place)
        .bearer_auth(initial["token"].as_str().unwrap());
    let made = request.json(&metadata).send().await.unwrap();
    let made: Value = made.error_for_status().unwrap().json().await.unwrap();
    (text(&made, "client_id"), text(&made, "client_secret"))
}

/// A browser, as far as cookies and redirects go.
#[derive(Clone, Default)]
struct Browser {
    /// Address, name and value.
    cookies: Vec<(SocketAddr, String, String)>,
    place: String,
}

impl Browser {
    /// Goes where it is, and is sent on.
    async fn follow(&mut self) {
        let place = url::Url::parse(&self.place).unwrap();
        let http = reqwest::Client::builder().no_proxy();
        let http = http.redirect(reqwest::redirect::Policy::none());
        let request = http.build().unwrap().get(place.clone());
        let request = match self.line(address(&place)) {
            Some(line) => request.header("Cookie", line),
            None => request,
        };
        let response = request.send().await.unwrap();
        let text = |value: &reqwest::header::HeaderValue| value.to_str().unwrap().to_owned();
        let lines = response.headers().get_all("set-cookie").iter().map(text);
        let lines: Vec<String> = lines.collect();
        self.keep(address(&place), lines.iter().map(String::as_str));
        let next = response.headers().get("location").map(text);
        let next = next.unwrap_or_else(|| panic!("{place}: {response:?}"));
        self.place = place.join(&next).unwrap().to_string();
    }

    /// Asks the portal.
    async fn get(&mut self, place: &str) -> Response {
        let place = url::Url::parse(place).unwrap();
        let target = format!("{}?{}", place.path(), place.query().unwrap_or_default());
        let address = address(&place);
        let call = Call::new(address, "GET", &target).host(&address.to_string());
        let response = match self.line(address) {
            Some(line) => call.cookie(&line).send().await,
            None => call.send().await,
        };
        self.keep(address, response.headers("set-cookie").into_iter());
        response
    }

    /// The cookies for an address, as they are sent.
    fn line(&self, address: SocketAddr) -> Option<String> {
        let own = self.cookies.iter().filter(|(known, ..)| *known == address);
        let own: Vec<_> = own
            .map(|(_, name, value)| format!("{name}={value}"))
            .collect();
        (!own.is_empty()).then(|| own.join("; "))
    }

    fn keep<'l>(&mut self, address: SocketAddr, lines: impl Iterator<Item = &'l str>) {
        for line in lines {
            let (name, value) = line.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies
                .retain(|(known, other, _)| (*known, other.as_str()) != (address, name));
            if !value.is_empty() {
                let cookie = (address, name.to_owned(), value.to_owned());
                self.cookies.push(cookie);
            }
        }
    }

    /// A cookie as `name=value`.
    fn of(&self, address: SocketAddr, name: &str) -> Option<String> {
        let mut all = self.cookies.iter();
        let found = all.find(|(known, other, _)| (*known, other.as_str()) == (address, name));
        found.map(|(_, name, value)| format!("{name}={value}"))
    }
}

fn address(place: &url::Url) -> SocketAddr {
    place.socket_addrs(|| None).unwrap()[0]
}

fn dana() -> Value {
    json!({
        "sub": "dana-1", "email": "Dana@example.com", "email_verified": true, "name": "Dana Smith",
    })
}

#[tokio::test]
async fn whoever_signs_in_there_is_a_developer_here() {
    let pair = Pair::start("open").await;
    pair.person(dana()).await;
    let (browser, response) = pair.sign_in().await;
    response.assert_status(302);
    assert_eq!(response.header("location"), Some("/"));
    let me = pair.visitor(&browser).get("/api/v2/developer/me").await;
    let me = me.assert_status(200).json();
    assert_eq!(me["email"], "dana@example.com");
    assert_eq!(me["full_name"], "Dana Smith");
    assert_eq!(
        browser.of(pair.site.desk, "dcr_portal_sign_in"),
        None,
        "it is over"
    );

    // Known by who it is, whatever the address is now.
    let mut moved = dana();
    moved["email"] = json!("dana@example.net");
    pair.person(moved).await;
    let (browser, _) = pair.sign_in().await;
    let again = pair
        .visitor(&browser)
        .get("/api/v2/developer/me")
        .await
        .json();
    assert_eq!(again["id"], me["id"]);
    // Somebody else with the first address is not.
    let mut other = dana();
    other["sub"] = json!("dana-2");
    pair.person(other).await;
    let (_, response) = pair.sign_in().await;
    response.assert_problem(403, "another_identity");
}

#[tokio::test]
async fn only_a_verified_address_counts() {
    let pair = Pair::start("open").await;
    for verified in [json!(false), json!("true"), Value::Null] {
        let mut claims = dana();
        claims["email_verified"] = verified;
        pair.person(claims).await;
        let (browser, response) = pair.sign_in().await;
        response.assert_problem(403, "email_not_verified");
        assert_eq!(browser.of(pair.site.desk, "dcr_portal"), None);
    }
    let known = pair.site.operator.read("/v2/developers").await;
    assert_eq!(known["meta"]["page"]["total"], 0);
}

#[tokio::test]
async fn an_account_waits_where_the_operator_wants_that() {
    let pair = Pair::start("approval").await;
    pair.person(dana()).await;
    for _ in 0..2 {
        let (_, response) = pair.sign_in().await;
        response.assert_problem(403, "account_pending");
    }
    let known = pair
        .site
        .operator
        .read("/v2/developers?filter[status]=pending")
        .await;
    let path = format!("/v2/developers/{}", text(&known["data"][0], "id"));
    let approved = json!({"status": "approved"});
    let approved = pair.site.operator.done("PATCH", &path, approved).await;
    assert_eq!(approved["invitation"], Value::Null, "no password is needed");
    let (browser, response) = pair.sign_in().await;
    response.assert_status(302);
    assert!(pair.visitor(&browser).is_signed_in().await);
    let revoked = json!({"status": "revoked"});
    pair.site.operator.done("PATCH", &path, revoked).await;
    assert!(!pair.visitor(&browser).is_signed_in().await);
    let (_, response) = pair.sign_in().await;
    response.assert_problem(403, "account_closed");
}

#[tokio::test]
async fn a_real_browser_goes_there_and_is_told_what_came_of_it() {
    let pair = Pair::start("approval").await;
    pair.person(dana()).await;
    let chromium = Chromium::start(&[]).await;
    let window = chromium.window("dana", json!({})).await;
    let page = format!("http://{}/sign-in", pair.site.desk);
    window.go(&page).await;
    window.follow("Sign in at your organisation").await;
    assert_eq!(window.place().await, "/sign-in");
    let said = window.read().await;
    assert!(
        said.contains("Your account waits for the operator"),
        "{said}"
    );
    let known = pair.site.operator.read("/v2/developers").await;
    let path = format!("/v2/developers/{}", text(&known["data"][0], "id"));
    let approved = json!({"status": "approved"});
    pair.site.operator.done("PATCH", &path, approved).await;
    window.follow("Sign in at your organisation").await;
    assert_eq!(window.place().await, "/apps");
    window.follow("Account").await;
    let said = window.read().await;
    assert!(said.contains("there is no password here"), "{said}");
    window.press("Sign out").await;
    assert_eq!(window.place().await, "/sign-in");
}

#[tokio::test]
async fn an_invitation_can_be_taken_up_there() {
    let pair = Pair::start("invited").await;
    pair.person(dana()).await;
    let (_, response) = pair.sign_in().await;
    response.assert_problem(403, "registration_closed");
    pair.site.invite("dana@example.com").await;
    let (browser, response) = pair.sign_in().await;
    response.assert_status(302);
    assert!(pair.visitor(&browser).is_signed_in().await);
}

#[tokio::test]
async fn an_answer_for_another_browser_or_of_another_provider_signs_nobody_in() {
    let pair = Pair::start("open").await;
    pair.person(dana()).await;
    let browser = pair.go().await;
    let good = browser.place.clone();
    let with = |name: &str, value: Option<&str>| {
        let mut url = url::Url::parse(&good).unwrap();
        let kept: Vec<(String, String)> = url
            .query_pairs()
            .filter(|(known, _)| known != name)
            .map(|(name, value)| (name.into_owned(), value.into_owned()))
            .collect();
        url.query_pairs_mut().clear().extend_pairs(kept);
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, value);
        }
        url.to_string()
    };
    let issuer = with("iss", Some("https://evil.test"));
    for (place, code) in [
        (issuer, "sign_in_failed"),
        (with("iss", None), "sign_in_failed"),
        (with("state", Some("made-up")), "sign_in_failed"),
        (with("state", None), "sign_in_failed"),
        (with("code", None), "sign_in_failed"),
        (with("code", Some("made-up")), "sign_in_failed"),
        (with("error", Some("access_denied")), "sign_in_failed"),
        (format!("{good}&state=twice"), "forbidden"),
    ] {
        let response = browser.clone().get(&place).await;
        response.assert_problem(403, code);
        assert_eq!(response.header("set-cookie"), None, "{place}");
    }
    // Another browser, which began nothing or something else.
    let response = Browser::default().get(&good).await;
    response.assert_problem(403, "forbidden");
    let mut another = pair.go().await;
    let response = another.get(&good).await;
    response.assert_problem(403, "sign_in_failed");
    // The first one still can, once.
    let mut first = browser.clone();
    first.get(&good).await.assert_status(302);
    let response = browser.clone().get(&good).await;
    response.assert_problem(403, "sign_in_failed");
}

#[tokio::test]
async fn nobody_signs_in_elsewhere_where_nothing_says_so() {
    let site = Site::start().await;
    let visitor = site.visitor();
    visitor.get(BEGIN).await.assert_problem(404, "not_found");
}
