//! Nothing acknowledged is lost: whatever the moment at which a gateway is killed, its heir, which
//! is itself after a restart or a neighbour, leaves registry and identity provider in step.
//!
//! Every row of a dialect's table has an application of its own. All of them are brought to their
//! moments, one after the other, by holding up calls at the identity provider; then the gateway is
//! killed once. What was answered and is not to be kept is answered while the test holds the
//! database's lock.

mod dialects;
mod fenced;
mod outages;
mod storm;

use std::time::Duration;

use serde_json::{Value, json};
use sqlx::{AnyConnection, Connection as _};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

use self::dialects::{Dialect, Moment, Operation, Row};
use super::products::merge;
use crate::{
    harness::{
        api,
        client::Call,
        eventually,
        gateway::{Gateway, Setup},
        http1::Answer,
        idp::Endpoint,
        pass,
        portal::{Made, Operator, Store, text},
        postgres, setup,
        upstream::Upstream,
    },
    vendors::{
        auth0::Auth0,
        azure::Azure,
        bridge::Bridge,
        curity::Curity,
        emulation::{Deed, Emulation, Held},
        generic::Generic,
        okta::Okta,
        wso2::Wso2,
    },
};

/// A process counts as dead after five seconds; then there are some calls to make.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a gateway logs of whatever nobody can look for.
const LEFT: &str = "this may be left at the identity provider";

/// A gateway, its identity provider, and perhaps another gateway of the same registry.
struct World<V> {
    gateway: Gateway,
    neighbour: Option<Gateway>,
    idp: Emulation<V>,
    store: Store,
    strategy: String,
    /// Clients at the identity provider that are the operator's own.
    own: usize,
    /// `registration`, and the secret in it.
    access: (Value, &'static str),
    deadline: &'static str,
    upstream: Upstream,
}

/// A row with its application, brought to its moment.
struct Case {
    row: Row,
    name: String,
    /// Nothing where it is made in this row.
    made: Option<Made>,
    /// A good token from before.
    token: String,
    call: JoinHandle<Vec<u8>>,
    /// Kept, so that the call stays held up.
    held: Option<Held>,
}

#[tokio::test]
async fn killed_at_each_step_and_started_again_on_sqlite() {
    tokio::join!(
        each_step::<Auth0>(Store::Sqlite),
        each_step::<Azure<2>>(Store::Sqlite),
        each_step::<Bridge>(Store::Sqlite),
        each_step::<Curity>(Store::Sqlite),
        each_step::<Generic>(Store::Sqlite),
        each_step::<Okta>(Store::Sqlite),
        each_step::<Wso2>(Store::Sqlite),
    );
}

#[tokio::test]
async fn killed_at_each_step_beside_a_neighbour_on_postgresql() {
    let new = async || Store::Postgres(postgres::database().await);
    tokio::join!(
        each_step::<Auth0>(new().await),
        each_step::<Azure<2>>(new().await),
        each_step::<Bridge>(new().await),
        each_step::<Curity>(new().await),
        each_step::<Generic>(new().await),
        each_step::<Okta>(new().await),
        each_step::<Wso2>(new().await),
    );
}

async fn each_step<V: Dialect>(store: Store) {
    let mut world = World::<V>::start(store, "300s")
        .await
        .with_neighbour()
        .await;
    let mut cases = Vec::new();
    for (number, row) in V::rows().into_iter().enumerate() {
        let name = format!("{:?}-{number}", row.operation);
        cases.push(world.bring(row, name).await);
    }
    let lock = Lock::on(&world).await;
    for case in &mut cases {
        if case.row.moment == Moment::Unkept {
            case.held.take().unwrap().release();
        }
    }
    // The answers are on their way; wherever they are, nothing can be kept.
    pass(Duration::from_millis(300)).await;
    world.gateway.kill().await;
    lock.release().await;
    let mut doubts = 0;
    let mut left = 0;
    for case in &mut cases {
        let answer = (&mut case.call).await.unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        // A deletion that takes long is answered before its end: it goes on.
        let goes_on = answer.starts_with("HTTP/1.1 503 ") && answer.contains("unfinished");
        let expected = case.row.operation == Operation::Delete && goes_on;
        assert!(answer.is_empty() || expected, "{}: {answer}", case.name);
        doubts += usize::from(case.is_doubtful::<V>());
        let is_done = matches!(case.row.moment, Moment::Done | Moment::Unkept);
        left += usize::from(case.is_doubtful::<V>() && is_done);
    }
    if world.neighbour.is_none() {
        world.gateway.start_again().await;
    }
    world.settled().await;
    world.tells_of(doubts).await;
    for case in &cases {
        world.is_whole_or_gone(case).await;
    }
    world.ends_with(left).await;
}

impl<V: Dialect> World<V> {
    async fn start(store: Store, deadline: &'static str) -> Self {
        let (idp, upstream) = (Emulation::<V>::start().await, Upstream::start().await);
        let access = idp.turn(|account, vendor| vendor.admit(account, &idp.base));
        let set_up = configured(&idp, &upstream, &store, &access, deadline);
        let gateway = Gateway::start(set_up).await;
        let strategies = Operator::of(&gateway)
            .read("/v2/application-auth-strategies")
            .await;
        Self {
            strategy: text(&strategies["data"][0], "id"),
            own: idp.turn(|account, _| account.clients.len()),
            gateway,
            neighbour: None,
            idp,
            store,
            access,
            deadline,
            upstream,
        }
    }

