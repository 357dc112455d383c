use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst},
    thread,
};

use super::*;
use crate::server::world::{World, eventually, limits};

const GRACE: Duration = Duration::from_secs(10);

#[test]
fn a_stop_without_clients_is_quick() {
    let world = World::new(limits(), GRACE);
    assert_eq!(world.client().get("/").status, 200);
    let start = crate::clock::instant();
    world.shutdown.request();
    world.join();
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn idle_connections_are_cut_and_hold_nothing_up() {
    let world = World::new(limits(), GRACE);
    let mut client = world.client();
    assert_eq!(client.get("/").status, 200);
    let start = crate::clock::instant();
    world.shutdown.request();
    assert!(client.is_closed());
    world.join();
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn readiness_fails_before_the_listener_closes() {
    let world = World::new(limits(), GRACE);
    let mut idle = world.client();
    assert_eq!(idle.get("/").status, 200);
    world.shutdown.request();
    eventually("draining", || world.shutdown.is_draining());
    // An old connection and a new one are both served once more, and told to go.
    for client in [&mut idle, &mut world.client()] {
        let reply = client.get("/");
        assert!(reply.status == 200 && reply.closes(), "{reply:?}");
        assert!(client.is_closed());
    }
    world.join();
}

#[test]
fn what_is_in_flight_is_answered() {
    let world = World::new(limits(), GRACE);
    let mut client = world.client();
    client.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    eventually("the upstream is asked", || world.upstream.count() == 1);
    world.shutdown.request();
    eventually("the listener is closed", || {
        std::net::TcpStream::connect(world.address).is_err()
    });
    world.upstream.release();
    assert_eq!(client.reply().status, 200);
    drop(client);
    world.join();
}

#[test]
fn the_grace_period_ends_what_does_not() {
    let grace = Duration::from_millis(500);
    let world = World::new(limits(), grace);
    let mut client = world.client();
    client.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
    eventually("the upstream is asked", || world.upstream.count() == 1);
    let start = crate::clock::instant();
    world.shutdown.request();
    assert!(client.is_closed());
    assert!(start.elapsed() >= grace, "{:?}", start.elapsed());
    assert!(start.elapsed() < grace * 4, "{:?}", start.elapsed());
    world.join();
}

/// The bar: 64 connections that never rest, and not one request without its whole answer.
#[test]
fn no_request_is_lost_on_busy_connections() {
    const CLIENTS: usize = 64;
    let world = World::new(limits(), GRACE);
    let told = Arc::<AtomicUsize>::default();
    let answered = Arc::<AtomicUsize>::default();
    let lost = Arc::<AtomicBool>::default();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = world.client();
            let (told, answered, lost) = (told.clone(), answered.clone(), lost.clone());
            thread::spawn(move || {
                loop {
                    client.send("GET /busy HTTP/1.1\r\nHost: h\r\n\r\n");
                    let Some(reply) = client.try_reply() else {
                        lost.store(true, SeqCst);
                        return;
                    };
                    assert_eq!(
                        (reply.status, reply.body.as_str()),
                        (200, "GET /busy HTTP/1.1\n")
                    );
                    answered.fetch_add(1, SeqCst);
                    if reply.closes() {
                        told.fetch_add(1, SeqCst);
                        return;
                    }
                }
            })
        })
        .collect();
    eventually("all are busy", || answered.load(Relaxed) > CLIENTS * 10);
    world.shutdown.request();
    for client in clients {
        client.join().unwrap();
    }
    assert!(!lost.load(SeqCst));
    assert_eq!(told.load(SeqCst), CLIENTS);
    assert_eq!(world.upstream.count(), answered.load(SeqCst));
    world.join();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_clients_get_goaway_and_their_answers() {
    let world = World::new(limits(), GRACE);
    let stream = tokio::net::TcpStream::connect(world.address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let request = http::Request::get("http://h/hold").body(()).unwrap();
    let (answer, _) = client.send_request(request, true).unwrap();
    let world = tokio::task::spawn_blocking(move || {
        eventually("the upstream is asked", || world.upstream.count() == 1);
        world.shutdown.request();
        eventually("the listener is closed", || {
            std::net::TcpStream::connect(world.address).is_err()
        });
        world
    });
    let world = world.await.unwrap();
    assert!(client.ready().await.is_err(), "no GOAWAY");
    world.upstream.release();
    assert_eq!(answer.await.unwrap().status(), 200);
    // Whether the client's own goodbye still finds the connection open is a matter of chance.
    let _ = connection.await.unwrap();
    tokio::task::spawn_blocking(|| world.join()).await.unwrap();
}
