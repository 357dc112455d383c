use std::fs;

use proptest::prelude::*;

use super::*;
use crate::{idp::registration::Dialect, proxy::api::Access};

/// Line by line, so that a case can replace what it is about.
const GOOD: &str = "\
listeners: [{ address: 127.0.0.1:8000 }]
admin: { token: { env: CARGO_MANIFEST_DIR } }
identity_providers:
  - name: idp
    issuer: https://idp.example.com
auth_strategies:
  - name: partners
    identity_provider: idp
    auth_methods: [client_credentials, bearer]
    audience: [https://api.example.com]
apis:
  - name: flights
    auth_strategies: [partners]
    routes: [{ paths: [/flights] }]
    upstream: { targets: [{ address: 10.0.0.5:9000 }] }
registry: { file: applications.yaml }
";

fn load(text: &str) -> Result<(Config, Vec<String>), Vec<String>> {
    let file: Arc<Path> = Path::new("gateway.yaml").into();
    Config::parse(&file, text.as_bytes())
        .map(|(config, warnings)| (config, warnings.iter().map(Warning::to_string).collect()))
        .map_err(|faults| faults.iter().map(Fault::to_string).collect())
}

fn edited(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from:?} is not in the text");
    GOOD.replacen(from, to, 1)
}

/// The faults after an edit, without the file's name.
fn faults(from: &str, to: &str) -> Vec<String> {
    let faults = load(&edited(from, to)).map(|_| ()).expect_err(to);
    faults
        .iter()
        .map(|fault| fault.replace("gateway.yaml:", ""))
        .collect()
}

#[test]
fn a_small_file_gets_the_defaults() {
    let (config, warnings) = load(GOOD).unwrap();
    assert_eq!(
        warnings,
        [
            "gateway.yaml:7:5: warning: auth_strategies[0]: if the token endpoint hands out \
             opaque tokens, audience is not checked for client_credentials: the identity provider \
             has no client to introspect as"
        ]
    );
    assert_eq!(config.admin_address, "127.0.0.1:8001".parse().unwrap());
    assert_eq!(config.status, None);
    assert_eq!(
        (config.threads, config.grace_period),
        (0, Duration::from_secs(10))
    );
    assert_eq!(
        (config.limits.header_size, config.limits.body_size),
        (32 * 1024, None)
    );
    assert!(config.log.access);
    let strategy = &config.auth_strategies[0];
    assert!(strategy.client_credentials && strategy.bearer && !strategy.session);
    assert_eq!(strategy.credential_claim, None);
    assert_eq!(strategy.exchange.cache_time, Duration::from_secs(3600));
    assert_eq!(strategy.cookie.idle_timeout, Duration::from_secs(900));
    let api = &config.apis[0];
    assert_eq!(api.access, Access::Registered);
    let target = &api.upstream.as_ref().unwrap().targets[0];
    assert_eq!((&*target.host, target.port), ("10.0.0.5", 9000));
    assert_eq!(
        config.registry,
        Registry::File(std::path::absolute("applications.yaml").unwrap())
    );
    assert_eq!(config.files, [std::path::absolute("gateway.yaml").unwrap()]);
}

#[test]
fn the_small_pair_in_conf_loads() {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let (config, _) = Config::load(&conf.join("small.yaml")).unwrap();
    let file = conf.join("applications.yaml");
    assert_eq!(config.registry, Registry::File(file.clone()));
    let (entries, warnings) = crate::directory::file::load(&file, &config.known()).unwrap();
    assert_eq!((entries.len(), warnings), (1, Vec::new()));
}

#[test]
fn values_keep_what_was_written() {
    let text = edited("admin:", "threads: 2\nlog: { access: off, format: text }\nlimits: { body_size: 10MiB, header_size: 64KiB }\ngrace_period: 1m 30s\ntrusted_proxies: [10.0.0.0/8, '::1']\nadmin:")
        .replace("[{ paths: [/flights] }]", "[{ hosts: [API.Example.com., '*.example.org'], paths: [/flights/, =/x/], methods: [GET] }]")
        .replace("name: idp", "name: 0123");
    let text = text.replace("identity_provider: idp", "identity_provider: 0123");
    let (config, _) = load(&text).unwrap();
    assert_eq!(
        (config.threads, config.grace_period),
        (2, Duration::from_secs(90))
    );
    assert_eq!(
        (config.log.access, config.log.format),
        (false, LogFormat::Text)
    );
    assert_eq!(config.limits.body_size, Some(10 * 1024 * 1024));
    assert_eq!(config.trusted_proxies[1], "::1/128".parse().unwrap());
    assert_eq!(&*config.identity_providers[0].name, "0123");
    let route = &config.apis[0].routes[0];
    assert_eq!(route.hosts, ["api.example.com", "*.example.org"]);
    assert_eq!(route.paths, ["/flights", "=/x/"]);
}

#[test]
fn a_well_known_issuer_is_a_discovery_url() {
    for (issuer, is) in [
        ("https://h/oauth2", false),
        ("https://h/oauth2/", false),
        ("https://h/a/.well-known/openid-configuration", true),
        ("https://h/.well-known/oauth-authorization-server", true),
        (
            "https://h/.well-known/oauth-authorization-server/oauth2/x",
            true,
        ),
        ("https://h/.well-known/openid-configurations", false),
    ] {
        let (config, _) = load(&edited("https://idp.example.com", issuer)).unwrap();
        assert_eq!(
            config.identity_providers[0].issuer_is_discovery_url, is,
            "{issuer}"
        );
        assert_eq!(config.identity_providers[0].issuer, issuer);
    }
}

