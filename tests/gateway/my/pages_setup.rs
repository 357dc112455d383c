//! Pages on which an operator sets things up: providers, strategies, APIs. Walked as a browser
//! without scripts does, and looked at from the other side over the REST.

use serde_json::{Value, json};

use super::{Site, Visitor, cookie};
use crate::{
    harness::{
        client::Response,
        gateway::{ADMIN_TOKEN, Wait},
        http1::Answer,
        idp::Endpoint,
        portal::text,
    },
    vendors::{
        emulation::Emulation,
        generic::{Generic, INITIAL},
    },
};

/// The audience of every token of [`Generic`].
const API: &str = "https://orders.example/";

/// A type of provider, how the gateway shows itself there, and members of `dcr_config`.
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

/// A form of a page, as a browser would send it.
#[derive(Clone, Debug)]
struct Form {
    action: String,
    fields: Vec<(String, String)>,
}

impl Form {
    /// The one of a page that is sent there.
    #[track_caller]
    fn of(page: &str, action: &str) -> Self {
        let start = format!("action=\"{action}\"");
        let (_, rest) = page
            .split_once(&start)
            .unwrap_or_else(|| panic!("no form for {action} in {page}"));
        let (body, _) = rest.split_once("</form>").unwrap();
        let mut fields = Vec::new();
        let mut select = String::new();
        for piece in body.split('<').skip(1) {
            let (tag, inner) = piece.split_once('>').unwrap();
            let name = attribute(tag, "name").unwrap_or_default();
            let value = attribute(tag, "value").unwrap_or_default();
            if tag.starts_with("input ") {
                let is_box = attribute(tag, "type").as_deref() == Some("checkbox");
                if !is_box || tag.contains(" checked") {
                    fields.push((name, value));
                }
            } else if tag.starts_with("textarea ") {
                let inner = inner.strip_prefix('\n').unwrap_or(inner);
                fields.push((name, unescape(inner)));
            } else if tag.starts_with("select ") {
                fields.push((name.clone(), String::new()));
                select = name;
            } else if tag.starts_with("option ") && tag.contains(" selected") {
                let chosen = fields.iter_mut().find(|(known, _)| *known == select);
                chosen.unwrap().1 = value;
            }
        }
        let action = action.to_owned();
        Self { action, fields }
    }

    fn get(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Fills in a field that is there; of boxes, chooses one more.
    fn with(mut self, name: &str, value: &str) -> Self {
        match self.fields.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.fields.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self
    }

    async fn send(&self, visitor: &Visitor) -> Response {
        let pairs = self.fields.iter();
        let mut body = url::form_urlencoded::Serializer::new(String::new());
        body.extend_pairs(pairs);
        visitor
            .call("POST", &self.action)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(body.finish())
            .send()
            .await
    }
}

/// The value of an attribute of a tag.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    Some(unescape(rest.split_once('"')?.0))
}

fn unescape(text: &str) -> String {
    let table = [
        ("&#60;", "<"),
        ("&#62;", ">"),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#38;", "&"),
    ];
    let put = |text: String, (from, to): &(&str, &str)| text.replace(from, to);
    table.iter().fold(text.to_owned(), put)
}

/// Where a redirect leads.
#[track_caller]
fn place(response: &Response) -> String {
    response.assert_status(303);
    response.header("location").unwrap().to_owned()
}

/// A page's text.
async fn page(visitor: &Visitor, path: &str) -> String {
    let response = visitor.get(path).await;
    response.assert_status(200);
    response.text()
}

/// Somebody who has signed in as the operator.
async fn operator(site: &Site) -> Visitor {
    let mut visitor = site.visitor();
    let path = "/operator/sign-in";
    let shown = visitor.get(path).await;
    visitor.cookie = Some(cookie(&shown));
    let form = Form::of(&shown.text(), path).with("token", ADMIN_TOKEN);
    let entered = form.send(&visitor).await;
    assert_eq!(place(&entered), "/operator");
    visitor.cookie = Some(cookie(&entered));
    visitor
}

