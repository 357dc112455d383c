//! A gateway that was only held up, for so long that its neighbour took it for dead.

use super::{
    World,
    dialects::{Dialect, Moment, Operation, Row},
};
use crate::{
    harness::{eventually, portal::Store, postgres},
    vendors::{generic::Generic, okta::Okta},
};

#[tokio::test]
async fn a_slow_owner_keeps_nothing_that_its_neighbour_has_undone() {
    let new = async || Store::Postgres(postgres::database().await);
    tokio::join!(
        held_up::<Generic>(new().await),
        held_up::<Okta>(new().await)
    );
}

/// The gateway stands still while the identity provider answers, and goes on when its neighbour
/// has finished or undone everything.
async fn held_up<V: Dialect>(store: Store) {
    let world = World::<V>::start(store, "300s")
        .await
        .with_neighbour()
        .await;
    let rows = V::rows().into_iter().filter(|row| {
        let made = matches!(row.operation, Operation::Create | Operation::Rotate);
        let changed = matches!(row.operation, Operation::AddSecret | Operation::Rename);
        row.moment == Moment::Done && (changed || made && row.call.0 == "POST")
    });
    let mut cases = Vec::new();
    for (number, row) in rows.enumerate() {
        let name = format!("{:?}-{number}", row.operation);
        cases.push(world.bring(row, name).await);
    }
    assert!(cases.len() > 2);
    world.gateway.signal("STOP").await;
    for case in &mut cases {
        case.held.take().unwrap().release();
    }
    world.settled().await;
    let doubts = cases.iter().filter(|case| case.is_doubtful::<V>()).count();
    world.tells_of(doubts).await;
    world.gateway.signal("CONT").await;
    for case in &mut cases {
        let told = (&mut case.call).await.unwrap();
        let told = String::from_utf8_lossy(&told).into_owned();
        let Row { operation, .. } = case.row;
        let what = format!("{}: {}", V::NAME, case.name);
        match operation {
            // The new name holds, whoever told the identity provider.
            Operation::Rename => assert!(told.starts_with("HTTP/1.1 200 "), "{what}: {told}"),
            _ => {
                assert!(told.starts_with("HTTP/1.1 409 "), "{what}: {told}");
                assert!(told.contains("operation_interrupted"), "{what}: {told}");
            }
        }
        assert!(!told.contains("client_secret"), "{what}: {told}");
    }
    let gateway = &world.gateway;
    eventually!(
        gateway.metric("dcr_registrations_unfinished", &[]).await == 0.0,
        "{}: the slow one is done",
        V::NAME
    );
    for case in &cases {
        world.is_whole_or_gone(case).await;
    }
    // What only the slow one knew, it has removed; what only it was given, it has handed over.
    world.ends_with(0).await;
}
