//! The API behind the gateway: it records what arrives and echoes it as JSON.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use serde_json::json;
use tokio::{net::TcpListener, task::JoinHandle};

use super::http1::{self, Answer, Request};

/// An echoing server on a free port; it ends with this value.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct State {
    requests: Vec<Request>,
    answer: Option<Answer>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let handler: http1::Handler = Arc::new(move |request| {
            let answer = shared.lock().unwrap().take_in(request);
            Box::pin(std::future::ready(answer))
        });
        Self {
            address,
            state,
            task: http1::serve(listener, handler),
        }
    }

    /// Everything that arrived, in order.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    /// How many requests arrived.
    pub(crate) fn hits(&self) -> usize {
        self.state.lock().unwrap().requests.len()
    }

    /// The latest request.
    #[track_caller]
    pub(crate) fn last(&self) -> Request {
        self.requests().pop().expect("the upstream was reached")
    }

    /// From now on, says this instead of echoing.
    pub(crate) fn answer(&self, answer: Answer) {
        self.state.lock().unwrap().answer = Some(answer);
    }

    /// Echoes again.
    pub(crate) fn echo(&self) {
        self.state.lock().unwrap().answer = None;
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl State {
    fn take_in(&mut self, request: Request) -> Answer {
        let echo = json!({
            "method": request.method, "target": request.target, "headers": request.lines,
            "body": String::from_utf8_lossy(&request.body),
        });
        self.requests.push(request);
        self.answer
            .clone()
            .unwrap_or_else(|| Answer::json(200, &echo))
    }
}
