//! One table of a run: what is made, what is retired, whose rows are deleted, and its line in the report.

use chrono::{DateTime, TimeDelta, Utc};
use plana_config::schema::{DeploymentRetention, Retired};
use plana_harness::{Context, Event, ItemReport, Outcome, PartitionCounts};
use plana_pg::partitions::{Detached, Expiry, Made, Pace, PartitionError, Plan};
use plana_plan::{
    Area, Stamp,
    partition::{Partition, Policy, Problem, deployments::DeploymentWindows, detached::Mark, is_expired, plan_retirement},
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::{
    archive::{self, DropError},
    managed::Managed,
    run::Run,
};

/// What a run did to one table.
#[derive(Debug, Default)]
pub struct Roll {
    counts: Counts,
    /// What failed: each completes "failed to …".
    failures: Vec<String>,
    /// Whether nothing but a lock was missing.
    only_blocked: bool,
    warnings: Vec<String>,
    windows: Option<DeploymentWindows>,
    policy: Option<Policy>,
    /// The guard rail that held: completes "failed to …".
    pub refused: Option<String>,
}

#[derive(Debug, Default)]
struct Counts {
    made: u64,
    moved: u64,
    detached: u64,
    archived: u64,
    dropped: u64,
    deleted: u64,
}

impl Roll {
    /// Makes what is missing. One that cannot be made keeps no other from it.
    pub async fn make(&mut self, context: &Context, run: &mut Run, managed: &Managed) {
        if let Err(error) = run.tables.drop_old_proof(&managed.table, &managed.owner).await {
            self.failed(error);
        }
        let creation = managed.missing(&run.catalog);
        for problem in creation.problems {
            self.failures.push(told(problem));
        }
        if creation.beyond_cap > 0 {
            self.warnings.push(format!("{} more partitions are missing than max_made allows in one run", creation.beyond_cap));
        }
        if creation.make.is_empty() {
            return;
        }
        let traits = match run.tables.traits(&managed.table).await {
            Ok(traits) => traits,
            Err(error) => return self.failures.push(error.to_string()),
        };
        for new in &creation.make {
            if context.cancel().is_cancelled() {
                return;
            }
            let plan = Plan {
                table: &managed.table,
                traits: &traits,
                references: &managed.references,
                new,
                move_at_most: context.config().partitions.move_at_most,
                now: run.catalog.now,
            };
            match run.tables.make(&plan).await {
                Ok(Made::Made { moved }) => {
                    self.counts.made += 1;
                    self.counts.moved += moved;
                    let key = managed.table.key;
                    let (from, to) = (key.text(new.from), key.text(new.to));
                    tracing::info!("{}: made {} for {from} to {to}", managed.name(), new.name);
                    let data = json!({ "table": managed.name(), "partition": new.name, "from": from, "to": to, "moved_rows": moved });
                    context.events().send(Event::about("partition.made", subject(managed), data));
                }
                Ok(Made::ThereAlready) => tracing::info!("{}: somebody else has just made {}", managed.name(), new.name),
                Err(error) => self.failed(error),
            }
        }
    }

    /// Asks how long each deployment's rows are kept, where that differs. An answer that cannot be believed lets nothing expire.
    pub async fn ask_deployments(&mut self, run: &mut Run, managed: &mut Managed) {
        let Some(config) = &managed.config.deployments else { return };
        match run.tables.deployment_windows(&config.query, config.timeout.0).await {
            Ok(windows) => {
                managed.policy.retention = windows.longest();
                self.policy = Some(managed.policy.clone());
                self.windows = Some(windows);
            }
            Err(refused) => {
                let refused = format!("retire anything of {}: {refused}", managed.name());
                self.failures.push(refused.clone());
                self.refused = Some(refused);
            }
        }
    }

    /// Finishes what an earlier run left pending, detaches what has expired, and drops what was detached long enough ago.
    pub async fn retire(&mut self, context: &Context, run: &mut Run, managed: &Managed, stop: &CancellationToken) {
        for pending in managed.table.partitions.iter().filter(|partition| partition.pending) {
            match run.tables.finalize(&managed.table, &managed.owner, pending).await {
                Ok(()) => self.detached(context, managed, &pending.name, "a detach that was cut short is finished"),
                Err(error) => self.failed(error),
            }
        }
        let now = run.catalog.now;
        let plan = plan_retirement(&managed.table, &managed.policy, now);
        for (partition, kept) in &plan.kept {
            tracing::debug!("{} stays: {}", partition.full_name(), kept.reason());
        }
        if plan.beyond_cap > 0 {
            self.warnings.push(format!("{} more partitions have expired than max_retired allows in one run", plan.beyond_cap));
        }
        for partition in plan.retire {
            if stop.is_cancelled() {
                return;
            }
            match self.retire_one(context, run, managed, partition, now).await {
                Err(PartitionError::Changed { .. }) if is_gone(run, managed, partition).await => {
                    tracing::info!("{}: somebody else has just retired {}", managed.name(), partition.name);
                }
                Err(error) => self.failed(error),
                Ok(()) => {}
            }
        }
        self.leftovers(context, run, managed, stop).await;
    }

    async fn retire_one(
        &mut self,
        context: &Context,
        run: &mut Run,
        managed: &Managed,
        partition: &Partition,
        now: DateTime<Utc>,
    ) -> Result<(), PartitionError> {
        if let (Some(windows), Some(config)) = (&self.windows, &managed.config.deployments) {
            let unknown = run.tables.unknown_deployment(partition, &managed.owner, &config.column, &windows.names()).await?;
            if let Some(unknown) = unknown {
                self.warnings.push(of_unknown(partition, &unknown));
                return Ok(());
            }
        }
        let mark = mark(managed, partition, now);
        run.tables.detach(&managed.table, &managed.owner, partition, &mark, &managed.references).await?;
        self.detached(context, managed, &partition.name, "expired");
        Ok(())
    }

    fn detached(&mut self, context: &Context, managed: &Managed, partition: &str, why: &str) {
        self.counts.detached += 1;
        tracing::info!("{}: detached {partition}, {why}", managed.name());
        let data = json!({ "table": managed.name(), "partition": partition, "step": "detached", "why": why });
        context.events().send(Event::about("partition.retired", subject(managed), data));
    }

    /// What was retired, by this run or an earlier one, and is still there.
    async fn leftovers(&mut self, context: &Context, run: &mut Run, managed: &Managed, stop: &CancellationToken) {
        // Most tables have none: hundreds of them must not ask for nothing.
        if self.counts.detached == 0 && ours(&run.catalog.detached, managed).next().is_none() {
            return;
        }
        let now = run.catalog.now;
        let retired = match run.tables.retired().await {
            Ok(retired) => retired,
            Err(error) => return self.failures.push(error.to_string()),
        };
        for detached in ours(&retired, managed) {
            if stop.is_cancelled() {
                return;
            }
            let done: Result<(), DropError> = match managed.config.retired {
                Retired::Keep => {
                    let (suffix, move_to) = (managed.config.suffix.as_deref(), managed.config.move_to.as_deref());
                    run.tables.set_aside(detached, suffix, move_to).await.map_err(DropError::from)
                }
                Retired::Drop if is_due(detached, managed, now) => {
                    let dropped = archive::drop_archived(context, run, managed, detached, stop).await;
                    dropped.map(|set| self.dropped(context, managed, detached, set))
                }
                Retired::Drop => Ok(()),
            };
            if let Err(error) = done {
                self.only_blocked |= error.is_blocked();
                self.failures.push(error.to_string());
            }
        }
    }

    fn dropped(&mut self, context: &Context, managed: &Managed, detached: &Detached, set: Option<String>) {
        self.counts.dropped += 1;
        self.counts.archived += u64::from(set.is_some());
        tracing::info!(
            "{}: dropped {}{}",
            managed.name(),
            detached.name,
            set.as_ref().map(|set| format!(", archived as {set}")).unwrap_or_default()
        );
        let data = json!({ "table": managed.name(), "partition": detached.mark.partition, "step": "dropped", "archive": set });
        context.events().send(Event::about("partition.retired", subject(managed), data));
    }

    /// Deletes the rows of deployments that keep less than the others.
    pub async fn expire_rows(&mut self, run: &mut Run, managed: &Managed, stop: &CancellationToken) {
        let (Some(windows), Some(config)) = (self.windows.clone(), &managed.config.deployments) else { return };
        let expiry = expiry(managed, config, &windows, run.catalog.now);
        // As it is now: what was retired meanwhile is nobody's leaf any more.
        let leaves = match run.tables.partitions(&managed.table).await {
            Ok(leaves) => leaves,
            Err(error) => return self.failures.push(error.to_string()),
        };
        for leaf in leaves.iter().filter(|leaf| !leaf.pending) {
            if stop.is_cancelled() {
                return;
            }
            match run.tables.delete_expired(&expiry, leaf, stop).await {
                Ok(deleted) => {
                    self.counts.deleted += deleted.rows;
                    if deleted.rows > 0 {
                        tracing::info!("{}: deleted {} expired rows in {} batches", leaf.full_name(), deleted.rows, deleted.batches);
                    }
                }
                Err(error) => self.failed(error),
            }
        }
    }

    fn failed(&mut self, error: PartitionError) {
        self.only_blocked |= matches!(error, PartitionError::Blocked { .. });
        tracing::error!("failed to {error}");
        self.failures.push(error.to_string());
    }

    /// The table's line. What is blocked is not done, and is done by the next run.
    pub fn report(self, managed: &Managed, left: Option<TimeDelta>, now: DateTime<Utc>, cancelled: bool) -> ItemReport {
        let counts = &self.counts;
        let did = counts.made + counts.detached + counts.dropped + counts.deleted > 0;
        let outcome = match (self.failures.is_empty(), did || self.only_blocked) {
            _ if cancelled => Outcome::Cancelled,
            (true, _) => Outcome::Done,
            (false, true) => Outcome::Partial,
            (false, false) => Outcome::Failed,
        };
        let policy = self.policy.as_ref().unwrap_or(&managed.policy);
        let expired = plan_retirement(&managed.table, policy, now);
        let expired = (expired.retire.len() + expired.beyond_cap) as u64;
        let some = |count: u64| (count > 0).then_some(count);
        let mut report = ItemReport::new(Area::Partition, format!("{}.{}", managed.table.schema, managed.table.name), outcome)
            .field("made", some(counts.made))
            .field("moved rows", some(counts.moved))
            .field("detached", some(counts.detached))
            .field("archived", some(counts.archived))
            .field("dropped", some(counts.dropped))
            .field("deleted rows", some(counts.deleted))
            .field("expired", some(expired))
            .field("runway", runway_text(left))
            .partitions(PartitionCounts {
                runway_seconds: left.map_or(f64::INFINITY, TimeDelta::as_seconds_f64),
                made: counts.made,
                retired: counts.detached,
                deleted_rows: counts.deleted,
                expired,
            });
        report.error = (!self.failures.is_empty()).then(|| self.failures.join("; failed to "));
        self.warnings.into_iter().fold(report, ItemReport::warning)
    }
}

/// How long inserts go on to find a partition, for people.
pub fn runway_text(left: Option<TimeDelta>) -> String {
    match left {
        None => "unlimited".to_owned(),
        Some(left) if left >= TimeDelta::days(2) => format!("{} d", left.num_days()),
        Some(left) if left.is_zero() => "none".to_owned(),
        Some(left) => format!("{} h", left.num_hours()),
    }
}

/// A problem as the reason of a failure.
fn told(problem: Problem) -> String {
    let mend = if problem.mend.is_empty() { String::new() } else { format!("; to mend it: {}", problem.mend) };
    format!("make a partition: {}{mend}", problem.what)
}

fn subject(managed: &Managed) -> String {
    format!("{}/{}", Area::Partition, plana_plan::name::encode(managed.name()))
}

/// Whether a partition is none of its table any more. Others retire partitions too, and then nothing is left to be done.
async fn is_gone(run: &mut Run, managed: &Managed, partition: &Partition) -> bool {
    let now = run.tables.partitions(&managed.table).await;
    now.is_ok_and(|partitions| partitions.iter().all(|other| other.oid != partition.oid))
}

/// Why a partition of which everything has expired stays all the same.
pub fn of_unknown(partition: &Partition, deployment: &str) -> String {
    let deployment = plana_plan::name::printable(deployment);
    format!("{} stays: it has rows of deployment {deployment}, of which the query for deployments says nothing", partition.full_name())
}

/// Whose rows of the table expire when.
pub fn expiry<'a>(managed: &'a Managed, config: &'a DeploymentRetention, windows: &'a DeploymentWindows, now: DateTime<Utc>) -> Expiry<'a> {
    Expiry {
        table: &managed.table,
        owner: &managed.owner,
        column: &config.column,
        windows,
        grid: managed.grid(),
        now,
        pace: Pace { batch_pages: config.batch_pages, rows_per_second: config.rows_per_second },
    }
}

