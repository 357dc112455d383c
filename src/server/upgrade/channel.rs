//! The socket on which the two processes meet, and the packets on it.
//!
//! Always true: whoever is at the other end is root or our own user. The socket stands in a
//! directory that nobody else may write to, and the credentials of the peer are asked of the
//! system beside that.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::{FileTypeExt, MetadataExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    io::{Errno, retry_on_intr},
    net::{
        self, AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
        SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
        SocketType,
        sockopt::{Timeout, set_socket_timeout, socket_peercred},
    },
};

use super::message::{Message, PACKET};

/// What is wrong with the place of the socket, or with what came through it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another new process waits there.
    #[error("{}: another new process waits there already", .0.display())]
    Busy(PathBuf),
    /// The other side closed the connection.
    #[error("the other process has gone")]
    Closed,
    /// Its directory is somebody else's, or others may write to it.
    #[error(
        "{}: expected a directory of our own user (id {user}) that no other may write to, as `install -d -m 0700` makes it",
        directory.display()
    )]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// Our user.
        user: u32,
    },
    /// The system says no.
    #[error("{}: {source}", path.display())]
    Path {
        /// The socket or its directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something else than a socket stands there.
    #[error("{}: expected a socket or nothing", .0.display())]
    NoSocket(PathBuf),
    /// What came is no message, or not the one that is due.
    #[error("the other process speaks another language")]
    Nonsense,
    /// The peer is another user.
    #[error("the other process belongs to another user (id {0})")]
    Stranger(u32),
    /// The other side is silent for too long.
    #[error("the other process does not answer")]
    Silent,
    /// The connection failed.
    #[error("the connection to the other process: {0}")]
    Socket(#[source] io::Error),
}

/// One end of a connection. Blocking; may be used from two threads, one for each direction.
#[derive(Debug)]
pub(super) struct Channel {
    socket: OwnedFd,
    /// The process at the other end.
    pub(super) pid: i32,
}

/// Where a new process waits. The socket's file goes with it.
#[derive(Debug)]
pub(super) struct Door {
    socket: OwnedFd,
    path: PathBuf,
}

impl Door {
    /// Makes the socket, in the place of one that a process left behind.
    ///
    /// # Errors
    /// The place cannot be used, or another process waits there.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let address = address(path)?;
        let failed = |source: io::Error| Error::Path {
            path: path.to_owned(),
            source,
        };
        match std::fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(Error::NoSocket(path.to_owned()));
            }
            Ok(_) => {
                let knocked = net::connect(&socket().map_err(failed)?, &address);
                if !matches!(knocked, Err(Errno::CONNREFUSED | Errno::PROTOTYPE)) {
                    return Err(Error::Busy(path.to_owned()));
                }
                std::fs::remove_file(path).map_err(failed)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let socket = socket().map_err(failed)?;
        let opened = || {
            net::bind(&socket, &address)?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
            Ok(net::listen(&socket, 1)?)
        };
        opened().map_err(failed)?;
        let path = path.to_owned();
        Ok(Self { socket, path })
    }

    /// Waits so long for the other process.
    ///
    /// # Errors
    /// Nobody came, or a stranger.
    pub(super) fn wait(&self, patience: Duration) -> Result<Channel, Error> {
        set_socket_timeout(&self.socket, Timeout::Recv, Some(patience)).map_err(told)?;
        let accepted = retry_on_intr(|| net::accept_with(&self.socket, SocketFlags::CLOEXEC));
        Channel::new(accepted.map_err(told)?)
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // One that cannot be removed is replaced by the next process that waits here.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Channel {
    /// Connects to the process that waits; `None` where none does.
    ///
    /// # Errors
    /// The place cannot be used, or a stranger waits there.
    pub(super) fn connect(path: &Path) -> Result<Option<Self>, Error> {
        let address = address(path)?;
        let socket = socket().map_err(Error::Socket)?;
        match net::connect(&socket, &address) {
            Ok(()) => Self::new(socket).map(Some),
            Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(None),
            Err(error) => Err(Error::Path {
                path: path.to_owned(),
                source: error.into(),
            }),
        }
    }

    fn new(socket: OwnedFd) -> Result<Self, Error> {
        let peer = socket_peercred(&socket).map_err(told)?;
        let user = peer.uid.as_raw();
        if user != 0 && user != our_user() {
            return Err(Error::Stranger(user));
        }
        let pid = peer.pid.as_raw_pid();
        Ok(Self { socket, pid })
    }

    /// How long each later call may wait; `None`: for ever.
    ///
    /// # Errors
    /// The system says no.
    pub(super) fn set_patience(&self, patience: Option<Duration>) -> Result<(), Error> {
        for direction in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(&self.socket, direction, patience).map_err(told)?;
        }
        Ok(())
    }

    /// Sends a message, and a descriptor beside it.
    ///
    /// # Errors
    /// The other side has gone, or does not read.
    pub(super) fn send(&self, message: &Message, beside: Option<BorrowedFd>) -> Result<(), Error> {
        let packet = message.encode();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = beside.as_slice();
        if !descriptors.is_empty() {
            // There is room for one, and this is one.
            control.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        retry_on_intr(|| {
            net::sendmsg(
                &self.socket,
                &[IoSlice::new(&packet)],
                &mut control,
                SendFlags::NOSIGNAL,
            )
        })
        .map_err(told)?;
        Ok(())
    }

    /// Receives a message, and the descriptor beside it.
    ///
    /// # Errors
    /// The other side has gone, is silent, or says what is no message.
    pub(super) fn receive(&self) -> Result<(Message, Option<OwnedFd>), Error> {
        let mut packet = [0; PACKET];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = retry_on_intr(|| {
            net::recvmsg(
                &self.socket,
                &mut [IoSliceMut::new(&mut packet)],
                &mut control,
                RecvFlags::CMSG_CLOEXEC,
            )
        })
        .map_err(told)?;
        let beside = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        if received.bytes == 0 {
            return Err(Error::Closed);
        }
        let cut = ReturnFlags::TRUNC | ReturnFlags::CTRUNC;
        if received.flags.intersects(cut) {
            return Err(Error::Nonsense);
        }
        let packet = packet.get(..received.bytes).unwrap_or_default();
        Ok((Message::decode(packet).ok_or(Error::Nonsense)?, beside))
    }
}

/// The user that the process acts as.
fn our_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn socket() -> io::Result<OwnedFd> {
    let made = net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    );
    Ok(made?)
}

/// The address of a path whose directory only we can write to.
/// The address of a socket whose directory is ours alone.
pub(super) fn address(path: &Path) -> Result<SocketAddrUnix, Error> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    let found = match std::fs::metadata(directory) {
        Ok(found) => Some(found),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => {
            return Err(Error::Path {
                path: directory.to_owned(),
                source,
            });
        }
    };
    let is_ours = |found: &std::fs::Metadata| {
        found.is_dir() && found.uid() == our_user() && found.mode() & 0o022 == 0
    };
    if !found.is_some_and(|found| is_ours(&found)) {
        return Err(Error::Directory {
            directory: directory.to_owned(),
            user: our_user(),
        });
    }
    SocketAddrUnix::new(path).map_err(|error| Error::Path {
        path: path.to_owned(),
        source: error.into(),
    })
}

fn told(error: Errno) -> Error {
    match error {
        Errno::AGAIN | Errno::TIMEDOUT => Error::Silent,
        Errno::PIPE | Errno::CONNRESET => Error::Closed,
        error => Error::Socket(error.into()),
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
