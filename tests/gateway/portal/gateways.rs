//! Several gateways over one PostgreSQL: what one is told, the others do.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    products::{Product, Stage},
    site::{Site, Source},
};
use crate::harness::{
    client::Call,
    eventually,
    gateway::{Setup, signal},
    portal::Store,
    postgres::{self, Cluster},
};

/// Two gateways with the same configuration. What is made at the first is in force at the second.
struct Pair {
    one: Site,
    two: Site,
    /// The strategy's id.
    strategy: String,
}

impl Pair {
    async fn start(stage: &Arc<Stage>, store: &Store) -> Self {
        let one = Site::with(stage, Source::Registry, store, further).await;
        let two = Site::with(stage, Source::Registry, store, further).await;
        let strategy = one.bring().await;
        ends(&two, two.get(), 401, "credentials_required").await;
        Self { one, two, strategy }
    }
}

/// A strategy of the file with an API of its own, `hotels`.
fn further(setup: &mut Setup) {
    let target = setup.config["apis"][0]["upstream"].clone();
    let issuer = json!({"name": "elsewhere", "issuer": "http://127.0.0.1:9"});
    setup.config["identity_providers"] = json!([issuer]);
    setup.config["auth_strategies"] = json!([{
        "name": "internal", "identity_provider": "elsewhere", "auth_methods": ["bearer"],
    }]);
    setup.config["apis"].as_array_mut().unwrap().push(json!({
        "name": "hotels", "auth_strategies": ["internal"],
        "routes": [{"paths": ["/hotels"]}], "upstream": target,
    }));
}

/// Sooner or later the call ends so.
#[track_caller]
fn ends<'a>(
    site: &'a Site,
    call: Call,
    status: u16,
    code: &'a str,
) -> impl Future<Output = ()> + use<'a> {
    let place = std::panic::Location::caller();
    async move {
        let mut last;
        eventually!(
            {
                let response = call.send().await;
                let done =
                    response.status == status && (code.is_empty() || response.code() == code);
                last = Some(response);
                done
            },
            "at {place}: {status} {code}, but {last:?}; hits {}",
            site.upstream.hits()
        );
    }
}

#[tokio::test]
async fn a_change_at_one_is_in_force_at_the_other() {
    let stage = Arc::new(Product::Bridge.start().await);
    let store = Store::Postgres(postgres::database().await);
    let Pair { one, two, strategy } = Pair::start(&stage, &store).await;

    // An application, and its registration.
    let made = one.operator.application(&strategy).await;
    let basic = |site: &Site| site.get().basic(&made.client_id, &made.secret);
    ends(&two, basic(&two), 403, "registration_required").await;
    let registration = one.operator.approve(&made, "flights").await;
    ends(&two, basic(&two), 200, "").await;
    let before = two.passes_in_each_way(&made).await;

    // A registration revoked, this time at the other one.
    let path = format!("/v2/application-registrations/{registration}");
    let revoked = json!({"status": "revoked"});
    two.operator.done("PATCH", &path, revoked).await;
    ends(&one, basic(&one), 403, "registration_revoked").await;
    let approved = json!({"status": "approved"});
    two.operator.done("PATCH", &path, approved).await;
    ends(&one, basic(&one), 200, "").await;

    // Suspension.
    one.operator.set_status(&made, "suspended").await;
    ends(&two, basic(&two), 403, "application_suspended").await;
    one.operator.set_status(&made, "active").await;
    ends(&two, basic(&two), 200, "").await;

    // Logout of a session that both know.
    let session = one.passes(basic(&one)).await.cookie().unwrap();
    two.passes(two.get().cookie(&session)).await;
    let out = one.gateway.post("/-/logout").cookie(&session).send().await;
    out.assert_status(204);
    ends(&two, two.get().cookie(&session), 401, "invalid_session").await;
    two.passes(two.get().cookie(&before.cookie)).await;

    // Rotation.
    let rotated = one.operator.rotate(&made).await;
    let old = two.get().bearer(&before.token);
    ends(&two, old, 401, "invalid_token").await;
    two.refuses(basic(&two), 401, "invalid_client").await;
    let old = two.get().cookie(&before.cookie);
    two.refuses(old, 401, "invalid_session").await;
    let after = two.passes_in_each_way(&rotated).await;

    // The further strategies of an API.
    let hotels = |site: &Site| site.gateway.get("/hotels").bearer(&after.token);
    let strategies = json!({"auth_strategies": ["partners"]});
    one.operator
        .done("PATCH", "/v2/apis/hotels", strategies)
        .await;
    ends(&two, hotels(&two), 403, "registration_required").await;
    one.operator.approve(&rotated, "hotels").await;
    ends(&two, hotels(&two), 200, "").await;
    let none = json!({"auth_strategies": []});
    one.operator.done("PATCH", "/v2/apis/hotels", none).await;
    eventually!(
        hotels(&two).send().await.status != 200,
        "the strategy is taken from the API"
    );

    // The strategy itself.
    let path = format!("/v2/application-auth-strategies/{strategy}");
    let narrowed = json!({"configs": {"openid-connect": {"auth_methods": ["client_credentials"]}}});
    one.operator.done("PATCH", &path, narrowed).await;
    let bearer = two.get().bearer(&after.token);
    eventually!(bearer.send().await.status == 401, "no bearer any more");
    let pair = two.get().basic(&rotated.client_id, &rotated.secret);
    two.passes(pair).await;

    // Deletion.
    let path = format!("/v2/applications/{}", rotated.id);
    one.operator.delete(&path).await;
    let pair = two.get().basic(&rotated.client_id, &rotated.secret);
    ends(&two, pair, 401, "invalid_client").await;
    // As long as an API of the file names a strategy, it stays.
    one.gateway
        .reconfigure(|config| config["apis"][0]["auth_strategies"] = json!(["internal"]))
        .await;
    let path = format!("/v2/application-auth-strategies/{strategy}");
    one.operator.delete(&path).await;
    ends(&two, two.get(), 503, "not_ready").await;
}

