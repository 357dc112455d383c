//! Bearer tokens: JWTs by the IdP's keys, any other by introspection, both remembered.

use std::{borrow::Cow, sync::Arc, time::Duration};

use aws_lc_rs::digest::{SHA256, digest};
use tokio::runtime::Handle;

use super::{
    api::Api,
    authenticate::{self, Caller, Method, Request, caller as found, is_withdrawn},
    cache::{Cache, Key, Memory},
    denial::{Code, Denial, Mismatch},
    details,
    guesses::Inactive,
    strategy::{Config, Strategy, Verify},
    verified::Verified,
};
use crate::{
    clock,
    idp::{
        call::{Endpoint, Trouble, Unavailable},
        flight::{Flights, Lost},
        introspection::{self, Answer},
        keys::Newer,
    },
    model::{check::Check, credential::Token, time::Timestamp},
    telemetry::{checks::Checks, metrics::Metrics},
    token::{
        self,
        jwt::{self, Decoded, Jwt},
    },
};

/// How long a refused token is remembered (design section 3.2).
const REFUSED_TIME: Duration = Duration::from_secs(10);
/// Refused tokens remembered: few, so that a spray of them costs little memory.
const REFUSED_SIZE: u64 = 10_000;
/// Inactive tokens that one address may send in a minute.
const INACTIVE_LIMIT: u32 = 30;
/// Bounds how long a verified token is remembered, whatever its `exp` is: what nobody uses leaves
/// room sooner, and a token in use for days costs one signature a day.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// The tokens that one strategy has verified.
#[derive(Debug)]
pub struct Tokens {
    signed: Cache<Arc<Verified>>,
    introspected: Cache<Arc<Verified>>,
    /// Tokens that were refused a moment ago and would be again: signed ones that have ended, and those
    /// that introspection refused, with the reason where it called them active.
    refused: Memory<Option<token::Error>>,
    attempts: Inactive,
    asking: Flights<Key, Result<Arc<Verified>, Refusal>>,
}

/// Why a token was not verified.
#[derive(Clone, Debug)]
pub enum Refusal {
    /// The IdP says that it is not active.
    Inactive,
    /// Judged and refused.
    Token(token::Error),
    /// The address sent too many tokens that are not active; how long it has to wait.
    TooMany(Duration),
    /// Nobody could judge it.
    Unavailable(Unavailable),
    /// Its key is not the IdP's, which may be asked for newer ones after this time.
    UnknownKey(Duration),
    /// From before the application's credentials were changed.
    Withdrawn,
}

impl Refusal {
    fn unavailable(trouble: Trouble) -> Self {
        Self::Unavailable(trouble.after(Duration::from_secs(1)))
    }
}

impl Tokens {
    /// Nothing verified yet.
    pub fn new(config: &Config, metrics: &Metrics, runtime: &Handle) -> Self {
        let size = config.tokens.cache_size;
        let cache = |name| Cache::new(metrics, &config.name, name, size);
        Self {
            signed: cache("tokens"),
            introspected: cache("introspections"),
            refused: Memory::new(REFUSED_SIZE),
            attempts: Inactive::new(INACTIVE_LIMIT),
            asking: Flights::new(runtime.clone()),
        }
    }

    /// Brings the gauges of entries up to date.
    pub fn observe(&self, now: Timestamp) {
        self.signed.observe(now);
        self.introspected.observe(now);
        self.refused.tidy(now);
    }

    /// Why a token was refused a moment ago.
    fn refusal(&self, key: &Key, now: Timestamp) -> Option<Refusal> {
        let refused = self.refused.find(key, now)?;
        Some(refused.map_or(Refusal::Inactive, Refusal::Token))
    }

    /// Remembers a token that was refused and why; `None` where it is not active.
    fn refuse(&self, key: Key, error: Option<token::Error>, now: Timestamp) {
        self.refused.keep(key, error, now.plus(REFUSED_TIME), now);
    }
}

