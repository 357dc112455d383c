//! A token endpoint's answer. The input's first byte picks status and vendor, the rest is the body.

use dcr_gateway::{
    idp::{
        call::Answer,
        grant::{self, Error},
        vendor::Vendor,
    },
    model::time::Timestamp,
};
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::token::Members;

const STATUS: [u16; 10] = [200, 201, 204, 302, 400, 401, 403, 404, 408, 418];

/// A token is taken out of a success only, and out of one that says which; each refusal has the
/// class of its status and code; what is told of a refusal is short and plain.
pub(super) fn run(input: &[u8]) {
    let Some((choice, body)) = input.split_first() else {
        return;
    };
    let status = STATUS[usize::from(*choice) % STATUS.len()];
    let vendor = Vendor::ALL[usize::from(*choice) / STATUS.len() % Vendor::ALL.len()];
    let answer = Answer {
        status: StatusCode::from_u16(status).unwrap(),
        headers: HeaderMap::new(),
        body: body.to_vec(),
    };
    let claims: Option<Members> = serde_json::from_slice(body).ok();
    let text = |name: &str| claims.as_ref()?.get(name)?.as_str();
    let error = match grant::read(&answer, vendor.preset(), Timestamp::default()) {
        Ok(granted) => {
            assert!(matches!(status, 200 | 201));
            let claims = claims.as_ref().unwrap();
            assert!(!claims.get("error").is_some_and(Value::is_string));
            assert_eq!(Some(granted.token.expose()), text("access_token"));
            assert!(!granted.token.expose().is_empty());
            assert_eq!(granted.scope.as_deref(), text("scope"));
            if let Some(kind) = claims.get("token_type") {
                assert!(kind.as_str().unwrap().eq_ignore_ascii_case("bearer"));
            }
            match claims.get("expires_in") {
                Some(Value::Number(number)) if number.as_i64().is_some_and(exact) => {
                    assert_eq!(granted.expires_in, number.as_i64());
                }
                None | Some(Value::Null) => assert_eq!(granted.expires_in, None),
                Some(_) => assert!(granted.expires_in.is_some()),
            }
            return;
        }
        Err(error) => error,
    };
    let code = text("error");
    if matches!(error, Error::WrongSecret(_)) {
        let told = match code {
            Some("invalid_client") => matches!(status, 200 | 201 | 400),
            Some("unauthorized_client") => vendor == Vendor::Azure && status == 400,
            _ => false,
        };
        assert!(told || status == 401 || (status == 403 && body.is_empty()));
    }
    if matches!(error, Error::GrantRefused(_)) {
        let own = vendor == Vendor::Azure && status == 400 && code == Some("invalid_grant");
        assert!(own || matches!(code, Some("unauthorized_client" | "access_denied")));
    }
    let shown = error.to_string();
    assert!(shown.len() < 250, "{shown}");
    assert!(!shown.chars().any(char::is_control), "{shown:?}");
}

/// Whether a double holds a number exactly.
fn exact(number: i64) -> bool {
    number.abs() < 1 << 53
}
