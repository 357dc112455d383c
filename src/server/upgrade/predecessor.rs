//! The old process: on a signal it hands over, and leaves when the new one serves.

use std::{
    env, io,
    os::fd::AsFd,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};

use super::{
    ANSWER, Error, TAKEOVER,
    channel::{self, Channel},
    greet, keep_in_step,
    message::Message,
    place,
};
use crate::{
    clock,
    idp::Provider,
    model::time::Timestamp,
    proxy::state::State,
    server::{shutdown::Shutdown, socket::Duplicates, systemd},
    token::session::SessionKey,
};

/// How long a started program may take until it waits for the listeners: it checks its
/// configuration first.
const START: Duration = Duration::from_secs(30);

/// How long a started program may take to end by itself when nothing came of it. It may have
/// accepted requests, and finishes those.
const FAREWELL: Duration = Duration::from_secs(20);

/// How often a started program is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What is handed over, and when.
#[derive(Clone, Debug)]
pub(crate) struct Predecessor {
    /// The configuration at work, and with it the sessions that ended.
    pub(crate) state: Arc<ArcSwap<State>>,
    /// The listening sockets.
    pub(crate) duplicates: Duplicates,
    /// Seals sessions where no key is configured.
    pub(crate) made_key: SessionKey,
    /// What is told of success.
    pub(crate) shutdown: Shutdown,
}

/// Who starts the successor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begun {
    /// Somebody did; it waits.
    Elsewhere,
    /// This process does.
    Here,
}

/// The two signals, listened for.
#[derive(Debug)]
pub(crate) struct Signals {
    quit: Signal,
    user: Signal,
}

impl Signals {
    /// Listens for them from now on: neither ends the process any more.
    ///
    /// # Errors
    /// The system says no.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            quit: signal(SignalKind::quit())?,
            user: signal(SignalKind::user_defined2())?,
        })
    }

    async fn next(&mut self) -> Begun {
        tokio::select! {
            _ = self.quit.recv() => Begun::Elsewhere,
            _ = self.user.recv() => Begun::Here,
        }
    }
}

