use serde_json::json;

use super::*;

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn asked() -> Map<String, Value> {
    object(json!({"grant_types": ["client_credentials"], "scope": "read write"}))
}

#[test]
fn a_client_that_can_be_used_is_told_from_one_that_cannot() {
    let now = Timestamp::from_secs(1_790_000_000);
    for (name, members, expected) in [
        ("as asked", json!({"scope": "read write"}), Ok(())),
        ("narrower", json!({"scope": "read"}), Ok(())),
        ("scope as a list", json!({"scope": ["read"]}), Ok(())),
        ("nothing told of it", json!({}), Ok(())),
        (
            "nulls and unknown members",
            json!({"scope": null, "grant_types": null, "token_endpoint_auth_method": null,
                   "client_secret_expires_at": null, "logo_uri": null, "x": {"y": [null]}}),
            Ok(()),
        ),
        (
            "public",
            json!({"token_endpoint_auth_method": "none"}),
            Err("it is public: its token_endpoint_auth_method is none"),
        ),
        (
            "no secret",
            json!({"client_secret": null}),
            Err("it has no client_secret"),
        ),
        (
            "an empty secret",
            json!({"client_secret": ""}),
            Err("it has no client_secret"),
        ),
        (
            "a secret that no header could carry",
            json!({"client_secret": "a\nb"}),
            Err("its client_secret holds a control character"),
        ),
        (
            "over already",
            json!({"client_secret_expires_at": 1_789_999_999}),
            Err("its client_secret has expired already"),
        ),
        (
            "another grant",
            json!({"grant_types": ["authorization_code"]}),
            Err("it may not use the grant client_credentials"),
        ),
        (
            "one grant more",
            json!({"grant_types": ["client_credentials", "password"]}),
            Err("it may use the grant \"password\", which was not asked for"),
        ),
        (
            "a wider scope",
            json!({"scope": "read admin"}),
            Err("its scope holds \"admin\", which was not asked for"),
        ),
        (
            "a scope to manage with",
            json!({"scope": "read dcrm"}),
            Err("it may manage clients: its scope holds \"dcrm\""),
        ),
    ] {
        let mut told = object(json!({"client_id": "c", "client_secret": "s"}));
        told.extend(object(members));
        let checked = Returned::of(told).check(&asked(), now);
        let checked = checked.map(|issued| assert_eq!(issued.secret.expose(), "s"));
        assert_eq!(checked, expected.map_err(str::to_owned), "{name}");
    }
}

#[test]
fn without_scopes_asked_for_the_idps_default_counts() {
    let told = object(json!({"client_secret": "s", "scope": "default"}));
    let asked = object(json!({"grant_types": ["client_credentials"]}));
    assert!(
        Returned::of(told)
            .check(&asked, Timestamp::default())
            .is_ok()
    );
}

#[test]
fn the_end_of_a_secret_is_read_in_each_form() {
    let end_of = Timestamp::from_secs(1_790_000_000);
    for (value, expected) in [
        (json!(0), None),
        (json!("0"), None),
        (json!(-1), None),
        (json!(1_790_000_000), Some(end_of)),
        (json!(1_790_000_000.0), Some(end_of)),
        (json!("1790000000"), Some(end_of)),
        (json!(1_790_000_000_000_u64), Some(end_of)),
        (json!("2026-09-21T14:13:20Z"), Some(end_of)),
        (json!("2026-09-21t14:13:20.000z"), Some(end_of)),
        (json!("2026-09-21T16:13:20+02:00"), Some(end_of)),
        (json!("2026-09-21T16:13:20.0+02:00"), Some(end_of)),
        (json!("2026-09-21 14:13:20"), Some(end_of)),
        (json!("never"), None),
        (json!([]), None),
        (json!(true), None),
    ] {
        assert_eq!(end(&value), expected, "{value}");
    }
}

#[test]
fn what_is_shown_holds_no_secret() {
    let told = object(json!({
        "client_id": "c", "client_secret": "s", "registration_access_token": "t",
        "registration_client_uri": "https://idp.test/reg/c?token=t", "client_name": "Zoë",
    }));
    let shown = Returned::of(told).shown();
    assert_eq!(
        Value::Object(shown),
        json!({"client_id": "c", "client_name": "Zoë"})
    );
}
