//! The operator's decisions, from the configuration, the lookup of tiers and what was said of names.

use std::collections::BTreeMap;

use plana_backup::{setup, tiers};
use plana_harness::Context;
use plana_plan::{
    Label,
    retention::{Policy, Retirement},
};

use crate::{JOB, PlanArgs, error::RunError};

/// Finds the policy of a run.
///
/// # Errors
/// When the tiers of today are wanted and cannot be had: a raised tier that nobody knows of would be lost backups.
pub async fn find(context: &Context, args: &PlanArgs, retired: BTreeMap<String, Retirement>) -> Result<Policy, RunError> {
    let retention = &context.config().retention;
    Ok(Policy {
        windows: retention.windows(),
        floor: retention.floor,
        freeze_after: retention.freeze_after,
        debris_after: retention.debris_after,
        max_sets: retention.max_sets as usize,
        keep: retention.periods(),
        tiers: if retention.tiers { find_tiers(context, &retired).await? } else { BTreeMap::new() },
        retired,
        lowered_tiers: args.lowered_tiers,
    })
}

/// The static map wins over the file, the file over the query, as for the jobs that make backups. An answer of another day never
/// stands in for one that fails here: to wait costs nothing.
async fn find_tiers(context: &Context, retired: &BTreeMap<String, Retirement>) -> Result<BTreeMap<String, Label>, RunError> {
    let sources = &context.config().tiers;
    let mut found = BTreeMap::new();
    if let Some(lookup) = &sources.sql {
        if !setup::has_server(context.config(), context.env())? {
            return Err(RunError::NoServer);
        }
        let settings = setup::connection(context.config(), context.env(), JOB, None)?;
        let today = tiers::ask(context, lookup, &settings).await.map_err(RunError::Tiers)?;
        // Nobody knows which window is right for them. Who has left for good is said by a retirement.
        let undecided = today.undecided.into_iter().filter(|name| !retired.contains_key(name));
        found.extend(undecided.map(|name| (name, Label::UNCLASSIFIED.to_owned())));
        found.extend(today.tiers);
    }
    if let Some(path) = &sources.file {
        let unread = |source| RunError::TiersFile { path: path.display().to_string(), source };
        let text = std::fs::read_to_string(path).map_err(unread)?;
        found.extend(tiers::read_file(&text, |complaint| context.report().warn(format!("{}: {complaint}", path.display()))));
    }
    found.extend(sources.fixed.clone());
    // What is no label has no window, and so the longest.
    let label = |tier: String| tier.trim().to_lowercase().parse().unwrap_or_else(|_| Label::unclassified());
    Ok(found.into_iter().map(|(name, tier)| (name, label(tier))).collect())
}