/// What changes while nobody can be told is seen afterwards: by revision, not by the word of mouth.
#[tokio::test]
async fn after_a_break_both_know_what_has_changed() {
    let mut cluster = Cluster::start().await;
    let store = Store::Postgres(cluster.database().await);
    let stage = Arc::new(Product::Bridge.start().await);
    let Pair { one, two, strategy } = Pair::start(&stage, &store).await;
    let first = one.operator.application(&strategy).await;
    one.operator.approve(&first, "flights").await;
    ends(
        &two,
        two.get().basic(&first.client_id, &first.secret),
        200,
        "",
    )
    .await;
    let sessions = [&one, &two].map(|site| site.get().basic(&first.client_id, &first.secret));
    let [ours, theirs] = sessions.map(|call| async move { call.send().await.cookie().unwrap() });
    let (ours, theirs) = (ours.await, theirs.await);

    // The second one hears nothing of the next changes, and its connections break meanwhile.
    signal(two.gateway.pid(), "STOP").await;
    let second = one.operator.application(&strategy).await;
    one.operator.approve(&second, "flights").await;
    one.operator.set_status(&first, "suspended").await;
    cluster.stop().await;
    signal(two.gateway.pid(), "CONT").await;
    for (site, cookie) in [(&one, &ours), (&two, &theirs)] {
        let out = site.gateway.post("/-/logout").cookie(cookie).send().await;
        out.assert_status(204);
    }
    cluster.go_on().await;

    let call = two.get().basic(&second.client_id, &second.secret);
    ends(&two, call, 200, "").await;
    let call = two.get().basic(&first.client_id, &first.secret);
    ends(&two, call, 403, "application_suspended").await;
    eventually!(
        one.operator
            .ask("GET", "/v2/applications", Value::Null)
            .await
            .status
            == 200,
        "the registry is back"
    );
    two.operator.set_status(&first, "active").await;
    for site in [&one, &two] {
        let call = site.get().basic(&first.client_id, &first.secret);
        ends(site, call, 200, "").await;
        // Both sessions have ended at both, wherever that was said.
        for cookie in [&ours, &theirs] {
            ends(site, site.get().cookie(cookie), 401, "invalid_session").await;
        }
    }
}

#[tokio::test]
async fn two_start_at_once_on_an_empty_database() {
    let stage = Arc::new(Product::Bridge.start().await);
    for _ in 0..3 {
        let store = Store::Postgres(postgres::database().await);
        let (one, two) = tokio::join!(
            Site::start(&stage, Source::Registry, &store),
            Site::start(&stage, Source::Registry, &store),
        );
        for site in [&one, &two] {
            eventually!(
                site.gateway.logged(&["the registry is in force"]),
                "it has read the registry"
            );
        }
        let strategy = one.bring().await;
        ends(&two, two.get(), 401, "credentials_required").await;
        let made = two.operator.application(&strategy).await;
        two.operator.approve(&made, "flights").await;
        let call = one.get().basic(&made.client_id, &made.secret);
        ends(&one, call, 200, "").await;
    }
}

/// An API that only the registry's strategy serves says so until it comes, at both.
#[tokio::test]
async fn a_strategy_that_one_is_told_makes_an_api_ready_at_the_other() {
    let stage = Arc::new(Product::Bridge.start().await);
    let store = Store::Postgres(postgres::database().await);
    let more = |setup: &mut Setup| {
        let mut cruises = setup.config["apis"][0].clone();
        cruises["name"] = json!("cruises");
        cruises["routes"] = json!([{"paths": ["/cruises"]}]);
        cruises["auth_strategies"] = json!(["sailors"]);
        setup.config["apis"].as_array_mut().unwrap().push(cruises);
    };
    let one = Site::with(&stage, Source::Registry, &store, more).await;
    let two = Site::with(&stage, Source::Registry, &store, more).await;
    one.bring().await;
    ends(&two, two.get(), 401, "credentials_required").await;
    let cruises = two.gateway.get("/cruises");
    two.refuses(cruises.clone(), 503, "not_ready").await;
    let provider = two.found("/v2/dcr-providers").await;
    let strategy = stage.auth_strategy("sailors", Some(&provider), None);
    two.operator
        .make("/v2/application-auth-strategies", strategy)
        .await;
    two.refuses(cruises, 401, "credentials_required").await;
    let cruises = one.gateway.get("/cruises");
    ends(&one, cruises, 401, "credentials_required").await;
}
