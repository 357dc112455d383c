//! What each key means, for the schema and so for editors. Ranges, defaults and words are the
//! readers' own and are added from there.

/// What a key means, by its path as in `apis[].upstream.targets[].weight`.
pub(crate) fn of(path: &str) -> Option<&'static str> {
    let (section, key) = path.rsplit_once('.').unwrap_or(("", path));
    let (_, keys) = DOCS.iter().find(|(known, _)| *known == section)?;
    keys.iter()
        .find(|(known, _)| *known == key)
        .map(|(_, doc)| *doc)
}

/// By section, each with its keys.
pub(crate) const DOCS: &[(&str, &[(&str, &str)])] = &[
    (
        "",
        &[
            (
                "listeners",
                "Where clients connect; at least one. Not reloaded.",
            ),
            (
                "status",
                "An address of its own for /livez, /readyz and /metrics, and for nothing else. \
                 Without it they are on the admin address only. Not reloaded.",
            ),
            (
                "admin",
                "The operator's address. Not reloaded but for its token.",
            ),
            (
                "portal",
                "Where developers sign in and manage their own applications. Its address and \
                 whether it speaks TLS are not reloaded; the registry must be sqlite or postgres.",
            ),
            (
                "trusted_proxies",
                "Networks or addresses of proxies in front of the gateway whose X-Forwarded-* and \
                 X-Real-IP count, or Forwarded where they send none of them. Each must overwrite \
                 or drop all of these that its own clients send. None by default: the peer is the \
                 client.",
            ),
            (
                "threads",
                "Worker threads; 0 is one for each core. Not reloaded.",
            ),
            (
                "grace_period",
                "How long a stop or an upgrade waits for requests in flight. Too short cuts them \
                 off; a service manager must wait longer than this.",
            ),
            (
                "upgrade_socket",
                "The Unix socket on which a new process is handed the listeners, in a directory of \
                 the gateway's own user; at most 107 bytes. Without it: upgrade.sock in \
                 $RUNTIME_DIRECTORY, which systemd sets; without either there is no upgrade in \
                 place.",
            ),
            ("limits", "What clients may cost."),
            ("log", "What is logged, and how."),
            (
                "identity_providers",
                "The OAuth 2.0 servers whose credentials are accepted.",
            ),
            (
                "auth_strategies",
                "How applications prove who they are: one identity provider, and which methods.",
            ),
            (
                "session_keys",
                "Keys of session cookies: the first one seals, all of them open, so that a new key \
                 is put in front and the old one removed when its last session has ended. Each is \
                 base64 of 32 random bytes. Without any, one is made at start: sessions end with \
                 the process and no other gateway knows them.",
            ),
            (
                "apis",
                "What is proxied, and who may call it. Without any, every request gets 404.",
            ),
            ("registry", "Where applications are kept."),
        ],
    ),
    (
        "listeners[]",
        &[
            (
                "address",
                "Where it is bound; port 0 leaves the port to the system, and the log tells it.",
            ),
            (
                "tls",
                "Serves TLS, with HTTP/2 by ALPN. Without it: plain HTTP/1.1, and HTTP/2 by prior \
                 knowledge.",
            ),
        ],
    ),
    (
        "listeners[].tls",
        &[(
            "certificates",
            "Certificates, chosen by the name that a client asks for (SNI); the first one is shown \
             to all others. Read again when the files change.",
        )],
    ),
    (
        "listeners[].tls.certificates[]",
        &[
            (
                "certificate",
                "A file of PEM certificates: the server's own first, then those that lead to the \
                 root.",
            ),
            (
                "key",
                "A file with the PEM private key of the first certificate.",
            ),
        ],
    ),
    (
        "status",
        &[(
            "address",
            "Where it is bound. Anybody who reaches it can read it: metrics name APIs and \
             strategies.",
        )],
    ),
    (
        "admin",
        &[
            ("address", "Where it is bound. Keep it off public networks."),
            (
                "token",
                "Bearer token for everything there but /livez, /readyz and /metrics. Without it \
                 all of that is refused.",
            ),
        ],
    ),
    (
        "portal",
        &[
            ("address", "Where it is bound."),
            (
                "tls",
                "Serves TLS. Without it passwords and sessions cross the network as they are: for \
                 loopback, or behind a proxy that ends TLS and is one of trusted_proxies.",
            ),
            ("accounts", "Accounts of developers, and their sessions."),
            (
                "public_url",
                "Where browsers reach the portal: scheme and host, as in \
                 https://portal.example.com. For oidc, and for the links of invitations; without \
                 it those name the address at which the operator is.",
            ),
            (
                "gateway_url",
                "Where clients reach the gateway, for the lines that developers copy: scheme and \
                 host, as in https://api.example.com. By default the first listener.",
            ),
            (
                "oidc",
                "Developers also sign in at the operator's own identity provider, by authorization \
                 code and PKCE, with an e-mail address that it has verified (`email_verified`).",
            ),
        ],
    ),
    (
        "portal.tls",
        &[(
            "certificates",
            "As those of listeners; read again when the files change.",
        )],
    ),
    (
        "portal.tls.certificates[]",
        &[
            ("certificate", "A file of PEM certificates."),
            (
                "key",
                "A file with the PEM private key of the first certificate.",
            ),
        ],
    ),
    (
        "portal.oidc",
        &[
            (
                "identity_provider",
                "The name of one of identity_providers. It may be one that no strategy names.",
            ),
            (
                "client",
                "The portal's own client there, with the redirect URI \
                 PUBLIC_URL/api/v2/developer/authenticate/sso/callback.",
            ),
            (
                "registration",
                "Who gets an account by signing in there. open: everybody. approval: everybody, \
                 once the operator agrees. invited: whom the operator has invited.",
            ),
        ],
    ),
    (
        "portal.oidc.client",
        &[
            ("id", "The client's id."),
            ("secret", "The client's secret."),
        ],
    ),
    (
        "portal.accounts",
        &[
            (
                "registration",
                "invited: the operator makes every account. approval: whoever asks gets one once \
                 the operator agrees; then the operator sends the invitation to the e-mail address, \
                 which shows whose it is.",
            ),
            (
                "idle_timeout",
                "A session that is unused for so long ends. Too short signs people out while they \
                 read.",
            ),
            ("absolute_timeout", "A session ends after this anyway."),
            (
                "operators",
                "Whether operators sign in at this address too, with the admin token.",
            ),
        ],
    ),
    (
        "limits",
        &[
            (
                "header_size",
                "Bytes of a request's head. Larger ones get 431.",
            ),
            (
                "header_count",
                "Fields of a request's head, all cookie fields together as one. More get 431.",
            ),
            (
                "header_timeout",
                "Deadline for a whole head, against clients that send it byte by byte. Slower ones \
                 get 408.",
            ),
            (
                "body_size",
                "Bytes of a request's body; larger ones get 413. \"none\": no limit.",
            ),
            (
                "connections",
                "Client connections at once; further ones get 503. Two file descriptors for each, \
                 and 1000 more, must be allowed.",
            ),
        ],
    ),
    (
        "log",
        &[
            ("level", "The least severe level that is written."),
            ("format", "One JSON object a line, or text for people."),
            (
                "access",
                "Whether each request is logged, with the reason of a refusal.",
            ),
        ],
    ),
    (
        "identity_providers[]",
        &[
            ("name", "What strategies, logs and metrics call it."),
            (
                "vendor",
                "Presets for a maker's server: which claim names the client, how tokens are asked \
                 for, what its errors mean. Every other key overrides its preset.",
            ),
            (
                "issuer",
                "The issuer's URL as in `iss` of its tokens, byte for byte; metadata is found \
                 below it. Or the URL of the metadata itself, whose issuer then counts.",
            ),
            (
                "discovery_url",
                "Where the metadata is, if not in a place that follows from the issuer.",
            ),
            ("token_endpoint", "Used in place of the metadata's."),
            ("jwks_uri", "Used in place of the metadata's."),
            ("introspection_endpoint", "Used in place of the metadata's."),
            (
                "extra_issuers",
                "Further values of `iss` that this provider's keys vouch for, as with custom \
                 domains. None by default.",
            ),
            (
                "tenants",
                "Entra tenants whose tokens count, by id: for its issuers of many tenants (common, \
                 organizations), which have to have some.",
            ),
            (
                "token_endpoint_auth_method",
                "How client id and secret are sent. client_secret_basic form-encodes both (RFC \
                 6749 section 2.3.1), basic_raw does not. Without it: client_secret_post where the \
                 metadata lists it.",
            ),
            (
                "introspection_endpoint_auth_method",
                "How the gateway's own client is sent to the introspection endpoint, in the same words. Without it: as token_endpoint_auth_method says, else what the metadata lists or the vendor documents.",
            ),
            (
                "client",
                "The gateway's own client at this provider, as which it introspects tokens. \
                 Without it opaque tokens cannot be introspected.",
            ),
            (
                "registration",
                "How applications are registered at this provider. Without it they are made there \
                 by hand.",
            ),
            ("jwks", "How its key set is kept."),
            (
                "ca_file",
                "A file of PEM certificates of authorities to trust for this provider in addition \
                 to the system's.",
            ),
            (
                "timeout",
                "Deadline of one call. Too short turns a slow provider into 503; too long keeps \
                 clients waiting.",
            ),
            (
                "calls",
                "Calls in flight to it at once; what comes beyond gets 503.",
            ),
            (
                "insecure_http",
                "Allows http URLs for hosts other than this machine. Whoever is on the way can \
                 then read secrets and forge keys: for tests.",
            ),
            (
                "proxy",
                "An HTTP proxy through which it is called, without user and password. Proxies of \
                 the environment are not used.",
            ),
        ],
    ),
    (
        "identity_providers[].client",
        &[("id", "Its client id."), ("secret", "Its secret.")],
    ),
    (
        "identity_providers[].registration",
        &[
            (
                "dialect",
                "What the provider speaks: RFC 7591 and 7592 (generic), a vendor's own management \
                 API, or Konnect's HTTP DCR bridge (http). By default as vendor says.",
            ),
            (
                "initial_access_token",
                "A token that is good for many registrations (RFC 7591 section 3).",
            ),
            (
                "initial_client",
                "A client with which the gateway gets a token to register others; for wso2 an \
                 administrator's name and password. It should have that right and no other.",
            ),
            (
                "api_key",
                "For okta an API token (SSWS), for a bridge its key (X-API-KEY).",
            ),
            (
                "open",
                "Registers without showing who it is, where the provider lets anybody.",
            ),
            (
                "endpoint",
                "Where registrations go, if not where the metadata names it or the vendor has it: \
                 the registration endpoint, the base of a management API, or a bridge.",
            ),
            (
                "client_metadata",
                "Further metadata of each client, sent as it stands (RFC 7591 section 2): \
                 software_statement, access_token_ttl and the like.",
            ),
            (
                "deadline",
                "The longest that one operation may take, waiting for a provider that throttles \
                 or replicates included. Too short leaves half-made clients to be removed later.",
            ),
            (
                "event_hooks",
                "Tells a bridge of registrations and changes (POST /{id}/event-hook).",
            ),
            (
                "refresh_secret",
                "Whether a bridge makes new secrets (POST /{id}/new-secret).",
            ),
        ],
    ),
    (
        "identity_providers[].registration.initial_client",
        &[
            ("id", "Its client id."),
            ("secret", "Its secret."),
            (
                "scope",
                "What it asks for, separated by spaces. By default what the vendor documents: dcr \
                 for curity, Graph's /.default for azure, nothing elsewhere.",
            ),
            (
                "audience",
                "The audience that it asks for. By default /api/v2/ of the tenant for auth0, \
                 nothing elsewhere.",
            ),
        ],
    ),
    (
        "identity_providers[].jwks",
        &[
            (
                "refresh",
                "How often keys are fetched where the answer's cache headers do not say; those \
                 count within 1 to 60 minutes.",
            ),
            (
                "unknown_kid_interval",
                "At most one fetch in this time for tokens whose key is unknown. Shorter lets \
                 strangers make more calls, longer refuses new keys for longer.",
            ),
            (
                "max_stale",
                "For how long keys serve while they cannot be fetched again. Shorter stops at an \
                 outage sooner, longer trusts a withdrawn key for longer.",
            ),
        ],
    ),
    (
        "auth_strategies[]",
        &[
            (
                "name",
                "What APIs and applications refer to, and what upstreams see as X-Auth-Strategy.",
            ),
            (
                "identity_provider",
                "The name of one of identity_providers.",
            ),
            (
                "auth_methods",
                "client_credentials: id and secret as Basic. bearer: a token. session: the cookie \
                 that one of the other two earned, so never alone.",
            ),
            (
                "credential_claim",
                "The names that lead to the claim which holds the application's client id. \
                 Default: by vendor and kind of token (auth0 azp or client_id, okta cid, azure \
                 appid or azp, curity sub, others and every introspection client_id).",
            ),
            (
                "audience",
                "One of these must be in the token's `aud`. Without it every token of this \
                 provider for a known client passes.",
            ),
            (
                "scopes_required",
                "Entries of which one must be granted; an entry is scopes separated by spaces, all \
                 of them. None by default.",
            ),
            (
                "scope_claims",
                "Claims that hold scopes, each a name or the names that lead to it. Default: scope \
                 and scp; scp, else roles, with azure.",
            ),
            (
                "token_request",
                "What the exchange of id and secret asks for.",
            ),
            ("client_credentials", "How id and secret are remembered."),
            ("bearer", "How tokens are verified."),
            ("session", "The session cookie."),
            (
                "claim_headers",
                "Headers for the upstream, each with the names that lead to its claim. Not those \
                 of credentials, framing and forwarding, nor the gateway's own.",
            ),
        ],
    ),
    (
        "auth_strategies[].token_request",
        &[
            (
                "scope",
                "Scopes to ask for, separated by spaces. Default: none; with azure the strategy's \
                 first audience and /.default.",
            ),
            (
                "audience",
                "`audience` of the request. Default: none; with auth0 the strategy's first \
                 audience.",
            ),
            (
                "parameters",
                "Further fields of the request, as in {resource: …}. Default: none; with wso2 \
                 ext_token_type=JWT.",
            ),
        ],
    ),
    (
        "auth_strategies[].client_credentials",
        &[
            (
                "cache_size",
                "Pairs of id and secret remembered. Too few ask the provider again and again.",
            ),
            (
                "cache_time",
                "For how long at most a good pair is remembered, its token's life aside.",
            ),
            (
                "wrong_secret_time",
                "For how long a wrong pair is remembered. Longer keeps a secret out that has just \
                 been made.",
            ),
            (
                "guesses_per_address",
                "Wrong secrets a minute for one client id from one address (IPv6: /64); then 429.",
            ),
            (
                "guesses_per_client",
                "Wrong secrets a minute for one client id from everywhere; then 429 for addresses \
                 that had no success with it for 24 hours.",
            ),
        ],
    ),
    (
        "auth_strategies[].bearer",
        &[
            (
                "verify",
                "jwt: by signature only. introspection: every token at the provider. auto: JWTs by \
                 signature, others by introspection where the provider has a client.",
            ),
            (
                "algorithms",
                "Algorithms that may sign. Default: what each key says, or RS256 for an RSA key \
                 that says nothing.",
            ),
            (
                "leeway",
                "How far clocks may differ. More lets ended tokens live longer.",
            ),
            (
                "cache_size",
                "Verified tokens remembered. Too few verify signatures again and again.",
            ),
            (
                "introspection_time",
                "For how long at most a good answer of introspection counts. Longer notices a \
                 revocation later.",
            ),
        ],
    ),
    (
        "auth_strategies[].session",
        &[
            (
                "cookie_name",
                "The cookie's name; __Host- is put in front on https.",
            ),
            (
                "idle_timeout",
                "Ends a session that is not used for so long.",
            ),
            ("absolute_timeout", "Ends every session after so long."),
            (
                "same_site",
                "Whether the cookie comes along when a user follows a link from another site (lax) \
                 or does not (strict).",
            ),
            (
                "secure",
                "auto: Secure and __Host- on https, as the listener or a trusted proxy tells. \
                 always: behind something that ends TLS and cannot tell.",
            ),
        ],
    ),
    (
        "apis[]",
        &[
            (
                "name",
                "What applications register for, and what logs and metrics call it.",
            ),
            (
                "access",
                "registered: applications registered for this API. application: every active \
                 application. client: every verified client of a listed strategy. public: anybody, \
                 no credential is read.",
            ),
            (
                "auth_strategies",
                "Names of strategies, in the order in which they are tried. Required unless access \
                 is public.",
            ),
            (
                "scopes_required",
                "As in auth_strategies, in addition to those.",
            ),
            (
                "routes",
                "Which requests are this API's; at least one. The most specific host decides, then \
                 the most specific path.",
            ),
            (
                "strip_prefix",
                "Whether the matched prefix is cut off for the upstream.",
            ),
            (
                "paths_as_sent",
                "Spellings of paths that are let through behind the matched prefix, for upstreams \
                 that need them; otherwise 400. Upstreams that normalise them differently can be \
                 reached where they should not.",
            ),
            (
                "preflight",
                "What CORS preflights need: a credential (authenticate), or nothing, for upstreams \
                 that answer them (pass). Not together with cors.",
            ),
            (
                "cors",
                "Answers preflights here and tells browsers which pages may read answers.",
            ),
            (
                "forward_access_token",
                "Whether the upstream gets the verified token as Bearer. Not with a strategy that \
                 lists session.",
            ),
            (
                "forward_authorization",
                "Whether the upstream gets the client's Authorization as it came; for public APIs \
                 whose upstream signs in itself.",
            ),
            ("upstream", "The servers behind it."),
        ],
    ),
    (
        "apis[].routes[]",
        &[
            ("hosts", "Names, or *.suffix, without port. Default: any."),
            (
                "paths",
                "Prefixes on segment boundaries, or exact paths as in \"=/x\"; decoded, without \
                 patterns.",
            ),
            (
                "methods",
                "Methods in capitals; others get 405. Default: any but CONNECT and TRACE.",
            ),
        ],
    ),
    (
        "apis[].cors",
        &[
            (
                "origins",
                "Origins as browsers send them, compared byte for byte; or \"*\", not with \
                 credentials.",
            ),
            (
                "credentials",
                "Whether pages may use credentials; also lets these origins act with the session \
                 cookie.",
            ),
            (
                "methods",
                "Methods that preflights are told. Default: those of the route.",
            ),
            (
                "headers",
                "Request fields that preflights are told. Default: whatever they ask for.",
            ),
            (
                "exposed_headers",
                "Answer fields that pages may read, beside X-Request-Id, WWW-Authenticate and \
                 Retry-After. None by default.",
            ),
            (
                "max_age",
                "For how long a browser need not ask again. Longer makes a change reach pages \
                 later.",
            ),
        ],
    ),
    (
        "apis[].upstream",
        &[
            ("targets", "Servers, at least one."),
            (
                "host",
                "The Host that upstreams see: the client's (preserve), or this one.",
            ),
            (
                "forwarded",
                "Whether requests carry Forwarded (RFC 7239) beside X-Forwarded-*.",
            ),
            (
                "tls",
                "Speaks TLS to every target, always verified. Without it: plain.",
            ),
            (
                "protocol",
                "http1: HTTP/1.1. h2: HTTP/2 over TLS. h2c: HTTP/2 without TLS.",
            ),
            (
                "health_check",
                "Asks each target whether it is well. Without it nobody asks.",
            ),
            ("passive_health", "Leaves targets alone that fail requests."),
            (
                "connections",
                "Requests in flight to all targets together; beyond them 503. Too few refuse what \
                 the upstream could do, too many let it drown.",
            ),
            (
                "retries",
                "Further tries after a failed connect, of idempotent requests. More multiply the \
                 load on an upstream that is going down.",
            ),
            ("resolve_interval", "Time between look-ups of target names."),
            ("timeouts", "Limits of one exchange."),
        ],
    ),
    (
        "apis[].upstream.targets[]",
        &[
            (
                "address",
                "host:port; the host is an IP address, an IPv6 one in brackets, or a name that is \
                 looked up.",
            ),
            ("weight", "Its share of the requests."),
        ],
    ),
    (
        "apis[].upstream.tls",
        &[
            (
                "sni",
                "The name that is sent and that the certificate must hold. Default: the target's \
                 host.",
            ),
            (
                "ca_file",
                "A file of PEM certificates: the only authorities trusted for this upstream. \
                 Default: the system's.",
            ),
        ],
    ),
    (
        "apis[].upstream.health_check",
        &[
            (
                "path",
                "The path to ask for. A 2xx is healthy; two failures in a row are not.",
            ),
            (
                "interval",
                "Time between checks. Shorter finds faults sooner and asks more.",
            ),
        ],
    ),
    (
        "apis[].upstream.passive_health",
        &[
            (
                "failures",
                "Failures in a row after which an address is left alone; 0: never.",
            ),
            ("eject", "For how long; then one request tries it."),
        ],
    ),
    (
        "apis[].upstream.timeouts",
        &[
            ("connect", "Connecting, the TLS handshake included."),
            (
                "read",
                "The wait for the head of an answer, then each wait for more of it. Tunnels and \
                 streams in which nothing is said end after it, too.",
            ),
            ("write", "Each wait to send."),
            (
                "idle",
                "How long an unused connection is kept. Longer than the upstream keeps it makes \
                 requests fail now and then.",
            ),
        ],
    ),
    (
        "registry",
        &[
            (
                "file",
                "A file of applications, watched: an edit is live within a second, a broken one \
                 changes nothing. The portal can only read it.",
            ),
            (
                "sqlite",
                "A database in this file, made where there is none, for one gateway. The portal \
                 writes it. Its directory has to be there.",
            ),
            (
                "postgres",
                "A PostgreSQL database that several gateways share, by its URL: \
                 postgres://user:password@host/database?sslmode=verify-full. A change at one is in \
                 force at the others within a second.",
            ),
            (
                "keys",
                "Seal what DCR providers and clients are managed with, in sqlite and postgres: \
                 base64 of 32 random bytes each. The first seals, all open. `dcr-gateway registry \
                 rotate-keys` seals everything anew; then older ones can go.",
            ),
        ],
    ),
];
