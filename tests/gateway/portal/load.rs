//! Many at once: clients that make applications at two gateways, whose registry is one PostgreSQL.
//! None is lost, none is there twice, and every one passes both. `benches/registrations.sh` does the
//! same with more of them, and measures.

use std::collections::HashSet;

use futures_util::future::{join, join_all};
use serde_json::{Value, json};

use crate::harness::{
    AUDIENCE, api,
    client::Response,
    eventually,
    gateway::{Gateway, Wait},
    idp::{Endpoint, Idp},
    portal::{Made, Operator, Store, text},
    postgres, setup,
    upstream::Upstream,
};

const APPLICATIONS: &str = "/v2/applications";

/// Clients, and how many applications each makes, one after the other.
const CLIENTS: usize = 12;
const EACH: usize = 5;

/// Two gateways, and everybody around them.
struct Pair {
    sides: [Side; 2],
    strategy: String,
    idp: Idp,
    upstream: Upstream,
}

struct Side {
    gateway: Gateway,
    operator: Operator,
}

#[tokio::test]
async fn every_application_made_by_many_at_once_is_there_once_and_passes_both_gateways() {
    let pair = Pair::start().await;
    let made = join_all((0..CLIENTS).map(|client| pair.make_some(client))).await;
    let made: Vec<Made> = made.into_iter().flatten().collect();
    assert_eq!(made.len(), CLIENTS * EACH);

    pair.in_step().await;
    let ids = once(made.iter().map(|made| made.id.clone()));
    let clients = once(made.iter().map(|made| made.client_id.clone()));
    for side in &pair.sides {
        let listed = side.listed().await;
        assert_eq!(once(listed.iter().map(|one| text(one, "id"))), ids);
        assert_eq!(
            once(listed.iter().map(|one| text(one, "client_id"))),
            clients
        );
    }
    assert_eq!(once(pair.idp.clients().into_iter()), clients);
    assert_eq!(pair.idp.hits(Endpoint::Registration), made.len());
    for made in &made {
        for side in &pair.sides {
            let passed = side.call(made).await;
            assert_eq!(passed.status, 200, "{passed:?}");
            let seen = pair.upstream.last();
            assert_eq!(seen.header("x-application-id"), Some(&*made.id));
        }
    }
}

#[tokio::test]
async fn one_idempotency_key_at_both_gateways_at_once_makes_one_application() {
    let pair = Pair::start().await;
    let keys: Vec<String> = (0..10).map(|number| format!("key-{number}")).collect();
    let made = join_all(keys.iter().map(|key| {
        let [first, second] = &pair.sides;
        join(
            first.make_under(key, &pair.strategy),
            second.make_under(key, &pair.strategy),
        )
    }));
    let mut ids = Vec::new();
    for (first, second) in made.await {
        assert_eq!(text(&first, "id"), text(&second, "id"));
        let secrets = [&first, &second].map(|made| made["client_secret"].is_string());
        assert!(
            secrets[0] != secrets[1],
            "one is told the secret: {secrets:?}"
        );
        ids.push(text(&first, "id"));
    }
    let ids = once(ids.into_iter());
    assert_eq!(ids.len(), keys.len());
    pair.in_step().await;
    for side in &pair.sides {
        let listed = side.listed().await;
        assert_eq!(once(listed.iter().map(|one| text(one, "id"))), ids);
    }
    assert_eq!(pair.idp.clients().len(), keys.len());
    assert_eq!(pair.idp.hits(Endpoint::Registration), keys.len());
}

