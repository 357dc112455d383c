//! WebFinger (RFC 7033): from an account or a URL to the issuer that answers for it (OpenID Connect
//! Discovery 1.0 section 2).
//!
//! Always true: it is asked over https only, or on this machine; redirects are not followed; and
//! what it names is taken for an issuer's URL only where it could be one. That it is the issuer
//! says its own metadata, which is read after this.

use url::{Host, Url, form_urlencoded};

use super::call::{Caller, Endpoint, Unavailable};
use crate::{model::claims::Value, token::json};

/// The link that leads to an issuer.
pub const ISSUER: &str = "http://openid.net/specs/connect/1.0/issuer";

/// Why a resource cannot be asked about, or an answer not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The resource is none that WebFinger knows.
    #[error("no resource: expected acct:USER@HOST or https://HOST/…")]
    Resource,
    /// It would be asked in the clear.
    #[error("a resource of another machine is asked about over https only")]
    InTheClear,
    /// The answer is no JRD.
    #[error("the answer is no JSON Resource Descriptor (RFC 7033 section 4.4)")]
    NotJrd,
    /// There is no link to an issuer.
    #[error("the answer has no link to an issuer")]
    NoIssuer,
    /// The link leads to what is no issuer.
    #[error(
        "the link to the issuer is no https URL without query, fragment, name and password (plain \
         http is for this machine alone)"
    )]
    BadIssuer,
}

/// Why no issuer was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// What came back cannot be used.
    #[error(transparent)]
    Answer(#[from] Error),
    /// The host knows no such resource, or nothing of WebFinger.
    #[error("it answers with status {0}")]
    Status(u16),
    /// There was no answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Whether plain http may be spoken to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain {
    /// To this machine; the way there has no outside.
    Loopback,
    /// To none.
    Never,
}

/// Where to ask about a resource: an `acct:` URI (RFC 7565), whose host stands behind its last `@`,
/// or an https URL, whose own host is asked. An `acct:` of this machine is asked about in plain
/// http where `plain` allows that.
///
/// # Errors
/// [`Error::Resource`], [`Error::InTheClear`].
pub fn question(resource: &str, plain: Plain) -> Result<Url, Error> {
    let (scheme, rest) = resource.split_once(':').ok_or(Error::Resource)?;
    let mut url = if scheme.eq_ignore_ascii_case("acct") {
        let (user, host) = rest.rsplit_once('@').ok_or(Error::Resource)?;
        let names_host = host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte));
        if user.is_empty() || host.is_empty() || !names_host {
            return Err(Error::Resource);
        }
        let url = Url::parse(&format!("https://{host}/")).map_err(|_| Error::Resource)?;
        let plainly = Url::parse(&format!("http://{host}/")).map_err(|_| Error::Resource)?;
        match plain {
            Plain::Loopback if is_loopback(&url) => plainly,
            _ => url,
        }
    } else {
        Url::parse(resource).map_err(|_| Error::Resource)?
    };
    if !url.has_host() {
        return Err(Error::Resource);
    }
    match url.scheme() {
        "https" => {}
        "http" if plain == Plain::Loopback && is_loopback(&url) => {}
        "http" => return Err(Error::InTheClear),
        _ => return Err(Error::Resource),
    }
    // The user of an https resource says which tenant; the request itself carries no password.
    url.set_username("").map_err(|()| Error::Resource)?;
    url.set_password(None).map_err(|()| Error::Resource)?;
    url.set_path("/.well-known/webfinger");
    url.set_fragment(None);
    // RFC 7033 section 4.1: percent-encoded, and not with the "+" of forms.
    let mut query = form_urlencoded::Serializer::new(String::new());
    query
        .append_pair("resource", resource)
        .append_pair("rel", ISSUER);
    url.set_query(Some(&query.finish().replace('+', "%20")));
    Ok(url)
}

/// Asks a question made by [`question`].
///
/// # Errors
/// One case for each variant of [`Failure`]; a redirect is a status.
pub async fn find(caller: &Caller, question: Url) -> Result<String, Failure> {
    // Whoever was asked over https may name no neighbour of ours.
    let plain = match question.scheme() {
        "http" => Plain::Loopback,
        _ if is_loopback(&question) => Plain::Loopback,
        _ => Plain::Never,
    };
    let request = caller.http.get(question);
    let request = request.header("accept", "application/jrd+json, application/json");
    let found = caller.send(Endpoint::Discovery, request).await?;
    match found.status.as_u16() {
        200 => Ok(answer(&found.body, plain)?),
        status => Err(Failure::Status(status)),
    }
}

/// The issuer that an answer names: the first link of the kind asked for (RFC 7033 section 4.4.4).
/// Whatever else the answer holds is ignored.
///
/// # Errors
/// [`Error::NotJrd`], [`Error::NoIssuer`], [`Error::BadIssuer`].
pub fn answer(body: &[u8], plain: Plain) -> Result<String, Error> {
    let jrd = json::claims(body).map_err(|_| Error::NotJrd)?;
    let links = jrd.get("links").ok_or(Error::NoIssuer)?;
    let links = links.as_array().ok_or(Error::NotJrd)?;
    let link = links
        .iter()
        .find(|link| link.get("rel").and_then(Value::as_str) == Some(ISSUER));
    let link = link.ok_or(Error::NoIssuer)?;
    let issuer = link.get("href").and_then(Value::as_str);
    let issuer = issuer.ok_or(Error::BadIssuer)?;
    match is_issuer(issuer, plain) {
        true => Ok(issuer.to_owned()),
        false => Err(Error::BadIssuer),
    }
}

