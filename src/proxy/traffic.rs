//! How much each application called in the last hour, for the operator to look at.
//!
//! Always true: the memory is bounded, in applications ([`APPLICATIONS`], of some the longest
//! silent is forgotten) and for each of them; a known application's call takes one short lock and
//! allocates nothing; callers that are no application are not counted, so nobody can push others out
//! without being one. The figures are this process's own, and end with it.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use ahash::RandomState;
use uuid::Uuid;

use super::denial::Code;
use crate::model::{
    time::Timestamp,
    traffic::{MINUTES, Minute, Refused, Traffic as Told},
};

/// Parts with a lock each, so that threads seldom meet.
const SHARDS: usize = 64;

/// Applications of a part.
const ROOM: usize = 156;

/// Looked at where one has to go: however many applications call, a call costs little.
const LOOKED_AT: usize = 8;

/// Applications remembered at most. Each takes some 1.4 KiB, with many refusals some more.
pub const APPLICATIONS: usize = SHARDS * ROOM;

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The upstream answered with this status; 0: nobody was left to hear it.
    Passed(u16),
    /// The gateway answered.
    Refused(Code),
}

/// Calls of the last hour, by application.
#[derive(Debug)]
pub struct Traffic {
    shards: Box<[Mutex<Shard>]>,
}

/// Applications, each at its place.
#[derive(Debug, Default)]
struct Shard {
    places: HashMap<Uuid, usize, RandomState>,
    kept: Vec<Kept>,
    /// Where the next search for one that may go begins.
    hand: usize,
}

#[derive(Debug)]
struct Kept {
    application: Uuid,
    last: Timestamp,
    hour: Box<Hour>,
}

/// Minutes, each at its number's remainder, and refusals in the order in which they came.
#[derive(Debug)]
struct Hour {
    minutes: [(i64, Minute); MINUTES],
    refused: VecDeque<(i64, Code, u32)>,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }
}

impl Traffic {
    /// Counts a call that ended at `now`.
    pub fn count(&self, application: Uuid, outcome: Outcome, now: Timestamp) {
        let mut shard = self.shard(application);
        let kept = shard.of(application);
        kept.last = now;
        kept.hour.count(outcome, minute(now));
    }

    /// An application's calls, as seen at `now`; `None`: it has not called, or long ago.
    pub fn of(&self, application: Uuid, now: Timestamp) -> Option<Told> {
        let shard = self.shard(application);
        let kept = &shard.kept[*shard.places.get(&application)?];
        Some(kept.hour.told(kept.last, minute(now)))
    }

    fn shard(&self, application: Uuid) -> MutexGuard<'_, Shard> {
        // Ids are random or digests. The remainder is smaller than the number of parts.
        let place = usize::from(application.as_bytes()[15]) % SHARDS;
        let shard = self.shards[place].lock();
        shard.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shard {
    /// An application's memory: its own, a new one, or that of one that has long been silent.
    fn of(&mut self, application: Uuid) -> &mut Kept {
        let place = match self.places.get(&application) {
            Some(place) => *place,
            None => {
                let place = self.free();
                self.places.insert(application, place);
                self.kept[place].application = application;
                place
            }
        };
        &mut self.kept[place]
    }

    /// A place for one more.
    fn free(&mut self) -> usize {
        if self.kept.len() < ROOM {
            self.kept.push(Kept {
                application: Uuid::nil(),
                last: Timestamp::default(),
                hour: Box::default(),
            });
            return self.kept.len() - 1;
        }
        let looked_at = (self.hand..self.hand + LOOKED_AT).map(|place| place % ROOM);
        let silent = looked_at.min_by_key(|place| self.kept[*place].last);
        let place = silent.unwrap_or(self.hand);
        self.hand = (self.hand + LOOKED_AT) % ROOM;
        self.places.remove(&self.kept[place].application);
        self.kept[place].hour.clear();
        place
    }
}

fn minute(time: Timestamp) -> i64 {
    time.millis().div_euclid(60_000)
}

impl Default for Hour {
    fn default() -> Self {
        Self {
            minutes: [(i64::MIN, Minute::default()); MINUTES],
            refused: VecDeque::new(),
        }
    }
}

impl Hour {
    fn clear(&mut self) {
        self.minutes.fill((i64::MIN, Minute::default()));
        self.refused.clear();
    }

    fn count(&mut self, outcome: Outcome, minute: i64) {
        // Not negative, and smaller than the number of minutes.
        let (number, slot) = &mut self.minutes[minute.rem_euclid(MINUTES as i64) as usize];
        if *number != minute {
            (*number, *slot) = (minute, Minute::default());
        }
        let place = match outcome {
            Outcome::Passed(0) => &mut slot.unanswered,
            Outcome::Passed(..400) => &mut slot.passed,
            Outcome::Passed(400..500) => &mut slot.client_errors,
            Outcome::Passed(_) => &mut slot.server_errors,
            Outcome::Refused(_) => &mut slot.refused,
        };
        *place = place.saturating_add(1);
        if let Outcome::Refused(code) = outcome {
            self.refuse(code, minute);
        }
    }

    fn refuse(&mut self, code: Code, minute: i64) {
        let is_past = |then: i64| minute.saturating_sub(then) >= MINUTES as i64;
        while self
            .refused
            .front()
            .is_some_and(|(then, ..)| is_past(*then))
        {
            self.refused.pop_front();
        }
        // One for each code and minute at most, but for a clock that is set back and forth.
        let is_full = self.refused.len() >= MINUTES * Code::COUNT;
        let latest = self.refused.iter_mut().rev();
        let mut of_minute = latest.take_while(|(then, ..)| *then == minute);
        match of_minute.find(|(_, known, _)| *known == code) {
            Some((.., count)) => *count = count.saturating_add(1),
            None if is_full => {}
            None => self.refused.push_back((minute, code, 1)),
        }
    }

