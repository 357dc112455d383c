//! Keeps registry and IdP in step.
