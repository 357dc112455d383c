use proptest::prelude::*;

use super::*;

const NAME: &str = "__Host-dcr_session";

fn ring() -> KeyRing {
    KeyRing::new(vec![SessionKey::random().unwrap()]).unwrap()
}

fn session() -> Session {
    Session {
        strategy: "partners".into(),
        binding: binding(&["https://idp.example.com", "client_id"]),
        client_id: ClientId::new("app").unwrap(),
        id: SessionId::random().unwrap(),
        method: Method::ClientCredentials,
        scopes: Scopes::parse("read write"),
        header_claims: vec![Some("t".to_owned()), None, Some(String::new())],
        begun: Timestamp::from_millis(1),
        sealed: Timestamp::from_millis(2),
        idle_end: Timestamp::from_millis(900_000),
        absolute_end: Timestamp::from_millis(86_400_000),
    }
}

fn any_session() -> impl Strategy<Value = Session> {
    (
        (
            ".{0,40}",
            any::<[u8; 16]>(),
            "[^\\pC]{1,60}",
            any::<[u8; 16]>(),
            any::<bool>(),
        ),
        (
            "[a-z: ]{0,60}",
            prop::collection::vec(any::<Option<String>>(), 0..3),
        ),
        any::<[i64; 4]>(),
    )
        .prop_map(
            |((strategy, binding, client_id, id, bearer), (scopes, header_claims), times)| {
                let [begun, sealed, idle_end, absolute_end] = times.map(Timestamp::from_millis);
                Session {
                    strategy: strategy.into(),
                    binding,
                    client_id: ClientId::new(client_id).unwrap(),
                    id: SessionId(id),
                    method: if bearer {
                        Method::Bearer
                    } else {
                        Method::ClientCredentials
                    },
                    scopes: Scopes::parse(&scopes),
                    header_claims,
                    begun,
                    sealed,
                    idle_end,
                    absolute_end,
                }
            },
        )
}

#[test]
fn a_session_opens_under_its_key_and_name_only() {
    let (ring, session) = (ring(), session());
    let value = ring.seal(&session, NAME).unwrap();
    assert_eq!(ring.open(&value, NAME), Ok(session.clone()));
    assert_eq!(
        ring.open(&value, "dcr_session"),
        Err(Error::SessionUnreadable)
    );
    assert_eq!(
        self::ring().open(&value, NAME),
        Err(Error::SessionUnreadable)
    );
    let again = ring.seal(&session, NAME).unwrap();
    assert_ne!(
        again, value,
        "two seals of one session show that they are one"
    );
    let plain = BASE64_URL_SAFE_NO_PAD.decode(value).unwrap();
    assert!(!plain.windows(3).any(|window| window == b"app"));
}

#[test]
fn keys_rotate_in_any_order() {
    let [old, new] = [(); 2].map(|()| SessionKey::random().unwrap());
    let ring = |keys: &[&SessionKey]| {
        KeyRing::new(keys.iter().map(|key| (*key).clone()).collect()).unwrap()
    };
    let session = session();
    let by_old = ring(&[&old]).seal(&session, NAME).unwrap();
    let by_new = ring(&[&new, &old]).seal(&session, NAME).unwrap();
    for (name, ring, value, opens) in [
        ("old key still open", ring(&[&new, &old]), &by_old, true),
        (
            "another gateway's order",
            ring(&[&old, &new]),
            &by_new,
            true,
        ),
        ("the first key seals", ring(&[&new]), &by_new, true),
        ("old key gone", ring(&[&new]), &by_old, false),
        ("new key not there yet", ring(&[&old]), &by_new, false),
        ("same key twice", ring(&[&old, &old]), &by_old, true),
    ] {
        assert_eq!(ring.open(value, NAME).is_ok(), opens, "{name}");
    }
    assert_eq!(KeyRing::new(Vec::new()).err(), Some(Error::SessionKey));
}

#[test]
fn no_bit_of_a_cookie_can_change() {
    let ring = ring();
    let value = ring.seal(&session(), NAME).unwrap();
    let mut sealed = BASE64_URL_SAFE_NO_PAD.decode(&value).unwrap();
    for bit in 0..sealed.len() * 8 {
        sealed[bit / 8] ^= 1 << (bit % 8);
        let changed = BASE64_URL_SAFE_NO_PAD.encode(&sealed);
        assert_eq!(
            ring.open(&changed, NAME),
            Err(Error::SessionUnreadable),
            "bit {bit}"
        );
        sealed[bit / 8] ^= 1 << (bit % 8);
    }
    for length in 0..value.len() {
        assert_eq!(
            ring.open(&value[..length], NAME),
            Err(Error::SessionUnreadable),
            "{length}"
        );
    }
    for changed in [
        format!("{value}="),
        format!("{value}A"),
        format!(" {value}"),
        value.replace(['-', '_'], "+"),
        "A".repeat(VALUE_LIMIT),
        "A".repeat(VALUE_LIMIT + 1),
        "é".to_owned(),
    ] {
        assert!(
            changed == value || ring.open(&changed, NAME).is_err(),
            "{changed}"
        );
    }
}

