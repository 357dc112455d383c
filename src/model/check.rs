//! The names of all checks that lie between a request and its verdict, in the order in which they
//! are made.
//!
//! They are for people and programs that ask why a request was refused: stable, snake_case, listed
//! here and nowhere else. What was found by a check is told by [`crate::telemetry::checks`].

macro_rules! checks {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)+) => {
        /// One check on a request's way.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Check {
            $($(#[$doc])* $name,)+
        }

        impl Check {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The stable name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $word,)+ }
            }
        }
    };
}

checks! {
    /// Host and number of fields.
    Head = "head",
    /// The path has one reading only.
    Path = "path",
    /// An API takes this host, path and method.
    Route = "route",
    /// The declared body keeps `limits.body_size`.
    BodySize = "body_size",
    /// The upstream's protocol has a name to ask for.
    UpstreamHost = "upstream_host",
    /// What a browser asks before it sends the request itself.
    Preflight = "preflight",
    /// Who may call the API.
    Access = "access",
    /// The applications were read.
    Directory = "directory",
    /// One credential, well formed.
    Credential = "credential",
    /// A strategy of the API lists the method in `auth_methods`.
    AuthMethod = "auth_method",
    /// The strategy that judges, and why others do not.
    Strategy = "strategy",
    /// The credential was verified a moment ago.
    Remembered = "remembered",
    /// Wrong credentials before this one.
    Attempts = "attempts",
    /// What the identity provider says of its endpoints.
    Metadata = "metadata",
    /// What the token endpoint is asked.
    TokenRequest = "token_request",
    /// What the token endpoint says.
    TokenAnswer = "token_answer",
    /// What the introspection endpoint is asked.
    IntrospectionRequest = "introspection_request",
    /// What the introspection endpoint says.
    IntrospectionAnswer = "introspection_answer",
    /// The introspection endpoint calls the token active.
    Active = "active",
    /// The identity provider's key set.
    Keys = "keys",
    /// Three parts of base64url, not too large.
    TokenForm = "token_form",
    /// The header is JSON and demands nothing that is not understood.
    TokenHeader = "token_header",
    /// The header's `typ` is that of an access token.
    TokenType = "token_type",
    /// A key of the set may have signed it, by `kid` and `alg`.
    Key = "key",
    /// The signature is the key's.
    Signature = "signature",
    /// The payload is strict JSON.
    Payload = "payload",
    /// `iss` is the identity provider's.
    Issuer = "issuer",
    /// The claims are those of an access token that needs no proof of possession.
    TokenUse = "token_use",
    /// The credential claim names a client.
    ClientClaim = "client_claim",
    /// The other claims that are read have the right types; `exp` is there.
    Claims = "claims",
    /// The token does not manage registrations.
    ManagementScope = "management_scope",
    /// `exp`, `nbf` and `iat`.
    Times = "times",
    /// `aud` names one of the strategy's audiences.
    Audience = "audience",
    /// The token that was issued for a client names that client.
    SameClient = "same_client",
    /// The cookie opens with one of the session keys.
    SessionOpens = "session_opens",
    /// The session was begun under this strategy as it is now.
    SessionBinding = "session_binding",
    /// The session has not ended.
    SessionTimes = "session_times",
    /// Nobody has logged the session out.
    SessionLogout = "session_logout",
    /// The credential was made after the application's were last changed.
    CredentialsValidFrom = "credentials_valid_from",
    /// The request comes from a page that may use the cookie.
    CrossSite = "cross_site",
    /// The directory knows the client.
    Application = "application",
    /// The application is active.
    ApplicationStatus = "application_status",
    /// The application is approved for the API.
    Registration = "registration",
    /// The credential has the scopes that strategy and API ask for.
    Scopes = "scopes",
}

impl Check {
    /// What a signed token has to pass, in this order.
    pub const OF_JWT: [Self; 12] = [
        Self::TokenForm,
        Self::TokenHeader,
        Self::TokenType,
        Self::Key,
        Self::Signature,
        Self::Payload,
        Self::Issuer,
        Self::TokenUse,
        Self::ClientClaim,
        Self::Claims,
        Self::Times,
        Self::Audience,
    ];

    /// What an introspection endpoint's answer has to pass, in this order.
    pub const OF_ANSWER: [Self; 9] = [
        Self::IntrospectionAnswer,
        Self::Active,
        Self::Issuer,
        Self::TokenUse,
        Self::ClientClaim,
        Self::Claims,
        Self::ManagementScope,
        Self::Times,
        Self::Audience,
    ];
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_name_is_snake_case_and_stands_once() {
        let names: HashSet<_> = Check::ALL.iter().map(|check| check.name()).collect();
        assert_eq!(names.len(), Check::ALL.len());
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        assert!(names.iter().all(|name| name.bytes().all(legal)));
    }
}
