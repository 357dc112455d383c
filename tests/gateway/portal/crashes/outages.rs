//! Identity provider or registry away in the middle of an operation, and clients that nobody can
//! delete: nobody waits for ever, and nothing needs a restart.

use serde_json::{Value, json};

use super::{
    LEFT, World,
    dialects::{Dialect, Moment, Operation},
};
use crate::{
    harness::{
        eventually,
        http1::Answer,
        idp::Endpoint,
        portal::{Made, Store},
        postgres,
    },
    vendors::{auth0::Auth0, generic::Generic},
};

#[tokio::test]
async fn an_identity_provider_that_is_away_is_waited_for_on_sqlite() {
    away(Store::Sqlite).await;
}

#[tokio::test]
async fn an_identity_provider_that_is_away_is_waited_for_on_postgresql() {
    away(Store::Postgres(postgres::database().await)).await;
}

async fn away(store: Store) {
    let world = World::<Auth0>::start(store, "2s").await;
    let operator = world.operator();
    let (first, second) = (world.make("first").await, world.make("second").await);
    let token = world.token(&first.client_id);
    assert_eq!(world.bearer(&token).await, 200);
    let path = format!("/v2/applications/{}", first.id);
    world
        .idp
        .fault(Endpoint::Registration, Answer::new(500, ""));
    let deleted = operator.ask("DELETE", &path, Value::Null).await;
    assert_eq!(deleted.status, 503, "{}", deleted.text());
    assert_eq!(world.bearer(&token).await, 403, "refused at once");
    let again = operator.ask("DELETE", &path, Value::Null).await;
    assert_eq!(again.status, 409, "{}", again.text());
    assert_eq!(again.code(), "operation_in_progress");
    let other = format!("/v2/applications/{}/regenerate-secret", second.id);
    let rotated = operator.ask("POST", &other, Value::Null).await;
    assert_eq!(rotated.status, 503, "{}", rotated.text());
    let made = operator
        .ask("POST", "/v2/applications", world.new_application("third"))
        .await;
    assert_eq!(made.status, 503, "{}", made.text());

    world.idp.heal(Endpoint::Registration);
    world.settled().await;
    assert!(!world.has(&first.client_id), "deleted without a restart");
    let gone = operator.ask("GET", &path, Value::Null).await;
    assert_eq!(gone.status, 404, "{}", gone.text());
    let next = operator.rotate(&second).await;
    assert_eq!(world.basic(&next.client_id, &next.secret).await, 200);
    world.ends_with(0).await;
}

/// The identity provider has answered, and the registry is gone when that is to be kept.
#[tokio::test]
async fn a_registry_that_is_away_costs_no_client_and_no_token() {
    let database = postgres::database().await;
    let world = World::<Generic>::start(Store::Postgres(database.clone()), "300s").await;
    let rows = Generic::rows().into_iter().filter(|row| {
        let operations = [Operation::Create, Operation::Rename, Operation::Rotate];
        row.moment == Moment::Done && operations.contains(&row.operation) && row.call.0 != "DELETE"
    });
    let mut cases = Vec::new();
    for (number, row) in rows.enumerate() {
        let name = format!("{:?}-{number}", row.operation);
        cases.push(world.bring(row, name).await);
    }
    assert_eq!(cases.len(), 3);
    database.refuse().await;
    for case in &mut cases {
        case.held.take().unwrap().release();
    }
    for case in &mut cases {
        let told = (&mut case.call).await.unwrap();
        let told = String::from_utf8_lossy(&told).into_owned();
        assert!(told.starts_with("HTTP/1.1 503 "), "{}: {told}", case.name);
        assert!(!told.contains("client_secret"), "{}: {told}", case.name);
    }
    database.accept().await;
    eventually!(
        world.gateway.status("/readyz").await.status == 200,
        "the registry answers"
    );
    world.settled().await;
    for case in &cases {
        world.is_whole_or_gone(case).await;
    }
    assert!(
        !world.gateway.logged(&[LEFT]),
        "the gateway knows what it made"
    );
    // The token that came with the new name was not lost: its client can be deleted.
    world.ends_with(0).await;
}

/// RFC 7591 without RFC 7592.
#[tokio::test]
async fn a_client_that_cannot_be_deleted_is_told_and_holds_nothing_up() {
    let world = World::<Generic>::start(Store::Sqlite, "5s").await;
    world.idp.turn(|_, vendor| vendor.managed = false);
    let operator = world.operator();
    let first = world.make("first").await;
    let second = operator.rotate(&first).await;
    let third = operator.rotate(&second).await;
    assert_eq!(world.basic(&third.client_id, &third.secret).await, 200);
    assert_ne!(world.basic(&second.client_id, &second.secret).await, 200);
    operator
        .delete(&format!("/v2/applications/{}", first.id))
        .await;
    for made in [&first, &second, &third] {
        let told = [LEFT, &made.client_id];
        eventually!(world.gateway.logged(&told), "{} is told", made.client_id);
    }
    let counted = world.gateway.metric("dcr_registration_orphans_total", &[]);
    assert_eq!(counted.await, 3.0);
    let kept = operator
        .read("/v2/audit?filter[action]=application.client_left")
        .await;
    assert_eq!(kept["meta"]["page"]["total"], json!(3), "{kept}");
    world.ends_with(3).await;
}

/// What an identity provider refuses for ever need not be waited for for ever.
#[tokio::test]
async fn a_deletion_that_is_refused_can_be_forced() {
    let world = World::<Auth0>::start(Store::Sqlite, "2s").await;
    let operator = world.operator();
    let (first, second) = (world.make("first").await, world.make("second").await);
    let third = world.make("third").await;
    let path = |made: &Made| format!("/v2/applications/{}", made.id);
    let forced = |made: &Made| format!("/v2/applications/{}?force=true", made.id);
    for wrong in ["force=maybe", "forced=true", "force=true&force=true"] {
        let wrong = format!("{}?{wrong}", path(&first));
        let told = operator.ask("DELETE", &wrong, Value::Null).await;
        told.assert_problem(400, "invalid_parameters");
    }
    operator.delete(&forced(&third)).await;
    assert!(!world.has(&third.client_id), "deleted as without force");

    let no = Answer::json(403, &json!({"statusCode": 403, "error": "Forbidden"}));
    world.idp.fault(Endpoint::Registration, no);
    let refused = operator.ask("DELETE", &path(&first), Value::Null).await;
    assert!(refused.status >= 500, "{}", refused.text());
    let stays = operator.read(&path(&first)).await;
    assert_eq!(stays["life"], "deleting", "{stays}");
    operator.delete(&forced(&first)).await;
    operator.delete(&forced(&second)).await;
    for made in [&first, &second] {
        let gone = operator.ask("DELETE", &forced(made), Value::Null).await;
        gone.assert_problem(404, "not_found");
        assert_ne!(world.basic(&made.client_id, &made.secret).await, 200);
        let told = [LEFT, &made.client_id];
        eventually!(world.gateway.logged(&told), "{} is told", made.client_id);
    }
    let kept = operator
        .read("/v2/audit?filter[action]=application.client_left")
        .await;
    assert_eq!(kept["meta"]["page"]["total"], json!(2), "{kept}");
    let counted = world.gateway.metric("dcr_registration_orphans_total", &[]);
    assert_eq!(counted.await, 2.0);
    world.idp.heal(Endpoint::Registration);
    // Nobody goes on trying.
    world.settled().await;
    world.ends_with(2).await;
}
