//! A point in time as the rules of this program compare it.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// 9999-12-31T23:59:59.999Z: RFC 3339 has no later year.
const LAST: i64 = 253_402_300_799_999;

/// Milliseconds since 1970-01-01T00:00:00Z, before it negative. Arithmetic saturates, so a date
/// out of a token can never wrap around into the past.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Makes a timestamp from milliseconds since the epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Makes a timestamp from whole seconds since the epoch.
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// As RFC 3339 section 5.6 writes it in UTC, to the millisecond. What is before 1970 or after 9999,
    /// which a server may well say, is written as the end of that which can be.
    pub fn rfc3339(self) -> impl fmt::Display {
        humantime::format_rfc3339_millis(self.writable())
    }

    /// The same to the second, rounded down.
    pub fn rfc3339_seconds(self) -> impl fmt::Display {
        humantime::format_rfc3339_seconds(self.writable())
    }

    /// Reads what RFC 3339 section 5.6 writes, with any offset, to the millisecond; `None` where it is
    /// no such time, or one before 1970.
    pub fn of_rfc3339(text: &str) -> Option<Self> {
        let (local, offset) = match text.strip_suffix(['Z', 'z']) {
            Some(local) => (local, 0),
            None => {
                // The date holds "-" too, so the offset is looked for from the end.
                let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
                let (hours, minutes) = offset.get(1..)?.split_once(':')?;
                let digits =
                    |part: &str| part.len() == 2 && part.chars().all(|c| c.is_ascii_digit());
                if !digits(hours) || !digits(minutes) {
                    return None;
                }
                let (hours, minutes): (i64, i64) = (hours.parse().ok()?, minutes.parse().ok()?);
                let sign = match offset.as_bytes().first()? {
                    b'+' => 1,
                    b'-' => -1,
                    _ => return None,
                };
                (
                    local,
                    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))?,
                )
            }
        };
        // humantime takes some of what may stand behind a fraction for nothing.
        let is_of_time = |byte: u8| byte.is_ascii_digit() || matches!(byte, b':' | b'.');
        if !local.get(11..)?.bytes().all(is_of_time) {
            return None;
        }
        let time = humantime::parse_rfc3339(&format!("{}Z", local.to_ascii_uppercase())).ok()?;
        let since_epoch = time.duration_since(UNIX_EPOCH).ok()?;
        let millis = i64::try_from(since_epoch.as_millis()).ok()?;
        Some(Self(millis - offset * 60_000))
    }

    fn writable(self) -> SystemTime {
        let millis = self.0.clamp(0, LAST).unsigned_abs();
        UNIX_EPOCH + Duration::from_millis(millis)
    }

    /// This time moved into the future.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(millis_of(by)))
    }

    /// This time moved into the past.
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(millis_of(by)))
    }

    /// How long after `earlier` this is; zero where it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

fn millis_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_dates_saturate() {
        let far = Timestamp::from_secs(i64::MAX);
        assert_eq!(far.plus(Duration::MAX), far);
        assert!(Timestamp::from_secs(i64::MIN).minus(Duration::MAX) < Timestamp::default());
        assert_eq!(Timestamp::default().since(far), Duration::ZERO);
    }

    #[test]
    fn times_are_read_with_any_offset() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1970-01-01t00:00:01z", Some(1_000)),
            ("1970-01-01T01:00:00+01:00", Some(0)),
            ("1970-01-01T01:00:00.5+01:00", Some(500)),
            ("1970-01-01T00:00:00-00:30", Some(1_800_000)),
            ("1970-01-01T00:00:00", None),
            ("1970-01-01", None),
            ("1970-01-01T00:00:00+25:00", None),
            ("1970-01-01T00:00:00.5+01:00Z", None),
            ("1970-13-01T00:00:00Z", None),
            ("é:00:00", None),
            ("", None),
        ] {
            let expected = millis.map(Timestamp::from_millis);
            assert_eq!(Timestamp::of_rfc3339(text), expected, "{text}");
        }
    }

    #[test]
    fn any_time_can_be_written() {
        for (millis, written) in [
            (i64::MIN, "1970-01-01T00:00:00.000Z"),
            (1_999, "1970-01-01T00:00:01.999Z"),
            (LAST, "9999-12-31T23:59:59.999Z"),
            (i64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            let time = Timestamp::from_millis(millis);
            assert_eq!(time.rfc3339().to_string(), written);
            let seconds = written.split('.').next().unwrap().to_owned() + "Z";
            assert_eq!(time.rfc3339_seconds().to_string(), seconds);
        }
    }

    #[test]
    fn seconds_round_down_on_both_sides_of_the_epoch() {
        assert_eq!(Timestamp::from_millis(1_999).secs(), 1);
        assert_eq!(Timestamp::from_millis(-1).secs(), -1);
    }
}
