//! `mirror --dry-run` and `--explain`: a plan for people and for programs.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use plana_harness::{Answer, Column, Context, Failure, human};
use plana_plan::{
    mirror::{MirrorPlan, PlannedRevision, RepositoryPlan, explain::explain as explain_thing},
    name::printable,
    retention::{Explanation, guard::Refusal},
};
use serde_json::{Value, json};

use super::{
    MirrorArgs,
    opened::{self, Opened, Planned},
    prune::{alarms, warnings},
};
use crate::{
    error::RunError,
    setup,
    show::{each, left_out},
};

/// Rows of a table for people.
const MOST_ROWS: usize = crate::show::MOST_ROWS;

/// Shows the plan of a run, and what would keep it from being carried out.
///
/// # Errors
/// When there can be no plan.
pub async fn plan(context: Context, args: MirrorArgs) -> Result<Answer, Failure> {
    Ok(show(&context, &args).await?)
}

async fn show(context: &Context, args: &MirrorArgs) -> Result<Answer, RunError> {
    let opened = Opened::new(context).await?;
    let planned = opened.plan(context, args).await?;
    let stops = stops(context, &opened, &planned, args).await?;
    Ok(answer(opened.store.url(), planned, &stops))
}

/// The guards that would stop a run, and what one would warn of.
async fn stops(context: &Context, opened: &Opened, planned: &Planned, args: &MirrorArgs) -> Result<Vec<String>, RunError> {
    let mut stops = Vec::new();
    let mut note =
        |result: Result<(), Refusal>| stops.extend(result.err().map(|refusal| format!("a run would be refused: failed to {refusal}")));
    note(opened::require_permission(context, opened));
    match setup::require_same_clock(context, &opened.store).await {
        Err(RunError::Refused(refusal)) => note(Err(refusal)),
        other => other?,
    }
    let ledger = opened::require_ledger(context, planned);
    note(ledger.as_ref().map(|_| ()).map_err(Clone::clone));
    if !args.accept_shrink {
        note(opened::require_no_shrink(context, opened, planned));
    }
    if let Ok(Some(warning)) = ledger {
        context.report().warn(warning);
    }
    Ok(stops)
}

fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn answer(url: &str, planned: Planned, stops: &[String]) -> Answer {
    let Planned { plan, ledger, .. } = planned;
    let plan = Arc::new(plan);
    let mut answer = Answer::default().text(format!("Plan for {} at {}", printable(url), time(plan.at)));
    let doomed: Vec<_> = plan.doomed().take(MOST_ROWS).collect();
    if !doomed.is_empty() {
        answer = answer.text("These go:").grid(columns(&doomed));
        answer = left_out(plan.doomed().count()).into_iter().fold(answer, Answer::text);
    }
    let warnings: Vec<String> = stops.iter().cloned().chain(warnings(&plan)).map(|warning| format!("  {warning}")).collect();
    if !warnings.is_empty() {
        answer = answer.text(format!("Warnings:\n{}", warnings.join("\n")));
    }
    let totals = Totals::of(&plan);
    let total = format!(
        "{} of {} manifests go, with {} tags and {} links; {} of {} blobs go and free {} (dry run: nothing was changed)",
        totals.manifests,
        plan.manifests(),
        totals.tags,
        totals.links,
        totals.blobs,
        plan.blobs.len(),
        human::bytes(totals.bytes)
    );
    answer
        .text(total)
        .json("store", url)
        .json("as_of", time(plan.at))
        .json("refusals", stops)
        .json("ledger", json!({ "files": ledger.files, "lines": ledger.lines }))
        .json("total", json!({
            "manifests": plan.manifests(), "blobs": plan.blobs.len(),
            "freed": { "manifests": totals.manifests, "tags": totals.tags, "links": totals.links, "blobs": totals.blobs, "bytes": totals.bytes },
        }))
        .json("remaining", json!({ "manifests": plan.remaining_manifests, "blobs": plan.remaining_blobs }))
        .json("alarms", alarms(&plan))
        .json_rows("unknown", each(&plan, plan.unknown.len(), |plan, at| json!(plan.unknown[at].0)))
        .json_rows("uploads", each(&plan, plan.multipart.len(), |plan, at| {
            let (upload, goes) = &plan.multipart[at];
            json!({ "key": upload.key, "verdict": word(*goes), "initiated": time(upload.initiated) })
        }))
        .json_rows("repositories", each(&plan, plan.repositories.len(), |plan, at| repository_as_json(&plan.repositories[at])))
        .json_rows("manifests", each_manifest(&plan))
        .json_rows("blobs", each(&plan, plan.blobs.len(), |plan, at| {
            let blob = &plan.blobs[at];
            json!({
                "digest": blob.id.to_string(), "bytes": blob.facts.bytes, "verdict": word(blob.verdict.is_delete()),
                "rule": blob.verdict.rule(), "reason": blob.verdict.reason(),
            })
        }))
}

