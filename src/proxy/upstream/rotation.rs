//! Whose turn it is: an even schedule by weight, and a fair stand-in where that one cannot serve.

/// Spreads targets evenly by weight: at each place stands the one that is furthest behind its
/// share, so that equal weights alternate and no burst goes to one.
pub(super) fn schedule(weights: &[u16]) -> Vec<usize> {
    let divisor = weights.iter().fold(0, |a, b| gcd(a, i64::from(*b))).max(1);
    let shares: Vec<i64> = weights
        .iter()
        .map(|weight| i64::from(*weight) / divisor)
        .collect();
    let total: i64 = shares.iter().sum();
    let mut credit = vec![0; shares.len()];
    let mut schedule = Vec::new();
    for _ in 0..total {
        credit
            .iter_mut()
            .zip(&shares)
            .for_each(|(credit, share)| *credit += share);
        let Some(first) = (0..credit.len()).max_by_key(|index| (credit[*index], -(*index as i64)))
        else {
            break;
        };
        credit[first] -= total;
        schedule.push(first);
    }
    schedule
}

/// The place of the `turn`th stand-in on a line of this length. Successive turns fall far apart and
/// cover the line evenly (multiples of the golden ratio), so each stretch of it gets its share.
pub(super) fn point(turn: usize, length: u64) -> u64 {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let fraction = (turn as u64).wrapping_mul(GOLDEN);
    let scaled = (u128::from(fraction) * u128::from(length)) >> 64;
    // Smaller than `length` by construction.
    u64::try_from(scaled).unwrap_or(0)
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_keeps_the_weights_and_spreads_them() {
        for (weights, expected) in [
            (&[1][..], &[0][..]),
            (&[5, 5], &[0, 1]),
            (&[2, 1], &[0, 1, 0]),
            (&[3, 1], &[0, 0, 1, 0]),
        ] {
            assert_eq!(schedule(weights), expected, "{weights:?}");
        }
        let long = schedule(&[1000, 999]);
        assert_eq!(long.iter().filter(|target| **target == 0).count(), 1000);
    }

    #[test]
    fn stand_ins_cover_the_line_evenly() {
        for length in [1, 2, 3, 7, 1000] {
            let mut counts = vec![0u32; usize::try_from(length).unwrap()];
            let turns = counts.len() * 100;
            for turn in 0..turns {
                counts[usize::try_from(point(turn, length)).unwrap()] += 1;
            }
            let range = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(*range.0 >= 97 && *range.1 <= 103, "{length}: {range:?}");
        }
    }
}
