//! Lists: what narrows them, in which order they come, page by page.

use dcr_gateway::{
    model::application::{Registration as State, Status},
    portal::record::{ApplicationFilter, Page, RegistrationFilter},
};
use uuid::Uuid;

use super::{FIRST, Store, application, at, change, put, registration, with_each_database};

with_each_database![
    applications_are_narrowed,
    part_of_a_name_is_found_whatever_its_case,
    applications_come_in_pages,
    registrations_are_narrowed,
];

async fn applications_are_narrowed(store: Store) {
    let registry = store.open();
    let mut change = change(&registry).await;
    for n in 0..12_i64 {
        let mut one = application(&format!("client-{n}"));
        one.developer = format!("developer-{}", n % 3);
        one.strategy = format!("strategy-{}", n % 2);
        one.status = [Status::Active, Status::Suspended][usize::from(n % 4 == 0)];
        one.created_at = at(n);
        change.put_application(&one).await.unwrap();
    }
    change.commit().await.unwrap();
    let text = |text: &str| Some(text.to_owned());
    let none = ApplicationFilter::default;
    let table = [
        (none(), vec![11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0]),
        (
            ApplicationFilter {
                developer: text("developer-1"),
                ..none()
            },
            vec![10, 7, 4, 1],
        ),
        (
            ApplicationFilter {
                strategy: text("strategy-0"),
                ..none()
            },
            vec![10, 8, 6, 4, 2, 0],
        ),
        (
            ApplicationFilter {
                client_id: text("client-7"),
                ..none()
            },
            vec![7],
        ),
        (
            ApplicationFilter {
                status: Some(Status::Suspended),
                ..none()
            },
            vec![8, 4, 0],
        ),
        (
            ApplicationFilter {
                developer: text("developer-1"),
                strategy: text("strategy-0"),
                status: Some(Status::Active),
                name_contains: text("CLIENT-1"),
                ..none()
            },
            vec![10],
        ),
        (
            ApplicationFilter {
                developer: text("developer"),
                ..none()
            },
            vec![],
        ),
    ];
    for (filter, expected) in table {
        let found = registry.applications(&filter, FIRST).await.unwrap();
        let clients = found.items.iter().map(|one| one.client_id.clone().unwrap());
        let clients: Vec<String> = clients.map(|id| id.to_string()).collect();
        let expected: Vec<String> = expected.iter().map(|n| format!("client-{n}")).collect();
        assert_eq!(clients, expected, "{filter:?}");
        assert_eq!(found.total, expected.len() as u64, "{filter:?}");
    }
}

async fn part_of_a_name_is_found_whatever_its_case(store: Store) {
    let registry = store.open();
    let names = ["Große Reise", "ÄRGER_50%", r"back\slash", "plain", "50x"];
    for (n, name) in names.iter().enumerate() {
        let mut one = application(&format!("client-{n}"));
        one.name = (*name).to_owned();
        put!(registry, put_application(&one));
    }
    let table = [
        ("GROSSE", vec![]),
        ("grOße", vec!["Große Reise"]),
        ("ärger", vec!["ÄRGER_50%"]),
        ("50%", vec!["ÄRGER_50%"]),
        ("r_5", vec!["ÄRGER_50%"]),
        ("_", vec!["ÄRGER_50%"]),
        ("%", vec!["ÄRGER_50%"]),
        (r"\", vec![r"back\slash"]),
        (r"K\S", vec![r"back\slash"]),
        ("PLAIN", vec!["plain"]),
        ("plain'; DROP TABLE applications; --", vec![]),
    ];
    for (part, expected) in table {
        let filter = ApplicationFilter {
            name_contains: Some(part.to_owned()),
            ..ApplicationFilter::default()
        };
        let found = registry.applications(&filter, FIRST).await.unwrap();
        let names: Vec<&str> = found.items.iter().map(|one| &*one.name).collect();
        assert_eq!(names, expected, "{part}");
    }
}

async fn applications_come_in_pages(store: Store) {
    let registry = store.open();
    let mut change = change(&registry).await;
    let mut all = Vec::new();
    for n in 0..7_i64 {
        let mut one = application(&format!("client-{n}"));
        // Those of one moment come in a fixed order all the same.
        one.created_at = at(n / 3);
        change.put_application(&one).await.unwrap();
        all.push((one.created_at, one.id));
    }
    change.commit().await.unwrap();
    all.sort();
    all.reverse();
    let mut met = Vec::new();
    for (number, expected) in [(1, 3), (2, 3), (3, 1), (4, 0), (u64::MAX, 0)] {
        let page = Page { number, size: 3 };
        let filter = ApplicationFilter::default();
        let found = registry.applications(&filter, page).await.unwrap();
        assert_eq!((found.items.len(), found.total), (expected, 7), "{number}");
        met.extend(found.items.iter().map(|one| (one.created_at, one.id)));
    }
    assert_eq!(met, all);
}

async fn registrations_are_narrowed(store: Store) {
    let registry = store.open();
    let (one, other) = (application("client-1"), application("client-2"));
    let mut change = change(&registry).await;
    for owner in [&one, &other] {
        change.put_application(owner).await.unwrap();
        for (n, (api, state)) in [("a", State::Approved), ("b", State::Pending)]
            .into_iter()
            .enumerate()
        {
            let mut registration = registration(owner.id, api, state);
            registration.created_at = at(i64::try_from(n).unwrap());
            change.put_registration(&registration).await.unwrap();
        }
    }
    change.commit().await.unwrap();
    let none = RegistrationFilter::default;
    let table = [
        (none(), 4),
        (
            RegistrationFilter {
                application: Some(one.id),
                ..none()
            },
            2,
        ),
        (
            RegistrationFilter {
                api: Some("a".to_owned()),
                ..none()
            },
            2,
        ),
        (
            RegistrationFilter {
                state: Some(State::Pending),
                ..none()
            },
            2,
        ),
        (
            RegistrationFilter {
                application: Some(other.id),
                owner: None,
                api: Some("b".to_owned()),
                state: Some(State::Pending),
            },
            1,
        ),
        (
            RegistrationFilter {
                application: Some(Uuid::new_v4()),
                ..none()
            },
            0,
        ),
    ];
    for (filter, total) in table {
        let found = registry.registrations(&filter, FIRST).await.unwrap();
        assert_eq!(found.total, total, "{filter:?}");
        assert_eq!(found.items.len() as u64, total, "{filter:?}");
        for item in &found.items {
            assert!(filter.api.as_ref().is_none_or(|api| *api == item.api));
            assert!(filter.application.is_none_or(|id| id == item.application));
            assert!(filter.state.is_none_or(|state| state == item.state));
        }
        assert!(
            found
                .items
                .is_sorted_by_key(|item| std::cmp::Reverse(item.created_at))
        );
    }
}