    /// The same with another gateway where several can share the registry.
    async fn with_neighbour(mut self) -> Self {
        if matches!(self.store, Store::Postgres(_)) {
            let set_up = configured(
                &self.idp,
                &self.upstream,
                &self.store,
                &self.access,
                self.deadline,
            );
            self.neighbour = Some(Gateway::start(set_up).await);
            // Some vendors give each gateway a client of its own to introspect with.
            self.own = self.idp.turn(|account, _| account.clients.len());
        }
        self
    }

    /// Whoever reconciles: the neighbour, or the gateway itself after its restart.
    fn heir(&self) -> &Gateway {
        self.neighbour.as_ref().unwrap_or(&self.gateway)
    }

    fn operator(&self) -> Operator {
        Operator::of(self.heir())
    }

    fn new_application(&self, name: &str) -> Value {
        json!({
            "name": name, "owner": {"type": "developer", "id": "dana@example.com"},
            "auth_strategy_id": self.strategy,
        })
    }

    /// Sends a request, alone on its connection; whatever came back until that ended.
    fn send(&self, call: &Call) -> JoinHandle<Vec<u8>> {
        let (address, bytes) = (
            call.address,
            call.clone().header("Connection", "close").bytes(),
        );
        tokio::spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(&bytes).await.unwrap();
            let mut told = Vec::new();
            // A killed process resets its connections.
            let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut told)).await;
            told
        })
    }

    fn token(&self, client_id: &str) -> String {
        self.idp.token(client_id).build()
    }

    /// Makes an application with its client.
    async fn make(&self, name: &str) -> Made {
        let new = self.new_application(name);
        let operator = Operator::of(&self.gateway);
        let made = operator.done("POST", "/v2/applications", new).await;
        Made {
            id: text(&made, "id"),
            client_id: text(&made, "client_id"),
            secret: text(&made, "client_secret"),
        }
    }

    /// The request of a row.
    async fn request(&self, row: Row, name: &str, made: Option<&Made>) -> Call {
        let operator = Operator::of(&self.gateway);
        let at = |rest: &str| {
            let id = made.map_or("", |made| &*made.id);
            format!("/v2/applications/{id}{rest}")
        };
        let nothing = Value::Null;
        match row.operation {
            Operation::AddSecret => operator.call("POST", &at("/credentials"), &nothing),
            Operation::Create => operator
                .call("POST", "/v2/applications", &self.new_application(name))
                .header("Idempotency-Key", name),
            Operation::Delete => operator.call("DELETE", &at(""), &nothing),
            Operation::RemoveSecret => {
                let more = operator.done("POST", &at("/credentials"), nothing.clone());
                let id = text(&more.await, "id");
                operator.call("DELETE", &at(&format!("/credentials/{id}")), &nothing)
            }
            Operation::Rename => operator.call(
                "PATCH",
                &at(""),
                &json!({"name": format!("{name}-renamed")}),
            ),
            Operation::Rotate => operator.call("POST", &at("/regenerate-secret"), &nothing),
        }
    }

    /// Brings a row to its moment.
    async fn bring(&self, row: Row, name: String) -> Case {
        let made = match row.operation {
            Operation::Create => None,
            _ => Some(self.make(&name).await),
        };
        if let (Operation::AddSecret, Some(made)) = (row.operation, &made) {
            // Its first secret is one that was made at the identity provider itself.
            let mut connection = connect(self).await;
            sqlx::query("DELETE FROM credentials WHERE application = $1")
                .bind(&made.id)
                .execute(&mut connection)
                .await
                .unwrap();
            connection.close().await.unwrap();
        }
        let token = made.as_ref().map(|made| self.token(&made.client_id));
        let token = token.unwrap_or_default();
        let request = self.request(row, &name, made.as_ref()).await;
        if let Some(refused) = row.refused {
            let refusal = Answer::json(400, &json!({"error": "invalid_request"}));
            self.idp
                .slip(Endpoint::Registration, refused, Deed::Undone, refusal);
        }
        let mut held = None;
        let call = match row.moment {
            Moment::Throttled => {
                let waits = || {
                    let lines = self.gateway.log();
                    let waits = |line: &&String| line.contains("waiting for the identity provider");
                    lines.iter().filter(waits).count()
                };
                let before = waits();
                let busy = Answer::new(429, "").header("Retry-After", "30");
                self.idp
                    .slip(Endpoint::Registration, row.call, Deed::Undone, busy);
                let call = self.send(&request);
                eventually!(waits() > before, "{}: {name} waits", V::NAME);
                call
            }
            Moment::Done | Moment::Undone | Moment::Unkept => {
                let deed = match row.moment {
                    Moment::Undone => Deed::Undone,
                    _ => Deed::Done,
                };
                let mut hold = self.idp.hold(row.call, deed);
                let call = self.send(&request);
                hold.reached().await;
                held = Some(hold);
                call
            }
        };
        Case {
            row,
            name,
            made,
            token,
            call,
            held,
        }
    }

    /// Intents in the database.
    async fn unfinished(&self) -> i64 {
        let mut connection = connect(self).await;
        let count = "SELECT COUNT(*) FROM intents";
        let count = sqlx::query_scalar(count).fetch_one(&mut connection).await;
        connection.close().await.unwrap();
        count.unwrap()
    }

    /// Everything that was interrupted is finished or undone.
    async fn settled(&self) {
        let settled = async {
            while self.unfinished().await > 0 {
                pass(Duration::from_millis(100)).await;
            }
            let heir = self.heir();
            while heir.metric("dcr_registrations_unfinished", &[]).await > 0.0 {
                pass(Duration::from_millis(20)).await;
            }
        };
        let settled = tokio::time::timeout(PATIENCE, settled).await;
        assert!(settled.is_ok(), "{}: not settled", V::NAME);
    }

    /// What may be left is told: in the log, as a metric and in the audit trail.
    async fn tells_of(&self, doubts: usize) {
        let heir = self.heir();
        let told = || heir.log().iter().filter(|line| line.contains(LEFT)).count();
        eventually!(told() == doubts, "{}: {doubts} lines of the log", V::NAME);
        let counted = heir.metric("dcr_registration_orphans_total", &[]).await;
        assert_eq!(counted, doubts as f64, "{}: the metric", V::NAME);
        let mut kept = 0;
        for action in [
            "application.create_undone_in_doubt",
            "application.update_in_doubt",
            "credential.rotate_undone_in_doubt",
        ] {
            let path = format!("/v2/audit?filter[action]={action}&page[size]=100");
            let found = self.operator().read(&path).await;
            kept += found["data"].as_array().unwrap().len();
        }
        assert_eq!(kept, doubts, "{}: the audit trail", V::NAME);
    }

    /// How the data plane answers.
    async fn bearer(&self, token: &str) -> u16 {
        let call = self.heir().get("/orders").bearer(token);
        call.send().await.status
    }

    async fn basic(&self, client_id: &str, secret: &str) -> u16 {
        let call = self.heir().get("/orders").basic(client_id, secret);
        call.send().await.status
    }

    fn has(&self, client_id: &str) -> bool {
        self.idp
            .turn(|account, _| account.clients.contains_key(client_id))
    }

    /// What became of the application of a row.
    async fn is_whole_or_gone(&self, case: &Case) {
        let what = format!("{}: {} {:?}", V::NAME, case.name, case.row);
        let operator = self.operator();
        let Some(made) = &case.made else {
            return self.can_be_made_again(case, &what).await;
        };
        let path = format!("/v2/applications/{}", made.id);
        let told = operator.ask("GET", &path, Value::Null).await;
        if case.row.operation == Operation::Delete {
            assert_eq!(told.status, 404, "{what}: {}", told.text());
            assert!(!self.has(&made.client_id), "{what}: its client");
            assert_ne!(self.bearer(&case.token).await, 200, "{what}");
            return;
        }
        assert_eq!(told.status, 200, "{what}: {}", told.text());
        let told = told.json();
        assert_eq!(told["life"], "ready", "{what}");
        let client_id = text(&told, "client_id");
        assert!(self.has(&client_id), "{what}: its client");
        match case.row.operation {
            Operation::Rotate => {
                let replaced = V::REPLACES && case.row.call.0 == "DELETE";
                let stays = V::REPLACES && !replaced;
                // Where the client was to be replaced, nothing has happened to the old one.
                let expected = if stays { 200 } else { 401 };
                let found = self.bearer(&case.token).await;
                match replaced {
                    true => {
                        assert_ne!(client_id, made.client_id, "{what}");
                        assert!(!self.has(&made.client_id), "{what}: the old client");
                        assert_eq!(found, 403, "{what}: the old token");
                    }
                    false => assert_eq!(found, expected, "{what}: the old token"),
                }
                if stays {
                    let found = self.basic(&made.client_id, &made.secret).await;
                    assert_eq!(found, 200, "{what}: the old secret");
                }
                let again = operator.rotate(made).await;
                let found = self.basic(&again.client_id, &again.secret).await;
                assert_eq!(found, 200, "{what}: the next secret");
                let secrets = self.idp.client(&again.client_id, |c| c.secrets.len());
                assert_eq!(secrets, 1, "{what}: secrets");
            }
            Operation::AddSecret | Operation::RemoveSecret | Operation::Rename => {
                let secrets = self.idp.client(&client_id, |c| c.secrets.len());
                assert_eq!(secrets, 1, "{what}: secrets");
                let found = self.basic(&made.client_id, &made.secret).await;
                assert_eq!(found, 200, "{what}: the secret");
                if case.row.operation == Operation::Rename {
                    assert_eq!(told["name"], format!("{}-renamed", case.name), "{what}");
                    assert_eq!(self.bearer(&case.token).await, 200, "{what}: the token");
                }
                if case.row.operation == Operation::AddSecret {
                    let path = format!("{path}/credentials");
                    operator.done("POST", &path, Value::Null).await;
                }
            }
            Operation::Create | Operation::Delete => unreachable!("seen above"),
        }
    }

    /// Whatever is there can be deleted, and then nothing is left but so many clients of which it
    /// was told.
    async fn ends_with(&self, left: usize) {
        let operator = self.operator();
        let all = operator.read("/v2/applications?page[size]=100").await;
        for application in all["data"].as_array().unwrap() {
            let path = format!("/v2/applications/{}", text(application, "id"));
            operator.delete(&path).await;
        }
        let clients = self.idp.turn(|account, vendor| {
            let clients = account.clients.len() - self.own;
            assert!(vendor.holds(clients), "{}: {clients} and more", V::NAME);
            clients
        });
        assert_eq!(clients, left, "{}: clients at the end", V::NAME);
        assert_eq!(self.unfinished().await, 0, "{}: intents", V::NAME);
    }

    /// Of a creation nothing is there, and who sends it again gets one application.
    async fn can_be_made_again(&self, case: &Case, what: &str) {
        let operator = self.operator();
        let path = format!("/v2/applications?filter[name]={}&page[size]=100", case.name);
        let there = async || {
            let found = operator.read(&path).await;
            let found = found["data"].as_array().unwrap().iter();
            found.filter(|one| one["name"] == case.name).count()
        };
        assert_eq!(there().await, 0, "{what}: it is gone");
        let new = self.new_application(&case.name);
        let again = operator
            .call("POST", "/v2/applications", &new)
            .header("Idempotency-Key", &case.name)
            .send()
            .await;
        assert_eq!(again.status, 201, "{what}: {}", again.text());
        assert_eq!(there().await, 1, "{what}: there is one");
        let made = again.json();
        let (id, secret) = (text(&made, "client_id"), text(&made, "client_secret"));
        assert_eq!(self.basic(&id, &secret).await, 200, "{what}");
    }
}

