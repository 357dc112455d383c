//! TLS on a listener: which certificate a client is shown, and the handshake.
//!
//! Certificates are chosen by the name that the client asks for (SNI, RFC 6066 section 3) and can be
//! replaced while connections stand. The keys of a certificate leave this module in no form.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use aws_lc_rs::digest;
use pingora::{
    listeners::tls::Acceptor,
    protocols::{GetSocketDigest as _, Stream, l4::stream::Stream as TcpStream},
};
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs as aws_lc},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::io::AsyncReadExt as _;
use x509_parser::{
    extensions::GeneralName,
    prelude::{X509Version, parse_x509_certificate},
};

use crate::model::time::Timestamp;

/// Why certificate and key are of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The first certificate is of version 1, which names no hosts and which no client takes.
    #[error(
        "an X.509 certificate of version 3 with a subjectAltName (this one is older; \
         `openssl x509 -req` makes one with -extfile)"
    )]
    Age,
    /// There is no certificate, or one of them cannot be read.
    #[error("PEM certificates, the server's own first")]
    Certificate,
    /// The first certificate is not for this key.
    #[error("the private key of the first certificate in the chain")]
    Mismatch,
    /// There is no key, or one of a kind that is not supported.
    #[error("a PEM private key, RSA of 2,048 bits or more, ECDSA or Ed25519, without a passphrase")]
    PrivateKey,
    /// The protocol versions cannot be had from the cryptography in use.
    #[error("TLS 1.2 and 1.3")]
    Versions,
}

/// A certificate with what proves it.
#[derive(Clone)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    /// In lower case; `*.example.com` stands for one label.
    names: Vec<Box<str>>,
    /// Whether there are names or addresses.
    has_names: bool,
    not_after: Timestamp,
    /// SHA-256 over chain and key, to tell one from another.
    digest: [u8; 32],
}

/// The certificates of one listener. They can be replaced at any time; a handshake sees all of the
/// old ones or all of the new.
#[derive(Debug)]
pub struct Certificates(ArcSwap<Vec<Certificate>>);

/// A listener's TLS at work.
#[derive(Clone)]
pub struct Tls(Arc<Acceptors>);

struct Acceptors {
    /// HTTP/2 and HTTP/1.1 by ALPN (RFC 7301).
    all: Acceptor,
    /// HTTP/1.1 alone: for an answer before Pingora, which the front can write in that only.
    http1: Acceptor,
}

/// How a connection to a TLS listener began.
pub(super) enum Began {
    /// No handshake: the client has gone, or does not understand us.
    Failed,
    /// The client does not speak TLS. The connection is as it was.
    Plain(Stream),
    /// The handshake is made.
    Secured(Stream),
}

/// What a handshake is to lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    All,
    Http1,
}

impl Certificate {
    /// Reads a chain, the server's own certificate first, and its private key (PKCS #8, PKCS #1 or
    /// SEC 1), both PEM.
    ///
    /// # Errors
    /// What was expected of either.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, Error> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let certificates = certificates.map_err(|_| Error::Certificate)?;
        let first = certificates.first().ok_or(Error::Certificate)?;
        let (_, parsed) = parse_x509_certificate(first).map_err(|_| Error::Certificate)?;
        if parsed.version() != X509Version::V3 {
            return Err(Error::Age);
        }
        let names = parsed.subject_alternative_name().ok().flatten();
        let has_names = names
            .as_ref()
            .is_some_and(|names| !names.value.general_names.is_empty());
        let names = names.map(|names| {
            let names = names.value.general_names.iter();
            names.filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(name.to_ascii_lowercase().into()),
                _ => None,
            })
        });
        let names = names.into_iter().flatten().collect();
        let not_after = Timestamp::from_secs(parsed.validity().not_after.timestamp());
        let mut hash = digest::Context::new(&digest::SHA256);
        hash.update(chain);
        hash.update(&[0]);
        hash.update(key);
        let mut digest = [0; 32];
        digest.copy_from_slice(hash.finish().as_ref());

        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| Error::PrivateKey)?;
        let key = CertifiedKey::from_der(certificates, key, &aws_lc::default_provider()).map_err(
            |error| match error {
                rustls::Error::InconsistentKeys(_) => Error::Mismatch,
                rustls::Error::InvalidCertificate(_) => Error::Certificate,
                _ => Error::PrivateKey,
            },
        )?;
        Ok(Self {
            key: Arc::new(key),
            names,
            has_names,
            not_after,
            digest,
        })
    }

    /// The host names that it is for, in lower case; `*.example.com` stands for one label.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// Whether it is for any host or address at all.
    pub const fn has_names(&self) -> bool {
        self.has_names
    }

    /// When it ends.
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Whether it is for a name in lower case (RFC 6125 section 6.4.3).
    fn is_for(&self, name: &str) -> bool {
        let parent = name.split_once('.').map(|(_, parent)| parent);
        self.names().any(|own| match own.strip_prefix("*.") {
            Some(suffix) => parent == Some(suffix),
            None => own == name,
        })
    }

    /// Whether the client can check what its key signs.
    fn suits(&self, client: &ClientHello<'_>) -> bool {
        let key = &self.key.key;
        key.choose_scheme(client.signature_schemes()).is_some()
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("names", &self.names)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Certificate {}

impl Certificates {
    /// Takes the certificates, the default one first.
    pub fn new(certificates: Vec<Certificate>) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(certificates)))
    }

    /// Shows these from the next handshake on. Tells whether they are others than before.
    pub fn replace(&self, certificates: Vec<Certificate>) -> bool {
        if **self.0.load() == certificates {
            return false;
        }
        self.0.store(Arc::new(certificates));
        true
    }
}

