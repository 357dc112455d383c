//! From a configuration to a running gateway.

use std::path::PathBuf;

use crate::{config::Config, model::fault::Fault};

/// Why the gateway did not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is faulty; the first fault and how many there are.
    #[error("{first} ({count} in all; `dcr-gateway check` prints each)")]
    Config {
        /// The first fault.
        first: Box<Fault>,
        /// How many there are.
        count: usize,
    },
}

/// Serves until it is told to stop.
///
/// # Errors
/// Says why it could not start.
pub fn run(config_path: PathBuf) -> Result<(), Error> {
    match Config::load(&config_path) {
        Ok(_) => Ok(()),
        Err(faults) => {
            let count = faults.len();
            let first = faults.into_iter().next().map(Box::new);
            first.map_or(Ok(()), |first| Err(Error::Config { first, count }))
        }
    }
}
