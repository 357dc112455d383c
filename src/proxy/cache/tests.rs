use std::{collections::HashMap, time::Duration};

use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_000_000);
const END: Timestamp = Timestamp::from_secs(1_000_060);

/// A key as digests are: spread over all shards.
fn key(number: u64) -> Key {
    let mut key = Key::default();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &number.to_be_bytes());
    key.copy_from_slice(digest.as_ref());
    key
}

#[test]
fn the_newest_always_find_room() {
    for size in [1, 1_000, 100_000] {
        let memory = Memory::new(size);
        for number in 0..3 * size {
            memory.keep(key(number), number, END, NOW);
            assert_eq!(memory.find(&key(number), NOW), Some(number));
        }
        let third = size.div_ceil(3);
        for number in 3 * size - third..3 * size {
            assert_eq!(memory.find(&key(number), NOW), Some(number), "of {size}");
        }
        assert_eq!(memory.tidy(NOW) as u64, size);
    }
}

#[test]
fn what_is_used_stays() {
    let memory = Memory::new(1_000);
    memory.keep(key(0), 0, END, NOW);
    for number in 1..100_000 {
        memory.keep(key(number), number, END, NOW);
        if number % 250 == 0 {
            assert_eq!(memory.find(&key(0), NOW), Some(0), "after {number}");
        }
    }
}

#[test]
fn an_end_is_an_end_and_makes_room() {
    let memory = Memory::new(100);
    for number in 0..100 {
        memory.keep(key(number), number, END, NOW);
    }
    let last = END.minus(Duration::from_millis(1));
    assert_eq!(memory.find(&key(1), last), Some(1));
    assert_eq!(memory.find(&key(1), END), None);
    let later = END.plus(Duration::from_secs(60));
    for number in 100..200 {
        let pushed = memory.keep(key(number), number, later, END);
        assert!(!pushed, "{number} took the place of one that had ended");
    }
    assert_eq!(memory.tidy(END), 100);
    assert!(memory.keep(key(200), 200, later, END), "all are alive");
    assert_eq!(memory.tidy(later), 0);
}

#[test]
fn a_clock_that_is_set_back_ends_what_was_kept_before() {
    let memory = Memory::new(100);
    let ahead = NOW.plus(Duration::from_secs(3600));
    memory.keep(key(1), 1, ahead.plus(Duration::from_secs(10)), ahead);
    let a_little_older = ahead.minus(Duration::from_secs(5));
    assert_eq!(memory.find(&key(1), a_little_older), Some(1));
    assert_eq!(memory.find(&key(1), NOW), None);
    assert_eq!(memory.tidy(NOW), 0);
}

#[test]
fn what_has_ended_when_it_comes_takes_nobodys_place() {
    let memory = Memory::new(1);
    memory.keep(key(1), 1, END, NOW);
    assert!(!memory.keep(key(2), 2, NOW, NOW));
    assert_eq!(memory.find(&key(1), NOW), Some(1));
    memory.keep(key(1), 3, NOW, NOW);
    assert_eq!(memory.find(&key(1), NOW), None, "the newer one has ended");
}

#[test]
fn what_has_ended_goes_with_the_next_that_come() {
    let memory = Memory::new(1_000);
    for number in 0..100 {
        memory.keep(key(number), number, END, NOW);
    }
    let later = END.plus(Duration::from_secs(60));
    for number in 100..200 {
        memory.keep(key(number), number, later, END);
    }
    let kept: usize = (memory.shards.iter()).map(|shard| read(shard).length).sum();
    assert_eq!(kept, 100);
}

#[test]
fn threads_find_what_was_kept_under_their_keys() {
    let memory = Memory::new(500);
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let memory = &memory;
            scope.spawn(move || {
                for turn in 0..20_000_u64 {
                    let number = (turn * 7 + thread * 13) % 900;
                    match turn % 3 {
                        0 => drop(memory.keep(key(number), number, END, NOW)),
                        1 if turn % 30 == 1 => memory.forget(&key(number)),
                        _ => {
                            let found = memory.find(&key(number), NOW);
                            assert!(found.is_none_or(|found| found == number));
                        }
                    }
                }
            });
        }
    });
    assert!(memory.tidy(NOW) <= 500);
}

/// What is done to a memory.
#[derive(Clone, Debug)]
enum Step {
    Keep(u64, i64),
    Find(u64),
    Forget(u64),
    Wait(i64),
    Tidy,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..20_u64, 1..30_i64).prop_map(|(number, life)| Step::Keep(number, life)),
        4 => (0..20_u64).prop_map(Step::Find),
        1 => (0..20_u64).prop_map(Step::Forget),
        1 => (1..10_i64).prop_map(Step::Wait),
        1 => Just(Step::Tidy),
    ]
}

proptest! {
    /// Against a map without bounds: what is found was the last that was kept and has not ended,
    /// and nothing is missing before the memory was full.
    #[test]
    fn it_is_a_map_that_forgets(size in 1..25_u64, steps in prop::collection::vec(step(), 0..300)) {
        let memory = Memory::new(size);
        let mut model: HashMap<u64, (usize, Timestamp)> = HashMap::new();
        let (mut now, mut pushed) = (NOW, 0);
        for (value, step) in steps.into_iter().enumerate() {
            match step {
                Step::Keep(number, life) => {
                    let until = now.plus(Duration::from_secs(life.unsigned_abs()));
                    pushed += usize::from(memory.keep(key(number), value, until, now));
                    model.insert(number, (value, until));
                }
                Step::Find(number) => {
                    let alive = model.get(&number).filter(|(_, until)| now < *until);
                    match memory.find(&key(number), now) {
                        Some(found) => prop_assert_eq!(Some(found), alive.map(|(value, _)| *value)),
                        None => prop_assert!(alive.is_none() || pushed > 0),
                    }
                }
                Step::Forget(number) => {
                    memory.forget(&key(number));
                    model.remove(&number);
                }
                Step::Wait(seconds) => now = now.plus(Duration::from_secs(seconds.unsigned_abs())),
                Step::Tidy => {
                    let alive = model.values().filter(|(_, until)| now < *until).count();
                    let kept = memory.tidy(now);
                    prop_assert!(kept as u64 <= size);
                    prop_assert!(kept <= alive && alive <= kept + pushed);
                }
            }
        }
    }
}
