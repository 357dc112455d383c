//! The operator: gateways whose registry is a database, and a client of their REST.

use std::{net::SocketAddr, sync::Mutex};

use serde_json::{Value, json};

use super::{
    client::{Call, Response},
    gateway::{ADMIN_TOKEN, Gateway, Setup},
    postgres::Database,
    session_key,
};

/// The database of a registry.
#[derive(Clone)]
pub(crate) enum Store {
    Postgres(Database),
    /// `registry.db` in the gateway's directory.
    Sqlite,
}

impl Store {
    /// Puts the registry into a set-up, with the key that seals what is secret in it.
    pub(crate) fn configure(&self, setup: &mut Setup) {
        let keys = json!([{"file": "secrets/registry"}]);
        setup.config["registry"] = match self {
            Self::Postgres(database) => {
                let url = ("DATABASE_URL".to_owned(), database.url.clone());
                setup.environment.push(url);
                json!({"postgres": {"env": "DATABASE_URL"}, "keys": keys})
            }
            Self::Sqlite => json!({"sqlite": "registry.db", "keys": keys}),
        };
        setup.applications = Value::Null;
        let key = ("secrets/registry".to_owned(), session_key(9));
        setup.files.push(key);
    }

    /// Everything that is on the disk of it, and what its tables hold: place and bytes.
    pub(crate) async fn bytes(&self, gateway: &Gateway) -> Vec<(&'static str, Vec<u8>)> {
        match self {
            Self::Postgres(database) => {
                let (tables, files) = database.contents().await;
                vec![("tables", tables.into_bytes()), ("data files", files)]
            }
            Self::Sqlite => {
                let read = |name| std::fs::read(gateway.directory.path().join(name));
                let database = read("registry.db").unwrap();
                let more = read("registry.db-wal").unwrap_or_default();
                vec![("database", [database, more].concat())]
            }
        }
    }
}

/// Whoever has the admin token. Keeps every answer that it gets.
pub(crate) struct Operator {
    address: SocketAddr,
    heard: Mutex<Vec<String>>,
}

/// An application with its client, as whoever made it knows them.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    /// The application's id.
    pub(crate) id: String,
    pub(crate) client_id: String,
    pub(crate) secret: String,
}

impl Operator {
    /// Of a gateway.
    pub(crate) fn of(gateway: &Gateway) -> Self {
        Self {
            address: gateway.admin,
            heard: Mutex::default(),
        }
    }

    /// A call with the token and a JSON body; null sends none.
    pub(crate) fn call(&self, method: &str, path: &str, body: &Value) -> Call {
        let call = Call::new(self.address, method, path).bearer(ADMIN_TOKEN);
        match body {
            Value::Null => call,
            body => call
                .header("Content-Type", "application/json")
                .body(body.to_string()),
        }
    }

    /// Asks for whatever it is.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: Value) -> Response {
        let response = self.call(method, path, &body).send().await;
        let told = format!("{response:?} {}", response.text());
        self.heard.lock().unwrap().push(told);
        response
    }

    /// The same where it has to be done.
    #[track_caller]
    pub(crate) fn done(
        &self,
        method: &str,
        path: &str,
        body: Value,
    ) -> impl Future<Output = Value> + use<'_> {
        let place = std::panic::Location::caller();
        let (method, path) = (method.to_owned(), path.to_owned());
        async move {
            let response = self.ask(&method, &path, body).await;
            let text = response.text();
            assert!(
                (200..300).contains(&response.status),
                "at {place}: {method} {path}: {} {text}",
                response.status
            );
            serde_json::from_str(&text).unwrap_or_default()
        }
    }

    /// Reads something.
    #[track_caller]
    pub(crate) fn read(&self, path: &str) -> impl Future<Output = Value> + use<'_> {
        self.done("GET", path, Value::Null)
    }

    /// Makes something; its id.
    #[track_caller]
    pub(crate) fn make(&self, path: &str, body: Value) -> impl Future<Output = String> + use<'_> {
        let made = self.done("POST", path, body);
        async move { text(&made.await, "id") }
    }

    /// Makes an application of a strategy whose client is registered.
    #[track_caller]
    pub(crate) fn application(&self, strategy: &str) -> impl Future<Output = Made> + use<'_> {
        let new = json!({
            "name": "Trip Planner", "description": "Plans trips",
            "owner": {"type": "developer", "id": "dana@example.com"},
            "auth_strategy_id": strategy,
        });
        let made = self.done("POST", "/v2/applications", new);
        async move {
            let made = made.await;
            Made {
                id: text(&made, "id"),
                client_id: text(&made, "client_id"),
                secret: text(&made, "client_secret"),
            }
        }
    }

    /// Registers an application for an API; the registration's id.
    #[track_caller]
    pub(crate) fn approve(
        &self,
        application: &Made,
        api: &str,
    ) -> impl Future<Output = String> + use<'_> {
        let path = format!("/v2/applications/{}/registrations", application.id);
        let made = self.done("POST", &path, json!({"api_id": api, "status": "approved"}));
        async move { text(&made.await, "id") }
    }

    /// Gives an application a new secret.
    #[track_caller]
    pub(crate) fn rotate(&self, application: &Made) -> impl Future<Output = Made> + use<'_> {
        let place = std::panic::Location::caller();
        let id = application.id.clone();
        async move {
            let path = format!("/v2/applications/{id}/regenerate-secret");
            let response = self.ask("POST", &path, Value::Null).await;
            assert_eq!(response.status, 200, "at {place}: {}", response.text());
            let made = response.json();
            Made {
                id,
                client_id: text(&made, "client_id"),
                secret: text(&made, "client_secret"),
            }
        }
    }

    /// Suspends an application, or lets it go on.
    pub(crate) async fn set_status(&self, application: &Made, status: &str) {
        let path = format!("/v2/applications/{}", application.id);
        self.done("PATCH", &path, json!({"status": status})).await;
    }

    /// Deletes something.
    #[track_caller]
    pub(crate) fn delete(&self, path: &str) -> impl Future<Output = ()> + use<'_> {
        let place = std::panic::Location::caller();
        let path = path.to_owned();
        async move {
            let response = self.ask("DELETE", &path, Value::Null).await;
            assert_eq!(response.status, 204, "at {place}: {}", response.text());
        }
    }

    /// Every answer that came so far, head and body.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

/// A member that has to be a text.
pub(crate) fn text(value: &Value, name: &str) -> String {
    let text = value[name].as_str();
    text.unwrap_or_else(|| panic!("{name} in {value}"))
        .to_owned()
}
