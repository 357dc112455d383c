use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

const GOOD: &str = "\
applications:
  - name: Trip Planner
    developer: dana@example.com
    auth_strategy: partners
    client_id: abc123
    registrations: { flights: approved, hotels: pending }
";

fn known() -> Known {
    let list = |names: &[&str]| {
        names
            .iter()
            .map(|name| Arc::from(*name))
            .collect::<Vec<_>>()
    };
    Known::new(
        list(&["partners", "public", "alone"]),
        [
            ("flights".into(), list(&["partners", "public"])),
            ("hotels".into(), list(&["partners"])),
        ],
    )
}

fn read(text: &str) -> Result<(Vec<Entry>, Vec<String>), Vec<String>> {
    let file: Arc<Path> = Path::new("applications.yaml").into();
    parse(&file, text.as_bytes(), &known())
        .map(|(entries, warnings)| (entries, warnings.iter().map(Warning::to_string).collect()))
        .map_err(|faults| faults.iter().map(Fault::to_string).collect())
}

#[test]
fn an_application_gets_its_defaults() {
    let (entries, warnings) = read(GOOD).unwrap();
    assert_eq!(warnings, [""; 0]);
    let entry = &entries[0];
    assert_eq!(
        (&*entry.strategy, entry.client_id.as_str()),
        ("partners", "abc123")
    );
    let application = &entry.application;
    assert_eq!(
        application.id,
        Application::default_id("partners", "abc123")
    );
    assert_eq!(application.status, Status::Active);
    assert_eq!(
        application.registration("flights"),
        Some(Registration::Approved)
    );
    assert_eq!(
        application.registration("hotels"),
        Some(Registration::Pending)
    );
    assert_eq!(application.credentials_valid_from, Timestamp::default());
}

#[test]
fn an_application_keeps_what_is_written() {
    let text = GOOD.replace("abc123", "0123")
        + "    status: suspended\n    id: 6f2c1e9e-3c1b-4b55-9d3a-0f1f6a1f7a11\n    \
           credentials_valid_from: 2026-11-21T09:30:00+01:30\n";
    let (entries, _) = read(&text).unwrap();
    assert_eq!(entries[0].client_id.as_str(), "0123");
    let application = &entries[0].application;
    assert_eq!(application.status, Status::Suspended);
    assert_eq!(
        application.id.to_string(),
        "6f2c1e9e-3c1b-4b55-9d3a-0f1f6a1f7a11"
    );
    assert_eq!(
        application.credentials_valid_from,
        Timestamp::from_secs(1_795_248_000)
    );
}

#[test]
fn a_file_without_applications_is_an_empty_directory() {
    for text in ["applications: []", "applications:", "{}"] {
        assert_eq!(read(text).unwrap().0, [], "{text}");
    }
}

#[test]
fn what_cannot_be_used_is_a_fault_with_its_place() {
    let twice = GOOD.to_owned() + &GOOD["applications:\n".len()..];
    for (text, expected) in [
        (
            twice,
            r#"10:16: client_id: "abc123": expected each client of a strategy once; line 5 has this one of "partners" already"#,
        ),
        (
            GOOD.replace("abc123", "''"),
            "5:16: client_id: expected a client id, not empty",
        ),
        (GOOD.to_owned() + "    id: 7\n", "7:9: id: expected a UUID"),
        (
            GOOD.to_owned() + "    credentials_valid_from: yesterday\n",
            "7:29: credentials_valid_from: expected a time as in 2026-11-21T09:30:00Z",
        ),
        (
            GOOD.to_owned() + "    owner: x\n",
            "7:5: unknown field `owner`, expected one of name, developer, auth_strategy, client_id, status, registrations, id, credentials_valid_from",
        ),
        (
            GOOD.replace("approved", "aproved"),
            "6:31: registrations: \"aproved\": expected approved, pending, rejected or revoked",
        ),
        (
            GOOD.replace("flights: approved, hotels", "flights: approved, flights"),
            "6:41: flights: expected each key once",
        ),
        (
            GOOD.replace("    client_id: abc123\n", ""),
            "5:5: missing field `client_id`",
        ),
    ] {
        assert_eq!(
            read(&text).unwrap_err(),
            [format!("applications.yaml:{expected}")]
        );
    }
}

