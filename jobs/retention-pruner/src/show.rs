//! `--dry-run` and `--explain`: a plan for people and for programs.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use plana_config::Config;
use plana_harness::{Answer, Column, Context, Failure, Tone, human};
use plana_plan::{
    name::printable,
    retention::{Explanation, GroupPlan, Keep, Plan, PlannedSet, Price, Summary, Tally, Verdict, explain as explain_key, guard::Refusal},
};
use serde_json::{Value, json};

use crate::{
    PlanArgs, alarms,
    error::RunError,
    prune::standing,
    setup::{self, Opened, Planned},
};

/// Shows the plan of a run, and what would keep it from being carried out.
///
/// # Errors
/// When there can be no plan.
pub async fn plan(context: Context, args: PlanArgs) -> Result<Answer, Failure> {
    Ok(show(&context, &args).await?)
}

async fn show(context: &Context, args: &PlanArgs) -> Result<Answer, RunError> {
    let opened = Opened::new(context).await?;
    let planned = opened.plan(context, args).await?;
    let stops = stops(context, &opened, &planned, args).await?;
    Ok(answer(context.config(), opened.store.url(), planned.plan, &stops))
}

/// The guards that would stop a run.
async fn stops(context: &Context, opened: &Opened, planned: &Planned, args: &PlanArgs) -> Result<Vec<String>, RunError> {
    let mut stops = Vec::new();
    let mut note =
        |result: Result<(), Refusal>| stops.extend(result.err().map(|refusal| format!("a run would be refused: failed to {refusal}")));
    note(setup::require_permission(context, opened));
    match setup::require_same_clock(context, &opened.store).await {
        Err(RunError::Refused(refusal)) => note(Err(refusal)),
        other => other?,
    }
    if !args.accept_shrink {
        note(setup::require_no_shrink(context, opened, planned));
    }
    Ok(stops)
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Rows of a table for people. A table is held whole, for the widths of its columns; programs get all rows, one after the other.
pub const MOST_ROWS: usize = 1_000;

/// How many rows of a table are left out, where any are.
pub fn left_out(rows: usize) -> Option<String> {
    (rows > MOST_ROWS).then(|| format!("… and {} more; --output json has all of them", human::integer((rows - MOST_ROWS) as i128)))
}

fn answer(config: &Config, url: &str, plan: Plan, stops: &[String]) -> Answer {
    let plan = &Arc::new(plan);
    let summary = Summary::of(plan);
    let mut answer = Answer::default().text(format!("Plan for {} at {}", printable(url), time(plan.times.at)));
    let doomed: Vec<_> = plan.doomed().collect();
    if !doomed.is_empty() {
        answer = add_sets(answer.text("These go:"), &doomed);
    }
    let guarded = guarded(plan);
    if !guarded.is_empty() {
        answer = add_sets(answer.text("These are past their windows, or not understood, and stay:"), &guarded);
    }
    let loose: Vec<String> = loose(plan).take(MOST_ROWS).collect();
    if !loose.is_empty() {
        let more = left_out(self::loose(plan).count());
        let lines: Vec<String> = loose.into_iter().chain(more).collect();
        answer = answer.text(format!("Left behind by nobody's backup, and going:\n  {}", lines.join("\n  ")));
    }
    answer = answer.grid(summary_columns(config, &summary));
    let warnings: Vec<String> = stops.iter().cloned().chain(alarms::warnings(plan)).map(|warning| format!("  {warning}")).collect();
    if !warnings.is_empty() {
        answer = answer.text(format!("Warnings:\n{}", warnings.join("\n")));
    }
    let Tally { kept, freed } = summary.total();
    let total = format!(
        "{} go and free {}, {} stay with {} (dry run: nothing was changed)",
        human::integer(freed.sets.into()),
        human::bytes(freed.bytes),
        human::integer(kept.sets.into()),
        human::bytes(kept.bytes)
    );
    for_programs(answer.text(total), config, url, plan, &summary, stops)
}

/// What a person would ask about: what guards keep, and what is from the future or nobody's.
fn guarded(plan: &Plan) -> Vec<(&GroupPlan, &PlannedSet)> {
    let sets = plan.groups.iter().flat_map(|group| group.sets.iter().map(move |set| (group, set)));
    let special = |verdict: &Verdict| match verdict {
        Verdict::Keep(keep) => !matches!(keep, Keep::InWindow { .. } | Keep::ForEver | Keep::Insured { .. } | Keep::InProgress { .. }),
        Verdict::Delete(_) => false,
    };
    sets.filter(|(_, set)| special(&set.verdict)).collect()
}

fn add_sets(answer: Answer, sets: &[(&GroupPlan, &PlannedSet)]) -> Answer {
    let answer = answer.grid(set_columns(&sets[..sets.len().min(MOST_ROWS)]));
    left_out(sets.len()).into_iter().fold(answer, Answer::text)
}

fn set_columns(sets: &[(&GroupPlan, &PlannedSet)]) -> Vec<Column> {
    let words = |text: &dyn Fn(&GroupPlan, &PlannedSet) -> String| sets.iter().map(|(group, set)| text(group, set)).collect::<Vec<_>>();
    vec![
        Column::words("set", words(&|group, set| set.key(&group.key))),
        Column::numbers("size", words(&|_, set| human::bytes(set.facts.bytes))),
        Column::words("why", words(&|_, set| set.verdict.reason(&set.id.label.label))),
    ]
}

fn loose(plan: &Plan) -> impl Iterator<Item = String> {
    let probes = plan.probes.iter().filter(|probe| probe.verdict.is_delete()).map(|probe| printable(&probe.key));
    let uploads = plan.uploads.iter().filter(|upload| upload.verdict.is_delete());
    let uploads =
        uploads.map(|one| format!("the unfinished upload of {}, begun at {}", printable(&one.upload.key), time(one.upload.initiated)));
    probes.chain(uploads)
}

fn price(config: &Config) -> Option<Price> {
    config.retention.price.per_gib_month.map(|per_gib_month| Price { per_gib_month })
}

fn summary_columns(config: &Config, summary: &Summary) -> Vec<Column> {
    let total = ("all".to_owned(), summary.total());
    let rows: Vec<(String, Tally)> = summary.0.iter().map(|(row, tally)| (row.clone(), *tally)).chain([total]).collect();
    let texts = |text: &dyn Fn(&Tally) -> String| rows.iter().map(|(_, tally)| text(tally)).collect::<Vec<_>>();
    let mut columns = vec![
        Column::toned("label", rows.iter().map(|(row, _)| (row.clone(), Tone::Plain))),
        Column::numbers("kept", texts(&|tally| human::integer(tally.kept.sets.into()))),
        Column::numbers("kept size", texts(&|tally| human::bytes(tally.kept.bytes))),
        Column::numbers("going", texts(&|tally| human::integer(tally.freed.sets.into()))),
        Column::numbers("freed", texts(&|tally| human::bytes(tally.freed.bytes))),
    ];
    if let Some(price) = price(config) {
        let currency = &config.retention.price.currency;
        let cost = |billed: u64| format!("{:.2}", price.of(billed));
        columns.push(Column::numbers(&format!("{currency} a month"), texts(&|tally| cost(tally.kept.billed_bytes))));
        columns.push(Column::numbers(&format!("{currency} saved"), texts(&|tally| cost(tally.freed.billed_bytes))));
    }
    columns
}

fn for_programs(answer: Answer, config: &Config, url: &str, plan: &Arc<Plan>, summary: &Summary, stops: &[String]) -> Answer {
    let cost = |billed: u64| price(config).map(|price| price.of(billed));
    let amount = |amount: &plana_plan::retention::summary::Amount| json!({ "sets": amount.sets, "bytes": amount.bytes, "billed_bytes": amount.billed_bytes, "cost_per_month": cost(amount.billed_bytes) });
    let rows = summary.0.iter().map(|(row, tally)| json!({ "label": row, "kept": amount(&tally.kept), "freed": amount(&tally.freed) }));
    let total = summary.total();
    answer
        .json("store", url)
        .json("as_of", time(plan.times.at))
        .json("refusals", stops)
        .json("summary", rows.collect::<Value>())
        .json("total", json!({ "kept": amount(&total.kept), "freed": amount(&total.freed), "currency": config.retention.price.currency }))
        .json("remaining", plan.remaining)
        .json("alarms", alarms::data(plan))
        .json_rows("groups", each(plan, plan.groups.len(), |plan, at| group_as_json(&plan.groups[at])))
        .json_rows("probes", each(plan, plan.probes.len(), |plan, at| verdict(&plan.probes[at].key, &plan.probes[at].verdict)))
        .json_rows("uploads", each(plan, plan.uploads.len(), |plan, at| verdict(&plan.uploads[at].upload.key, &plan.uploads[at].verdict)))
        .json_rows("unknown", each(plan, plan.unknown.len(), |plan, at| json!(plan.unknown[at].0)))
        .json_rows("sets", each_set(plan))
}

/// A row for each of so many things, made of the plan when its turn comes.
pub fn each<P: Send + Sync + 'static>(
    plan: &Arc<P>,
    count: usize,
    row: fn(&P, usize) -> Value,
) -> impl Iterator<Item = String> + Send + 'static {
    let plan = Arc::clone(plan);
    (0..count).map(move |at| row(&plan, at).to_string())
}

