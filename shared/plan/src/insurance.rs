//! Insurance: snapshots before destructive operations, and how long they are kept.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    Label, SetLabel, Stamp,
    expiry::INSURANCE_LEAST,
    inventory::{Inventory, StoredSet},
    window::Window,
};

/// Why a snapshot would be no insurance. Completes the sentence "failed to …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InsuranceError {
    /// It would be gone too soon.
    #[error("keep a snapshot for {0} only: insurance is kept for {days} days at least; give a longer --keep", days = INSURANCE_LEAST.num_days())]
    TooShort(Window),
    /// Nobody begins an operation in the future.
    #[error("take a snapshot under the stamp {0}: it is in the future; look at this host's clock, or leave --stamp out")]
    FromTheFuture(Stamp),
    /// It would look older than it is.
    #[error(
        "take a snapshot under the stamp {0}: it is more than {STAMP_HOURS} h old, and the snapshot would pass for one of that time; leave --stamp out"
    )]
    TooOld(Stamp),
}

/// The second half of a snapshot may follow the first for so long.
const STAMP_HOURS: i64 = 24;
/// Two hosts' clocks may differ by so much.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(5);

/// The stamp of an operation: now, or that of another call whose snapshot this one makes whole.
///
/// # Errors
/// When the other call's is from the future, or too old.
pub fn operation_stamp(asked: Option<Stamp>, now: DateTime<Utc>) -> Result<Stamp, InsuranceError> {
    let Some(stamp) = asked else { return Ok(Stamp::new(now)) };
    match now - stamp.instant() {
        age if age < -CLOCK_TOLERANCE => Err(InsuranceError::FromTheFuture(stamp)),
        age if age > TimeDelta::hours(STAMP_HOURS) => Err(InsuranceError::TooOld(stamp)),
        _ => Ok(stamp),
    }
}

/// What stands in the names of an operation's sets: the operation, and until when they are kept.
///
/// # Errors
/// When that is too short.
pub fn insured(operation: Label, stamp: Stamp, keep: Window) -> Result<SetLabel, InsuranceError> {
    if keep.span() < INSURANCE_LEAST {
        return Err(InsuranceError::TooShort(keep));
    }
    Ok(SetLabel { label: operation, until: Some(Stamp::new(stamp.instant() + keep.span())) })
}

/// The newest snapshot that is younger than `within`, is whole (each of `halves`, the listings of its areas, has a committed
/// set of one stamp) and is kept for as long as a new one would be, but for its age.
pub fn reusable(halves: &[Inventory], now: DateTime<Utc>, within: TimeDelta, keep: Window) -> Option<Vec<&StoredSet>> {
    let fits = |set: &&StoredSet| {
        let (begun, until) = (set.key.stamp.instant(), set.key.label.until);
        let is_young = (TimeDelta::zero()..within).contains(&(now - begun));
        is_young && until.is_some_and(|until| until.instant() >= begun + keep.span())
    };
    let whole = |stamp: Stamp| halves.iter().map(|half| only(half, stamp).filter(fits)).collect();
    let stamps: BTreeSet<Stamp> = halves.first()?.committed().map(|set| set.key.stamp).collect();
    stamps.into_iter().rev().find_map(whole)
}

/// The one committed set of that stamp: of two nobody can tell which belongs to the other half.
fn only(half: &Inventory, stamp: Stamp) -> Option<&StoredSet> {
    let mut sets = half.committed().filter(|set| set.key.stamp == stamp);
    sets.next().filter(|_| sets.next().is_none())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Area, SetKey, SetNonce, inventory::ObjectMeta};

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000 + hours * 3600, 0).expect("a time")
    }

    fn window(days: u32) -> Window {
        Window::from_days(days).expect("a window")
    }

    fn operation() -> Label {
        "upgrade".parse().expect("a label")
    }

    #[test]
    fn insurance_is_kept_for_a_week_at_least() {
        let stamp = Stamp::new(at(0));
        assert_eq!(insured(operation(), stamp, window(6)), Err(InsuranceError::TooShort(window(6))));
        let label = insured(operation(), stamp, window(7)).expect("long enough");
        assert_eq!(label.until, Some(Stamp::new(at(7 * 24))));
        assert!(insured(operation(), stamp, window(6)).unwrap_err().to_string().contains("--keep"));
    }

    #[test]
    fn another_calls_stamp_must_be_of_now() {
        let now = at(0);
        assert_eq!(operation_stamp(None, now), Ok(Stamp::new(now)));
        for (stamp, fits) in [(at(-23), true), (at(-25), false), (now + TimeDelta::minutes(4), true), (now + TimeDelta::minutes(6), false)]
        {
            assert_eq!(operation_stamp(Some(Stamp::new(stamp)), now).is_ok(), fits, "{stamp}");
        }
    }

    fn inventory(area: Area, sets: &[(i64, u32, bool)]) -> Inventory {
        let objects = sets.iter().zip(1..).flat_map(|((hours, days, committed), id)| {
            let stamp = Stamp::new(at(*hours));
            let label = SetLabel { label: operation(), until: Some(Stamp::new(at(*hours) + TimeDelta::days(i64::from(*days)))) };
            let key = SetKey::new(area, "acme", stamp, label, SetNonce(id));
            let keys = [Some(key.object(&key.file_name(".dump.zst", 0))), committed.then(|| key.manifest())];
            keys.into_iter().flatten().map(|key| ObjectMeta { key, size: 1, last_modified: at(0), etag: None })
        });
        Inventory::read(objects)
    }

    #[test]
    fn a_young_whole_snapshot_is_used_again() {
        let both = [
            inventory(Area::InsurancePg, &[(-5, 14, true), (-2, 14, true), (-1, 14, true)]),
            inventory(Area::InsuranceFilestore, &[(-5, 14, true), (-2, 14, true), (-1, 14, false)]),
        ];
        let hours = |within, keep| {
            let found = reusable(&both, at(0), TimeDelta::hours(within), window(keep))?;
            assert_eq!(found.len(), 2);
            Some((found[0].key.stamp.instant() - at(0)).num_hours())
        };
        // The newest lacks its files.
        assert_eq!(hours(3, 14), Some(-2));
        assert_eq!(hours(2, 14), None);
        assert_eq!(hours(3, 15), None);
        assert!(reusable(&[], at(0), TimeDelta::hours(3), window(7)).is_none());
    }

    proptest! {
        #[test]
        fn what_is_used_again_is_whole_young_and_kept_long_enough(
            dumps in proptest::collection::vec((-30i64..5, 1u32..30, any::<bool>()), 0..8),
            files in proptest::collection::vec((-30i64..5, 1u32..30, any::<bool>()), 0..8),
            within in 1i64..40, keep in 7u32..30,
        ) {
            let both = [inventory(Area::InsurancePg, &dumps), inventory(Area::InsuranceFilestore, &files)];
            let fits = |sets: &[(i64, u32, bool)], hour| {
                let mut committed = sets.iter().filter(|(at, _, whole)| *at == hour && *whole);
                committed.next().is_some_and(|(_, days, _)| *days >= keep) && committed.next().is_none()
            };
            let expected = (-30..=0).rev().find(|hour| -hour < within && fits(&dumps, *hour) && fits(&files, *hour));
            let found = reusable(&both, at(0), TimeDelta::hours(within), window(keep));
            let found = found.map(|sets| (sets[0].key.stamp.instant() - at(0)).num_hours());
            prop_assert_eq!(found, expected);
        }
    }
}
