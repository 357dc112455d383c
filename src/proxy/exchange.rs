//! Basic client credentials: each pair is exchanged at the IdP once, and the answer remembered
//! for as long as its token lives.
//!
//! Always true: a secret is seen by the one IdP of the strategy that knows the client id and is
//! kept by nobody after the call; a pair is remembered by a keyed digest alone; what was remembered
//! before the application's credentials changed is not used.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::{
    hmac::{self, HMAC_SHA256},
    rand::SystemRandom,
};
use tokio::runtime::Handle;

use super::{
    api::Api,
    authenticate::{self, Caller, Method, Request, valid_from},
    bearer,
    cache::{Cache, Key, Memory},
    denial::{Code, Denial},
    details,
    guesses::Guesses,
    strategy::{Config, Strategy},
    verified::Verified,
};
use crate::{
    clock,
    idp::{
        call::{Trouble, Unavailable},
        flight::{Flights, Lost},
        grant::{self, Granted},
    },
    model::{
        check::Check,
        claims::Facts,
        credential::{ClientId, Secret},
        scope::Scopes,
        time::Timestamp,
    },
    telemetry::{checks::Checks, metrics::Metrics},
    token::jwt::{Decoded, Jwt},
};

/// Life of a token of which the IdP says nothing (design section 3.1).
const UNTOLD_LIFE: Duration = Duration::from_secs(60);
/// An entry is dropped this long before its token ends, or a fifth of its life where that is less:
/// a token forwarded upstream must not end on the way.
const MARGIN: Duration = Duration::from_secs(15);
/// Wrong pairs remembered: few, and apart, so that a spray of them evicts no good entry.
const WRONG_SIZE: u64 = 10_000;

/// A pair that the IdP exchanged.
#[derive(Debug)]
struct Pair {
    verified: Arc<Verified>,
    /// From then on the next request that uses it has it exchanged again.
    renew_from: Timestamp,
    renewing: AtomicBool,
}

/// The pairs of one strategy.
#[derive(Debug)]
pub struct Exchanges {
    key: hmac::Key,
    pairs: Cache<Arc<Pair>>,
    /// Wrong pairs, with the state of the credentials in which they were wrong, and what helps.
    wrong: Memory<(Timestamp, Cure)>,
    wrong_time: Duration,
    guesses: Guesses,
    /// By pair and state of the credentials: who comes after a change never waits for an answer
    /// from before it.
    exchanging: Flights<(Key, Timestamp), Result<Arc<Verified>, Refusal>>,
}

/// What an operator can do, where that is known.
type Cure = Option<&'static str>;

/// Why a pair was not exchanged.
#[derive(Clone, Debug)]
enum Refusal {
    /// The IdP denies this client the grant.
    Grant(Cure),
    /// What the gateway asks for, or what it got, is wrong; a fixed word for the log.
    Misconfigured(&'static str, Cure),
    /// Too many wrong pairs; how long to wait.
    TooMany(Duration),
    /// No answer.
    Unavailable(Unavailable),
    /// The pair is wrong.
    Wrong(Cure),
}

impl Exchanges {
    /// Nothing exchanged yet.
    pub fn new(config: &Config, metrics: &Metrics, runtime: &Handle) -> Self {
        let numbers = &config.exchange;
        Self {
            key: process_key(),
            pairs: Cache::new(metrics, &config.name, "pairs", numbers.cache_size),
            wrong: Memory::new(WRONG_SIZE),
            wrong_time: numbers.wrong_secret_time,
            guesses: Guesses::new(numbers.guesses_per_address, numbers.guesses_per_client),
            exchanging: Flights::new(runtime.clone()),
        }
    }

    /// Brings the gauge of entries up to date.
    pub fn observe(&self, now: Timestamp) {
        self.pairs.observe(now);
        self.wrong.tidy(now);
    }

