//! The store, by itself: every test runs on SQLite and on PostgreSQL.

mod concurrency;
mod follow;
mod lists;
mod operations;
mod outages;
mod schema;
mod sealing;
mod since;
mod transfer;
mod upkeep;

use std::{collections::BTreeMap, path::PathBuf};

use base64::{Engine, prelude::BASE64_STANDARD};
use dcr_gateway::{
    idp::registration::Management,
    model::{
        application::{Registration as State, Status},
        credential::{ClientId, Secret},
        time::Timestamp,
    },
    portal::{
        record::{
            Actor, Api, Application, Credential, Intent, Life, Origin, Page, Provider,
            Registration, Source, Step, Strategy,
        },
        registry::{Change, Config, Key, Kind, Registry},
    },
};
use serde_json::{Map, Value, json};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row};
use tempfile::TempDir;
use tokio::runtime::Handle;
use uuid::Uuid;

use crate::harness::postgres;

/// Makes a test of each function for each database.
macro_rules! with_each_database {
    ($($name:ident,)+) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::registry::Store::sqlite()).await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$name(crate::registry::Store::postgres().await).await;
            })+
        }
    };
}
use with_each_database;

/// A database of one test.
struct Store {
    kind: Kind,
    place: Place,
}

enum Place {
    Postgres(postgres::Database),
    Sqlite(TempDir),
}

impl Store {
    fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            kind: Kind::Sqlite(directory.path().join("registry.db")),
            place: Place::Sqlite(directory),
        }
    }

    async fn postgres() -> Self {
        let database = postgres::database().await;
        Self {
            kind: Kind::Postgres(Secret::new(&*database.url)),
            place: Place::Postgres(database),
        }
    }

    /// One more process that uses it, with the first key.
    fn open(&self) -> Registry {
        self.open_with(&[1])
    }

    fn open_with(&self, keys: &[u8]) -> Registry {
        let config = Config {
            kind: self.kind.clone(),
            keys: keys.iter().map(|byte| key(*byte)).collect(),
        };
        Registry::new(config, Handle::current())
    }

    /// SQLite's file.
    fn file(&self) -> Option<PathBuf> {
        match &self.kind {
            Kind::Postgres(_) => None,
            Kind::Sqlite(path) => Some(path.clone()),
        }
    }

    /// A connection of the test's own, past the registry.
    async fn connect(&self) -> AnyConnection {
        sqlx::any::install_default_drivers();
        let url = match &self.place {
            Place::Postgres(database) => database.url.clone(),
            Place::Sqlite(directory) => {
                format!("sqlite://{}/registry.db", directory.path().display())
            }
        };
        AnyConnection::connect(&url).await.unwrap()
    }

    /// Runs statements past the registry.
    async fn sql(&self, statements: impl Into<String>) {
        let mut connection = self.connect().await;
        let statements = sqlx::raw_sql(AssertSqlSafe(statements.into()));
        statements.execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// The number that a statement finds.
    async fn number(&self, statement: &str) -> i64 {
        let mut connection = self.connect().await;
        let query = sqlx::query(AssertSqlSafe(statement.to_owned()));
        let row = query.fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        row.get(0)
    }
}

fn key(byte: u8) -> Key {
    Key::from_base64(&BASE64_STANDARD.encode([byte; 32])).unwrap()
}

async fn change(registry: &Registry) -> Change {
    registry.change(&Actor::Operator, None).await.unwrap()
}

/// One transaction with one call.
macro_rules! put {
    ($registry:expr, $call:ident($($value:expr),*)) => {{
        let mut change = crate::registry::change(&$registry).await;
        change.$call($($value),*).await.unwrap();
        change.commit().await.unwrap()
    }};
}
use put;

const FIRST: Page = Page {
    number: 1,
    size: 100,
};

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(1_800_000_000 + secs)
}

fn map(value: Value) -> Map<String, Value> {
    let Value::Object(map) = value else {
        panic!("{value}: no object")
    };
    map
}

fn labels(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    let labels = list.iter();
    labels
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn provider(name: &str) -> Provider {
    Provider {
        id: Uuid::new_v4(),
        name: name.to_owned(),
        display_name: format!("The provider {name}"),
        provider_type: "curity".to_owned(),
        issuer: "https://idp.test/oauth".to_owned(),
        settings: map(json!({"initial_client_id": "dcr", "nested": {"list": [1, "ü"]}})),
        secrets: BTreeMap::from([(
            "initial_client_secret".to_owned(),
            Secret::new("provider-s3cret"),
        )]),
        labels: labels(&[("team", "flights"), ("ö", "\"quoted\"")]),
        source: Source::Registry,
        created_at: at(1),
        updated_at: at(2),
        revision: 0,
    }
}

fn strategy(name: &str, provider: Option<Uuid>) -> Strategy {
    Strategy {
        id: Uuid::new_v4(),
        name: name.to_owned(),
        display_name: format!("The strategy {name}"),
        settings: map(json!({"issuer": "https://idp.test/oauth", "scopes": ["a", "b"]})),
        provider,
        labels: labels(&[]),
        source: Source::Registry,
        created_at: at(3),
        updated_at: at(4),
        revision: 0,
    }
}

fn api(name: &str) -> Api {
    Api {
        name: name.to_owned(),
        auto_approve: true,
        strategies: vec!["partners".to_owned()],
        revision: 0,
    }
}

/// A ready one, of the strategy `partners`.
fn application(client_id: &str) -> Application {
    Application {
        id: Uuid::new_v4(),
        name: format!("Program {client_id}"),
        description: "What it is for".to_owned(),
        developer: "dana@example.com".to_owned(),
        strategy: "partners".to_owned(),
        client_id: ClientId::new(client_id),
        origin: Origin::Registered,
        provider: Some("curity".to_owned()),
        management: Some(Management(Secret::new("management-t0ken"))),
        life: Life::Ready,
        status: Status::Active,
        scopes: vec!["flights:read".to_owned()],
        labels: labels(&[("tier", "gold")]),
        credentials_valid_from: at(5),
        created_at: at(6),
        updated_at: at(7),
        revision: 0,
    }
}

fn registration(application: Uuid, api: &str, state: State) -> Registration {
    Registration {
        id: Uuid::new_v4(),
        application,
        api: api.to_owned(),
        state,
        created_at: at(8),
        updated_at: at(9),
        revision: 0,
    }
}

fn credential(application: Uuid) -> Credential {
    Credential {
        id: Uuid::new_v4(),
        application,
        at_idp: Some("ocs-1".to_owned()),
        name: "first".to_owned(),
        created_at: at(10),
        expires_at: Some(at(11)),
    }
}

fn intent(registry: &Registry, application: Uuid) -> Intent {
    Intent {
        id: Uuid::new_v4(),
        application,
        step: Step::Create,
        process: registry.process(),
        data: Some(Secret::new("intent-s3cret")),
        created_at: at(12),
    }
}