impl Predecessor {
    /// Hands over on SIGQUIT and SIGUSR2, until the program ends.
    pub(crate) async fn run(self, mut signals: Signals) {
        let mut attempt: Option<JoinHandle<Result<i32, Error>>> = None;
        let mut draining = self.shutdown.draining();
        loop {
            let done = async {
                match &mut attempt {
                    Some(attempt) => attempt.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                begun = signals.next() => {
                    if attempt.is_some() {
                        tracing::warn!("ignored: another upgrade is under way");
                        continue;
                    }
                    tracing::info!(starts = begun == Begun::Here, "upgrading");
                    systemd::status("Upgrading");
                    let this = self.clone();
                    attempt = Some(tokio::task::spawn_blocking(move || this.attempt(begun)));
                }
                done = done => {
                    attempt = None;
                    let done = done.unwrap_or_else(|error| Err(Error::Start(error.into())));
                    match done {
                        Ok(pid) => {
                            tracing::info!(pid, "the new process serves; this one ends");
                            self.shutdown.hand_over();
                            break;
                        }
                        Err(error) => {
                            tracing::error!(%error, "not upgraded; this process goes on serving");
                            systemd::ready(&self.state.load());
                        }
                    }
                }
                // The sender is in the handle that this task holds.
                _ = draining.wait_for(|draining| *draining) => break,
            }
        }
        // What still listens only because of these is to be closed with the rest.
        self.duplicates.all().clear();
        loop {
            signals.next().await;
            tracing::warn!("ignored: this process is ending");
        }
    }

    /// Hands over once. Blocks. Gives the successor's process id.
    fn attempt(&self, begun: Begun) -> Result<i32, Error> {
        if std::process::id() == 1 {
            return Err(Error::FirstProcess);
        }
        let place = place(&self.state.load().config)?;
        match begun {
            Begun::Elsewhere => {
                let channel = Channel::connect(&place)?;
                self.hand_over(channel.ok_or(Error::Nobody(place))?)
            }
            Begun::Here => {
                let mut child = start()?;
                let handed = meet(&mut child, &place).and_then(|channel| self.hand_over(channel));
                if handed.is_err() {
                    part(child);
                }
                handed
            }
        }
    }

    fn hand_over(&self, channel: Channel) -> Result<i32, Error> {
        let pid = channel.pid;
        let revocations = Arc::clone(&self.state.load().revocations);
        let (ended, here) = revocations.follow(clock::now());
        let handed = || {
            greet(&channel)?;
            let (state, now) = (self.state.load_full(), clock::now());
            for (name, provider) in &state.providers {
                if is_usable(provider, now) {
                    channel.send(&Message::Provider((**name).into()), None)?;
                }
            }
            for api in &state.apis {
                if api.upstream.as_ref().is_some_and(|u| u.is_settled()) {
                    channel.send(&Message::Upstream((*api.config.name).into()), None)?;
                }
            }
            for duplicate in &*self.duplicates.all() {
                let message = Message::Listener(duplicate.listener, duplicate.asked);
                channel.send(&message, Some(duplicate.socket.as_fd()))?;
            }
            channel.send(&Message::SessionKey(self.made_key.clone()), None)?;
            for ended in ended {
                channel.send(&Message::Ended(ended), None)?;
            }
            channel.send(&Message::All, None)?;
            channel.set_patience(Some(TAKEOVER))?;
            match channel.receive()?.0 {
                Message::Serving => {}
                Message::Refused(why) => return Err(Error::Refused(why)),
                _ => return Err(channel::Error::Nonsense.into()),
            }
            channel.set_patience(Some(ANSWER))?;
            if self.shutdown.is_draining() {
                return Err(Error::Stopping);
            }
            // Before the successor's first word to systemd, which listens to the main process only.
            systemd::main_process(pid);
            channel.send(&Message::Leaving, None)?;
            Ok(())
        };
        if let Err(error) = handed() {
            revocations.unfollow();
            return Err(error);
        }
        if let Err(error) = keep_in_step(Arc::new(channel), revocations, here) {
            tracing::error!(%error, "logouts are no longer told between the two processes");
        }
        Ok(pid)
    }
}

/// Whether tokens of a provider can be verified.
pub(super) fn is_usable(provider: &Provider, now: Timestamp) -> bool {
    provider.keys(now).is_some() || provider.state(now).is_ok()
}

/// Starts what now stands where this program was started from, with the same arguments.
fn start() -> Result<Child, Error> {
    let mut arguments = env::args_os();
    // By that name it is looked for, in PATH or through links, as it was the first time: the system
    // knows this program by its inode, which follows it when it is moved out of the way.
    let program = arguments.next().ok_or(Error::Nameless)?;
    let mut command = Command::new(&program);
    command.args(arguments.filter(|argument| argument != "--upgrade"));
    // It writes where this process writes.
    command.arg("--upgrade").stdin(Stdio::null());
    tracing::info!(program = %Path::new(&program).display(), "starting the new process");
    command.spawn().map_err(|source| Error::Program {
        program: program.into(),
        source,
    })
}

/// Waits until the started program waits for the listeners.
fn meet(child: &mut Child, place: &Path) -> Result<Channel, Error> {
    let started = clock::instant();
    loop {
        if let Some(status) = child.try_wait().map_err(Error::Start)? {
            return Err(Error::Ended(status));
        }
        match Channel::connect(place)? {
            Some(channel) if u32::try_from(channel.pid) == Ok(child.id()) => return Ok(channel),
            Some(channel) => return Err(Error::Other(channel.pid)),
            None if started.elapsed() > START => return Err(Error::Unready),
            None => thread::sleep(LOOK),
        }
    }
}

/// Waits for the end of a started program of which nothing came, and ends it if it does not.
fn part(mut child: Child) {
    let left: Instant = clock::instant();
    while left.elapsed() < FAREWELL {
        match child.try_wait() {
            Ok(None) => thread::sleep(LOOK),
            Ok(Some(status)) => {
                tracing::info!(status = %super::ended(&status), "the started program has ended");
                return;
            }
            Err(error) => {
                tracing::error!(%error, "the started program cannot be waited for");
                return;
            }
        }
    }
    let pid = child.id();
    tracing::warn!(pid, "the started program does not end; it is killed");
    if let Err(error) = child.kill().and_then(|()| child.wait()) {
        tracing::error!(%error, pid, "the started program cannot be killed");
    }
}
