//! An upstream that answers every request with what it received: method, path and headers, as
//! JSON. So one sees what the gateway hides and what it vouches for.
//!
//! ```text
//! cargo run --example echo -- 127.0.0.1:9000 &
//! curl -X POST -H 'X-Colour: blue' 'http://127.0.0.1:9000/flights?to=FRA'
//! ```

use std::{
    env,
    io::{self, Write},
};

use axum::{
    Router,
    extract::Request,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let Some(address) = env::args().nth(1) else {
        eprintln!("usage: echo ADDRESS:PORT");
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let listener = TcpListener::bind(address).await?;
    writeln!(
        io::stdout(),
        "listening on http://{}",
        listener.local_addr()?
    )?;
    axum::serve(listener, Router::new().fallback(echo)).await
}

async fn echo(request: Request) -> Response {
    let told = json!({
        "method": request.method().as_str(),
        "path": request.uri().to_string(),
        "headers": fields(request.headers()),
    });
    // Indented, since people read it.
    let body = format!("{told:#}\n");
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// A text for each header, a list for one that came more than once.
fn fields(headers: &HeaderMap) -> Map<String, Value> {
    let values = |name| {
        let mut values: Vec<Value> = headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into())
            .collect();
        match values.len() {
            1 => values.remove(0),
            _ => values.into(),
        }
    };
    headers
        .keys()
        .map(|name| (name.to_string(), values(name)))
        .collect()
}
