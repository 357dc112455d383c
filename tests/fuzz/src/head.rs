//! The outline of an HTTP/1 head, beside what a whole parser reads in it.

use dcr_gateway::proxy::connection::head::{Body, Outline, end};

/// The outline never says that a connection goes on behind a body of some length unless a parser
/// says so too; it counts the fields; and a head that comes in parts ends where it does whole.
pub(super) fn run(bytes: &[u8]) {
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
    let head = &bytes[..found.unwrap_or(bytes.len())];
    let outline = Outline::read(head);
    let Some(length) = found else {
        return;
    };

    let mut fields = vec![httparse::EMPTY_HEADER; head.len() / 2];
    let mut request = httparse::Request::new(&mut fields);
    let Ok(httparse::Status::Complete(read)) = request.parse(head) else {
        return;
    };
    assert_eq!(read, length, "the parser ends elsewhere");
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
    let target = request.path.unwrap_or_default();
    let odd = |byte: u8| byte <= b' ' || byte == 0x7f || byte == b'#';
    if outline.target_is_clean {
        assert!(!target.bytes().any(odd), "{target:?} is not clean");
    }
}
