//! What the program tells of itself: log lines and metrics.
//!
//! Always true: nothing here is handed a secret, a token or a cookie; no call waits for a disk, a
//! terminal or a pipe; a metric on the request path is a handle found before.

pub mod checks;
pub mod lines;
pub mod metrics;
