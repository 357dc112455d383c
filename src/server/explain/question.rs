//! The request to explain, made of the command line as a client would have sent it.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, Request, header, request::Parts};

use super::credential::{self, Presented};
use crate::proxy::{
    api::{Access, Api},
    hop::Scheme,
    state::State,
};

/// Stands for any host. No route lists it: the name is reserved for being nobody's (RFC 6761).
const ANY_HOST: &str = "any-host.invalid";

/// Fields that bring credentials, and the one that the URL gives.
const REFUSED: [HeaderName; 4] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::HOST,
    header::PROXY_AUTHORIZATION,
];

/// Why there is no request.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The credential is no line.
    #[error(transparent)]
    Credential(#[from] credential::Error),
    /// A `--header` cannot be used. What stands there may be a secret.
    #[error(
        "--header: expected NAME:VALUE; not Host, which --url gives, and no credential, which is \
         read from standard input (-) or a file (@FILE)"
    )]
    Header,
    /// The method is none.
    #[error("--method: expected a method, as in GET")]
    Method,
    /// There is nothing to ask about.
    #[error("no credential, and no --url: expected one of them, or both")]
    Nothing,
    /// Every API is public.
    #[error("every API is public, and no credential is read there; give --url to see its route")]
    Public,
    /// The URL cannot be used. It may hold a password.
    #[error(
        "--url: expected http://HOST/PATH, https://HOST/PATH or /PATH, without a name or password \
         before the host"
    )]
    Url,
}

/// What the command line asks about.
#[derive(Debug)]
pub(super) struct Asked {
    url: Option<Place>,
    method: Option<Method>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// One request to explain.
#[derive(Debug)]
pub(super) struct Question {
    /// The method.
    pub(super) method: Method,
    /// What is asked for, without its query.
    pub(super) url: String,
    /// The kind of credential.
    pub(super) credential: &'static str,
    /// The head.
    pub(super) request: Parts,
    /// What stands in its first line.
    pub(super) target: Vec<u8>,
    /// Of the listener.
    pub(super) scheme: Scheme,
}

/// What a URL says. The path stays as it is written: to read it is what is to be explained.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    scheme: Option<Scheme>,
    host: Option<String>,
    target: String,
}

impl Place {
    fn parse(url: &str) -> Option<Self> {
        // A client never sends what follows the `#`.
        let url = url.split('#').next().unwrap_or_default();
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => {
                (Some(Scheme::Http), rest)
            }
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => {
                (Some(Scheme::Https), rest)
            }
            _ if url.starts_with('/') => (None, url),
            _ => return None,
        };
        let (host, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if scheme.is_some() == host.is_empty() || host.contains('@') {
            return None;
        }
        let target = match target.starts_with('/') {
            true => target.to_owned(),
            false => format!("/{target}"),
        };
        Some(Self {
            scheme,
            host: scheme.map(|_| host.to_owned()),
            target,
        })
    }
}

impl Asked {
    /// Reads the command line.
    ///
    /// # Errors
    /// See [`Error`]; none repeats what stands there.
    pub(super) fn read(
        url: Option<&str>,
        method: Option<&str>,
        headers: &[String],
    ) -> Result<Self, Error> {
        let header = |text: &String| {
            let (name, value) = text.split_once(':')?;
            let name = HeaderName::try_from(name.trim()).ok()?;
            let value = HeaderValue::try_from(value.trim()).ok()?;
            (!REFUSED.contains(&name)).then_some((name, value))
        };
        let headers = headers.iter().map(|text| header(text).ok_or(Error::Header));
        Ok(Self {
            url: url
                .map(|url| Place::parse(url).ok_or(Error::Url))
                .transpose()?,
            method: method
                .map(|method| method.parse().map_err(|_| Error::Method))
                .transpose()?,
            headers: headers.collect::<Result<_, _>>()?,
        })
    }

    /// The requests that are asked about: one, or one for each API that is not public.
    ///
    /// # Errors
    /// See [`Error`].
    pub(super) fn questions(
        &self,
        state: &State,
        presented: Option<&Presented>,
    ) -> Result<Vec<Question>, Error> {
        if let Some(place) = &self.url {
            return Ok(vec![self.question(state, place, &[], presented)?]);
        }
        if presented.is_none() {
            return Err(Error::Nothing);
        }
        let apis = state.apis.iter();
        let questions = apis
            .filter(|api| api.config.access != Access::Public)
            .filter_map(|api| {
                let (place, methods) = first_route(api)?;
                Some(self.question(state, &place, methods, presented))
            })
            .collect::<Result<Vec<_>, _>>()?;
        match questions.is_empty() {
            true => Err(Error::Public),
            false => Ok(questions),
        }
    }

