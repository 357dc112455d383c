//! Why a client was not registered or managed, and what an operator can do about it.

use std::{fmt, path::PathBuf};

use super::{record, secret};
use crate::{
    idp::{call::Trouble, registration},
    model::credential::ClientId,
};

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// A file of certificates or metadata cannot be used.
    #[error("{}: {}", .0.display(), .1)]
    File(PathBuf, String),
    /// The server did not do it.
    #[error("{what}: {source}{}", Hint(.hint))]
    Idp {
        /// What was asked, and where.
        what: String,
        /// What came back.
        source: Box<registration::Error>,
        /// What to do.
        hint: Option<String>,
    },
    /// An issuer that is none.
    #[error("--issuer: expected an https URL (http is for this machine alone)")]
    Issuer,
    /// What was made cannot be kept.
    #[error("{source}; the client {client_id} was {fate}")]
    Kept {
        /// Why.
        source: record::Error,
        /// Which client.
        client_id: ClientId,
        /// What became of it.
        fate: String,
    },
    /// No HTTP client, metrics or runtime.
    #[error("{0}")]
    Local(String),
    /// The client's file.
    #[error(transparent)]
    Record(#[from] record::Error),
    /// There is more on the line than is read.
    #[error(
        "an argument too many, which is not shown because it may be a secret; one is read from \
         standard input (-), a file (@FILE) or the environment (env:NAME), never from the command \
         line"
    )]
    Rest,
    /// A secret of the operator's.
    #[error(transparent)]
    Secret(#[from] secret::Error),
    /// WebFinger led nowhere.
    #[error("{asked}: {why}\n  Name the issuer itself: --issuer https://HOST/…")]
    WebFinger {
        /// What was asked.
        asked: String,
        /// What came back.
        why: String,
    },
}

/// What helps, on a line of its own.
pub(super) struct Hint<'a>(&'a Option<String>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(hint) => write!(f, "\n  {hint}"),
            None => Ok(()),
        }
    }
}

impl Error {
    /// 1 where somebody refused, 2 where the arguments or this machine are to blame.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Idp { .. } | Self::WebFinger { .. } => 1,
            _ => 2,
        }
    }
}

/// What an operator can do about it.
pub(super) fn cure(error: &registration::Error) -> Option<String> {
    use registration::Error as E;
    let text = match error {
        E::Access(_) => {
            "Give it --initial-access-token, or --initial-client, whichever the server asks for; a \
             token may be spent or over."
        }
        E::Refused(_) => {
            "What was sent is client_name, grant_types, response_types, redirect_uris, \
             token_endpoint_auth_method, scope and --client-metadata: look at which of them the \
             server does not want."
        }
        E::Unusable(_) => {
            "The server's own policy decides what clients get: let it give confidential clients the \
             grant client_credentials, and no more than was asked for."
        }
        E::Impossible(_) => "Do it at the server itself.",
        E::Gone => "Its file is of no more use.",
        E::LeftBehind { .. } => "Remove it at the server itself.",
        E::Unavailable(unavailable) | E::Untouched(unavailable) => match unavailable.kind {
            Trouble::UnknownAddress(_) => {
                "The server's metadata names no registration_endpoint: switch registration on \
                 there, or name it with --endpoint."
            }
            Trouble::NoMetadata(_) => {
                "Check the issuer: it is the `iss` of its tokens, byte for byte."
            }
            Trouble::Transport(_) => {
                "Check name and port; where its certificate is of a private authority, set \
                 --ca-file."
            }
            _ => "Try again; --deadline gives it more time.",
        },
    };
    Some(text.to_owned())
}