#[test]
fn each_fault_says_place_key_value_and_expectation() {
    const ROUTES: &str = "[{ paths: [/flights] }]";
    const ISSUER: &str = "https://idp.example.com";
    const METHODS: &str = "[client_credentials, bearer]";
    for (from, to, expected) in [
        // The file's own keys.
        (
            "listeners: [{ address: 127.0.0.1:8000 }]",
            "",
            "2:1: `listeners` is missing: expected at least one listener",
        ),
        (
            "[{ address: 127.0.0.1:8000 }]",
            "[]",
            "1:12: listeners: a list: expected at least one listener",
        ),
        (
            "127.0.0.1:8000",
            "localhost:8000",
            r#"1:24: listeners[0].address: "localhost:8000": expected an IP address with port, as in 127.0.0.1:8000"#,
        ),
        (
            "8000 }",
            "8000 }, { address: 0.0.0.0:8000 }",
            r#"1:42: listeners[1]: "0.0.0.0:8000": a listener has 127.0.0.1:8000 already: expected a free address"#,
        ),
        (
            "127.0.0.1:8000",
            "127.0.0.1:8001",
            r#"2:8: admin: "127.0.0.1:8001": a listener has 127.0.0.1:8001 already: expected a free address"#,
        ),
        (
            "admin:",
            "thread: 1\nadmin:",
            "2:1: thread: unknown key: expected one of listeners, status, admin, portal, trusted_proxies, threads, grace_period, upgrade_socket, limits, log, identity_providers, auth_strategies, session_keys, registry, apis",
        ),
        (
            "admin:",
            "\"a\\e[2J\\n\": 1\nadmin:",
            r"2:1: a\u{1b}[2J\n: unknown key: expected one of listeners, status, admin, portal, trusted_proxies, threads, grace_period, upgrade_socket, limits, log, identity_providers, auth_strategies, session_keys, registry, apis",
        ),
        (
            "admin:",
            "threads: -1\nadmin:",
            r#"2:10: threads: "-1": expected a whole number from 0 to 1024"#,
        ),
        (
            "admin:",
            "grace_period: 10\nadmin:",
            r#"2:15: grace_period: "10": expected a duration from 0s to 1h, with its unit, as in 10s"#,
        ),
        (
            "admin:",
            "limits: { header_size: 2MiB }\nadmin:",
            r#"2:24: limits.header_size: "2MiB": expected a size from 1.0 KiB to 1.0 MiB, as in 32KiB"#,
        ),
        (
            "admin:",
            "limits: { body_size: 0 }\nadmin:",
            r#"2:22: limits.body_size: "0": expected none, or a size up to 1 PiB, as in 10MiB"#,
        ),
        (
            "admin:",
            "log: { access: maybe }\nadmin:",
            r#"2:16: log.access: "maybe": expected true or false"#,
        ),
        (
            "admin:",
            "trusted_proxies: [10.0.0.0/33]\nadmin:",
            r#"2:19: trusted_proxies[0]: "10.0.0.0/33": expected a network, as in 10.0.0.0/8, or one address"#,
        ),
        (
            "{ file: applications.yaml }",
            "{}",
            "16:11: registry: expected one of file, sqlite, postgres",
        ),
        // Secrets.
        (
            "{ env: CARGO_MANIFEST_DIR }",
            "hunter2",
            "2:17: admin.token: expected {env: NAME} or {file: PATH}: a secret does not stand in this file itself",
        ),
        (
            "{ env: CARGO_MANIFEST_DIR }",
            "{ env: DCR_GATEWAY_NO_SUCH }",
            "2:24: admin.token.env: expected the name of an environment variable that is set",
        ),
        (
            "{ env: CARGO_MANIFEST_DIR }",
            "{ env: hunter-2 }",
            "2:24: admin.token.env: expected the name of an environment variable, in letters, digits and \"_\"",
        ),
        (
            "{ env: CARGO_MANIFEST_DIR }",
            "{ file: no/such }",
            r#"2:25: admin.token.file: "no/such": expected a file that can be read (no such file or directory)"#,
        ),
        (
            "{ env: CARGO_MANIFEST_DIR }",
            "{}",
            "2:17: admin.token: expected one of {env: NAME} or {file: PATH}",
        ),
        (
            "admin: {",
            "upgrade_socket: [a]\nadmin: {",
            "2:17: upgrade_socket: a list: expected the path of a socket, as in /run/dcr-gateway/upgrade.sock",
        ),
        (
            "admin: {",
            "upgrade_socket: /run/a-directory/whose-name-is-much-longer/than-anybody-would-want-to/read-in-any/message-like-this/upgrade.sock\nadmin: {",
            "2:17: upgrade_socket: \"/run/a-directory/whose-name-is-much-longer/than-anybody-would-want-to/read-in-any/message-like-this/\"…: expected a path of at most 107 bytes",
        ),
        // Identity providers.
        (
            ISSUER,
            "http://idp.example.com",
            r#"5:13: identity_providers[0].issuer: "http://idp.example.com": expected https (http is for a loopback host, or with `insecure_http: true`)"#,
        ),
        (
            ISSUER,
            "https://u:hunter2@idp.example.com",
            "5:13: identity_providers[0].issuer: expected a URL without user and password",
        ),
        (
            ISSUER,
            "https://idp.example.com?a=1",
            r#"5:13: identity_providers[0].issuer: "https://idp.example.com?a=1": expected an issuer without "?""#,
        ),
        (
            ISSUER,
            "idp.example.com",
            r#"5:13: identity_providers[0].issuer: "idp.example.com": expected an absolute https URL"#,
        ),
        (
            ISSUER,
            "https://i/.well-known/openid-configuration\n    discovery_url: https://i/d",
            "6:20: identity_providers[0].discovery_url: the issuer is a discovery URL already: leave one of the two out",
        ),
        (
            ISSUER,
            "https://i\n    jwks_uri: ftp://i/k",
            r#"6:15: identity_providers[0].jwks_uri: "ftp://i/k": expected an absolute https URL"#,
        ),
        (
            ISSUER,
            "https://i\n    client: { id: a }",
            "6:13: identity_providers[0].client: `secret` is missing: expected {env: NAME} or {file: PATH}",
        ),
        (
            ISSUER,
            "https://i\n    proxy: http://u:hunter2@p:1",
            "6:12: identity_providers[0].proxy: expected a proxy, as in http://proxy:3128, without user and password",
        ),
        (
            ISSUER,
            "https://i\n    ca_file: Cargo.toml",
            r#"6:14: identity_providers[0].ca_file: "Cargo.toml": expected a file of PEM certificates"#,
        ),
        (
            ISSUER,
            "https://i\n    vendor: oktta",
            r#"6:13: identity_providers[0].vendor: "oktta": expected auth0 or azure or curity or generic or okta or wso2"#,
        ),
        (
            ISSUER,
            "https://i/organizations/v2.0\n    vendor: azure",
            "4:5: identity_providers[0]: `tenants` is missing: the issuer is one for every tenant: expected a list of those whose tokens count, each a tenant's id, as in 5f0c2d4e-8a1b-4c3d-9e6f-7a8b9c0d1e2f",
        ),
        (
            ISSUER,
            "https://i\n    tenants: [a]",
            "6:14: identity_providers[0].tenants: only Entra's issuers common and organizations need them: expected vendor: azure",
        ),
        (
            ISSUER,
            "https://i/common\n    vendor: azure\n    tenants: [a, b/c]",
            r#"7:18: identity_providers[0].tenants[1]: "b/c": expected a tenant's id, as in 5f0c2d4e-8a1b-4c3d-9e6f-7a8b9c0d1e2f"#,
        ),
        (
            ISSUER,
            "https://i\n    calls: 0",
            r#"6:12: identity_providers[0].calls: "0": expected a whole number from 1 to 10000"#,
        ),
        (
            ISSUER,
            "https://i\n  - name: idp\n    issuer: https://j",
            r#"6:11: identity_providers[1].name: "idp": expected another name: line 4 has this one already"#,
        ),
        // Strategies.
        (
            "identity_provider: idp",
            "identity_provider: other",
            r#"8:24: auth_strategies[0].identity_provider: "other": expected one of identity_providers: idp"#,
        ),
        (
            "name: flights",
            "name: the flights",
            r#"12:11: apis[0].name: "the flights": expected a name of 1 to 100 letters, digits, "-", "_", ".""#,
        ),
        (
            METHODS,
            "[session]",
            "9:19: auth_strategies[0].auth_methods: session alone: nothing would ever start one; add client_credentials or bearer",
        ),
        (
            METHODS,
            "[password]",
            r#"9:20: auth_strategies[0].auth_methods[0]: "password": expected client_credentials or bearer or session"#,
        ),
        (
            METHODS,
            "[bearer]\n    credential_claim: sub",
            r#"10:23: auth_strategies[0].credential_claim: "sub": expected the names that lead to the claim, as in [sub]"#,
        ),
        (
            METHODS,
            "[bearer]\n    scopes_required: ['a \"b']",
            r#"10:23: auth_strategies[0].scopes_required[0]: "a \"b": expected scopes separated by spaces"#,
        ),
        (
            METHODS,
            "[bearer]\n    bearer: { leeway: 6m }",
            r#"10:23: auth_strategies[0].bearer.leeway: "6m": expected a duration from 0s to 5m, with its unit, as in 10s"#,
        ),
        (
            METHODS,
            "[bearer]\n    bearer: { algorithms: [HS256] }",
            r#"10:28: auth_strategies[0].bearer.algorithms[0]: "HS256": expected an algorithm with a public key: whoever can verify an HS* token can also make one"#,
        ),
        (
            METHODS,
            "[bearer]\n    bearer: { verify: introspection }",
            "7:5: auth_strategies[0]: bearer.verify is introspection: expected identity provider \"idp\" to have a client, as which the gateway asks",
        ),
        (
            METHODS,
            "[bearer]\n    session: { same_site: none }",
            r#"10:27: auth_strategies[0].session.same_site: "none": expected lax or strict: with none every site's requests would carry the cookie; for a page of another site let it send the token"#,
        ),
        (
            METHODS,
            "[bearer]\n    session: { cookie_name: 'a=b' }",
            r#"10:29: auth_strategies[0].session.cookie_name: "a=b": expected the name of a cookie, without prefix"#,
        ),
        (
            METHODS,
            "[bearer]\n    token_request: { parameters: { client_secret: hunter2 } }",
            "10:51: auth_strategies[0].token_request.parameters.client_secret: the gateway sets this field itself",
        ),
        (
            METHODS,
            "[bearer]\n    claim_headers: { X_Auth-Strategy: [sub] }",
            "10:39: auth_strategies[0].claim_headers.X_Auth-Strategy: expected a header that the gateway does not set itself",
        ),
        (
            METHODS,
            "[bearer]\n    claim_headers: { Proxy-X: [sub] }",
            "10:31: auth_strategies[0].claim_headers.Proxy-X: expected a header that does not frame the message",
        ),
        (
            METHODS,
            "[bearer]\n    claim_headers: { X-A: [a], x_a: [b] }",
            "10:37: auth_strategies[0].claim_headers.x_a: this header is listed twice",
        ),
        // APIs.
        (
            "auth_strategies: [partners]",
            "auth_strategies: [other]",
            r#"13:23: apis[0].auth_strategies[0]: "other": expected one of auth_strategies: partners"#,
        ),
        (
            "auth_strategies: [partners]",
            "auth_strategies: []",
            "12:5: apis[0]: no auth_strategies, so no credential could ever pass: list one, or say access: public",
        ),
        (
            "auth_strategies: [partners]",
            "auth_strategies: [partners, partners]",
            r#"13:33: apis[0].auth_strategies[1]: "partners": is listed twice"#,
        ),
        (
            "auth_strategies: [partners]",
            "auth_strategies: [partners]\n    access: public",
            "13:22: apis[0].auth_strategies: a public API reads no credential: remove auth_strategies, or choose another access",
        ),
        (
            "auth_strategies: [partners]",
            "auth_strategies: [partners]\n    forward_authorization: true",
            "14:28: apis[0].forward_authorization: only a public API passes the client's credential on; forward_access_token sends the verified token",
        ),
        (
            "auth_strategies: [partners]",
            "auth_strategies: [partners]\n    preflight: ask",
            r#"14:16: apis[0].preflight: "ask": expected authenticate or pass"#,
        ),
        (
            "auth_strategies: [partners]",
            "auth_strategies: [partners]\n    preflight: pass\n    cors: { origins: \"*\" }",
            "14:16: apis[0].preflight: pass leaves preflights to the upstream, and cors answers them: remove one",
        ),
        (
            "auth_strategies: [partners]",
            "auth_strategies: [partners]\n    cors: { credentials: true }",
            "14:11: apis[0].cors: `origins` is missing: expected a list of origins, or \"*\"",
        ),
        (
            "auth_strategies: [partners]",
            "auth_strategies: [partners]\n    cors: { origins: [\"*\"], credentials: true }",
            "14:22: apis[0].cors.origins: \"*\" together with credentials: true would let every page on the web act as its user: name the origins, or remove credentials",
        ),
        (
            "auth_strategies: [partners]",
            "auth_strategies: [partners]\n    cors: { origins: [\"null\"] }",
            r#"14:23: apis[0].cors.origins[0]: "null": expected an origin as browsers send it, as in https://app.example.com; "null" is the origin of every sandboxed page and local file"#,
        ),
        (
            "auth_strategies: [partners]",
            "auth_strategies: [partners]\n    cors: { origins: [null] }",
            "14:23: apis[0].cors.origins[0]: nothing: expected an origin as browsers send it, as in https://app.example.com",
        ),
        (
            "auth_strategies: [partners]",
            "auth_strategies: [partners]\n    cors: { origins: [\"https://*.example.com\"] }",
            r#"14:23: apis[0].cors.origins[0]: "https://*.example.com": expected one whole origin: wildcards for subdomains are not supported, since whoever holds one of them would be let in; name each"#,
        ),
        (
            "auth_strategies: [partners]",
            "auth_strategies: [partners]\n    cors: { origins: [\"https://A.example.com/\"] }",
            r#"14:23: apis[0].cors.origins[0]: "https://A.example.com/": expected an origin as browsers send it, https://a.example.com"#,
        ),
        (
            "auth_strategies: [partners]",
            "auth_strategies: [partners]\n    cors: { origins: [\"https://a.test\", \"https://a.test\"] }",
            r#"14:41: apis[0].cors.origins[1]: "https://a.test": is listed twice"#,
        ),
        (
            "auth_strategies: [partners]",
            "auth_strategies: [partners]\n    cors: { origins: [] }",
            "14:22: apis[0].cors.origins: a list: expected at least one origin",
        ),
        (
            "auth_strategies: [partners]",
            "auth_strategies: [partners]\n    cors: { origins: \"*\", headers: [\"*\"] }",
            r#"14:37: apis[0].cors.headers[0]: "*": expected the name of a field; without `headers` whatever a preflight asks for is allowed"#,
        ),
        (
            "auth_strategies: [partners]",
            "auth_strategies: [partners]\n    cors: { origins: \"*\", exposed_headers: [Set-Cookie] }",
            "14:45: apis[0].cors.exposed_headers[0]: no browser shows Set-Cookie to a page: remove it",
        ),
        (
            "auth_strategies: [partners]",
            "auth_strategies: [partners]\n    cors: { origins: \"*\", methods: [] }",
            "14:36: apis[0].cors.methods: a list: expected at least one method",
        ),
        (
            "auth_strategies: [partners]",
            "auth_strategies: [partners]\n    cors: { origins: \"*\", max_age: 25h }",
            r#"14:36: apis[0].cors.max_age: "25h": expected a duration from 0s to 1day, with its unit, as in 10s"#,
        ),
        (
            "auth_strategies: [partners]",
            "auth_strategies: [partners]\n    paths_as_sent: [dots]",
            r#"14:21: apis[0].paths_as_sent[0]: "dots": expected encoded_slash or double_slash or double_encoding"#,
        ),
        (
            "targets: [{ address: 10.0.0.5:9000 }]",
            "targets: []",
            "15:26: apis[0].upstream.targets: a list: expected at least one target",
        ),
        (
            "10.0.0.5:9000",
            "10.0.0.5",
            r#"15:38: apis[0].upstream.targets[0].address: "10.0.0.5": expected an address with port, as in 10.0.0.5:9000"#,
        ),
        (
            "10.0.0.5:9000",
            "a:1, weight: 1001",
            r#"15:51: apis[0].upstream.targets[0].weight: "1001": expected a whole number from 1 to 1000"#,
        ),
        // Routes.
        (
            "[/flights]",
            "[flights]",
            r#"14:24: apis[0].routes[0].paths[0]: "flights": expected a path that starts with "/", or "=/" for an exact one"#,
        ),
        (
            "[/flights]",
            "[/a%20b]",
            r#"14:24: apis[0].routes[0].paths[0]: "/a%20b": expected a path without "%": write it decoded, requests are compared so"#,
        ),
        (
            "[/flights]",
            "[/a;b]",
            r##"14:24: apis[0].routes[0].paths[0]: "/a;b": expected a path without ";", "?" and "#": only the path itself is compared"##,
        ),
        (
            "[/flights]",
            "[/a//b]",
            r#"14:24: apis[0].routes[0].paths[0]: "/a//b": expected a path without "//": no such request passes"#,
        ),
        (
            "[/flights]",
            "[=/a/../b]",
            r#"14:24: apis[0].routes[0].paths[0]: "=/a/../b": expected a path without "." and "..": no such request passes"#,
        ),
        (
            "[/flights]",
            "[/a/*]",
            r#"14:24: apis[0].routes[0].paths[0]: "/a/*": expected a path without "*" and "{}": there are no patterns, every path is a prefix"#,
        ),
        (
            ROUTES,
            "[{ paths: [/a], hosts: ['h:80'] }]",
            r#"14:37: apis[0].routes[0].hosts[0]: "h:80": expected a host without port, as in api.example.com or *.example.com"#,
        ),
        (
            ROUTES,
            "[{ paths: [/a], hosts: ['a.*.b'] }]",
            r#"14:37: apis[0].routes[0].hosts[0]: "a.*.b": expected a host without port, as in api.example.com or *.example.com"#,
        ),
        (
            ROUTES,
            "[{ paths: [/a], methods: [get] }]",
            r#"14:39: apis[0].routes[0].methods[0]: "get": expected a method in capitals other than CONNECT and TRACE, as in GET"#,
        ),
        (
            ROUTES,
            "[{ paths: [/a, /a/] }]",
            r#"14:28: apis[0].routes[0].paths[1]: "/a": any host and any method lead to the route of line 14 already: expected each host, path and method once"#,
        ),
        (
            ROUTES,
            "[{ paths: [/a], hosts: [H] }, { paths: [/a], hosts: [h.], methods: [PUT] }]",
            r#"14:53: apis[0].routes[1].paths[0]: "/a": h and PUT lead to the route of line 14 already: expected each host, path and method once"#,
        ),
    ] {
        assert_eq!(faults(from, to), [expected], "{to}");
    }
}

