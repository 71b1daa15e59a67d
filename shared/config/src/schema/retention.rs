//! How long sets are kept, and what may be deleted.

use std::collections::BTreeMap;

use plana_plan::{
    Area, Label,
    expiry::Windows,
    retention::{KeyPattern, LegacyPattern, Periods},
    window::Window,
};
use serde::{Deserialize, Serialize};

use crate::ByteSize;

/// How long sets are kept, and what `retention-pruner` may delete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Whether anything may be deleted at all.
    pub enabled: bool,
    /// The stores that may be pruned, each by its URL.
    pub stores: Vec<String>,
    /// So many of the newest committed sets of a name stay, whatever their age.
    pub floor: u32,
    /// A name whose newest committed set is older keeps everything.
    pub freeze_after: Window,
    /// What never became a backup goes when its latest change is older.
    pub debris_after: Window,
    /// At most so many committed sets go in one run, the oldest first.
    pub max_sets: u32,
    /// A listing that holds so many per cent fewer committed sets than the last run left stops the run.
    pub max_shrink_percent: u32,
    /// Whether the tiers that names have today lengthen windows; they are found as `[tiers]` says.
    pub tiers: bool,
    /// How long partition archives are kept; absent means for ever.
    pub partitions: Option<Window>,
    /// Label → window. A label without a window counts as `unclassified`: the longest of them.
    pub windows: BTreeMap<String, Window>,
    /// What stays besides.
    pub keep: KeepPeriods,
    /// What the store costs, for plans.
    pub price: StorePrice,
    /// Backups that were there before this suite.
    #[serde(default)]
    pub legacy: Vec<Legacy>,
}

/// How many sets of a name stay besides, the newest of each period, in UTC; 0 means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeepPeriods {
    /// The newest sets.
    pub last: u32,
    /// The newest of each of so many days that have any.
    pub daily: u32,
    /// The newest of each of so many weeks, which begin on Monday.
    pub weekly: u32,
    /// The newest of each of so many months.
    pub monthly: u32,
    /// The newest of each of so many years.
    pub yearly: u32,
}

/// What the store costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StorePrice {
    /// A GiB in a month; absent means that plans tell no costs.
    pub per_gib_month: Option<f64>,
    /// Of what.
    pub currency: String,
    /// The store bills a smaller object as one of this size.
    pub minimum_object: ByteSize,
}

/// Backups that were there before this suite: how their keys read, and what they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Legacy {
    /// A pattern such as `daily/{name}_{date}.sql.gz`.
    pub key: KeyPattern,
    /// The area whose groups they join: pg, filestore or globals.
    pub area: Area,
    /// Their label, which decides how long they are kept.
    pub label: Label,
}

impl Retention {
    /// The labels that have a window.
    pub fn labels(&self) -> Vec<Label> {
        self.windows.keys().filter_map(|label| label.parse().ok()).collect()
    }

    /// The windows, as plans use them.
    pub fn windows(&self) -> Windows {
        let windows = self.windows.iter().filter_map(|(label, window)| Some((label.parse::<Label>().ok()?, *window)));
        Windows::new(windows).with_partitions(self.partitions)
    }

    /// What stays besides, as plans use it.
    pub fn periods(&self) -> Periods {
        let KeepPeriods { last, daily, weekly, monthly, yearly } = self.keep;
        Periods { last, daily, weekly, monthly, yearly }
    }

    /// The patterns of older backups, as plans use them.
    pub fn legacy_patterns(&self) -> Vec<LegacyPattern> {
        let pattern = |legacy: &Legacy| LegacyPattern { area: legacy.area, label: legacy.label.clone(), key: legacy.key.clone() };
        self.legacy.iter().map(pattern).collect()
    }
}
