//! `--dry-run`: each step with its SQL, the locks that it takes, and why.

use plana_config::schema::Retired;
use plana_harness::{Answer, Context, Failure};
use plana_pg::partitions::{Detached, Plan, delete_steps, drop_steps, retire_steps, set_aside_steps};
use plana_plan::partition::{
    Partition,
    ddl::{self, Step},
    deployments::DeploymentWindows,
    plan_retirement,
};
use serde_json::{Value, json};

use crate::{
    Args,
    managed::Managed,
    roll::{expiry, is_due, mark, of_unknown, ours},
    run::Run,
};

/// Says what a run would do; changes nothing.
///
/// # Errors
/// When the server cannot be used.
pub async fn show(context: Context, args: Args) -> Result<Answer, Failure> {
    let mut run = Run::open(&context, &args).await?;
    let (mut answer, mut all) = (Answer::default(), Vec::new());
    for (name, wrong) in &run.selected.wrong {
        answer = answer.text(format!("{}: would fail to {wrong}", plana_plan::name::printable(name)));
    }
    for mut managed in run.selected.tables.clone() {
        let Shown { steps, notes } = plan(&context, &mut run, &mut managed).await?;
        answer = answer.text(text(&managed, &steps, &notes));
        let shown = |step: &Step| json!({ "sql": step.sql, "locks": step.locks, "why": step.why });
        all.push(json!({ "table": managed.name(), "steps": steps.iter().map(shown).collect::<Vec<_>>(), "notes": notes }));
    }
    Ok(answer.text("Nothing was changed.").json("tables", Value::Array(all)))
}

/// What one table's part of a run would be.
#[derive(Default)]
struct Shown {
    steps: Vec<Step>,
    notes: Vec<String>,
}

async fn plan(context: &Context, run: &mut Run, managed: &mut Managed) -> Result<Shown, Failure> {
    let mut shown = Shown::default();
    shown.make(context, run, managed).await?;
    for pending in managed.table.partitions.iter().filter(|partition| partition.pending) {
        shown.steps.push(Step {
            sql: vec![ddl::finalize(&managed.table, pending)],
            locks: format!("ACCESS EXCLUSIVE on {}", pending.full_name()),
            why: "an earlier DETACH CONCURRENTLY was cut short: its rows are hidden".to_owned(),
        });
    }
    let windows = shown.ask_deployments(run, managed).await;
    let gone = shown.retire(run, managed, windows.as_ref()).await?;
    for detached in ours(&run.catalog.detached, managed) {
        shown.leftover(run, managed, detached);
    }
    if let Some(windows) = windows {
        shown.expire_rows(run, managed, &windows, &gone);
    }
    Ok(shown)
}

impl Shown {
    async fn make(&mut self, context: &Context, run: &mut Run, managed: &Managed) -> Result<(), Failure> {
        let creation = managed.missing(&run.catalog);
        self.notes.extend(creation.problems.iter().map(|problem| format!("{}; to mend it: {}", problem.what, problem.mend)));
        if creation.make.is_empty() {
            return Ok(());
        }
        let traits = run.tables.traits(&managed.table).await.map_err(Failure::failed)?;
        let move_at_most = context.config().partitions.move_at_most;
        for new in &creation.make {
            let plan =
                Plan { table: &managed.table, traits: &traits, references: &managed.references, new, move_at_most, now: run.catalog.now };
            match run.tables.in_default(&plan).await {
                Ok(found) => self.steps.extend(plan.steps(&found)),
                Err(error) => self.notes.push(format!("would fail to {error}")),
            }
        }
        Ok(())
    }

    async fn ask_deployments(&mut self, run: &mut Run, managed: &mut Managed) -> Option<DeploymentWindows> {
        let config = managed.config.deployments.clone()?;
        match run.tables.deployment_windows(&config.query, config.timeout.0).await {
            Ok(windows) => {
                managed.policy.retention = windows.longest();
                Some(windows)
            }
            Err(refused) => {
                self.notes.push(format!("would fail to {refused}"));
                None
            }
        }
    }

    /// Gives the partitions that would go.
    async fn retire(&mut self, run: &mut Run, managed: &Managed, windows: Option<&DeploymentWindows>) -> Result<Vec<u32>, Failure> {
        let retirement = plan_retirement(&managed.table, &managed.policy, run.catalog.now);
        self.notes.extend(retirement.kept.iter().map(|(partition, kept)| format!("{} stays: {}", partition.full_name(), kept.reason())));
        let mut gone = Vec::new();
        for partition in retirement.retire {
            if let (Some(windows), Some(config)) = (windows, &managed.config.deployments) {
                match run.tables.unknown_deployment(partition, &managed.owner, &config.column, &windows.names()).await {
                    Ok(None) => {}
                    Ok(Some(unknown)) => {
                        self.notes.push(of_unknown(partition, &unknown));
                        continue;
                    }
                    Err(error) => {
                        self.notes.push(format!("would fail to {error}"));
                        continue;
                    }
                }
            }
            let blockers = run.tables.old_holders(&[managed.table.oid, partition.oid]).await.map_err(Failure::failed)?;
            self.notes.extend(blockers.iter().map(|blocker| format!("{} would have to wait: {blocker}", partition.full_name())));
            let mark = mark(managed, partition, run.catalog.now);
            self.steps.extend(retire_steps(&managed.table, &managed.owner, partition, &mark, "has expired"));
            let (schema, name) = (partition.schema.clone(), partition.name.clone());
            let detached = Detached { oid: partition.oid, schema, name, owner: managed.owner.clone(), comment: mark.comment(), mark };
            self.leftover(run, managed, &detached);
            gone.push(partition.oid);
        }
        Ok(gone)
    }

    /// What is done with one that is retired.
    fn leftover(&mut self, run: &Run, managed: &Managed, detached: &Detached) {
        let config = &managed.config;
        if config.retired == Retired::Keep {
            self.steps.extend(set_aside_steps(detached, config.suffix.as_deref(), config.move_to.as_deref()));
        } else if is_due(detached, managed, run.catalog.now) {
            if config.archive {
                self.notes.push(format!("{} is archived first, under a lock that keeps writers out", detached.full_name()));
            }
            // The parent's keys are its partitions' too.
            let references = run.catalog.references.get(&detached.oid).unwrap_or(&managed.references);
            self.steps.extend(drop_steps(detached, Some(references)));
        }
    }

    fn expire_rows(&mut self, run: &Run, managed: &Managed, windows: &DeploymentWindows, gone: &[u32]) {
        let Some(config) = &managed.config.deployments else { return };
        let expiry = expiry(managed, config, windows, run.catalog.now);
        let stays = |leaf: &&Partition| !leaf.pending && !gone.contains(&leaf.oid) && expiry.is_due(leaf);
        self.steps.extend(managed.table.partitions.iter().filter(stays).flat_map(|leaf| delete_steps(&expiry, leaf)));
    }
}

fn text(managed: &Managed, steps: &[Step], notes: &[String]) -> String {
    let mut lines = vec![format!("{}: {}", managed.name(), if steps.is_empty() { "nothing to do" } else { "would run" })];
    for step in steps {
        lines.push(format!("  -- {}", step.why));
        lines.push(format!("  -- locks: {}", step.locks));
        lines.extend(step.sql.iter().map(|sql| format!("  {};", plana_plan::name::printable(sql))));
    }
    lines.extend(notes.iter().map(|note| format!("  note: {note}")));
    lines.join("\n")
}
