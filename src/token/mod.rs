//! Tokens, keys and cookies: bytes, keys and `now` in, facts out.
//!
//! Pure: no I/O, no clock, no lock. Everything that is read here comes from the network or was
//! kept by a client, so every parser is bounded, strict, and free of panics. Nothing of a token
//! is believed before its signature was checked with a key of the identity provider's own set;
//! no key and no address ever comes out of a token. Fetching keys, asking an introspection
//! endpoint and caching what was learned are not here but in [`crate::idp`].

pub mod id_token;
pub mod introspection;
pub mod json;
pub mod jwk;
pub mod jwt;
pub mod rules;
pub mod session;

#[cfg(test)]
mod mint;
#[cfg(test)]
mod order;
#[cfg(test)]
mod vectors;

use aws_lc_rs::digest::{Context, SHA256};

use crate::model::check::Check;

/// Why a token, a key set, an introspection answer or a cookie is refused.
///
/// Its text names the rule that was broken and never repeats what was presented, so it can be
/// logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No key that the token may mean allows its algorithm, or the strategy does not
    /// (RFC 8725 section 3.1); `none` always ends here.
    #[error("the algorithm is not one that the key and the strategy allow")]
    Algorithm,
    /// The introspection answer is larger than is read.
    #[error("the introspection answer is too large")]
    AnswerTooLarge,
    /// The introspection answer is no strict JSON object.
    #[error("the introspection answer is unreadable")]
    AnswerUnreadable(#[source] json::Fault),
    /// The introspection answer has no boolean `active` (RFC 7662 section 2.2).
    #[error("the introspection answer does not say whether the token is active")]
    AnswerWithoutActive,
    /// None of the strategy's audiences is in `aud`. Time, issuer and all else were good.
    #[error("the token is for another audience")]
    Audience,
    /// A part is not base64url without padding (RFC 7515 section 2).
    #[error("a part of the token is not base64url")]
    Base64,
    /// A claim that is read has another JSON type than it should; this is its name.
    #[error("the claim {0} has the wrong type")]
    ClaimType(&'static str),
    /// The subject stands for the client, but another claim names a different one.
    #[error("the token's subject is not the client that it names")]
    ClientConflict,
    /// The credential claim is absent, or its text cannot be a client id.
    #[error("the credential claim names no client")]
    ClientMissing,
    /// The header demands an extension that is not understood (RFC 7515 section 4.1.11, RFC 7797).
    #[error("the token demands an extension that is not understood")]
    Critical,
    /// The token's end has passed.
    #[error("the token has expired")]
    Expired,
    /// There is no `exp`.
    #[error("the token does not say when it expires")]
    ExpiryMissing,
    /// The header has a `nonce`, as that of tokens for Microsoft Graph, and the signature does not
    /// fit: nobody but Graph can check it.
    #[error("the token is for Microsoft Graph")]
    GraphToken,
    /// A header member that is read has the wrong type, or `alg` is missing.
    #[error("the token's header is wrong")]
    Header,
    /// `iat` is in the future.
    #[error("the token was issued in the future")]
    IssuedInFuture,
    /// `iss` is none of the identity provider's, or is missing.
    #[error("the token was issued by somebody else")]
    Issuer,
    /// The header is no strict JSON object.
    #[error("the token's header is not strict JSON")]
    Json(#[source] json::Fault),
    /// The key set is no strict JSON object with an array `keys` (RFC 7517 section 5).
    #[error("the key set is unreadable")]
    KeySet,
    /// The token was made to manage registrations, not to call APIs.
    #[error("the token manages registrations")]
    ManagementScope,
    /// The token is an ID token, a refresh token or another thing that grants no access.
    #[error("the token is not an access token")]
    NotAccessToken,
    /// The token has not three parts (RFC 7519 section 7.2).
    #[error("the token is not a JWT")]
    NotJwt,
    /// `nbf` is in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// The payload is no strict JSON object.
    #[error("the token's payload is not strict JSON")]
    Payload(#[source] json::Fault),
    /// The system's random numbers failed.
    #[error("no random numbers")]
    Random,
    /// The token is bound to a key of its client's (RFC 7800), which cannot be checked here.
    #[error("the token is bound to a sender")]
    SenderConstrained,
    /// The session's absolute end has passed.
    #[error("the session has ended")]
    SessionEnded,
    /// The session was not used for too long.
    #[error("the session was idle for too long")]
    SessionIdle,
    /// The ring has no session key.
    #[error("there is no session key")]
    SessionKey,
    /// The sealed session would be larger than a cookie may be.
    #[error("the session is too large for a cookie")]
    SessionTooLarge,
    /// The cookie was not sealed by a key of the ring under this name, or was changed.
    #[error("the session cookie does not open")]
    SessionUnreadable,
    /// The signature is not the key's.
    #[error("the signature is wrong")]
    Signature,
    /// The token or the key set is larger than is read.
    #[error("the token or key set is too large")]
    TooLarge,
    /// `typ` names something other than an access token (RFC 9068 section 4).
    #[error("the token's type is not that of an access token")]
    Type,
    /// No key of the set bears the token's `kid`; without `kid`, no key of the set verifies it.
    /// Fetching the keys again may help.
    #[error("the token's key is unknown")]
    UnknownKey,
}

impl Error {
    /// The fixed word for logs and metrics.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Algorithm => "algorithm",
            Self::AnswerTooLarge => "answer_too_large",
            Self::AnswerUnreadable(_) => "answer_unreadable",
            Self::AnswerWithoutActive => "answer_without_active",
            Self::Audience => "audience",
            Self::Base64 => "base64",
            Self::ClaimType(_) => "claim_type",
            Self::ClientConflict => "client_conflict",
            Self::ClientMissing => "client_missing",
            Self::Critical => "critical",
            Self::Expired => "expired",
            Self::ExpiryMissing => "expiry_missing",
            Self::GraphToken => "graph_token",
            Self::Header => "header",
            Self::IssuedInFuture => "issued_in_future",
            Self::Issuer => "issuer",
            Self::Json(_) | Self::Payload(_) => "json",
            Self::KeySet => "key_set",
            Self::ManagementScope => "management_scope",
            Self::NotAccessToken => "not_access_token",
            Self::NotJwt => "not_jwt",
            Self::NotYetValid => "not_yet_valid",
            Self::Random => "random",
            Self::SenderConstrained => "sender_constrained",
            Self::SessionEnded => "session_ended",
            Self::SessionIdle => "session_idle",
            Self::SessionKey => "session_key",
            Self::SessionTooLarge => "session_too_large",
            Self::SessionUnreadable => "session_unreadable",
            Self::Signature => "signature",
            Self::TooLarge => "too_large",
            Self::Type => "type",
            Self::UnknownKey => "unknown_key",
        }
    }

    /// The check that a token fails with this. [`jwt::verify`] and [`introspection::facts`] make
    /// their checks in the order of [`Check::OF_JWT`] and [`Check::OF_ANSWER`], so those before it
    /// were passed. `None` for what is wrong with a key set or with the system.
    pub fn check(&self) -> Option<Check> {
        Some(match self {
            Self::Base64 | Self::NotJwt | Self::TooLarge => Check::TokenForm,
            Self::Critical | Self::Header | Self::Json(_) => Check::TokenHeader,
            Self::Type => Check::TokenType,
            Self::Algorithm | Self::UnknownKey => Check::Key,
            Self::GraphToken | Self::Signature => Check::Signature,
            Self::Payload(_) => Check::Payload,
            Self::AnswerTooLarge | Self::AnswerUnreadable(_) | Self::AnswerWithoutActive => {
                Check::IntrospectionAnswer
            }
            Self::Issuer | Self::ClaimType("iss") => Check::Issuer,
            Self::NotAccessToken
            | Self::SenderConstrained
            | Self::ClaimType("purpose" | "token_type" | "token_use" | "typ") => Check::TokenUse,
            Self::ExpiryMissing | Self::ClaimType("aud" | "exp" | "iat" | "nbf" | "scope") => {
                Check::Claims
            }
            // All other claims are read to find the client.
            Self::ClaimType(_) | Self::ClientConflict | Self::ClientMissing => Check::ClientClaim,
            Self::ManagementScope => Check::ManagementScope,
            Self::Expired | Self::IssuedInFuture | Self::NotYetValid => Check::Times,
            Self::Audience => Check::Audience,
            Self::SessionUnreadable => Check::SessionOpens,
            Self::SessionEnded | Self::SessionIdle => Check::SessionTimes,
            Self::KeySet | Self::Random | Self::SessionKey | Self::SessionTooLarge => return None,
        })
    }

    /// Whether an introspection answer could not be read, which is the identity provider's fault
    /// and says nothing of the token.
    pub const fn is_unreadable_answer(&self) -> bool {
        matches!(self, Self::AnswerTooLarge | Self::AnswerUnreadable(_))
    }
}

/// Half of the SHA-256 of a list of byte strings. Each is preceded by its length, so bytes that
/// move across a border change the result.
pub(crate) fn fingerprint(parts: &[&[u8]]) -> [u8; 16] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    let mut half = [0; 16];
    half.copy_from_slice(&context.finish().as_ref()[..16]);
    half
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_that_move_across_a_border_change_the_fingerprint(
            text in prop::collection::vec(any::<u8>(), 0..40),
            (one, other) in (0usize..41, 0usize..41),
        ) {
            let (one, other) = (one.min(text.len()), other.min(text.len()));
            let cut = |at: usize| fingerprint(&[&text[..at], &text[at..]]);
            prop_assert_eq!(cut(one) == cut(other), one == other);
            prop_assert_ne!(cut(one), fingerprint(&[&text]));
            prop_assert_ne!(cut(one), fingerprint(&[&text[..one], &text[one..], b""]));
        }
    }
}
