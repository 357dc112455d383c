//! What each reason for a refusal means and what to do about it, as a table.

use crate::proxy::denial::Code;

/// Reasons that mean another thing under this code than elsewhere: here the token is one that the
/// identity provider issued for client id and secret, so its caller is not to blame.
pub(super) const BY_CODE_AND_REASON: &[(Code, &str, &str, &str)] = &[
    (
        Code::IdentityProviderMisconfigured,
        "audience",
        "The token that the identity provider issued is for another audience than the strategy's.",
        "Ask for the right one (token_request.audience, .scope or .parameters), or put what the \
         identity provider gives into the strategy's audience.",
    ),
    (
        Code::IdentityProviderMisconfigured,
        "issuer",
        "The token that the identity provider issued names another issuer than the one configured.",
        "Set issuer of the identity provider to the token's iss, byte for byte, or list it in \
         extra_issuers.",
    ),
    (
        Code::IdentityProviderMisconfigured,
        "client_missing",
        "The token that the identity provider issued does not say, in the credential claim, which \
         client it is for.",
        "Set credential_claim to the claim that holds the client id.",
    ),
    (
        Code::IdentityProviderMisconfigured,
        "expired",
        "The token that the identity provider issued has expired already.",
        "Compare the clocks of both machines, and the life of tokens at the identity provider.",
    ),
    (
        Code::IdentityProviderMisconfigured,
        "type",
        "The identity provider issued something that is not an access token.",
        "Have it issue access tokens of type at+jwt or JWT for this client.",
    ),
    (
        Code::InvalidRequest,
        "malformed",
        "The client's side of the exchange is not HTTP as it should be.",
        "Look at the client.",
    ),
    (
        Code::RequestTimeout,
        "head",
        "The head of the request did not come within limits.header_timeout.",
        "Look at the client and the network; raise limits.header_timeout if they are that slow.",
    ),
];

