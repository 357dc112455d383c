//! `portal`.

use std::time::Duration;

use super::{
    Listener, Portal, listener,
    section::At,
    top::{Addresses, address},
    value,
};
use crate::portal::accounts::{self, Registration};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Reads the section; `None` where it has no usable address.
pub(crate) fn read(at: At<'_>, addresses: &mut Addresses) -> Option<Portal> {
    let mut section = at.clone().section();
    let found = address(&mut section);
    // `tls:` with nothing behind it must never mean plain http.
    let certificates = section.present("tls").map(listener::tls);
    let accounts = accounts(section.get("accounts"));
    section.end();
    let address = found?;
    addresses.take(&at, address, "portal");
    Some(Portal {
        listener: Listener {
            address,
            certificates,
        },
        accounts,
    })
}

/// Reports that applications come from a file, which the portal cannot write.
pub(crate) fn without_store(at: &At<'_>) {
    at.fault(
        "developers could change nothing, since applications come from a file: expected \
         registry: {sqlite: PATH, keys: […]} or {postgres: {env: NAME}, keys: […]} \
         (`dcr-gateway registry import` takes the file over), or no portal",
    );
}

fn accounts(at: Option<At<'_>>) -> accounts::Config {
    let default = accounts::Config::default();
    let Some(at) = at else { return default };
    let mut section = at.section();
    let words = [
        ("approval", Registration::Approval),
        ("invited", Registration::Invited),
    ];
    let registration = section.get("registration");
    let registration = value::choice(registration, default.registration, &words);
    let mut timeout =
        |key, default, most| value::duration(section.get(key), default, SECOND..=most);
    let config = accounts::Config {
        registration,
        idle_timeout: timeout("idle_timeout", default.idle_timeout, 30 * DAY),
        absolute_timeout: timeout("absolute_timeout", default.absolute_timeout, 365 * DAY),
    };
    section.end();
    config
}
