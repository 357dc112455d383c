//! The path of a request: what of it is refused, and what of it is compared.
//!
//! A path is let through only if everything behind the gateway reads the same resource into it,
//! whether it decodes escapes once, again or never, merges slashes, or cuts path parameters off.
//! The path is never rewritten here: the upstream gets it as sent. The query string is never part
//! of it.
//!
//! [`target`] finds the path in a request target, [`Path::check`] refuses the ambiguous ones, and
//! `route` compares what is left. Three oddities can be allowed by an API
//! ([`PathsAsSent`]); until the API is known a [`Path`] carries them along.

use std::{borrow::Cow, collections::BTreeSet};

use crate::proxy::api::PathsAsSent;

/// Rounds of decoding that are followed. Nobody sends more in good faith, and each round costs a
/// pass over the path.
const MAX_DEPTH: usize = 4;

/// Bytes of all ways to read a path with oddities that are followed: hundreds for an ordinary path,
/// eight for one that fills a head. Honest paths have some five, and each costs passes over it.
const MOST_READ: usize = 256 * 1024;

/// Why a target is refused with 400 `ambiguous_path`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ambiguity {
    /// `\`, plain or encoded.
    #[error("the path holds a backslash")]
    Backslash,
    /// `%` without two hexadecimal digits.
    #[error("the path holds a broken escape")]
    BrokenEscape,
    /// NUL, another control character or a space, plain or (space excepted) encoded.
    #[error("the path holds a control character")]
    Control,
    /// A segment that is `.` or `..` in some reading.
    #[error("the path holds a dot segment")]
    DotSegment,
    /// Escapes of escapes, where not allowed or too deep.
    #[error("the path is encoded more than once")]
    DoubleEncoding,
    /// Not UTF-8, plain or decoded.
    #[error("the path is not UTF-8")]
    NotUtf8,
    /// Neither `/…`, nor `http://host/…`, nor `*`.
    #[error("the target is not a path")]
    Target,
}

/// A request target (RFC 9112 section 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// `*`, which asks about the server as a whole.
    Asterisk,
    /// `http://host/path?query`. The upstream must be given the path and query only.
    Absolute {
        /// From the first slash to the query; `/` where the target has none.
        path: &'a str,
        /// What follows the `?`.
        query: Option<&'a str>,
    },
    /// `/path?query`.
    Origin {
        /// From the first slash to the query.
        path: &'a str,
        /// What follows the `?`.
        query: Option<&'a str>,
    },
}

/// A path without forbidden parts, with the oddities that only some APIs take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path<'a> {
    raw: &'a str,
    form: Cow<'a, str>,
    oddities: PathsAsSent,
}

/// Splits a request target.
///
/// # Errors
///
/// [`Ambiguity::Target`] for any other form, [`Ambiguity::NotUtf8`].
pub fn target(raw: &[u8]) -> Result<Target<'_>, Ambiguity> {
    let raw = std::str::from_utf8(raw).map_err(|_| Ambiguity::NotUtf8)?;
    if raw.starts_with('/') {
        let (path, query) = split_query(raw);
        return Ok(Target::Origin { path, query });
    }
    if raw == "*" {
        return Ok(Target::Asterisk);
    }
    let (scheme, rest) = raw.split_once("://").ok_or(Ambiguity::Target)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(Ambiguity::Target);
    }
    let authority = rest.find(['/', '?']).unwrap_or(rest.len());
    if authority == 0 {
        return Err(Ambiguity::Target);
    }
    let (path, query) = split_query(&rest[authority..]);
    let path = if path.is_empty() { "/" } else { path };
    Ok(Target::Absolute { path, query })
}

impl<'a> Path<'a> {
    /// Refuses what no API may take, and notes what only some do.
    ///
    /// A path without `%`, `;` and `//` costs one pass and no allocation.
    ///
    /// # Errors
    ///
    /// The first [`Ambiguity`] found.
    pub fn check(raw: &'a str) -> Result<Self, Ambiguity> {
        if !raw.starts_with('/') {
            return Err(Ambiguity::Target);
        }
        let mut oddities = PathsAsSent::default();
        let mut plain = true;
        let mut after_slash = false;
        for byte in raw.bytes() {
            match byte {
                b'/' if after_slash => oddities.double_slash = true,
                b'\\' => return Err(Ambiguity::Backslash),
                b'%' | b';' => plain = false,
                0..=b' ' | 0x7f => return Err(Ambiguity::Control),
                _ => {}
            }
            after_slash = byte == b'/';
        }
        refuse_dot_segments(raw)?;
        if plain {
            let form = Cow::Borrowed(raw);
            return Ok(Self {
                raw,
                form,
                oddities,
            });
        }
        let form = Cow::Owned(form_as_sent(raw, &mut oddities)?);
        Ok(Self {
            raw,
            form,
            oddities,
        })
    }

