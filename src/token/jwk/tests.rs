use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::token::mint::{Mint, base64, keys};

const MESSAGE: &[u8] = b"header.payload";

fn parse(set: &Value) -> Result<(usize, usize), Error> {
    KeySet::parse(set.to_string().as_bytes()).map(|keys| (keys.len(), keys.skipped()))
}

fn id(verdict: Result<&Key, Error>) -> Result<KeyId, Error> {
    verdict.map(|key| key.id)
}

#[test]
fn keys_that_cannot_verify_are_skipped_one_by_one() {
    let (ed, ec, rsa) = (Mint::ed25519(), Mint::p256(), Mint::rsa());
    let n = rsa.jwk(json!({}))["n"].as_str().unwrap().to_owned();
    let long = [&[0][..], &BASE64_URL_SAFE_NO_PAD.decode(&n).unwrap()].concat();
    let table = [
        ("RSA", rsa.jwk(json!({})), true),
        ("P-256", ec.jwk(json!({})), true),
        ("P-384", Mint::p384().jwk(json!({})), true),
        ("Ed25519", ed.jwk(json!({})), true),
        (
            "RSA with a sign byte",
            rsa.jwk(json!({"n": base64(long)})),
            true,
        ),
        ("use sig", ec.jwk(json!({"use": "sig"})), true),
        (
            "key_ops verify",
            ec.jwk(json!({"key_ops": ["encrypt", "verify"]})),
            true,
        ),
        ("alg of its kind", rsa.jwk(json!({"alg": "PS512"})), true),
        ("alg Ed25519", ed.jwk(json!({"alg": "Ed25519"})), true),
        (
            "unknown members",
            ec.jwk(json!({"issuer": "x", "x5c": ["!"], "x5t#S256": 1})),
            true,
        ),
        ("negative kid", ec.jwk(json!({"kid": "-1234567"})), true),
        ("not an object", json!("key"), false),
        ("empty object", json!({}), false),
        (
            "oct",
            json!({"kty": "oct", "k": base64([1; 32]), "alg": "HS256"}),
            false,
        ),
        (
            "unknown kty",
            json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}),
            false,
        ),
        ("unknown curve", ec.jwk(json!({"crv": "secp256k1"})), false),
        ("X25519", ed.jwk(json!({"crv": "X25519"})), false),
        ("use enc", rsa.jwk(json!({"use": "enc"})), false),
        ("use of wrong type", rsa.jwk(json!({"use": ["sig"]})), false),
        (
            "key_ops without verify",
            ec.jwk(json!({"key_ops": ["sign"]})),
            false,
        ),
        ("key_ops empty", ec.jwk(json!({"key_ops": []})), false),
        (
            "key_ops of wrong type",
            ec.jwk(json!({"key_ops": "verify"})),
            false,
        ),
        (
            "alg of encryption",
            rsa.jwk(json!({"alg": "RSA-OAEP"})),
            false,
        ),
        (
            "alg of another kind",
            rsa.jwk(json!({"alg": "ES256"})),
            false,
        ),
        (
            "alg of another curve",
            ec.jwk(json!({"alg": "ES384"})),
            false,
        ),
        ("alg symmetric", rsa.jwk(json!({"alg": "HS256"})), false),
        ("alg none", rsa.jwk(json!({"alg": "none"})), false),
        ("alg in other case", rsa.jwk(json!({"alg": "rs256"})), false),
        ("alg of wrong type", rsa.jwk(json!({"alg": 1})), false),
        ("kid of wrong type", rsa.jwk(json!({"kid": 1})), false),
        (
            "private half published",
            ec.jwk(json!({"d": base64([1; 32])})),
            false,
        ),
        ("n missing", json!({"kty": "RSA", "e": "AQAB"}), false),
        ("n not base64url", rsa.jwk(json!({"n": "++++"})), false),
        ("n zero", rsa.jwk(json!({"n": base64([0; 256])})), false),
        (
            "RSA of 1,024 bits",
            rsa.jwk(json!({"n": base64([0xff; 128])})),
            false,
        ),
        (
            "RSA of 2,047 bits",
            rsa.jwk(json!({"n": base64([0x7f; 256])})),
            false,
        ),
        (
            "RSA of 16,384 bits",
            rsa.jwk(json!({"n": base64([0xff; 2048])})),
            false,
        ),
        ("RSA, e is 1", rsa.jwk(json!({"e": "AQ"})), false),
        ("RSA, e even", rsa.jwk(json!({"e": "AQAA"})), false),
        ("RSA, e empty", rsa.jwk(json!({"e": ""})), false),
        (
            "off the curve",
            ec.jwk(json!({"x": base64([1; 32])})),
            false,
        ),
        (
            "point at zero",
            ec.jwk(json!({"x": base64([0; 32]), "y": base64([0; 32])})),
            false,
        ),
        (
            "short coordinate",
            ec.jwk(json!({"x": base64([1; 31])})),
            false,
        ),
        (
            "long coordinate",
            ec.jwk(json!({"x": base64([0; 33])})),
            false,
        ),
        (
            "Ed25519, short",
            ed.jwk(json!({"x": base64([1; 31])})),
            false,
        ),
    ];
    for (name, jwk, used) in &table {
        let expected = if *used { (1, 0) } else { (0, 1) };
        assert_eq!(parse(&json!({"keys": [jwk]})), Ok(expected), "{name}");
    }
    let good = table.iter().filter(|(_, _, used)| *used).count();
    let all: Vec<_> = table.iter().map(|(_, jwk, _)| jwk).collect();
    assert_eq!(parse(&json!({"keys": all})), Ok((good, table.len() - good)));
}