#[test]
fn an_unknown_name_is_a_warning_and_grants_nothing() {
    let (entries, warnings) = read(&GOOD.replace("hotels", "cars")).unwrap();
    assert_eq!(entries[0].application.registrations.len(), 1);
    assert_eq!(
        warnings,
        ["applications.yaml:6:41: warning: registrations: \"cars\": no such API"]
    );
    let (entries, warnings) = read(&GOOD.replace("partners", "nobody")).unwrap();
    assert_eq!(entries, []);
    assert_eq!(
        warnings,
        [
            "applications.yaml:4:20: warning: auth_strategy: \"nobody\": no such strategy, so client \
          \"abc123\" is let through nowhere"
        ]
    );
}

#[test]
fn an_id_under_two_strategies_of_one_api_is_warned_of() {
    let other = |strategy| {
        let more = GOOD["applications:\n".len()..].replace("partners", strategy);
        read(&(GOOD.to_owned() + &more)).unwrap().1
    };
    assert_eq!(
        other("public"),
        [
            "applications.yaml:10:16: warning: client_id: \"abc123\": strategy \"partners\" has this \
          id too (line 5), and an API lists both: its first one gets the client's secret"
        ]
    );
    assert_eq!(other("alone"), [""; 0]);
}

#[test]
fn messages_have_an_end() {
    let mut text = "applications:\n".to_owned();
    for number in 0..150 {
        writeln!(
            text,
            "- {{name: a, developer: b, auth_strategy: gone, client_id: c{number}}}"
        )
        .unwrap();
    }
    let (_, warnings) = read(&text).unwrap();
    assert_eq!(warnings.len(), MOST_MESSAGES + 1);
    assert_eq!(
        warnings[MOST_MESSAGES],
        "applications.yaml: warning: 50 more warnings"
    );
}

#[test]
fn more_applications_than_the_default_budget_allows_are_read() {
    let mut text = "applications:\n".to_owned();
    for number in 0..25_000 {
        let row = format!("c{number}, registrations: {{ flights: approved, hotels: pending }}");
        writeln!(
            text,
            "- {{name: a, developer: b, auth_strategy: alone, client_id: {row}}}"
        )
        .unwrap();
    }
    assert_eq!(read(&text).unwrap().0.len(), 25_000);
}

prop_compose! {
    fn any_entry()(
        texts in any::<[String; 3]>(),
        client in "\\PC{1,20}",
        status in prop::sample::select(STATUSES.map(|(_, status)| status).to_vec()),
        registrations in prop::collection::btree_map(
            any::<String>(),
            prop::sample::select(REGISTRATIONS.map(|(_, state)| state).to_vec()),
            0..4,
        ),
        id in any::<u128>(),
        from in prop_oneof![Just(0), 0..253_402_300_800_000_i64],
    ) -> Entry {
        let [name, developer, strategy] = texts;
        Entry {
            strategy: strategy.into(),
            client_id: ClientId::new(client).unwrap(),
            application: Application {
                id: Uuid::from_u128(id),
                name: name.into(),
                developer: developer.into(),
                status,
                registrations: registrations
                    .into_iter()
                    .map(|(api, state)| (api.into(), state))
                    .collect(),
                credentials_valid_from: Timestamp::from_millis(from),
            },
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(entry in any_entry()) {
        let mut text = String::new();
        write(std::slice::from_ref(&entry), &mut text).unwrap();
        let file: Arc<Path> = Path::new("applications.yaml").into();
        let (entries, warnings) = parse(&file, text.as_bytes(), &Known::all()).unwrap();
        prop_assert_eq!(entries, [entry]);
        prop_assert_eq!(warnings, []);
    }
}

#[test]
fn times_that_no_file_can_say_are_written_all_the_same() {
    for (millis, expected) in [(i64::MIN, 0), (-1, 0), (i64::MAX, 253_402_300_799_999)] {
        let (mut entries, _) = read(GOOD).unwrap();
        entries[0].application.credentials_valid_from = Timestamp::from_millis(millis);
        let mut text = String::new();
        write(&entries, &mut text).unwrap();
        let (entries, _) = read(&text).unwrap();
        let from = entries[0].application.credentials_valid_from;
        assert_eq!(from.millis(), expected);
    }
}

#[test]
fn an_empty_list_is_written_and_read() {
    let mut text = String::new();
    write(&[], &mut text).unwrap();
    assert_eq!(read(&text), Ok((Vec::new(), Vec::new())));
}
