//! Cookie lines, and the session sealed in one. The input's first byte picks which.

use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, RandomizedNonceKey};
use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use dcr_gateway::{
    model::{credential::ClientId, scope::Scopes, time::Timestamp},
    proxy::session::cookies,
    token::{
        Error,
        session::{KeyRing, Method, Session, SessionId, SessionKey, VALUE_LIMIT},
    },
};
use http::{HeaderMap, HeaderValue, header};

const NAME: &str = "__Host-dcr_session";
const KEY: [u8; 32] = [7; 32];

pub(super) fn run(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else {
        return;
    };
    match choice % 4 {
        0 => lines(rest),
        1 => sealed_here(rest),
        2 => content(rest),
        _ => never_sealed(rest),
    }
}

fn ring(key: &[u8; 32]) -> KeyRing {
    let key = SessionKey::from_base64(&BASE64_STANDARD.encode(key)).unwrap();
    KeyRing::new(vec![key]).unwrap()
}

/// Lines, split at line feeds, are read as RFC 6265 section 5.2 has browsers write them: no other
/// reader finds a cookie that is not found here, nor one fewer.
fn lines(input: &[u8]) {
    let mut headers = HeaderMap::new();
    let mut expected = Vec::new();
    for line in input.split(|byte| *byte == b'\n').take(64) {
        let Ok(value) = HeaderValue::from_bytes(line) else {
            continue;
        };
        headers.append(header::COOKIE, value);
        for pair in line.split(|byte| *byte == b';') {
            let Some(middle) = pair.iter().position(|byte| *byte == b'=') else {
                continue;
            };
            let parts = [&pair[..middle], &pair[middle + 1..]].map(white_cut);
            if let [Ok(name), Ok(value)] = parts.map(std::str::from_utf8) {
                expected.push((name, value));
            }
        }
    }
    let found: Vec<_> = cookies(&headers).collect();
    assert_eq!(found, expected);
}

fn white_cut(mut part: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = part {
        part = rest;
    }
    part
}

/// What the ring seals, it opens again, under this name, with this key, unchanged; and nothing
/// else.
fn sealed_here(input: &[u8]) {
    let Some((numbers, texts)) = input.split_at_checked(35) else {
        return;
    };
    let time = |at: usize| {
        let bytes = numbers[at..at + 8].try_into().unwrap();
        Timestamp::from_millis(i64::from_le_bytes(bytes))
    };
    let texts = String::from_utf8_lossy(texts);
    let mut texts = texts.split('\n');
    let mut next = || texts.next().unwrap_or_default();
    let (strategy, id, scopes) = (next(), next(), next());
    let Some(client_id) = ClientId::new(id) else {
        return;
    };
    let session = Session {
        strategy: strategy.into(),
        binding: [numbers[0]; 16],
        client_id,
        id: SessionId::random().unwrap(),
        method: match numbers[1] % 2 {
            0 => Method::Bearer,
            _ => Method::ClientCredentials,
        },
        scopes: Scopes::parse(scopes),
        header_claims: texts
            .map(|text| (text != "-").then(|| text.to_owned()))
            .collect(),
        begun: time(2),
        sealed: time(10),
        idle_end: time(18),
        absolute_end: time(26),
    };
    let own = ring(&KEY);
    let value = match own.seal(&session, NAME) {
        Ok(value) => value,
        Err(error) => {
            assert_eq!(error, Error::SessionTooLarge);
            // Their number is written in one byte.
            let many = session.header_claims.len() > 255;
            assert!(many || size(&session) > VALUE_LIMIT, "not large at all");
            return;
        }
    };
    assert!(value.len() <= VALUE_LIMIT);
    assert_eq!(value.len(), size(&session));
    let opened = own.open(&value, NAME).unwrap();
    assert_eq!(opened, session);
    lasts(&session, time(2));
    lasts(&session, session.idle_end.minus(Duration::from_millis(1)));

    assert!(own.open(&value, "dcr_session").is_err(), "other name");
    assert!(ring(&[8; 32]).open(&value, NAME).is_err(), "other key");
    let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(&value).unwrap();
    let at = usize::from(numbers[34]) % bytes.len();
    bytes[at] ^= 1 << (numbers[0] % 8);
    let changed = BASE64_URL_SAFE_NO_PAD.encode(&bytes);
    assert!(own.open(&changed, NAME).is_err(), "changed");
    let shorter = BASE64_URL_SAFE_NO_PAD.encode(&bytes[..at]);
    assert!(own.open(&shorter, NAME).is_err(), "cut short");
}

