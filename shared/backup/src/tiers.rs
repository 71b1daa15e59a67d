//! The tenants' tiers: the static map wins over the file, the file over the query.
//!
//! The query's last good answer is remembered: it stands in for one that cannot be had, and what differs from it is told. Where
//! jobs have one state directory, each change is told by the first of them that sees it.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use plana_config::schema::SqlLookup;
use plana_harness::{Context, Event, human};
use plana_pg::{dsn::ConnectionSettings, server::ServerError, tiers};
use plana_plan::{
    classify::Tiers,
    name::printable,
    tiers::{Changes, Remembered, learn, unknown},
};
use serde_json::json;

/// The state's document.
const REMEMBERED_AS: &str = "tiers";
/// So many names are told in a warning, and so many in an event: the stream is shared and short.
const NAMED: usize = 5;
const SENT: usize = 100;

/// Why the query gave no answer. Completes the sentence "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum TiersError {
    /// It failed.
    #[error("{0}")]
    Server(#[from] ServerError),
    /// It answered nothing, which is what a wrong condition or an emptied table looks like.
    #[error("look up the tiers in {database}: the query answers no row with a database and a tier; look at tiers.sql.query")]
    Empty {
        /// The database.
        database: String,
    },
}

/// What the query says today.
#[derive(Debug, Clone, Default)]
pub struct Today {
    /// The tiers.
    pub tiers: Tiers,
    /// Who has no tier, or two, or had one before: kept under the longest window.
    pub undecided: BTreeSet<String>,
}

/// Finds the tiers. Whatever cannot be found costs a warning and nothing else: a tenant without a
/// tier is backed up all the same, under the longest window. Without a server no query is made.
pub async fn find(context: &Context, server: Option<&ConnectionSettings>) -> Tiers {
    let sources = &context.config().tiers;
    let mut found = Tiers::new();
    if let (Some(lookup), Some(server)) = (&sources.sql, server) {
        match ask(context, lookup, server).await {
            Ok(today) => found.extend(today.tiers),
            Err(error) => found.extend(stand_in(context, lookup, server, &error)),
        }
    }
    if let Some(path) = &sources.file {
        match std::fs::read_to_string(path) {
            Ok(text) => found.extend(read_file(&text, |complaint| context.report().warn(format!("{}: {complaint}", path.display())))),
            Err(error) => context.report().warn(format!("failed to read tiers.file {}: {error}", path.display())),
        }
    }
    found.extend(sources.fixed.clone());
    found
}

/// Asks the query, tells what has changed since its last good answer, and remembers this one.
///
/// # Errors
/// When it fails, or answers nothing.
pub async fn ask(context: &Context, lookup: &SqlLookup, server: &ConnectionSettings) -> Result<Today, TiersError> {
    let settings = server.with_database(&lookup.database);
    let answer = tiers::look_up(&settings, &lookup.query, lookup.timeout.0).await?;
    for complaint in &answer.complaints {
        context.report().warn(format!("tiers.sql: {complaint}"));
    }
    if answer.rows.is_empty() {
        return Err(TiersError::Empty { database: lookup.database.clone() });
    }
    let tiers: Tiers = answer.rows.into_iter().collect();
    for (tier, names) in unknown(&tiers, &context.config().retention.labels()) {
        let names: Vec<String> = names.into_iter().map(printable).collect();
        context.report().warn(format!(
            "tiers.sql: the tier `{}` has no window in retention.windows: {}, kept as unclassified, under the longest window",
            printable(&tier),
            some(&names)
        ));
    }
    let (changes, remembered) = learn(context.state().read(REMEMBERED_AS), &asked(lookup, server), tiers, context.now());
    tell(context, &changes);
    context.state().write(REMEMBERED_AS, &remembered);
    let undecided = answer.undecided.into_iter().chain(remembered.vanished.into_keys()).collect();
    Ok(Today { tiers: remembered.tiers, undecided })
}

/// What is asked, and whom.
fn asked(lookup: &SqlLookup, server: &ConnectionSettings) -> String {
    format!("{} {}: {}", server.server_label(), lookup.database, lookup.query)
}

