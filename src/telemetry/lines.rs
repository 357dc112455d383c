//! Log lines wait in two bounded buffers, which a thread of its own empties by the clock.
//!
//! Whoever has a line copies it behind the others: no allocation, no writing, no waking of the thread
//! that does, and a lock that is held for that copy alone. A line that finds no room is dropped, and
//! counted.

use std::{
    fs::File,
    io::{self, ErrorKind, Write},
    mem,
    os::fd::AsFd,
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

/// Bytes of requests' lines that wait at most: some 60,000 lines, half a second at 100,000 a second.
const REQUESTS: usize = 32 << 20;

/// Bytes of diagnostic lines that wait at most.
const DIAGNOSTICS: usize = 2 << 20;

/// A buffer that held more than this is given back when it has been written.
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
    /// Where the system gives no thread, or no descriptor.
    pub fn start() -> io::Result<(Self, Writer)> {
        let lines = Self(Arc::new(Shared {
            requests: Waiting::new(REQUESTS),
            diagnostics: Waiting::new(DIAGNOSTICS),
            stopping: AtomicBool::new(false),
        }));
        let emptied = lines.clone();
        let Shared {
            requests,
            diagnostics,
            ..
        } = &*lines.0;
        let mut request_outlet = requests.outlet(unbuffered(&io::stdout())?);
        let mut diagnostic_outlet = diagnostics.outlet(unbuffered(&io::stderr())?);
        let thread = thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || {
                let shared = &*emptied.0;
                loop {
                    let is_last = shared.stopping.load(Ordering::Acquire);
                    shared.requests.write_to(&mut request_outlet);
                    shared.diagnostics.write_to(&mut diagnostic_outlet);
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

/// Another descriptor of a standard stream: what is written to it is written at once, and what is not
/// is known.
fn unbuffered(stream: &impl AsFd) -> io::Result<File> {
    stream.as_fd().try_clone_to_owned().map(File::from)
}

/// Lines on their way to one place.
struct Waiting {
    text: Mutex<Vec<u8>>,
    /// Bytes that `text` has room for. It never grows, so that nobody waits for a copy of it.
    room: usize,
    dropped: AtomicU64,
}

/// Where lines go.
struct Outlet<W> {
    out: W,
    /// What lines are put into while others are written.
    empty: Vec<u8>,
    /// Whether the last line was cut off.
    torn: bool,
}

impl Waiting {
    fn new(room: usize) -> Self {
        Self {
            text: Mutex::new(Vec::with_capacity(room)),
            room,
            dropped: AtomicU64::new(0),
        }
    }

    fn outlet<W>(&self, out: W) -> Outlet<W> {
        Outlet {
            out,
            empty: self.buffer(),
            torn: false,
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

    /// Writes what waits. A reader that closed its end must not end the gateway: a failed write loses
    /// lines only, which are counted.
    fn write_to(&self, outlet: &mut Outlet<impl Write>) {
        let Outlet { out, empty, torn } = outlet;
        mem::swap(&mut *self.text(), empty);
        if empty.is_empty() {
            return;
        }
        let is_apart = !*torn || write(out, b"\n") == 1;
        let written = if is_apart { write(out, empty) } else { 0 };
        let (written, lost) = empty.split_at(written);
        if let Some(last) = written.last() {
            *torn = *last != b'\n';
        }
        let lost = lost.iter().filter(|byte| **byte == b'\n').count();
        self.dropped.fetch_add(lost as u64, Ordering::Relaxed);
        if empty.len() > KEPT {
            *empty = self.buffer();
        }
        empty.clear();
    }
}

/// Writes as much as can be written, and says how much that was.
fn write(out: &mut impl Write, text: &[u8]) -> usize {
    let mut written = 0;
    while written < text.len() {
        match out.write(&text[written..]) {
            Ok(0) => break,
            Ok(more) => written += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    written
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

    /// Takes so many bytes, then nothing.
    #[derive(Default)]
    struct Pipe {
        taken: Vec<u8>,
        room: usize,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let fits = bytes.len().min(self.room);
            if fits == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.taken.extend_from_slice(&bytes[..fits]);
            self.room -= fits;
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(waiting: &Waiting, outlet: &mut Outlet<Vec<u8>>) -> String {
        waiting.write_to(outlet);
        String::from_utf8(mem::take(&mut outlet.out)).unwrap()
    }

    fn dropped(waiting: &Waiting) -> u64 {
        waiting.dropped.load(Ordering::Relaxed)
    }

    #[test]
    fn lines_are_written_once_and_in_order() {
        let waiting = Waiting::new(64);
        let mut outlet = waiting.outlet(Vec::new());
        assert_eq!(written(&waiting, &mut outlet), "");
        for turn in 0..3 {
            waiting.push(format!("{turn} a\n").as_bytes());
            waiting.push(format!("{turn} b\n").as_bytes());
            let lines = format!("{turn} a\n{turn} b\n");
            assert_eq!(written(&waiting, &mut outlet), lines);
        }
        assert_eq!(dropped(&waiting), 0);
    }

    #[test]
    fn a_line_without_room_is_dropped_whole_and_counted() {
        let waiting = Waiting::new(10);
        let mut outlet = waiting.outlet(Vec::new());
        for line in ["12345\n", "67890\n", "abc\n", "d\n"] {
            waiting.push(line.as_bytes());
        }
        assert_eq!(written(&waiting, &mut outlet), "12345\nabc\n");
        assert_eq!(dropped(&waiting), 2);
        waiting.push(b"67890\n");
        assert_eq!(written(&waiting, &mut outlet), "67890\n");
    }

    #[test]
    fn a_line_that_is_cut_off_is_counted_and_spoils_no_other() {
        let waiting = Waiting::new(64);
        let mut outlet = waiting.outlet(Pipe::default());
        for (room, lines, counted) in [(6, "a1\na2\na3\n", 1), (0, "b1\nb2\n", 3), (64, "c1\n", 3)]
        {
            outlet.out.room = room;
            waiting.push(lines.as_bytes());
            waiting.write_to(&mut outlet);
            assert_eq!(dropped(&waiting), counted, "{lines:?}");
        }
        assert_eq!(outlet.out.taken, b"a1\na2\nc1\n");
        outlet.out.room = 4;
        for (room, line) in [(4, "d1\nd2\n"), (64, "e1\n")] {
            outlet.out.room = room;
            waiting.push(line.as_bytes());
            waiting.write_to(&mut outlet);
        }
        assert_eq!(outlet.out.taken, b"a1\na2\nc1\nd1\nd\ne1\n");
        assert_eq!(dropped(&waiting), 4);
    }

    #[test]
    fn a_large_buffer_is_given_back() {
        let waiting = Waiting::new(2 * KEPT);
        let mut outlet = waiting.outlet(Vec::new());
        for (line, is_same) in [
            ("small\n".to_owned(), true),
            ("x".repeat(KEPT) + "\n", false),
        ] {
            let before = waiting.text().as_ptr();
            waiting.push(line.as_bytes());
            assert_eq!(written(&waiting, &mut outlet), line);
            // A new one is made before the old one goes.
            assert_eq!(outlet.empty.as_ptr() == before, is_same);
            assert_eq!((outlet.empty.len(), outlet.empty.capacity()), (0, 2 * KEPT));
        }
    }

    #[test]
    fn every_line_of_many_threads_is_written() {
        let waiting = Waiting::new(1 << 20);
        let mut outlet = waiting.outlet(Vec::new());
        thread::scope(|scope| {
            let write = |thread| {
                let waiting = &waiting;
                scope.spawn(move || {
                    for line in 0..1_000 {
                        waiting.push(format!("{thread} {line}\n").as_bytes());
                    }
                })
            };
            let threads = [0, 1, 2, 3].map(write);
            while !threads.iter().all(|thread| thread.is_finished()) {
                waiting.write_to(&mut outlet);
            }
        });
        let text = written(&waiting, &mut outlet);
        for thread in 0..4 {
            let prefix = format!("{thread} ");
            let of_thread = text.lines().filter_map(|line| line.strip_prefix(&prefix));
            assert!(of_thread.eq((0..1_000).map(|line| line.to_string())));
        }
    }
}