#[test]
fn what_does_not_go_together_is_refused() {
    let with = |edits: &[(&str, &str)]| {
        let text = edits.iter().fold(GOOD.to_owned(), |text, (from, to)| {
            text.replacen(from, to, 1)
        });
        load(&text).map(|_| ()).unwrap_err()
    };
    const CLIENT: (&str, &str) = (
        "issuer: https://idp.example.com",
        "issuer: https://idp.example.com\n    client: { id: g, secret: { env: CARGO_MANIFEST_DIR } }",
    );
    assert_eq!(
        with(&[CLIENT, ("    audience: [https://api.example.com]\n", "")]),
        [
            "gateway.yaml:8:5: auth_strategies[0]: introspects tokens, and any active token of the \
          identity provider would pass: expected audience or scopes_required (or bearer: {verify: \
          jwt})"
        ]
    );
    assert_eq!(
        with(&[
            CLIENT,
            (
                "apis:",
                "  - { name: b, identity_provider: idp, auth_methods: [bearer], audience: [a] }\napis:"
            ),
            ("[partners]", "[partners, b]"),
        ]),
        [
            "gateway.yaml:15:33: apis[0].auth_strategies[1]: \"b\": introspects tokens and so does \
          \"partners\": expected one such strategy, so that a token never goes to two identity \
          providers (set bearer: {verify: jwt} in the other)"
        ]
    );
    assert_eq!(
        with(&[
            ("[client_credentials, bearer]", "[bearer, session]"),
            ("[partners]", "[partners]\n    forward_access_token: true"),
        ]),
        [
            "gateway.yaml:14:27: apis[0].forward_access_token: strategy \"partners\" lists session, \
          and a session holds no token to forward: remove one of the two"
        ]
    );
}

