//! What does it cost to keep applications in memory: to find one, to read their file, to put an
//! edit of it in force?
//!
//! `find` is the look-up that each request makes. `load` reads and checks `applications.yaml`.
//! `replace` puts a whole new list in force of which one entry has changed, as every edit of the
//! file does; its list is made beforehand and not counted.
//!
//! Fixed: one strategy, two registrations an application, ids of 36 bytes, 20,000 and 200,000
//! applications; `find` asks for 1,024 ids spread over the whole list, one after the other.
//!
//! How to read it: `find` grows with the number of applications only as far as the processor's
//! caches miss; a `load` and a `replace` grow in proportion. An edit is live after the watch's
//! pause of 150 ms, a `load` and a `replace`; `scale.sh` measures that from outside.

#![expect(
    clippy::unwrap_used,
    reason = "a bench that cannot be set up has nothing to measure"
)]

mod applications;

use std::{env, fs, hint::black_box, time::Duration};

use applications::{known, text};
use criterion::{BatchSize, Criterion};
use dcr_gateway::directory::{Directory, Entry, file};

/// What is measured.
const SIZES: &[usize] = &[20_000, 200_000];

/// What is tried where nothing is measured, in a build that is slow.
const TRIAL: &[usize] = &[2000];

fn main() {
    // A second or more goes into one reading of the large file.
    let mut criterion = Criterion::default()
        .sample_size(10)
        .measurement_time(Duration::from_secs(8))
        .configure_from_args();
    // Cargo says so when it is asked for figures.
    let measures = env::args().any(|argument| argument == "--bench");
    for &size in if measures { SIZES } else { TRIAL } {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        fs::write(&path, text(size)).unwrap();
        let known = known();
        let entries = file::load(&path, &known).unwrap().0;
        find(&mut criterion, &entries);
        criterion.bench_function(&format!("load/{size}"), |bencher| {
            bencher.iter(|| file::load(black_box(&path), &known).unwrap());
        });
        replace(&mut criterion, &entries);
    }
    criterion.final_summary();
}

fn find(criterion: &mut Criterion, entries: &[Entry]) {
    let directory = Directory::default();
    directory.replace(entries.to_vec());
    let table = directory.table("partners");
    let step = entries.len() / 1024;
    let ids: Vec<&str> = entries
        .iter()
        .step_by(step)
        .map(|entry| entry.client_id.as_str())
        .collect();
    let mut next = ids.iter().cycle();
    criterion.bench_function(&format!("find/{}", entries.len()), |bencher| {
        bencher.iter(|| table.find(black_box(next.next().unwrap())).unwrap());
    });
}

fn replace(criterion: &mut Criterion, entries: &[Entry]) {
    let directory = Directory::default();
    directory.replace(entries.to_vec());
    let mut edit = 0;
    criterion.bench_function(&format!("replace/{}", entries.len()), |bencher| {
        bencher.iter_batched(
            || {
                let mut edited = entries.to_vec();
                edit += 1;
                edited[entries.len() / 2].application.name = format!("Edit {edit}").into();
                edited
            },
            |edited| directory.replace(edited),
            BatchSize::PerIteration,
        );
    });
}
