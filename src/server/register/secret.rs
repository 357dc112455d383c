//! What the operator shows the IdP: from standard input, a file or the environment, never from the
//! command line itself. No error repeats any of it.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, IsTerminal as _, Read},
    os::unix::ffi::OsStrExt as _,
};

use zeroize::Zeroizing;

use crate::model::credential::Secret;

/// Bytes read at most: more than any token has.
const LIMIT: usize = 64 * 1024;

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It holds a line end or the like.
    #[error("{0}: holds a line end or another control character: expected one line of text")]
    ControlCharacter(&'static str),
    /// There is nothing.
    #[error("{0}: expected a secret, and what was read is empty")]
    Empty(&'static str),
    /// The value is none of the three.
    #[error(
        "{0}: expected - for standard input, @FILE, or env:NAME; what stands there is not shown, \
         and if it is a secret, change it: other users and the shell's history can see a command \
         line"
    )]
    OnCommandLine(&'static str),
    /// It cannot be read.
    #[error("{argument}: {place}: cannot be read: {}", crate::yaml::reason(.source))]
    Read {
        /// Which argument.
        argument: &'static str,
        /// From where.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// There is no such variable.
    #[error("{0}: the environment variable is not set, or is no text")]
    Unset(&'static str),
}

/// Where a secret is read from.
#[derive(Debug)]
pub(super) enum Source {
    Environment(OsString),
    File(OsString),
    Input,
}

impl Source {
    /// What the value of an argument names.
    pub(super) fn of(argument: &'static str, value: &OsStr) -> Result<Self, Error> {
        match value.as_bytes() {
            b"-" => Ok(Self::Input),
            [b'@', name @ ..] if !name.is_empty() => {
                Ok(Self::File(OsStr::from_bytes(name).to_owned()))
            }
            [b'e', b'n', b'v', b':', name @ ..] if !name.is_empty() => {
                Ok(Self::Environment(OsStr::from_bytes(name).to_owned()))
            }
            _ => Err(Error::OnCommandLine(argument)),
        }
    }

    /// Reads it. Whoever types it is asked for it, and does not see it.
    pub(super) fn read(self, argument: &'static str) -> Result<Secret, Error> {
        let place = match &self {
            Self::Environment(name) | Self::File(name) => name.to_string_lossy().into_owned(),
            Self::Input => "standard input".to_owned(),
        };
        let bytes = match self {
            Self::Environment(name) => {
                let value = std::env::var(name).map_err(|_| Error::Unset(argument))?;
                Ok(Zeroizing::new(value.into_bytes()))
            }
            Self::File(name) => File::open(name).and_then(read),
            Self::Input if io::stdin().is_terminal() => {
                eprint!("{}: ", argument.trim_start_matches('-'));
                rpassword::read_password().map(|text| Zeroizing::new(text.into_bytes()))
            }
            Self::Input => read(io::stdin().lock()),
        };
        let bytes = bytes.map_err(|source| Error::Read {
            argument,
            place,
            source,
        })?;
        let text = std::str::from_utf8(&bytes).map_err(|_| Error::ControlCharacter(argument))?;
        let text = text.trim_ascii();
        if text.is_empty() {
            return Err(Error::Empty(argument));
        }
        if text.chars().any(char::is_control) || text.len() > LIMIT {
            return Err(Error::ControlCharacter(argument));
        }
        Ok(Secret::new(text))
    }
}

fn read(from: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    // As much room as it can take, so that growing leaves no copy behind.
    let mut text = Zeroizing::new(Vec::with_capacity(LIMIT + 2));
    from.take(LIMIT as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}
