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

    /// The lines since the last time. One that came several times is there once, and says so.
    pub(super) fn take(&self) -> Vec<String> {
        let lines = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let mut counted: Vec<(String, usize)> = Vec::new();
        for line in lines {
            match counted.iter_mut().find(|(known, _)| *known == line) {
                Some((_, times)) => *times += 1,
                None => counted.push((line, 1)),
            }
        }
        let told = |(line, times)| match times {
            1 => line,
            _ => format!("{line} ({times} times)"),
        };
        counted.into_iter().map(told).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_came_often_is_told_once() {
        let diary = Diary::default();
        let lines = ["a", "b", "a", "a"].map(str::to_owned);
        diary.0.lock().unwrap().extend(lines);
        assert_eq!(diary.take(), ["a (3 times)", "b"]);
        assert_eq!(diary.take(), [""; 0]);
    }
}
