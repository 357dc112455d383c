//! One operation at an IdP: its calls, its waits, and the deadline of all of them together.
//!
//! Always true: a request that may have done something is sent again only where doing it twice is
//! doing it once ([`Safety::Repeatable`]); an answer that says "later" has done nothing, and is
//! waited out for every request. What the IdP says of a refusal is told in one printable line, and
//! never with a secret or token that was sent.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::RequestBuilder;
use url::Url;

use super::{Access, Config, Dialect, Error, Inner, words};
use crate::{
    clock,
    idp::{
        AuthMethod, Provider,
        call::{Answer, Endpoint, Trouble, Unavailable},
        grant,
        vendor::{DEFAULT, Wanted},
    },
    model::{
        credential::{ClientId, Secret},
        time::Timestamp,
    },
    telemetry::checks::Checks,
};

/// First and longest wait before a request is sent again of which nobody said when. An IdP that
/// restarts is back within seconds.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// How long removing a half-made client may take at least.
const UNDOING: Duration = Duration::from_secs(10);

/// How long before its end a management token is used no more.
const SPARE: Duration = Duration::from_secs(30);
/// How long a management token counts whose life is not told.
const LIFE: Duration = Duration::from_secs(60);

/// What sending a request twice does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Safety {
    /// Perhaps two things: a client, a secret.
    Once,
    /// The same as sending it once: a read, a deletion, a full replacement.
    Repeatable,
}

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// A client that was made before: an answer "not found" says that it is gone.
    Client,
    /// The endpoint itself.
    Endpoint,
}

/// The management token that the gateway got last.
#[derive(Debug)]
pub(super) struct Kept {
    token: Secret,
    until: Timestamp,
}

/// One operation and its deadline.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    inner: &'a Inner,
    deadline: Instant,
    /// What was sent that must never be told.
    hidden: Mutex<Vec<Secret>>,
    /// Whether something was sent that may have been done, though nobody heard of it.
    is_in_doubt: AtomicBool,
}

impl<'a> Asking<'a> {
    /// Begins an operation; its deadline runs from now.
    pub(super) fn begin(inner: &'a Inner) -> Self {
        let hidden = match &inner.config.access {
            Access::ApiKey(secret)
            | Access::InitialAccessToken(secret)
            | Access::InitialClient { secret, .. } => vec![secret.clone()],
            Access::Open => Vec::new(),
        };
        Self {
            inner,
            deadline: clock::instant() + inner.config.deadline,
            hidden: Mutex::new(hidden),
            is_in_doubt: AtomicBool::new(false),
        }
    }

    /// The same with some seconds at least: for removing what could not be finished.
    pub(super) fn to_undo(&self) -> Self {
        let hidden = self.hidden.lock().unwrap_or_else(PoisonError::into_inner);
        Self {
            inner: self.inner,
            deadline: self.deadline.max(clock::instant() + UNDOING),
            hidden: Mutex::new(hidden.clone()),
            is_in_doubt: AtomicBool::new(false),
        }
    }

    /// The error of a whole operation: where nothing was sent that could have changed anything, it
    /// says so.
    pub(super) fn settled(&self, error: Error) -> Error {
        match error {
            Error::Unavailable(trouble) if !self.is_in_doubt.load(Ordering::Relaxed) => {
                Error::Untouched(trouble)
            }
            other => other,
        }
    }

    /// Whether a client belongs to somebody already.
    pub(super) fn is_of_somebody_else(&self, client_id: &ClientId) -> bool {
        (self.inner.others.0)(client_id)
    }

