//! Lists: pages, filters, orders; and what is none of these.

use serde_json::{Value, json};

use super::{Portal, application, faults, provider, text};

fn names(list: &Value) -> Vec<String> {
    let each = list["data"].as_array().unwrap().iter();
    each.map(|one| text(&one["name"])).collect()
}

#[tokio::test]
async fn providers_are_paged_filtered_and_sorted() {
    let portal = Portal::start().await;
    for (name, kind, config, issuer) in [
        (
            "beta",
            "generic",
            json!({"initial_access_token": "x"}),
            "https://one.test/b",
        ),
        (
            "alpha",
            "okta",
            json!({"dcr_token": "x"}),
            "https://two.test/a",
        ),
        (
            "gamma",
            "generic",
            json!({"open": true}),
            "https://one.test/g",
        ),
    ] {
        let mut body = provider(name, issuer);
        body["provider_type"] = json!(kind);
        body["dcr_config"] = config;
        portal
            .post("/v2/dcr-providers", &body)
            .await
            .assert_status(201);
    }
    for (query, wanted) in [
        ("", vec!["alpha", "beta", "gamma"]),
        ("?sort=name%20desc", vec!["gamma", "beta", "alpha"]),
        ("?sort=created_at", vec!["beta", "alpha", "gamma"]),
        ("?sort=provider_type+desc", vec!["alpha", "beta", "gamma"]),
        ("?filter[name]=beta", vec!["beta"]),
        ("?filter[name][eq]=beta", vec!["beta"]),
        ("?filter[name][contains]=ET", vec!["beta"]),
        (
            "?filter%5Bname%5D%5Bcontains%5D=a&filter[issuer][contains]=one.test",
            vec!["beta", "gamma"],
        ),
        ("?filter[issuer]=https://two.test/a", vec!["alpha"]),
        ("?filter[provider_type]=generic", vec!["beta", "gamma"]),
        ("?filter[name]=nobody", vec![]),
        ("?page[size]=2", vec!["alpha", "beta"]),
        ("?page[size]=2&page[number]=2", vec!["gamma"]),
        ("?page[number]=1000000&page[size]=100", vec![]),
    ] {
        let list = portal.read(&format!("/v2/dcr-providers{query}")).await;
        assert_eq!(names(&list), wanted, "{query}");
    }
    let list = portal
        .read("/v2/dcr-providers?page[size]=2&page[number]=2")
        .await;
    assert_eq!(
        list["meta"],
        json!({"page": {"number": 2, "size": 2, "total": 3}})
    );
}

#[tokio::test]
async fn what_a_list_does_not_know_is_refused() {
    let portal = Portal::start().await;
    for (query, field, rule) in [
        ("filter[nmae]=x", "filter[nmae]", "unknown_property"),
        ("filter[labels]=x", "filter[labels]", "unknown_property"),
        (
            "filter[name][like]=x",
            "filter[name][like]",
            "unknown_property",
        ),
        ("name=x", "name", "unknown_property"),
        ("page=2", "page", "unknown_property"),
        ("page[size]=101", "page[size]", "range"),
        ("page[size]=0", "page[size]", "range"),
        ("page[number]=-1", "page[number]", "range"),
        ("page[number]=99999999999999999999", "page[number]", "range"),
        ("sort=secret", "sort", "enum"),
        (
            "filter[provider_type]=Curity",
            "filter[provider_type]",
            "enum",
        ),
        ("filter[name]=a&filter[name]=b", "filter[name]", "unique"),
        ("filter[name]=%00", "filter[name]", "pattern"),
    ] {
        let response = portal
            .get(&format!("/v2/dcr-providers?{query}"))
            .send()
            .await;
        assert_eq!(
            faults(&response),
            [(field.to_owned(), rule.to_owned())],
            "{query}"
        );
        assert_eq!(response.json()["invalid_parameters"][0]["source"], "query");
    }
}

