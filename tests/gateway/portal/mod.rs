//! The portal, end to end: an operator makes applications over REST, and they are live at the
//! gateway.

mod load;
mod products;
mod story;
