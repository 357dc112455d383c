//! Signing people in at an identity provider: the authorization code flow with PKCE (RFC 6749 section
//! 4.1, RFC 7636, OpenID Connect Core 1.0 section 3.1).

use std::{pin::Pin, time::Duration};

use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientSecret, CsrfToken, ExtraTokenFields, HttpRequest,
    HttpResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError, Scope,
    StandardRevocableToken, StandardTokenResponse, TokenResponse as _, TokenUrl,
    basic::{
        BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
        BasicTokenType,
    },
};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    AuthMethod, Provider,
    call::{Endpoint, Trouble, Unavailable},
    keys::Newer,
};
use crate::{
    clock,
    model::credential::{ClientId, Secret},
    token::{
        self,
        id_token::{self, Expected, Person, Refused},
    },
};

/// What is asked about a person.
const SCOPES: [&str; 3] = ["openid", "email", "profile"];

/// The portal's own client at an identity provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its id.
    pub id: ClientId,
    /// Its secret.
    pub secret: Secret,
    /// Where browsers come back to, as it is registered there.
    pub redirect_uri: Url,
}

/// Why nobody was signed in.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The provider answered for somebody else's browser, or is another one (RFC 9207).
    #[error("the answer is not for this browser")]
    Foreign,
    /// The provider, or the person there, said no; RFC 6749's word for it, cut to what it may be.
    #[error("the identity provider said no: {0}")]
    Denied(String),
    /// What the provider said of the person cannot be believed.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The provider does not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The token endpoint refuses the code or the client.
    #[error("the token endpoint refused: {0}")]
    Token(String),
}

/// A sign-in under way: what the browser keeps until it comes back, and nobody else has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    state: String,
    nonce: String,
    verifier: Secret,
}

/// What the browser brings back from the provider (RFC 6749 section 4.1.2, RFC 9207 section 2).
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// `state`.
    pub state: String,
    /// `code`.
    pub code: Option<String>,
    /// `error`.
    pub error: Option<String>,
    /// `iss`.
    pub issuer: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct IdToken {
    id_token: Option<String>,
}

impl ExtraTokenFields for IdToken {}

type Tokens = StandardTokenResponse<IdToken, BasicTokenType>;
type Oauth = oauth2::Client<
    BasicErrorResponse,
    Tokens,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
>;

impl Pending {
    /// As a cookie holds it.
    pub fn to_text(&self) -> Secret {
        let Self {
            state,
            nonce,
            verifier,
        } = self;
        Secret::new(format!("{state}.{nonce}.{}", verifier.expose()))
    }

    /// What a cookie holds; `None` where it is none.
    pub fn of(text: &Secret) -> Option<Self> {
        let mut parts = text.expose().split('.');
        let mut part = || parts.next().filter(|part| !part.is_empty());
        let pending = Self {
            state: part()?.to_owned(),
            nonce: part()?.to_owned(),
            verifier: Secret::new(part()?),
        };
        parts.next().is_none().then_some(pending)
    }
}

impl Provider {
    /// Begins a sign-in: where to send the browser, and what it keeps.
    ///
    /// # Errors
    /// [`Unavailable`] where the provider has not told its addresses.
    pub async fn begin_sign_in(&self, client: &Client) -> Result<(Url, Pending), Unavailable> {
        let metadata = self.metadata().await?;
        let place = metadata.authorization_endpoint.clone();
        let place = place.ok_or(unknown(Endpoint::Authorization))?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let nonce = CsrfToken::new_random();
        let oauth = Oauth::new(oauth2::ClientId::new(client.id.as_str().to_owned()))
            .set_auth_uri(AuthUrl::from_url(place))
            .set_redirect_uri(RedirectUrl::from_url(client.redirect_uri.clone()));
        let (url, state) = oauth
            .authorize_url(CsrfToken::new_random)
            .add_scopes(SCOPES.map(|scope| Scope::new(scope.to_owned())))
            .add_extra_param("nonce", nonce.secret())
            .set_pkce_challenge(challenge)
            .url();
        let pending = Pending {
            state: state.into_secret(),
            nonce: nonce.into_secret(),
            verifier: Secret::new(verifier.into_secret()),
        };
        Ok((url, pending))
    }