impl Case {
    /// Whether nobody can tell what is left of it at the identity provider, so that it is told.
    fn is_doubtful<V: Dialect>(&self) -> bool {
        let Row {
            operation,
            call,
            moment,
            ..
        } = self.row;
        match operation {
            Operation::Create => !V::LOOKS,
            // The token that manages the client is lost with the answer.
            Operation::Rename => V::REPLACES && moment != Moment::Undone,
            Operation::Rotate => V::REPLACES && call.0 == "POST",
            Operation::AddSecret | Operation::Delete | Operation::RemoveSecret => false,
        }
    }
}

/// The database's lock, so that nobody else can write.
struct Lock(AnyConnection);

impl Lock {
    async fn on<V: Dialect>(world: &World<V>) -> Self {
        let mut connection = connect(world).await;
        let taken = match &world.store {
            Store::Postgres(_) => "BEGIN; SELECT id FROM registry WHERE id = 1 FOR UPDATE",
            Store::Sqlite => "BEGIN IMMEDIATE",
        };
        sqlx::raw_sql(taken).execute(&mut connection).await.unwrap();
        Self(connection)
    }

    async fn release(mut self) {
        let ended = sqlx::raw_sql("ROLLBACK").execute(&mut self.0).await;
        ended.unwrap();
        self.0.close().await.unwrap();
    }
}