/// A gateway that knows no identity provider and no strategy yet.
async fn empty() -> Site {
    Site::with(|setup| {
        setup.config["identity_providers"] = json!([]);
        setup.config["auth_strategies"] = json!([]);
        setup.wait = Wait::Listening;
    })
    .await
}

/// Adds a provider at the emulation; its id.
async fn add_provider(visitor: &Visitor, idp: &Emulation<Generic>) -> String {
    let shown = page(visitor, "/operator/providers/new?type=generic&way=token").await;
    let form = Form::of(&shown, "/operator/providers")
        .with("name", "orders")
        .with("display_name", "Orders & more")
        .with("issuer", &idp.base)
        .with("dcr_config.initial_access_token", INITIAL);
    let made = place(&form.send(visitor).await);
    let id = made.strip_prefix("/operator/providers/").unwrap();
    id.strip_suffix("?done=made").unwrap().to_owned()
}

/// Adds a strategy for a provider; its id.
async fn add_strategy(visitor: &Visitor, provider: &str) -> String {
    let path = format!("/operator/strategies/new?provider={provider}");
    let form = Form::of(&page(visitor, &path).await, "/operator/strategies")
        .with("name", "partners")
        .with("display_name", "Partners")
        .with("configs.openid-connect.audience_required", API);
    let made = place(&form.send(visitor).await);
    let id = made.strip_prefix("/operator/strategies/").unwrap();
    id.strip_suffix("?done=made").unwrap().to_owned()
}

#[tokio::test]
async fn who_begins_with_nothing_is_led_to_a_first_app() {
    let (site, idp) = (empty().await, Emulation::<Generic>::start().await);
    let visitor = operator(&site).await;
    for (path, next) in [
        ("/operator/strategies", "/operator/providers/new"),
        ("/operator/apis", "/operator/providers"),
        ("/operator/providers", "/operator/providers/new"),
        (
            "/operator/providers/new",
            "/operator/providers/new?type=generic",
        ),
    ] {
        let shown = page(&visitor, path).await;
        assert!(
            shown.contains(&format!("href=\"{next}\"")),
            "{path}: {shown}"
        );
    }

    let provider = add_provider(&visitor, &idp).await;
    let path = format!("/operator/providers/{provider}");
    let shown = page(&visitor, &path).await;
    assert!(shown.contains("Orders &#38; more"), "{shown}");
    assert!(shown.contains("Not verified yet"), "{shown}");
    let verify = format!("{path}/verify");
    let verified = Form::of(&shown, &verify).send(&visitor).await;
    verified.assert_status(200);
    let told = verified.text();
    assert!(
        told.contains("A client was registered, got a token and was deleted."),
        "{told}"
    );
    assert!(idp.turn(|_, vendor| vendor.registered.is_empty()));
    assert!(page(&visitor, &path).await.contains("It worked"));
    let next = format!("/operator/strategies/new?provider={provider}");
    assert!(told.contains(&format!("href=\"{next}\"")), "{told}");

    let shown = page(&visitor, &next).await;
    let form = Form::of(&shown, "/operator/strategies");
    assert_eq!(form.get("configs.openid-connect.issuer"), Some(&*idp.base));
    let strategy = add_strategy(&visitor, &provider).await;
    let kept = format!("/v2/application-auth-strategies/{strategy}");
    let kept = site.operator.read(&kept).await;
    assert_eq!(kept["dcr_provider_id"], json!(provider));
    let options = json!({
        "issuer": idp.base, "auth_methods": ["client_credentials", "bearer"],
        "audience_required": [API],
    });
    assert_eq!(kept["configs"]["openid-connect"], options);

    // The API of the file waits for a strategy of this name.
    let shown = page(&visitor, &format!("/operator/strategies/{strategy}")).await;
    assert!(
        shown.contains("href=\"/operator/apis/flights/edit\""),
        "{shown}"
    );
    let shown = page(&visitor, "/operator/apis").await;
    assert!(shown.contains("href=\"/operator/developers\""), "{shown}");
    let edit = "/operator/apis/flights/edit";
    let form = Form::of(&page(&visitor, edit).await, edit);
    let form = form.with("auto_approve_registrations", "true");
    assert_eq!(
        place(&form.send(&visitor).await),
        "/operator/apis?done=changed"
    );

    let dana = site.developer("dana@example.com").await;
    let new = json!({"name": "Planner", "auth_strategy_id": strategy});
    dana.ask("POST", "/api/v2/applications", new)
        .await
        .assert_status(201);
    assert_eq!(idp.turn(|_, vendor| vendor.registered.len()), 1);
}

