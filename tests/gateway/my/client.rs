//! The published client, as its makers packed it, does a developer's whole day.

use serde_json::{Value, json};

use super::{PASSWORD, Site};
use crate::harness::{
    peer::Peer,
    portal::{Made, text},
};

/// The client under Node.js.
struct Client(Peer);

impl Client {
    fn new(site: &Site) -> Self {
        let url = format!("http://{}", site.desk);
        Self(Peer::start("developer.mjs", &[&url]))
    }

    /// Calls one of its functions; what came of it.
    async fn call(&mut self, api: &str, call: &str, parameters: Value) -> (u64, Value) {
        let told = json!({"api": api, "call": call, "parameters": parameters});
        self.0.tell(told).await;
        let heard = self.0.hear("status").await;
        (heard["status"].as_u64().unwrap(), heard["data"].clone())
    }

    /// The same where this status has to come of it.
    #[track_caller]
    fn done(
        &mut self,
        status: u64,
        api: &'static str,
        call: &'static str,
        parameters: Value,
    ) -> impl Future<Output = Value> {
        let place = std::panic::Location::caller();
        async move {
            let (found, data) = self.call(api, call, parameters).await;
            assert_eq!(found, status, "at {place}: {call}: {data}");
            data
        }
    }
}

#[tokio::test]
async fn it_signs_in_makes_registers_refreshes_and_deletes() {
    let site = Site::start().await;
    site.strategy().await;
    let token = site.invite("dana@example.com").await;
    let mut client = Client::new(&site);
    let set = json!({"resetPasswordRequest": {"token": token, "password": PASSWORD}});
    client.done(204, "DeveloperApi", "resetPassword", set).await;
    let pair =
        json!({"authenticateRequest": {"username": "dana@example.com", "password": PASSWORD}});
    client.done(204, "DeveloperApi", "authenticate", pair).await;
    let me = client.done(200, "DeveloperApi", "getDeveloperMe", Value::Null);
    assert_eq!(me.await["email"], "dana@example.com");
    client
        .done(204, "DeveloperApi", "refresh", Value::Null)
        .await;

    let strategies = client.done(
        200,
        "ApplicationsApi",
        "listApplicationAuthStrategies",
        json!({"filterCredentialTypeEq": "client_credentials"}),
    );
    let strategies = strategies.await;
    assert_eq!(strategies["meta"]["page"]["total"], 1, "{strategies}");
    let strategy = text(&strategies["data"][0], "id");
    let new = json!({"createApplicationPayload": {
        "name": "Trip Planner", "description": "Plans trips", "auth_strategy_id": strategy,
        "scopes": ["read"], "redirect_uri": "https://planner.example.com/callback",
    }});
    let made = client
        .done(201, "ApplicationsApi", "createApplication", new)
        .await;
    let id = text(&made, "id");
    let mut pair = Made {
        id: id.clone(),
        client_id: text(&made["credentials"], "client_id"),
        secret: text(&made["credentials"], "client_secret"),
    };
    assert_eq!(made["reference_id"], pair.client_id);
    let filter = json!({"filterNameContains": "TRIP", "pageSize": 5});
    let listed = client
        .done(200, "ApplicationsApi", "listApplications", filter)
        .await;
    assert_eq!(
        listed["meta"]["page"],
        json!({"number": 1, "size": 5, "total": 1})
    );
    let own = json!({"applicationId": id});
    let read = client
        .done(200, "ApplicationsApi", "getApplication", own.clone())
        .await;
    assert_eq!(read["scopes"], json!(["read"]));
    assert!(!read.to_string().contains(&pair.secret), "shown once");
    let patch = json!({"applicationId": id, "updateApplicationPayload": {"name": "Planner"}});
    let patched = client
        .done(200, "ApplicationsApi", "updateApplication", patch)
        .await;
    assert_eq!(patched["name"], "Planner");

    let calls = async |pair: &Made| {
        let call = site.world.gateway.get("/flights");
        let response = call.basic(&pair.client_id, &pair.secret).send().await;
        (response.status, response.code())
    };
    assert_eq!(
        calls(&pair).await,
        (403, "registration_required".to_owned())
    );
    let products = client
        .done(200, "ProductsApi", "listProducts", json!({}))
        .await;
    let product = text(&products["data"][0], "id");
    let product = json!({"productId": product});
    let versions = client
        .done(200, "VersionsApi", "listProductVersions", product)
        .await;
    let version = &versions["data"][0];
    let mut configs = version["registration_configs"].as_array().unwrap().iter();
    assert!(configs.any(|one| one["id"] == strategy), "{version}");
    let version = text(version, "id");
    let asked = json!({
        "applicationId": id,
        "createRegistrationPayload": {"product_version_id": version, "scopes": []},
    });
    let asking = ("RegistrationsApi", "createApplicationRegistration");
    let registered = client.done(201, asking.0, asking.1, asked.clone()).await;
    assert_eq!(registered["status"], "pending");
    let again = client.done(409, asking.0, asking.1, asked).await;
    assert_eq!(again["code"], "already_registered");
    assert_eq!(calls(&pair).await, (403, "registration_pending".to_owned()));
    let registration = text(&registered, "id");
    let path = format!("/v2/application-registrations/{registration}");
    let approved = json!({"status": "approved"});
    site.operator.done("PATCH", &path, approved).await;
    assert_eq!(calls(&pair).await.0, 200);
    let own_registration = json!({"applicationId": id, "registrationId": registration});
    let asking = ("RegistrationsApi", "getApplicationRegistration");
    let read = client
        .done(200, asking.0, asking.1, own_registration.clone())
        .await;
    assert_eq!(
        (&read["status"], &read["product_name"]),
        (&json!("approved"), &json!("flights"))
    );
    let filter = json!({"applicationId": id, "filterStatusEq": "approved"});
    let listed = client.done(
        200,
        "RegistrationsApi",
        "listApplicationRegistrations",
        filter,
    );
    assert_eq!(listed.await["meta"]["page"]["total"], 1);
    let asking = (
        "RegistrationsApi",
        "getApplicationRegistrationGrantedScopes",
    );
    let scopes = client
        .done(200, asking.0, asking.1, own_registration.clone())
        .await;
    assert_eq!(scopes, json!({"scopes": ["read"]}));

    let credentials = client
        .done(200, "CredentialsApi", "listCredentials", own.clone())
        .await;
    let credential = text(&credentials["data"][0], "id");
    let rename = json!({
        "applicationId": id, "credentialId": credential,
        "updateCredentialPayload": {"display_name": "2026"},
    });
    let renamed = client
        .done(200, "CredentialsApi", "updateCredential", rename)
        .await;
    assert_eq!(renamed, json!({"id": credential, "display_name": "2026"}));
    let more = client
        .done(409, "CredentialsApi", "createCredential", own.clone())
        .await;
    assert_eq!(
        more["code"], "single_credential",
        "the stand-in's clients have one secret"
    );
    let refreshed = client.done(
        201,
        "CredentialsApi",
        "refreshApplicationToken",
        own.clone(),
    );
    let refreshed = refreshed.await;
    let old = pair.clone();
    pair.client_id = text(&refreshed, "client_id");
    pair.secret = text(&refreshed, "client_secret");
    assert_eq!(calls(&old).await.0, 401);
    assert_eq!(calls(&pair).await.0, 200);

    let asking = ("RegistrationsApi", "deleteApplicationRegistration");
    client.done(204, asking.0, asking.1, own_registration).await;
    assert_eq!(
        calls(&pair).await,
        (403, "registration_required".to_owned())
    );
    client
        .done(204, "ApplicationsApi", "deleteApplication", own.clone())
        .await;
    assert_eq!(calls(&pair).await.0, 401);
    client
        .done(404, "ApplicationsApi", "getApplication", own)
        .await;
    client
        .done(204, "DeveloperApi", "logout", Value::Null)
        .await;
    client
        .done(401, "DeveloperApi", "getDeveloperMe", Value::Null)
        .await;

    let audit = site.operator.read("/v2/audit?page[size]=100").await;
    let lines = audit["data"].as_array().unwrap().iter();
    let own = lines.filter(|line| line["actor"] == "developer dana@example.com");
    let actions: Vec<_> = own.map(|line| text(line, "action")).collect();
    for action in [
        "application.create",
        "application.update",
        "application.delete",
        "credential.rotate",
        "registration.create",
        "registration.delete",
    ] {
        assert!(
            actions.iter().any(|known| known == action),
            "{action}: {actions:?}"
        );
    }
}