#[test]
fn the_same_route_in_two_apis_is_refused_and_disjoint_methods_are_not() {
    let two = |one: &str, other: &str| {
        edited("[{ paths: [/flights] }]", one).replace(
            "registry:",
            &format!("  - name: two\n    access: public\n    routes: {other}\n    upstream: {{ targets: [{{ address: a:1 }}] }}\nregistry:"),
        )
    };
    assert_eq!(
        load(&two("[{ paths: [/a] }]", "[{ paths: [/b, /a] }]")).unwrap_err(),
        [
            "gateway.yaml:18:28: apis[1].routes[0].paths[1]: \"/a\": any host and any method lead to \
          the route of line 14 already: expected each host, path and method once"
        ]
    );
    for (one, other) in [
        (
            "[{ paths: [/a], methods: [GET] }]",
            "[{ paths: [/a], methods: [PUT] }]",
        ),
        ("[{ paths: [/a] }]", "[{ paths: [=/a] }]"),
        ("[{ paths: [/a] }]", "[{ paths: [/a], hosts: [h] }]"),
        (
            "[{ paths: [/a], hosts: [a.h] }]",
            "[{ paths: [/a], hosts: ['*.h'] }]",
        ),
    ] {
        load(&two(one, other)).unwrap();
    }
}

#[test]
fn weak_choices_are_warned_of() {
    for (from, to, expected) in [
        (
            "{ token: { env: CARGO_MANIFEST_DIR } }",
            "{}",
            "2:8: warning: admin: no token: everything on the admin address but its status is refused",
        ),
        (
            "    audience: [https://api.example.com]\n",
            "",
            "7:5: warning: auth_strategies[0]: no audience: any token of this identity provider for this client passes",
        ),
        (
            "https://idp.example.com",
            "http://idp.example.com\n    insecure_http: true",
            "5:13: warning: identity_providers[0].issuer: plain http: whoever is on the way can read secrets and forge keys",
        ),
        (
            "[client_credentials, bearer]",
            "[bearer, session]",
            "1:1: warning: no session_keys: one is made at start, so all sessions end with the process and no other gateway knows them",
        ),
        (
            "admin:",
            "trusted_proxies: [0.0.0.0/0]\nadmin:",
            "2:19: warning: trusted_proxies[0]: every client may say whose request it forwards",
        ),
        (
            "auth_strategies: [partners]",
            "auth_strategies: [partners]\n    cors: { origins: [\"http://localhost:3000\", \"http://app.test\"], credentials: true }",
            "14:48: warning: apis[0].cors.origins[1]: plain http: whoever is on the way can write a page of this origin, and act as its user",
        ),
    ] {
        let text = edited(from, to).replace("[client_credentials, bearer]", "[bearer]");
        let (_, warnings) = load(&text).unwrap();
        assert_eq!(warnings, [format!("gateway.yaml:{expected}")], "{to}");
    }
    let text = edited("https://idp.example.com", "http://127.0.0.1:1/x")
        .replace("[client_credentials, bearer]", "[bearer]");
    let (_, warnings) = load(&text).unwrap();
    assert_eq!(warnings, [""; 0], "loopback");
}