impl Pair {
    /// Starts it, with provider and strategy made at the first gateway.
    async fn start() -> Self {
        let (idp, upstream) = (Idp::start().await, Upstream::start().await);
        let store = Store::Postgres(postgres::database().await);
        let side = async || {
            let mut setup = setup(&idp.issuer, &upstream);
            store.configure(&mut setup);
            setup.config["identity_providers"] = json!([]);
            setup.config["auth_strategies"] = json!([]);
            setup.config["apis"] = json!([api("flights", &upstream)]);
            // Nobody is ready before the strategy comes.
            setup.wait = Wait::Listening;
            let gateway = Gateway::start(setup).await;
            let operator = Operator::of(&gateway);
            Side { gateway, operator }
        };
        let (first, second) = join(side(), side()).await;
        let provider = json!({
            "name": "idp", "display_name": "Ours", "provider_type": "generic",
            "issuer": idp.issuer, "dcr_config": {"open": true},
        });
        let provider = first.operator.make("/v2/dcr-providers", provider).await;
        let strategy = json!({
            "name": "partners", "display_name": "Partners", "strategy_type": "openid_connect",
            "dcr_provider_id": provider,
            "configs": {"openid-connect": {
                "issuer": idp.issuer, "auth_methods": ["client_credentials", "bearer"],
                "credential_claim": ["client_id"], "audience_required": [AUDIENCE],
            }},
        });
        let path = "/v2/application-auth-strategies";
        let strategy = first.operator.make(path, strategy).await;
        for side in [&first, &second] {
            side.gateway.wait_until_ready().await;
        }
        Self {
            sides: [first, second],
            strategy,
            idp,
            upstream,
        }
    }

    /// What one client does: each of its applications passes, where it was made, as soon as that is
    /// answered.
    async fn make_some(&self, client: usize) -> Vec<Made> {
        let side = &self.sides[client % 2];
        let mut some = Vec::new();
        for _ in 0..EACH {
            let made = side.operator.application(&self.strategy).await;
            side.operator.approve(&made, "flights").await;
            let passed = side.call(&made).await;
            assert_eq!(passed.status, 200, "{passed:?}");
            some.push(made);
        }
        some
    }

    /// Waits until both gateways have the same in force.
    async fn in_step(&self) {
        let revision = "dcr_registry_revision";
        let [first, second] = &self.sides;
        eventually!(
            first.gateway.metric(revision, &[]).await == second.gateway.metric(revision, &[]).await,
            "both gateways have the same in force"
        );
    }
}

impl Side {
    /// Calls with an application's secret.
    async fn call(&self, made: &Made) -> Response {
        let call = self.gateway.get("/flights");
        call.basic(&made.client_id, &made.secret).send().await
    }

    /// Every application that it lists.
    async fn listed(&self) -> Vec<Value> {
        let path = format!("{APPLICATIONS}?page[size]=100");
        let listed = self.operator.read(&path).await;
        listed["data"].as_array().unwrap().clone()
    }

    /// Makes an application under an idempotency key, and comes again while that is under way.
    async fn make_under(&self, key: &str, strategy: &str) -> Value {
        let new = json!({
            "name": key, "owner": {"type": "developer", "id": "dana@example.com"},
            "auth_strategy_id": strategy,
        });
        let call = self.operator.call("POST", APPLICATIONS, &new);
        let call = call.header("Idempotency-Key", key);
        let mut response = call.clone().send().await;
        eventually!(
            {
                if response.status == 409 {
                    assert_eq!(response.code(), "operation_in_progress");
                    response = call.clone().send().await;
                }
                response.status != 409
            },
            "the other one is done"
        );
        let made = response.json();
        let was_made_before = response.header("idempotency-replayed") == Some("true");
        assert_eq!(
            response.status,
            if was_made_before { 200 } else { 201 },
            "{response:?}"
        );
        assert_eq!(
            made["client_secret"].is_null(),
            was_made_before,
            "{response:?}"
        );
        made
    }
}

/// Texts of which none comes twice.
#[track_caller]
fn once(texts: impl Iterator<Item = String>) -> HashSet<String> {
    let texts: Vec<String> = texts.collect();
    let set: HashSet<String> = texts.iter().cloned().collect();
    assert_eq!(set.len(), texts.len(), "some come twice: {texts:?}");
    set
}
