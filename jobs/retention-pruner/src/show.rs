//! `--dry-run` and `--explain`: a plan for people and for programs.

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
    Ok(answer(context.config(), opened.store.url(), &planned.plan, &stops))
}

/// The guards that would stop a run.
async fn stops(context: &Context, opened: &Opened, planned: &Planned, args: &PlanArgs) -> Result<Vec<String>, RunError> {
    let mut stops = Vec::new();
    let mut note =
        |result: Result<(), Refusal>| stops.extend(result.err().map(|refusal| format!("a run would be refused: failed to {refusal}")));
    note(setup::require_permission(context, opened));
    match setup::require_same_clock(context, opened).await {
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

fn answer(config: &Config, url: &str, plan: &Plan, stops: &[String]) -> Answer {
    let summary = Summary::of(plan);
    let mut answer = Answer::default().text(format!("Plan for {} at {}", printable(url), time(plan.times.at)));
    let doomed: Vec<_> = plan.doomed().collect();
    if !doomed.is_empty() {
        answer = answer.text("These go:").grid(set_columns(&doomed));
    }
    let guarded = guarded(plan);
    if !guarded.is_empty() {
        answer = answer.text("These are past their windows, or not understood, and stay:").grid(set_columns(&guarded));
    }
    let loose = loose(plan);
    if !loose.is_empty() {
        answer = answer.text(format!("Left behind by nobody's backup, and going:\n  {}", loose.join("\n  ")));
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

fn set_columns(sets: &[(&GroupPlan, &PlannedSet)]) -> Vec<Column> {
    let words = |text: &dyn Fn(&GroupPlan, &PlannedSet) -> String| sets.iter().map(|(group, set)| text(group, set)).collect::<Vec<_>>();
    vec![
        Column::words("set", words(&|group, set| set.key(&group.key))),
        Column::numbers("size", words(&|_, set| human::bytes(set.facts.bytes))),
        Column::words("why", words(&|_, set| set.verdict.reason(&set.id.label.label))),
    ]
}

fn loose(plan: &Plan) -> Vec<String> {
    let probes = plan.probes.iter().filter(|probe| probe.verdict.is_delete()).map(|probe| printable(&probe.key));
    let uploads = plan.uploads.iter().filter(|upload| upload.verdict.is_delete());
    let uploads =
        uploads.map(|one| format!("the unfinished upload of {}, begun at {}", printable(&one.upload.key), time(one.upload.initiated)));
    probes.chain(uploads).collect()
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

fn for_programs(answer: Answer, config: &Config, url: &str, plan: &Plan, summary: &Summary, stops: &[String]) -> Answer {
    let cost = |billed: u64| price(config).map(|price| price.of(billed));
    let amount = |amount: &plana_plan::retention::summary::Amount| json!({ "sets": amount.sets, "bytes": amount.bytes, "billed_bytes": amount.billed_bytes, "cost_per_month": cost(amount.billed_bytes) });
    let rows = summary.0.iter().map(|(row, tally)| json!({ "label": row, "kept": amount(&tally.kept), "freed": amount(&tally.freed) }));
    let total = summary.total();
    let groups = plan.groups.iter().map(|group| {
        json!({
            "area": group.key.area, "name": group.key.plain_name(), "standing": standing(group),
            "newest": group.newest.map(|stamp| stamp.to_string()), "oldest": group.oldest.map(|stamp| stamp.to_string()),
        })
    });
    let probes = plan.probes.iter().map(|probe| verdict(&probe.key, &probe.verdict));
    let uploads = plan.uploads.iter().map(|upload| verdict(&upload.upload.key, &upload.verdict));
    let sets = plan.groups.iter().flat_map(|group| group.sets.iter().map(move |set| as_json(group, set).to_string()));
    answer
        .json("store", url)
        .json("as_of", time(plan.times.at))
        .json("refusals", stops)
        .json("summary", rows.collect::<Value>())
        .json("total", json!({ "kept": amount(&total.kept), "freed": amount(&total.freed), "currency": config.retention.price.currency }))
        .json("remaining", plan.remaining)
        .json("alarms", alarms::data(plan))
        .json("groups", groups.collect::<Value>())
        .json("probes", probes.collect::<Value>())
        .json("uploads", uploads.collect::<Value>())
        .json("unknown", plan.unknown.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>())
        .json_rows("sets", sets.collect())
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