#[tokio::test]
async fn each_type_of_provider_has_its_own_form() {
    let site = Site::start().await;
    let visitor = operator(&site).await;
    let client = [
        ("initial_client_id", "an-id"),
        ("initial_client_secret", "hush-hush"),
    ];
    let cases: [Case<'_>; 12] = [
        ("generic", "token", &[("initial_access_token", "hush-hush")]),
        ("generic", "client", &client),
        ("generic", "open", &[]),
        ("auth0", "client", &client),
        ("curity", "client", &client),
        ("okta", "token", &[("dcr_token", "hush-hush")]),
        ("okta", "client", &client),
        ("azureAd", "client", &client),
        ("wso2", "client", &client),
        ("wso2", "token", &[("initial_access_token", "hush-hush")]),
        ("wso2", "open", &[]),
        (
            "http",
            "key",
            &[
                ("dcr_base_url", "https://bridge.example.com"),
                ("api_key", "hush-hush-hush"),
            ],
        ),
    ];
    for (word, way, values) in cases {
        let path = format!("/operator/providers/new?type={word}&way={way}");
        let mut form = Form::of(&page(&visitor, &path).await, "/operator/providers");
        let name = format!("{word}-{way}");
        form = form
            .with("name", &name)
            .with("issuer", "https://idp.example.com/x");
        for (member, value) in values {
            let field = format!("dcr_config.{member}");
            assert_eq!(form.get(&field), Some(""), "{path}: {member}");
            form = form.with(&field, value);
        }
        let made = form.send(&visitor).await;
        let made = place(&made);
        let again = form.send(&visitor).await;
        assert_eq!(place(&again), made, "sent twice, it is made once");
        let path = made.split('?').next().unwrap();
        let kept = path.replace("/operator/providers", "/v2/dcr-providers");
        let kept = site.operator.read(&kept).await;
        assert_eq!(
            (&kept["name"], &kept["provider_type"]),
            (&json!(name), &json!(word))
        );
        for path in [path.to_owned(), format!("{path}/edit")] {
            let shown = page(&visitor, &path).await;
            assert!(!shown.contains("hush"), "{path} shows a secret");
        }
        // What is saved as it is shown changes nothing.
        let edit = format!("{path}/edit");
        let form = Form::of(&page(&visitor, &edit).await, &edit);
        assert_eq!(
            place(&form.send(&visitor).await),
            format!("{path}?done=changed")
        );
        let after = path.replace("/operator/providers", "/v2/dcr-providers");
        let after = site.operator.read(&after).await;
        for member in ["name", "display_name", "issuer", "dcr_config"] {
            assert_eq!(after[member], kept[member], "{name}: {member}");
        }
    }
}

