use std::{collections::BTreeSet, fs, path::Path};

use super::*;
use crate::{
    idp::call::{Endpoint, Trouble},
    model::credential::Malformed,
    token::{Error, json::Fault},
};

fn is_known(reason: &str) -> bool {
    let with_code = BY_CODE_AND_REASON.iter().map(|(_, word, ..)| *word);
    let without = BY_REASON.iter().map(|(word, ..)| *word);
    with_code.chain(without).any(|word| word == reason)
}

/// Every variant. The match makes the compiler ask for a new one here.
fn token_errors() -> Vec<Error> {
    use Error::*;
    let all = [
        Algorithm,
        AnswerTooLarge,
        AnswerUnreadable(Fault::Syntax),
        AnswerWithoutActive,
        Audience,
        Base64,
        ClaimType("aud"),
        ClientConflict,
        ClientMissing,
        Critical,
        Expired,
        ExpiryMissing,
        GraphToken,
        Header,
        IssuedInFuture,
        Issuer,
        Json(Fault::Syntax),
        KeySet,
        ManagementScope,
        NotAccessToken,
        NotJwt,
        NotYetValid,
        Payload(Fault::Syntax),
        Random,
        SenderConstrained,
        SessionEnded,
        SessionIdle,
        SessionKey,
        SessionTooLarge,
        SessionUnreadable,
        Signature,
        TooLarge,
        Type,
        UnknownKey,
    ];
    for error in all {
        match error {
            Algorithm | AnswerTooLarge | AnswerUnreadable(_) | AnswerWithoutActive | Audience
            | Base64 | ClaimType(_) | ClientConflict | ClientMissing | Critical | Expired
            | ExpiryMissing | GraphToken | Header | IssuedInFuture | Issuer | Json(_) | KeySet
            | ManagementScope | NotAccessToken | NotJwt | NotYetValid | Payload(_) | Random
            | SenderConstrained | SessionEnded | SessionIdle | SessionKey | SessionTooLarge
            | SessionUnreadable | Signature | TooLarge | Type | UnknownKey => {}
        }
    }
    all.to_vec()
}

fn troubles() -> Vec<Trouble> {
    use Trouble::*;
    let all = vec![
        Busy,
        Deadline,
        Lost,
        NoMetadata(404),
        Paused,
        Status(500),
        TimedOut,
        TooLarge,
        Transport(String::new()),
        Unreached(String::new()),
        UnknownAddress(Endpoint::Token),
        Unreadable(""),
    ];
    for trouble in &all {
        match trouble {
            Busy | Deadline | Lost | NoMetadata(_) | Paused | Status(_) | TimedOut | TooLarge
            | Transport(_) | Unreached(_) | UnknownAddress(_) | Unreadable(_) => {}
        }
    }
    all
}

fn malformed() -> [Malformed; 8] {
    use Malformed::*;
    let all = [
        Base64,
        ControlCharacter,
        Empty,
        EmptyPart,
        NoColon,
        NotToken68,
        NotUtf8,
        TooLong,
    ];
    for one in all {
        match one {
            Base64 | ControlCharacter | Empty | EmptyPart | NoColon | NotToken68 | NotUtf8
            | TooLong => {}
        }
    }
    all
}

/// The fixed words that stand in the source where a refusal is made: behind `Denial::new`, and
/// behind what ends up there.
fn words_in(source: &str, found: &mut BTreeSet<String>) {
    for start in [
        "Denial::new(",
        "Misconfigured(",
        "denial.reason =",
        "(Code::",
    ] {
        for (at, _) in source.match_indices(start) {
            // The statement or the arm, and no more.
            let rest = &source[at + start.len()..];
            let end = rest.find([';', '}']).unwrap_or(rest.len());
            let rest = &rest[..end.min(200)];
            let end = match start {
                "denial.reason =" => rest.len(),
                _ => rest.find(')').unwrap_or(rest.len()),
            };
            for word in rest[..end].split('"').skip(1).step_by(2) {
                found.insert(word.to_owned());
            }
        }
    }
}

fn walk(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if !path.ends_with("reasons.rs") && !path.ends_with("tests.rs") {
            let source = fs::read_to_string(&path).unwrap();
            words_in(
                source.split("#[cfg(test)]\nmod tests").next().unwrap(),
                found,
            );
        }
    }
}

#[test]
fn every_reason_has_an_explanation() {
    let mut words = BTreeSet::new();
    walk(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut words,
    );
    // What holds a space is a text for the log, no reason.
    words.retain(|word| !word.is_empty() && !word.contains(' '));
    // The search itself finds what it should.
    for word in [
        "wrong_secret",
        "no_route",
        "connect_refused",
        "preflight_origin",
        "plain_http",
    ] {
        assert!(words.contains(word), "{word} is not found in the source");
    }
    words.extend(token_errors().iter().map(|error| error.reason().to_owned()));
    words.extend(troubles().iter().map(|trouble| trouble.reason().to_owned()));
    words.extend(malformed().iter().map(|one| one.reason().to_owned()));
    // These are said of sessions, and of codes whose name is the reason.
    for word in ["strategy_changed", "logged_out", "credentials_changed"] {
        words.insert(word.to_owned());
    }
    for code in [
        Code::ApplicationSuspended,
        Code::InsufficientScope,
        Code::RegistrationPending,
        Code::RegistrationRejected,
        Code::RegistrationRequired,
        Code::RegistrationRevoked,
        Code::UnknownApplication,
    ] {
        words.insert(code.name().to_owned());
    }
    let unknown: Vec<_> = words.iter().filter(|word| !is_known(word)).collect();
    assert!(unknown.is_empty(), "without an explanation: {unknown:?}");
}

#[test]
fn explanations_are_sentences_and_stand_once() {
    let mut seen = BTreeSet::new();
    for (word, ..) in BY_REASON {
        assert!(seen.insert(*word), "{word} stands twice");
    }
    let with_code = BY_CODE_AND_REASON
        .iter()
        .map(|(_, _, meaning, cure)| (meaning, cure));
    let without = BY_REASON.iter().map(|(_, meaning, cure)| (meaning, cure));
    for (meaning, cure) in with_code.chain(without) {
        for text in [meaning, cure] {
            let ends = text.ends_with(['.', '?']);
            assert!(ends && !text.contains("  "), "{text}");
            assert!(text.starts_with(|c: char| c.is_uppercase()), "{text}");
        }
    }
}

#[test]
fn the_same_word_can_mean_another_thing_under_another_code() {
    let of_caller = of(Code::InvalidToken, "audience");
    let of_exchange = of(Code::IdentityProviderMisconfigured, "audience");
    assert_ne!(of_caller, of_exchange);
    assert!(of_exchange.cure.contains("token_request"));
    assert_eq!(of(Code::NoRoute, "made up"), by_code(Code::NoRoute));
}