/// The mark of a partition that is retired now.
pub fn mark(managed: &Managed, partition: &Partition, now: DateTime<Utc>) -> Mark {
    Mark {
        schema: managed.table.schema.clone(),
        table: managed.table.name.clone(),
        partition: partition.name.clone(),
        bounds: partition.bounds_text.clone(),
        since: Stamp::new(now),
    }
}

/// Retired partitions of this table, the oldest first: marked so, and its owner's, since anybody may write a comment on a table of
/// their own.
pub fn ours<'a>(detached: &'a [Detached], managed: &'a Managed) -> impl Iterator<Item = &'a Detached> {
    let is_ours = |detached: &&Detached| detached.mark.is_of(&managed.table) && detached.owner == managed.owner;
    let mut ours: Vec<&Detached> = detached.iter().filter(is_ours).collect();
    ours.sort_by_key(|detached| detached.mark.range(managed.table.key));
    ours.into_iter()
}

/// Whether it has lain detached for long enough, and has expired by what is configured and answered today.
pub fn is_due(detached: &Detached, managed: &Managed, now: DateTime<Utc>) -> bool {
    let grace = managed.config.grace.map_or(TimeDelta::zero(), |grace| grace.span());
    detached.mark.since.instant() + grace <= now && is_expired(&detached.mark, &managed.table, &managed.policy, now)
}