/// What each reason means, wherever it is given.
pub(super) const BY_REASON: &[(&str, &str, &str)] = &[
    // Routes and heads.
    (
        "asterisk",
        "The request asks about the server as a whole, which is no API.",
        "Ask for a path of an API.",
    ),
    (
        "host_twice",
        "The request has two Host lines.",
        "Look at the client, and at proxies between it and the gateway.",
    ),
    (
        "no_host",
        "The request names no host.",
        "Have the client send Host, as HTTP/1.1 and an upstream over HTTP/2 need it.",
    ),
    (
        "not_a_host",
        "The Host line holds something that is no host name or address.",
        "Look at the client, and at proxies between it and the gateway.",
    ),
    (
        "malformed_target",
        "The request's target is neither a path nor an address with a path.",
        "Look at the client.",
    ),
    (
        "no_route",
        "No API has a route for this host and path. The most specific host decides first, then \
         its most specific path.",
        "Compare hosts and paths of apis[].routes with what the client asks for.",
    ),
    (
        "method",
        "A route has this host and path, but not this method.",
        "Add the method to the route, or use one that Allow lists.",
    ),
    (
        "preflight_method",
        "The browser's preflight announces a method that the route does not list.",
        "Add the method to the route.",
    ),
    (
        "path",
        "The path could be read in several ways: dot segments, //, encoded slashes, broken escapes.",
        "Have the client send a plain path, or allow what the upstream needs by paths_as_sent.",
    ),
    (
        "readings",
        "Another reading of the path is for another API, or it is odd in a way that this API does \
         not allow.",
        "Have the client send a plain path, or allow what the upstream needs by paths_as_sent.",
    ),
    (
        "target",
        "The request's target is no path.",
        "Have the client ask for a path.",
    ),
    (
        "header_count",
        "The request has more fields than limits.header_count.",
        "Look at the client; raise the limit if it needs as many.",
    ),
    (
        "head",
        "The head of the request is larger than limits.header_size.",
        "Look at the client, often its cookies; raise the limit if it needs as much.",
    ),
    (
        "content_length",
        "The request announces a body larger than limits.body_size.",
        "Raise the limit if the API takes such bodies.",
    ),
    (
        "body",
        "The body grew larger than limits.body_size.",
        "Raise the limit if the API takes such bodies.",
    ),
    (
        "body_too_slow",
        "The rest of the body did not come.",
        "Look at the client and the network.",
    ),
    (
        "plain_http",
        "The client speaks plain HTTP on a port that speaks TLS.",
        "Have it ask by https://.",
    ),
    (
        "connections",
        "As many clients are connected as limits.connections allows.",
        "Raise the limit and that of open files, or add a gateway.",
    ),
    // Credentials.
    (
        "no_credential",
        "The request brings no Authorization line, and no session cookie of a strategy of this \
         API.",
        "Have the client send one. A cookie has another name over https than over http; behind a \
         TLS terminator see trusted_proxies.",
    ),
    (
        "unknown_scheme",
        "The Authorization line is of another scheme than Basic and Bearer.",
        "Have the client send Basic with id and secret, or Bearer with a token.",
    ),
    (
        "bearer_not_enabled",
        "No strategy of this API accepts bearer tokens.",
        "Add bearer to auth_methods of a strategy of the API.",
    ),
    (
        "client_credentials_not_enabled",
        "No strategy of this API accepts client id and secret.",
        "Add client_credentials to auth_methods of a strategy of the API.",
    ),
    (
        "preflight",
        "A browser's preflight brings no credential, and the API does not answer preflights.",
        "Set cors of the API, or preflight: pass where the upstream answers them.",
    ),
    (
        "preflight_origin",
        "A browser's preflight comes from an origin that the API's cors does not list.",
        "Add the origin to cors.origins.",
    ),
    (
        "authorization_twice",
        "The request has two Authorization lines.",
        "Look at the client, and at proxies that add one.",
    ),
    (
        "authorization_empty",
        "The Authorization line names no credential.",
        "Have the client put the credential behind the scheme.",
    ),
    (
        "basic_not_base64",
        "The value of Basic is neither base64 nor id:secret.",
        "Have the client encode id:secret in base64.",
    ),
    (
        "basic_without_colon",
        "The value of Basic holds no colon between id and secret.",
        "Have the client encode id:secret in base64.",
    ),
    (
        "control_character",
        "The client id or the secret holds a control character, often a line end.",
        "Have the client encode the pair without one, as printf does and echo does not.",
    ),
    (
        "empty_id_or_secret",
        "The client id or the secret is empty.",
        "Look for an unset variable in the client.",
    ),
    (
        "not_token68",
        "The token holds characters that no token has, often quotes or a second credential.",
        "Have the client send Bearer, one space, and the token alone.",
    ),
    (
        "not_utf8",
        "The credential is not UTF-8.",
        "Have the client encode id and secret as UTF-8 (RFC 7617).",
    ),
    (
        "credential_too_long",
        "The credential is longer than any is.",
        "Look at the client.",
    ),
    (
        "session_cookie_twice",
        "The request brings two session cookies of one name.",
        "Remove the one that another path or domain has set.",
    ),
    // Client id and secret.
    (
        "unknown_client",
        "No application of a strategy of this API has this client id; no identity provider was \
         asked.",
        "Add the application, under this strategy, to the file of applications.",
    ),
    (
        "wrong_secret",
        "The identity provider does not accept this client id with this secret.",
        "Check the secret, that the client exists at this identity provider, and \
         token_endpoint_auth_method.",
    ),
    (
        "too_many_guesses",
        "Too many wrong secrets came for this client id.",
        "Correct the secret at the client and wait for as long as Retry-After says; see \
         client_credentials.guesses_per_address and guesses_per_client.",
    ),
    (
        "grant_refused",
        "The identity provider knows the client and denies it this grant.",
        "Allow the client the grant client_credentials at the identity provider, with the scope \
         that token_request asks for.",
    ),
    (
        "token_request_refused",
        "The identity provider refuses what the gateway asks for: scope, audience, parameters or \
         address.",
        "Compare token_request with what the identity provider knows; the line \"client \
         credentials cannot be exchanged\" in the log has its answer.",
    ),
    (
        "issued_token_inactive",
        "The identity provider calls the token inactive that it has just issued.",
        "Allow the gateway's own client at the identity provider to introspect tokens of others.",
    ),
    (
        "credential_claim_is_not_the_client_id",
        "The token that the identity provider issued names another client than the one that it was \
         issued for.",
        "Set credential_claim to the claim that holds the client id.",
    ),
    // Tokens.
    (
        "not_a_jwt",
        "The token is no JWT, and no strategy of this API introspects.",
        "Give the identity provider `client` for introspection, or have it issue JWTs.",
    ),
    (
        "not_jwt",
        "The token has not the three parts of a JWT.",
        "Look at how the client got it; it may be cut.",
    ),
    (
        "no_strategy",
        "No strategy of this API takes bearer tokens.",
        "Add bearer to auth_methods of a strategy of the API.",
    ),
    (
        "issuer",
        "The token's iss is none of the identity provider's.",
        "Set issuer to the token's iss, byte for byte, final slash and all, or list it in \
         extra_issuers; or get the token where the strategy's identity provider issues it.",
    ),
    (
        "audience",
        "The token's aud names none of the strategy's audiences.",
        "Have the client ask for a token for this API, or add the token's aud to the strategy's \
         audience.",
    ),
    (
        "expired",
        "The token has expired.",
        "Have the client get a new one; if it is new, compare the clocks.",
    ),
    (
        "expiry_missing",
        "The token does not say when it expires.",
        "Have the identity provider set exp.",
    ),
    (
        "not_yet_valid",
        "The token's nbf is in the future.",
        "Compare the clocks of gateway and identity provider; bearer.leeway forgives a difference.",
    ),
    (
        "issued_in_future",
        "The token's iat is in the future.",
        "Compare the clocks of gateway and identity provider; bearer.leeway forgives a difference.",
    ),
    (
        "signature",
        "The key that the token names did not make its signature.",
        "Get the token anew; if it is refused again, compare issuer and jwks_uri: another \
         environment may use the same kid.",
    ),
    (
        "graph_token",
        "The token is for Microsoft Graph, which nobody but Graph can verify.",
        "Have the client ask for api://APP_ID/.default, the scope of this API at Azure.",
    ),
    (
        "unknown_key",
        "No key of the identity provider's set has the token's kid.",
        "Compare the token's kid with jwks_uri. After a rotation the set is fetched again after \
         jwks.unknown_kid_interval. Tokens of another server or environment never fit.",
    ),
    (
        "algorithm",
        "The token's algorithm is not one that its key and the strategy allow.",
        "Add it to bearer.algorithms if the key is meant for it; a key without `alg` means RS256.",
    ),
    (
        "key_set",
        "The identity provider's key set cannot be read.",
        "Look at what jwks_uri answers.",
    ),
    (
        "type",
        "The token's typ is that of another thing than an access token.",
        "Have the client send the access token: not an ID token, a logout token or a DPoP proof.",
    ),
    (
        "not_access_token",
        "The token is an ID token, a refresh token or another thing that grants no access.",
        "Have the client send the access token.",
    ),
    (
        "sender_constrained",
        "The token is bound to a key of its client's (cnf), and the gateway cannot check the proof.",
        "Have the identity provider issue tokens that are not bound, without DPoP or mutual TLS.",
    ),
    (
        "management_scope",
        "The token is one for managing registrations.",
        "Have the client get a token for this API, without dcr scopes.",
    ),
    (
        "client_missing",
        "The credential claim is not in the token, or is no client id.",
        "Set credential_claim to the claim that holds the client id.",
    ),
    (
        "client_conflict",
        "The token names two different clients: it may be a user's.",
        "Have the client use the grant client_credentials, or set credential_claim to the claim \
         that holds the client id.",
    ),
    (
        "claim_type",
        "A claim that is read has another JSON type than it should.",
        "Look at the claims' configuration at the identity provider, and at credential_claim and \
         scope_claims.",
    ),
    (
        "base64",
        "A part of the token is not base64url.",
        "Look at how the client got the token; it may be cut, or encoded again.",
    ),
    (
        "json",
        "The token's header or payload is not strict JSON.",
        "Look at how the client got the token; it may be encrypted, or repeat a name.",
    ),
    (
        "header",
        "The token's header is wrong: alg is missing, or a member has the wrong type.",
        "Look at who makes these tokens.",
    ),
    (
        "critical",
        "The token demands an extension (crit) that the gateway does not know.",
        "Have the identity provider issue tokens without crit.",
    ),
    (
        "too_large",
        "The token, or an answer of the identity provider, is larger than is read.",
        "Have the identity provider put less into it, often groups.",
    ),
    (
        "inactive",
        "The identity provider's introspection calls the token inactive: expired, revoked, unknown.",
        "Have the client get a new one; check that the gateway's own client may introspect tokens \
         of others.",
    ),
    (
        "answer_without_active",
        "The introspection endpoint's answer has no `active`.",
        "Check that introspection_endpoint is one of RFC 7662.",
    ),
    (
        "answer_too_large",
        "The introspection endpoint's answer is larger than is read.",
        "Have the identity provider put less into it.",
    ),
    (
        "answer_unreadable",
        "The introspection endpoint's answer is not JSON.",
        "Check introspection_endpoint, and that it answers with application/json.",
    ),
    (
        "too_many_inactive",
        "This address sent too many tokens that are not active.",
        "Correct the client, and wait for as long as Retry-After says.",
    ),
    (
        "credentials_changed",
        "The credential was made before the application's credentials were changed.",
        "Have the client get a new token or session; see credentials_valid_from of the \
         application.",
    ),
    // Sessions.
    (
        "session_unreadable",
        "The cookie was not sealed by any of the session keys under this name, or was changed.",
        "Configure the same session_keys on every gateway, and keep a replaced key in the list for \
         absolute_timeout. Without configured keys, cookies end with the process.",
    ),
    (
        "session_ended",
        "The session has reached its absolute end, or that of the token that began it.",
        "Have the client authenticate again; see session.absolute_timeout.",
    ),
    (
        "session_idle",
        "The session was not used for too long.",
        "Have the client authenticate again; see session.idle_timeout.",
    ),
    (
        "session_key",
        "There is no session key.",
        "Configure session_keys.",
    ),
    (
        "session_too_large",
        "The session is too large for a cookie.",
        "Have fewer or shorter scopes and claim_headers.",
    ),
    (
        "strategy_changed",
        "The strategy's issuer, credential claim, audience or claim_headers were changed since the \
         session began.",
        "Have the client authenticate again.",
    ),
    (
        "logged_out",
        "The session was logged out.",
        "Have the client authenticate again.",
    ),
    (
        "cross_site_request",
        "A page of another site sent an unsafe request with the cookie, or a logout.",
        "List the page's origin in cors.origins with credentials: true if it may.",
    ),
    (
        "foreign_preflight",
        "A page of an origin that nobody lists asked whether it may.",
        "List the page's origin in cors.origins, with credentials: true for logging out.",
    ),
    // Applications.
    (
        "application_suspended",
        "The application is suspended.",
        "Set status: active when it may call again.",
    ),
    (
        "registration_pending",
        "The application's registration for this API waits for approval.",
        "Set it to approved in the application's registrations.",
    ),
    (
        "registration_rejected",
        "The application's registration for this API was rejected.",
        "Set it to approved in the application's registrations, if it may call after all.",
    ),
    (
        "registration_required",
        "The application has no registration for this API.",
        "Add the API with approved to the application's registrations.",
    ),
    (
        "registration_revoked",
        "The application's registration for this API was revoked.",
        "Set it to approved in the application's registrations, if it may call again.",
    ),
    (
        "unknown_application",
        "The credential is good, but no application of the strategy has its client id.",
        "Add the application with this client id; if the id looks wrong, set credential_claim to \
         the claim that holds it.",
    ),
    (
        "insufficient_scope",
        "The credential lacks a scope that the strategy or the API asks for.",
        "Grant the client the scope and have it ask for it (token_request.scope for client id and \
         secret), or change scopes_required.",
    ),
    // The identity provider's trouble.
    (
        "busy",
        "As many calls to the identity provider are in flight as `calls` allows.",
        "Look at why it is slow; raise `calls` if it can take more.",
    ),
    (
        "lost",
        "A call to the identity provider ended inside the gateway without an answer.",
        "Try again; if it comes again, report it with the log.",
    ),
    (
        "paused",
        "The identity provider failed several times in a row, or asked to be left alone, and is.",
        "Look at the log for what it answered before; it is asked again within seconds.",
    ),
    (
        "error_status",
        "The identity provider answered with a server error, with 429, or not with what was asked.",
        "Look at the identity provider; for introspection, check that `client` may introspect.",
    ),
    (
        "timed_out",
        "The identity provider did not answer within `timeout`.",
        "Look at the identity provider and the network.",
    ),
    (
        "deadline",
        "The identity provider was not ready within the deadline of a registration.",
        "Look at the identity provider; where it takes its time, raise registration.deadline.",
    ),
    (
        "transport",
        "No connection to the identity provider, or it broke off.",
        "Check name and address, firewall and proxy; where its certificate is of a private authority, \
         set ca_file.",
    ),
    (
        "no_metadata",
        "The identity provider answers, but there is no metadata at the places where its issuer \
         has it.",
        "Check issuer; set discovery_url, or name token_endpoint and jwks_uri; the log says where \
         it was looked for.",
    ),
    (
        "unknown_address",
        "The identity provider's metadata was not read, or does not name the endpoint.",
        "Check issuer and discovery_url, or configure the endpoint itself.",
    ),
    (
        "unreadable",
        "The identity provider's answer is not what it should be.",
        "The log says which: metadata of another issuer, a key set or token answer that is no JSON.",
    ),
    // The gateway and its upstreams.
    (
        "directory_not_loaded",
        "The registry could not be read since the start.",
        "Run `dcr-gateway check`; see registry and the log.",
    ),
    (
        "no_strategy_yet",
        "The API accepts no strategy yet: those that it names are neither in the file nor in the \
         registry.",
        "Create the strategy, or add one to the API: PATCH /v2/apis/{name} on the admin address.",
    ),
    (
        "no_state",
        "The gateway has no configuration for a request, which must not be.",
        "Report it with the log.",
    ),
    (
        "api_index",
        "A route leads to no API, which must not be.",
        "Report it with the log.",
    ),
    (
        "no_upstream",
        "An API of the gateway has no upstream, which must not be.",
        "Report it with the log.",
    ),
    (
        "proxy",
        "The gateway failed in the middle of an exchange.",
        "Report it with the log.",
    ),
    (
        "no_socket",
        "The system gives the gateway no socket: too many open files, or no free port.",
        "Raise the limit of open files (`ulimit -n`).",
    ),
    (
        "upstream_connections",
        "As many requests are at the upstream as upstream.connections allows.",
        "Look at why it is slow; raise the limit if it can take more.",
    ),
    (
        "no_address",
        "No target of the upstream has an address.",
        "Check the names in upstream.targets.",
    ),
    (
        "unhealthy",
        "The health checks leave no target of the upstream.",
        "Look at the upstream, and at health_check.",
    ),
    (
        "connect_timed_out",
        "The upstream did not accept a connection in time.",
        "Look at the upstream and the network; see timeouts.connect.",
    ),
    (
        "tls_timed_out",
        "The upstream did not finish the TLS handshake in time.",
        "Look at the upstream; does it speak TLS on this port?",
    ),
    (
        "read_timed_out",
        "The upstream did not answer in time.",
        "Look at the upstream; see timeouts.read.",
    ),
    (
        "write_timed_out",
        "The upstream did not take the request in time.",
        "Look at the upstream; see timeouts.write.",
    ),
    (
        "connect_refused",
        "The upstream refuses connections.",
        "Check that it runs, and its address.",
    ),
    (
        "connect_no_route",
        "There is no way to the upstream's address.",
        "Check its address and the network.",
    ),
    (
        "connect_failed",
        "No connection to the upstream.",
        "Check its address and the network; the log's upstream_detail says more.",
    ),
    (
        "malformed_answer",
        "The upstream's answer is not HTTP as it should be.",
        "Look at the upstream; does it speak the configured protocol?",
    ),
    (
        "http2_failed",
        "The upstream broke the rules of HTTP/2, or does not speak it.",
        "Look at the upstream; see upstream.protocol.",
    ),
    (
        "connection_lost",
        "The upstream closed the connection in the middle of an exchange.",
        "Look at the upstream; a shorter timeouts.idle avoids connections that it has closed.",
    ),
    (
        "upstream",
        "The upstream failed.",
        "Look at the upstream; the log's upstream_detail says more.",
    ),
    (
        "tls_failed",
        "The TLS handshake with the upstream failed.",
        "Look at upstream_detail in the log; does it speak TLS on this port?",
    ),
    (
        "tls_certificate_untrusted",
        "The upstream's certificate is of an authority that is not trusted.",
        "Name its authority in upstream.tls.ca_file.",
    ),
    (
        "tls_certificate_name",
        "The upstream's certificate is for another name.",
        "Set upstream.tls.sni to a name of the certificate.",
    ),
    (
        "tls_certificate_expired",
        "The upstream's certificate has expired.",
        "Renew it.",
    ),
    (
        "tls_certificate_not_valid_yet",
        "The upstream's certificate is not valid yet.",
        "Compare the clocks.",
    ),
    (
        "tls_certificate_invalid",
        "The upstream's certificate is not a good one.",
        "Look at the upstream's certificate and its chain.",
    ),
    (
        "client_gone",
        "The client closed the connection before it was answered.",
        "Look at the client; it may be less patient than the upstream is slow.",
    ),
    (
        "random",
        "The system gave no random numbers.",
        "Look at the system.",
    ),
];