    /// How registrations are done.
    pub(super) fn config(&self) -> &'a Config {
        &self.inner.config
    }

    /// The IdP.
    pub(super) fn provider(&self) -> &'a Provider {
        &self.inner.provider
    }

    /// For building requests; they are sent with [`Asking::send`].
    pub(super) fn http(&self) -> &'a reqwest::Client {
        &self.provider().caller().http
    }

    /// Sees to it that a secret or token that is about to be sent is told to nobody.
    pub(super) fn hide(&self, secret: &Secret) {
        let mut hidden = self.hidden.lock().unwrap_or_else(PoisonError::into_inner);
        if !hidden.contains(secret) {
            hidden.push(secret.clone());
        }
    }

    /// Sends what `make` makes, again and again as far as `safety` allows, and reads the whole
    /// answer, whatever its status below 500. `what` names the step in the log.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the deadline came before an answer, or would come during the
    /// next wait.
    pub(super) async fn send(
        &self,
        what: &'static str,
        safety: Safety,
        make: impl Fn() -> RequestBuilder,
    ) -> Result<Answer, Error> {
        let mut pause = PAUSE.0;
        loop {
            match self.attempt(make()).await {
                Ok(answer) => return Ok(answer),
                Err(trouble) => self.pause(what, safety, trouble, &mut pause).await?,
            }
        }
    }

    /// As [`Asking::send`] of a request that carries the management token, which is another one
    /// for each attempt where it is good once. One that was kept and is good no more is replaced,
    /// once.
    ///
    /// # Errors
    /// As [`Asking::send`] and [`Asking::token`].
    pub(super) async fn send_with_token(
        &self,
        what: &'static str,
        safety: Safety,
        make: impl Fn(&Secret) -> RequestBuilder,
    ) -> Result<Answer, Error> {
        let mut pause = PAUSE.0;
        let mut is_second = false;
        loop {
            let token = self.token().await?;
            match self.attempt(make(&token)).await {
                Ok(answer)
                    if answer.status == reqwest::StatusCode::UNAUTHORIZED
                        && !is_second
                        && self.forget(&token).await =>
                {
                    is_second = true;
                }
                Ok(answer) => return Ok(answer),
                Err(trouble) => self.pause(what, safety, trouble, &mut pause).await?,
            }
        }
    }

    /// Waits for something that takes its time at the IdP.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the deadline would come first; nothing was waited for then.
    pub(super) async fn wait(&self, what: &'static str, pause: Duration) -> Result<(), Error> {
        self.sleep(what, pause, Trouble::Deadline.after(pause))
            .await
    }

    /// The token with which the gateway manages clients: the initial access token as it stands, or
    /// one that the initial client gets by client credentials. That one is kept until shortly
    /// before its end, but where it is good once.
    ///
    /// # Errors
    /// [`Error::Access`] where the IdP refuses the initial client; [`Error::Impossible`] where
    /// there is nothing to get a token with.
    pub(super) async fn token(&self) -> Result<Secret, Error> {
        let (id, secret) = match &self.config().access {
            Access::InitialAccessToken(token) => return Ok(token.clone()),
            Access::InitialClient { id, secret, .. } => (id, secret),
            Access::ApiKey(_) | Access::Open => {
                return Err(Error::Impossible(
                    "a call that needs a token (no initial access token or client is configured)",
                ));
            }
        };
        if self.config().dialect == Dialect::Curity {
            return Ok(self.new_token(id, secret, self.wanted()?).await?.token);
        }
        // Who comes second waits for what the first one gets.
        let mut kept = self.inner.token.lock().await;
        if let Some(kept) = &*kept
            && clock::now() < kept.until
        {
            self.hide(&kept.token);
            return Ok(kept.token.clone());
        }
        let fresh = self.new_token(id, secret, self.wanted()?).await?;
        let token = fresh.token.clone();
        *kept = Some(fresh);
        Ok(token)
    }

    /// A token of the initial client's with this scope, kept by nobody.
    ///
    /// # Errors
    /// As [`Asking::token`].
    pub(super) async fn token_for(&self, scope: &str) -> Result<Secret, Error> {
        let Access::InitialClient { id, secret, .. } = &self.config().access else {
            return Err(Error::Impossible(
                "managing a client without an initial client",
            ));
        };
        let (_, audience) = self.wanted()?;
        let wanted = (Some(scope.to_owned()), audience);
        Ok(self.new_token(id, secret, wanted).await?.token)
    }

    /// Where registrations go: as configured, or as the metadata names it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the metadata was not read, or names no such endpoint.
    pub(super) async fn registration_endpoint(&self) -> Result<Url, Error> {
        if let Some(endpoint) = &self.config().endpoint {
            return Ok(endpoint.clone());
        }
        let found = self.provider().registration_endpoint();
        Ok(self.before_the_deadline(found).await?)
    }

    /// How clients send their pair to the token endpoint.
    ///
    /// # Errors
    /// [`Error::Unavailable`] where the metadata was not read.
    pub(super) async fn token_auth(&self) -> Result<AuthMethod, Error> {
        if let Some(method) = self.provider().config().token_endpoint_auth_method {
            return Ok(method);
        }
        let metadata = self.before_the_deadline(self.provider().metadata()).await?;
        Ok(self.provider().token_auth(&metadata))
    }

    /// Where a vendor's management API is: as configured, or at the issuer's own host; with a final
    /// slash, so that paths can be joined to it.
    ///
    /// # Errors
    /// [`Error::Impossible`] where the issuer is no URL.
    pub(super) fn base(&self) -> Result<Url, Error> {
        let configured = self.config().endpoint.clone();
        let base = configured.or_else(|| {
            let mut issuer = Url::parse(&self.provider().config().issuer).ok()?;
            issuer.set_path("/");
            issuer.set_query(None);
            Some(issuer)
        });
        let mut base = base.ok_or(Error::Impossible("finding the management API"))?;
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(base)
    }

    /// What a refusal means, and what the IdP says to it. Knows the shapes of RFC 7591 and RFC 6749
    /// (`error`, `error_description`), Okta (`errorCode`, `errorSummary`, `errorCauses`), Auth0
    /// (`statusCode`, `error`, `message`, `errorCode`), Microsoft Graph (`error.code`,
    /// `error.message`) and RFC 9457.
    pub(super) fn refused(&self, answer: &Answer, subject: Subject) -> Error {
        let told = self.told(answer);
        match (answer.status.as_u16(), subject) {
            (401 | 403, _) => Error::Access(told),
            (404 | 410, Subject::Client) => Error::Gone,
            _ => Error::Refused(told),
        }
    }

    /// Status and words of an answer, in one printable line without what was sent in secret.
    pub(super) fn told(&self, answer: &Answer) -> String {
        let hidden = self.hidden.lock().unwrap_or_else(PoisonError::into_inner);
        words::told(answer, &hidden)
    }

    async fn attempt(&self, request: RequestBuilder) -> Result<Answer, Unavailable> {
        let caller = self.provider().caller();
        let sent = caller.send(Endpoint::Registration, request);
        self.before_the_deadline(sent).await
    }

    /// Forgets the management token if it is this one; whether it was kept, so that another one can
    /// be got.
    async fn forget(&self, token: &Secret) -> bool {
        let mut kept = self.inner.token.lock().await;
        let is_kept = kept.as_ref().is_some_and(|kept| kept.token == *token);
        let is_replaced = kept.is_some() && !is_kept;
        if is_kept {
            *kept = None;
        }
        is_kept || is_replaced
    }

    /// Gets a token by client credentials.
    async fn new_token(
        &self,
        id: &ClientId,
        secret: &Secret,
        (scope, audience): (Option<String>, Option<String>),
    ) -> Result<Kept, Error> {
        let wanted = Wanted {
            scope: scope.as_deref(),
            audience: audience.as_deref(),
            parameters: &[],
            api: None,
        };
        let mut pause = PAUSE.0;
        let granted = loop {
            let asked = clock::now();
            let exchange =
                grant::exchange(self.provider(), id, secret, &wanted, asked, Checks::OFF);
            let exchanged = tokio::time::timeout(self.left(), exchange).await;
            match exchanged.unwrap_or_else(|_| Err(out_of_time().into())) {
                Ok(granted) => break granted,
                Err(grant::Error::Unavailable(trouble)) => {
                    self.pause("token", Safety::Repeatable, trouble, &mut pause)
                        .await?;
                }
                Err(
                    grant::Error::GrantRefused(refused)
                    | grant::Error::Misconfigured(refused)
                    | grant::Error::WrongSecret(refused),
                ) => {
                    let cure = refused.cure.map(|cure| format!(": {cure}"));
                    let told = refused.told;
                    return Err(Error::Access(format!(
                        "the token endpoint answered the initial client with {told}{}",
                        cure.unwrap_or_default()
                    )));
                }
            }
        };
        self.hide(&granted.token);
        let told = granted.expires_in.and_then(|life| u64::try_from(life).ok());
        let life = told.map_or(LIFE, Duration::from_secs);
        Ok(Kept {
            until: granted.asked.plus(life.saturating_sub(SPARE)),
            token: granted.token,
        })
    }

    /// Scope and audience that the initial client asks for: as configured, else as the vendor
    /// documents.
    fn wanted(&self) -> Result<(Option<String>, Option<String>), Error> {
        let Access::InitialClient {
            scope, audience, ..
        } = &self.config().access
        else {
            return Ok((None, None));
        };
        let (mut scope, mut audience) = (scope.clone(), audience.clone());
        match self.config().dialect {
            Dialect::Auth0 if audience.is_none() => {
                audience = Some(self.base()?.origin().ascii_serialization() + "/api/v2/");
            }
            Dialect::Azure if scope.is_none() => {
                let endpoint = self.config().endpoint.as_ref();
                let graph = endpoint.map_or_else(
                    || "https://graph.microsoft.com".to_owned(),
                    |endpoint| endpoint.origin().ascii_serialization(),
                );
                scope = Some(format!("{graph}{DEFAULT}"));
            }
            Dialect::Curity if scope.is_none() => scope = Some("dcr".to_owned()),
            _ => {}
        }
        Ok((scope, audience))
    }

    /// Waits as a call that did not work asks for, or gives it up.
    async fn pause(
        &self,
        what: &'static str,
        safety: Safety,
        trouble: Unavailable,
        pause: &mut Duration,
    ) -> Result<(), Error> {
        let wait = match &trouble.kind {
            // Nothing was sent, or nothing was done with it.
            Trouble::Busy | Trouble::Paused | Trouble::Status(429) => trouble.retry_after,
            Trouble::Status(503) if trouble.is_told => trouble.retry_after,
            Trouble::Lost
            | Trouble::Status(_)
            | Trouble::TimedOut
            | Trouble::Transport(_)
            | Trouble::Unreached(_)
            | Trouble::Unreadable(_)
                if safety == Safety::Repeatable =>
            {
                let wait = *pause;
                *pause = (wait * 2).min(PAUSE.1);
                wait
            }
            kind => {
                let is_sent = !matches!(
                    kind,
                    Trouble::NoMetadata(_) | Trouble::UnknownAddress(_) | Trouble::Unreached(_)
                );
                if safety == Safety::Once && is_sent {
                    self.is_in_doubt.store(true, Ordering::Relaxed);
                }
                return Err(trouble.into());
            }
        };
        self.sleep(what, wait, trouble).await
    }

    async fn sleep(
        &self,
        what: &'static str,
        pause: Duration,
        trouble: Unavailable,
    ) -> Result<(), Error> {
        if pause >= self.left() {
            return Err(trouble.into());
        }
        tracing::info!(
            identity_provider = &*self.provider().config().name,
            step = what,
            seconds = pause.as_secs_f64(),
            reason = trouble.kind.reason(),
            "waiting for the identity provider"
        );
        tokio::time::sleep(pause).await;
        Ok(())
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(clock::instant())
    }

    async fn before_the_deadline<T>(
        &self,
        call: impl Future<Output = Result<T, Unavailable>>,
    ) -> Result<T, Unavailable> {
        tokio::time::timeout(self.left(), call)
            .await
            .unwrap_or_else(|_| Err(out_of_time()))
    }
}

fn out_of_time() -> Unavailable {
    Trouble::TimedOut.after(Duration::from_secs(1))
}