    /// Ends a sign-in: who it is.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn end_sign_in(
        &self,
        client: &Client,
        pending: Pending,
        answer: Answer,
    ) -> Result<Person, Error> {
        let metadata = self.metadata().await?;
        let issuers = self.issuers();
        let is_ours = match &answer.issuer {
            Some(issuer) => issuers.contains(issuer),
            None => !metadata.names_issuer,
        };
        if answer.state != pending.state || !is_ours {
            return Err(Error::Foreign);
        }
        let code = match (answer.error, answer.code) {
            (None, Some(code)) => code,
            (error, _) => return Err(Error::Denied(word(error))),
        };
        let tokens = self.redeem(client, code, pending.verifier).await?;
        let token = tokens.extra_fields().id_token.as_deref();
        let token = token.ok_or_else(|| Error::Token("no ID token".to_owned()))?;
        let expected = Expected {
            issuers: &issuers,
            client_id: client.id.as_str(),
            nonce: &pending.nonce,
        };
        let person = self.verified(token, &expected).await?;
        if person.email.is_some() {
            return Ok(person);
        }
        let access = Secret::new(tokens.access_token().secret().as_str());
        Ok(self.ask_about(&person, &access).await?.unwrap_or(person))
    }

    async fn redeem(
        &self,
        client: &Client,
        code: String,
        verifier: Secret,
    ) -> Result<Tokens, Error> {
        let metadata = self.metadata().await?;
        let place = self.address(&metadata, Endpoint::Token)?;
        let way = match self.token_auth(&metadata) {
            AuthMethod::BasicRaw | AuthMethod::ClientSecretBasic => AuthType::BasicAuth,
            AuthMethod::ClientSecretPost => AuthType::RequestBody,
        };
        let oauth = Oauth::new(oauth2::ClientId::new(client.id.as_str().to_owned()))
            .set_client_secret(ClientSecret::new(client.secret.expose().to_owned()))
            .set_auth_type(way)
            .set_token_uri(TokenUrl::from_url(place))
            .set_redirect_uri(RedirectUrl::from_url(client.redirect_uri.clone()));
        let provider = self.clone();
        let send = move |request| {
            let provider = provider.clone();
            async move { provider.pass(request).await }
        };
        let request = oauth
            .exchange_code(AuthorizationCode::new(code))
            .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose().to_owned()));
        // The compiler sees only here, where all lifetimes are known, that threads may share it.
        let answered: Pin<Box<dyn Future<Output = _> + Send + '_>> =
            Box::pin(request.request_async(&send));
        answered.await.map_err(|error| match error {
            RequestTokenError::Request(unavailable) => unavailable.into(),
            RequestTokenError::ServerResponse(told) => {
                Error::Token(word(Some(told.error().to_string())))
            }
            // What it said may hold a token.
            RequestTokenError::Parse(..) | RequestTokenError::Other(_) => {
                Error::Token("an unreadable answer".to_owned())
            }
        })
    }

    /// Sends what the library has made, as everything else is sent.
    async fn pass(&self, request: HttpRequest) -> Result<HttpResponse, Unavailable> {
        let unusable = || Trouble::Unreadable("the request cannot be sent").after(RETRY);
        let (head, body) = request.into_parts();
        let place = Url::parse(&head.uri.to_string()).map_err(|_| unusable())?;
        let http = &self.caller().http;
        let request = http.request(head.method, place).headers(head.headers);
        let answer = self
            .caller()
            .send(Endpoint::Token, request.body(body))
            .await?;
        let mut response = HttpResponse::new(answer.body);
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }

    async fn verified(&self, token: &str, expected: &Expected<'_>) -> Result<Person, Error> {
        let now = clock::now();
        let keys = self.first_keys(now).await?;
        match id_token::verify(token, &keys.set, expected, now) {
            Err(Refused::Token(token::Error::UnknownKey)) => {}
            judged => return Ok(judged?),
        }
        match self.newer_keys(&keys).await? {
            Newer::Keys(keys) => Ok(id_token::verify(token, &keys.set, expected, now)?),
            Newer::NotYet(_) => Err(Refused::Token(token::Error::UnknownKey).into()),
        }
    }

    /// Asks the user-info endpoint, where there is one, for what the ID token did not say.
    async fn ask_about(
        &self,
        person: &Person,
        access: &Secret,
    ) -> Result<Option<Person>, Unavailable> {
        let metadata = self.metadata().await?;
        let Some(place) = metadata.userinfo_endpoint.clone() else {
            return Ok(None);
        };
        let request = self.caller().http.get(place).bearer_auth(access.expose());
        let answer = self.caller().send(Endpoint::Userinfo, request).await?;
        Ok(match answer.status.is_success() {
            true => id_token::more(person, &answer.body),
            false => None,
        })
    }
}

/// When to ask again for what should be there.
const RETRY: Duration = Duration::from_secs(10);

const fn unknown(endpoint: Endpoint) -> Unavailable {
    Trouble::UnknownAddress(endpoint).after(RETRY)
}

/// What a provider calls a failure, as far as it can stand in a log.
fn word(error: Option<String>) -> String {
    let error = error.unwrap_or_else(|| "no code".to_owned());
    let legal = |c: &char| c.is_ascii_graphic() || *c == ' ';
    error.chars().filter(legal).take(100).collect()
}
