//! `portal`.

use std::{sync::Arc, time::Duration};

use url::Url;

use super::{
    Listener, Portal,
    idp::{client, endpoint},
    listener,
    references::Set,
    section::At,
    top::{Addresses, address},
    value::{self, Plain},
};
use crate::{
    idp::sign_in::Client,
    portal::{
        accounts::{
            self, Registration,
            oidc::{self, Admission},
        },
        api::my::sign_in,
    },
};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

const NAME: &str = "the name of one of identity_providers";

/// Reads the section; `None` where it has no usable address.
pub(crate) fn read(at: At<'_>, addresses: &mut Addresses) -> Option<Portal> {
    let mut section = at.clone().section();
    let found = address(&mut section);
    // `tls:` with nothing behind it must never mean plain http.
    let certificates = section.present("tls").map(listener::tls);
    let accounts = accounts(section.get("accounts"));
    let public_url = section.get("public_url").and_then(|at| origin(&at));
    let oidc_at = section.get("oidc");
    if let (Some(at), None) = (&oidc_at, &public_url) {
        at.fault("`public_url` of the portal is missing: browsers come back there");
    }
    let gateway_url = section.get("gateway_url").and_then(|at| origin(&at));
    let oidc = oidc_at.and_then(|at| oidc(at, public_url.as_ref()));
    section.end();
    let address = found?;
    addresses.take(&at, address, "portal");
    Some(Portal {
        listener: Listener {
            address,
            certificates,
        },
        accounts,
        public_url,
        gateway_url,
        oidc,
    })
}

/// Where somebody reaches something: scheme, host and port.
fn origin(at: &At<'_>) -> Option<Url> {
    let url = endpoint(at, Plain::Loopback)?;
    if url.path() != "/" || url.query().is_some() {
        at.expected("scheme and host alone, as in https://api.example.com");
        return None;
    }
    Some(url)
}

fn oidc(at: At<'_>, public_url: Option<&Url>) -> Option<oidc::Config> {
    let mut section = at.section();
    let provider = section.required("identity_provider", "the name of one of identity_providers");
    let provider = provider.and_then(|at| at.parse(|text| value::name(text).map(Arc::from), NAME));
    let client_at = section.required("client", "the portal's own client there, {id, secret}");
    let client = client_at.and_then(client);
    let words = [
        ("approval", Admission::Approval),
        ("invited", Admission::Invited),
        ("open", Admission::Open),
    ];
    let registration = section.get("registration");
    let registration = value::choice(registration, Admission::Approval, &words);
    section.end();
    let (id, secret) = client?;
    Some(oidc::Config {
        identity_provider: provider?,
        client: Client {
            id,
            secret,
            redirect_uri: public_url?.join(sign_in::CALLBACK).ok()?,
        },
        registration,
    })
}

/// Reports an identity provider that there is not.
pub(crate) fn check(at: &At<'_>, providers: &Set) {
    let at = at
        .child("oidc")
        .and_then(|at| at.child("identity_provider"));
    if let Some(at) = at
        && let Some(name) = at.as_text()
        && !providers.has(name)
    {
        at.expected(format_args!(
            "one of identity_providers: {}",
            providers.list()
        ));
    }
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
        operators: value::switch(section.get("operators"), default.operators),
    };
    section.end();
    config
}