/// Characters of the value that a session is sealed to: hint, nonce, tag, then version, method,
/// binding, id, four times, three texts and a list of texts, each with its length.
fn size(session: &Session) -> usize {
    let texts = [
        &*session.strategy,
        session.client_id.as_str(),
        session.scopes.as_str(),
    ];
    let texts = texts.iter().map(|text| 2 + text.len());
    let claims = session.header_claims.iter();
    let claims = claims.map(|claim| 2 + claim.as_deref().unwrap_or_default().len());
    let content = 1 + 1 + 16 + 16 + 4 * 8 + texts.sum::<usize>() + 1 + claims.sum::<usize>();
    ((4 + 12 + content + 16) * 4).div_ceil(3)
}

fn lasts(session: &Session, now: Timestamp) {
    let expected = if now >= session.absolute_end {
        Err(Error::SessionEnded)
    } else if now >= session.idle_end {
        Err(Error::SessionIdle)
    } else {
        Ok(())
    };
    assert_eq!(session.judge(now), expected);
}

/// Any content, sealed as the ring does: one that opens is one that the ring could have sealed.
fn content(input: &[u8]) {
    let own = ring(&KEY);
    let value = sealed(input);
    let Ok(session) = own.open(&value, NAME) else {
        return;
    };
    assert!(value.len() <= VALUE_LIMIT, "larger than any that is sealed");
    let id = session.client_id.as_str();
    assert!(!id.is_empty() && !id.chars().any(char::is_control));
    let again = own.seal(&session, NAME).unwrap();
    assert!(again.len() <= value.len());
    assert_eq!(own.open(&again, NAME).unwrap(), session);
    let longer = [input, &[0]].concat();
    for other in [&longer, &input[..input.len() - 1]] {
        assert!(own.open(&sealed(other), NAME).is_err(), "not used up");
    }
}

/// A content as the value of a cookie.
fn sealed(content: &[u8]) -> String {
    let key = RandomizedNonceKey::new(&AES_256_GCM_SIV, &KEY).unwrap();
    let mut content = content.to_vec();
    let nonce = key.seal_in_place_append_tag(Aad::from(NAME), &mut content);
    let value = [&hint()[..], nonce.unwrap().as_ref(), &content].concat();
    BASE64_URL_SAFE_NO_PAD.encode(value)
}

/// What the ring writes before a nonce so that it finds the key again.
fn hint() -> [u8; 4] {
    let any = Session {
        strategy: "".into(),
        binding: [0; 16],
        client_id: ClientId::new("a").unwrap(),
        id: SessionId::random().unwrap(),
        method: Method::Bearer,
        scopes: Scopes::default(),
        header_claims: Vec::new(),
        begun: Timestamp::default(),
        sealed: Timestamp::default(),
        idle_end: Timestamp::default(),
        absolute_end: Timestamp::default(),
    };
    let value = ring(&KEY).seal(&any, NAME).unwrap();
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(value).unwrap();
    bytes[..4].try_into().unwrap()
}

/// Any value: nothing opens but what was sealed. The input may know the hint, not the key.
fn never_sealed(input: &[u8]) {
    let own = ring(&KEY);
    if let Ok(value) = std::str::from_utf8(input) {
        assert!(own.open(value, NAME).is_err());
        if let Some(key) = SessionKey::from_base64(value) {
            assert!(value.len() >= 43);
            assert!(KeyRing::new(vec![key]).is_ok());
        }
    }
    let value = BASE64_URL_SAFE_NO_PAD.encode([&hint()[..], input].concat());
    assert!(own.open(&value, NAME).is_err());
}
