//! What an IdP says when it refuses, whatever shape it says it in.

use crate::{
    idp::{call::Answer, told::repeated::repeats},
    model::{claims::Value, credential::Secret},
    telemetry::checks::plain,
    token::json,
};

/// Characters of the IdP's words that are told: a sentence or two.
const LONGEST: usize = 300;
/// Causes that are told of those that Okta lists.
const CAUSES: usize = 3;

/// Status and words of an answer, in one printable line that repeats none of the secrets.
pub fn told(answer: &Answer, hidden: &[Secret]) -> String {
    let status = answer.status.as_u16();
    let words = words(&answer.body);
    if answer.status.is_redirection() {
        return format!("status {status}, and redirects are not followed");
    }
    if words.is_empty() {
        return format!("status {status}");
    }
    if hidden.iter().any(|secret| repeats(&words, secret.expose())) {
        return format!("status {status}, and words that repeat a secret");
    }
    format!("status {status}, {}", plain(&words, LONGEST))
}

/// The words themselves; none where the body is no JSON object, an HTML page perhaps.
fn words(body: &[u8]) -> String {
    let Ok(members) = json::claims(body) else {
        return String::new();
    };
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let mut words: Vec<&str> = Vec::new();
    match members.get("error") {
        // Microsoft Graph.
        Some(Value::Object(error)) => {
            let inside = |name: &str| error.get(name).and_then(Value::as_str);
            words.extend(["code", "message"].into_iter().filter_map(inside));
        }
        // Auth0 names the status here, and the kind of error below.
        Some(Value::String(error)) if text("errorCode").is_none() => words.push(error),
        _ => {}
    }
    let said = [
        "errorCode",
        "error_description",
        "errorSummary",
        "message",
        "title",
        "detail",
    ];
    words.extend(said.into_iter().filter_map(text));
    let causes = members.get("errorCauses").and_then(Value::as_array);
    let causes = causes.into_iter().flatten().take(CAUSES);
    words.extend(causes.filter_map(|cause| cause.get("errorSummary")?.as_str()));
    words.retain(|word| !word.trim().is_empty());
    words.dedup();
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn each_shape_of_refusal_is_told_in_a_line() {
        for (status, body, expected) in [
            (
                400,
                r#"{"error":"invalid_client_metadata","error_description":"no such grant"}"#,
                "status 400, invalid_client_metadata: no such grant",
            ),
            (
                403,
                r#"{"errorCode":"E0000006","errorSummary":"You do not have permission","errorLink":"E0000006","errorId":"x","errorCauses":[{"errorSummary":"ask an admin"}]}"#,
                "status 403, E0000006: You do not have permission: ask an admin",
            ),
            (
                404,
                r#"{"statusCode":404,"error":"Not Found","message":"The client does not exist","errorCode":"inexistent_client"}"#,
                "status 404, inexistent_client: The client does not exist",
            ),
            (
                403,
                r#"{"error":{"code":"Authorization_RequestDenied","message":"Insufficient privileges","innerError":{"date":"x"}}}"#,
                "status 403, Authorization_RequestDenied: Insufficient privileges",
            ),
            (
                400,
                r#"{"error":"The request is malformed","error_description":"line\nbreak\u001b[31m"}"#,
                "status 400, The request is malformed: line\\nbreak\\u{1b}[31m",
            ),
            (401, "", "status 401"),
            (302, "", "status 302, and redirects are not followed"),
            (502, "<html>no</html>", "status 502"),
            (
                400,
                r#"{"title":"Bad","detail":"worse","status":400}"#,
                "status 400, Bad: worse",
            ),
        ] {
            assert_eq!(told(&answer(status, body), &[]), expected);
        }
    }

    #[test]
    fn words_that_repeat_a_secret_are_left_out() {
        let secret = Secret::new("initial-0b1f5f0e9c");
        let body = r#"{"error":"invalid_token","error_description":"initial-0b1f5f0e9c is spent"}"#;
        let told = told(&answer(401, body), &[secret]);
        assert_eq!(told, "status 401, and words that repeat a secret");
    }
}
