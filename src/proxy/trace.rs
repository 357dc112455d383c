//! The trace that a request is part of (W3C Trace Context). Its fields pass unchanged; the id is
//! read for the log alone.

use http::{HeaderMap, HeaderName};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Length of version 00 of `traceparent`: `00-<trace id>-<parent id>-<flags>`.
const LENGTH: usize = 55;

/// The trace id that a request brings, 32 lower-case hexadecimal digits; `None` where it brings no
/// `traceparent`, several, or one that the standard calls invalid.
pub fn id(headers: &HeaderMap) -> Option<&str> {
    let mut lines = headers.get_all(TRACEPARENT).iter();
    let line = lines.next()?.to_str().ok()?;
    if lines.next().is_some() {
        return None;
    }
    // What a later version adds stands behind what this one has.
    let parts = match line.get(..LENGTH)? {
        whole if whole.len() == line.len() => whole,
        start if !line.starts_with("00") && line[LENGTH..].starts_with('-') => start,
        _ => return None,
    };
    let mut parts = parts.split('-');
    let mut next = |length: usize| {
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let part = parts.next()?;
        (part.len() == length && part.bytes().all(hex)).then_some(part)
    };
    let (version, id, parent, _flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
    let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    (version != "ff" && !is_zero(id) && !is_zero(parent)).then_some(id)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "0af7651916cd43dd8448eb211c80319c";

    fn of(line: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", HeaderValue::from_str(line).unwrap());
        id(&headers).map(str::to_owned)
    }

    #[test]
    fn well_formed_ones_have_an_id() {
        for rest in [
            "-b7ad6b7169203331-01",
            "-b7ad6b7169203331-00",
            "-b7ad6b7169203331-ff",
        ] {
            assert_eq!(of(&format!("00-{ID}{rest}")).as_deref(), Some(ID));
        }
        for line in [
            format!("01-{ID}-b7ad6b7169203331-01"),
            format!("cc-{ID}-b7ad6b7169203331-01-what-comes"),
        ] {
            assert_eq!(of(&line).as_deref(), Some(ID), "{line}");
        }
    }

    #[test]
    fn others_have_none() {
        let zeros = "0".repeat(32);
        for line in [
            String::new(),
            ID.to_owned(),
            format!("00-{zeros}-b7ad6b7169203331-01"),
            format!("00-{ID}-0000000000000000-01"),
            format!("ff-{ID}-b7ad6b7169203331-01"),
            format!("00-{ID}-b7ad6b7169203331-01-more"),
            format!("01-{ID}-b7ad6b7169203331-01more"),
            format!("00-{}-b7ad6b7169203331-01", ID.to_uppercase()),
            format!("00-{}-b7ad6b7169203331-01", ID.replace('a', "g")),
            format!("00-{ID}-b7ad6b7169203331-0"),
            format!("00-{ID}b7ad6b7169203331--01"),
            format!("0-0{ID}-b7ad6b7169203331-01"),
        ] {
            assert_eq!(of(&line), None, "{line}");
        }
        let mut twice = HeaderMap::new();
        let line = HeaderValue::from_str(&format!("00-{ID}-b7ad6b7169203331-01")).unwrap();
        twice.append("traceparent", line.clone());
        twice.append("traceparent", line);
        assert_eq!(id(&twice), None);
    }

    proptest! {
        #[test]
        fn an_id_is_always_hexadecimal(line in "[0-9a-f-]{50,60}|[ -~]{55}", bytes in any::<Vec<u8>>()) {
            if let Some(id) = of(&line) {
                prop_assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
            }
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let mut headers = HeaderMap::new();
                headers.insert("traceparent", value);
                let _ = id(&headers);
            }
        }
    }
}
