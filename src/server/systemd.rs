//! What systemd is told, where it has started the program (`Type=notify`). Without it, nothing.

use sd_notify::NotifyState;

use crate::proxy::state::State;

/// Everything serves, or does again: at the start, after a reload, after an upgrade.
pub(super) fn ready(state: &State) {
    let status = serving(state);
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// Files are being read again. [`ready`] must follow.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[
            NotifyState::Reloading,
            now,
            NotifyState::Status("Reading the changed files"),
        ]),
        Err(error) => tracing::debug!(%error, "systemd is not told of the reload"),
    }
}

/// The program ends.
pub(super) fn stopping() {
    tell(&[
        NotifyState::Stopping,
        NotifyState::Status("Finishing what was begun"),
    ]);
}

/// Another process is the service now.
pub(super) fn main_process(pid: i32) {
    // Where the system cannot tell, in another container, there is nothing to say.
    if let Ok(pid @ 1..) = u32::try_from(pid) {
        tell(&[NotifyState::MainPid(pid)]);
    }
}

/// What the program is doing, for `systemctl status`.
pub(super) fn status(text: &str) {
    tell(&[NotifyState::Status(text)]);
}

fn serving(state: &State) -> String {
    let apis = state.apis.len();
    let apis = format!("{apis} API{}", if apis == 1 { "" } else { "s" });
    if !state.directory.is_loaded() {
        return format!("Serving {apis}; no applications read yet");
    }
    let applications = state.directory.len();
    let plural = if applications == 1 { "" } else { "s" };
    format!("Serving {apis} to {applications} application{plural}")
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd cannot be told");
    }
}
