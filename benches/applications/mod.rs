//! A file of applications for the benches: one strategy, two registrations each.

use std::{fmt::Write, sync::Arc};

use dcr_gateway::directory::file::Known;

/// What the file's applications may name.
pub(crate) fn known() -> Known {
    let strategy: Arc<str> = "partners".into();
    let apis = ["flights", "hotels"].map(|api| (api.into(), vec![Arc::clone(&strategy)]));
    Known::new([Arc::clone(&strategy)], apis)
}

/// The file, with so many of them.
pub(crate) fn text(size: usize) -> String {
    let mut text = "applications:\n".to_owned();
    for number in 0..size {
        // Ids of equal length that share neither start nor order.
        let scattered = number.wrapping_mul(2_654_435_761) & 0xffff_ffff;
        writeln!(
            text,
            "  - name: Application {number}\n    developer: developer-{}@example.com\n    \
             auth_strategy: partners\n    client_id: {scattered:08x}-5c1e-4f6a-9d2b-{number:012x}\n    \
             status: active\n    registrations:\n      flights: approved\n      hotels: pending",
            number % 5000,
        )
        .unwrap();
    }
    text
}
