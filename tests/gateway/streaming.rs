//! Bodies that are long, slow or endless.
