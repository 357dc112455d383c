//! An ID token: claims out of the input, signed here so that the signature is good, and what the
//! user-info endpoint says of the same person. The cookie of the sign-in that ends with it, too.
//!
//! The input is the claims, and behind a line feed the endpoint's answer; as a whole it is the cookie.

use dcr_gateway::{
    idp::sign_in::Pending,
    model::{credential::Secret, time::Timestamp},
    token::id_token::{Expected, more, verify},
};

use super::{
    signer::{Signer, base64},
    token::{ISSUERS, Members, NOW, issuers, keys},
};

const CLIENT: &str = "portal";
const NONCE: &str = "n-0S6_WzA2Mj";

/// Nobody is signed in by a token that breaks a rule of OpenID Connect Core 1.0 section 3.1.3.7, and
/// nobody has an address that is not said to be verified.
pub(super) fn run(input: &[u8]) {
    if let Ok(text) = std::str::from_utf8(input)
        && let Some(pending) = Pending::of(&Secret::new(text))
    {
        assert_eq!(pending.to_text().expose(), text);
    }
    let line = input.iter().position(|byte| *byte == b'\n');
    let (claims, answer) = input.split_at(line.unwrap_or(input.len()));
    let header = base64(r#"{"alg":"ES256","kid":"1"}"#);
    let message = format!("{header}.{}", base64(claims));
    let signature = Signer::get().sign("ES256", message.as_bytes());
    let token = format!("{message}.{}", base64(signature));
    let expected = Expected {
        issuers: &issuers(),
        client_id: CLIENT,
        nonce: NONCE,
    };
    let Ok(person) = verify(&token, keys(), &expected, Timestamp::from_secs(NOW)) else {
        return;
    };
    let claims: Members = serde_json::from_slice(claims).unwrap();
    let text = |name: &str| claims.get(name).and_then(|value| value.as_str());
    assert!(ISSUERS.contains(&&*person.issuer) && text("iss") == Some(&person.issuer));
    assert!(!person.subject.is_empty() && text("sub") == Some(&person.subject));
    assert_eq!(text("nonce"), Some(NONCE));
    let aud = &claims["aud"];
    let several = aud.as_array().map_or(0, Vec::len);
    assert!(aud == CLIENT || aud.as_array().unwrap().iter().any(|one| one == CLIENT));
    assert!(text("azp").map_or(several < 2, |party| party == CLIENT));
    assert!(claims["exp"].as_f64().unwrap() + 30.0 > NOW as f64);
    let is_verified = |claims: &Members| claims.get("email_verified") == Some(&true.into());
    assert!(person.email.is_none() || is_verified(&claims));
    if let Some(more) = more(&person, answer.get(1..).unwrap_or_default()) {
        let told: Members = serde_json::from_slice(answer).unwrap();
        assert!((&more.issuer, &more.subject) == (&person.issuer, &person.subject));
        assert!(more.email.is_none() || is_verified(&told));
    }
}
