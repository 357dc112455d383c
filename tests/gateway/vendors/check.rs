//! What `dcr-gateway check` says of a vendor's configuration before anybody calls: nothing where it
//! is what its documentation asks for, a warning with the cure where a mistake shows.

use std::{fs, process::Command};

/// The warnings about an identity provider and a strategy of it, both in flow style; no fault.
fn warnings(provider: &str, strategy: &str) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let gateway = format!(
        "listeners: [{{ address: 127.0.0.1:0 }}]\n\
         admin: {{ address: 127.0.0.1:0, token: {{ file: token }} }}\n\
         identity_providers: [{{ name: idp, {provider} }}]\n\
         auth_strategies: [{{ name: partners, identity_provider: idp, {strategy} }}]\n\
         session_keys: [{{ file: session }}]\n\
         apis: [{{ name: orders, auth_strategies: [partners], routes: [{{ paths: [/orders] }}], \
         upstream: {{ targets: [{{ address: 127.0.0.1:9 }}] }} }}]\n\
         registry: {{ file: applications.yaml }}\n"
    );
    for (name, text) in [
        ("gateway.yaml", &*gateway),
        ("applications.yaml", "applications: []"),
        ("token", "the-operators-own-token"),
        ("session", &crate::harness::session_key(7)),
    ] {
        fs::write(at(name), text).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_dcr-gateway"))
        .args(["check", "--config"])
        .arg(at("gateway.yaml"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{provider} {strategy}: {text}"
    );
    let lines = text.lines().filter(|line| line.contains(": warning: "));
    lines.map(str::to_lowercase).collect()
}

const ALL: &str = "auth_methods: [client_credentials, bearer, session]";

#[test]
fn three_lines_are_enough_for_every_method() {
    for (provider, strategy) in [
        (
            "vendor: auth0, issuer: https://acme-dev.eu.auth0.com",
            "audience: [https://orders.example/]",
        ),
        (
            "vendor: okta, issuer: https://acme.okta.com/oauth2/default",
            "audience: [api://default], token_request: { scope: orders.read }",
        ),
        (
            "vendor: azure, issuer: https://login.microsoftonline.com/5f0c2d4e/v2.0",
            "audience: [api://orders]",
        ),
        (
            "vendor: azure, issuer: https://sts.windows.net/5f0c2d4e/",
            "audience: [api://orders]",
        ),
        (
            "vendor: curity, issuer: https://id.acme.example/oauth/v2/oauth-anonymous, \
             client: { id: gateway, secret: { file: token } }",
            "audience: [orders.acme.example]",
        ),
        (
            "vendor: wso2, issuer: https://id.acme.example:9443/oauth2/token, \
             client: { id: gateway, secret: { file: token } }",
            "audience: [https://orders.acme.example]",
        ),
    ] {
        let found = warnings(provider, &format!("{ALL}, {strategy}"));
        assert_eq!(found, Vec::<String>::new(), "{provider}");
    }
}

#[test]
fn a_mistake_that_shows_is_warned_of_with_its_cure() {
    let auth0 = "vendor: auth0, issuer: https://acme-dev.eu.auth0.com/";
    let okta = "vendor: okta, issuer: https://acme.okta.com/oauth2/default";
    let azure = "vendor: azure, issuer: https://login.microsoftonline.com/5f0c2d4e/v2.0";
    for (provider, strategy, cure) in [
        (auth0, "audience: []", "token_request.audience"),
        (okta, "audience: [api://default]", "token_request.scope"),
        (
            okta,
            "audience: [api://default], token_request: { scope: openid }",
            "openid",
        ),
        (
            okta,
            "audience: [api://default], token_request: { scope: orders.read offline_access }",
            "openid",
        ),
        (
            "vendor: okta, issuer: https://acme.okta.com",
            "audience: [api://default], token_request: { scope: orders.read }",
            "/oauth2/default",
        ),
        (
            "vendor: okta, issuer: https://acme.okta.com/oauth2/default, \
             extra_issuers: [https://acme.okta.com]",
            "audience: [api://default], token_request: { scope: orders.read }",
            "/oauth2/default",
        ),
        (
            azure,
            "audience: [api://orders], token_request: { scope: https://graph.microsoft.com/.default }",
            "api://app_id/.default",
        ),
        (
            azure,
            "audience: [api://orders], \
             token_request: { parameters: { resource: https://graph.microsoft.com } }",
            "api://app_id/.default",
        ),
        (
            azure,
            "audience: [https://graph.microsoft.com]",
            "api://app_id/.default",
        ),
        (
            azure,
            "audience: [00000003-0000-0000-c000-000000000000]",
            "api://app_id/.default",
        ),
        (azure, "audience: []", "api://app_id/.default"),
        (
            "vendor: azure, issuer: https://login.microsoftonline.com/common/v2.0, \
             tenants: [5f0c2d4e-8a1b-4c3d-9e6f-7a8b9c0d1e2f]",
            "audience: [api://orders]",
            "token_endpoint",
        ),
        (
            azure,
            "audience: [api://orders], token_request: { scope: openid }",
            "one scope",
        ),
        (
            "vendor: curity, issuer: https://id.acme.example/oauth/v2/oauth-anonymous",
            "audience: [orders.acme.example]",
            "client for introspection",
        ),
        (
            "vendor: wso2, issuer: https://id.acme.example:9443/oauth2/token",
            "audience: [https://orders.acme.example]",
            "client for introspection",
        ),
    ] {
        let found = warnings(provider, &format!("{ALL}, {strategy}"));
        let named = found.iter().any(|warning| warning.contains(cure));
        assert!(named, "{provider} {strategy}: {found:#?}");
    }
}

/// Whoever takes bearers alone asks the vendor for nothing.
#[test]
fn what_is_never_asked_for_is_not_warned_of() {
    for (provider, audience) in [
        (
            "vendor: okta, issuer: https://acme.okta.com/oauth2/default",
            "api://default",
        ),
        (
            "vendor: azure, issuer: https://sts.windows.net/5f0c2d4e/",
            "api://orders",
        ),
    ] {
        let strategy = format!("auth_methods: [bearer], audience: ['{audience}']");
        assert_eq!(
            warnings(provider, &strategy),
            Vec::<String>::new(),
            "{provider}"
        );
    }
}
