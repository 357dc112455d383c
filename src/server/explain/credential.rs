//! The credential to explain: from standard input or a file, never from the command line.
//!
//! Always true: no error repeats any of it, and its memory is cleared when it is dropped.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, IsTerminal as _, Read},
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
};

use http::{HeaderName, HeaderValue, header};
use zeroize::Zeroizing;

/// Bytes read at most: more than a head may hold.
const LIMIT: usize = 64 * 1024;

/// What kind of credential it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Basic,
    Cookie,
    Token,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::Cookie => "cookie",
            Self::Token => "token",
        }
    }
}

/// Where a credential is read from.
#[derive(Debug)]
pub(super) struct Source {
    kind: Kind,
    /// None: standard input.
    file: Option<PathBuf>,
}

/// A credential that was read.
pub(super) struct Presented {
    kind: Kind,
    text: Zeroizing<Vec<u8>>,
}

/// Why there is no credential.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It holds a line end or the like.
    #[error("--{0}: holds a line end or another control character: expected one line")]
    ControlCharacter(&'static str),
    /// There is nothing.
    #[error("--{0}: expected a credential, and what was read is empty")]
    Empty(&'static str),
    /// The value is neither of the two.
    #[error(
        "--{0}: expected - for standard input, or @FILE; what stands there is not shown, and if it \
         is a secret, change it: other users and the shell's history can see a command line"
    )]
    OnCommandLine(&'static str),
    /// It cannot be read.
    #[error("--{kind}: {place}: cannot be read: {}", crate::yaml::reason(.source))]
    Read {
        /// The kind of credential.
        kind: &'static str,
        /// From where.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// There is more than any credential has.
    #[error("--{0}: longer than {LIMIT} bytes, which no credential is")]
    TooLong(&'static str),
}

impl Source {
    /// Finds out where the credential is, of which there is one at most.
    ///
    /// # Errors
    /// [`Error::OnCommandLine`].
    pub(super) fn find(
        token: Option<&OsStr>,
        basic: Option<&OsStr>,
        cookie: Option<&OsStr>,
    ) -> Result<Option<Self>, Error> {
        let given = [
            (Kind::Token, token),
            (Kind::Basic, basic),
            (Kind::Cookie, cookie),
        ];
        let Some((kind, value)) = given.into_iter().find_map(|(k, v)| Some((k, v?))) else {
            return Ok(None);
        };
        let file = match value.as_bytes() {
            b"-" => None,
            [b'@', name @ ..] if !name.is_empty() => Some(OsStr::from_bytes(name).into()),
            _ => return Err(Error::OnCommandLine(kind.name())),
        };
        Ok(Some(Self { kind, file }))
    }

    /// Whether it is a cookie.
    pub(super) fn is_cookie(&self) -> bool {
        self.kind == Kind::Cookie
    }

    /// Reads it. Whoever types it is asked for it, and does not see it.
    ///
    /// # Errors
    /// See [`Error`].
    pub(super) fn read(self) -> Result<Presented, Error> {
        let Self { kind, file } = self;
        let name = kind.name();
        let place = file.as_ref().map_or("standard input".to_owned(), |file| {
            file.display().to_string()
        });
        let text = match file {
            Some(file) => File::open(file).and_then(read),
            None if io::stdin().is_terminal() => {
                eprint!("{name}: ");
                rpassword::read_password().map(|text| Zeroizing::new(text.into_bytes()))
            }
            None => read(io::stdin().lock()),
        };
        let text = text.map_err(|source| Error::Read {
            kind: name,
            place,
            source,
        })?;
        if text.len() > LIMIT {
            return Err(Error::TooLong(name));
        }
        let text = Zeroizing::new(text.trim_ascii().to_vec());
        if text.is_empty() {
            return Err(Error::Empty(name));
        }
        Ok(Presented { kind, text })
    }
}

fn read(from: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    // As much room as it can take, so that growing leaves no copy behind.
    let mut text = Zeroizing::new(Vec::with_capacity(LIMIT + 2));
    from.take(LIMIT as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

impl Presented {
    /// What kind it is.
    pub(super) const fn kind(&self) -> &'static str {
        self.kind.name()
    }

    /// Whether it is a cookie whose name says that it is for https.
    pub(super) fn is_for_https(&self) -> bool {
        self.kind == Kind::Cookie && self.without(b"cookie:").starts_with(b"__Host-")
    }

    /// The field of a request that brings it. `names` are those of the session cookies: a value
    /// alone is sent under each.
    ///
    /// # Errors
    /// [`Error::ControlCharacter`].
    pub(super) fn field(&self, names: &[&str]) -> Result<(HeaderName, HeaderValue), Error> {
        let mut line = Zeroizing::new(Vec::with_capacity(self.text.len() + 256));
        let name = match self.kind {
            Kind::Token => {
                line.extend_from_slice(b"Bearer ");
                line.extend_from_slice(self.without(b"bearer "));
                header::AUTHORIZATION
            }
            Kind::Basic => {
                line.extend_from_slice(b"Basic ");
                line.extend_from_slice(self.without(b"basic "));
                header::AUTHORIZATION
            }
            Kind::Cookie => {
                let cookies = self.without(b"cookie:");
                // A value itself is base64url without padding.
                if cookies.contains(&b'=') {
                    line.extend_from_slice(cookies);
                } else {
                    for (place, name) in names.iter().enumerate() {
                        line.extend_from_slice(if place == 0 { b"" } else { b"; " });
                        line.extend_from_slice(name.as_bytes());
                        line.push(b'=');
                        line.extend_from_slice(cookies);
                    }
                }
                header::COOKIE
            }
        };
        let mut value =
            HeaderValue::from_bytes(&line).map_err(|_| Error::ControlCharacter(self.kind()))?;
        value.set_sensitive(true);
        Ok((name, value))
    }

    /// What stands behind a word that was pasted along.
    fn without(&self, word: &[u8]) -> &[u8] {
        match self.text.split_at_checked(word.len()) {
            Some((start, rest)) if start.eq_ignore_ascii_case(word) => rest.trim_ascii_start(),
            _ => &self.text,
        }
    }
}
