//! Which strategy judges, and why others do not.

use std::{sync::Arc, time::Duration};

use crate::{
    model::{
        check::Check,
        credential::{ClientId, Token},
    },
    proxy::{
        api::{Access, Api},
        authenticate::Method,
        strategy::{Strategy, Verify},
    },
    telemetry::checks::{Checks, listed, quoted},
    token::jwt,
};

/// Who may call an API, and under which strategies.
pub(in crate::proxy) fn access(api: &Api) -> String {
    let access = match api.config.access {
        Access::Application => "access: application, any active one",
        Access::Client => "access: client, any of the identity provider",
        Access::Public => return "access: public, no credential is read".to_owned(),
        Access::Registered => "access: registered, applications approved for it",
    };
    let names = api.strategies.iter().map(|strategy| &strategy.config.name);
    format!("{access}; auth_strategies: {}", listed(names))
}

/// Tells whether a method is enabled.
pub(in crate::proxy) fn auth_method(checks: &Checks, api: &Api, method: Method) {
    let name = method.name();
    if api.accepts(method) {
        checks.passed(Check::AuthMethod, || name.to_owned());
    } else {
        checks.failed(Check::AuthMethod, || {
            format!(
                "no strategy of API {} lists {name} in auth_methods",
                api.config.name
            )
        });
    }
}

/// Tells which strategy exchanges a client's pair.
pub(in crate::proxy) fn exchanging(
    checks: &Checks,
    api: &Api,
    found: Option<&Arc<Strategy>>,
    id: &ClientId,
) {
    if !checks.is_on() {
        return;
    }
    for strategy in &api.strategies {
        let name = &strategy.config.name;
        if found.is_some_and(|found| Arc::ptr_eq(found, strategy)) {
            checks.passed(Check::Strategy, || {
                format!(
                    "{name}: an application of it has the client id {}",
                    quoted(id.as_str())
                )
            });
            return;
        }
        checks.skipped(Check::Strategy, || {
            match strategy.config.client_credentials {
                true => format!(
                    "{name}: no application of it has this client id, {}",
                    hint(id.as_str())
                ),
                false => format!("{name}: client_credentials is not in its auth_methods"),
            }
        });
    }
    checks.failed(Check::Strategy, || {
        "no strategy has an application with this client id, so no identity provider is asked"
            .to_owned()
    });
}

/// Enough of an id that nobody knows to find a mistake, and too little of a secret in its place.
fn hint(id: &str) -> String {
    let (start, length): (String, _) = (id.chars().take(4).collect(), id.chars().count());
    match length > 8 {
        true => format!("{length} characters that begin with {}", quoted(&start)),
        false => format!("{length} characters"),
    }
}

/// Tells which strategy introspects a token.
pub(in crate::proxy) fn introspecting(checks: &Checks, api: &Api, found: Option<&Arc<Strategy>>) {
    if !checks.is_on() {
        return;
    }
    for strategy in &api.strategies {
        let name = &strategy.config.name;
        if found.is_some_and(|found| Arc::ptr_eq(found, strategy)) {
            checks.passed(Check::Strategy, || format!("{name}: it introspects"));
            return;
        }
        checks.skipped(Check::Strategy, || {
            let why = match strategy.config.tokens.verify {
                _ if !strategy.config.bearer => "bearer is not in its auth_methods",
                Verify::Jwt => "bearer.verify is jwt",
                Verify::Auto | Verify::Introspection => {
                    "its identity provider entry has no `client` to introspect with"
                }
            };
            format!("{name}: {why}")
        });
    }
    checks.failed(Check::Strategy, || {
        "the token is no JWT, and no strategy introspects".to_owned()
    });
}

/// Tells that a strategy's identity provider owns a token.
pub(in crate::proxy) fn owned(checks: &Checks, strategy: &Strategy, token: Token<'_>) {
    checks.passed(Check::Strategy, || {
        let iss = jwt::issuer(token.expose()).unwrap_or_default();
        let (name, idp) = (&strategy.config.name, &strategy.provider.config().name);
        format!(
            "{name}: {} is an issuer of {idp} (unverified)",
            quoted(&iss)
        )
    });
}

/// Tells that a token is not a strategy's: where it is the only one, that is the end of it.
pub(in crate::proxy) fn not_owned(
    checks: &Checks,
    api: &Api,
    strategy: &Strategy,
    issuer: Option<&str>,
) {
    let detail = || {
        let found = match issuer {
            Some(issuer) => format!("iss is {} (unverified)", quoted(issuer)),
            None => "the payload has no `iss` that is text".to_owned(),
        };
        let accepted = listed(strategy.provider.issuers().iter());
        format!("{}: {found}; accepted: {accepted}", strategy.config.name)
    };
    let owner = issuer.is_some_and(|issuer| {
        api.strategies.iter().any(|other| {
            let issuers = other.provider.issuers();
            other.config.bearer && issuers.iter().any(|known| known == issuer)
        })
    });
    match owner {
        true => checks.skipped(Check::Strategy, detail),
        false => checks.failed(Check::Strategy, detail),
    }
}

/// Tells that nobody knows yet whose tokens a strategy takes.
pub(in crate::proxy) fn issuer_unknown(checks: &Checks, strategy: &Strategy) {
    checks.failed(Check::Strategy, || {
        let (name, issuer) = (&strategy.config.name, &strategy.provider.config().issuer);
        format!("{name}: the issuer is in the document at {issuer}, which was not read yet")
    });
}

/// Tells that a credential was verified before.
pub(in crate::proxy) fn remembered(checks: &Checks, strategy: &Strategy) {
    checks.passed(Check::Remembered, || {
        format!(
            "{}: verified a moment ago, and not asked again",
            strategy.config.name
        )
    });
}

/// Tells whether too many wrong credentials came before.
pub(in crate::proxy) fn attempts(checks: &Checks, wait: Option<&Duration>) {
    match wait {
        None => checks.passed(Check::Attempts, || {
            "no failed attempts here; a running gateway counts those that come to it".to_owned()
        }),
        Some(wait) => checks.failed(Check::Attempts, || {
            format!(
                "too many wrong ones from this address; wait {} s",
                wait.as_secs()
            )
        }),
    }
}

/// Tells that there is nothing to look into but the answer itself.
pub(in crate::proxy) fn vouched(checks: &Checks, strategy: &Strategy) {
    checks.skipped(Check::Strategy, || {
        let name = &strategy.config.name;
        format!(
            "{name}: the token is opaque and {name} does not introspect, so the answer itself is \
             the proof, and the audience is not checked"
        )
    });
}

/// Tells whether the token that was issued names the client that it was issued for.
pub(in crate::proxy) fn same_client(
    checks: &Checks,
    strategy: &Strategy,
    found: &ClientId,
    wanted: &ClientId,
) {
    let detail = || {
        format!(
            "{}: the token names {}, the client id is {}",
            strategy.config.name,
            quoted(found.as_str()),
            quoted(wanted.as_str())
        )
    };
    match found == wanted {
        true => checks.passed(Check::SameClient, detail),
        false => checks.failed(Check::SameClient, detail),
    }
}
