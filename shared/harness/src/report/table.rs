//! A run as a table for people.

use plana_plan::name::printable;
use serde_json::Value;

use super::{ItemReport, Outcome, Report};
use crate::{
    exit::Exit,
    failure::sentence,
    grid::{Column, Look, Tone, grid},
    human,
};

/// The table, what failed and why, warnings, and a line that sums it up. Nothing where the run ended before
/// its first item: then there is no result, and the log has said why.
pub(crate) fn render(report: &Report, look: Look) -> String {
    if report.items.is_empty() && report.error.is_some() {
        return String::new();
    }
    let mut blocks = Vec::new();
    if !report.items.is_empty() {
        blocks.push(grid(&columns(&report.items), look));
    }
    blocks.extend(problems(report));
    blocks.push(summary(report));
    blocks.extend(report.extra.iter().map(|extra| extra.text.clone()));
    blocks.join("\n\n")
}

fn columns(items: &[ItemReport]) -> Vec<Column> {
    let column = |label: &str, number: bool, text: &dyn Fn(&ItemReport) -> String| {
        let texts = items.iter().map(text);
        if number { Column::numbers(label, texts) } else { Column::words(label, texts) }
    };
    let mut all = Vec::new();
    if items.iter().any(|item| item.area != items[0].area) {
        all.push(column("area", false, &|item| item.area.to_string()));
    }
    all.push(column("name", false, &|item| item.name.clone()));
    let mut labels: Vec<&str> = Vec::new();
    for label in items.iter().flat_map(|item| &item.fields).map(|field| field.label) {
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    for label in labels {
        let value = |item: &ItemReport| item.fields.iter().find(|field| field.label == label).map(|field| field.value.clone());
        let number = items.iter().filter_map(value).any(|value| value.is_number());
        // A number of bytes is one in JSON, and a size for people.
        let (heading, is_bytes) = label.strip_suffix(" bytes").map_or((label, false), |label| (label, true));
        let shown = |value: Value| match value.as_u64() {
            Some(bytes) if is_bytes => human::bytes(bytes),
            _ => text(&value),
        };
        all.push(column(heading, number, &|item| value(item).map(shown).unwrap_or_default()));
    }
    all.push(column("size", true, &|item| item.content_bytes.map(human::bytes).unwrap_or_default()));
    all.push(column("stored", true, &|item| item.bytes.map(human::bytes).unwrap_or_default()));
    all.push(column("time", true, &|item| item.seconds.map(human::seconds).unwrap_or_default()));
    all.push(Column::toned("outcome", items.iter().map(|item| (item.outcome.as_str().to_owned(), tone(item.outcome)))));
    all
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => human::integer(whole.into()),
            None => number.to_string(),
        },
        other => other.to_string(),
    }
}

fn tone(outcome: Outcome) -> Tone {
    match outcome {
        Outcome::Done | Outcome::Planned | Outcome::Fresh => Tone::Good,
        Outcome::Locked | Outcome::Gone => Tone::Doubtful,
        Outcome::Partial | Outcome::Failed | Outcome::Cancelled => Tone::Bad,
    }
}

/// What failed and why, then what deserves attention; a block each.
fn problems(report: &Report) -> Vec<String> {
    let named = |item: &ItemReport, text: &str| format!("  {}: {}", printable(&item.name), indent(text));
    let failed: Vec<String> =
        report.items.iter().filter_map(|item| item.error.as_ref().map(|error| named(item, &sentence(error)))).collect();
    let of_run = report.warnings.iter().map(|warning| format!("  {}", indent(warning)));
    let of_items = report.items.iter().flat_map(|item| item.warnings.iter().map(move |warning| named(item, warning)));
    let warnings: Vec<String> = of_run.chain(of_items).collect();
    [("Failed:", failed), ("Warnings:", warnings)]
        .into_iter()
        .filter(|(_, lines)| !lines.is_empty())
        .map(|(title, lines)| format!("{title}\n{}", lines.join("\n")))
        .collect()
}

/// Lines of one message stay together, and no other control character reaches the terminal.
fn indent(text: &str) -> String {
    text.trim_end().lines().map(printable).collect::<Vec<_>>().join("\n    ")
}

fn summary(report: &Report) -> String {
    let totals = report.totals();
    let took = human::seconds(totals.seconds);
    let stored = if totals.bytes > 0 { format!(", {}", human::bytes(totals.bytes)) } else { String::new() };
    let dry = if report.dry_run { " (dry run: nothing was changed)" } else { "" };
    let counts = totals.sentence();
    let line = match &report.error {
        Some(error) => format!("{counts}{stored} in {took}, then {}", indent(&sentence(error))),
        None => format!("{counts}{stored} in {took}{dry}"),
    };
    let again = if report.resumable { "run it again with --missing-within 12h: that does only what is missing" } else { "run it again" };
    let next = match report.exit {
        Exit::Done | Exit::Refused | Exit::BadConfig | Exit::Usage => return line,
        Exit::Partial => format!("What is done is committed. Mend what is named above, then {again}."),
        Exit::Failed => format!("Mend what is named above, then {again}."),
        Exit::LeftToOther => "Another run is at work on what is locked; nothing is left to do here unless that run fails.".to_owned(),
        Exit::Cancelled(_) => format!("Cancelled. What is done is committed; {again}."),
    };
    format!("{line}\n{next}")
}