    fn told(&self, last: Timestamp, now: i64) -> Told {
        // How long ago a minute was, as far as it counts.
        let age = |then: i64| usize::try_from(now.checked_sub(then)?).ok();
        let age = |then| age(then).filter(|age| *age < MINUTES);
        let mut minutes = [Minute::default(); MINUTES];
        for (then, minute) in &self.minutes {
            if let Some(age) = age(*then) {
                minutes[MINUTES - 1 - age] = *minute;
            }
        }
        let refused = self.refused.iter().filter_map(|(then, code, count)| {
            let (age, code, count) = (age(*then)?, code.name(), *count);
            Some(Refused { age, code, count })
        });
        Told {
            last,
            minutes,
            refused: refused.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_795_000_020_000);

    fn after(minutes: u64) -> Timestamp {
        START.plus(Duration::from_secs(60 * minutes))
    }

    /// Applications of one part, so that its room is what counts.
    fn id(number: usize) -> Uuid {
        Uuid::from_u128((number as u128) << 8)
    }

    #[test]
    fn a_call_counts_by_what_became_of_it() {
        let traffic = Traffic::default();
        assert_eq!(traffic.of(id(1), START), None);
        for status in [200, 204, 304, 101, 404, 499, 500, 0] {
            traffic.count(id(1), Outcome::Passed(status), START);
        }
        for code in [
            Code::RegistrationPending,
            Code::UpstreamTimeout,
            Code::RegistrationPending,
        ] {
            traffic.count(id(1), Outcome::Refused(code), START);
        }
        let told = traffic.of(id(1), START).unwrap();
        let running = Minute {
            passed: 4,
            client_errors: 2,
            server_errors: 1,
            unanswered: 1,
            refused: 3,
        };
        assert_eq!(told.of_last(1), [running]);
        assert_eq!((told.calls(), told.last), (11, START));
        let refused: Vec<_> = told
            .refused
            .iter()
            .map(|r| (r.age, r.code, r.count))
            .collect();
        assert_eq!(
            refused,
            [(0, "registration_pending", 2), (0, "upstream_timeout", 1)]
        );
        assert_eq!(traffic.of(id(2), START), None);
    }

    #[test]
    fn minutes_pass_and_are_forgotten_after_an_hour() {
        let traffic = Traffic::default();
        let calls = |now| {
            let told = traffic.of(id(1), now).unwrap();
            let filled = told.minutes.iter().enumerate();
            let filled = filled.filter(|(_, minute)| minute.calls() > 0);
            filled.map(|(place, _)| place).collect::<Vec<_>>()
        };
        for now in [after(0), after(1)] {
            traffic.count(id(1), Outcome::Passed(200), now);
            traffic.count(id(1), Outcome::Refused(Code::ApplicationSuspended), now);
        }
        assert_eq!(calls(after(1)), [58, 59]);
        assert_eq!(calls(after(59)), [0, 1]);
        assert_eq!(calls(after(60)), [0]);
        let told = traffic.of(id(1), after(60)).unwrap();
        let ages: Vec<_> = told.refused.iter().map(|refused| refused.age).collect();
        assert_eq!(ages, [59]);
        // The place of the first minute is taken by the one after an hour.
        traffic.count(
            id(1),
            Outcome::Refused(Code::ApplicationSuspended),
            after(60),
        );
        assert_eq!(calls(after(60)), [0, 59]);
        assert_eq!(calls(after(121)), [0; 0]);
        let told = traffic.of(id(1), after(121)).unwrap();
        assert_eq!((told.last, told.refused.len()), (after(60), 0));
    }

    #[test]
    fn of_those_looked_at_the_longest_silent_is_forgotten() {
        let traffic = Traffic::default();
        for number in 0..ROOM {
            traffic.count(id(number), Outcome::Passed(200), START);
        }
        for number in (0..ROOM).filter(|number| *number != 7) {
            traffic.count(id(number), Outcome::Passed(200), after(1));
        }
        traffic.count(id(ROOM), Outcome::Passed(500), after(2));
        assert_eq!(traffic.of(id(7), after(2)), None);
        let told = traffic.of(id(ROOM), after(2)).unwrap();
        assert_eq!(told.calls(), 1, "nothing of the one before is left");
        assert!((0..ROOM).all(|number| number == 7 || traffic.of(id(number), after(2)).is_some()));
    }

    #[test]
    fn however_many_call_the_memory_is_bounded() {
        let traffic = Traffic::default();
        for number in 0..3 * APPLICATIONS {
            traffic.count(Uuid::new_v4(), Outcome::Passed(200), after(number as u64));
        }
        let known: usize = (traffic.shards.iter())
            .map(|shard| shard.lock().unwrap().places.len())
            .sum();
        assert_eq!(known, APPLICATIONS);
        for minute in 0..10 * MINUTES as u64 {
            // As a clock does that is set back again and again.
            let now = after(minute * 7_919 % 600);
            traffic.count(id(1), Outcome::Refused(Code::RegistrationRevoked), now);
            traffic.count(id(1), Outcome::Refused(Code::InsufficientScope), now);
        }
        let shard = traffic.shard(id(1));
        let kept = &shard.kept[shard.places[&id(1)]];
        assert!(kept.hour.refused.len() <= MINUTES * Code::COUNT);
    }
}
