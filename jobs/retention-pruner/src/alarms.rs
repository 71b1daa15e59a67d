//! What somebody should look at, in words.

use plana_harness::human;
use plana_plan::{
    name::printable,
    retention::{Alarm, Plan},
};
use serde_json::{Value, json};

/// How many unknown keys are named.
const NAMED: usize = 5;

/// An alarm for people, with what to do.
pub fn words(alarm: &Alarm) -> String {
    match alarm {
        Alarm::Frozen { group, newest } => format!(
            "{group} is frozen: its newest backup is of {newest}, and nothing of it is deleted; find out why it is not backed up, or, if \
             it has left, say `retention-pruner retire {}`",
            printable(&group.plain_name())
        ),
        Alarm::FromTheFuture { set } => format!(
            "{} has a stamp in the future, and is kept: correct the clock of the host that made it; it counts for nothing until then",
            printable(set)
        ),
        Alarm::RetirementVoid { name } => format!(
            "{} was retired and has been backed up since: floor and freeze hold again; `retention-pruner retire {} --cancel`, or stop \
             backing it up and retire it again",
            printable(name),
            printable(name)
        ),
        Alarm::UnknownLabel { label, sets } => {
            format!(
                "{sets} sets have the label {label}, which has no window: they are kept as unclassified; give it one in retention.windows"
            )
        }
    }
}

/// Every warning that a plan brings.
pub fn warnings(plan: &Plan) -> Vec<String> {
    let mut warnings: Vec<String> = plan.alarms.iter().map(words).collect();
    if !plan.unknown.is_empty() {
        let named: Vec<String> = plan.unknown.iter().take(NAMED).map(|(key, _)| printable(key)).collect();
        let more = if plan.unknown.len() > NAMED { ", …" } else { "" };
        warnings.push(format!(
            "{} unknown, and kept: {}{more} (all of them: --dry-run --output json; older backups: [[retention.legacy]])",
            human::count(plan.unknown.len(), "object"),
            named.join(", ")
        ));
    }
    if plan.remaining > 0 {
        warnings.push(format!("{} more sets may go, and are left to later runs (retention.max_sets); the oldest go first", plan.remaining));
    }
    warnings
}

/// The alarms of a plan as data.
pub fn data(plan: &Plan) -> Value {
    let one = |alarm: &Alarm| match alarm {
        Alarm::Frozen { group, newest } => {
            json!({ "alarm": "frozen", "area": group.area, "name": group.plain_name(), "newest": newest.to_string() })
        }
        Alarm::FromTheFuture { set } => json!({ "alarm": "from-the-future", "set": set }),
        Alarm::RetirementVoid { name } => json!({ "alarm": "retirement-void", "name": name }),
        Alarm::UnknownLabel { label, sets } => json!({ "alarm": "unknown-label", "label": label, "sets": sets }),
    };
    plan.alarms.iter().map(one).collect()
}
