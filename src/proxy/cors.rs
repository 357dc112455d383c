//! Cross-origin requests of web pages (Fetch standard, section "HTTP CORS protocol").
//!
//! Always true: an origin is allowed only where it equals a configured one byte for byte, or where
//! all are and no page may use its user's credentials. A preflight carries no credential, so none is
//! read: it is answered here, passed on as nobody's where it is bare, or judged like every other
//! request.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use super::{
    api::{Access, Api},
    denial::{Code, Denial},
    path::Path,
    route::{Found, Table},
};

/// Fields of an answer.
pub type Fields = Vec<(HeaderName, HeaderValue)>;

/// What pages may always read of an answer beside what the Fetch standard lists: what our own
/// refusals say.
const EXPOSED: [&str; 3] = ["X-Request-Id", "WWW-Authenticate", "Retry-After"];

/// On what the answer to a preflight depends, for caches that keep it in spite of its method.
const VARY_PREFLIGHT: HeaderValue = HeaderValue::from_static(
    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
);
/// On what every other answer depends.
pub const VARY: HeaderValue = HeaderValue::from_static("Origin");

/// `apis[].cors`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whose pages may read answers.
    pub origins: Origins,
    /// Whether they may do so with the browser's cookies and stored credentials. From these origins
    /// the session cookie then counts for unsafe methods, upgrades and logout too. Default false.
    pub credentials: bool,
    /// Methods that a preflight allows. `None`, the default: those that the route takes. Browsers
    /// allow GET, HEAD and POST whatever stands here; `routes[].methods` is what refuses.
    pub methods: Option<Vec<Method>>,
    /// Fields that a preflight allows. `None`, the default: whatever it asks for.
    pub headers: Option<Vec<HeaderName>>,
    /// Fields of answers that pages may read, beside `X-Request-Id`, `WWW-Authenticate` and
    /// `Retry-After`, which they always may. Default none.
    pub exposed_headers: Vec<HeaderName>,
    /// How long a browser need not ask again. Default 10 min: the longest that every browser keeps
    /// to (WebKit stops there, Chromium at 2 h, Firefox at 24 h), and so long an origin that is no
    /// longer listed may still send what needs a preflight.
    pub max_age: Duration,
}

/// `apis[].cors.origins`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// `*`: any page, never with credentials.
    Any,
    /// These, as browsers write them: `scheme://host[:port]`.
    Listed(Vec<HeaderValue>),
}

/// Who may read the answers of one API, prepared once.
#[derive(Debug)]
pub struct Policy {
    origins: Origins,
    credentials: bool,
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    exposed: HeaderValue,
    max_age: HeaderValue,
}

impl Policy {
    /// Prepares it.
    pub fn new(config: &Config) -> Self {
        let names = |list: &Vec<HeaderName>| joined(list.iter().map(HeaderName::as_str));
        let exposed = EXPOSED
            .into_iter()
            .chain(config.exposed_headers.iter().map(HeaderName::as_str));
        Self {
            origins: config.origins.clone(),
            credentials: config.credentials,
            methods: (config.methods.as_ref()).map(|list| joined(list.iter().map(Method::as_str))),
            headers: config.headers.as_ref().map(names),
            exposed: joined(exposed),
            max_age: HeaderValue::from(config.max_age.as_secs()),
        }
    }

    /// Whether pages of the request's origin may act with the session cookie: listed, never by `*`,
    /// and allowed to use credentials.
    pub fn trusts(&self, request: &HeaderMap) -> bool {
        self.credentials && self.varies() && self.allowed(request).is_some()
    }

    /// Whether answers differ by origin, so that no cache may give one's to another.
    pub const fn varies(&self) -> bool {
        matches!(self.origins, Origins::Listed(_))
    }

    /// What lets a page of the request's origin read the answer; nothing for a foreign one.
    pub fn fields(&self, request: &HeaderMap) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let exposed = (header::ACCESS_CONTROL_EXPOSE_HEADERS, self.exposed.clone());
        let origin = self.allowed(request);
        let exposed = origin.is_some().then_some(exposed);
        self.grant(origin).chain(exposed)
    }

    /// The answer to a preflight; `None` for a foreign origin. `methods` are those of the route.
    pub fn answer(&self, preflight: &Preflight<'_>, methods: &HeaderValue) -> Option<Fields> {
        let origin = self.allowed(preflight.fields)?;
        let methods = self.methods.as_ref().unwrap_or(methods).clone();
        let headers = match &self.headers {
            Some(headers) => Some(headers.clone()),
            None => preflight.headers(),
        };
        let mut fields: Fields = self.grant(Some(origin)).collect();
        fields.push((header::ACCESS_CONTROL_ALLOW_METHODS, methods));
        // An empty list says what no field says.
        if let Some(headers) = headers.filter(|headers| !headers.is_empty()) {
            fields.push((header::ACCESS_CONTROL_ALLOW_HEADERS, headers));
        }
        fields.push((header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone()));
        fields.push((header::VARY, VARY_PREFLIGHT));
        Some(fields)
    }

    /// The value of `Access-Control-Allow-Origin` for a request.
    fn allowed(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let Origins::Listed(listed) = &self.origins else {
            return Some(HeaderValue::from_static("*"));
        };
        let origin = one(request, &header::ORIGIN)?;
        listed.iter().find(|listed| *listed == origin).cloned()
    }

    fn grant(
        &self,
        origin: Option<HeaderValue>,
    ) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
        let with = (
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        );
        let with = (origin.is_some() && self.credentials).then_some(with);
        let origin = origin.map(|origin| (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin));
        origin.into_iter().chain(with)
    }
}

