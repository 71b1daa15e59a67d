//! Where a job puts what became of its items, as it happens.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::TimeDelta;
use plana_plan::{Area, name::printable, select::Selection};

use super::{Extra, ItemReport, Outcome};
use crate::{
    events::{Events, item_committed, item_failed},
    failure::sentence,
    human,
};

/// Where a job puts what became of its items, as it happens, from any task or thread. What was put
/// here is reported also when the run fails or is cancelled later.
#[derive(Clone)]
pub struct Reporter {
    shared: Arc<Mutex<Recorded>>,
    events: Events,
}

#[derive(Default)]
pub(crate) struct Recorded {
    pub items: Vec<ItemReport>,
    pub warnings: Vec<String>,
    pub clock_seconds: Option<u64>,
    pub saw_all_names: bool,
    pub extra: Option<Extra>,
}

impl Reporter {
    pub(crate) fn new(events: Events) -> Self {
        Reporter { shared: Arc::default(), events }
    }

    // What a panicking thread left behind is still what was reported.
    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts what became of an item: logs it, sends its event, keeps it for the report.
    pub fn item(&self, item: ItemReport) {
        log(&item);
        // An item without a key is no backup.
        let is_backup = item.key.is_some();
        match item.outcome {
            Outcome::Failed => self.events.send(item_failed(&item)),
            Outcome::Done if is_backup => self.events.send_detail(item_committed(&item)),
            Outcome::Partial => {
                self.events.send(item_failed(&item));
                if is_backup {
                    self.events.send_detail(item_committed(&item));
                }
            }
            _ => {}
        }
        self.lock().items.push(item);
    }

    /// Puts what deserves attention and concerns no item alone.
    pub fn warn(&self, warning: impl Into<String>) {
        let warning = warning.into();
        tracing::warn!("{warning}");
        self.lock().warnings.push(warning);
    }

    /// Puts how far this host's clock and the store's are apart. For metrics.
    pub fn clock_apart(&self, apart: TimeDelta) {
        self.lock().clock_seconds = Some(apart.num_seconds().unsigned_abs());
    }

    /// Puts what the job's result holds besides its items; the last one counts.
    pub fn extra(&self, extra: Extra) {
        self.lock().extra = Some(extra);
    }

    /// Says that every name that there is was looked at, up to the selection: after a run over all of
    /// them, the metrics of names that no longer exist may go. To be called once the listing is whole.
    pub fn saw_all(&self, selection: &Selection) {
        self.lock().saw_all_names = !selection.is_partial();
    }

    /// What was put here so far; an item put later than this is lost.
    pub(crate) fn take(&self) -> Recorded {
        let mut recorded = std::mem::take(&mut *self.lock());
        recorded.items.sort_by(|a, b| (a.area, &a.name).cmp(&(b.area, &b.name)));
        recorded
    }
}

fn log(item: &ItemReport) {
    let (area, name) = (item.area.as_str(), printable(&item.name));
    for warning in &item.warnings {
        tracing::warn!(area, name, "{area} {name}: {warning}");
    }
    let took = item.seconds.map(|seconds| format!(" in {}", human::seconds(seconds))).unwrap_or_default();
    match item.outcome {
        Outcome::Done => {
            let stored = item.bytes.map(|bytes| format!(", {}", human::bytes(bytes))).unwrap_or_default();
            tracing::info!(area, name, "{area} {name}: done{took}{stored}");
        }
        Outcome::Failed => {
            let error = sentence(item.error.as_deref().unwrap_or("say why"));
            tracing::error!(area, name, "{area} {name}: {error}");
        }
        Outcome::Partial => {
            let error = sentence(item.error.as_deref().unwrap_or("say why"));
            let done = if item.key.is_some() { "committed" } else { "done in part" };
            tracing::error!(area, name, "{area} {name}: {done}{took}, but {error}");
        }
        Outcome::Planned => tracing::info!(area, name, "{area} {name}: would be done"),
        Outcome::Fresh if item.area == Area::Seed => tracing::info!(area, name, "{area} {name}: its content is in the store already"),
        Outcome::Fresh => tracing::info!(area, name, "{area} {name}: left out, its newest backup is young enough"),
        Outcome::Locked => tracing::warn!(area, name, "{area} {name}: left to another run that is at work on it"),
        Outcome::Gone => tracing::warn!(area, name, "{area} {name}: gone; it was there when the run began"),
        Outcome::Cancelled => tracing::warn!(area, name, "{area} {name}: cancelled"),
    }
}
