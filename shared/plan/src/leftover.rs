//! Which scratch databases a killed run has left, and which are somebody's.

use chrono::{DateTime, TimeDelta, Utc};

/// Younger ones may belong to a run that has not taken its lock yet.
const YOUNG: TimeDelta = TimeDelta::minutes(10);

/// What is known of a database with a scratch database's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leftover {
    /// When it was made, by the mark that only a restore puts on it.
    pub made_at: Option<DateTime<Utc>>,
    /// Whether it belongs to our own role.
    pub is_ours: bool,
    /// Whether anybody is connected to it.
    pub in_use: bool,
}

/// Whether it may be dropped, once its lock shows that no run is at work on it. The name alone is never enough.
pub fn is_leftover(database: Leftover, now: DateTime<Utc>) -> bool {
    let is_old = database.made_at.is_some_and(|made_at| now - made_at > YOUNG);
    database.is_ours && !database.in_use && is_old
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a time")
    }

    proptest! {
        #[test]
        fn only_what_is_marked_ours_unused_and_old_goes(
            made in proptest::option::of(0i64..10_000), is_ours: bool, in_use: bool, now in 0i64..10_000,
        ) {
            let goes = is_leftover(Leftover { made_at: made.map(at), is_ours, in_use }, at(now));
            prop_assert_eq!(goes, is_ours && !in_use && made.is_some_and(|made| now > made + 600));
        }
    }
}
