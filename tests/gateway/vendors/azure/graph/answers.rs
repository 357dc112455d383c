//! How Microsoft Graph says what it says.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{super::guid, Application};
use crate::harness::{http1::Answer, now};

/// Every error of Graph's.
pub(crate) fn problem(status: u16, code: &str, message: &str) -> Answer {
    let body = json!({"error": {
        "code": code, "message": message,
        "innerError": {
            "date": instant(now()).trim_end_matches('Z'), "request-id": guid(),
            "client-request-id": guid(),
        },
    }});
    Answer::json(status, &body)
}

/// What Graph says to who asks too often.
pub(crate) fn throttled(retry_after: u32) -> Answer {
    problem(429, "TooManyRequests", "Too many requests")
        .header("Retry-After", &retry_after.to_string())
}

/// What Graph says where two changes of one object meet.
pub(crate) fn concurrency() -> Answer {
    let text = "Unable to complete the request due to data concurrency violation.";
    problem(409, "Directory_ConcurrencyViolation", text)
}

pub(super) fn denied() -> Answer {
    let text = "Insufficient privileges to complete the operation.";
    problem(403, "Authorization_RequestDenied", text)
}

pub(super) fn not_found(id: &str) -> Answer {
    let text = format!(
        "Resource '{id}' does not exist or one of its queried reference-property objects are not \
         present."
    );
    problem(404, "Request_ResourceNotFound", &text)
}

pub(super) fn shown(base: &str, kind: &str, application: &Application) -> Value {
    let mut body = application.members();
    body["@odata.context"] = json!(format!("{base}/$metadata#{kind}"));
    body
}

/// The members that were asked for, if any were.
pub(super) fn selected(mut body: Value, select: Option<&str>) -> Value {
    if let (Some(select), Some(members)) = (select, body.as_object_mut()) {
        members.retain(|name, _| name.starts_with('@') || select.split(',').any(|one| one == name));
    }
    body
}

pub(super) fn principal(base: &str, id: &str, application: &Application) -> Value {
    json!({
        "@odata.context": format!("{base}/$metadata#servicePrincipals/$entity"),
        "id": id, "deletedDateTime": null, "accountEnabled": true,
        "appDisplayName": application.properties["displayName"], "appId": application.app_id,
        "appRoleAssignmentRequired": false, "displayName": application.properties["displayName"],
        "servicePrincipalNames": [application.app_id], "servicePrincipalType": "Application",
        "signInAudience": "AzureADMyOrg", "tags": [], "appRoles": [], "keyCredentials": [],
        "passwordCredentials": [],
    })
}

/// A time as Graph writes it, with seven digits behind the point.
pub(super) fn instant(seconds: i64) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs());
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.replace('Z', ".3086381Z")
}
