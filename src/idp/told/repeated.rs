//! Whether a text repeats a secret, however it is written there.
//!
//! In doubt it does: a text that is left out costs an operator a hint, a secret that shows costs
//! the secret.

use std::collections::HashSet;

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use percent_encoding::percent_decode_str;

/// Characters that are looked at: many times what is ever shown of a text.
const READ: usize = 4_000;
/// Encodings one in another that are followed.
const DEPTH: usize = 3;
/// Fewest and most letters and digits in a row that nobody shares with a secret by chance. Between
/// them it is half of the secret.
const PIECE: (usize, usize) = (4, 8);

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Whether a text holds a secret or half of it: as it is, spread, reversed, in another case, or
/// escaped for URLs, HTML or JSON, in base64 or in hexadecimal digits, each in another too.
pub(in crate::idp) fn repeats(text: &str, secret: &str) -> bool {
    let letters = folded(secret);
    let piece = (letters.len() / 2).clamp(PIECE.0, PIECE.1);
    let pieces: HashSet<&[char]> = letters.windows(piece).collect();
    let holds = |reading: &String| {
        let mut letters = folded(reading);
        let plain = letters.windows(piece).any(|found| pieces.contains(found));
        letters.reverse();
        let reversed = || letters.windows(piece).any(|found| pieces.contains(found));
        plain || reversed() || (!secret.is_empty() && reading.contains(secret))
    };
    let mut readings: Vec<String> = vec![text.chars().take(READ).collect()];
    for _ in 0..DEPTH {
        if readings.iter().any(holds) {
            return true;
        }
        let decoded = |reading: &String| [unescaped(reading), unpacked(reading)];
        readings = readings.iter().flat_map(decoded).collect();
    }
    readings.iter().any(holds)
}

/// What is left where signs, spaces and case count for nothing.
fn folded(text: &str) -> Vec<char> {
    let letters = text.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

/// Without the escapes of URLs, HTML and JSON.
fn unescaped(text: &str) -> String {
    let text = percent_decode_str(text).decode_utf8_lossy();
    let mut plain = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(c) = rest.chars().next() {
        let escape = match c {
            '&' => entity(rest),
            '\\' => backslash(rest),
            _ => None,
        };
        let (c, length) = escape.unwrap_or((c, c.len_utf8()));
        plain.push(c);
        rest = &rest[length..];
    }
    plain
}

/// The character that an HTML entity at the start stands for, and the entity's length.
fn entity(text: &str) -> Option<(char, usize)> {
    let end = text.bytes().take(12).position(|byte| byte == b';')?;
    let c = match &text[1..end] {
        "amp" => '&',
        "apos" => '\'',
        "gt" => '>',
        "lt" => '<',
        "quot" => '"',
        name => {
            let number = name.strip_prefix('#')?;
            let number = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => number.parse(),
            };
            char::from_u32(number.ok()?)?
        }
    };
    Some((c, end + 1))
}

/// The same for an escape of JSON and its like.
fn backslash(text: &str) -> Option<(char, usize)> {
    let numbered = |digits: usize| {
        let code = u32::from_str_radix(text.get(2..2 + digits)?, 16).ok()?;
        Some((char::from_u32(code)?, 2 + digits))
    };
    match text[1..].chars().next()? {
        'u' => numbered(4),
        'x' => numbered(2),
        c => Some((c, 1 + c.len_utf8())),
    }
}

/// What each word says if it is base64, of either alphabet, or hexadecimal. Where the digits begin
/// is not known, if a word stands before them.
fn unpacked(text: &str) -> String {
    let is_digit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_');
    let mut unpacked = String::new();
    let mut add = |bytes: Vec<u8>| {
        unpacked.push_str(&String::from_utf8_lossy(&bytes));
        unpacked.push(' ');
    };
    for word in text.split(|c| !is_digit(c)) {
        let digits = word.replace('-', "+").replace('_', "/");
        for digits in (0..4).filter_map(|start| digits.get(start..)) {
            // One digit alone at the end says nothing.
            let whole = digits.len() - usize::from(digits.len() % 4 == 1);
            BASE64
                .decode(&digits[..whole])
                .into_iter()
                .for_each(&mut add);
        }
    }
    for word in text.split(|c: char| !c.is_ascii_hexdigit()) {
        (0..2)
            .filter_map(|start| word.get(start..))
            .map(hexadecimal)
            .for_each(&mut add);
    }
    unpacked
}

fn hexadecimal(digits: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    (0..digits.len()).step_by(2).map_while(byte).collect()
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "S3cr/t+&<k%y>\"q";

    #[test]
    fn a_secret_is_found_however_it_is_written() {
        let percent = utf8_percent_encode(SECRET, NON_ALPHANUMERIC).to_string();
        let twice = utf8_percent_encode(&percent, NON_ALPHANUMERIC).to_string();
        let pair = format!("app:{percent}");
        let all = |write: fn(char) -> String| SECRET.chars().map(write).collect::<String>();
        for text in [
            SECRET,
            &percent,
            &percent.to_lowercase(),
            &twice,
            "S3cr/t+&amp;&lt;k%y&gt;&quot;q",
            r#"S3cr\/t+&<k%y>\"q"#,
            &BASE64_STANDARD.encode(SECRET),
            &BASE64_STANDARD.encode(pair),
            &BASE64_URL_SAFE_NO_PAD.encode(format!("x{SECRET}")),
            &all(|c| format!("{:02x}", u32::from(c))),
            &all(|c| format!("%{:02X}", u32::from(c))),
            &all(|c| format!("\\u{:04x}", u32::from(c))),
            &all(|c| format!("&#{};", u32::from(c))),
            &all(|c| format!("{c} ")),
            &all(|c| format!("{c}\u{200b}")),
            &SECRET.to_uppercase(),
            &SECRET.chars().rev().collect::<String>(),
            &SECRET[..8],
        ] {
            for text in [
                text.to_owned(),
                format!("secret-{text} is wrong"),
                format!("a{text}"),
            ] {
                assert!(repeats(&text, SECRET), "{text}");
            }
        }
    }

    #[test]
    fn what_says_something_else_stays() {
        for text in [
            "",
            "Invalid client or Invalid client credentials",
            "AADSTS7000215: Invalid client secret provided. Trace ID: 4ae2-8f%20",
            "no such scope: read &amp; write \\",
            "100% \\u12 &#x; &",
        ] {
            assert!(!repeats(text, SECRET), "{text}");
            assert!(!repeats(text, ""), "{text}");
        }
        assert!(repeats("it is ?!", "?!"), "without letters");
    }

    proptest! {
        #[test]
        fn any_text_can_be_looked_at(text in any::<String>(), secret in any::<String>()) {
            repeats(&text, &secret);
            let both = format!("{secret}{text}");
            prop_assert!(secret.is_empty() || repeats(&both, &secret));
        }

        #[test]
        fn any_escapes_can_be_looked_at(text in "[%&#x;\\\\u0-9a-fé]{0,60}") {
            repeats(&text, SECRET);
        }
    }
}