#[test]
fn syntax_is_reported_with_its_place() {
    for (text, expected) in [
        (
            "a: 1\na: 2\n",
            "gateway.yaml:2:1: a: expected each key once",
        ),
        (
            "a: b: c",
            "gateway.yaml:1:5: mapping values are not allowed in this context; is this line, or the \
             one above, indented as those beside it?",
        ),
        (
            "a:\n  - b: 1\n    c: 2\n   d: 3\n",
            "gateway.yaml:4:4: while parsing a block collection, did not find expected '-' \
             indicator; is this line, or the one above, indented as those beside it?",
        ),
        (
            "[1]",
            "gateway.yaml:1:1: a list: expected a section with keys",
        ),
    ] {
        assert_eq!(load(text).unwrap_err()[0], expected);
    }
}

#[test]
fn secrets_come_from_files_and_every_file_is_noted() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::write(at("key"), format!("{}\n", "A".repeat(43) + "=")).unwrap();
    fs::write(at("token"), "s3cret\r\n").unwrap();
    let good = GOOD.replace("{ env: CARGO_MANIFEST_DIR }", "{ file: token }")
        + "session_keys: [{ file: key }, { file: ./key }]\n";
    fs::write(at("gateway.yaml"), &good).unwrap();
    let (config, _) = Config::load(&at("gateway.yaml")).unwrap();
    assert_eq!(config.admin_token, Some(Secret::new("s3cret")));
    assert_eq!(config.session_keys.len(), 2);
    assert_eq!(config.files, [at("gateway.yaml"), at("token"), at("key")]);
    assert!(!format!("{config:?}").contains("s3cret"));

    fs::write(at("token"), "\n").unwrap();
    fs::write(at("key"), "c2hvcnQ=").unwrap();
    let faults = Config::load(&at("gateway.yaml")).unwrap_err();
    let messages: Vec<&str> = faults.iter().map(|fault| &*fault.message).collect();
    let no_key = "the secret is no key: expected base64 of 32 random bytes, as `openssl rand \
                  -base64 32` prints";
    assert_eq!(
        messages,
        [
            "admin.token.file: the secret is empty".to_owned(),
            format!("session_keys[0]: {no_key}"),
            format!("session_keys[1]: {no_key}"),
        ]
    );
}