#[test]
fn a_set_is_an_object_with_keys() {
    for text in [
        &b""[..],
        b"[]",
        b"{}",
        b"{\"keys\":{}}",
        b"{\"keys\":[],\"keys\":[]}",
        b"<html>",
    ] {
        assert_eq!(KeySet::parse(text).unwrap_err(), Error::KeySet);
    }
    assert_eq!(parse(&json!({"keys": [], "more": 1})), Ok((0, 0)));
    assert_eq!(
        KeySet::parse(&vec![b' '; SET_LIMIT + 1]).unwrap_err(),
        Error::TooLarge
    );
    let deep = format!("{{\"keys\":{}", "[".repeat(100_000));
    assert_eq!(KeySet::parse(deep.as_bytes()).unwrap_err(), Error::KeySet);
}

#[test]
fn keys_beyond_the_limit_are_dropped_and_not_the_set() {
    let mint = Mint::ed25519();
    let members: Vec<_> = (0..KEY_LIMIT + 5)
        .map(|kid| mint.jwk(json!({"kid": kid.to_string()})))
        .collect();
    let set = json!({"keys": members}).to_string();
    let keys = KeySet::parse(set.as_bytes()).unwrap();
    assert_eq!((keys.len(), keys.skipped()), (KEY_LIMIT, 5));
    let signature = mint.sign("EdDSA", MESSAGE);
    let verify = |kid| id(keys.verify(Some(kid), "EdDSA", &[], MESSAGE, &signature));
    assert!(keys.holds(verify("999").unwrap()));
    assert_eq!(verify("1000"), Err(Error::UnknownKey));
}

#[test]
fn a_key_of_small_order_verifies_nothing() {
    // With the neutral point as key, this signature fits any message.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let forged = [neutral, [0; 32]].concat();
    let unguarded = ParsedPublicKey::new(&signature::ED25519, neutral).unwrap();
    assert!(
        unguarded.verify_sig(MESSAGE, &forged).is_ok(),
        "the library guards by itself now"
    );

    for point in SMALL_ORDER {
        for sign in [0, 0x80] {
            let mut x = point;
            x[31] |= sign;
            let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": base64(x)});
            assert_eq!(parse(&json!({"keys": [jwk]})), Ok((0, 1)), "{x:x?}");
        }
    }
}

