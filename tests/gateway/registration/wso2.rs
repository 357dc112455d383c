//! Clients at WSO2 Identity Server.
