//! What the gateway would log meanwhile, for the report: standard output stays clean.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use tracing_subscriber::{
    Layer as _,
    filter::{LevelFilter, Targets},
    fmt::{self, MakeWriter},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use crate::telemetry::checks::plain;

/// Characters shown of one line.
const LONGEST: usize = 1_000;

/// Lines of level warning and above, our own.
#[derive(Clone, Debug, Default)]
pub(super) struct Diary(Arc<Mutex<Vec<String>>>);

/// One line while it is being formatted.
pub(super) struct Line<'a> {
    diary: &'a Diary,
    text: Vec<u8>,
}

impl Diary {
    /// Begins to write down what this process would log.
    pub(super) fn open() -> Self {
        let diary = Self::default();
        let filter = Targets::new().with_target("dcr_gateway", LevelFilter::WARN);
        let layer = fmt::layer()
            .without_time()
            .with_ansi(false)
            .with_target(false)
            .with_writer(diary.clone())
            .with_filter(filter);
        // Where a program around this one has a subscriber already, its lines go there.
        let _ = tracing_subscriber::registry().with(layer).try_init();
        diary
    }

    /// The lines since the last time.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<'a> MakeWriter<'a> for Diary {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line {
            diary: self,
            text: Vec::new(),
        }
    }
}

impl io::Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.text);
        let mut lines = self.diary.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(plain(text.trim(), LONGEST));
    }
}