/// A connection to the registry's database, past any gateway.
async fn connect<V>(world: &World<V>) -> AnyConnection {
    sqlx::any::install_default_drivers();
    let url = match &world.store {
        Store::Postgres(database) => database.url.clone(),
        Store::Sqlite => {
            let directory = world.gateway.directory.path();
            format!("sqlite://{}/registry.db", directory.display())
        }
    };
    AnyConnection::connect(&url).await.unwrap()
}

/// A gateway with this identity provider in its file.
fn configured<V: Dialect>(
    idp: &Emulation<V>,
    upstream: &Upstream,
    store: &Store,
    (registration, secret): &(Value, &str),
    deadline: &str,
) -> Setup {
    let mut setup = setup("https://unused.test", upstream);
    store.configure(&mut setup);
    let (more, strategy_more, issuer, files) = idp.turn(|account, vendor| {
        (
            vendor.identity_provider(account),
            vendor.strategy(),
            vendor.issuer(),
            vendor.files(account),
        )
    });
    setup.files.extend(files);
    let secrets = [("own", "the-gateways-own"), ("initial", *secret)];
    let secrets = secrets.map(|(name, text)| (format!("secrets/{name}"), text.to_owned()));
    setup.files.extend(secrets);
    // A call that is held up lasts until the gateway is killed.
    let mut entry = json!({
        "name": "idp", "vendor": V::NAME, "issuer": issuer, "timeout": deadline,
        "registration": registration,
    });
    entry["registration"]["deadline"] = json!(deadline);
    merge(&mut entry, &more);
    let mut strategy = json!({
        "name": "partners", "identity_provider": "idp",
        "auth_methods": ["client_credentials", "bearer"],
    });
    merge(&mut strategy, &strategy_more);
    merge(&mut strategy, &V::more());
    let mut orders = api("orders", upstream);
    orders["access"] = json!("application");
    setup.config["identity_providers"] = json!([entry]);
    setup.config["auth_strategies"] = json!([strategy]);
    setup.config["apis"] = json!([orders]);
    setup
}