#[tokio::test]
async fn faults_stand_beside_their_fields_and_secrets_nowhere() {
    let site = Site::start().await;
    let visitor = operator(&site).await;
    let shown = page(&visitor, "/operator/providers/new?type=generic&way=client").await;
    let form = Form::of(&shown, "/operator/providers")
        .with("name", "not a <name>")
        .with("issuer", "http://elsewhere.example.com")
        .with("dcr_config.initial_client_secret", "hush-hush")
        .with("dcr_config.deadline_seconds", "soon")
        .with("dcr_config.client_metadata", "{broken");
    let refused = form.send(&visitor).await;
    refused.assert_status(400);
    let told = refused.text();
    for field in [
        "name",
        "issuer",
        "dcr_config.deadline_seconds",
        "dcr_config.client_metadata",
    ] {
        assert!(
            told.contains(&format!("id=\"{field}-fault\"")),
            "{field}: {told}"
        );
    }
    assert!(
        told.contains("not a &#60;name&#62;") && !told.contains("<name>"),
        "{told}"
    );
    assert!(!told.contains("hush"), "{told}");
    assert_eq!(
        site.operator.read("/v2/dcr-providers").await["data"],
        json!([])
    );

    let form = Form::of(&told, "/operator/providers")
        .with("name", "idp")
        .with("issuer", "https://idp.example.com")
        .with("dcr_config.initial_client_id", "an-id")
        .with("dcr_config.initial_client_secret", "hush-hush")
        .with("dcr_config.deadline_seconds", "30")
        .with(
            "dcr_config.client_metadata",
            "{\"contacts\": [\"a@b.example\"]}",
        );
    let taken = form.send(&visitor).await;
    assert_eq!(taken.status, 400, "{}", taken.text());
    let made = place(&form.with("name", "own").send(&visitor).await);
    let kept = made.split('?').next().unwrap();
    let kept = kept.replace("/operator/providers", "/v2/dcr-providers");
    let kept = site.operator.read(&kept).await;
    let expected = json!({
        "initial_client_id": "an-id", "deadline_seconds": 30,
        "client_metadata": {"contacts": ["a@b.example"]},
    });
    assert_eq!(kept["dcr_config"], expected);
}

#[tokio::test]
async fn a_provider_is_changed_and_keeps_what_is_not_told() {
    let (site, idp) = (empty().await, Emulation::<Generic>::start().await);
    let visitor = operator(&site).await;
    let provider = add_provider(&visitor, &idp).await;
    let path = format!("/operator/providers/{provider}");
    let edit = format!("{path}/edit");
    let kept = format!("/v2/dcr-providers/{provider}");
    let shown = Form::of(&page(&visitor, &edit).await, &edit);

    let form = shown
        .clone()
        .with("display_name", "Renamed")
        .with("dcr_config.deadline_seconds", "45");
    assert_eq!(
        place(&form.send(&visitor).await),
        format!("{path}?done=changed")
    );
    let now = site.operator.read(&kept).await;
    assert_eq!(now["display_name"], "Renamed");
    assert_eq!(now["dcr_config"], json!({"deadline_seconds": 45}));
    // The token is still the one that it was.
    let verify = format!("{path}/verify");
    let told = Form::of(&page(&visitor, &path).await, &verify);
    let told = told.send(&visitor).await.text();
    assert!(told.contains("got a token and was deleted"), "{told}");

    // Somebody else's change is not overwritten.
    let late = form.with("display_name", "Late").send(&visitor).await;
    late.assert_status(412);
    assert!(late.text().contains("value=\"Late\""));
    assert_eq!(site.operator.read(&kept).await["display_name"], "Renamed");

    // A secret goes to no other place than it was told for.
    let form = Form::of(&page(&visitor, &edit).await, &edit);
    let form = form.with("issuer", "https://elsewhere.example.com");
    let refused = form.send(&visitor).await;
    refused.assert_status(400);
    let fault = "id=\"dcr_config.initial_access_token-fault\"";
    assert!(refused.text().contains(fault), "{}", refused.text());

    // Another way in takes the place of the first; what is emptied is gone.
    let shown = page(&visitor, &format!("{edit}?way=client")).await;
    let form = Form::of(&shown, &edit)
        .with("dcr_config.initial_client_id", "dcr")
        .with("dcr_config.initial_client_secret", "hush-hush")
        .with("dcr_config.initial_client_scope", "register")
        .with("dcr_config.deadline_seconds", "");
    place(&form.send(&visitor).await);
    let expected = json!({"initial_client_id": "dcr", "initial_client_scope": "register"});
    assert_eq!(site.operator.read(&kept).await["dcr_config"], expected);
    let shown = page(&visitor, &path).await;
    assert!(shown.contains("Client secret") && !shown.contains("Initial access token"));
}