/// What `apis[].preflight` says of preflights that are not answered here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// They need a credential like every other request.
    Authenticate,
    /// They go to the upstream, for it to answer, where they are [bare](Preflight::is_bare).
    Pass,
}

/// A genuine preflight: OPTIONS with one `Origin` and one `Access-Control-Request-Method`. Whatever
/// lacks one of the three is an ordinary request.
#[derive(Clone, Debug)]
pub struct Preflight<'a> {
    /// The method that it asks for.
    pub method: Method,
    fields: &'a HeaderMap,
}

impl<'a> Preflight<'a> {
    /// Recognises one.
    pub fn of(method: &Method, fields: &'a HeaderMap) -> Option<Self> {
        if *method != Method::OPTIONS {
            return None;
        }
        one(fields, &header::ORIGIN)?;
        let method = one(fields, &header::ACCESS_CONTROL_REQUEST_METHOD)?;
        let method = Method::from_bytes(method.as_bytes()).ok()?;
        Some(Self { method, fields })
    }

    /// Whether a browser could have sent it (Fetch standard, section "CORS-preflight fetch"): it has
    /// no credential, no body, and asks for no other protocol. What has one of them may make an
    /// upstream do more than say what pages may do.
    pub fn is_bare(&self, has_body: bool) -> bool {
        let more = [
            header::AUTHORIZATION,
            header::COOKIE,
            header::PROXY_AUTHORIZATION,
            header::UPGRADE,
        ];
        !has_body && !more.iter().any(|name| self.fields.contains_key(name))
    }

    /// The fields that it asks for; what is no list of names gets none.
    fn headers(&self) -> Option<HeaderValue> {
        let lines = (self.fields).get_all(header::ACCESS_CONTROL_REQUEST_HEADERS);
        let mut names: Vec<&str> = Vec::new();
        for line in lines {
            let line = line.to_str().ok()?;
            names.extend(line.split(',').map(|name| name.trim_matches([' ', '\t'])));
        }
        let legal = |name: &&str| HeaderName::from_bytes(name.as_bytes()).is_ok();
        names
            .iter()
            .all(legal)
            .then(|| joined(names.iter().copied()))
    }
}

/// Where a preflight stands: the API whose route takes the method that it asks for.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The routes.
    pub table: &'a Table,
    /// The Host that it names.
    pub host: &'a str,
    /// Its path.
    pub path: &'a Path<'a>,
    /// The API.
    pub api: &'a Api,
    /// Its position in the table.
    pub index: usize,
}

/// Answers a preflight in the API's name; `None` where that is not ours to do.
///
/// # Errors
/// The [`Denial`] for a foreign origin's at a public API: whose pages may read that is decided here,
/// and no credential could change it.
pub fn answer(place: &Place<'_>, preflight: &Preflight<'_>) -> Result<Option<Fields>, Denial> {
    let Some(policy) = &place.api.cors else {
        return Ok(None);
    };
    let methods = place.methods(Some(&preflight.method));
    let answer = policy.answer(preflight, &methods);
    if answer.is_none() && place.api.config.access == Access::Public {
        return Err(Denial::new(Code::CrossSiteRequest, "foreign_preflight"));
    }
    Ok(answer)
}

/// Checks that a preflight which was let through like every other request is one that the route
/// takes: it was found by the method that it announces, and is itself OPTIONS.
///
/// # Errors
/// The [`Denial`] where the route does not take OPTIONS.
pub fn check_options(place: &Place<'_>) -> Result<(), Denial> {
    match place.table.find(place.host, place.path, &Method::OPTIONS) {
        Found::Api { index, .. } if index == place.index => Ok(()),
        _ => {
            let mut denial = Denial::new(Code::MethodNotAllowed, "preflight_method");
            denial.allow = Some(Box::new(place.methods(None)));
            Err(denial)
        }
    }
}

impl Place<'_> {
    /// The methods that the API takes here, and one that it is known to take.
    fn methods(&self, known: Option<&Method>) -> HeaderValue {
        self.table.methods(self.host, self.path, self.index, known)
    }
}

/// The value of a field that comes exactly once.
fn one<'a>(fields: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = fields.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then_some(first)
}

/// A list as one value; names and methods are tokens, so it always is one.
fn joined<'a>(names: impl Iterator<Item = &'a str>) -> HeaderValue {
    let names: Vec<&str> = names.collect();
    HeaderValue::try_from(names.join(", ")).unwrap_or(HeaderValue::from_static(""))
}
