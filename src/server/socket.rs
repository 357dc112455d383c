//! Listening sockets, bound before anything serves.
//!
//! Pingora binds by itself too, but panics when it cannot and never tells which port it got. So
//! the sockets are bound here and handed over through its table of inherited descriptors.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    os::fd::IntoRawFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pingora::server::Fds;

/// Descriptors for what is not a client or its upstream: log, files, IdPs, refused clients.
const SPARE_DESCRIPTORS: u64 = 1_000;

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// The operator's API.
    Admin,
    /// The developers' API.
    Portal,
    /// The data plane.
    Proxy,
    /// Health and metrics.
    Status,
}

/// A socket could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("the {listener} listener cannot be bound to {address}: {source}")]
pub struct Error {
    /// What it is for.
    pub listener: Listener,
    /// Where it should be.
    pub address: SocketAddr,
    /// Why not.
    pub source: io::Error,
}

/// Copies of the listening sockets' descriptors, to be handed to a process that takes this one's
/// place. A socket listens until its duplicate, too, is dropped. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Duplicates(Arc<Mutex<Vec<Duplicate>>>);

/// One of [`Duplicates`].
#[derive(Debug)]
pub(super) struct Duplicate {
    /// What it is for.
    pub(super) listener: Listener,
    /// The configured address, whose port may be 0.
    pub(super) asked: SocketAddr,
    /// The socket.
    pub(super) socket: TcpListener,
}

/// A socket that clients can already connect to, though nobody answers yet. Non-blocking.
#[derive(Debug)]
pub struct Bound {
    socket: TcpListener,
    address: SocketAddr,
}

/// Binds a socket and logs its address, which differs from the one asked for where that has port
/// 0. An address that the last process has just left can be bound.
///
/// # Errors
///
/// The address is in use, is not one of this host, or needs a right that the process lacks.
pub fn bind(
    listener: Listener,
    asked: SocketAddr,
    duplicates: &Duplicates,
) -> Result<Bound, Error> {
    let bound = TcpListener::bind(asked)
        .and_then(|socket| Bound::new(listener, asked, socket, duplicates))
        .map_err(|source| Error {
            listener,
            address: asked,
            source,
        })?;
    tracing::info!(%listener, address = %bound.address, "listening");
    Ok(bound)
}

/// Takes a listening socket that another process bound, and logs its address.
///
/// # Errors
/// What came is no listening socket.
pub(super) fn take_over(
    listener: Listener,
    asked: SocketAddr,
    socket: TcpListener,
    duplicates: &Duplicates,
) -> Result<Bound, Error> {
    let taken = || {
        if !rustix::net::sockopt::socket_acceptconn(&socket)? {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Bound::new(listener, asked, socket, duplicates)
    };
    let taken = taken().map_err(|source| Error {
        listener,
        address: asked,
        source,
    })?;
    tracing::info!(%listener, address = %taken.address, taken_over = true, "listening");
    Ok(taken)
}

/// Raises the limit of open files to what so many client connections need: each may have one to
/// an upstream. Without it Pingora stops accepting for a second whenever the limit is hit.
pub fn raise_descriptor_limit(connections: usize) {
    let wanted = u64::try_from(connections)
        .unwrap_or(u64::MAX)
        .saturating_mul(2)
        .saturating_add(SPARE_DESCRIPTORS);
    match rlimit::increase_nofile_limit(wanted) {
        Ok(limit) if limit >= wanted => {}
        Ok(limit) => tracing::warn!(
            limit,
            wanted,
            "fewer open files than connections need: raise `ulimit -n` or lower limits.connections"
        ),
        Err(error) => tracing::warn!(%error, wanted, "the limit of open files cannot be read"),
    }
}

impl Duplicates {
    /// The duplicates so far.
    pub(super) fn all(&self) -> MutexGuard<'_, Vec<Duplicate>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bound {
    fn new(
        listener: Listener,
        asked: SocketAddr,
        socket: TcpListener,
        duplicates: &Duplicates,
    ) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        duplicates.all().push(Duplicate {
            listener,
            asked,
            socket: socket.try_clone()?,
        });
        Ok(Self { socket, address })
    }

    /// The address it has.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes a listener for `tokio` of it.
    #[must_use]
    pub fn into_socket(self) -> TcpListener {
        self.socket
    }

    /// Puts it into Pingora's table, under the address that the service then asks for.
    pub(super) fn hand_over(self, table: &mut Fds) {
        table.add(self.address.to_string(), self.socket.into_raw_fd());
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Admin => "admin",
            Self::Portal => "portal",
            Self::Proxy => "proxy",
            Self::Status => "status",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any_port() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    #[test]
    fn port_0_becomes_a_real_one() {
        let bound = bind(Listener::Proxy, any_port(), &Duplicates::default()).unwrap();
        assert_ne!(bound.address().port(), 0);
        assert!(std::net::TcpStream::connect(bound.address()).is_ok());
    }

    #[test]
    fn a_taken_address_is_named() {
        let first = bind(Listener::Proxy, any_port(), &Duplicates::default()).unwrap();
        let error = bind(Listener::Admin, first.address(), &Duplicates::default()).unwrap_err();
        assert_eq!(
            (error.listener, error.address),
            (Listener::Admin, first.address())
        );
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&first.address().to_string()));
    }

    #[test]
    fn the_descriptor_limit_is_raised_but_never_lowered() {
        let before = rlimit::Resource::NOFILE.get_soft().unwrap();
        raise_descriptor_limit(0);
        assert!(rlimit::Resource::NOFILE.get_soft().unwrap() >= before);
    }
}