#[tokio::test]
async fn a_verification_says_which_step_failed() {
    let (site, idp) = (empty().await, Emulation::<Generic>::start().await);
    let visitor = operator(&site).await;
    let provider = add_provider(&visitor, &idp).await;
    let path = format!("/operator/providers/{provider}");
    let verify = format!("{path}/verify");
    let form = Form::of(&page(&visitor, &path).await, &verify);
    for (endpoint, answer, step) in [
        (
            Endpoint::Token,
            json!({"error": "invalid_scope"}),
            "A client was registered, but gets no token",
        ),
        (
            Endpoint::Registration,
            json!({"error": "invalid_client_metadata", "error_description": "no <such> thing"}),
            "No client could be registered",
        ),
    ] {
        idp.fault(endpoint, Answer::json(400, &answer));
        let told = form.send(&visitor).await.text();
        idp.heal(endpoint);
        assert!(told.contains(step), "{told}");
        assert!(told.contains(&format!("href=\"{path}/edit\"")), "{told}");
        assert!(!told.contains("<such>"), "{told}");
        assert!(page(&visitor, &path).await.contains("It did not work"));
    }
}

#[tokio::test]
async fn what_is_in_use_is_not_deleted_and_says_by_whom() {
    let (site, idp) = (empty().await, Emulation::<Generic>::start().await);
    let visitor = operator(&site).await;
    let provider = add_provider(&visitor, &idp).await;
    let provider = format!("/operator/providers/{provider}");
    let delete = format!("{provider}/delete");
    // Asked for while nothing was in the way.
    let early = Form::of(&page(&visitor, &delete).await, &delete);
    let id = provider.rsplit('/').next().unwrap();
    let strategy = add_strategy(&visitor, id).await;
    let strategy = format!("/operator/strategies/{strategy}");
    let user = format!("href=\"{strategy}\"");
    let shown = page(&visitor, &delete).await;
    assert!(
        shown.contains(&user) && !shown.contains("method=\"post\" action=\"/operator/providers")
    );
    let refused = early.send(&visitor).await;
    refused.assert_status(409);
    assert!(refused.text().contains(&user), "{}", refused.text());

    let asked = format!("{strategy}/delete");
    let shown = page(&visitor, &asked).await;
    assert!(
        shown.contains("href=\"/operator/apis/flights/edit\""),
        "{shown}"
    );
    assert!(!shown.contains(&format!("action=\"{asked}\"")), "{shown}");
    site.world
        .gateway
        .reconfigure(|config| config["apis"][0]["auth_strategies"] = json!(["another"]))
        .await;
    let form = Form::of(&page(&visitor, &asked).await, &asked);
    assert_eq!(
        place(&form.send(&visitor).await),
        "/operator/strategies?done=deleted"
    );
    let form = Form::of(&page(&visitor, &delete).await, &delete);
    assert_eq!(
        place(&form.send(&visitor).await),
        "/operator/providers?done=deleted"
    );
    for path in ["/v2/application-auth-strategies", "/v2/dcr-providers"] {
        assert_eq!(site.operator.read(path).await["data"], json!([]), "{path}");
    }
}

