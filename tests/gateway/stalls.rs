//! Clients that stop half-way: what they leave undone costs nobody else, and is put down to them.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use http::Response;
use serde_json::json;
use tokio::net::TcpListener;

use crate::{
    harness::{World, client::Connection},
    streaming::{pour, stuck},
};

/// An upstream of HTTP/2: `/open/big` is 64 MiB, everything else a word.
struct Library {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    poured: Arc<AtomicU64>,
}

impl Library {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let library = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            poured: Arc::default(),
        };
        let (connections, poured) = (
            Arc::clone(&library.connections),
            Arc::clone(&library.poured),
        );
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Relaxed);
                let poured = Arc::clone(&poured);
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, mut answer))) = connection.accept().await {
                        let poured = Arc::clone(&poured);
                        tokio::spawn(async move {
                            let head = Response::new(());
                            let mut body = answer.send_response(head, false).unwrap();
                            if request.uri().path() == "/open/big" {
                                pour(&mut body, 64 << 20, &poured).await;
                            } else {
                                body.send_data(Bytes::from_static(b"word"), true).unwrap();
                            }
                        });
                    }
                });
            }
        });
        library
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_stops_no_other_answer_on_its_connection_upstream() {
    let library = Library::start().await;
    let world = World::with(|setup| {
        setup.config["apis"][1]["upstream"] =
            json!({"targets": [{"address": library.address.to_string()}], "protocol": "h2c"});
    })
    .await;
    let mut idle = Vec::new();
    for _ in 0..3 {
        let mut client = Connection::open(world.gateway.proxy).await;
        client
            .send("GET /open/big HTTP/1.1\r\nHost: a\r\n\r\n")
            .await;
        stuck(&library.poured).await;
        idle.push(client);
        let response = world.gateway.get("/open/word").send().await;
        assert_eq!(response.assert_status(200).text(), "word");
    }
    assert_eq!(library.connections.load(Relaxed), 1);
}