fn each_set(plan: &Arc<Plan>) -> impl Iterator<Item = String> + Send + 'static {
    let plan = Arc::clone(plan);
    let places = (0..plan.groups.len()).flat_map({
        let plan = Arc::clone(&plan);
        move |at| (0..plan.groups[at].sets.len()).map(move |within| (at, within))
    });
    places.map(move |(at, within)| {
        let group = &plan.groups[at];
        as_json(group, &group.sets[within]).to_string()
    })
}

fn group_as_json(group: &GroupPlan) -> Value {
    json!({
        "area": group.key.area, "name": group.key.plain_name(), "standing": standing(group),
        "newest": group.newest.map(|stamp| stamp.to_string()), "oldest": group.oldest.map(|stamp| stamp.to_string()),
    })
}

fn verdict(key: &str, verdict: &Verdict) -> Value {
    json!({ "key": key, "verdict": word(verdict), "rule": verdict.rule(), "reason": verdict.reason(&plana_plan::Label::unclassified()) })
}

fn word(verdict: &Verdict) -> &'static str {
    if verdict.is_delete() { "delete" } else { "keep" }
}

fn as_json(group: &GroupPlan, set: &PlannedSet) -> Value {
    json!({
        "key": set.key(&group.key),
        "area": group.key.area,
        "name": group.key.plain_name(),
        "label": set.id.label.label,
        "stamp": set.id.stamp,
        "bytes": set.facts.bytes,
        "committed": set.facts.is_committed(),
        "verdict": word(&set.verdict),
        "rule": set.verdict.rule(),
        "reason": set.verdict.reason(&set.id.label.label),
    })
}

/// Explains what becomes of one key.
///
/// # Errors
/// When there can be no plan, or nothing of that key is listed.
pub async fn explain(context: Context, args: PlanArgs) -> Result<Answer, Failure> {
    Ok(tell(&context, &args).await?)
}

async fn tell(context: &Context, args: &PlanArgs) -> Result<Answer, RunError> {
    let key = args.explain.clone().unwrap_or_default();
    let opened = Opened::new(context).await?;
    let Planned { plan, policy, .. } = opened.plan(context, args).await?;
    let found = explain_key(&plan, &opened.keys, &policy, &key).ok_or(RunError::NotListed(key))?;
    let Explanation { subject, goes, lines, reason } = found;
    let what = if goes { "goes" } else { "stays" };
    let weighed: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    let text = format!("{subject}\n{weighed}at {} it {what}: {reason}", time(plan.times.at));
    Ok(Answer::default()
        .text(text)
        .json("key", subject)
        .json("verdict", if goes { "delete" } else { "keep" })
        .json("weighed", lines)
        .json("reason", reason))
}
