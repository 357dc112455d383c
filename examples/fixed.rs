//! An upstream that costs next to nothing: it answers every request with the same few bytes and
//! keeps the connection. It takes requests without a body only. For `benches/compare.sh`.
//!
//! ```text
//! cargo run --release --example fixed -- 127.0.0.1:9000 &
//! curl -i http://127.0.0.1:9000/
//! ```

use std::{env, io};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n";

#[tokio::main(flavor = "current_thread")]
async fn main() -> io::Result<()> {
    let Some(address) = env::args().nth(1) else {
        eprintln!("usage: fixed ADDRESS:PORT");
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let listener = TcpListener::bind(address).await?;
    loop {
        let (client, _) = listener.accept().await?;
        tokio::spawn(answer(client));
    }
}

/// Answers until the client goes.
async fn answer(mut client: TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut head = Vec::with_capacity(4_096);
    while client.read_buf(&mut head).await? > 0 {
        if head.ends_with(b"\r\n\r\n") {
            client.write_all(ANSWER).await?;
            head.clear();
        }
    }
    Ok(())
}
