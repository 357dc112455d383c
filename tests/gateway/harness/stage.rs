//! An upstream whose lines the test itself speaks, one connection after the other.

use std::{net::SocketAddr, time::Duration};

use serde_json::json;
use tokio::{net::TcpListener, time::timeout};

use super::{client::Connection, gateway::Setup};

/// A port behind which the test answers.
pub(crate) struct Stage {
    pub(crate) address: SocketAddr,
    listener: TcpListener,
}

impl Stage {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self {
            address: listener.local_addr().unwrap(),
            listener,
        }
    }

    /// Puts it behind both APIs.
    pub(crate) fn stand_behind(&self, setup: &mut Setup) {
        for api in setup.config["apis"].as_array_mut().unwrap() {
            api["upstream"]["targets"] = json!([{"address": self.address.to_string()}]);
        }
    }

    /// The next connection of the gateway.
    pub(crate) async fn accept(&self) -> Connection {
        let accepted = timeout(Duration::from_secs(15), self.listener.accept()).await;
        let (stream, _) = accepted.expect("the upstream is asked").unwrap();
        stream.set_nodelay(true).unwrap();
        Connection::on(stream)
    }

    /// Whether the gateway has opened no connection that was not accepted yet.
    pub(crate) async fn is_untouched(&self) -> bool {
        timeout(Duration::from_millis(200), self.listener.accept())
            .await
            .is_err()
    }
}
