//! What every call on a mirror opens, and the guards before a plan.

use std::collections::BTreeMap;

use plana_backup::setup;
use plana_config::StoreName;
use plana_harness::Context;
use plana_plan::{
    mirror::{Content, Digest, MirrorPlan, plan},
    retention::guard::{self, Pruned, Refusal},
};
use plana_storage::DynStore;

use super::{
    MIRROR_JOB, MirrorArgs,
    ledger::Ledger,
    listing::{Registry, list_registry},
    read::read_all,
};
use crate::{
    error::RunError,
    listing::{self, Mode},
    memory::Memory,
};

/// The mirror's store, opened, and answering.
pub struct Opened {
    pub store: DynStore,
    pub mode: Mode,
    pub memory: Memory,
}

/// A plan, and what it was made of.
pub struct Planned {
    pub plan: MirrorPlan,
    pub contents: BTreeMap<Digest, Content>,
    pub ledger: Ledger,
    pub is_versioned: bool,
}

impl Opened {
    /// Opens the store of the configuration; a templates store is refused before it is spoken to.
    pub async fn new(context: &Context) -> Result<Self, RunError> {
        let store = setup::open_named_store(context.config(), context.env(), StoreName::Mirror, false).await?;
        guard::refuse_templates(Pruned::Mirror, store.url())?;
        guard::refuse_escrow(Pruned::Mirror, store.url())?;
        let mode = listing::mode(&*store).await?;
        // Whether it may be listed at all is found out before what a run would take for a listing that broke off.
        store.list("probe/", None).await?;
        let memory = Memory::read(context.state(), MIRROR_JOB, store.url());
        Ok(Opened { store, mode, memory })
    }

    /// Reads the ledger, lists, reads the manifests, and plans. The ledger comes first: it is for the times before the listing, and
    /// a pull that it does not show yet is one of just now.
    pub async fn plan(&self, context: &Context, args: &MirrorArgs) -> Result<Planned, RunError> {
        let mirror = context.config().mirror.clone();
        let now = context.now();
        let reading = tokio::task::spawn_blocking(move || Ledger::read(&mirror, now));
        let ledger = reading.await.map_err(|error| RunError::Defect(error.to_string()))??;
        let listed = list_registry(&*self.store, self.mode).await;
        let Registry { mut stock, is_versioned } = listed.map_err(RunError::HalfListed)?;
        guard::refuse_seeds(Pruned::Mirror, self.store.url(), stock.seed.as_deref())?;
        let contents = read_all(&*self.store, &mut stock).await.map_err(RunError::HalfRead)?;
        let (objects, repositories) = (stock.listed, stock.repositories.len());
        let at = args.as_of.map_or(now, |at| at.instant());
        let plan = plan(stock, &contents, &ledger.pulls, &context.config().mirror.policy(), at);
        let (go, blobs) = (plan.doomed().count(), plan.doomed_blobs().count());
        tracing::info!(objects, repositories, lines = ledger.lines, go, blobs, "planned");
        Ok(Planned { plan, contents, ledger, is_versioned })
    }
}

/// The guards that a plan does not need.
pub fn require_permission(context: &Context, opened: &Opened) -> Result<(), Refusal> {
    let mirror = &context.config().mirror;
    guard::require_enabled(Pruned::Mirror, mirror.enabled)?;
    guard::require_named(Pruned::Mirror, opened.store.url(), &mirror.stores)
}

/// The number of manifests, against what the last run left.
pub fn require_no_shrink(context: &Context, opened: &Opened, planned: &Planned) -> Result<(), Refusal> {
    let before = opened.memory.inventory.map(|inventory| inventory.committed);
    guard::require_no_shrink(Pruned::Mirror, before, planned.plan.manifests(), context.config().mirror.max_shrink_percent)
}

/// The ledger, which must show what was pulled until now; gives a warning where it does not and need not.
pub fn require_ledger(context: &Context, planned: &Planned) -> Result<Option<String>, Refusal> {
    planned.ledger.require_cover(&context.config().mirror)
}
