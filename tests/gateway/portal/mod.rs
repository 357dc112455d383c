//! The portal, end to end: an operator makes applications over REST, and they are live at the
//! gateway.

mod commands;
mod gateways;
mod outages;
mod products;
mod site;
mod sources;
mod story;
