//! Tells when one of a set of files may have changed.
//!
//! The system's notices are watched at directories, not at files: an editor or a deployment
//! replaces a file, and a watch on the file itself would go on watching the old one. A symlink is
//! watched where it stands and where it leads, since Kubernetes swaps a link to a directory
//! (`..data`) beside the file's own. A slow poll finds what no notice tells: network file systems,
//! directories that are made later, links further up the path.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::sync::watch;

/// From the first notice to the word. Long enough for a program that writes in several steps,
/// short enough that an edit is live within a second.
const DEBOUNCE: Duration = Duration::from_millis(150);

/// Time between two polls.
const POLL: Duration = Duration::from_secs(2);

/// A watch over files. Ends when it is dropped.
#[derive(Debug)]
pub struct Watch {
    commands: mpsc::Sender<Message>,
    changes: watch::Receiver<()>,
}

impl Watch {
    /// Begins to watch. The files need not exist, nor their directories. Make it before the files
    /// are read for the first time, so that no change falls between.
    ///
    /// # Errors
    /// No thread could be started.
    pub fn new(paths: impl IntoIterator<Item = PathBuf>) -> std::io::Result<Self> {
        let (commands, inbox) = mpsc::channel();
        let (word, changes) = watch::channel(());
        let notices = commands.clone();
        let handler = move |event: notify::Result<Event>| {
            // The other side is gone only when the watch has ended.
            let _ = notices.send(Message::Notice(event.ok().map(Box::new)));
        };
        let watcher = notify::recommended_watcher(handler)
            .inspect_err(|error| tracing::warn!(%error, "files are polled: no notices"))
            .ok();
        let mut files = Files {
            watcher,
            stamps: HashMap::new(),
            directories: HashMap::new(),
        };
        files.replace(stamped(paths));
        thread::Builder::new()
            .name("file watch".to_owned())
            .spawn(move || files.run(&inbox, &word))?;
        Ok(Self { commands, changes })
    }

    /// Waits until a file may have changed since the last time that this returned. Changes within
    /// a short time count once; a change while nobody waits is kept. Safe to cancel.
    pub async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            // The thread ends only with this value, so nothing can come any more.
            std::future::pending::<()>().await;
        }
    }

    /// Watches another set of files from now on: for the new ones, changes after this call are
    /// told. Blocks while it looks at them.
    pub fn replace(&self, paths: impl IntoIterator<Item = PathBuf>) {
        // Nobody listens only when the thread has ended, and then nothing is watched at all.
        let _ = self.commands.send(Message::Replace(stamped(paths)));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.commands.send(Message::Stop);
    }
}

enum Message {
    /// The system says that something happened; `None`: that it lost count.
    Notice(Option<Box<Event>>),
    Replace(HashMap<PathBuf, Stamp>),
    Stop,
}

/// What a path led to when it was last looked at.
#[derive(PartialEq, Eq)]
enum Stamp {
    File {
        target: PathBuf,
        device: u64,
        inode: u64,
        length: u64,
        modified: (i64, i64),
    },
    Nothing,
}

/// The files, on the thread that watches them.
struct Files {
    watcher: Option<RecommendedWatcher>,
    stamps: HashMap<PathBuf, Stamp>,
    /// The directories watched, each with its device and inode: one that is made again is another.
    directories: HashMap<PathBuf, (u64, u64)>,
}

impl Files {
    fn run(mut self, inbox: &mpsc::Receiver<Message>, word: &watch::Sender<()>) {
        loop {
            let mut messages = match inbox.recv_timeout(POLL) {
                Ok(message) => {
                    thread::sleep(DEBOUNCE);
                    vec![message]
                }
                Err(mpsc::RecvTimeoutError::Timeout) => Vec::new(),
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            };
            messages.extend(inbox.try_iter());
            let mut changed = false;
            for message in messages {
                match message {
                    Message::Notice(event) => {
                        changed |= event.is_none_or(|event| self.concerns(&event));
                    }
                    Message::Replace(paths) => self.replace(paths),
                    Message::Stop => return,
                }
            }
            // Compared in any case: a swapped link is no notice of the file itself.
            changed |= self.look();
            if changed {
                word.send_replace(());
            }
        }
    }

    /// Whether a notice tells of a change of one of the files. Reading them makes notices too.
    fn concerns(&self, event: &Event) -> bool {
        let written = matches!(
            event.kind,
            EventKind::Access(AccessKind::Close(AccessMode::Write))
        );
        if event.kind.is_access() && !written {
            return false;
        }
        let is_ours = |path: &PathBuf| {
            self.stamps.iter().any(|(file, stamp)| {
                file == path || matches!(stamp, Stamp::File { target, .. } if target == path)
            })
        };
        event.need_rescan() || event.paths.iter().any(is_ours)
    }

    fn replace(&mut self, mut stamps: HashMap<PathBuf, Stamp>) {
        for (path, stamp) in &mut stamps {
            // What was watched before is compared with what was told before.
            if let Some(last) = self.stamps.remove(path) {
                *stamp = last;
            }
        }
        self.stamps = stamps;
        self.follow_directories();
    }

    /// Looks at every file again; whether one is not what it was.
    fn look(&mut self) -> bool {
        self.follow_directories();
        let mut changed = false;
        for (path, last) in &mut self.stamps {
            let now = stamp(path);
            changed |= now != *last;
            *last = now;
        }
        changed
    }