/// The last good answer, while it may stand in for one that could not be had.
fn stand_in(context: &Context, lookup: &SqlLookup, server: &ConnectionSettings, error: &TiersError) -> Tiers {
    let within = TimeDelta::from_std(context.config().tiers.cache_for.0).unwrap_or(TimeDelta::MAX);
    let remembered: Option<Remembered> = context.state().read(REMEMBERED_AS);
    let known = remembered.and_then(|known| Some((known.stands_in(&asked(lookup, server), within, context.now())?, known.tiers)));
    let failed = format!("failed to find the tenants' tiers by tiers.sql: failed to {error}");
    match known {
        Some((age, tiers)) => {
            let age = human::age(age);
            context.report().warn(format!("{failed}; the last good answer, {age} old, stands in for it (tiers.cache_for)"));
            tiers
        }
        None => {
            context.report().warn(format!(
                "{failed}; there is no answer that is young enough to stand in for it (tiers.cache_for); tenants without another source are \
                 kept as unclassified, under the longest window"
            ));
            Tiers::new()
        }
    }
}

/// Log, event and warning of what has changed.
fn tell(context: &Context, changes: &Changes) {
    for (name, tier) in &changes.appeared {
        tracing::info!("tiers: {} is new, with the tier {}", printable(name), printable(tier));
    }
    let changed: Vec<String> =
        changes.changed.iter().map(|(name, old, new)| format!("{} {} → {}", printable(name), printable(old), printable(new))).collect();
    let vanished: Vec<String> =
        changes.vanished.iter().map(|(name, old)| format!("{} (was {})", printable(name), printable(old))).collect();
    changed.iter().for_each(|change| tracing::info!("tiers: {change}"));
    vanished.iter().for_each(|one| tracing::info!("tiers: {one} has none any more"));
    if !changed.is_empty() {
        let many = human::count(changed.len(), "tenant");
        context.report().warn(format!("the tier of {many} has changed: {}; older backups keep the longer window", some(&changed)));
    }
    if !vanished.is_empty() {
        let many = human::count(vanished.len(), "tenant");
        context.report().warn(format!(
            "{many} had a tier and has none any more: {}; kept as unclassified, under the longest window; if it has left, say \
             `retention-pruner retire NAME`",
            some(&vanished)
        ));
    }
    if !changes.is_empty() {
        let changed: Vec<_> =
            changes.changed.iter().take(SENT).map(|(name, from, to)| json!({ "name": name, "from": from, "to": to })).collect();
        let vanished: Vec<_> = changes.vanished.iter().take(SENT).map(|(name, from)| json!({ "name": name, "from": from })).collect();
        let appeared: Vec<_> = changes.appeared.iter().take(SENT).map(|(name, to)| json!({ "name": name, "to": to })).collect();
        let totals = json!({ "changed": changes.changed.len(), "vanished": changes.vanished.len(), "appeared": changes.appeared.len() });
        let data = json!({ "changed": changed, "vanished": vanished, "appeared": appeared, "totals": totals });
        context.events().send(Event::new("tiers.changed", data));
    }
}

fn some(names: &[String]) -> String {
    let more = if names.len() > NAMED { ", … (the log has all)" } else { "" };
    format!("{}{more}", names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", "))
}

/// A line `database tier` per tenant; `#` begins a comment. A database's name may hold spaces, a tier may not.
pub fn read_file(text: &str, mut complain: impl FnMut(String)) -> Tiers {
    let mut found = Tiers::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match line.rsplit_once(char::is_whitespace) {
            Some((database, tier)) => {
                found.insert(database.trim_end().to_owned(), tier.to_owned());
            }
            None => complain(format!("line {} has no tier: write `database tier`", at + 1)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_line_per_tenant() {
        let mut complaints = Vec::new();
        let found = read_file("# tiers\nacme.planapulse.app   pro\n\nname with spaces\tstarter\nlonely\n", |c| complaints.push(c));
        assert_eq!(found.get("acme.planapulse.app").map(String::as_str), Some("pro"));
        assert_eq!(found.get("name with spaces").map(String::as_str), Some("starter"));
        assert_eq!((found.len(), complaints.len()), (2, 1));
        assert!(complaints[0].contains("line 5"), "{complaints:?}");
    }
}
