//! Every application in memory, keyed by strategy and client id.

pub mod file;