    /// The digest under which a pair is remembered. Each part is preceded by its length, so that
    /// no byte can move from one to the next.
    fn digest(&self, strategy: &str, id: &ClientId, secret: &Secret) -> Key {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [strategy, id.as_str(), secret.expose()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut key = Key::default();
        key.copy_from_slice(context.sign().as_ref());
        key
    }
}

/// A key that lives and dies with these memories: a dump of them tells nothing to guess against.
fn process_key() -> hmac::Key {
    match hmac::Key::generate(HMAC_SHA256, &SystemRandom::new()) {
        Ok(key) => key,
        // aws-lc aborts the process itself before it hands out no randomness.
        Err(_) => std::process::abort(),
    }
}

/// Judges a client id and secret for an API: the first of its strategies that exchanges and under
/// which the directory knows the id. An unknown id never reaches an IdP.
///
/// # Errors
/// The [`Denial`] that answers the request.
pub async fn caller(
    api: &Api,
    request: &Request<'_>,
    id: ClientId,
    secret: Secret,
) -> Result<Caller, Denial> {
    let checks = request.checks;
    details::strategy::auth_method(checks, api, Method::ClientCredentials);
    if !api.accepts(Method::ClientCredentials) {
        return Err(Denial::new(
            Code::CredentialsRequired,
            "client_credentials_not_enabled",
        ));
    }
    let found = api.strategies.iter().find_map(|strategy| {
        let exchanges = strategy.config.client_credentials;
        let application = exchanges.then(|| strategy.applications.find(id.as_str()))??;
        Some((strategy, application))
    });
    let strategy = found.as_ref().map(|(strategy, _)| *strategy);
    details::strategy::exchanging(checks, api, strategy, &id);
    let Some((strategy, application)) = found else {
        return Err(Denial::new(Code::InvalidClient, "unknown_client"));
    };
    let refused = |refusal| {
        let mut denial = denial(&refusal).by(strategy, Method::ClientCredentials);
        let known = strategy.preset().cure(denial.reason);
        denial.cure = denial.cure.or(known);
        // The directory knows this id, so the log can say whose request was refused.
        denial.client_id = Some(Box::new(id.clone()));
        denial
    };
    let method = Method::ClientCredentials;
    let key = (strategy.exchanges).digest(&strategy.config.name, &id, &secret);
    let valid_from = application.credentials_valid_from;
    let known = remembered(strategy, request, &id, &secret, &key, valid_from).map_err(refused)?;
    if let Some(verified) = known {
        // Only a token of this very client is remembered (see `judge`), so this is its application.
        let application = Some(application);
        return Ok(Caller::new(strategy, method, verified, application, None));
    }
    let verified = exchange(strategy, request, &id, &secret, key).await;
    // The application may be another by now.
    let verified = verified.map_err(refused)?;
    Ok(authenticate::caller(strategy, method, verified))
}

/// A pair that is remembered and may still be believed, in the state of the application's credentials
/// that began at `valid_from`.
fn kept(
    strategy: &Strategy,
    key: &Key,
    valid_from: Timestamp,
    now: Timestamp,
) -> Option<Arc<Pair>> {
    strategy.exchanges.pairs.find(key, now, |pair| {
        pair.verified.holds(strategy, now) && pair.verified.made >= valid_from
    })
}

/// What is remembered of a pair, in the state of the application's credentials that began at
/// `valid_from`.
fn remembered(
    strategy: &Arc<Strategy>,
    request: &Request<'_>,
    id: &ClientId,
    secret: &Secret,
    key: &Key,
    valid_from: Timestamp,
) -> Result<Option<Arc<Verified>>, Refusal> {
    let now = request.now;
    let Some(pair) = kept(strategy, key, valid_from, now) else {
        return Ok(None);
    };
    details::strategy::remembered(request.checks, strategy);
    (strategy.rules().judge(&pair.verified.facts, now))
        .map_err(|error| misfit(strategy, error.reason()))?;
    if now >= pair.renew_from && !pair.renewing.swap(true, Ordering::Relaxed) {
        renew(
            Arc::clone(strategy),
            pair.clone(),
            *key,
            id.clone(),
            secret.clone(),
        );
    }
    Ok(Some(Arc::clone(&pair.verified)))
}

/// Exchanges a pair of which nothing good is remembered.
async fn exchange(
    strategy: &Arc<Strategy>,
    request: &Request<'_>,
    id: &ClientId,
    secret: &Secret,
    key: Key,
) -> Result<Arc<Verified>, Refusal> {
    strategy.exchanges.pairs.missed();
    loop {
        let asked_at = valid_from(strategy, id);
        let result = exchange_unknown(strategy, request, id, secret, key, asked_at).await;
        // What was found while the credentials changed may be from before, and is asked again.
        if result.is_err() || valid_from(strategy, id) == asked_at {
            return result;
        }
    }
}

/// A pair of which nothing good is known yet, in one state of the application's credentials.
async fn exchange_unknown(
    strategy: &Arc<Strategy>,
    request: &Request<'_>,
    id: &ClientId,
    secret: &Secret,
    key: Key,
    valid_from: Timestamp,
) -> Result<Arc<Verified>, Refusal> {
    let exchanges = &strategy.exchanges;
    let (now, origin) = (request.now, request.origin());
    let known_wrong = || {
        let (wrong_since, cure) = exchanges.wrong.find(&key, now)?;
        (wrong_since == valid_from).then_some(Refusal::Wrong(cure))
    };
    let subject = (id.clone(), valid_from);
    let remembered = known_wrong();
    // What is remembered was counted when it was asked about.
    if remembered.is_none() || request.checks.is_on() {
        let attempts = exchanges.guesses.count(&subject, origin, &key, now);
        details::strategy::attempts(request.checks, attempts.as_ref().err());
        attempts.map_err(Refusal::TooMany)?;
    }
    if let Some(wrong) = remembered {
        request.checks.failed(Check::Remembered, || {
            "the identity provider refused this pair a moment ago".to_owned()
        });
        return Err(wrong);
    }
    let landed = || {
        let pair = kept(strategy, &key, valid_from, now);
        let pair = pair.map(|pair| Ok(Arc::clone(&pair.verified)));
        pair.or_else(|| known_wrong().map(Err))
    };
    let start = {
        let (strategy, id, secret) = (Arc::clone(strategy), id.clone(), secret.clone());
        let checks = request.checks.clone();
        || async move { ask(&strategy, key, &id, &secret, valid_from, &checks).await }
    };
    let flight = (key, valid_from);
    let result = exchanges.exchanging.join(flight, landed, start).await;
    let result = result.unwrap_or_else(|Lost| Err(lost()));
    match &result {
        Err(Refusal::Wrong(_)) => {}
        Ok(_) => {
            exchanges.guesses.forgive(&subject, origin, &key);
            exchanges.guesses.prove(id, origin, &key);
        }
        Err(_) => exchanges.guesses.forgive(&subject, origin, &key),
    }
    result
}

/// Exchanges a pair again while its entry still serves: nobody waits, and an IdP that is down is
/// noticed by nobody before the entry ends.
fn renew(strategy: Arc<Strategy>, pair: Arc<Pair>, key: Key, id: ClientId, secret: Secret) {
    let runtime = strategy.exchanges.exchanging.runtime().clone();
    runtime.spawn(async move {
        let valid_from = valid_from(&strategy, &id);
        let start = {
            let strategy = Arc::clone(&strategy);
            || async move { ask(&strategy, key, &id, &secret, valid_from, Checks::OFF).await }
        };
        let result = strategy
            .exchanges
            .exchanging
            .join((key, valid_from), || None, start)
            .await;
        if !matches!(result, Ok(Ok(_))) {
            pair.renewing.store(false, Ordering::Relaxed);
        }
    });
}

/// Asks the IdP and remembers what it said.
async fn ask(
    strategy: &Strategy,
    key: Key,
    id: &ClientId,
    secret: &Secret,
    valid_from: Timestamp,
    checks: &Checks,
) -> Result<Arc<Verified>, Refusal> {
    let asked = clock::now();
    let exchanges = &strategy.exchanges;
    let (provider, wanted) = (&strategy.provider, strategy.wanted());
    let granted = match grant::exchange(provider, id, secret, &wanted, asked, checks).await {
        Ok(granted) => granted,
        Err(grant::Error::WrongSecret(refused)) => {
            exchanges.pairs.forget(&key);
            let now = clock::now();
            let until = now.plus(exchanges.wrong_time);
            let wrong = (valid_from, refused.cure);
            exchanges.wrong.keep(key, wrong, until, now);
            return Err(Refusal::Wrong(refused.cure));
        }
        Err(grant::Error::Unavailable(unavailable)) => {
            return Err(Refusal::Unavailable(unavailable));
        }
        Err(grant::Error::GrantRefused(refused)) => {
            let problem = format!("the grant is denied: {refused}");
            log(strategy, id, &problem, refused.cure);
            return Err(Refusal::Grant(refused.cure));
        }
        Err(grant::Error::Misconfigured(refused)) => {
            let problem = format!("what is asked for is refused: {refused}");
            log(strategy, id, &problem, refused.cure);
            return Err(Refusal::Misconfigured(
                "token_request_refused",
                refused.cure,
            ));
        }
    };
    let pair = judge(strategy, id, &granted, checks).await;
    let pair = pair.inspect_err(|refusal| {
        if let Refusal::Misconfigured(reason, cure) = refusal {
            let problem = format!("the token that the identity provider issued: {reason}");
            log(strategy, id, &problem, *cure);
        }
    })?;
    let verified = Arc::clone(&pair.verified);
    let until = verified.until;
    if until > asked {
        exchanges.pairs.keep(key, Arc::new(pair), until, asked);
    }
    Ok(verified)
}

/// Judges the token that came back like any other, and sets how long it serves.
async fn judge(
    strategy: &Strategy,
    id: &ClientId,
    granted: &Granted,
    checks: &Checks,
) -> Result<Pair, Refusal> {
    let token = granted.token.as_token();
    let decoded = Decoded::new(token.expose());
    let mut jwt = Jwt::new(&decoded);
    let is_signed = strategy.is_signed(&jwt);
    // An opaque token that nobody introspects cannot be looked into at all.
    let found = if is_signed || strategy.introspects() {
        let found = if is_signed {
            bearer::check_signature(strategy, &mut jwt, granted.asked, checks).await
        } else {
            jwt.put_together();
            bearer::ask(strategy, token, checks).await
        };
        found.map_err(|refusal| match refusal {
            bearer::Refusal::Inactive => misfit(strategy, "issued_token_inactive"),
            bearer::Refusal::Token(error) => misfit(strategy, error.reason()),
            bearer::Refusal::Unavailable(unavailable) => Refusal::Unavailable(unavailable),
            // The IdP itself has just issued it: its key will be told when it may be asked again.
            bearer::Refusal::UnknownKey(wait) => {
                let unknown = Trouble::Unreadable("the key of the issued token is not published");
                Refusal::Unavailable(unknown.after(wait))
            }
            bearer::Refusal::TooMany(_) | bearer::Refusal::Withdrawn => lost(),
        })?
    } else {
        details::strategy::vouched(checks, strategy);
        Arc::new(vouched(strategy, id, granted))
    };
    details::strategy::same_client(checks, strategy, &found.facts.client_id, id);
    if found.facts.client_id != *id {
        return Err(misfit(strategy, "credential_claim_is_not_the_client_id"));
    }
    let asked = granted.asked;
    let told = granted.expires_in.map(|seconds| {
        let seconds = u64::try_from(seconds).unwrap_or(0);
        asked.plus(Duration::from_secs(seconds))
    });
    let ends = told.map_or(found.facts.expires, |told| told.min(found.facts.expires));
    let life = ends.since(asked);
    let until = ends
        .minus(MARGIN.min(life / 5))
        .min(asked.plus(strategy.config.exchange.cache_time));
    let token = strategy.keeps_tokens.then(|| granted.token.clone());
    let verified = Verified::new(found.facts.clone(), found.key, asked, until, token);
    Ok(Pair {
        verified: Arc::new(verified),
        renew_from: until.minus(until.since(asked) / 5),
        renewing: AtomicBool::new(false),
    })
}

/// What an opaque token that nobody introspects stands for: the IdP's own answer is the proof.
fn vouched(strategy: &Strategy, id: &ClientId, granted: &Granted) -> Verified {
    let asked_for = strategy.config.token_request.scope.as_deref();
    let life = granted.expires_in.map_or(UNTOLD_LIFE, |seconds| {
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    });
    let facts = Facts {
        client_id: id.clone(),
        audience: (strategy.config.audience.iter())
            .map(|text| text.as_str().into())
            .collect(),
        scopes: Scopes::parse(granted.scope.as_deref().or(asked_for).unwrap_or("")),
        expires: granted.asked.plus(life),
        not_before: None,
        issued: Some(granted.asked),
        header_claims: vec![None; strategy.config.claim_headers.len()],
    };
    Verified::new(facts, None, granted.asked, granted.asked, None)
}

/// The refusal of a token that the IdP has just issued, for a reason of ours.
fn misfit(strategy: &Strategy, reason: &'static str) -> Refusal {
    Refusal::Misconfigured(reason, strategy.preset().cure(reason))
}

fn lost() -> Refusal {
    Refusal::Unavailable(Trouble::Lost.after(Duration::from_secs(1)))
}

fn log(strategy: &Strategy, id: &ClientId, problem: &str, cure: Cure) {
    tracing::error!(
        strategy = &*strategy.config.name,
        identity_provider = &*strategy.provider.config().name,
        client_id = %id,
        problem,
        cure,
        "client credentials cannot be exchanged"
    );
}

fn denial(refusal: &Refusal) -> Denial {
    let denied = |code, reason, cure: &Cure| Denial {
        cure: *cure,
        ..Denial::new(code, reason)
    };
    match refusal {
        Refusal::Grant(cure) => denied(Code::GrantRefused, "grant_refused", cure),
        Refusal::Misconfigured(reason, cure) => {
            denied(Code::IdentityProviderMisconfigured, reason, cure)
        }
        Refusal::TooMany(wait) => {
            Denial::new(Code::TooManyAttempts, "too_many_guesses").after(*wait)
        }
        Refusal::Unavailable(unavailable) => authenticate::unavailable(unavailable),
        Refusal::Wrong(cure) => denied(Code::InvalidClient, "wrong_secret", cure),
    }
}
