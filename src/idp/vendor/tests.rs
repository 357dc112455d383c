use super::*;

fn fields(vendor: Vendor, wanted: &Wanted<'_>, endpoint: &str) -> Vec<String> {
    let endpoint = Url::parse(endpoint).unwrap();
    let fields = vendor.preset().fields(wanted, &endpoint);
    let shown = fields.iter().map(|(name, value)| format!("{name}={value}"));
    shown.collect()
}

const NOTHING: Wanted<'_> = Wanted {
    scope: None,
    audience: None,
    parameters: &[],
    api: None,
};

#[test]
fn each_vendor_has_its_row() {
    for vendor in Vendor::ALL {
        let name = vendor.preset().name;
        assert_eq!(name, format!("{vendor:?}").to_lowercase());
    }
}

#[test]
fn a_token_request_names_the_api_in_the_vendors_way() {
    const V1: &str = "https://idp.test/t/oauth2/token";
    const V2: &str = "https://idp.test/t/oauth2/v2.0/token";
    let resource = [("resource".to_owned(), "api://own".to_owned())];
    let token_type = [("ext_token_type".to_owned(), "Default".to_owned())];
    let api = Wanted {
        api: Some("api://orders"),
        ..NOTHING
    };
    let given = Wanted {
        scope: Some("api://given/.default"),
        audience: Some("https://given"),
        ..api
    };
    let own = Wanted {
        parameters: &resource,
        ..given
    };
    let default = Wanted {
        parameters: &token_type,
        ..NOTHING
    };
    for (vendor, wanted, endpoint, expected) in [
        (Vendor::Generic, api, V1, &[][..]),
        (Vendor::Okta, api, V1, &[]),
        (Vendor::Curity, api, V1, &[]),
        (Vendor::Wso2, api, V1, &["ext_token_type=JWT"]),
        (Vendor::Wso2, default, V1, &["ext_token_type=Default"]),
        (Vendor::Auth0, api, V1, &["audience=api://orders"]),
        (Vendor::Auth0, NOTHING, V1, &[]),
        (
            Vendor::Auth0,
            given,
            V1,
            &["scope=api://given/.default", "audience=https://given"],
        ),
        (Vendor::Azure, api, V2, &["scope=api://orders/.default"]),
        (Vendor::Azure, api, V1, &["resource=api://orders"]),
        (Vendor::Azure, NOTHING, V2, &[]),
        (
            Vendor::Azure,
            given,
            V2,
            &["scope=api://given/.default", "audience=https://given"],
        ),
        (
            Vendor::Azure,
            given,
            V1,
            &[
                "resource=api://given",
                "scope=api://given/.default",
                "audience=https://given",
            ],
        ),
        (
            Vendor::Azure,
            own,
            V1,
            &[
                "scope=api://given/.default",
                "audience=https://given",
                "resource=api://own",
            ],
        ),
    ] {
        assert_eq!(
            fields(vendor, &wanted, endpoint),
            expected,
            "{vendor:?} {wanted:?}"
        );
    }
}

#[test]
fn the_other_document_of_a_tenant_lies_beside_its_token_endpoint() {
    for (endpoint, document) in [
        (
            "https://idp.test/t/oauth2/v2.0/token",
            Some("https://idp.test/t/.well-known/openid-configuration"),
        ),
        (
            "https://idp.test/t/oauth2/token?x",
            Some("https://idp.test/t/v2.0/.well-known/openid-configuration"),
        ),
        ("https://idp.test/token", None),
    ] {
        let found = other_document(&Url::parse(endpoint).unwrap());
        assert_eq!(found.as_ref().map(Url::as_str), document, "{endpoint}");
    }
}

#[test]
fn advice_is_picked_by_the_code_and_then_by_the_text() {
    let advice = |vendor: Vendor, error, description| vendor.preset().advice(error, description);
    let auth0 = |text| advice(Vendor::Auth0, "access_denied", text).unwrap();
    assert!(auth0("Service not found: https://x").contains("has no API"));
    assert!(auth0("Non-global clients are not allowed access to APIv1").contains("no audience"));
    assert!(auth0("anything else").contains("client grant"));
    assert_eq!(advice(Vendor::Generic, "access_denied", "x"), None);
    let graph = Vendor::Azure.preset().cure("graph_token").unwrap();
    assert!(graph.contains(".default"));
    assert_eq!(Vendor::Azure.preset().cure("unheard_of"), None);
}
