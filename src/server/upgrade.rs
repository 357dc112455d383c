//! Another process takes this one's place, and no client notices.
//!
//! The old process is the predecessor, the new one the successor. The successor (`serve
//! --upgrade`) checks its configuration and waits on a Unix socket. On SIGQUIT the predecessor
//! connects to it and hands over every listening socket, the sessions that were logged out, and the
//! key that it made for cookies. The successor binds what is new, reads the applications, waits for
//! the keys of identity providers and the targets of upstreams that the predecessor has too, begins
//! to serve, and says so. Only then does the predecessor stop accepting, and end when what it has begun is answered. On
//! SIGUSR2 the predecessor starts the successor itself, from its own path and with its own
//! arguments.
//!
//! Always true:
//! - Until the successor's word, the predecessor serves as if nothing had happened; whatever goes
//!   wrong is a line in its log. While both serve, both accept from the same queues.
//! - The sockets themselves never close, so that nobody is refused.
//! - A session that ended in one process has ended in the other.
//!
//! Certificates, secrets and applications are not in the protocol: the successor reads its own
//! files.

mod channel;
mod message;
mod predecessor;
mod successor;

use std::{
    io,
    net::SocketAddr,
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::ExitStatus,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use super::socket::{self, Listener};
use crate::{
    config::Config,
    proxy::revocations::{Ended, Revocations},
};
use channel::Channel;
use message::Message;
pub(super) use predecessor::{Predecessor, Signals};
pub(super) use successor::{Inheritance, Word, receive};

/// How long the other process may take for what needs no work.
const ANSWER: Duration = Duration::from_secs(5);

/// How long a successor may take from the sockets to its word: it reads the applications and asks
/// the identity providers.
const TAKEOVER: Duration = Duration::from_secs(60);

/// The name of the socket in systemd's directory.
const SOCKET: &str = "upgrade.sock";

/// Why no other process takes this one's place, or this one not another's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The predecessor has sent no word that it leaves.
    #[error("the old process goes on serving: {0}")]
    Abandoned(#[source] channel::Error),
    /// The successor cannot read the applications.
    #[error("the applications cannot be read")]
    Applications,
    /// The socket, or what came through it.
    #[error(transparent)]
    Channel(#[from] channel::Error),
    /// The started program ended before it took over.
    #[error("the started program has ended: {}", ended(.0))]
    Ended(ExitStatus),
    /// The end of the first process of a container is the end of all.
    #[error(
        "this is the first process of its container, which would end with it: run the gateway below an init, or replace the container"
    )]
    FirstProcess,
    /// Nobody told this program by which path it was started.
    #[error("the program has no name: start the new process with --upgrade, then send SIGQUIT")]
    Nameless,
    /// There is nobody to hand over to.
    #[error("{}: nobody waits there: start the new process with --upgrade first, or send SIGUSR2", .0.display())]
    Nobody(PathBuf),
    /// Nobody came.
    #[error("{}: no process has handed over its listeners: send it SIGQUIT", .0.display())]
    NotCalled(PathBuf),
    /// No socket is configured.
    #[error(
        "upgrade_socket: expected a path in the configuration, or RUNTIME_DIRECTORY in the environment"
    )]
    NoSocket,
    /// Another process answers than the one that was started.
    #[error("another process (id {0}) waits for the listeners, not the one that was started")]
    Other(i32),
    /// The keys of an identity provider, which the predecessor has, cannot be fetched.
    #[error("identity provider {0}: its keys, which the old process has, cannot be fetched")]
    Provider(Box<str>),
    /// The successor says no.
    #[error("the new process has refused: {0}")]
    Refused(Box<str>),
    /// An address is for something else now.
    #[error(
        "{address} is the {now} listener, but {before} in the old process: expected the same use, or another address"
    )]
    Role {
        /// The address.
        address: SocketAddr,
        /// What it is for in the predecessor.
        before: Listener,
        /// What it would be for.
        now: Listener,
    },
    /// A handed socket cannot be used.
    #[error(transparent)]
    Socket(#[from] socket::Error),
    /// The program cannot be started.
    #[error("{}: the new process cannot be started: {source}", program.display())]
    Program {
        /// Its path, as this program was started by.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The started program cannot be waited for.
    #[error("the new process cannot be waited for: {0}")]
    Start(#[source] io::Error),
    /// This process was told to stop meanwhile.
    #[error("this process stops")]
    Stopping,
    /// The started program does not wait for the listeners.
    #[error("the started program waits for no listeners")]
    Unready,
    /// The proxy's service did not come up.
    #[error("the proxy does not serve")]
    Unserved,
    /// No target of an API, for which the predecessor has one, can be reached.
    #[error("API {0}: its upstream, which the old process reaches, cannot be reached")]
    Upstream(Box<str>),
    /// The other process speaks another version of the protocol.
    #[error("the other process speaks another version of the upgrade ({0}): restart instead")]
    Version(u8),
}

/// Where the two processes meet.
fn place(config: &Config) -> Result<PathBuf, Error> {
    if let Some(path) = &config.upgrade_socket {
        return Ok(path.clone());
    }
    // systemd sets it, to several with colons between where the unit names several.
    let directories = std::env::var_os("RUNTIME_DIRECTORY").ok_or(Error::NoSocket)?;
    let first = std::env::split_paths(&directories).next();
    let first = first.filter(|first| first.is_absolute());
    Ok(first.ok_or(Error::NoSocket)?.join(SOCKET))
}

/// Checks the configured place of the socket before it is needed.
///
/// # Errors
/// Why nobody could meet there.
pub(super) fn check(config: &Config) -> Result<(), Error> {
    if let Some(path) = &config.upgrade_socket {
        channel::address(path)?;
    }
    Ok(())
}

/// Says hello and hears it.
fn greet(channel: &Channel) -> Result<(), Error> {
    channel.set_patience(Some(ANSWER))?;
    channel.send(&Message::Hello(message::VERSION), None)?;
    match channel.receive()?.0 {
        Message::Hello(message::VERSION) => Ok(()),
        Message::Hello(version) => Err(Error::Version(version)),
        _ => Err(channel::Error::Nonsense.into()),
    }
}

/// Tells the other process of each session that ends here, and hears of those that end there,
/// until it has gone.
fn keep_in_step(
    channel: Arc<Channel>,
    revocations: Arc<Revocations>,
    here: mpsc::Receiver<Ended>,
) -> Result<(), Error> {
    channel.set_patience(None)?;
    let told = Arc::clone(&channel);
    let tell = move || {
        // Ends when nobody is told any more.
        for ended in here {
            if told.send(&Message::Ended(ended), None).is_err() {
                break;
            }
        }
    };
    let hear = move || {
        while let Ok((Message::Ended(ended), None)) = channel.receive() {
            revocations.take_over(ended);
        }
        revocations.unfollow();
    };
    let named = |name: &str| thread::Builder::new().name(name.to_owned());
    named("upgrade tells").spawn(tell).map_err(Error::Start)?;
    named("upgrade hears").spawn(hear).map_err(Error::Start)?;
    Ok(())
}

fn ended(status: &ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}; its own last lines say why"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}