#[tokio::test]
async fn every_parameter_of_the_document_is_known() {
    let portal = Portal::start().await;
    let document = portal.read("/v2/openapi.json").await;
    let mut tried = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let each = item["get"]["parameters"].as_array();
        for parameter in each
            .into_iter()
            .flatten()
            .filter(|one| one["in"] == "query")
        {
            let schema = &parameter["schema"];
            let values: Vec<String> = match &schema["enum"] {
                Value::Array(words) => words.iter().map(text).collect(),
                _ if schema["format"] == "uuid" => vec![uuid::Uuid::nil().to_string()],
                _ if schema["type"] == "integer" => vec![schema["maximum"].to_string()],
                _ => vec!["x".to_owned()],
            };
            for value in values {
                let target = path.replace("{id}", &uuid::Uuid::nil().to_string());
                let value = value.replace(' ', "+");
                let target = format!("{target}?{}={value}", text(&parameter["name"]));
                let response = portal.get(&target).send().await;
                let wanted = if path.contains('{') { 404 } else { 200 };
                assert_eq!(response.status, wanted, "{target}: {response:?}");
                tried += 1;
            }
        }
    }
    assert!(tried > 60, "{tried}");
}

#[tokio::test]
async fn applications_and_registrations_are_filtered() {
    let portal = Portal::start().await;
    let strategies = portal.read("/v2/application-auth-strategies").await;
    let strategy = text(&strategies["data"][0]["id"]);
    let mut ids = Vec::new();
    for (name, developer, client) in [
        ("Trip Planner", "dana@example.com", "one"),
        ("Trip Booker", "dana@example.com", "two"),
        ("Hotels", "kim@example.com", "three"),
    ] {
        let mut body = application(name, &strategy);
        body["owner"]["id"] = json!(developer);
        body["client_id"] = json!(client);
        let made = portal.post("/v2/applications", &body).await;
        ids.push(super::id(made.assert_status(201)));
    }
    let last = format!("/v2/applications/{}", ids[2]);
    portal
        .patch(&last, &json!({"status": "suspended"}))
        .await
        .assert_status(200);
    for (query, wanted) in [
        ("", vec!["Hotels", "Trip Booker", "Trip Planner"]),
        ("?filter[name]=trip", vec!["Trip Booker", "Trip Planner"]),
        ("?filter[name][contains]=plan", vec!["Trip Planner"]),
        ("?filter[name]=%25", vec![]),
        ("?filter[developer]=kim@example.com", vec!["Hotels"]),
        (
            "?filter[auth_strategy]=partners&page[size]=1",
            vec!["Hotels"],
        ),
        ("?filter[auth_strategy]=nobody", vec![]),
        ("?filter[client_id]=two", vec!["Trip Booker"]),
        ("?filter[status]=suspended", vec!["Hotels"]),
        (
            "?filter[status]=active&filter[developer]=kim@example.com",
            vec![],
        ),
    ] {
        let list = portal.read(&format!("/v2/applications{query}")).await;
        assert_eq!(names(&list), wanted, "{query}");
    }
    for (application, status) in [(&ids[0], "approved"), (&ids[1], "pending")] {
        let target = format!("/v2/applications/{application}/registrations");
        let body = json!({"api_id": "flights", "status": status});
        portal.post(&target, &body).await.assert_status(201);
    }
    for (query, count) in [
        (String::new(), 2),
        ("?filter[status]=pending".to_owned(), 1),
        ("?filter[status]=revoked".to_owned(), 0),
        ("?filter[api_id]=flights".to_owned(), 2),
        ("?filter[api_id]=open".to_owned(), 0),
        (format!("?filter[application_id]={}", ids[0]), 1),
    ] {
        let list = portal
            .read(&format!("/v2/application-registrations{query}"))
            .await;
        assert_eq!(list["meta"]["page"]["total"], count, "{query}");
    }
    let developers = portal.read("/v2/developers").await;
    assert_eq!(names(&developers), ["dana@example.com", "kim@example.com"]);
    let audit = portal
        .read("/v2/audit?filter[action]=application.create")
        .await;
    assert_eq!(audit["meta"]["page"]["total"], 3);
    let audit = portal
        .read(&format!("/v2/audit?filter[subject]={}", ids[2]))
        .await;
    assert!(audit["data"].as_array().unwrap().len() >= 2, "{audit}");
    assert_eq!(audit["data"][0]["actor"], "operator");
}