    /// Watches the directories that matter now, and no others.
    fn follow_directories(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let mut wanted = HashMap::new();
        for path in self.stamps.keys() {
            for directory in directories(path) {
                if let Ok(metadata) = fs::metadata(&directory) {
                    wanted.insert(directory, (metadata.dev(), metadata.ino()));
                }
            }
        }
        self.directories.retain(|directory, identity| {
            let keep = wanted.get(directory) == Some(identity);
            if !keep {
                // A directory that was deleted has taken its watch with it.
                let _ = watcher.unwatch(directory);
            }
            keep
        });
        for (directory, identity) in wanted {
            if self.directories.contains_key(&directory) {
                continue;
            }
            match watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.directories.insert(directory, identity);
                }
                // Tried again at the next poll, which finds the changes meanwhile.
                Err(error) => {
                    tracing::debug!(%error, directory = %directory.display(), "is only polled");
                }
            }
        }
    }
}

/// The directories in which a change can make a path lead elsewhere: the file's own, its target's,
/// and that of each link on the way.
fn directories(path: &Path) -> Vec<PathBuf> {
    let target = fs::canonicalize(path).ok();
    let links = path.ancestors().skip(1).filter(|part| part.is_symlink());
    let places = [Some(path), target.as_deref()]
        .into_iter()
        .flatten()
        .chain(links);
    places
        .filter_map(Path::parent)
        .map(Path::to_owned)
        .collect()
}

fn stamped(paths: impl IntoIterator<Item = PathBuf>) -> HashMap<PathBuf, Stamp> {
    let stamped = |path: PathBuf| {
        let stamp = stamp(&path);
        (path, stamp)
    };
    paths.into_iter().map(stamped).collect()
}

fn stamp(path: &Path) -> Stamp {
    let found = fs::canonicalize(path).and_then(|target| Ok((fs::metadata(&target)?, target)));
    match found {
        Ok((data, target)) => Stamp::File {
            target,
            device: data.dev(),
            inode: data.ino(),
            length: data.len(),
            modified: (data.mtime(), data.mtime_nsec()),
        },
        Err(_) => Stamp::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// Waits for the word, far longer than it may take.
    async fn told(watch: &mut Watch) {
        let word = tokio::time::timeout(Duration::from_secs(20), watch.changed()).await;
        word.expect("no word of the change");
    }

    /// Changes a file's content until the watch, which may just be starting, has told of it.
    async fn settled(watch: &mut Watch, path: &Path) {
        fs::write(path, "settled").unwrap();
        told(watch).await;
    }

    #[tokio::test]
    async fn an_edit_in_place_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.yaml");
        fs::write(&file, "one").unwrap();
        let mut watch = Watch::new([file.clone()]).unwrap();
        fs::write(&file, "two").unwrap();
        told(&mut watch).await;
        fs::write(&file, "six").unwrap();
        told(&mut watch).await;
    }

    #[tokio::test]
    async fn a_rename_over_is_told_each_time() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.yaml");
        let new = directory.path().join("a.yaml.new");
        fs::write(&file, "0").unwrap();
        let mut watch = Watch::new([file.clone()]).unwrap();
        for content in ["1", "2", "3"] {
            fs::write(&new, content).unwrap();
            fs::rename(&new, &file).unwrap();
            told(&mut watch).await;
        }
    }

    #[tokio::test]
    async fn a_swapped_link_to_a_directory_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for version in ["..1", "..2", "..3"] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("a.yaml"), "same").unwrap();
        }
        symlink("..1", at("..data")).unwrap();
        symlink("..data/a.yaml", at("a.yaml")).unwrap();
        let mut watch = Watch::new([at("a.yaml")]).unwrap();
        for version in ["..2", "..3"] {
            symlink(version, at("..new")).unwrap();
            fs::rename(at("..new"), at("..data")).unwrap();
            told(&mut watch).await;
        }
        fs::write(at("..3").join("a.yaml"), "another").unwrap();
        told(&mut watch).await;
    }

    #[tokio::test]
    async fn a_file_that_is_deleted_and_made_again_is_told_twice() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.yaml");
        fs::write(&file, "one").unwrap();
        let mut watch = Watch::new([file.clone()]).unwrap();
        fs::remove_file(&file).unwrap();
        told(&mut watch).await;
        fs::write(&file, "one").unwrap();
        told(&mut watch).await;
    }

    #[tokio::test]
    async fn a_directory_that_is_made_later_and_again_is_told() {
        let top = tempfile::tempdir().unwrap();
        let directory = top.path().join("later");
        let file = directory.join("a.yaml");
        let mut watch = Watch::new([file.clone()]).unwrap();
        for _ in 0..2 {
            fs::create_dir(&directory).unwrap();
            fs::write(&file, "one").unwrap();
            told(&mut watch).await;
            fs::remove_dir_all(&directory).unwrap();
            told(&mut watch).await;
        }
    }

    #[tokio::test]
    async fn another_set_of_files_can_take_over() {
        let directory = tempfile::tempdir().unwrap();
        let other_directory = tempfile::tempdir().unwrap();
        let (old, new) = (
            directory.path().join("old"),
            other_directory.path().join("new"),
        );
        let mut watch = Watch::new([old.clone()]).unwrap();
        settled(&mut watch, &old).await;
        watch.replace([new.clone()]);
        settled(&mut watch, &new).await;
    }

    #[tokio::test]
    async fn reading_and_other_files_say_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.yaml");
        fs::write(&file, "one").unwrap();
        let mut watch = Watch::new([file.clone()]).unwrap();
        settled(&mut watch, &file).await;
        fs::read(&file).unwrap();
        fs::write(directory.path().join("b.yaml"), "two").unwrap();
        // Longer than the debounce and a poll: silence has no event to wait for.
        let word = tokio::time::timeout(POLL + 2 * DEBOUNCE, watch.changed()).await;
        assert!(word.is_err(), "a word without a change");
    }
}
