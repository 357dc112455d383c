//! An IdP's key set: fetched before traffic and in the background, again for a key that is not
//! known, and kept while the IdP is down.
//!
//! Always true: one fetch in flight, and one in `unknown_kid_interval` for keys that requests
//! miss, failed ones counted too; a fetch that fails takes no key away.

use std::{
    sync::{Arc, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use http::{HeaderMap, header};

use super::{
    Inner, Provider,
    call::{Endpoint, Trouble, Unavailable},
    discovery,
};
use crate::{clock, model::time::Timestamp, token::jwk::KeySet};

/// Bounds for what an IdP's cache headers say (design section 3.2).
const FRESH: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3600));
/// How long metadata is believed. Endpoints move rarely, and a failed key fetch reads it anew too.
const METADATA_TIME: Duration = Duration::from_secs(3600);
/// Pause after the first failure; it doubles up to `unknown_kid_interval`.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// One fetched key set.
#[derive(Debug, Default)]
pub struct Keys {
    /// The keys.
    pub set: KeySet,
    /// When the fetch that brought them began: a token made later may be signed by a newer key.
    pub fetched: Timestamp,
}

/// What asking for a key that is not known came to.
#[derive(Debug)]
pub enum Newer {
    /// A set fetched since.
    Keys(Arc<Keys>),
    /// The IdP was asked already; it may be asked again after this time.
    NotYet(Duration),
}

/// A fetch, good or bad.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    began: Instant,
    failed: Option<Unavailable>,
}

/// The last fetches of one provider.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    last: Option<Attempt>,
    /// The last one for an unknown key.
    unknown_key: Option<Attempt>,
}

impl Provider {
    /// The keys in use; `None` before the first good fetch and when the last is `max_stale` ago.
    pub fn keys(&self, now: Timestamp) -> Option<Arc<Keys>> {
        let keys = self.0.keys.load();
        let keys = keys.as_ref()?;
        (now.since(keys.fetched) <= self.0.config.jwks.max_stale).then(|| Arc::clone(keys))
    }

    /// Waits for the first keys where they are being fetched just now.
    ///
    /// # Errors
    /// [`Unavailable`] where there are none to be had.
    pub async fn first_keys(&self, now: Timestamp) -> Result<Arc<Keys>, Unavailable> {
        if let Some(keys) = self.keys(now) {
            return Ok(keys);
        }
        self.first_load().await?;
        self.keys(clock::now())
            .ok_or(Trouble::UnknownAddress(Endpoint::Jwks).after(FIRST_RETRY))
    }

    /// Keys newer than `seen`, for a token whose key is not among those.
    ///
    /// Anybody can name a key that does not exist, so the IdP is asked once in
    /// `unknown_kid_interval` only. The fetches of the background do not count: a key that comes
    /// right after one must not wait.
    ///
    /// # Errors
    /// [`Unavailable`] where the IdP could not be asked.
    pub async fn newer_keys(&self, seen: &Keys) -> Result<Newer, Unavailable> {
        // Read before the keys: keys that arrive between the two would be taken for not there yet.
        let last = self.last_refetch();
        // Compared by identity: two fetches may share a millisecond, and clocks are set back.
        let is_newer = |keys: &Arc<Keys>| !std::ptr::eq(&**keys, seen);
        if let Some(keys) = self.keys(clock::now()).filter(is_newer) {
            return Ok(Newer::Keys(keys));
        }
        let interval = self.0.config.jwks.unknown_kid_interval;
        if let Some(last) = last {
            let wait = (last.began + interval).saturating_duration_since(clock::instant());
            if !wait.is_zero() {
                return match last.failed {
                    Some(failed) => Err(Unavailable {
                        retry_after: wait,
                        ..failed
                    }),
                    None => Ok(Newer::NotYet(wait)),
                };
            }
        }
        self.fetch(Demand::UnknownKey).await?;
        let newer = self.keys(clock::now()).filter(is_newer);
        Ok(newer.map_or(Newer::NotYet(interval), Newer::Keys))
    }

    /// Waits for metadata and keys where nothing was loaded yet and a load is under way.
    pub(super) async fn first_load(&self) -> Result<(), Unavailable> {
        match self.attempt().and_then(|attempt| attempt.failed) {
            Some(failed) => Err(failed),
            None => self.fetch(Demand::FirstLoad).await,
        }
    }

    /// Waits until the IdP was asked at least once, with whatever result: before that the gateway
    /// is not ready.
    pub async fn asked(&self) {
        if !self.was_asked() {
            // What came of it is told where it is needed.
            let _ = self.first_load().await;
        }
    }

    /// Whether the IdP was asked at least once, with whatever result.
    pub fn was_asked(&self) -> bool {
        self.attempt().is_some()
    }

    fn attempt(&self) -> Option<Attempt> {
        self.attempts().last.clone()
    }