/// Judges a bearer token for an API (design section 2.5).
///
/// # Errors
/// The [`Denial`] that answers the request.
pub async fn caller(api: &Api, request: &Request<'_>, token: Token<'_>) -> Result<Caller, Denial> {
    let checks = request.checks;
    details::strategy::auth_method(checks, api, Method::Bearer);
    if !api.accepts(Method::Bearer) {
        return Err(Denial::new(Code::CredentialsRequired, "bearer_not_enabled"));
    }
    let key = match request.recent {
        Some(recent) => recent.digest(token, key),
        None => key(token),
    };
    let mut looked = Look::Due;
    // The ordinary case: one strategy, and a token that it knows, or has just refused.
    let mut strategies = api
        .strategies
        .iter()
        .filter(|strategy| strategy.config.bearer);
    if let (Some(only), None) = (strategies.next(), strategies.next()) {
        let denied = |refusal| denial(only, &refusal, token);
        if let Some(known) = known(only, &key, request.now) {
            details::strategy::remembered(checks, only);
            return judge(only, known, request.now, checks).map_err(denied);
        }
        // Who asks why gets to see each step again.
        if !checks.is_on()
            && let Some(refusal) = only.tokens.refusal(&key, request.now)
        {
            return Err(denied(refusal));
        }
        looked = Look::Done;
    }
    let decoded = Decoded::new(token.expose());
    let jwt = Jwt::new(&decoded);
    if jwt.looks_like_jwt() {
        signed(api, request, jwt, key, looked).await
    } else {
        drop(jwt);
        opaque(api, request, token, key).await
    }
}

/// Whether a strategy's memory of signed tokens was looked into for this request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// It does not know the token.
    Done,
    Due,
}

/// The digest under which a token is remembered. Each strategy has memories of its own, so its
/// name need not be part of it.
fn key(token: Token<'_>) -> Key {
    let mut key = Key::default();
    key.copy_from_slice(digest(&SHA256, token.expose().as_bytes()).as_ref());
    key
}

fn known(strategy: &Strategy, key: &Key, now: Timestamp) -> Option<Arc<Verified>> {
    let tokens = &strategy.tokens;
    let holds = |known: &Arc<Verified>| known.holds(strategy, now);
    match strategy.config.tokens.verify {
        Verify::Introspection => tokens.introspected.find(key, now, holds),
        Verify::Jwt => tokens.signed.find(key, now, holds),
        Verify::Auto => tokens.signed.find(key, now, holds).or_else(|| {
            strategy
                .introspects()
                .then(|| tokens.introspected.find(key, now, holds))
                .flatten()
        }),
    }
}

/// What a memory cannot answer for: the time, the audience, and whether the application's
/// credentials were changed since.
fn judge(
    strategy: &Arc<Strategy>,
    verified: Arc<Verified>,
    now: Timestamp,
    checks: &Checks,
) -> Result<Caller, Refusal> {
    if let Err(error) = strategy.rules().judge(&verified.facts, now) {
        details::token::judged_again(checks, error);
        return Err(Refusal::Token(error));
    }
    let facts = &verified.facts;
    let issued = facts.issued;
    let caller = found(strategy, Method::Bearer, verified);
    let withdrawn = is_withdrawn(caller.application.as_deref(), issued);
    details::application::valid_from(checks, caller.application.as_deref(), issued, withdrawn);
    if withdrawn {
        return Err(Refusal::Withdrawn);
    }
    Ok(caller)
}

