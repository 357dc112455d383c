//! Log lines wait in two bounded buffers, which a thread of its own empties by the clock.
//!
//! Whoever has a line copies it behind the others: no allocation, no system call, no waking of a
//! sleeping thread, and a lock that is held for that copy alone. A line that finds no room is dropped,
//! and counted.

use std::{
    io::{self, Write},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use tracing_subscriber::{
    Layer as _, Registry,
    filter::{LevelFilter, Targets, dynamic_filter_fn},
    fmt::{self, MakeWriter},
    layer::SubscriberExt as _,
    reload,
    util::SubscriberInitExt as _,
};

use crate::config::{LogConfig, LogFormat};

/// Bytes of requests' lines that wait at most: some 30,000 lines, a third of a second at 100,000 a second.
const REQUESTS: usize = 16 << 20;

/// Bytes of diagnostic lines that wait at most.
const DIAGNOSTICS: usize = 2 << 20;

/// A buffer that held more than this goes back to the system when it has been written.
const KEPT: usize = 2 << 20;

/// Time between two emptyings: short enough to follow a log by eye, long enough to gather lines.
const PAUSE: Duration = Duration::from_millis(20);

struct Shared {
    /// One line for each request: standard output.
    requests: Waiting,
    /// For people and collectors that watch the program: standard error.
    diagnostics: Waiting,
    stopping: AtomicBool,
}

/// Where lines are put. Cheap to clone.
#[derive(Clone)]
pub struct Lines(Arc<Shared>);

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines")
            .field("dropped", &self.dropped())
            .finish()
    }
}

/// Ends the writing thread when dropped, after it has written what waits.
#[derive(Debug)]
pub struct Writer {
    lines: Lines,
    thread: Option<thread::JoinHandle<()>>,
}