impl ResolvesServerCert for Certificates {
    /// The first certificate for the name whose kind of key the client knows; without one, the first
    /// of all of such a kind, which clients that send no name are shown too.
    fn resolve(&self, client: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certificates = self.0.load();
        let mut suitable = certificates.iter().filter(|c| c.suits(&client)).peekable();
        let default = suitable.peek().copied()?;
        let asked = client.server_name().map(str::to_ascii_lowercase);
        let named = asked.and_then(|name| suitable.find(|c| c.is_for(&name)));
        Some(Arc::clone(&named.unwrap_or(default).key))
    }
}

impl Tls {
    /// Sets TLS 1.2 and 1.3 up, with session tickets whose keys live in this process only.
    ///
    /// # Errors
    /// [`Error::Versions`].
    pub fn new(certificates: &Arc<Certificates>) -> Result<Self, Error> {
        let mut config = server_config(certificates)?;
        let http1 = Acceptor::from_server_config(Arc::new(config.clone()));
        config.alpn_protocols.insert(0, b"h2".to_vec());
        let all = Acceptor::from_server_config(Arc::new(config));
        Ok(Self(Arc::new(Acceptors { all, http1 })))
    }

    /// Makes the handshake on a connection as it was accepted. The caller sets its deadline.
    pub(super) async fn accept(&self, stream: Stream, offer: Offer) -> Began {
        let Ok(mut stream) = stream.into_any().downcast::<TcpStream>() else {
            return Began::Failed;
        };
        let mut first = [0];
        if !matches!(stream.read(&mut first).await, Ok(1)) {
            return Began::Failed;
        }
        stream.rewind(&first);
        // Requests begin with a letter.
        if first[0].is_ascii_alphabetic() {
            return Began::Plain(stream);
        }
        let acceptor = match offer {
            Offer::All => &self.0.all,
            Offer::Http1 => &self.0.http1,
        };
        let peer = stream.get_socket_digest();
        match acceptor.tls_handshake(*stream).await {
            Ok(stream) => Began::Secured(Box::new(stream)),
            Err(error) => {
                let client = peer.as_ref().and_then(|peer| peer.peer_addr());
                let client = client.and_then(|address| address.as_inet());
                tracing::debug!(%error, client = client.map(tracing::field::display), "no TLS handshake");
                Began::Failed
            }
        }
    }
}

/// TLS 1.2 and 1.3 for HTTP/1.1, with session tickets whose keys live in this process only.
///
/// # Errors
/// [`Error::Versions`].
pub fn server_config(certificates: &Arc<Certificates>) -> Result<ServerConfig, Error> {
    let provider: Arc<CryptoProvider> = Arc::new(aws_lc::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| Error::Versions)?;
    let certificates: Arc<dyn ResolvesServerCert> = certificates.clone();
    let mut config = builder
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    // Without a ticketer each worker would remember the sessions of a few hundred clients only.
    if let Ok(ticketer) = aws_lc::Ticketer::new() {
        config.ticketer = ticketer;
    }
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