/// A JWT: the first strategy in the API's order whose keys and audience it passes and under which
/// the directory knows the client; else the first whose keys and audience it passes.
async fn signed(
    api: &Api,
    request: &Request<'_>,
    mut jwt: Jwt<'_>,
    key: Key,
    looked: Look,
) -> Result<Caller, Denial> {
    let token = jwt.token();
    let checks = request.checks;
    let mut passed: Option<Caller> = None;
    let mut refused: Option<Denial> = None;
    // A strategy that cannot judge now may be the one that knows the client, perhaps as suspended.
    let mut unjudged = false;
    for strategy in api
        .strategies
        .iter()
        .filter(|strategy| strategy.config.bearer)
    {
        let issuer = jwt.issuer();
        let issuers = strategy.provider.issuers();
        let owns = |issuer: &Cow<'_, str>| issuers.iter().any(|known| *known == **issuer);
        let result = if issuer.as_ref().is_some_and(owns) {
            details::strategy::owned(checks, strategy, token);
            let result = verify(strategy, request, &mut jwt, key, looked).await;
            unjudged |= matches!(result, Err(Refusal::Unavailable(_) | Refusal::TooMany(_)));
            result
        } else if strategy.provider.knows_issuer() {
            details::strategy::not_owned(checks, api, strategy, issuer.as_deref());
            Err(Refusal::Token(token::Error::Issuer))
        } else {
            details::strategy::issuer_unknown(checks, strategy);
            Err(Refusal::unavailable(Trouble::UnknownAddress(
                Endpoint::Discovery,
            )))
        };
        match result.and_then(|verified| judge(strategy, verified, request.now, checks)) {
            Ok(caller) if caller.application.is_some() => return Ok(caller),
            Ok(caller) => passed = passed.or(Some(caller)),
            Err(refusal) => {
                let denial = denial(strategy, &refusal, token);
                refused = Some(match refused {
                    Some(earlier) if rank(&earlier) >= rank(&denial) => earlier,
                    _ => denial,
                });
            }
        }
    }
    let nobody = || Denial::new(Code::InvalidToken, "no_strategy");
    passed
        .filter(|_| !unjudged)
        .ok_or_else(|| refused.unwrap_or_else(nobody))
}

/// Of several refusals the one that tells most: that nobody could judge comes first, since a
/// credential must not be called wrong then; that a token is another IdP's comes last.
fn rank(denial: &Denial) -> u8 {
    match denial.code {
        Code::InvalidToken if denial.reason == token::Error::Issuer.reason() => 0,
        Code::InvalidToken => 1,
        _ => 2,
    }
}

/// Whether a token begins as a JSON header does, and ends before a signature could begin. Those of
/// more parts are encrypted.
fn is_cut(token: Token<'_>) -> bool {
    token.expose().starts_with("eyJ") && token.expose().matches('.').count() < 2
}

/// A token that is no JWT goes to the one strategy that introspects, and to no other.
async fn opaque(
    api: &Api,
    request: &Request<'_>,
    token: Token<'_>,
    key: Key,
) -> Result<Caller, Denial> {
    let introspects = |strategy: &&Arc<Strategy>| strategy.config.bearer && strategy.introspects();
    let found = api.strategies.iter().find(introspects);
    details::strategy::introspecting(request.checks, api, found);
    let Some(strategy) = found else {
        let mut denial = Denial::new(Code::InvalidToken, "not_a_jwt");
        let mut strategies = api
            .strategies
            .iter()
            .filter(|strategy| strategy.config.bearer);
        denial.cure = match is_cut(token) {
            true => {
                Some("The token begins as a JWT and has no end: have the client send all of it.")
            }
            false => strategies.find_map(|strategy| strategy.preset().cure(denial.reason)),
        };
        return Err(denial);
    };
    let refused = |refusal| denial(strategy, &refusal, token);
    let verified = introspect(strategy, request, token, key)
        .await
        .map_err(refused)?;
    judge(strategy, verified, request.now, request.checks).map_err(refused)
}

