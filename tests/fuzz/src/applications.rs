//! The file of applications.

use std::{collections::HashSet, path::Path, sync::Arc};

use dcr_gateway::{
    directory::file::{Known, parse},
    model::fault::{Fault, Warning},
};

use super::configuration::told;

/// A text is a list of applications, each client there once and under a strategy that is known,
/// or a list of faults, each with its place.
pub(super) fn run(content: &[u8]) {
    let file: Arc<Path> = Path::new("input.yaml").into();
    let partners: Arc<str> = "partners".into();
    let staff: Arc<str> = "staff".into();
    let strategies = [partners.clone(), staff.clone()];
    let known = Known::new(
        strategies.clone(),
        [
            ("flights".into(), strategies.to_vec()),
            ("hotels".into(), vec![partners]),
        ],
    );
    // The count of further messages belongs to the whole file.
    let rest =
        |message: &str| message.ends_with(" more faults") || message.ends_with(" more warnings");
    let (entries, warnings) = match parse(&file, content, &known) {
        Ok(read) => read,
        Err(faults) => {
            assert!(!faults.is_empty(), "refused without a reason");
            for Fault { place, message } in faults.iter().filter(|fault| !rest(&fault.message)) {
                told(place, message, content);
            }
            return;
        }
    };
    for Warning { place, message } in warnings.iter().filter(|warning| !rest(&warning.message)) {
        told(place, message, content);
    }
    let mut seen = HashSet::new();
    for entry in &entries {
        assert!(strategies.contains(&entry.strategy));
        let id = entry.client_id.as_str();
        assert!(!id.is_empty() && !id.chars().any(char::is_control));
        assert!(seen.insert((&entry.strategy, &entry.client_id)), "twice");
        let registrations = &entry.application.registrations;
        let mut apis = HashSet::new();
        for (api, _) in registrations.iter() {
            assert!(matches!(&**api, "flights" | "hotels"));
            assert!(apis.insert(api), "two states of one registration");
        }
    }
}