    fn last_refetch(&self) -> Option<Attempt> {
        self.attempts().unknown_key.clone()
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.0
            .attempts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches, or joins the fetch in flight.
    async fn fetch(&self, demand: Demand) -> Result<(), Unavailable> {
        let interval = self.0.config.jwks.unknown_kid_interval;
        let landed = || {
            let attempts = self.attempts();
            let attempt = match demand {
                Demand::FirstLoad => attempts.last.clone()?,
                Demand::Schedule => return None,
                Demand::UnknownKey => {
                    let last = attempts.unknown_key.clone()?;
                    (last.began + interval > clock::instant()).then_some(last)?
                }
            };
            Some(attempt.failed.map_or(Ok(()), Err))
        };
        let provider = self.clone();
        let start = || async move {
            let began = clock::instant();
            let result = provider.fetch_now().await;
            let attempt = Attempt {
                began,
                failed: result.clone().err(),
            };
            let mut attempts = provider.attempts();
            if matches!(demand, Demand::UnknownKey) {
                attempts.unknown_key = Some(attempt.clone());
            }
            attempts.last = Some(attempt);
            result
        };
        let joined = self.0.fetches.join((), landed, start).await;
        joined.unwrap_or(Err(Trouble::Lost.after(FIRST_RETRY)))
    }

    async fn fetch_now(&self) -> Result<(), Unavailable> {
        let inner = &self.0;
        let known = inner.metadata.load_full();
        let now = clock::now();
        let stale = known
            .as_ref()
            .is_none_or(|known| now.since(known.read) >= METADATA_TIME);
        let metadata = match known {
            Some(known) if !stale => known,
            known => match discovery::read(&inner.config, &inner.caller, now).await {
                Ok(read) => match &known {
                    // A place that is down for a moment must not take its endpoints along.
                    Some(known) if read.is_partial() => self.learn(read.or(known)),
                    _ => self.learn(read),
                },
                // What was true an hour ago is better than nothing.
                Err(unavailable) => known.ok_or(unavailable)?,
            },
        };
        let keys = metadata.jwks_uri.clone().filter(|_| inner.reads_keys);
        let Some(uri) = keys else {
            // An IdP of opaque tokens only has no keys; that is no fault.
            inner.next.store(Some(Arc::new(METADATA_TIME)));
            return Ok(());
        };
        let result = self.fetch_keys(uri).await;
        if result.is_err() {
            // The keys may have moved: ask for their address again next time.
            let aged = discovery::Metadata {
                read: Timestamp::default(),
                ..(*metadata).clone()
            };
            inner.metadata.store(Some(Arc::new(aged)));
        }
        result
    }

    async fn fetch_keys(&self, uri: url::Url) -> Result<(), Unavailable> {
        let inner = &self.0;
        let fetched = clock::now();
        let place = uri.clone();
        let request = inner
            .caller
            .http
            .get(uri)
            .header(header::ACCEPT, "application/json");
        let answer = inner.caller.send(Endpoint::Jwks, request).await?;
        let found = match answer.status.is_success() {
            true => KeySet::parse(&answer.body)
                .map_err(|_| Trouble::Unreadable("it is no JSON Web Key Set")),
            false => Err(Trouble::Status(answer.status.as_u16())),
        };
        let set = found.map_err(|trouble| {
            tracing::error!(
                identity_provider = &*inner.config.name,
                jwks_uri = %place,
                error = %trouble,
                "the key set cannot be read"
            );
            trouble.after(FIRST_RETRY)
        })?;
        let refresh = fresh_for(&answer.headers).unwrap_or(inner.config.jwks.refresh);
        inner.next.store(Some(Arc::new(refresh)));
        tracing::debug!(
            identity_provider = &*inner.config.name,
            keys = set.len(),
            skipped = set.skipped(),
            "fetched the key set"
        );
        if set.is_empty() {
            tracing::warn!(
                identity_provider = &*inner.config.name,
                skipped = set.skipped(),
                "the key set holds no key that can verify a token"
            );
        }
        inner.keys.store(Some(Arc::new(Keys { set, fetched })));
        Ok(())
    }
}

/// Why a fetch is asked for.
#[derive(Clone, Copy, Debug)]
enum Demand {
    FirstLoad,
    Schedule,
    UnknownKey,
}

/// Keeps metadata and keys fresh for as long as anybody holds the provider.
pub(super) async fn refresh(provider: Weak<Inner>) {
    let mut retry = FIRST_RETRY;
    loop {
        let pause = {
            let Some(inner) = provider.upgrade() else {
                return;
            };
            let provider = Provider(inner);
            let longest = provider.0.config.jwks.unknown_kid_interval.max(FIRST_RETRY);
            match provider.fetch(Demand::Schedule).await {
                Ok(()) if provider.knows_issuer() => {
                    retry = FIRST_RETRY;
                    let next = provider.0.next.load();
                    next.as_deref()
                        .copied()
                        .unwrap_or(provider.0.config.jwks.refresh)
                }
                // Keys are of no use to tokens whose issuer is still to be told.
                Ok(()) | Err(_) => {
                    let pause = retry;
                    retry = (retry * 2).min(longest);
                    pause
                }
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// How long an answer says it stays fresh (RFC 9111 section 5.2.2.1), within bounds: Auth0's 15 s
/// must not become a storm, nor Okta's 44 days keep a withdrawn key.
fn fresh_for(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::CACHE_CONTROL)?.to_str().ok()?;
    let directive = |name: &str| {
        text.split(',').map(str::trim).find_map(|directive| {
            let (key, value) = directive.split_once('=').unwrap_or((directive, ""));
            key.eq_ignore_ascii_case(name)
                .then_some(value.trim_matches('"'))
        })
    };
    let seconds = directive("max-age")?.parse().ok()?;
    Some(Duration::from_secs(seconds).clamp(FRESH.0, FRESH.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn max_age_says_how_long_keys_stay_fresh_within_bounds() {
        for (value, expected) in [
            ("public, max-age=15, stale-while-revalidate=15", Some(60)),
            ("max-age=600", Some(600)),
            ("Max-Age=\"3832304\", must-revalidate", Some(3_600)),
            ("max-age=86400, private", Some(3_600)),
            ("no-cache", None),
            ("max-age=soon", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CACHE_CONTROL, value.parse().unwrap());
            assert_eq!(
                fresh_for(&headers),
                expected.map(Duration::from_secs),
                "{value:?}"
            );
        }
    }
}