#[test]
fn cookies_under_other_keys_never_open() {
    let (ours, theirs, session) = (ring(), ring(), session());
    for _ in 0..10_000 {
        let value = theirs.seal(&session, NAME).unwrap();
        assert_eq!(ours.open(&value, NAME), Err(Error::SessionUnreadable));
        // With our hint before it, the tag decides.
        let hint = ours.seal(&session, NAME).unwrap();
        let mut sealed = BASE64_URL_SAFE_NO_PAD.decode(value).unwrap();
        sealed[..4].copy_from_slice(&BASE64_URL_SAFE_NO_PAD.decode(hint).unwrap()[..4]);
        let value = BASE64_URL_SAFE_NO_PAD.encode(sealed);
        assert_eq!(ours.open(&value, NAME), Err(Error::SessionUnreadable));
    }
}

#[test]
fn a_large_session_makes_no_cookie() {
    let ring = ring();
    let with = |length: usize| Session {
        header_claims: vec![Some("x".repeat(length))],
        scopes: Scopes::default(),
        ..session()
    };
    let largest = (0..VALUE_LIMIT)
        .rfind(|length| ring.seal(&with(*length), NAME).is_ok())
        .unwrap();
    let value = ring.seal(&with(largest), NAME).unwrap();
    assert_eq!(value.len(), VALUE_LIMIT);
    assert!(ring.open(&value, NAME).is_ok());
    for length in [largest + 1, 65_534, 65_535, 65_536, 1_000_000] {
        assert_eq!(
            ring.seal(&with(length), NAME),
            Err(Error::SessionTooLarge),
            "{length}"
        );
    }
    let many = Session {
        header_claims: vec![None; 256],
        ..session()
    };
    assert_eq!(ring.seal(&many, NAME), Err(Error::SessionTooLarge));
}

#[test]
fn a_session_ends_when_idle_or_old() {
    let session = session();
    for (name, now, expected) in [
        ("fresh", 2, Ok(())),
        ("before it was begun, on another clock", -5, Ok(())),
        ("last moment", 899_999, Ok(())),
        ("idle", 900_000, Err(Error::SessionIdle)),
        ("old", 86_400_000, Err(Error::SessionEnded)),
        ("far past", i64::MAX, Err(Error::SessionEnded)),
    ] {
        assert_eq!(
            session.judge(Timestamp::from_millis(now)),
            expected,
            "{name}"
        );
    }
    let long_idle = Session {
        idle_end: Timestamp::from_millis(i64::MAX),
        ..session
    };
    let end = long_idle.absolute_end;
    assert_eq!(long_idle.judge(end), Err(Error::SessionEnded));
}

#[test]
fn a_session_key_is_32_bytes_in_base64() {
    let padded = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    let key = SessionKey::from_base64(padded).unwrap();
    assert_eq!(
        SessionKey::from_base64(padded.trim_end_matches('=')),
        Some(key.clone())
    );
    assert_eq!(key, SessionKey(Zeroizing::new([1; 32])));
    assert_eq!(format!("{key:?}"), "(hidden)");
    for (name, text) in [
        ("empty", String::new()),
        ("31 bytes", BASE64_URL_SAFE_NO_PAD.encode([1; 31])),
        ("33 bytes", BASE64_URL_SAFE_NO_PAD.encode([1; 33])),
        ("line feed", format!("{padded}\n")),
        ("url-safe", BASE64_URL_SAFE_NO_PAD.encode([0xff; 32])),
        ("hex", "01".repeat(32)),
    ] {
        assert_eq!(SessionKey::from_base64(&text), None, "{name}");
    }
    assert_ne!(SessionKey::random(), SessionKey::random());
}

#[test]
fn contents_of_other_versions_and_lengths_are_refused() {
    let content = session().encode().unwrap();
    assert!(Session::decode(&content).is_some());
    assert_eq!(Session::decode(&[&content[..], &[0]].concat()), None);
    for (index, value) in [(0, 0), (0, 2), (1, 2)] {
        let mut other = content.clone();
        other[index] = value;
        assert_eq!(Session::decode(&other), None, "{index}: {value}");
    }
    for length in 0..content.len() {
        assert_eq!(Session::decode(&content[..length]), None, "{length}");
    }
}

proptest! {
    #[test]
    fn every_session_survives_the_cookie(session in any_session()) {
        let ring = ring();
        match ring.seal(&session, NAME) {
            Ok(value) => {
                prop_assert!(value.len() <= VALUE_LIMIT);
                prop_assert_eq!(ring.open(&value, NAME), Ok(session));
            }
            Err(error) => prop_assert_eq!(error, Error::SessionTooLarge),
        }
    }

    #[test]
    fn any_cookie_is_read_without_panic(value in "[A-Za-z0-9_-]{0,1100}|\\PC{0,50}") {
        prop_assert_eq!(ring().open(&value, NAME), Err(Error::SessionUnreadable));
    }

    #[test]
    fn any_content_is_read_without_panic(mut content in any::<Vec<u8>>(), whole in any::<bool>()) {
        if whole {
            content.splice(..0, session().encode().unwrap()[..70].iter().copied());
        }
        let _ = Session::decode(&content);
    }

    #[test]
    fn bindings_keep_their_borders(parts in prop::collection::vec(".{0,10}", 1..5), at in any::<prop::sample::Index>()) {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let whole = binding(&parts);
        let at = at.index(parts.len());
        prop_assert_ne!(whole, binding(&[&parts[..at], &[""], &parts[at..]].concat()));
        if let [one, other, ..] = parts[at..] {
            let moved = format!("{one}{other}");
            let joined = [&parts[..at], &[moved.as_str(), ""], &parts[at + 2..]].concat();
            prop_assert_eq!(whole == binding(&joined), other.is_empty());
        }
    }
}
