//! Scopes, and the rule that says which of them a request needs.

use std::{fmt, iter};

/// Scopes that a token carries, separated by single spaces (RFC 6749 section 3.3): whole words,
/// case-sensitive, in the order in which they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Box<str>);

impl Scopes {
    /// Reads a space-separated list. Runs of spaces count as one.
    pub fn parse(text: &str) -> Self {
        Self::from_list([text])
    }

    /// Joins single scopes; one that holds a space counts as several.
    pub fn from_list<'a>(scopes: impl IntoIterator<Item = &'a str>) -> Self {
        let mut scopes = scopes.into_iter();
        let (first, second) = (scopes.next().unwrap_or_default(), scopes.next());
        // Nearly always one text that is as it has to be, and stays so.
        if second.is_none() && is_list(first) {
            return Self(first.into());
        }
        let mut list = String::new();
        for scope in iter::once(first).chain(second).chain(scopes) {
            for word in scope.split(' ').filter(|word| !word.is_empty()) {
                if !list.is_empty() {
                    list.push(' ');
                }
                list.push_str(word);
            }
        }
        Self(list.into())
    }

    /// Whether this very scope was granted.
    pub fn contains(&self, scope: &str) -> bool {
        self.0.split(' ').any(|granted| granted == scope)
    }

    /// The list, separated by single spaces.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether words are separated by single spaces and nothing else.
fn is_list(text: &str) -> bool {
    let text = text.as_bytes();
    let ends = |byte: Option<&u8>| byte == Some(&b' ');
    let twice = |pair: &[u8]| (pair[0] == b' ') & (pair[1] == b' ');
    !ends(text.first()) && !ends(text.last()) && !text.windows(2).any(twice)
}

/// Kong's grammar for required scopes: a space inside an entry is AND, entries are OR.
/// Without entries, nothing is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeRule(Vec<Box<str>>);

impl ScopeRule {
    /// Makes a rule of its entries.
    ///
    /// # Errors
    /// Returns the first entry that names no scope or holds a character that RFC 6749 section 3.3
    /// does not allow in one.
    pub fn new(entries: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut rule = Vec::new();
        for entry in entries {
            let legal = |c: char| matches!(c, '\x21' | '\x23'..='\x5b' | '\x5d'..='\x7e');
            let mut words = entry.split(' ').filter(|word| !word.is_empty()).peekable();
            if words.peek().is_none() || !words.all(|word| word.chars().all(legal)) {
                return Err(entry);
            }
            rule.push(Scopes::parse(&entry).0);
        }
        Ok(Self(rule))
    }

    /// Whether the granted scopes satisfy one entry whole, or nothing is asked.
    pub fn allows(&self, granted: &Scopes) -> bool {
        self.0.is_empty()
            || self
                .0
                .iter()
                .any(|entry| entry.split(' ').all(|scope| granted.contains(scope)))
    }

    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What to name in an RFC 6750 `scope` challenge: the first way to satisfy the rule.
    pub fn first(&self) -> Option<&str> {
        self.0.first().map(|entry| &**entry)
    }
}

impl fmt::Display for ScopeRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join(" or "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_is_and_and_entries_are_or() {
        let rule =
            |entries: &[&str]| ScopeRule::new(entries.iter().map(|s| (*s).to_owned())).unwrap();
        for (name, entries, granted, allowed) in [
            ("nothing asked", &[][..], "", true),
            ("one asked, none granted", &["read"], "", false),
            ("one of two", &["read", "admin"], "admin", true),
            ("half of an entry", &["read list"], "read", false),
            (
                "whole entry, other order",
                &["read list"],
                "list other read",
                true,
            ),
            ("longer word", &["api:write"], "api:write2", false),
            ("other case", &["api:write"], "API:WRITE", false),
        ] {
            assert_eq!(
                rule(entries).allows(&Scopes::parse(granted)),
                allowed,
                "{name}"
            );
        }
    }

    #[test]
    fn a_list_has_single_spaces_whatever_it_was_made_of() {
        for (given, list) in [
            (&[][..], ""),
            (&[""], ""),
            (&[" "], ""),
            (&["read"], "read"),
            (&["read list"], "read list"),
            (&["read  list"], "read list"),
            (&[" read list"], "read list"),
            (&["read list "], "read list"),
            (&["read", "list"], "read list"),
            (&["", " read  list", "", "admin "], "read list admin"),
        ] {
            let scopes = Scopes::from_list(given.iter().copied());
            assert_eq!(scopes.as_str(), list, "{given:?}");
            assert_eq!(Scopes::parse(&given.join(" ")), scopes, "{given:?}");
        }
    }

    #[test]
    fn an_entry_without_a_legal_scope_is_refused() {
        for entry in ["", "  ", "a\"b", "a\\b", "é"] {
            assert!(ScopeRule::new([entry.to_owned()]).is_err(), "{entry:?}");
        }
    }
}