#[test]
fn the_key_decides_the_algorithm() {
    use Algorithm::*;
    let (rsa, ec, p384, ed) = (Mint::rsa(), Mint::p256(), Mint::p384(), Mint::ed25519());
    let table = [
        (
            "RS256 by default",
            &rsa,
            json!({}),
            &[][..],
            "RS256",
            Ok(()),
        ),
        (
            "RS512 only when listed",
            &rsa,
            json!({}),
            &[],
            "RS512",
            Err(Error::Algorithm),
        ),
        (
            "PS256 only when listed",
            &rsa,
            json!({}),
            &[],
            "PS256",
            Err(Error::Algorithm),
        ),
        (
            "PS256 listed",
            &rsa,
            json!({}),
            &[PS256, ES256],
            "PS256",
            Ok(()),
        ),
        (
            "RS256 not listed",
            &rsa,
            json!({}),
            &[PS256],
            "RS256",
            Err(Error::Algorithm),
        ),
        (
            "RS384 by the key",
            &rsa,
            json!({"alg": "RS384"}),
            &[],
            "RS384",
            Ok(()),
        ),
        (
            "RS512 by the key",
            &rsa,
            json!({"alg": "RS512"}),
            &[],
            "RS512",
            Ok(()),
        ),
        (
            "PS384 by the key",
            &rsa,
            json!({"alg": "PS384"}),
            &[],
            "PS384",
            Ok(()),
        ),
        (
            "PS512 by the key",
            &rsa,
            json!({"alg": "PS512"}),
            &[],
            "PS512",
            Ok(()),
        ),
        (
            "the key says another",
            &rsa,
            json!({"alg": "RS512"}),
            &[],
            "RS256",
            Err(Error::Algorithm),
        ),
        (
            "key and list disagree",
            &rsa,
            json!({"alg": "RS512"}),
            &[RS256],
            "RS256",
            Err(Error::Algorithm),
        ),
        ("ES256 by curve", &ec, json!({}), &[], "ES256", Ok(())),
        (
            "ES256 not listed",
            &ec,
            json!({}),
            &[RS256],
            "ES256",
            Err(Error::Algorithm),
        ),
        (
            "ES384 on the wrong curve",
            &ec,
            json!({}),
            &[],
            "ES384",
            Err(Error::Algorithm),
        ),
        ("ES384 by curve", &p384, json!({}), &[], "ES384", Ok(())),
        ("EdDSA", &ed, json!({}), &[], "EdDSA", Ok(())),
        ("EdDSA listed", &ed, json!({}), &[EdDSA], "EdDSA", Ok(())),
        (
            "Ed25519 by the key",
            &ed,
            json!({"alg": "Ed25519"}),
            &[],
            "Ed25519",
            Ok(()),
        ),
        (
            "EdDSA with such a key",
            &ed,
            json!({"alg": "Ed25519"}),
            &[],
            "EdDSA",
            Ok(()),
        ),
        (
            "Ed25519 otherwise",
            &ed,
            json!({}),
            &[],
            "Ed25519",
            Err(Error::Algorithm),
        ),
        (
            "RS256 with a curve",
            &ec,
            json!({}),
            &[],
            "RS256",
            Err(Error::Algorithm),
        ),
        ("none", &rsa, json!({}), &[], "none", Err(Error::Algorithm)),
        ("None", &rsa, json!({}), &[], "None", Err(Error::Algorithm)),
        ("empty", &rsa, json!({}), &[], "", Err(Error::Algorithm)),
        (
            "HS256",
            &rsa,
            json!({}),
            &[],
            "HS256",
            Err(Error::Algorithm),
        ),
        (
            "HS256 listed",
            &rsa,
            json!({}),
            &[HS256],
            "HS256",
            Err(Error::Algorithm),
        ),
        (
            "other case",
            &rsa,
            json!({}),
            &[],
            "rs256",
            Err(Error::Algorithm),
        ),
        (
            "unknown",
            &ec,
            json!({}),
            &[],
            "ES512",
            Err(Error::Algorithm),
        ),
    ];
    for (name, mint, more, allowed, algorithm, expected) in table {
        let mut jwk = mint.jwk(more.clone());
        jwk["kid"] = json!("k");
        let keys = keys([jwk]);
        let signature = mint.sign(algorithm, MESSAGE);
        let verdict = keys.verify(Some("k"), algorithm, allowed, MESSAGE, &signature);
        assert_eq!(verdict.map(|_| ()), expected, "{name}");
    }
}

#[test]
fn kid_chooses_among_keys_that_may_share_it() {
    let (rsa, ec, other) = (Mint::rsa(), Mint::p256(), Mint::p256());
    let keys = keys([
        rsa.jwk(json!({"kid": "a", "alg": "RS256"})),
        rsa.jwk(json!({"kid": "a", "alg": "PS256"})),
        ec.jwk(json!({"kid": "a"})),
        other.jwk(json!({"kid": "a"})),
        ec.jwk(json!({"kid": "-5"})),
        other.jwk(json!({})),
    ]);
    let table = [
        ("first", &rsa, Some("a"), "RS256", Ok(())),
        (
            "same key once an algorithm",
            &rsa,
            Some("a"),
            "PS256",
            Ok(()),
        ),
        ("other kind", &ec, Some("a"), "ES256", Ok(())),
        ("second of a kind", &other, Some("a"), "ES256", Ok(())),
        (
            "no such algorithm under it",
            &rsa,
            Some("a"),
            "RS384",
            Err(Error::Algorithm),
        ),
        ("negative", &ec, Some("-5"), "ES256", Ok(())),
        (
            "another key's",
            &other,
            Some("-5"),
            "ES256",
            Err(Error::Signature),
        ),
        ("unknown", &ec, Some("b"), "ES256", Err(Error::UnknownKey)),
        (
            "path",
            &ec,
            Some("../../dev/null"),
            "ES256",
            Err(Error::UnknownKey),
        ),
        ("empty", &ec, Some(""), "ES256", Err(Error::UnknownKey)),
        (
            "other case",
            &ec,
            Some("A"),
            "ES256",
            Err(Error::UnknownKey),
        ),
        ("none: every key that fits", &other, None, "ES256", Ok(())),
        (
            "none, and a stranger",
            &Mint::p256(),
            None,
            "ES256",
            Err(Error::UnknownKey),
        ),
    ];
    for (name, mint, kid, algorithm, expected) in table {
        let signature = mint.sign(algorithm, MESSAGE);
        let verdict = keys.verify(kid, algorithm, &[], MESSAGE, &signature);
        assert_eq!(verdict.map(|_| ()), expected, "{name}");
    }
    let empty = KeySet::default();
    assert_eq!(
        id(empty.verify(None, "ES256", &[], MESSAGE, &[0; 64])),
        Err(Error::UnknownKey)
    );
}

