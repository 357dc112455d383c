//! The outline of an HTTP/1 head, beside what a whole parser reads in it.

use dcr_gateway::proxy::connection::head::{Body, Outline, end};

/// The outline never says that a connection goes on behind a body of some length unless a parser
/// says so too; it counts the fields; and a head that comes in parts ends where it does whole.
pub(super) fn run(mut bytes: &[u8]) {
    // The front skips these before it looks.
    while let [b'\n', rest @ ..] | [b'\r', b'\n', rest @ ..] = bytes {
        bytes = rest;
    }
    let found = end(bytes, 0);
    for part in [
        bytes.len() / 3,
        bytes.len() / 2,
        bytes.len().saturating_sub(1),
    ] {
        match end(&bytes[..part], 0) {
            Some(early) => assert_eq!(found, Some(early), "another end with more bytes"),
            None => assert_eq!(end(bytes, part), found, "the search cannot go on"),
        }
    }
    let outline = Outline::read(&bytes[..found.unwrap_or(bytes.len())]);
    let (Some(length), true) = (found, outline.target_is_clean) else {
        return;
    };

    // Pingora escapes a target that the parser does not take and tries again, so the target is
    // left out: all that is said of it is that it is one.
    let head = &bytes[..length];
    let line = head
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(length);
    let space = |byte: &u8| *byte == b' ';
    let first = head[..line].iter().position(space).unwrap();
    let last = head[..line].iter().rposition(space).unwrap();
    let target = &head[first + 1..last];
    let odd = |byte: &u8| *byte <= b' ' || *byte == 0x7f || *byte == b'#';
    assert!(!target.is_empty() && !target.iter().any(odd), "not clean");
    let head = [&head[..=first], b"/", &head[last..]].concat();

    let mut fields = vec![httparse::EMPTY_HEADER; head.len() / 2];
    let mut request = httparse::Request::new(&mut fields);
    let Ok(httparse::Status::Complete(read)) = request.parse(&head) else {
        return;
    };
    assert_eq!(read, head.len(), "the parser ends elsewhere");
    let is = |name: &'static str| {
        let fields = request.headers.iter();
        fields.filter(move |field| field.name.eq_ignore_ascii_case(name))
    };
    let cookies = is("cookie").count();
    assert_eq!(
        outline.fields,
        request.headers.len() - cookies.saturating_sub(1),
        "another number of fields"
    );
    if let Body::Length(length) = outline.body {
        assert_eq!(is("transfer-encoding").count(), 0, "chunked perhaps");
        assert_eq!(is("upgrade").count(), 0, "a tunnel perhaps");
        let mut lengths = is("content-length").map(|field| {
            let text = std::str::from_utf8(field.value).unwrap().trim();
            text.parse::<u64>().unwrap()
        });
        assert_eq!(length, lengths.next().unwrap_or_default());
        assert!(lengths.all(|other| other == length), "two lengths");
    }
}