async fn verify(
    strategy: &Arc<Strategy>,
    request: &Request<'_>,
    jwt: &mut Jwt<'_>,
    key: Key,
    looked: Look,
) -> Result<Arc<Verified>, Refusal> {
    if strategy.config.tokens.verify == Verify::Introspection {
        jwt.put_together();
        return introspect(strategy, request, jwt.token(), key).await;
    }
    let now = request.now;
    let tokens = &strategy.tokens;
    let holds = |known: &Arc<Verified>| known.holds(strategy, now);
    if looked == Look::Due
        && let Some(known) = tokens.signed.find(&key, now, holds)
    {
        details::strategy::remembered(request.checks, strategy);
        return Ok(known);
    }
    tokens.signed.missed();
    // Who asks why gets to see the signature checked again.
    if looked == Look::Due
        && !request.checks.is_on()
        && let Some(refusal) = tokens.refusal(&key, now)
    {
        return Err(refusal);
    }
    let result = check_signature(strategy, jwt, now, request.checks).await;
    match &result {
        Ok(verified) => {
            let until = verified.until.min(now.plus(LONGEST));
            tokens.signed.keep(key, Arc::clone(verified), until, now);
        }
        // The time is looked at when everything else has passed, and it does not go back.
        Err(Refusal::Token(token::Error::Expired)) => {
            tokens.refuse(key, Some(token::Error::Expired), now);
        }
        Err(_) => {}
    }
    result
}

/// Verifies a JWT by the strategy's keys, fetching them anew where its key is not among them.
///
/// # Errors
/// Why it was not verified.
pub async fn check_signature(
    strategy: &Strategy,
    jwt: &mut Jwt<'_>,
    now: Timestamp,
    checks: &Checks,
) -> Result<Arc<Verified>, Refusal> {
    let provider = &strategy.provider;
    let token = jwt.token();
    let rules = strategy.rules();
    let issuers = provider.issuers();
    let keys = match provider.keys(now) {
        Some(keys) => Ok(keys),
        None => {
            jwt.put_together();
            provider.first_keys(now).await
        }
    };
    provider.tell_keys(checks, keys.as_deref());
    let mut keys = keys.map_err(Refusal::Unavailable)?;
    let (facts, key) = loop {
        let result = jwt.verify(&keys.set, &issuers, &rules, now);
        details::token::signed(checks, strategy, token, &keys.set, &result, now);
        match result {
            Ok(verified) => break verified,
            Err(token::Error::UnknownKey) => {
                jwt.put_together();
                let newer = provider.newer_keys(&keys).await;
                provider.tell_newer_keys(checks, newer.as_ref());
                match newer.map_err(Refusal::Unavailable)? {
                    Newer::Keys(newer) => keys = newer,
                    Newer::NotYet(wait) => return Err(Refusal::UnknownKey(wait)),
                }
            }
            Err(error) => return Err(Refusal::Token(error)),
        }
    };
    let until = facts.expires.plus(rules.leeway);
    let token = strategy.keeps_tokens.then(|| token.to_secret());
    Ok(Arc::new(Verified::new(facts, Some(key), now, until, token)))
}