#[test]
fn a_tenants_v2_key_signs_its_v1_tokens_and_no_other_tenants() {
    for (v2, v1, is_one) in [
        ("https://login.test/t-1/v2.0", "https://sts.test/t-1/", true),
        (
            "https://login.test/t-1/v2.0",
            "https://sts.test/t-2/",
            false,
        ),
        ("https://login.test/t-1/v2.0", "https://sts.test/t-1", false),
        ("https://login.test/t-1/", "https://sts.test/t-1/", false),
        ("https://login.test//v2.0", "https://sts.test//", false),
        ("/v2.0", "/", false),
        ("", "", false),
    ] {
        assert_eq!(is_v1_of(v2, v1), is_one, "{v2} {v1}");
    }
}

#[test]
fn an_id_outlives_refetches_and_dies_with_what_it_stands_for() {
    let (mint, other) = (Mint::p256(), Mint::p256());
    let id = |keys: &KeySet| {
        let signature = mint.sign("ES256", MESSAGE);
        id(keys.verify(None, "ES256", &[], MESSAGE, &signature)).unwrap()
    };
    let first = mint.keys(json!({"kid": "a"}));
    let again = keys([
        other.jwk(json!({"kid": "b"})),
        mint.jwk(json!({"kid": "a", "use": "sig"})),
    ]);
    assert!(first.holds(id(&first)) && again.holds(id(&first)));
    for (name, set) in [
        ("removed", other.keys(json!({"kid": "a"}))),
        ("renamed", mint.keys(json!({"kid": "b"}))),
        ("no longer named", mint.keys(json!({}))),
        (
            "bound to an algorithm",
            mint.keys(json!({"kid": "a", "alg": "ES256"})),
        ),
        (
            "for encryption now",
            mint.keys(json!({"kid": "a", "use": "enc"})),
        ),
        ("empty set", KeySet::default()),
    ] {
        assert!(!set.holds(id(&first)), "{name}");
    }
}

#[test]
fn zero_signatures_and_the_other_s_range_are_refused() {
    let (ec, ed) = (Mint::p256().keys(json!({})), Mint::ed25519());
    for signature in [vec![0; 64], vec![0xff; 64], vec![0; 0], vec![0; 65]] {
        assert_eq!(
            id(ec.verify(None, "ES256", &[], MESSAGE, &signature)),
            Err(Error::UnknownKey)
        );
    }
    // S + L is the same number to whoever forgets to look (RFC 8032 section 5.1.7).
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let keys = ed.keys(json!({}));
    let mut signature = ed.sign("EdDSA", MESSAGE);
    assert!(keys.verify(None, "EdDSA", &[], MESSAGE, &signature).is_ok());
    let mut carry = 0;
    for (byte, add) in signature[32..].iter_mut().zip(L) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    assert_eq!(
        id(keys.verify(None, "EdDSA", &[], MESSAGE, &signature)),
        Err(Error::UnknownKey)
    );
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in any::<Vec<u8>>()) {
        let _ = KeySet::parse(&text);
    }

    #[test]
    fn any_member_is_read_without_panic(
        (kty, crv) in ("RSA|EC|OKP|oct", "P-256|P-384|Ed25519|X25519"),
        numbers in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 4),
    ) {
        let [n, e, x, y] = [0, 1, 2, 3].map(|index| base64(&numbers[index]));
        let jwk = json!({"kty": kty, "crv": crv, "n": n, "e": e, "x": x, "y": y});
        let read = parse(&json!({"keys": [jwk]}));
        prop_assert!(read.is_ok());
    }

    #[test]
    fn any_signature_is_judged_without_panic(signature in prop::collection::vec(any::<u8>(), 0..200)) {
        thread_local!(static KEYS: KeySet = {
            let mints = [Mint::p256(), Mint::p384(), Mint::ed25519(), Mint::rsa()];
            keys(mints.map(|mint| mint.jwk(json!({}))))
        });
        KEYS.with(|keys| for algorithm in ["ES256", "ES384", "EdDSA", "RS256"] {
            assert!(keys.verify(None, algorithm, &[], MESSAGE, &signature).is_err());
        });
    }
}