impl Lines {
    /// Starts the writing thread. Keep the [`Writer`] until the program ends.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start() -> io::Result<(Self, Writer)> {
        let lines = Self(Arc::new(Shared {
            requests: Waiting::new(REQUESTS),
            diagnostics: Waiting::new(DIAGNOSTICS),
            stopping: AtomicBool::new(false),
        }));
        let emptied = lines.clone();
        let thread = thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || {
                let Shared {
                    requests,
                    diagnostics,
                    stopping,
                } = &*emptied.0;
                let (mut request_text, mut diagnostic_text) =
                    (requests.buffer(), diagnostics.buffer());
                loop {
                    let is_last = stopping.load(Ordering::Acquire);
                    requests.write_to(&mut io::stdout(), &mut request_text);
                    diagnostics.write_to(&mut io::stderr(), &mut diagnostic_text);
                    if is_last {
                        break;
                    }
                    thread::park_timeout(PAUSE);
                }
            })?;
        Ok((
            lines.clone(),
            Writer {
                lines,
                thread: Some(thread),
            },
        ))
    }

    /// Takes an access-log line, with its line end.
    pub fn request(&self, line: &str) {
        self.0.requests.push(line.as_bytes());
    }

    /// Lines dropped since the start.
    pub fn dropped(&self) -> u64 {
        let dropped = |waiting: &Waiting| waiting.dropped.load(Ordering::Relaxed);
        dropped(&self.0.requests) + dropped(&self.0.diagnostics)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.lines.0.stopping.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// Lines on their way to one place.
struct Waiting {
    text: Mutex<Vec<u8>>,
    /// Bytes that `text` has room for. It never grows, so that nobody waits for a copy of it.
    room: usize,
    dropped: AtomicU64,
}

impl Waiting {
    fn new(room: usize) -> Self {
        Self {
            text: Mutex::new(Vec::with_capacity(room)),
            room,
            dropped: AtomicU64::new(0),
        }
    }

    /// Room for as much as may wait. The system gives memory only to what was written to.
    fn buffer(&self) -> Vec<u8> {
        Vec::with_capacity(self.room)
    }

    fn text(&self) -> MutexGuard<'_, Vec<u8>> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a line with its end, or counts it where there is no room.
    fn push(&self, line: &[u8]) {
        let mut text = self.text();
        if text.len() + line.len() <= self.room {
            text.extend_from_slice(line);
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what waits. `empty` is what lines are put into meanwhile, and what was written comes back
    /// in its place, emptied.
    fn write_to(&self, out: &mut impl Write, empty: &mut Vec<u8>) {
        mem::swap(&mut *self.text(), empty);
        if empty.is_empty() {
            return;
        }
        // A reader that closed its end must not end the gateway: a failed write loses lines only.
        if out.write_all(empty).and_then(|()| out.flush()).is_err() {
            let lines = empty.iter().filter(|byte| **byte == b'\n').count();
            self.dropped.fetch_add(lines as u64, Ordering::Relaxed);
        }
        if empty.len() > KEPT {
            *empty = self.buffer();
        }
        empty.clear();
    }
}

/// One diagnostic line while it is being formatted.
#[derive(Debug)]
pub struct Diagnostic<'a> {
    lines: &'a Lines,
    text: Vec<u8>,
}

impl io::Write for Diagnostic<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Diagnostic<'_> {
    fn drop(&mut self) {
        self.lines.0.diagnostics.push(&self.text);
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Diagnostic<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Diagnostic {
            lines: self,
            text: Vec::with_capacity(256),
        }
    }
}

/// The log set-up of the running program.
#[derive(Clone, Debug)]
pub struct Logs {
    /// None where another subscriber was there already.
    filter: Option<reload::Handle<Targets, Registry>>,
    json: Arc<AtomicBool>,
}

/// Sends every `tracing` and `log` event into the queue.
///
/// Pingora and the HTTP libraries print whole heads at debug and trace level, credentials
/// included, and tell at info level of every step of theirs; whatever level is asked for, only our
/// own events go below warnings.
pub fn install(config: &LogConfig, lines: &Lines) -> Logs {
    let (filter, handle) = reload::Layer::new(targets(config));
    let json = Arc::new(AtomicBool::new(config.format == LogFormat::Json));
    let (is_json, is_text) = (Arc::clone(&json), Arc::clone(&json));
    let json_layer = fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_writer(lines.clone())
        .with_filter(dynamic_filter_fn(move |_, _| {
            is_json.load(Ordering::Relaxed)
        }));
    let text_layer = fmt::layer()
        .with_ansi(false)
        .with_writer(lines.clone())
        .with_filter(dynamic_filter_fn(move |_, _| {
            !is_text.load(Ordering::Relaxed)
        }));
    // A subscriber can only be there already in a program that embeds this crate; it stays.
    let registry = tracing_subscriber::registry()
        .with(filter)
        .with(json_layer)
        .with(text_layer);
    let installed = registry.try_init().is_ok();
    if installed {
        limit_others(config);
    }
    Logs {
        filter: installed.then_some(handle),
        json,
    }
}

impl Logs {
    /// Applies another level or form.
    pub fn set(&self, config: &LogConfig) {
        self.json
            .store(config.format == LogFormat::Json, Ordering::Relaxed);
        if let Some(handle) = &self.filter {
            // Only a subscriber that is gone cannot be changed.
            let _ = handle.reload(targets(config));
            limit_others(config);
        }
    }
}

/// What Pingora logs comes by way of the `log` crate. Its own limit is a load and a compare; without
/// it each of some dozens of debug lines a request would ask all filters.
fn limit_others(config: &LogConfig) {
    log::set_max_level(match config.level {
        tracing::Level::ERROR => log::LevelFilter::Error,
        _ => log::LevelFilter::Warn,
    });
}

fn targets(config: &LogConfig) -> Targets {
    let others = config.level.min(tracing::Level::WARN);
    // Pingora calls it an error when two tasks reach for the same kept connection and one of them
    // opens another; what really fails at an upstream stands in the access log.
    let quiet = LevelFilter::OFF;
    Targets::new()
        .with_target("pingora_core::connectors", quiet)
        .with_default(others)
        .with_target("dcr_gateway", config.level)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(waiting: &Waiting, empty: &mut Vec<u8>) -> String {
        let mut out = Vec::new();
        waiting.write_to(&mut out, empty);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_written_once_and_in_order() {
        let waiting = Waiting::new(64);
        let mut empty = waiting.buffer();
        assert_eq!(written(&waiting, &mut empty), "");
        for turn in 0..3 {
            waiting.push(format!("{turn} a\n").as_bytes());
            waiting.push(format!("{turn} b\n").as_bytes());
            assert_eq!(
                written(&waiting, &mut empty),
                format!("{turn} a\n{turn} b\n")
            );
        }
        assert_eq!(waiting.dropped.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_line_without_room_is_dropped_whole_and_counted() {
        let waiting = Waiting::new(10);
        let mut empty = waiting.buffer();
        for line in ["12345\n", "67890\n", "abc\n", "d\n"] {
            waiting.push(line.as_bytes());
        }
        assert_eq!(written(&waiting, &mut empty), "12345\nabc\n");
        assert_eq!(waiting.dropped.load(Ordering::Relaxed), 2);
        waiting.push(b"67890\n");
        assert_eq!(written(&waiting, &mut empty), "67890\n");
    }

    #[test]
    fn lines_that_nobody_reads_are_counted_and_a_large_buffer_is_given_back() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let waiting = Waiting::new(2 * KEPT);
        let mut empty = waiting.buffer();
        let line = format!("{}\n", "x".repeat(KEPT / 2));
        for _ in 0..3 {
            waiting.push(line.as_bytes());
        }
        waiting.write_to(&mut Closed, &mut empty);
        assert_eq!(waiting.dropped.load(Ordering::Relaxed), 3);
        assert_eq!((empty.len(), empty.capacity()), (0, 2 * KEPT));
        waiting.push(b"1\n");
        assert_eq!(written(&waiting, &mut empty), "1\n");
    }

    #[test]
    fn every_line_of_many_threads_is_written() {
        let waiting = Waiting::new(1 << 20);
        let mut text = String::new();
        thread::scope(|scope| {
            for thread in 0..4 {
                let waiting = &waiting;
                scope.spawn(move || {
                    for line in 0..1_000 {
                        waiting.push(format!("{thread} {line}\n").as_bytes());
                    }
                });
            }
            let mut empty = waiting.buffer();
            while text.lines().count() < 4_000 {
                text += &written(&waiting, &mut empty);
                thread::yield_now();
            }
        });
        for thread in 0..4 {
            let prefix = format!("{thread} ");
            let of_thread = text.lines().filter_map(|line| line.strip_prefix(&prefix));
            assert!(of_thread.eq((0..1_000).map(|line| line.to_string())));
        }
    }
}