#[tokio::test]
async fn a_strategy_is_changed_and_what_is_emptied_is_gone() {
    let site = Site::start().await;
    let visitor = operator(&site).await;
    let shown = page(&visitor, "/operator/strategies/new").await;
    assert!(
        shown.contains("href=\"/operator/strategies/new?provider=none\""),
        "{shown}"
    );
    let shown = page(&visitor, "/operator/strategies/new?provider=none").await;
    let option = |name: &str| format!("configs.openid-connect.{name}");
    let bad = Form::of(&shown, "/operator/strategies")
        .with("name", "own")
        .without(&option("auth_methods"))
        .with(&option("leeway"), "500");
    let refused = bad.send(&visitor).await;
    refused.assert_status(400);
    let told = refused.text();
    for name in ["auth_methods", "leeway"] {
        assert!(
            told.contains(&format!("id=\"{}-fault\"", option(name))),
            "{name}: {told}"
        );
    }
    let form = Form::of(&told, "/operator/strategies")
        .with(&option("issuer"), &site.world.idp.issuer)
        .with(&option("auth_methods"), "bearer")
        .with(&option("scopes"), "read  write")
        .with(&option("credential_claim"), "client_id")
        .with(&option("scopes_required"), "read write\r\nadmin")
        .with(&option("leeway"), "20");
    let made = place(&form.send(&visitor).await);
    let path = made.split('?').next().unwrap();
    let kept = path.replace("/operator/strategies", "/v2/application-auth-strategies");
    let now = site.operator.read(&kept).await;
    assert_eq!(now["dcr_provider_id"], Value::Null);
    let expected = json!({
        "issuer": site.world.idp.issuer, "auth_methods": ["bearer"], "scopes": ["read", "write"],
        "credential_claim": ["client_id"], "scopes_required": ["read write", "admin"], "leeway": 20,
    });
    assert_eq!(now["configs"]["openid-connect"], expected);

    let edit = format!("{path}/edit");
    let shown = Form::of(&page(&visitor, &edit).await, &edit);
    assert_eq!(
        shown.get(&option("scopes_required")),
        Some("read write\nadmin")
    );
    let form = shown
        .clone()
        .with("display_name", "Our own")
        .with(&option("scopes"), "")
        .with(&option("scopes_required"), "")
        .with(&option("leeway"), "");
    assert_eq!(
        place(&form.send(&visitor).await),
        format!("{path}?done=changed")
    );
    let now = site.operator.read(&kept).await;
    assert_eq!(now["display_name"], "Our own");
    let expected = json!({
        "issuer": site.world.idp.issuer, "auth_methods": ["bearer"],
        "credential_claim": ["client_id"],
    });
    assert_eq!(now["configs"]["openid-connect"], expected);
    shown.send(&visitor).await.assert_status(412);
}

#[tokio::test]
async fn an_api_accepts_what_is_ticked() {
    let site = Site::start().await;
    let visitor = operator(&site).await;
    let strategy = site.strategy().await;
    let more = json!({
        "name": "more", "display_name": "More of it", "strategy_type": "openid_connect",
        "configs": {"openid-connect": {
            "issuer": site.world.idp.issuer, "auth_methods": ["bearer"],
        }},
    });
    site.operator
        .make("/v2/application-auth-strategies", more)
        .await;
    let application = site.operator.application(&strategy).await;
    let asked = json!({"api_id": "flights"});
    let path = format!("/v2/applications/{}/registrations", application.id);
    site.operator.done("POST", &path, asked).await;

    let shown = page(&visitor, "/operator/apis").await;
    assert!(
        shown.contains("0 approved, 1 waiting; you decide on new ones"),
        "{shown}"
    );
    assert!(
        !shown.contains("href=\"/operator/apis/open/edit\""),
        "{shown}"
    );
    let edit = "/operator/apis/flights/edit";
    let shown = page(&visitor, edit).await;
    assert!(shown.contains("More of it"), "{shown}");
    let form = Form::of(&shown, edit);
    assert_eq!(form.get("auth_strategies"), Some("dcr"));
    let mut both = form.clone().with("auto_approve_registrations", "true");
    both.fields
        .push(("auth_strategies".to_owned(), "more".to_owned()));
    assert_eq!(
        place(&both.send(&visitor).await),
        "/operator/apis?done=changed"
    );
    let now = site.operator.read("/v2/apis/flights").await;
    assert_eq!(now["auth_strategies"], json!(["dcr", "more"]));
    assert_eq!(now["auto_approve_registrations"], true);
    form.send(&visitor).await.assert_status(412);

    let form = Form::of(&page(&visitor, edit).await, edit);
    let form = form
        .without("auth_strategies")
        .without("auto_approve_registrations");
    place(&form.send(&visitor).await);
    let now = site.operator.read("/v2/apis/flights").await;
    assert_eq!(now["auth_strategies"], json!([]));
    assert_eq!(now["auto_approve_registrations"], false);

    let strange = Form::of(&page(&visitor, edit).await, edit).with("auth_strategies", "strange");
    strange.send(&visitor).await.assert_status(400);
}