#[test]
fn a_missing_file_is_one_fault() {
    let faults = Config::load(Path::new("no/such.yaml")).unwrap_err();
    assert_eq!(
        faults[0].to_string(),
        "no/such.yaml: cannot be read: no such file or directory"
    );
}

#[test]
fn certificates_are_checked_with_their_keys() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let certificate = |name: &str| {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        fs::write(at(&format!("{name}.crt")), made.cert.pem()).unwrap();
        fs::write(at(&format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
    };
    certificate("a.test");
    certificate("b.test");
    fs::write(at("empty"), "").unwrap();
    let load = |pairs: &str| {
        let listener = format!(
            "listeners: [{{ address: 127.0.0.1:8443, tls: {{ certificates: [{pairs}] }} }}]"
        );
        let text = GOOD.replace("listeners: [{ address: 127.0.0.1:8000 }]", &listener);
        fs::write(at("gateway.yaml"), text).unwrap();
        Config::load(&at("gateway.yaml"))
    };
    let both = "{ certificate: a.test.crt, key: a.test.key }, { certificate: b.test.crt, key: b.test.key }";
    let (config, _) = load(both).unwrap();
    let certificates = config.listeners[0].certificates.as_ref().unwrap();
    let names: Vec<&str> = certificates.iter().flat_map(|c| c.names()).collect();
    assert_eq!(names, ["a.test", "b.test"]);
    assert!(config.files.contains(&at("a.test.crt")) && config.files.contains(&at("b.test.key")));

    for (pairs, expected) in [
        (
            "",
            "tls.certificates: a list: expected at least one certificate",
        ),
        ("{ certificate: a.test.crt }", "`key` is missing"),
        (
            "{ certificate: none.crt, key: a.test.key }",
            "certificates[0].certificate: \"none.crt\": expected a file that can be read",
        ),
        (
            "{ certificate: a.test.crt, key: none.key }",
            "certificates[0].key: \"none.key\": expected a file that can be read",
        ),
        (
            "{ certificate: empty, key: a.test.key }",
            "certificates[0].certificate: \"empty\": expected a file with PEM certificates",
        ),
        (
            "{ certificate: a.test.crt, key: a.test.crt }",
            "certificates[0].key: \"a.test.crt\": expected a file with a PEM private key",
        ),
        (
            "{ certificate: a.test.crt, key: b.test.key }",
            "certificates[0].key: \"b.test.key\": expected a file with the private key of the first",
        ),
    ] {
        let faults = load(pairs).unwrap_err();
        assert!(
            faults.len() == 1 && faults[0].message.contains(expected),
            "{pairs}: {faults:?}"
        );
    }
}

#[test]
fn tls_that_says_no_more_is_still_tls() {
    let (config, _) = load(&edited(
        "upstream: { targets: [{ address: 10.0.0.5:9000 }] }",
        "upstream:\n      targets: [{ address: 10.0.0.5:9000 }]\n      tls:",
    ))
    .unwrap();
    assert!(config.apis[0].upstream.as_ref().unwrap().tls.is_some());
    let faults = load(&edited(
        "{ address: 127.0.0.1:8000 }",
        "{ address: 127.0.0.1:8000, tls: }",
    ));
    let fault = faults.unwrap_err().remove(0);
    assert!(fault.contains("`certificates` is missing"), "{fault}");
}

#[test]
fn a_registration_says_in_one_way_who_the_gateway_is() {
    const SECRET: &str = "{ env: CARGO_MANIFEST_DIR }";
    let client = format!("initial_client: {{ id: dcr, secret: {SECRET} }}");
    for (vendor, registration, expected) in [
        ("generic", "initial_access_token: S", Ok(Dialect::Generic)),
        ("generic", "open: true", Ok(Dialect::Generic)),
        ("generic", &client, Ok(Dialect::Generic)),
        ("auth0", &client, Ok(Dialect::Auth0)),
        ("azure", &client, Ok(Dialect::Azure)),
        ("curity", &client, Ok(Dialect::Curity)),
        ("okta", "api_key: S", Ok(Dialect::Okta)),
        ("wso2", "open: true", Ok(Dialect::Wso2)),
        (
            "auth0",
            "dialect: http, api_key: S, endpoint: https://bridge.test",
            Ok(Dialect::Http),
        ),
        (
            "generic",
            "open: false",
            Err(
                "identity_providers[0].registration: expected initial_access_token or \
                 initial_client or open",
            ),
        ),
        (
            "curity",
            "initial_access_token: S",
            Err(
                "identity_providers[0].registration.initial_access_token: no way to register in \
                 the dialect curity: expected initial_client",
            ),
        ),
        (
            "generic",
            "open: true, initial_access_token: S",
            Err(
                "identity_providers[0].registration.open: initial_access_token says already who \
                 the gateway is there: leave initial_access_token or open out",
            ),
        ),
        (
            "generic",
            "initial_access_token: plain",
            Err(
                "identity_providers[0].registration.initial_access_token: expected {env: NAME} or \
                 {file: PATH}: a secret does not stand in this file itself",
            ),
        ),
        (
            "okta",
            "dialect: http, api_key: S",
            Err(
                "identity_providers[0].registration: `endpoint` is missing: expected the bridge's \
                 URL",
            ),
        ),
        (
            "okta",
            "api_key: S, event_hooks: false",
            Err(
                "identity_providers[0].registration.event_hooks: has a meaning for a bridge only: \
                 expected dialect: http",
            ),
        ),
        (
            "generic",
            "open: true, client_metadata: { client_secret: s }",
            Err(
                "identity_providers[0].registration.client_metadata.client_secret: the identity \
                 provider alone sets this",
            ),
        ),
        (
            "generic",
            "open: true, endpoint: http://idp.example.com/reg",
            Err(
                "identity_providers[0].registration.endpoint: \"http://idp.example.com/reg\": \
                 expected https (http is for a loopback host, or with `insecure_http: true`)",
            ),
        ),
    ] {
        let registration = registration.replace(": S", &format!(": {SECRET}"));
        let text = edited(
            "https://idp.example.com",
            &format!(
                "https://idp.example.com\n    vendor: {vendor}\n    registration: {{ \
                 {registration} }}"
            ),
        );
        let found = load(&text).map(|(config, _)| {
            let provider = &config.identity_providers[0];
            provider.registration.as_ref().unwrap().dialect
        });
        let found = found.map_err(|faults| faults.join("\n"));
        match expected {
            Ok(dialect) => assert_eq!(found, Ok(dialect), "{vendor} {registration}"),
            Err(expected) => {
                let fault = found.unwrap_err();
                assert!(fault.ends_with(expected), "{fault}\n{expected}");
            }
        }
    }
}

#[test]
fn client_metadata_is_passed_on_with_its_types() {
    let text = edited(
        "https://idp.example.com",
        "https://idp.example.com\n    registration:\n      open: true\n      client_metadata: { ttl: \
         300, id: \"300\", pkce: false, none: ~, uris: [a, 1.5], x: { y: True }, version: 007 }",
    );
    let (config, _) = load(&text).unwrap();
    let registration = config.identity_providers[0].registration.as_ref().unwrap();
    assert_eq!(
        serde_json::Value::Object(registration.client_metadata.clone()),
        serde_json::json!({
            "ttl": 300, "id": "300", "pkce": false, "none": null, "uris": ["a", 1.5],
            "x": {"y": true}, "version": "007",
        })
    );
}

#[test]
fn a_registry_is_one_of_three_and_a_database_has_keys() {
    const ONE: &str = "16:11: registry: expected one of file, sqlite, postgres";
    const KEYS: &str = "16:11: registry: `keys` is missing: the registry seals what providers and \
                        clients are managed with: expected a list of {env: NAME} or {file: PATH}, \
                        each base64 of 32 random bytes, as `openssl rand -base64 32` prints";
    for (to, expected) in [
        ("{}", ONE),
        ("{ file: a.yaml, sqlite: a.db }", ONE),
        ("{ sqlite: data/registry.db }", KEYS),
        ("{ sqlite: data/registry.db, keys: [] }", KEYS),
        (
            "{ file: a.yaml, keys: [] }",
            "16:33: registry.keys: a file holds nothing sealed: remove the keys",
        ),
        (
            "{ postgres: postgres://localhost/dcr, keys: [{ env: PATH }] }",
            "16:23: registry.postgres: expected {env: NAME} or {file: PATH}: a secret does not \
             stand in this file itself",
        ),
    ] {
        let found = faults("{ file: applications.yaml }", to);
        assert_eq!(found.first().map(String::as_str), Some(expected), "{to}");
    }
}

const STORE: &str = "{ sqlite: data/registry.db, keys: [{ env: PATH }] }";

/// What a registry adds is read by the same code, and told by its own place.
#[test]
fn what_a_registry_adds_stands_beside_the_file() {
    let file: Arc<Path> = Path::new("gateway.yaml").into();
    let key = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, [7; 32]);
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("key"), key).unwrap();
    let path = directory.path().join("key");
    let store = STORE.replace("env: PATH", &format!("file: {}", path.display()));
    let text = edited("{ file: applications.yaml }", &store);
    let parse = |text: &str, additions: Option<&Additions>| {
        Config::parse_for(Role::Gateway, &file, text.as_bytes(), additions)
    };
    let strategy = |name: &str| {
        serde_json::json!({
            "name": name, "identity_provider": "other.issuer", "auth_methods": ["bearer"],
            "bearer": {"verify": "jwt"},
        })
    };
    let additions = |name: &str| Additions {
        identity_providers: vec![serde_json::json!({
            "name": "other.issuer", "issuer": "https://other.test",
        })],
        auth_strategies: vec![strategy(name)],
        apis: vec![
            ("flights".to_owned(), vec![name.to_owned()]),
            ("gone".to_owned(), vec![name.to_owned()]),
        ],
    };
    let (config, _) = parse(&text, Some(&additions("others"))).unwrap();
    assert_eq!(config.identity_providers.len(), 2);
    assert_eq!(config.apis[0].auth_strategies[1..], ["others".into()]);
    let own = config.auth_strategies[0].name.to_string();
    let faults = parse(&text, Some(&additions(&own))).unwrap_err();
    let place = (faults[0].place.file.as_os_str(), faults[0].place.column);
    assert_eq!(place, (Additions::PLACE.as_ref(), 1));
    assert!(
        faults[0]
            .to_string()
            .starts_with("registry: auth_strategies[1].name: "),
        "{faults:?}"
    );
    assert!(
        faults[0]
            .message
            .contains("gateway.yaml:7 has this one already"),
        "{faults:?}"
    );

    // A name that the registry will bring is no fault, and grants nothing before it has.
    let waits = text.replace("auth_strategies: [partners]", "auth_strategies: [later]");
    assert_ne!(waits, text);
    let (config, warnings) = parse(&waits, None).unwrap();
    assert!(config.apis[0].auth_strategies.is_empty());
    assert!(!warnings.iter().any(|one| one.message.contains("later")));
    let (config, warnings) = parse(&waits, Some(&Additions::default())).unwrap();
    assert!(config.apis[0].auth_strategies.is_empty());
    assert!(warnings.iter().any(|one| one.message.contains("later")));
    let (config, _) = parse(&waits, Some(&additions("later"))).unwrap();
    assert_eq!(config.apis[0].auth_strategies, ["later".into()]);
}

