//! The new process: it waits, takes what it is given, and says when it serves.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, mpsc},
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::{
    ANSWER, Error, TAKEOVER,
    channel::{self, Channel, Door},
    greet, keep_in_step,
    message::Message,
    place,
};
use crate::{
    clock,
    config::Config,
    proxy::{
        revocations::{Ended, Revocations},
        state::State,
    },
    server::socket::{self, Bound, Duplicates, Listener},
    token::session::SessionKey,
};

/// How long a successor waits to be given the listeners: long enough for a person with two
/// terminals, short enough that one which was forgotten does not take over with old files.
const WAIT: Duration = Duration::from_secs(300);

/// How long identity providers, names and checks of upstreams may take to answer for the first
/// time.
const SETTLE: Duration = Duration::from_secs(30);

/// How often it is looked whether they have.
const LOOK: Duration = Duration::from_millis(20);

/// What the predecessor has given.
#[derive(Debug)]
pub(crate) struct Inheritance {
    channel: Arc<Channel>,
    sockets: Vec<Given>,
    providers: Vec<Box<str>>,
    upstreams: Vec<Box<str>>,
    ended: Vec<Ended>,
    made_key: Option<SessionKey>,
}

/// A listening socket that the predecessor has given.
#[derive(Debug)]
struct Given {
    listener: Listener,
    /// The address in the predecessor's configuration, whose port may be 0.
    asked: SocketAddr,
    /// The address that it has.
    bound: SocketAddr,
    socket: TcpListener,
}

/// What is left of it when everything is set up: the word that is still to be said.
#[derive(Debug)]
pub(crate) struct Word {
    channel: Arc<Channel>,
    revocations: Arc<Revocations>,
    here: mpsc::Receiver<Ended>,
}

/// Waits for a predecessor and takes what it gives. Blocks.
///
/// # Errors
/// There is no place to wait, nobody comes, or what comes is no predecessor of ours.
pub(crate) fn receive(config: &Config) -> Result<Inheritance, Error> {
    let path = place(config)?;
    let door = Door::open(&path)?;
    tracing::info!(socket = %path.display(), "waiting for the old process's listeners: send it SIGQUIT now");
    let channel = loop {
        let channel = door.wait(WAIT).map_err(|error| match error {
            channel::Error::Silent => Error::NotCalled(path.clone()),
            error => error.into(),
        })?;
        match greet(&channel) {
            Ok(()) => break channel,
            // Another process that would have liked to wait here has looked who does.
            Err(Error::Channel(channel::Error::Closed)) => {}
            Err(error) => return Err(error),
        }
    };
    drop(door);
    let mut inheritance = Inheritance {
        channel: Arc::new(channel),
        sockets: Vec::new(),
        providers: Vec::new(),
        upstreams: Vec::new(),
        ended: Vec::new(),
        made_key: None,
    };
    loop {
        match inheritance.channel.receive()? {
            (Message::Listener(listener, asked), Some(socket)) => {
                let socket = TcpListener::from(socket);
                let bound = socket.local_addr().map_err(channel::Error::Socket)?;
                inheritance.sockets.push(Given {
                    listener,
                    asked,
                    bound,
                    socket,
                });
            }
            (Message::Provider(name), None) => inheritance.providers.push(name),
            (Message::Upstream(name), None) => inheritance.upstreams.push(name),
            (Message::SessionKey(key), None) => inheritance.made_key = Some(key),
            (Message::Ended(ended), None) => inheritance.ended.push(ended),
            (Message::All, None) => return Ok(inheritance),
            _ => return Err(channel::Error::Nonsense.into()),
        }
    }
}

impl Inheritance {
    /// The connection alone, to say no with.
    pub(crate) fn refusal(&self) -> impl FnOnce(&dyn std::error::Error) + use<> {
        let channel = Arc::clone(&self.channel);
        move |error| {
            let mut why = error.to_string();
            // A packet holds no list of a hundred faults; they are in this process's own log.
            why.truncate(why.floor_char_boundary(2_000));
            if channel.send(&Message::Refused(why.into()), None).is_err() {
                tracing::debug!("nobody is left to be told");
            }
        }
    }

    /// The key that the predecessor made for cookies.
    pub(crate) fn made_key(&mut self) -> Option<SessionKey> {
        self.made_key.take()
    }

