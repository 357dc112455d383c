//! The file of applications.

use std::{collections::HashSet, path::Path, sync::Arc};

use dcr_gateway::{
    directory::file::{Known, parse},
    model::fault::Warning,
};

use super::configuration::{faulty, told};

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
    let (entries, warnings) = match parse(&file, content, &known) {
        Ok(read) => read,
        Err(faults) => return faulty(&faults, content),
    };
    for Warning { place, message } in &warnings {
        // The count of further ones belongs to the whole file.
        if place.line > 0 {
            told(place, message, content);
        }
    }
    let mut seen = HashSet::new();
    for entry in &entries {
        assert!(strategies.contains(&entry.strategy));
        let id = entry.client_id.as_str();
        assert!(!id.is_empty() && !id.chars().any(char::is_control));
        assert!(seen.insert((&entry.strategy, &entry.client_id)), "twice");
        let registrations = &entry.application.registrations;
        let mut apis = HashSet::new();
        for (api, _) in registrations {
            assert!(matches!(&**api, "flights" | "hotels"));
            assert!(apis.insert(api), "two states of one registration");
        }
    }
}
