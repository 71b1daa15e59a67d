//! `--dry-run`: each step with its SQL, the locks that it takes, and why.

use plana_config::schema::Retired;
use plana_harness::{Answer, Context, Failure};
use plana_pg::partitions::{Plan, drop_steps, retire_steps};
use plana_plan::partition::{
    ddl::{self, Step},
    plan_retirement,
};
use serde_json::{Value, json};

use crate::{
    Args,
    managed::Managed,
    roll::{is_due, mark, ours},
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
        let (steps, notes) = plan(&context, &mut run, &mut managed).await?;
        answer = answer.text(text(&managed, &steps, &notes));
        let shown = |step: &Step| json!({ "sql": step.sql, "locks": step.locks, "why": step.why });
        all.push(json!({ "table": managed.name(), "steps": steps.iter().map(shown).collect::<Vec<_>>(), "notes": notes }));
    }
    Ok(answer.text("Nothing was changed.").json("tables", Value::Array(all)))
}

async fn plan(context: &Context, run: &mut Run, managed: &mut Managed) -> Result<(Vec<Step>, Vec<String>), Failure> {
    let (mut steps, mut notes) = (Vec::new(), Vec::new());
    let creation = managed.missing(&run.catalog);
    notes.extend(creation.problems.iter().map(|problem| format!("{}; to mend it: {}", problem.what, problem.mend)));
    if !creation.make.is_empty() {
        let traits = run.tables.traits(&managed.table).await.map_err(Failure::failed)?;
        let move_at_most = context.config().partitions.move_at_most;
        for new in &creation.make {
            let plan =
                Plan { table: &managed.table, traits: &traits, references: &managed.references, new, move_at_most, now: run.catalog.now };
            steps.extend(plan.steps());
        }
    }
    for pending in managed.table.partitions.iter().filter(|partition| partition.pending) {
        steps.push(Step {
            sql: vec![ddl::finalize(&managed.table, pending)],
            locks: format!("ACCESS EXCLUSIVE on {}", pending.full_name()),
            why: "an earlier DETACH CONCURRENTLY was cut short: its rows are hidden".to_owned(),
        });
    }
    if let Some(config) = managed.config.deployments.clone() {
        match run.tables.deployment_windows(&config.query, config.timeout.0).await {
            Ok(windows) => {
                managed.policy.retention = windows.longest();
                let names = windows.names().len();
                notes.push(format!(
                    "rows of {names} deployments are deleted by their own windows, {} pages at a time, leaf by leaf",
                    config.batch_pages
                ));
            }
            Err(refused) => notes.push(format!("would fail to {refused}")),
        }
    }
    let retirement = plan_retirement(&managed.table, &managed.policy, run.catalog.now);
    notes.extend(retirement.kept.iter().map(|(partition, kept)| format!("{} stays: {}", partition.full_name(), kept.reason())));
    for partition in retirement.retire {
        let blockers = run.tables.old_holders(&[managed.table.oid, partition.oid]).await.map_err(Failure::failed)?;
        notes.extend(blockers.iter().map(|blocker| format!("{} would have to wait: {blocker}", partition.full_name())));
        let mark = mark(managed, partition, run.catalog.now);
        steps.extend(retire_steps(&managed.table, &managed.owner, partition, &mark, "has expired"));
    }
    for detached in ours(&run.catalog.detached, managed).filter(|_| managed.config.retired == Retired::Drop) {
        if is_due(detached, managed, run.catalog.now) {
            if managed.config.archive {
                notes.push(format!("{} is archived first, under a lock that keeps writers out", detached.full_name()));
            }
            steps.extend(drop_steps(detached, run.catalog.references.get(&detached.oid)));
        }
    }
    Ok((steps, notes))
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
