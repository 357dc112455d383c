//! One line of the access log, and its two forms.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use itoa::Integer;
use uuid::Uuid;

use crate::{model::time::Timestamp, proxy::hop};

/// Bytes of an ordinary line, so that it does not grow bit by bit.
const ROOM: usize = 1_024;

/// A name as it stands before its value, in one piece.
macro_rules! name {
    ($name:literal) => {
        Name(concat!("\"", $name, "\":"))
    };
}

/// What a line tells. It holds no query, no header, no credential.
#[derive(Debug, Default)]
pub(super) struct Line<'a> {
    pub time: Timestamp,
    pub request_id: &'a str,
    pub client: Option<IpAddr>,
    pub method: &'a str,
    pub host: &'a str,
    pub path: &'a str,
    pub api: Option<&'a str>,
    pub strategy: Option<&'a str>,
    pub auth_method: Option<&'a str>,
    pub application: Option<Uuid>,
    pub client_id: Option<&'a str>,
    pub code: &'a str,
    pub reason: Option<&'a str>,
    pub cure: Option<&'a str>,
    pub status: u16,
    pub elapsed: Duration,
    pub authentication: Option<Duration>,
    pub upstream_answer: Option<Duration>,
    pub upstream: Option<SocketAddr>,
    pub upstream_tries: Option<usize>,
    pub upstream_reused: Option<bool>,
    pub upstream_detail: Option<&'a str>,
    pub bytes_received: u64,
    pub bytes_sent: usize,
    pub trace_id: Option<&'a str>,
}

impl Line<'_> {
    /// As a JSON object, in one line. `cure` and `trace_id` are there only where they say something.
    pub(super) fn json(&self) -> String {
        let mut object = Object::new();
        object.value(name!("time"), |text| {
            // Writing into a string cannot fail.
            let _ = write!(text, "\"{}\"", self.time.rfc3339());
        });
        object.text(name!("request_id"), Some(self.request_id));
        object.value(name!("client"), |text| {
            quoted_or_null(text, self.client, |text, client| {
                text.push_str(&hop::written(client))
            });
        });
        object.text(name!("method"), Some(self.method));
        object.text(name!("host"), Some(self.host));
        object.text(name!("path"), Some(self.path));
        object.text(name!("api"), self.api);
        object.text(name!("strategy"), self.strategy);
        object.text(name!("auth_method"), self.auth_method);
        let mut digits = Uuid::encode_buffer();
        let application = self.application.map(|id| id.hyphenated());
        let application = application.map(|id| &*id.encode_lower(&mut digits));
        object.text(name!("application"), application);
        object.text(name!("client_id"), self.client_id);
        object.text(name!("code"), Some(self.code));
        object.text(name!("reason"), self.reason);
        if self.cure.is_some() {
            object.text(name!("cure"), self.cure);
        }
        object.number(name!("status"), Some(self.status));
        object.seconds(name!("seconds"), Some(self.elapsed));
        object.seconds(name!("authentication_seconds"), self.authentication);
        object.seconds(name!("upstream_seconds"), self.upstream_answer);
        object.value(name!("upstream"), |text| {
            quoted_or_null(text, self.upstream, push_socket_address);
        });
        object.number(name!("upstream_tries"), self.upstream_tries);
        let reused = self.upstream_reused.map(|reused| match reused {
            true => "true",
            false => "false",
        });
        object.value(name!("upstream_reused"), |text| {
            text.push_str(reused.unwrap_or("null"));
        });
        object.text(name!("upstream_detail"), self.upstream_detail);
        object.number(name!("bytes_received"), Some(self.bytes_received));
        object.number(name!("bytes_sent"), Some(self.bytes_sent));
        if self.trace_id.is_some() {
            object.text(name!("trace_id"), self.trace_id);
        }
        object.end()
    }

    /// For people: what matters first, then the rest by name. Texts are quoted, so that none can look
    /// like another field or line.
    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "{} {} {} {:?} {} {} {:.6}s",
            self.time.rfc3339(),
            self.client
                .map_or("-".to_owned(), |client| client.to_string()),
            self.method,
            self.path,
            self.status,
            self.code,
            self.elapsed.as_secs_f64()
        );
        let application = self.application.map(|id| id.to_string());
        for (name, value) in [
            ("reason", self.reason),
            ("cure", self.cure),
            ("api", self.api),
            ("strategy", self.strategy),
            ("auth_method", self.auth_method),
            ("client_id", self.client_id),
            ("application", application.as_deref()),
            ("host", Some(self.host)),
            ("request_id", Some(self.request_id)),
            ("upstream_detail", self.upstream_detail),
            ("trace_id", self.trace_id),
        ] {
            if let Some(value) = value {
                // Writing into a string cannot fail.
                let _ = write!(text, " {name}={value:?}");
            }
        }
        if let (Some(upstream), Some(tries)) = (self.upstream, self.upstream_tries) {
            let reused = self.upstream_reused.unwrap_or(false);
            let _ = write!(
                text,
                " upstream={upstream} upstream_tries={tries} upstream_reused={reused}"
            );
        }
        let _ = write!(
            text,
            " received={} sent={}",
            self.bytes_received, self.bytes_sent
        );
        text
    }
}