#[test]
fn a_portal_needs_a_registry_that_can_be_written() {
    let to = "portal: { address: 127.0.0.1:8002 }\nadmin:";
    let faults = faults("admin:", to);
    let [fault] = faults.as_slice() else {
        panic!("{faults:?}");
    };
    assert!(
        fault.starts_with("2:9: portal: developers could change nothing"),
        "{fault}"
    );
}

proptest! {
    #[test]
    fn no_text_makes_the_loader_panic(text in any::<String>(), at in 0..GOOD.len()) {
        let _ = load(&text);
        // Damage in the middle of a good file goes deeper than noise.
        let _ = load(&format!("{}{text}{}", &GOOD[..at], &GOOD[at..]));
        let _ = load(&format!("{}{}", &GOOD[..at], &GOOD[(at + text.len()).min(GOOD.len())..]));
    }

    #[test]
    fn no_bytes_make_the_loader_panic(bytes in any::<Vec<u8>>()) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gateway.yaml");
        fs::write(&path, &bytes).unwrap();
        let _ = Config::load(&path);
        let _ = crate::directory::file::load(&path, &Default::default());
    }
}

#[test]
fn a_guard_needs_neither_listeners_nor_upstreams_and_names_what_it_cannot_honour() {
    let file: Arc<Path> = Path::new("guard.yaml").into();
    let load = |text: &str| {
        Config::parse_for(Role::Guard, &file, text.as_bytes(), None)
            .map(|(config, warnings)| {
                let warnings = warnings.iter().map(Warning::to_string);
                (config, warnings.collect::<Vec<_>>())
            })
            .map_err(|faults| faults.iter().map(Fault::to_string).collect::<Vec<_>>())
    };
    let without = |keys: &[&str]| {
        let kept = |line: &&str| !keys.iter().any(|key| line.trim_start().starts_with(key));
        GOOD.lines()
            .filter(kept)
            .map(|line| format!("{line}\n"))
            .collect::<String>()
    };
    let bare = without(&["listeners:", "admin:", "upstream:"]);
    let (config, warnings) = load(&bare).unwrap();
    assert_eq!(config.role, Role::Guard);
    assert!(config.listeners.is_empty() && config.apis[0].upstream.is_none());
    assert!(!warnings.iter().any(|warning| warning.contains("admin")));
    assert!(!warnings.iter().any(|warning| warning.contains("no effect")));
    // The same file is none of a gateway's.
    let file_of_gateway = Config::parse(&file, bare.as_bytes()).unwrap_err();
    let faults: Vec<_> = file_of_gateway.iter().map(Fault::to_string).collect();
    assert_eq!(
        faults,
        [
            "guard.yaml:1:1: `listeners` is missing: expected at least one listener",
            "guard.yaml:10:5: apis[0]: `upstream` is missing: expected targets",
        ]
    );
    // A gateway's file serves a guard too, and says what of it does nothing.
    let (config, warnings) = load(&format!("{GOOD}threads: 2\n")).unwrap();
    assert!(config.listeners.is_empty() && config.apis[0].upstream.is_none());
    let of_gateway: Vec<_> = warnings
        .iter()
        .filter_map(|warning| warning.split_once(": has no effect"))
        .map(|(place, _)| place)
        .collect();
    assert_eq!(
        of_gateway,
        [
            "guard.yaml:1:12: warning: listeners",
            "guard.yaml:2:8: warning: admin",
            "guard.yaml:15:15: warning: apis[0].upstream",
            "guard.yaml:17:10: warning: threads",
        ]
    );
    // And what is wrong in it is wrong here as well.
    let faulty = GOOD
        .replace("10.0.0.5:9000", "nowhere")
        .replace(":8000", "");
    assert_eq!(
        load(&faulty).unwrap_err(),
        [
            "guard.yaml:1:24: listeners[0].address: \"127.0.0.1\": expected an IP address with port, as in 127.0.0.1:8000",
            "guard.yaml:15:38: apis[0].upstream.targets[0].address: \"nowhere\": expected an address with port, as in 10.0.0.5:9000",
        ]
    );
}

#[test]
fn the_file_of_the_example_loads_without_a_word_about_the_gateway() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/embed.yaml");
    let (config, warnings) = Config::load_for(Role::Guard, &path).unwrap();
    assert_eq!(config.apis.len(), 2);
    let warnings: Vec<_> = warnings.iter().map(Warning::to_string).collect();
    assert!(
        warnings.iter().all(|w| !w.contains("no effect")),
        "{warnings:?}"
    );
}
