//! What every verb opens, and the guards that need no listing.

use plana_backup::{FileLocks, setup};
use plana_harness::Context;
use plana_plan::retention::{
    Keys, LegacyPattern, Plan, Policy, Times,
    guard::{self, Pruned, Refusal},
    plan,
};
use plana_storage::DynStore;

use crate::{
    JOB, PlanArgs,
    error::RunError,
    listing::{self, Mode, Whole},
    memory::Memory,
    policy,
};

/// The store, opened, and answering.
pub struct Opened {
    pub store: DynStore,
    pub mode: Mode,
    pub memory: Memory,
    pub keys: Keys,
}

impl Opened {
    /// Opens the store of the configuration; one of templates or of keys is refused before it is spoken to.
    pub async fn new(context: &Context) -> Result<Self, RunError> {
        let store = setup::open_store(context.config(), context.env(), false).await?;
        guard::refuse_templates(Pruned::Backups, store.url())?;
        guard::refuse_escrow(Pruned::Backups, store.url())?;
        let mode = listing::mode(&*store).await?;
        // Whether it may be listed at all is found out before what a run would take for a listing that broke off.
        store.list("probe/", None).await?;
        let memory = Memory::read(context.state(), JOB, store.url());
        let patterns: Vec<LegacyPattern> = context.config().retention.legacy_patterns();
        Ok(Opened { store, mode, memory, keys: Keys::new(patterns) })
    }

    /// Lists and plans.
    pub async fn plan(&self, context: &Context, args: &PlanArgs) -> Result<Planned, RunError> {
        let policy = policy::find(context, args, self.memory.retired.clone()).await?;
        let billed_at_least = context.config().retention.price.minimum_object.0;
        let listed = listing::list_all(&*self.store, self.mode, self.keys.clone(), billed_at_least).await;
        let Whole { stock, is_versioned } = listed.map_err(RunError::HalfListed)?;
        guard::refuse_seeds(Pruned::Backups, self.store.url(), stock.seed.as_deref())?;
        guard::refuse_kept_keys(Pruned::Backups, self.store.url(), stock.kept_key.as_deref())?;
        let (objects, uploads) = (stock.listed, stock.uploads.len());
        let now = context.now();
        let times = args.as_of.map_or(Times::now(now), |at| Times::as_of(at.instant(), now));
        let plan = plan(stock, &policy, times);
        tracing::info!(objects, uploads, groups = plan.groups.len(), go = plan.doomed().count(), "planned");
        Ok(Planned { plan, policy, is_versioned })
    }
}

/// A plan, and what it was made by.
pub struct Planned {
    pub plan: Plan,
    pub policy: Policy,
    pub is_versioned: bool,
}

/// The guards that a plan does not need.
pub fn require_permission(context: &Context, opened: &Opened) -> Result<(), Refusal> {
    let retention = &context.config().retention;
    guard::require_enabled(Pruned::Backups, retention.enabled)?;
    guard::require_named(Pruned::Backups, opened.store.url(), &retention.stores)
}

/// The clocks: ages are taken by this host's, and written by the store's.
pub async fn require_same_clock(context: &Context, store: &DynStore) -> Result<(), RunError> {
    let apart = setup::clock_difference(store).await?;
    if let Some(apart) = apart {
        context.report().clock_apart(apart);
    }
    Ok(guard::require_same_clock(apart, setup::CLOCK_TOLERANCE)?)
}

/// The number of backups, against what the last run left.
pub fn require_no_shrink(context: &Context, opened: &Opened, planned: &Planned) -> Result<(), Refusal> {
    let before = opened.memory.inventory.map(|inventory| inventory.committed);
    guard::require_no_shrink(Pruned::Backups, before, planned.plan.committed(), context.config().retention.max_shrink_percent)
}

/// One run at a time for a store. Two on different hosts do no harm: each set is listed again before it is deleted.
pub fn lock(context: &Context, url: &str) -> Result<std::fs::File, RunError> {
    let locks = FileLocks::open(context.state().dir()).map_err(RunError::Lock)?;
    locks.try_store(url).map_err(RunError::Lock)?.ok_or_else(|| RunError::Locked { url: url.to_owned() })
}
