//! Whose is what: every route of the document, asked by nobody and by somebody else.

use serde_json::{Value, json};

use super::Site;
use crate::harness::portal::text;

/// What Dana has, by the names that paths give it.
struct Things {
    strategy: String,
    ids: Vec<(&'static str, String)>,
}

impl Things {
    async fn of(site: &Site) -> (super::Visitor, Self) {
        let strategy = site.strategy().await;
        let dana = site.developer("dana@example.com").await;
        let made = json!({"name": "Danas Planner", "auth_strategy_id": strategy});
        let made = dana.ask("POST", "/api/v2/applications", made).await;
        made.assert_status(201);
        let application = text(&made.json(), "id");
        let path = format!("/api/v2/applications/{application}");
        let credentials = dana.get(&format!("{path}/credentials")).await.json();
        let products = dana.get("/api/v2/products").await.json();
        let product = &products["data"][0];
        let version = text(&product["latest_version"], "id");
        let asked = json!({"product_version_id": version});
        let asked = dana
            .ask("POST", &format!("{path}/registrations"), asked)
            .await;
        asked.assert_status(201);
        let ids = vec![
            ("applicationId", application),
            ("credentialId", text(&credentials["data"][0], "id")),
            ("registrationId", text(&asked.json(), "id")),
            ("productVersionId", version),
            ("productId", text(product, "id")),
        ];
        (dana, Self { strategy, ids })
    }

    /// A path of the document, for Dana's own things.
    fn path(&self, path: &str) -> String {
        let fill =
            |path: String, (name, id): &(&str, String)| path.replace(&format!("{{{name}}}"), id);
        self.ids.iter().fold(path.to_owned(), fill)
    }

    /// A body that the operation takes, for Dana's own things.
    fn body(&self, document: &Value, operation: &Value) -> Value {
        let place = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
        let Some(place) = place.as_str() else {
            return Value::Null;
        };
        let schema = document.pointer(place.strip_prefix('#').unwrap()).unwrap();
        let mut body = schema["example"].clone();
        assert!(body.is_object(), "{place} has an example");
        if body.get("product_version_id").is_some() {
            body["product_version_id"] = json!(self.ids[3].1);
        }
        body
    }
}

#[tokio::test]
async fn somebody_else_finds_nothing_and_nobody_gets_nowhere() {
    let site = Site::start().await;
    let (dana, things) = Things::of(&site).await;
    let erin = site.developer("erin@example.com").await;
    let document = dana.get("/api/v2/openapi.json").await.json();
    let state = async || {
        let path = things.path("/api/v2/applications/{applicationId}");
        let mut all = Vec::new();
        for below in ["", "/credentials", "/registrations"] {
            let told = dana.get(&format!("{path}{below}")).await;
            all.push(told.assert_status(200).json());
        }
        all
    };
    let before = state().await;
    let (mut private, mut others) = (0, 0);
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let method = method.to_ascii_uppercase();
            let is_open = operation.get("security").is_some();
            let target = things.path(path);
            assert!(!target.contains('{'), "{target}");
            let body = || things.body(&document, operation);
            if is_open {
                continue;
            }
            private += 1;
            for nobody in [None, Some("dcr_portal=made-up".to_owned())] {
                let mut visitor = site.visitor();
                visitor.cookie = nobody;
                let refused = visitor.ask(&method, &target, body()).await;
                refused.assert_problem(401, "session_required");
                let malformed = visitor.ask(&method, &target, json!([])).await;
                malformed.assert_problem(401, "session_required");
            }
            if path.contains("{applicationId}") {
                others += 1;
                let refused = erin.ask(&method, &target, body()).await;
                refused.assert_problem(404, "not_found");
            } else if method == "GET" {
                let told = erin.get(&target).await;
                told.assert_status(200);
                assert!(!told.text().contains("Danas"), "{target}");
                assert!(!told.text().contains(&things.ids[0].1), "{target}");
            }
        }
    }
    assert!(private > 20 && others > 12, "{private} {others}");
    assert_eq!(state().await, before, "nothing has changed");
}

#[tokio::test]
async fn things_of_one_application_are_not_found_below_another() {
    let site = Site::start().await;
    let (dana, things) = Things::of(&site).await;
    let another = json!({"name": "Another", "auth_strategy_id": things.strategy});
    let another = dana.ask("POST", "/api/v2/applications", another).await;
    let another = text(&another.assert_status(201).json(), "id");
    for path in [
        "/api/v2/applications/{other}/registrations/{registrationId}",
        "/api/v2/applications/{other}/registrations/{registrationId}/granted-scopes",
        "/api/v2/applications/{other}/product-versions/{productVersionId}/granted-scopes",
    ] {
        let path = things.path(&path.replace("{other}", &another));
        dana.get(&path).await.assert_problem(404, "not_found");
    }
    for path in [
        "/api/v2/applications/{other}/registrations/{registrationId}",
        "/api/v2/applications/{other}/credentials/{credentialId}",
    ] {
        let path = things.path(&path.replace("{other}", &another));
        let refused = dana.ask("DELETE", &path, Value::Null).await;
        refused.assert_problem(404, "not_found");
    }
}

#[tokio::test]
async fn applications_of_the_address_are_ones_own_in_whatever_case() {
    let site = Site::start().await;
    let strategy = site.strategy().await;
    for (name, owner) in [
        ("Own", "dana@example.com"),
        ("Written otherwise", "Dana@EXAMPLE.com"),
        ("Of another", "dana@example.com.evil.test"),
        ("Of a pattern", "dan_@example.com"),
        ("Of a sign like a letter", "dana@example.com\u{212a}"),
    ] {
        let new = json!({
            "name": name, "auth_strategy_id": strategy,
            "owner": {"type": "developer", "id": owner},
        });
        site.operator.make("/v2/applications", new).await;
    }
    let dana = site.developer("Dana@example.com").await;
    let told = dana.get("/api/v2/applications").await.json();
    let listed = told["data"].as_array().unwrap().iter();
    let mut names: Vec<_> = listed.map(|one| text(one, "name")).collect();
    names.sort_unstable();
    assert_eq!(names, ["Own", "Written otherwise"]);
    assert_eq!(told["meta"]["page"]["total"], 2);
    for (query, found) in [
        ("filter[name]=Own", 1),
        ("filter[name]=own", 0),
        ("filter[name][contains]=OTHER", 1),
        ("filter[name][contains]=of+a", 0),
        ("page[size]=1&page[number]=2", 1),
    ] {
        let told = dana.get(&format!("/api/v2/applications?{query}")).await;
        assert_eq!(
            told.json()["data"].as_array().unwrap().len(),
            found,
            "{query}"
        );
    }
    let id = uuid::Uuid::new_v4();
    for (id, found) in [(strategy, 2), (id.to_string(), 0)] {
        let path = format!("/api/v2/applications?filter[auth_strategy_id]={id}");
        let told = dana.get(&path).await.json();
        assert_eq!(told["data"].as_array().unwrap().len(), found, "{id}");
    }
}
