use proptest::prelude::*;

use super::*;

const NONE: PathsAsSent = PathsAsSent {
    double_encoding: false,
    double_slash: false,
    encoded_slash: false,
};

#[test]
fn ordinary_paths_pass_with_their_form() {
    for (raw, form) in [
        ("/", "/"),
        ("/a", "/a"),
        ("/a/", "/a/"),
        ("/a/b.c/..d/.well-known/...", "/a/b.c/..d/.well-known/..."),
        ("/%61dmin", "/admin"),
        ("/admin;x=1/users;y", "/admin/users"),
        ("/admin%3bx=1", "/admin"),
        ("/100%25", "/100%"),
        ("/50%25off", "/50%off"),
        ("/caf%C3%A9", "/café"),
        ("/café", "/café"),
        ("/a%20b", "/a b"),
        ("/a:b@c!$&'()*+,=~", "/a:b@c!$&'()*+,=~"),
    ] {
        let path = Path::check(raw).unwrap_or_else(|fault| panic!("{raw}: {fault}"));
        assert_eq!((path.form(), path.oddities()), (form, NONE), "{raw}");
        assert_eq!(path.raw(), raw);
    }
}

#[test]
fn what_an_ordinary_path_costs_is_no_allocation() {
    let path = Path::check("/flights/42").unwrap();
    assert!(matches!(path.form, Cow::Borrowed(_)));
}

#[test]
fn forbidden_parts_are_refused_at_any_depth() {
    for (raw, fault) in [
        ("/.", Ambiguity::DotSegment),
        ("/..", Ambiguity::DotSegment),
        ("/a/../b", Ambiguity::DotSegment),
        ("/a/./b", Ambiguity::DotSegment),
        ("/a/%2e%2e/b", Ambiguity::DotSegment),
        ("/a/%2E./b", Ambiguity::DotSegment),
        ("/a/%252e%252E/b", Ambiguity::DotSegment),
        ("/a/%25252e/b", Ambiguity::DotSegment),
        ("/a/..;/b", Ambiguity::DotSegment),
        ("/a/.;x=1", Ambiguity::DotSegment),
        ("/a/..%3bx/b", Ambiguity::DotSegment),
        ("/a/%2e%2e%253bx/b", Ambiguity::DotSegment),
        ("/a/b%2f..%2fc", Ambiguity::DotSegment),
        ("/a%2f.", Ambiguity::DotSegment),
        ("/a/b%252f%252e%252e", Ambiguity::DotSegment),
        ("/a\\b", Ambiguity::Backslash),
        ("/a%5cb", Ambiguity::Backslash),
        ("/a%255Cb", Ambiguity::Backslash),
        ("/a%00", Ambiguity::Control),
        ("/a%2500", Ambiguity::Control),
        ("/a\u{1}", Ambiguity::Control),
        ("/a b", Ambiguity::Control),
        ("/a%0d%0aX:y", Ambiguity::Control),
        ("/a%7f", Ambiguity::Control),
        ("/a%", Ambiguity::BrokenEscape),
        ("/a%2", Ambiguity::BrokenEscape),
        ("/a%zz", Ambiguity::BrokenEscape),
        ("/a%%32e", Ambiguity::BrokenEscape),
        ("/a%ff", Ambiguity::NotUtf8),
        ("/a%c0%af", Ambiguity::NotUtf8),
        ("/a%25c0%25af", Ambiguity::NotUtf8),
        ("/%252525252541", Ambiguity::DoubleEncoding),
        ("", Ambiguity::Target),
        ("a", Ambiguity::Target),
    ] {
        assert_eq!(Path::check(raw), Err(fault), "{raw}");
    }
}

#[test]
fn oddities_are_noted() {
    let encoded_slash = PathsAsSent {
        encoded_slash: true,
        ..NONE
    };
    let double_slash = PathsAsSent {
        double_slash: true,
        ..NONE
    };
    let double_encoding = PathsAsSent {
        double_encoding: true,
        ..NONE
    };
    for (raw, oddities) in [
        ("/a%2fb", encoded_slash),
        ("/a%2Fb", encoded_slash),
        ("/a//b", double_slash),
        ("//", double_slash),
        ("/a//b;x", double_slash),
        ("/a/;x/b", double_slash),
        ("/a%252fb", double_encoding),
        ("/a%2541", double_encoding),
        ("/a%25%34%31", double_encoding),
    ] {
        assert_eq!(Path::check(raw).unwrap().oddities(), oddities, "{raw}");
    }
}

#[test]
fn targets_are_split() {
    for (raw, expected) in [
        (
            "/a?b?c",
            Ok(Target::Origin {
                path: "/a",
                query: Some("b?c"),
            }),
        ),
        (
            "/a",
            Ok(Target::Origin {
                path: "/a",
                query: None,
            }),
        ),
        ("*", Ok(Target::Asterisk)),
        (
            "http://h/a?b",
            Ok(Target::Absolute {
                path: "/a",
                query: Some("b"),
            }),
        ),
        (
            "HTTPS://h",
            Ok(Target::Absolute {
                path: "/",
                query: None,
            }),
        ),
        (
            "http://h?/x",
            Ok(Target::Absolute {
                path: "/",
                query: Some("/x"),
            }),
        ),
        ("http:///a", Err(Ambiguity::Target)),
        ("ftp://h/a", Err(Ambiguity::Target)),
        ("h:443", Err(Ambiguity::Target)),
        ("a/b", Err(Ambiguity::Target)),
        ("", Err(Ambiguity::Target)),
    ] {
        assert_eq!(target(raw.as_bytes()), expected, "{raw}");
    }
    assert_eq!(target(b"/\xff"), Err(Ambiguity::NotUtf8));
}

#[test]
fn prefix_lengths_are_those_of_the_raw_path() {
    for (raw, prefix, length) in [
        ("/admin/x", "/admin", Some(6)),
        ("/%61dmin;v=1/x", "/admin", Some(12)),
        ("/admin", "/admin", Some(6)),
        ("/a/b/c", "/a/", Some(3)),
        ("/a/b/c", "/", Some(1)),
        ("/a%2fb", "/a/b", None),
    ] {
        assert_eq!(
            Path::check(raw).unwrap().length_of(prefix),
            length,
            "{raw} {prefix}"
        );
    }
}

proptest! {
    #[test]
    fn nothing_panics(raw in "\\PC*", bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = target(&bytes);
        if let Ok(path) = Path::check(&raw) {
            let _ = (path.readings(), path.length_of("/a/b"), path.is_plain_before(3));
        }
    }

    #[test]
    fn a_path_without_oddities_has_one_form(
        parts in prop::collection::vec(
            prop::sample::select(vec![
                "/", "a", ".", "%2e", "%2f", "%25", "2e", ";", "%3b", "%", "5c", "\\", "%61", "é", "00",
            ]),
            0..10,
        ),
    ) {
        let raw = format!("/{}", parts.concat());
        let Ok(path) = Path::check(&raw) else { return Ok(()) };
        prop_assert!(!path.form().split('/').any(|segment| segment == "." || segment == ".."));
        if path.oddities() == NONE {
            for reading in path.readings().unwrap() {
                prop_assert_eq!(reading, path.form(), "{}", raw);
            }
        }
        // Never a dot segment in any reading, allowed oddities or not.
        for reading in path.readings().into_iter().flatten() {
            prop_assert!(!reading.split('/').any(|segment| segment == "." || segment == ".."));
        }
    }
}
