//! An HTTP/2 client: without TLS by prior knowledge (RFC 9113 section 3.3), or on any connection.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use http::{HeaderMap, Request};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

use super::client::Transport;

/// One HTTP/2 connection.
pub(crate) struct H2c {
    pub(crate) sender: SendRequest<Bytes>,
    connection: JoinHandle<()>,
}

/// An answer over HTTP/2.
#[derive(Debug)]
pub(crate) struct H2Response {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl H2c {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self::on(stream).await
    }

    /// Speaks HTTP/2 on a connection that stands already, one over TLS for example.
    pub(crate) async fn on(stream: impl Transport + 'static) -> Self {
        Self::try_on(stream).await.expect("HTTP/2")
    }

    /// The same; `None` where the other side does not go along.
    pub(crate) async fn try_on(stream: impl Transport + 'static) -> Option<Self> {
        let (sender, connection) = h2::client::handshake(stream).await.ok()?;
        let connection = tokio::spawn(async move {
            let _ = connection.await;
        });
        Some(Self {
            sender: sender.ready().await.ok()?,
            connection,
        })
    }

    /// A request with `api.test` as authority, to send with [`Self::send`].
    pub(crate) fn request(method: &str, path: &str) -> http::request::Builder {
        Request::builder()
            .method(method)
            .uri(format!("http://api.test{path}"))
    }

    /// Sends a request with these DATA frames; none ends the stream with its head.
    pub(crate) async fn send(
        &mut self,
        request: http::request::Builder,
        frames: &[&'static [u8]],
    ) -> Result<H2Response, h2::Error> {
        self.sender = self.sender.clone().ready().await?;
        let request = request.body(()).unwrap();
        let (answer, mut stream) = self.sender.send_request(request, frames.is_empty())?;
        for (index, frame) in frames.iter().enumerate() {
            stream.send_data(Bytes::from_static(frame), index + 1 == frames.len())?;
        }
        read(answer).await
    }
}

impl Drop for H2c {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl H2Response {
    /// The member `code` of a problem.
    pub(crate) fn code(&self) -> String {
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        body["code"].as_str().unwrap_or_default().to_owned()
    }
}

async fn read(answer: ResponseFuture) -> Result<H2Response, h2::Error> {
    let (head, mut stream) = answer.await?.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        let _ = stream.flow_control().release_capacity(data.len());
        body.extend_from_slice(&data);
    }
    Ok(H2Response {
        status: head.status.as_u16(),
        headers: head.headers,
        body,
    })
}

/// The SETTINGS that a server advertises first, as (identifier, value) (RFC 9113 section 6.5).
pub(crate) async fn settings(mut stream: impl Transport) -> Vec<(u16, u32)> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    stream.write_all(preface).await.unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.unwrap();
    let [a, b, c, kind, ..] = head;
    assert_eq!(kind, 4, "the first frame is SETTINGS");
    let mut body = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    stream.read_exact(&mut body).await.unwrap();
    let setting = |s: &[u8]| {
        (
            u16::from_be_bytes([s[0], s[1]]),
            u32::from_be_bytes([s[2], s[3], s[4], s[5]]),
        )
    };
    body.chunks_exact(6).map(setting).collect()
}
