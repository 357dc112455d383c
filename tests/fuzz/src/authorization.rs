//! The value of an Authorization line.

use base64::{Engine, prelude::BASE64_STANDARD};
use dcr_gateway::model::credential::{Credential, Malformed, Secret, Token};

/// A line is read as one credential that says what the line says, or as none.
pub(super) fn run(line: &[u8]) {
    let scheme = |name: &str| {
        let start = line.trim_ascii().get(..name.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
    };
    let parsed = Credential::parse(line);
    match &parsed {
        Ok(Credential::Basic(id, secret)) => {
            assert!(scheme("basic "));
            let (id, secret) = (id.as_str(), secret.expose());
            for part in [id, secret] {
                assert!(!part.is_empty(), "an empty part");
                assert!(!part.chars().any(char::is_control), "a control character");
            }
            assert!(!id.contains(':'), "the id ends at the first colon");
            let value = BASE64_STANDARD.encode(format!("{id}:{secret}"));
            let again = format!("Basic {value}");
            // As it stands a pair is shorter than in base64, and may just fit.
            let expected = match value.len() {
                0..=8192 => parsed.clone(),
                _ => Err(Malformed::TooLong),
            };
            assert_eq!(
                Credential::parse(again.as_bytes()),
                expected,
                "printed back"
            );
        }
        Ok(Credential::Bearer(token)) => {
            assert!(scheme("bearer "));
            let token = token.expose();
            assert!(line.trim_ascii().ends_with(token.as_bytes()));
            let letters = token.trim_end_matches('=');
            assert!(!letters.is_empty(), "an empty token");
            let legal = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
            assert!(letters.chars().all(legal), "not a token68");
            let again = format!("Bearer {token}");
            assert_eq!(Credential::parse(again.as_bytes()), parsed, "printed back");
        }
        Ok(Credential::Unknown) => assert!(!scheme("basic ") && !scheme("bearer ")),
        Err(Malformed::TooLong) => assert!(line.len() > 8 * 1024),
        Err(_) => {}
    }
    // What is shown depends on everything but the secret.
    let other = match &parsed {
        Ok(Credential::Basic(id, _)) => Credential::Basic(id.clone(), Secret::new("other")),
        Ok(Credential::Bearer(_)) => Credential::Bearer(Token::new("other")),
        _ => return,
    };
    assert_eq!(
        format!("{parsed:?}"),
        format!("{:?}", Ok::<_, Malformed>(other))
    );
}