    fn question(
        &self,
        state: &State,
        place: &Place,
        methods: &[Method],
        presented: Option<&Presented>,
    ) -> Result<Question, Error> {
        let over_tls = || {
            let mut listeners = state.config.listeners.iter();
            listeners.any(|listener| listener.certificates.is_some())
                || presented.is_some_and(Presented::is_for_https)
        };
        let scheme = place.scheme.unwrap_or_else(|| match over_tls() {
            true => Scheme::Https,
            false => Scheme::Http,
        });
        let host = place.host.as_deref().unwrap_or(ANY_HOST);
        let method = self.method.as_ref().or(methods.first());
        let method = method.cloned().unwrap_or(Method::GET);
        let (mut request, ()) = Request::new(()).into_parts();
        request.method = method.clone();
        // A target that no library would take stays in `target`, which is what is read.
        if let Ok(uri) = place.target.parse() {
            request.uri = uri;
        }
        let host_line = HeaderValue::try_from(host).map_err(|_| Error::Url)?;
        request.headers.insert(header::HOST, host_line);
        for (name, value) in &self.headers {
            request.headers.append(name, value.clone());
        }
        if let Some(presented) = presented {
            let names = cookie_names(state, scheme);
            let (name, value) = presented.field(&names)?;
            request.headers.insert(name, value);
        }
        let path = place.target.split('?').next().unwrap_or_default();
        let scheme_name = match scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        Ok(Question {
            method,
            url: match &place.host {
                Some(host) => format!("{scheme_name}://{host}{path}"),
                None => format!("{scheme_name}://(any host){path}"),
            },
            credential: presented.map_or("none", Presented::kind),
            request,
            target: place.target.clone().into_bytes(),
            scheme,
        })
    }
}

/// Where an API's first route leads, and the methods that it lists.
fn first_route(api: &Arc<Api>) -> Option<(Place, &[Method])> {
    let route = api.config.routes.first()?;
    let path = route.paths.first()?;
    let host = route
        .hosts
        .first()
        .map(|host| match host.strip_prefix("*.") {
            Some(suffix) => format!("any.{suffix}"),
            None => host.clone(),
        });
    let place = Place {
        scheme: None,
        host,
        target: path.strip_prefix('=').unwrap_or(path).to_owned(),
    };
    Some((place, &route.methods))
}

/// The names of all session cookies on a scheme.
fn cookie_names(state: &State, scheme: Scheme) -> Vec<&str> {
    let strategies = state.strategies.values().filter(|s| s.config.session);
    let mut names: Vec<&str> = strategies
        .map(|strategy| strategy.cookies.name(scheme == Scheme::Https))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_and_never_made_nicer() {
        let place = |scheme, host: Option<&str>, target: &str| {
            Some(Place {
                scheme,
                host: host.map(str::to_owned),
                target: target.to_owned(),
            })
        };
        let (http, https) = (Some(Scheme::Http), Some(Scheme::Https));
        for (url, expected) in [
            ("/a/../b?c#d", place(None, None, "/a/../b?c")),
            ("http://api.test", place(http, Some("api.test"), "/")),
            ("HTTPS://A:1/%2f", place(https, Some("A:1"), "/%2f")),
            ("http://a?b", place(http, Some("a"), "/?b")),
            ("http://[::1]:80//", place(http, Some("[::1]:80"), "//")),
            ("http:///a", None),
            ("http://me:secret@api.test/", None),
            ("ftp://api.test/", None),
            ("api.test/a", None),
            ("", None),
        ] {
            assert_eq!(Place::parse(url), expected, "{url}");
        }
    }

    #[test]
    fn no_credential_is_taken_from_the_command_line() {
        for (header, taken) in [
            ("Origin: https://a.test", true),
            ("authorization: Bearer x", false),
            ("COOKIE: a=b", false),
            ("Proxy-Authorization: x", false),
            ("Host: x", false),
            ("no colon", false),
            ("a\nb: c", false),
        ] {
            let read = Asked::read(Some("/"), None, &[header.to_owned()]);
            assert_eq!(read.is_ok(), taken, "{header}");
        }
    }
}
