//! The portal, end to end: an operator makes applications over REST, and they are live at the
//! gateway.

mod crashes;
mod products;
mod story;