    /// The socket of a configured address; `None`: the predecessor has none.
    ///
    /// # Errors
    /// It has one, but for another use; or what it gave cannot be used.
    pub(crate) fn socket(
        &mut self,
        listener: Listener,
        asked: SocketAddr,
        duplicates: &Duplicates,
    ) -> Result<Option<Bound>, Error> {
        let is_at = |given: &Given| given.asked == asked || given.bound == asked;
        // Any number of listeners may have left their port to the system.
        let found = |given: &Given| given.listener == listener && is_at(given);
        if let Some(found) = self.sockets.iter().position(found) {
            let socket = self.sockets.remove(found).socket;
            let bound = socket::take_over(listener, asked, socket, duplicates)?;
            return Ok(Some(bound));
        }
        match self.sockets.iter().find(|given| is_at(given)) {
            Some(given) if asked.port() != 0 => Err(Error::Role {
                address: asked,
                before: given.listener,
                now: listener,
            }),
            _ => Ok(None),
        }
    }

    /// Waits until this process can judge whatever the predecessor can, and takes over the sessions
    /// that ended. Sockets that nobody asked for are let go.
    ///
    /// # Errors
    /// There are no applications, or something else that the predecessor has: it would be a bad
    /// exchange.
    pub(crate) async fn settle(self, state: &ArcSwap<State>) -> Result<Word, Error> {
        for given in &self.sockets {
            let (listener, address) = (given.listener, given.bound);
            tracing::info!(%listener, %address, "no longer configured: not taken over");
        }
        let revocations = Arc::clone(&state.load().revocations);
        self.ended
            .into_iter()
            .for_each(|ended| revocations.take_over(ended));
        if !state.load().directory.is_loaded() {
            return Err(Error::Applications);
        }
        let deadline = tokio::time::Instant::now() + SETTLE;
        while let Some(missing) = missing(&state.load(), &self.providers, &self.upstreams) {
            if tokio::time::Instant::now() > deadline {
                return Err(missing);
            }
            tokio::time::sleep(LOOK).await;
        }
        let (_, here) = revocations.follow(clock::now());
        Ok(Word {
            channel: self.channel,
            revocations,
            here,
        })
    }
}

/// What is to be waited for: a provider that was not asked yet, keys or a target that the
/// predecessor has and this process has not.
fn missing(state: &State, providers: &[Box<str>], upstreams: &[Box<str>]) -> Option<Error> {
    let now = clock::now();
    let lacking = state.providers.iter().find(|(name, provider)| {
        let had = providers.iter().any(|had| **had == ***name);
        !provider.was_asked() || had && !super::predecessor::is_usable(provider, now)
    });
    if let Some((name, _)) = lacking {
        return Some(Error::Provider((**name).into()));
    }
    let lacking = state.apis.iter().find(|api| {
        let had = upstreams.iter().any(|had| **had == *api.config.name);
        had && api.upstream.as_ref().is_some_and(|u| !u.is_settled())
    });
    lacking.map(|api| Error::Upstream((*api.config.name).into()))
}

impl Word {
    /// Says that this process serves, once it does, and waits for the predecessor to leave.
    ///
    /// # Errors
    /// The predecessor does not leave: it serves, and this process must not.
    pub(crate) async fn say(self, mut serving: watch::Receiver<bool>) -> Result<i32, Error> {
        let served = serving.wait_for(|serving| *serving);
        if !matches!(tokio::time::timeout(TAKEOVER, served).await, Ok(Ok(_))) {
            return Err(Error::Unserved);
        }
        let said = tokio::task::spawn_blocking(move || self.exchange());
        said.await
            .unwrap_or_else(|error| Err(Error::Start(error.into())))
    }

    fn exchange(self) -> Result<i32, Error> {
        let pid = self.channel.pid;
        self.channel.set_patience(Some(ANSWER))?;
        let answer = self
            .channel
            .send(&Message::Serving, None)
            .and_then(|()| self.channel.receive());
        match answer.map_err(Error::Abandoned)? {
            (Message::Leaving, None) => {}
            _ => return Err(Error::Abandoned(channel::Error::Nonsense)),
        }
        keep_in_step(self.channel, self.revocations, self.here)?;
        Ok(pid)
    }
}
