//! ID tokens: who has signed in at an identity provider, told to the client for which it is (OpenID
//! Connect Core 1.0 section 2).

use std::time::Duration;

use super::{Error, json, jwk::KeySet, jwt::Decoded, rules};
use crate::model::{
    claims::{Claims, Value},
    time::Timestamp,
};

/// Difference between clocks that is forgiven.
const LEEWAY: Duration = Duration::from_secs(30);

/// What an ID token has to say.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The provider's `iss` values.
    pub issuers: &'a [String],
    /// The client for which it is.
    pub client_id: &'a str,
    /// What was sent along when the sign-in began.
    pub nonce: &'a str,
}

/// Why an ID token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// What holds for all tokens does not hold.
    #[error(transparent)]
    Token(#[from] Error),
    /// It is for another sign-in.
    #[error("the ID token is for another sign-in")]
    Nonce,
    /// It is for several clients, or was made for another one.
    #[error("the ID token is for another client")]
    Party,
    /// It names nobody.
    #[error("the ID token names nobody")]
    Subject,
}

/// Who has signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// `iss`.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// The e-mail address, where the provider says that it has verified it.
    pub email: Option<String>,
    /// For people.
    pub name: Option<String>,
}

/// Verifies an ID token that came straight from the token endpoint (OpenID Connect Core 1.0 section
/// 3.1.3.7).
///
/// # Errors
/// [`Error::UnknownKey`] where fetching the keys again may help; otherwise the first rule that is
/// broken.
pub fn verify(
    token: &str,
    keys: &KeySet,
    expected: &Expected<'_>,
    now: Timestamp,
) -> Result<Person, Refused> {
    let decoded = Decoded::new(token);
    let claims = decoded.signed(keys)?;
    let text = |name| rules::text(&claims, name);
    let issuer = text("iss")?.ok_or(Error::Issuer)?;
    if !expected.issuers.iter().any(|known| known == issuer) {
        return Err(Error::Issuer.into());
    }
    if !rules::audience(&claims)?
        .iter()
        .any(|one| **one == *expected.client_id)
    {
        return Err(Error::Audience.into());
    }
    let several = claims
        .get("aud")
        .is_some_and(|aud| aud.as_array().is_some_and(|all| all.len() > 1));
    match text("azp")? {
        Some(party) if party != expected.client_id => return Err(Refused::Party),
        None if several => return Err(Refused::Party),
        _ => {}
    }
    let ends = rules::time(&claims, "exp")?.ok_or(Error::ExpiryMissing)?;
    if now.minus(LEEWAY) >= ends {
        return Err(Error::Expired.into());
    }
    if rules::time(&claims, "iat")?.is_some_and(|made| made > now.plus(LEEWAY)) {
        return Err(Error::IssuedInFuture.into());
    }
    if text("nonce")? != Some(expected.nonce) {
        return Err(Refused::Nonce);
    }
    let issuer = issuer.to_owned();
    person(issuer, &claims).ok_or(Refused::Subject)
}

/// What the provider tells of the same person at its user-info endpoint (section 5.3.2): nothing
/// where it is about somebody else.
pub fn more(person: &Person, answer: &[u8]) -> Option<Person> {
    let claims = json::claims(answer).ok()?;
    let told = self::person(person.issuer.clone(), &claims)?;
    (told.subject == person.subject).then_some(told)
}

fn person(issuer: String, claims: &Claims<'_>) -> Option<Person> {
    let text = |name: &str| claims.get(name)?.as_str().filter(|text| !text.is_empty());
    let verified = claims.get("email_verified") == Some(&Value::Bool(true));
    Some(Person {
        issuer,
        subject: text("sub")?.to_owned(),
        email: text("email").filter(|_| verified).map(str::to_owned),
        name: text("name").map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Error, Expected, Person, Refused, Timestamp, more, verify};
    use crate::token::mint::Mint;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn claims(change: Value) -> Value {
        let mut claims = json!({
            "iss": "https://idp.test", "sub": "dana", "aud": "portal", "nonce": "n",
            "exp": NOW.secs() + 60, "iat": NOW.secs(),
            "email": "dana@example.com", "email_verified": true, "name": "Dana",
        });
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let members = claims.as_object_mut().unwrap();
        members.retain(|_, value| !value.is_null());
        claims
    }

    #[test]
    fn who_it_is_and_for_whom() {
        let key = Mint::p256();
        let keys = key.keys(json!({"alg": "ES256", "kid": "k"}));
        let header = r#"{"alg":"ES256","kid":"k"}"#;
        let issuers = ["https://idp.test".to_owned()];
        let expected = Expected {
            issuers: &issuers,
            client_id: "portal",
            nonce: "n",
        };
        let judge = |change: Value| {
            let token = key.token("ES256", header, &claims(change).to_string());
            verify(&token, &keys, &expected, NOW)
        };
        let dana = judge(json!({})).unwrap();
        assert_eq!(dana.email.as_deref(), Some("dana@example.com"));
        assert_eq!(
            (dana.subject.as_str(), dana.name.as_deref()),
            ("dana", Some("Dana"))
        );
        let several = json!({"aud": ["portal", "other"], "azp": "portal"});
        assert_eq!(judge(several).unwrap(), dana);
        for unverified in [json!(false), json!("true"), json!(1), Value::Null] {
            let told = judge(json!({"email_verified": unverified})).unwrap();
            assert_eq!(told.email, None);
        }
        for (change, why) in [
            (json!({"iss": "https://evil.test"}), Error::Issuer.into()),
            (json!({"iss": null}), Error::Issuer.into()),
            (json!({"aud": "other"}), Error::Audience.into()),
            (json!({"aud": null}), Error::Audience.into()),
            (json!({"aud": ["portal", "other"]}), Refused::Party),
            (json!({"azp": "other"}), Refused::Party),
            (json!({"exp": NOW.secs() - 30}), Error::Expired.into()),
            (json!({"exp": null}), Error::ExpiryMissing.into()),
            (
                json!({"iat": NOW.secs() + 31}),
                Error::IssuedInFuture.into(),
            ),
            (json!({"nonce": "m"}), Refused::Nonce),
            (json!({"nonce": null}), Refused::Nonce),
            (json!({"sub": null}), Refused::Subject),
            (json!({"sub": ""}), Refused::Subject),
        ] {
            assert_eq!(judge(change.clone()), Err(why), "{change}");
        }
        let other = Mint::p256().token("ES256", header, &claims(json!({})).to_string());
        let judged = verify(&other, &keys, &expected, NOW);
        assert_eq!(judged, Err(Error::Signature.into()));
        let unsigned = key.token("none", r#"{"alg":"none"}"#, &claims(json!({})).to_string());
        assert!(verify(&unsigned, &keys, &expected, NOW).is_err());
    }

    #[test]
    fn more_is_believed_of_the_same_person_alone() {
        let person = Person {
            issuer: "https://idp.test".to_owned(),
            subject: "dana".to_owned(),
            email: None,
            name: None,
        };
        let told = br#"{"sub":"dana","email":"dana@example.com","email_verified":true}"#;
        let told = more(&person, told).unwrap();
        assert_eq!(told.email.as_deref(), Some("dana@example.com"));
        assert_eq!(told.issuer, person.issuer);
        for other in [&br#"{"sub":"erin"}"#[..], b"{}", b"[]", b"a.b.c"] {
            assert_eq!(more(&person, other), None);
        }
    }
}
