//! The tenants' tiers: the static map wins over the file, the file over the query.

use plana_harness::Context;
use plana_pg::{dsn::ConnectionSettings, tiers};
use plana_plan::classify::Tiers;

/// Finds the tiers. Whatever cannot be found costs a warning and nothing else: a tenant without a
/// tier is backed up all the same, under the longest window. Without a server no query is made.
pub async fn find(context: &Context, server: Option<&ConnectionSettings>) -> Tiers {
    let sources = &context.config().tiers;
    let mut found = Tiers::new();
    if let (Some(lookup), Some(server)) = (&sources.sql, server) {
        let settings = server.with_database(&lookup.database);
        match tiers::look_up(&settings, &lookup.query, lookup.timeout.0).await {
            Ok(answer) => {
                for complaint in answer.complaints {
                    context.report().warn(format!("tiers.sql: {complaint}"));
                }
                found.extend(answer.rows);
            }
            Err(error) => context.report().warn(format!(
                "failed to find the tenants' tiers by tiers.sql: {error}; tenants without another source are kept as unclassified, under the \
                 longest window"
            )),
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
