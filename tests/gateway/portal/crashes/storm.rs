//! Kills at moments that nobody chose, after an answer was sent, before, or never.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::Value;
use tokio::task::JoinSet;

use super::{World, connect};
use crate::{
    harness::{
        client::{Call, Connection},
        eventually,
        gateway::ADMIN_TOKEN,
        pass,
        portal::{Made, Store, text},
        postgres,
    },
    vendors::auth0::Auth0,
};
/// Operators at work at once.
const OPERATORS: usize = 6;

/// What an operator knows of an application.
#[derive(Debug)]
enum Known {
    /// It was told of its deletion.
    Gone(Made),
    /// It asked for something and heard nothing.
    Open,
    /// It holds a secret that was the last to be told.
    There(Made),
}

#[tokio::test]
async fn what_was_acknowledged_holds_after_a_kill_at_any_moment_on_sqlite() {
    storm(Store::Sqlite).await;
}

#[tokio::test]
async fn what_was_acknowledged_holds_after_a_kill_at_any_moment_on_postgresql() {
    storm(Store::Postgres(postgres::database().await)).await;
}

async fn storm(store: Store) {
    let mut world = World::<Auth0>::start(store, "300s").await;
    let mut known = Vec::new();
    for round in 0_u64..2 {
        let answers = Arc::new(AtomicUsize::new(0));
        let mut operators = JoinSet::new();
        for number in 0..OPERATORS {
            let new = world.new_application(&format!("storm-{round}-{number}"));
            operators.spawn(work(world.gateway.admin, new, Arc::clone(&answers)));
        }
        // Not as soon as it is answered, but in the middle of whatever comes next.
        eventually!(
            answers.load(Ordering::Relaxed) >= 2 * OPERATORS,
            "operators are answered"
        );
        pass(Duration::from_millis(1 + 40 * round)).await;
        world.gateway.kill().await;
        known.extend(operators.join_all().await.into_iter().flatten());
        world.gateway.start_again().await;
    }
    let acknowledged = known.iter().filter(|known| !matches!(known, Known::Open));
    assert!(acknowledged.count() > 2, "{known:?}");
    world.settled().await;
    for known in &known {
        match known {
            Known::There(made) => {
                let found = world.basic(&made.client_id, &made.secret).await;
                assert_eq!(found, 200, "{made:?}");
            }
            Known::Gone(made) => {
                assert!(!world.has(&made.client_id), "{made:?}");
                let path = format!("/v2/applications/{}", made.id);
                let told = world.operator().ask("GET", &path, Value::Null).await;
                assert_eq!(told.status, 404, "{made:?}");
            }
            Known::Open => {}
        }
    }
    let mut connection = connect(&world).await;
    let kept = "SELECT client_id FROM applications WHERE life = 'ready' ORDER BY client_id";
    let kept: Vec<String> = sqlx::query_scalar(kept)
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let mut clients = world.idp.turn(|_, vendor| {
        let clients = vendor.management.clients.iter();
        clients
            .map(|client| text(client, "client_id"))
            .collect::<Vec<_>>()
    });
    clients.sort();
    assert_eq!(kept, clients, "registry and identity provider");
    world.ends_with(0).await;
}

/// Makes applications, gives each another secret, and deletes every second one, until the gateway
/// is gone.
async fn work(admin: SocketAddr, new: Value, answers: Arc<AtomicUsize>) -> Vec<Known> {
    let mut known = Vec::new();
    let ask = async |method, path: &str, body, status| {
        let told = ask(admin, method, path, body, status).await;
        answers.fetch_add(usize::from(told.is_some()), Ordering::Relaxed);
        told
    };
    for turn in 0_u32.. {
        let Some(made) = ask("POST", "/v2/applications", Some(&new), 201).await else {
            known.push(Known::Open);
            break;
        };
        let mut made = Made {
            id: text(&made, "id"),
            client_id: text(&made, "client_id"),
            secret: text(&made, "client_secret"),
        };
        let path = format!("/v2/applications/{}", made.id);
        if turn % 2 == 0 {
            if ask("DELETE", &path, None, 204).await.is_none() {
                known.push(Known::Open);
                break;
            }
            known.push(Known::Gone(made));
            continue;
        }
        let path = format!("{path}/regenerate-secret");
        let Some(rotated) = ask("POST", &path, None, 200).await else {
            known.push(Known::Open);
            break;
        };
        made.secret = text(&rotated, "client_secret");
        known.push(Known::There(made));
    }
    known
}

/// What a request was answered with; nothing where the gateway is gone.
async fn ask(
    admin: SocketAddr,
    method: &str,
    path: &str,
    body: Option<&Value>,
    status: u16,
) -> Option<Value> {
    let mut call = Call::new(admin, method, path).bearer(ADMIN_TOKEN);
    if let Some(body) = body {
        let json = call.header("Content-Type", "application/json");
        call = json.body(body.to_string());
    }
    let stream = tokio::net::TcpStream::connect(admin).await.ok()?;
    let mut connection = Connection::on(stream);
    let response = call.send_on(&mut connection).await?;
    assert_eq!(response.status, status, "{method} {path}: {response:?}");
    Some(serde_json::from_slice(&response.body).unwrap_or_default())
}
