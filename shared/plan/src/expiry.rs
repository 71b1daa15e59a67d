//! Until when a set is kept, by the contract's rules for windows.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::{Area, Label, Stamp, inventory::StoredSet, window::Window};

/// The windows of the labels. A label without one counts as unclassified: the longest that there is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Windows {
    labels: BTreeMap<Label, Window>,
    partitions: Option<Window>,
}

/// Why a set has the window that it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WindowSource {
    /// Its own label.
    Own,
    /// The label of the newest committed set of its group.
    Newest,
    /// The tier that its name has today.
    Tier,
    /// The setting for partition archives.
    Partitions,
}

/// The labels whose windows a set may have; the longest counts.
#[derive(Debug, Clone, Copy)]
pub struct Labels<'a> {
    /// Its own; `None` where a lowered tier is to count for sets of the higher one too.
    pub own: Option<&'a Label>,
    /// That of the newest committed set of its group.
    pub newest: Option<&'a Label>,
    /// The tier that its name has today, where it was looked up.
    pub tier: Option<&'a Label>,
}

impl Windows {
    /// The windows of these labels. Partition archives are kept for ever.
    pub fn new(windows: impl IntoIterator<Item = (Label, Window)>) -> Self {
        Windows { labels: windows.into_iter().collect(), partitions: None }
    }

    /// With a window for partition archives; `None` means for ever.
    #[must_use]
    pub fn with_partitions(self, partitions: Option<Window>) -> Self {
        Windows { partitions, ..self }
    }

    /// The window of a label; `None` where no window is configured at all: then nothing expires.
    pub fn of(&self, label: &Label) -> Option<Window> {
        self.labels.get(label).or_else(|| self.labels.values().max()).copied()
    }

    /// Whether a label has a window of its own.
    pub fn knows(&self, label: &Label) -> bool {
        self.labels.contains_key(label)
    }

    /// The window of a set that is neither insurance nor a partition, and whose label gives it; `None` means for ever.
    pub fn longest(&self, labels: Labels<'_>) -> Option<(Window, WindowSource)> {
        let of = |label: Option<&Label>, source| label.and_then(|label| self.of(label)).map(|window| (window, source));
        let all = [of(labels.own, WindowSource::Own), of(labels.newest, WindowSource::Newest), of(labels.tier, WindowSource::Tier)];
        // Of equal windows the first is named: the set's own label.
        all.into_iter().flatten().reduce(|longest, next| if next.0 > longest.0 { next } else { longest })
    }

    /// The window of partition archives; `None` means for ever.
    pub fn of_partitions(&self) -> Option<(Window, WindowSource)> {
        self.partitions.map(|window| (window, WindowSource::Partitions))
    }
}

/// Until when an insurance set is kept, and nothing else decides.
pub fn insured_until(stamp: Stamp, until: Stamp) -> DateTime<Utc> {
    until.instant().max(stamp.instant() + INSURANCE_LEAST)
}

/// Insurance is kept for so long whatever its `until` says.
pub const INSURANCE_LEAST: TimeDelta = TimeDelta::days(7);

impl StoredSet {
    /// The latest change of anything in the set, as the store has it.
    pub fn last_modified(&self) -> Option<DateTime<Utc>> {
        let objects = self.payload.iter().chain(&self.strangers).chain(&self.manifest).chain(&self.hold);
        objects.map(|object| object.last_modified).max()
    }

    /// What its age is counted from: the newer of its stamp and its latest change.
    pub fn aged_from(&self) -> DateTime<Utc> {
        let stamp = self.key.stamp.instant();
        self.last_modified().map_or(stamp, |changed| changed.max(stamp))
    }

    /// Until when windows keep it, as far as a listing tells: `newest` is the label of the newest committed set of its group.
    /// `None` means for ever.
    pub fn kept_until(&self, newest: Option<&Label>, windows: &Windows) -> Option<DateTime<Utc>> {
        match (self.key.area, self.key.label.until) {
            (area, Some(until)) if area.is_insurance() => Some(insured_until(self.key.stamp, until)),
            (area, _) => {
                let labels = Labels { own: Some(&self.key.label.label), newest, tier: None };
                let (window, _) = if area == Area::Partition { windows.of_partitions()? } else { windows.longest(labels)? };
                Some(self.aged_from() + window.span())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{Inventory, ObjectMeta};

    fn windows() -> Windows {
        let window = |label: &str, days| (label.parse::<Label>().expect("a label"), Window::from_days(days).expect("a window"));
        Windows::new([window("starter", 30), window("pro", 90)])
    }

    fn set(key: &str, changed: &str) -> StoredSet {
        let object = ObjectMeta { key: key.to_owned(), size: 1, last_modified: changed.parse().expect("a time"), etag: None };
        Inventory::read([object]).sets.into_values().next().expect("a set")
    }

    fn until(key: &str, changed: &str, newest: Option<&str>) -> Option<String> {
        let newest: Option<Label> = newest.map(|label| label.parse().expect("a label"));
        set(key, changed).kept_until(newest.as_ref(), &windows()).map(|until| until.format("%Y-%m-%d").to_string())
    }

    #[test]
    fn the_longest_window_counts_from_the_newer_of_stamp_and_change() {
        let starter = "pg/acme/20261101T000000Z.starter.00000001/manifest.json";
        assert_eq!(until(starter, "2026-11-01T00:00:10Z", None).as_deref(), Some("2026-12-01"));
        assert_eq!(until(starter, "2026-11-05T00:00:00Z", None).as_deref(), Some("2026-12-05"));
        assert_eq!(until(starter, "2026-10-01T00:00:00Z", None).as_deref(), Some("2026-12-01"));
        assert_eq!(until(starter, "2026-11-01T00:00:10Z", Some("pro")).as_deref(), Some("2027-01-30"));
        let unknown = "pg/acme/20261101T000000Z.gold.00000001/manifest.json";
        assert_eq!(until(unknown, "2026-11-01T00:00:00Z", None).as_deref(), Some("2027-01-30"));
    }

    #[test]
    fn insurance_is_kept_a_week_at_least_and_partitions_for_ever() {
        let insurance = |until| format!("insurance-pg/acme/20261101T000000Z.upgrade.until-{until}.00000001/manifest.json");
        let changed = "2026-11-01T00:00:00Z";
        assert_eq!(until(&insurance("20261102T000000Z"), changed, None).as_deref(), Some("2026-11-08"));
        assert_eq!(until(&insurance("20261201T000000Z"), changed, None).as_deref(), Some("2026-12-01"));
        assert_eq!(until("partition/exo/public/events/20261101T000000Z.events.00000001/manifest.json", changed, None), None);
    }
}