/// Whether a text can be an issuer (OpenID Connect Discovery 1.0 section 3, RFC 8414 section 2).
pub fn is_issuer(text: &str, plain: Plain) -> bool {
    let Ok(url) = Url::parse(text) else {
        return false;
    };
    let secure = match url.scheme() {
        "https" => true,
        "http" => plain == Plain::Loopback && is_loopback(&url),
        _ => false,
    };
    let bare = url.query().is_none() && url.fragment().is_none();
    let plain_text = !text.chars().any(|c| c.is_control() || c.is_whitespace());
    secure
        && bare
        && plain_text
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
}

/// Whether a URL is of this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_resource_is_asked_about_at_its_own_host() {
        const REL: &str = "&rel=http%3A%2F%2Fopenid.net%2Fspecs%2Fconnect%2F1.0%2Fissuer";
        for (resource, expected) in [
            (
                "acct:admin@idp.test",
                Ok("https://idp.test/.well-known/webfinger?resource=acct%3Aadmin%40idp.test"),
            ),
            (
                "acct:bob@tenant.com@idp.test:9443",
                Ok(
                    "https://idp.test:9443/.well-known/webfinger?resource=acct%3Abob%40tenant.com%40idp.test%3A9443",
                ),
            ),
            (
                "ACCT:a b@idp.test",
                Ok("https://idp.test/.well-known/webfinger?resource=ACCT%3Aa%20b%40idp.test"),
            ),
            (
                "acct:a@127.0.0.1:1",
                Ok("http://127.0.0.1:1/.well-known/webfinger?resource=acct%3Aa%40127.0.0.1%3A1"),
            ),
            (
                "https://bob:pw@idp.test/t/tenant.com?x=1#y",
                Ok(
                    "https://idp.test/.well-known/webfinger?resource=https%3A%2F%2Fbob%3Apw%40idp.test%2Ft%2Ftenant.com%3Fx%3D1%23y",
                ),
            ),
            (
                "http://localhost/u",
                Ok("http://localhost/.well-known/webfinger?resource=http%3A%2F%2Flocalhost%2Fu"),
            ),
            ("http://idp.test/u", Err(Error::InTheClear)),
            ("acct:admin", Err(Error::Resource)),
            ("acct:@idp.test", Err(Error::Resource)),
            ("acct:admin@", Err(Error::Resource)),
            ("acct:admin@idp.test/x", Err(Error::Resource)),
            ("acct:admin@idp.test?x", Err(Error::Resource)),
            ("mailto:admin@idp.test", Err(Error::Resource)),
            ("file:///etc/passwd", Err(Error::Resource)),
            ("admin@idp.test", Err(Error::Resource)),
            ("", Err(Error::Resource)),
        ] {
            let asked = question(resource, Plain::Loopback).map(String::from);
            let expected = expected.map(|url| format!("{url}{REL}"));
            assert_eq!(asked, expected, "{resource}");
        }
        let strict = question("acct:a@localhost", Plain::Never).map(String::from);
        assert!(strict.unwrap().starts_with("https://localhost/"));
        let in_the_clear = question("http://localhost/u", Plain::Never);
        assert_eq!(in_the_clear, Err(Error::InTheClear));
    }

    #[test]
    fn only_the_link_to_an_issuer_counts() {
        let link = |href: &str| {
            format!(r#"{{"links":[{{"rel":"x"}},{{"rel":"{ISSUER}","href":{href}}}]}}"#)
        };
        let other = r#"{"links":[{"rel":"http://openid.net/specs/connect/1.0/ISSUER","href":"https://a"}]}"#;
        for (body, expected) in [
            (
                link(r#""https://idp.test:9443/oauth2/token""#),
                Ok("https://idp.test:9443/oauth2/token"),
            ),
            // As WSO2 writes it.
            (
                link(r#""https://idp.test/t\u003dx""#),
                Ok("https://idp.test/t=x"),
            ),
            (
                link(r#""http://127.0.0.1:1/o""#),
                Ok("http://127.0.0.1:1/o"),
            ),
            (link(r#""http://idp.test/o""#), Err(Error::BadIssuer)),
            (link(r#""https://idp.test/o?x=1""#), Err(Error::BadIssuer)),
            (link(r#""https://idp.test/o#x""#), Err(Error::BadIssuer)),
            (link(r#""https://a:b@idp.test/o""#), Err(Error::BadIssuer)),
            (link(r#""https://idp.test/o ""#), Err(Error::BadIssuer)),
            (link(r#""idp.test""#), Err(Error::BadIssuer)),
            (link("7"), Err(Error::BadIssuer)),
            (other.to_owned(), Err(Error::NoIssuer)),
            (r#"{"links":[]}"#.to_owned(), Err(Error::NoIssuer)),
            (r#"{"subject":"a"}"#.to_owned(), Err(Error::NoIssuer)),
            (r#"{"links":{}}"#.to_owned(), Err(Error::NotJrd)),
            (r#"{"links":[7,null]}"#.to_owned(), Err(Error::NoIssuer)),
            ("<html>".to_owned(), Err(Error::NotJrd)),
        ] {
            let found = answer(body.as_bytes(), Plain::Loopback);
            assert_eq!(found.as_deref(), expected.as_deref(), "{body}");
        }
        let loopback = link(r#""http://127.0.0.1:1/o""#);
        assert_eq!(
            answer(loopback.as_bytes(), Plain::Never),
            Err(Error::BadIssuer)
        );
    }
}
