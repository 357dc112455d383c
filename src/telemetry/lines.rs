//! Log lines leave through one bounded queue, which a thread of its own empties by the clock.
//!
//! The request path only puts a line into the queue: no lock, no system call, no waking of a
//! sleeping thread. A full queue drops lines, and says how many.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use crossbeam_queue::ArrayQueue;
use tracing_subscriber::{
    Layer as _, Registry,
    filter::{LevelFilter, Targets, dynamic_filter_fn},
    fmt::{self, MakeWriter},
    layer::SubscriberExt as _,
    reload,
    util::SubscriberInitExt as _,
};

use crate::config::{LogConfig, LogFormat};

/// Lines that wait at most. At 300 bytes each some 20 MB, and half a second at 100,000 a second.
const QUEUE: usize = 65_536;

/// Time between two emptyings: short enough to follow a log by eye, long enough to gather lines.
const PAUSE: Duration = Duration::from_millis(20);

enum Line {
    /// For people and collectors that watch the program: standard error.
    Diagnostic(Vec<u8>),
    /// One request: standard output.
    Request(Vec<u8>),
}

struct Shared {
    queue: ArrayQueue<Line>,
    dropped: AtomicU64,
    stopping: AtomicBool,
}

/// Where lines are put. Cheap to clone.
#[derive(Clone)]
pub struct Lines(Arc<Shared>);

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lines")
            .field("waiting", &self.0.queue.len())
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
            queue: ArrayQueue::new(QUEUE),
            dropped: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        }));
        let emptied = lines.clone();
        let thread = thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || {
                while !emptied.0.stopping.load(Ordering::Acquire) {
                    emptied.write_waiting();
                    thread::park_timeout(PAUSE);
                }
                emptied.write_waiting();
            })?;
        Ok((
            lines.clone(),
            Writer {
                lines,
                thread: Some(thread),
            },
        ))
    }

    /// Puts an access-log line, without its line end, into the queue.
    pub fn request(&self, line: Vec<u8>) {
        self.push(Line::Request(line));
    }

    /// Lines dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    fn push(&self, line: Line) {
        if self.0.queue.push(line).is_err() {
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write_waiting(&self) {
        // A reader that closed its end must not end the gateway: a failed write loses lines only.
        let mut out = io::BufWriter::with_capacity(64 * 1024, io::stdout().lock());
        let mut err = io::BufWriter::with_capacity(16 * 1024, io::stderr().lock());
        for _ in 0..QUEUE {
            let written = match self.0.queue.pop() {
                Some(Line::Diagnostic(line)) => err.write_all(&line),
                Some(Line::Request(line)) => {
                    out.write_all(&line).and_then(|()| out.write_all(b"\n"))
                }
                None => break,
            };
            if written.is_err() {
                self.0.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
        let _ = out.flush();
        let _ = err.flush();
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
        self.lines
            .push(Line::Diagnostic(std::mem::take(&mut self.text)));
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
