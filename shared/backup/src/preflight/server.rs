//! What a preflight asks a server that is dumped.

use plana_harness::{CheckLine, Context};
use plana_pg::{
    client::Program,
    rights::{self, Grade, LEAST_RIGHTS_SQL},
    server::Server,
};
use plana_plan::pgclient::Fit;

use super::problem;
use crate::setup;

/// Whether the programs that dump are there, and fit the server.
pub async fn check_clients(context: &Context, server: &Server, programs: &[Program]) -> Vec<CheckLine> {
    let mut lines = Vec::new();
    for program in programs.iter().copied() {
        lines.push(match setup::find_client(context.config(), context.env(), program, server).await {
            Ok(chosen) => {
                let found = format!("{} ({})", chosen.client.version, chosen.client.path.display());
                match chosen.fit {
                    Fit::SameMajor => CheckLine::ok(program.file_name(), found),
                    Fit::Newer => CheckLine::warning(
                        program.file_name(),
                        format!("{found} is newer than the server: its dumps may not restore into the server's own version"),
                        format!("apt-get install postgresql-client-{}", server.facts().version.major),
                    ),
                }
            }
            Err(error) => problem(program.file_name(), error),
        });
    }
    lines
}

/// Whether the role can read everything, and the SQL that mends it.
pub async fn check_role(server: &Server) -> Vec<CheckLine> {
    let mut findings = rights::check_server(server);
    let mut lines = Vec::new();
    let mut readable = 0usize;
    match server.databases().await {
        Err(error) => lines.push(problem("databases", error.into())),
        Ok(databases) => {
            for database in &databases {
                match rights::check_database(server, database).await {
                    Ok(found) if found.is_empty() => readable += 1,
                    Ok(found) => findings.extend(found),
                    Err(error) => lines.push(problem(&database.name, error.into())),
                }
            }
            lines.push(CheckLine::ok("databases", format!("{readable} of {} are readable in full", databases.len())));
        }
    }
    let missing = findings.iter().any(|finding| finding.grade == Grade::Missing);
    lines.extend(findings.into_iter().map(|finding| {
        let subject = finding.database.unwrap_or_else(|| "role".to_owned());
        let mend = finding.mend.unwrap_or_default();
        match finding.grade {
            Grade::Missing => CheckLine::problem(subject, finding.problem, mend),
            Grade::Note => CheckLine::warning(subject, finding.problem, mend),
        }
    }));
    if missing {
        let advice = format!("a role with the least rights that work is made so:\n{LEAST_RIGHTS_SQL}");
        lines.push(CheckLine::warning("role", "it cannot read everything", advice));
    }
    lines
}