#[tokio::test]
async fn what_stands_in_the_file_is_read_only() {
    let site = Site::with(|setup| {
        setup.config["identity_providers"][0]["registration"] = json!({"open": true});
    })
    .await;
    let visitor = operator(&site).await;
    for (list, path) in [
        ("/v2/dcr-providers", "/operator/providers"),
        ("/v2/application-auth-strategies", "/operator/strategies"),
    ] {
        let all = site.operator.read(list).await;
        let path = format!("{path}/{}", text(&all["data"][0], "id"));
        let shown = page(&visitor, &path).await;
        assert!(
            shown.contains("stands in the configuration file"),
            "{shown}"
        );
        for asked in [format!("{path}/edit"), format!("{path}/delete")] {
            assert!(
                !shown.contains(&format!("href=\"{asked}\"")),
                "{asked}: {shown}"
            );
            visitor.get(&asked).await.assert_status(409);
        }
    }
}

/// Every page here.
fn routes(provider: &str, strategy: &str) -> Vec<(&'static str, String)> {
    let (providers, strategies) = ("/operator/providers", "/operator/strategies");
    vec![
        ("GET", providers.to_owned()),
        ("POST", providers.to_owned()),
        ("GET", format!("{providers}/new")),
        ("GET", format!("{providers}/{provider}")),
        ("GET", format!("{providers}/{provider}/edit")),
        ("POST", format!("{providers}/{provider}/edit")),
        ("POST", format!("{providers}/{provider}/verify")),
        ("GET", format!("{providers}/{provider}/delete")),
        ("POST", format!("{providers}/{provider}/delete")),
        ("GET", strategies.to_owned()),
        ("POST", strategies.to_owned()),
        ("GET", format!("{strategies}/new")),
        ("GET", format!("{strategies}/{strategy}")),
        ("GET", format!("{strategies}/{strategy}/edit")),
        ("POST", format!("{strategies}/{strategy}/edit")),
        ("GET", format!("{strategies}/{strategy}/delete")),
        ("POST", format!("{strategies}/{strategy}/delete")),
        ("GET", "/operator/apis".to_owned()),
        ("GET", "/operator/apis/flights/edit".to_owned()),
        ("POST", "/operator/apis/flights/edit".to_owned()),
    ]
}

#[tokio::test]
async fn nobody_else_opens_these_pages_or_sends_their_forms() {
    let site = Site::start().await;
    let strategy = site.strategy().await;
    let providers = site.operator.read("/v2/dcr-providers").await;
    let provider = text(&providers["data"][0], "id");
    let developer = site.developer("dana@example.com").await;
    let visitor = operator(&site).await;
    for (method, path) in routes(&provider, &strategy) {
        for other in [&site.visitor(), &developer] {
            let form = Form {
                action: path.clone(),
                fields: vec![("csrf".to_owned(), "made-up".to_owned())],
            };
            let answer = match method {
                "GET" => other.get(&path).await,
                _ => form.send(other).await,
            };
            let to = place(&answer);
            assert!(to.starts_with("/operator/sign-in"), "{method} {path}: {to}");
        }
        if method == "GET" {
            let answer = visitor.get(&path).await;
            answer.assert_status(200);
            let policy = answer.header("content-security-policy");
            assert!(policy.is_some_and(|policy| policy.contains("default-src 'none'")));
            assert_eq!(answer.text().matches("<h1").count(), 1, "{path}");
            continue;
        }
        for csrf in [None, Some("made-up")] {
            let csrf = csrf.map(|value| ("csrf".to_owned(), value.to_owned()));
            let form = Form {
                action: path.clone(),
                fields: csrf.into_iter().collect(),
            };
            form.send(&visitor).await.assert_status(403);
        }
    }
    let after = site.operator.read("/v2/dcr-providers").await;
    assert_eq!(after, providers);
}