/// A member's name, quoted, with its colon.
#[derive(Clone, Copy)]
struct Name(&'static str);

/// A JSON object while it is written. Names are known and texts nearly always plain, so that letters
/// need not be looked at one by one: a serialiser takes more than twice as long, for each request.
struct Object(String);

impl Object {
    fn new() -> Self {
        let mut text = String::with_capacity(ROOM);
        text.push('{');
        Self(text)
    }

    fn value(&mut self, name: Name, write: impl FnOnce(&mut String)) {
        let text = &mut self.0;
        text.push_str(name.0);
        write(text);
        text.push(',');
    }

    fn text(&mut self, name: Name, value: Option<&str>) {
        self.value(name, |text| match value {
            None => text.push_str("null"),
            Some(value) if is_plain(value) => {
                text.push('"');
                text.push_str(value);
                text.push('"');
            }
            // Strings always serialise.
            Some(value) => text.push_str(&serde_json::to_string(value).unwrap_or_default()),
        });
    }

    fn number(&mut self, name: Name, value: Option<impl Integer>) {
        self.value(name, |text| match value {
            None => text.push_str("null"),
            Some(value) => push_number(text, value),
        });
    }

    /// Seconds, cut after six digits behind the point.
    fn seconds(&mut self, name: Name, value: Option<Duration>) {
        self.value(name, |text| match value {
            None => text.push_str("null"),
            Some(value) => {
                push_number(text, value.as_secs());
                text.push('.');
                // One more in front keeps the zeros.
                let micros = 1_000_000 + value.subsec_micros();
                text.push_str(&itoa::Buffer::new().format(micros)[1..]);
            }
        });
    }

    fn end(mut self) -> String {
        // The last comma.
        self.0.pop();
        self.0.push('}');
        self.0
    }
}

/// Whether a text is the same between quotes (RFC 8259 section 7). Without a way out in the middle it
/// is seen sixteen bytes at a time.
fn is_plain(text: &str) -> bool {
    let plain = |plain: bool, byte: u8| plain & (byte >= b' ') & (byte != b'"') & (byte != b'\\');
    text.bytes().fold(true, plain)
}

fn quoted_or_null<T>(text: &mut String, value: Option<T>, push: impl FnOnce(&mut String, T)) {
    let Some(value) = value else {
        return text.push_str("null");
    };
    text.push('"');
    push(text, value);
    text.push('"');
}

fn push_number(text: &mut String, number: impl Integer) {
    text.push_str(itoa::Buffer::new().format(number));
}

fn push_socket_address(text: &mut String, address: SocketAddr) {
    match address {
        SocketAddr::V4(address) => {
            text.push_str(&hop::written((*address.ip()).into()));
            text.push(':');
            push_number(text, address.port());
        }
        SocketAddr::V6(_) => {
            let _ = write!(text, "{address}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    proptest! {
        #[test]
        fn a_line_is_the_json_object_that_a_serialiser_writes(
            texts in prop::collection::vec(".{0,20}|[a-z\"\\\\\u{0}-\u{20}\u{7f}é]{0,20}", 7),
            (client, port) in (any::<IpAddr>(), any::<u16>()),
            (status, tries, reused) in (any::<u16>(), any::<usize>(), any::<bool>()),
            (elapsed, upstream_answer) in (any::<Duration>(), any::<Option<Duration>>()),
            (id, there) in (any::<u128>(), any::<bool>()),
        ) {
            let line = Line {
                time: Timestamp::from_millis(1_795_000_000_123),
                request_id: &texts[0],
                client: there.then_some(client),
                method: &texts[1],
                host: &texts[2],
                path: &texts[3],
                application: there.then_some(Uuid::from_u128(id)),
                client_id: there.then_some(&texts[4]),
                reason: there.then_some(&texts[5]),
                cure: there.then_some(&texts[6]),
                status,
                elapsed,
                upstream_answer,
                upstream: there.then_some(SocketAddr::new(client, port)),
                upstream_tries: there.then_some(tries),
                upstream_reused: there.then_some(reused),
                trace_id: there.then_some(&texts[0]),
                ..Line::default()
            };
            let seconds = |time: Duration| {
                let text = format!("{}.{:06}", time.as_secs(), time.subsec_micros());
                text.parse::<f64>().unwrap()
            };
            let mut expected = json!({
                "time": "2026-11-18T11:06:40.123Z",
                "request_id": line.request_id,
                "client": line.client,
                "method": line.method,
                "host": line.host,
                "path": line.path,
                "api": null,
                "strategy": null,
                "auth_method": null,
                "application": line.application,
                "client_id": line.client_id,
                "code": "",
                "reason": line.reason,
                "status": status,
                "seconds": seconds(elapsed),
                "authentication_seconds": null,
                "upstream_seconds": upstream_answer.map(seconds),
                "upstream": line.upstream,
                "upstream_tries": line.upstream_tries,
                "upstream_reused": line.upstream_reused,
                "upstream_detail": null,
                "bytes_received": 0,
                "bytes_sent": 0,
            });
            if there {
                expected["cure"] = json!(line.cure);
                expected["trace_id"] = json!(line.trace_id);
            }
            let written = line.json();
            prop_assert!(!written.contains('\n'));
            // Both read, since reading may round a number.
            let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
            prop_assert_eq!(read(&written), read(&expected.to_string()));
        }
    }
}