#[derive(Default)]
struct Totals {
    manifests: usize,
    tags: usize,
    links: usize,
    blobs: usize,
    bytes: u64,
}

impl Totals {
    fn of(plan: &MirrorPlan) -> Self {
        let tags = plan.repositories.iter().flat_map(|repository| &repository.tags).filter(|tag| tag.goes);
        let links = plan.repositories.iter().flat_map(|repository| &repository.layers).filter(|link| link.verdict.is_delete());
        Totals {
            manifests: plan.doomed().count(),
            tags: tags.count(),
            links: links.count(),
            blobs: plan.doomed_blobs().count(),
            bytes: plan.doomed_blobs().map(|blob| blob.facts.bytes).sum(),
        }
    }
}

const fn word(goes: bool) -> &'static str {
    if goes { "delete" } else { "keep" }
}

fn columns(doomed: &[(&RepositoryPlan, &PlannedRevision)]) -> Vec<Column> {
    let words = |text: &dyn Fn(&RepositoryPlan, &PlannedRevision) -> String| {
        doomed.iter().map(|(repository, revision)| text(repository, revision)).collect::<Vec<_>>()
    };
    vec![
        Column::words("repository", words(&|repository, _| repository.name.clone())),
        Column::words("tags", words(&|repository, revision| tags(repository, revision).join(", "))),
        Column::words("manifest", words(&|_, revision| revision.digest.to_string())),
        Column::words("why", words(&|_, revision| revision.verdict.reason())),
    ]
}

fn tags<'a>(repository: &'a RepositoryPlan, revision: &PlannedRevision) -> Vec<&'a str> {
    repository.tags_of(revision.digest).map(|tag| tag.name.as_str()).collect()
}

fn repository_as_json(repository: &RepositoryPlan) -> Value {
    json!({
        "name": repository.name,
        "manifests": repository.revisions.len(),
        "tags": repository.tags.len(),
        "links": repository.layers.len(),
        "links_going": repository.layers.iter().filter(|link| link.verdict.is_delete()).count(),
        "pushes_going": repository.uploads.iter().filter(|upload| upload.verdict.is_delete()).count(),
        "unclear": repository.unclear.as_ref().map(|(_, why)| why),
    })
}

fn each_manifest(plan: &Arc<MirrorPlan>) -> impl Iterator<Item = String> + Send + 'static {
    let plan = Arc::clone(plan);
    let places = (0..plan.repositories.len()).flat_map({
        let plan = Arc::clone(&plan);
        move |at| (0..plan.repositories[at].revisions.len()).map(move |within| (at, within))
    });
    places.map(move |(at, within)| {
        let repository = &plan.repositories[at];
        let revision = &repository.revisions[within];
        let row = json!({
            "repository": repository.name,
            "digest": revision.digest.to_string(),
            "tags": tags(repository, revision),
            "last_activity": time(revision.last.0),
            "verdict": word(revision.verdict.is_delete()),
            "rule": revision.verdict.rule(),
            "reason": revision.verdict.reason(),
        });
        row.to_string()
    })
}

/// Explains what becomes of one thing.
///
/// # Errors
/// When there can be no plan, or nothing of it is listed.
pub async fn explain(context: Context, args: MirrorArgs) -> Result<Answer, Failure> {
    Ok(tell(&context, &args).await?)
}

async fn tell(context: &Context, args: &MirrorArgs) -> Result<Answer, RunError> {
    let what = args.explain.clone().unwrap_or_default();
    let opened = Opened::new(context).await?;
    let Planned { plan, .. } = opened.plan(context, args).await?;
    let Explanation { subject, goes, lines, reason } = explain_thing(&plan, &what).ok_or(RunError::NotInMirror(what))?;
    let becomes = if goes { "goes" } else { "stays" };
    let weighed: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    let text = format!("{subject}\n{weighed}at {} it {becomes}: {reason}", time(plan.at));
    Ok(Answer::default().text(text).json("key", subject).json("verdict", word(goes)).json("weighed", lines).json("reason", reason))
}