async fn introspect(
    strategy: &Arc<Strategy>,
    request: &Request<'_>,
    token: Token<'_>,
    key: Key,
) -> Result<Arc<Verified>, Refusal> {
    let now = request.now;
    let holds = |known: &Arc<Verified>| known.holds(strategy, now);
    let tokens = &strategy.tokens;
    let checks = request.checks;
    if let Some(known) = tokens.introspected.find(&key, now, holds) {
        details::strategy::remembered(checks, strategy);
        return Ok(known);
    }
    tokens.introspected.missed();
    let remembered = || tokens.refusal(&key, now);
    if let Some(refusal) = remembered() {
        checks.failed(Check::Remembered, || {
            "refused by introspection a moment ago".to_owned()
        });
        return Err(refusal);
    }
    let attempts = tokens.attempts.check(request.origin(), now);
    details::strategy::attempts(checks, attempts.as_ref().err());
    attempts.map_err(Refusal::TooMany)?;
    let landed = || {
        let known = tokens.introspected.find(&key, now, holds).map(Ok);
        known.or_else(|| remembered().map(Err))
    };
    let start = {
        let (strategy, token) = (Arc::clone(strategy), token.to_secret());
        let checks = checks.clone();
        || async move {
            let result = ask(&strategy, token.as_token(), &checks).await;
            let (tokens, now) = (&strategy.tokens, clock::now());
            match &result {
                Ok(verified) => {
                    let known = Arc::clone(verified);
                    tokens.introspected.keep(key, known, verified.until, now);
                }
                Err(Refusal::Inactive) => tokens.refuse(key, None, now),
                // An answer that says nothing of the token is not remembered against it.
                Err(Refusal::Token(token::Error::AnswerWithoutActive)) => {}
                // A program that goes on with a token for another API must not use up the calls.
                Err(Refusal::Token(error)) => tokens.refuse(key, Some(*error), now),
                Err(_) => {}
            }
            result
        }
    };
    let result = tokens.asking.join(key, landed, start).await;
    let result = result.unwrap_or_else(|Lost| Err(Refusal::unavailable(Trouble::Lost)));
    if matches!(result, Err(Refusal::Inactive)) {
        tokens.attempts.count(request.origin(), &key, now);
    }
    result
}

/// Asks the IdP about a token and judges its answer.
///
/// # Errors
/// Why the token was not verified.
pub async fn ask(
    strategy: &Strategy,
    token: Token<'_>,
    checks: &Checks,
) -> Result<Arc<Verified>, Refusal> {
    let provider = &strategy.provider;
    let asked = clock::now();
    let body = match introspection::ask(provider, token, checks).await {
        Ok(Answer::Body(body)) => body,
        Ok(Answer::NotSupported) => {
            checks.failed(Check::Active, || "not a token of this endpoint".to_owned());
            return Err(Refusal::Inactive);
        }
        Err(unavailable) => return Err(Refusal::Unavailable(unavailable)),
    };
    let rules = strategy.rules();
    let facts = token::introspection::facts(&body, &provider.issuers(), &rules, clock::now());
    details::token::introspected(checks, strategy, &body, &facts, asked);
    match facts {
        Ok(Some(facts)) => {
            let longest = asked.plus(strategy.config.tokens.introspection_time);
            let until = longest.min(facts.expires);
            let token = strategy.keeps_tokens.then(|| token.to_secret());
            Ok(Arc::new(Verified::new(facts, None, asked, until, token)))
        }
        Ok(None) => Err(Refusal::Inactive),
        Err(error) if error.is_unreadable_answer() => Err(Refusal::unavailable(
            Trouble::Unreadable("the introspection answer"),
        )),
        Err(error) => Err(Refusal::Token(error)),
    }
}

fn denial(strategy: &Arc<Strategy>, refusal: &Refusal, token: Token<'_>) -> Denial {
    let denial = match refusal {
        Refusal::Inactive => Denial::new(Code::InvalidToken, "inactive"),
        Refusal::Token(error) => Denial::new(Code::InvalidToken, error.reason()),
        Refusal::TooMany(wait) => {
            Denial::new(Code::TooManyAttempts, "too_many_inactive").after(*wait)
        }
        Refusal::Unavailable(unavailable) => authenticate::unavailable(unavailable),
        Refusal::UnknownKey(_) => {
            Denial::new(Code::InvalidToken, token::Error::UnknownKey.reason())
        }
        Refusal::Withdrawn => Denial::new(Code::InvalidToken, "credentials_changed"),
    };
    let mut denial = denial.by(strategy, Method::Bearer);
    denial.cure = strategy.preset().cure(denial.reason);
    if matches!(refusal, Refusal::Token(token::Error::Audience)) {
        // It is judged last, so the signature was good.
        denial.mismatch = Some(Box::new(Mismatch {
            found: jwt::audience(token.expose()).join(", "),
            needed: strategy.config.audience.join(", "),
        }));
    }
    denial
}