    /// The path as it came.
    #[must_use]
    pub fn raw(&self) -> &'a str {
        self.raw
    }

    /// What routes are compared with: segments decoded once and cut at their first `;`.
    pub(super) fn form(&self) -> &str {
        &self.form
    }

    /// The oddities that an API must allow for this path to pass.
    pub(super) fn oddities(&self) -> PathsAsSent {
        self.oddities
    }

    /// Whether the first `length` bytes hold none of the oddities.
    pub(super) fn is_plain_before(&self, length: usize) -> bool {
        self.raw
            .get(..length)
            .map(Path::check)
            .is_some_and(|start| start.is_ok_and(|path| path.oddities == PathsAsSent::default()))
    }

    /// Every form that servers behind us could compare instead of [`Path::form`]: decoded as a
    /// whole at least once, parameters cut off, slashes kept or merged, in any order and again.
    /// `None` where they take more than [`MOST_READ`] bytes.
    pub(super) fn readings(&self) -> Option<BTreeSet<String>> {
        let mut readings = BTreeSet::from([merge_slashes(&self.form)]);
        let mut seen = BTreeSet::new();
        let mut left = MOST_READ;
        let mut next = vec![(self.raw.to_owned(), !self.raw.contains('%'))];
        while let Some((text, decoded)) = next.pop() {
            if !seen.insert((text.clone(), decoded)) {
                continue;
            }
            left = left.checked_sub(text.len())?;
            next.push((merge_slashes(&text), decoded));
            if text.contains(';') {
                next.push((cut_parameters(&text), decoded));
            }
            if let Some(bytes) = decode(&text) {
                // `check` has seen that each round of decoding gives UTF-8.
                next.push((String::from_utf8_lossy(&bytes).into_owned(), true));
            }
            if decoded && !text.contains(';') {
                readings.insert(text);
            }
        }
        Some(readings)
    }

    /// Length of the part of the raw path that a configured prefix stands for. `None` where the
    /// raw path has fewer segments, which is so only if one of them holds an encoded slash.
    pub(super) fn length_of(&self, prefix: &str) -> Option<usize> {
        let slashes = prefix.bytes().filter(|byte| *byte == b'/').count();
        let mut found = self
            .raw
            .bytes()
            .enumerate()
            .filter(|(_, byte)| *byte == b'/')
            .map(|(at, _)| at)
            .skip(slashes.saturating_sub(1));
        let last = found.next()?;
        if prefix.ends_with('/') {
            return Some(last + 1);
        }
        Some(found.next().unwrap_or(self.raw.len()))
    }
}

fn split_query(target: &str) -> (&str, Option<&str>) {
    match memchr::memchr(b'?', target.as_bytes()) {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    }
}

/// Follows the escapes down to their last meaning and refuses what any depth forbids.
fn form_as_sent(raw: &str, oddities: &mut PathsAsSent) -> Result<String, Ambiguity> {
    if !escapes_are_whole(raw.as_bytes()) {
        return Err(Ambiguity::BrokenEscape);
    }
    let mut level = Cow::Borrowed(raw);
    let mut depth = 0;
    while let Some(bytes) = decode(&level) {
        depth += 1;
        if depth > MAX_DEPTH {
            return Err(Ambiguity::DoubleEncoding);
        }
        let next = String::from_utf8(bytes).map_err(|_| Ambiguity::NotUtf8)?;
        for byte in next.bytes() {
            match byte {
                b'\\' => return Err(Ambiguity::Backslash),
                0..b' ' | 0x7f => return Err(Ambiguity::Control),
                _ => {}
            }
        }
        let slashes = |text: &str| text.bytes().filter(|byte| *byte == b'/').count();
        match depth {
            1 => oddities.encoded_slash = slashes(&next) != slashes(&level),
            _ => oddities.double_encoding = true,
        }
        refuse_dot_segments(&next)?;
        level = Cow::Owned(next);
    }
    let segments = raw.split('/').map(|segment| match decode(segment) {
        Some(bytes) => cut(&String::from_utf8_lossy(&bytes)).to_owned(),
        None => cut(segment).to_owned(),
    });
    let form = segments.collect::<Vec<_>>().join("/");
    // `/;x/` is an empty segment too.
    oddities.double_slash |= form.contains("//");
    Ok(form)
}

fn refuse_dot_segments(path: &str) -> Result<(), Ambiguity> {
    let dots = |segment: &str| matches!(cut(segment), "." | "..");
    // A dot segment starts with a dot, and nearly no path has one behind a slash.
    if path.contains("/.") && path.split('/').any(dots) {
        return Err(Ambiguity::DotSegment);
    }
    Ok(())
}

/// A segment without its parameters (RFC 3986 section 3.3).
fn cut(segment: &str) -> &str {
    segment.split(';').next().unwrap_or(segment)
}

fn cut_parameters(path: &str) -> String {
    path.split('/').map(cut).collect::<Vec<_>>().join("/")
}

fn merge_slashes(path: &str) -> String {
    let mut merged = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !merged.ends_with('/') {
            merged.push(character);
        }
    }
    merged
}

fn escapes_are_whole(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'%')
        .all(|(at, _)| escape(&bytes[at..]).is_some())
}

/// Decodes every whole escape once; `None` where there is none, so that a caller can stop.
fn decode(text: &str) -> Option<Vec<u8>> {
    let mut rest = text.as_bytes();
    let mut decoded = None;
    while let Some(first) = rest.first() {
        let done = text.len() - rest.len();
        if let Some(byte) = escape(rest) {
            let decoded = decoded.get_or_insert_with(|| text.as_bytes()[..done].to_vec());
            decoded.push(byte);
            rest = &rest[3..];
        } else {
            if let Some(decoded) = decoded.as_mut() {
                decoded.push(*first);
            }
            rest = &rest[1..];
        }
    }
    decoded
}

/// The byte that an escape at the start of `bytes` stands for.
fn escape(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else {
        return None;
    };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests;
