//! Tells when one of a set of files may have changed.
