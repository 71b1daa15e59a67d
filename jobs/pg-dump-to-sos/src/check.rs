//! The preflight: a line per check, with what to do. Changes nothing that matters.

use plana_backup::{SetupError, setup};
use plana_harness::{CheckLine, Context, Failure};
use plana_pg::{
    client::Program,
    rights::{self, Grade, LEAST_RIGHTS_SQL},
    server::Server,
    tiers,
};
use plana_plan::pgclient::Fit;
use plana_storage::{DynStore, Switch};

use crate::{JOB, error::failure};

/// Tests everything that a run needs, and goes on after what is wrong, so that one call tells all of it.
///
/// # Errors
/// Never in practice: what is wrong is a line.
pub async fn check(context: Context) -> Result<Vec<CheckLine>, Failure> {
    let mut lines = vec![encryption(&context)];
    match server(&context).await {
        Ok(server) => {
            lines.push(CheckLine::ok("server", server.describe()));
            lines.extend(clients(&context, &server).await);
            lines.extend(role(&server).await);
            lines.extend(tier_lookup(&context, &server).await);
        }
        Err(error) => lines.push(problem("server", error)),
    }
    match setup::open_store(context.config(), context.env(), !context.dry_run()).await {
        Ok(store) if store.url().starts_with("file:") => lines.extend(directory(&store).await),
        Ok(store) => lines.extend(storage(&store).await),
        Err(error) => lines.push(problem("store", error)),
    }
    Ok(lines)
}

/// A line of what ended a step: bad configuration or a failure, as the run itself would say.
fn problem(subject: &str, error: SetupError) -> CheckLine {
    let failure = failure(error);
    let (found, advice) = (format!("failed to {}", failure.message), "mend this first: a run would end here");
    if failure.exit == plana_harness::Exit::BadConfig {
        CheckLine::bad_config(subject, found, advice)
    } else {
        CheckLine::problem(subject, found, advice)
    }
}

fn encryption(context: &Context) -> CheckLine {
    match setup::recipients(&context.config().encryption) {
        Ok(keys) if keys.is_empty() => CheckLine::warning(
            "encryption",
            "payloads are not encrypted, and role passwords are left out of the globals",
            "set encryption.recipients to age public keys whose private keys are kept elsewhere (age-keygen makes a pair)",
        ),
        Ok(keys) if keys.to_strings().len() == 1 => CheckLine::warning(
            "encryption",
            "payloads are encrypted to one recipient: without its private key every backup is lost",
            "add a second recipient, whose private key is kept in another place",
        ),
        Ok(keys) => CheckLine::ok("encryption", format!("payloads are encrypted to {} recipients", keys.to_strings().len())),
        Err(error) => problem("encryption", error),
    }
}

async fn server(context: &Context) -> Result<Server, SetupError> {
    let config = context.config();
    setup::connect(config, &setup::connection(config, context.env(), JOB, None)?).await
}

async fn clients(context: &Context, server: &Server) -> Vec<CheckLine> {
    let mut lines = Vec::new();
    for program in [Program::PgDump, Program::PgDumpAll] {
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

async fn role(server: &Server) -> Vec<CheckLine> {
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

async fn tier_lookup(context: &Context, server: &Server) -> Option<CheckLine> {
    let lookup = context.config().tiers.sql.as_ref()?;
    let settings = server.settings().with_database(&lookup.database);
    Some(match tiers::look_up(&settings, &lookup.query, lookup.timeout.0).await {
        Ok(answer) if answer.rows.is_empty() => CheckLine::warning(
            "tiers.sql",
            "the query answers no row",
            "every tenant would be kept as unclassified: look at tiers.sql.query",
        ),
        Ok(answer) if answer.complaints.is_empty() => CheckLine::ok("tiers.sql", format!("{} tenants have a tier", answer.rows.len())),
        Ok(answer) => CheckLine::warning("tiers.sql", answer.complaints.join("; "), "look at the rows of tiers.sql.query"),
        Err(error) => problem("tiers.sql", error.into()),
    })
}

/// A directory knows no keys: whoever can write there can also delete.
async fn directory(store: &DynStore) -> Vec<CheckLine> {
    let advice = "let a key that this host does not have copy it elsewhere, or use an object store";
    match store.rights(true).await {
        Ok(rights) if rights.put == Some(true) => vec![
            CheckLine::ok("store", format!("{} can be written", store.url())),
            CheckLine::warning("store safety", "this host can also delete and overwrite its backups: it is a directory", advice),
        ],
        Ok(_) => vec![CheckLine::problem("store", format!("{} cannot be written", store.url()), "let this job's user write there")],
        Err(error) => vec![problem("store", error.into())],
    }
}

async fn storage(store: &DynStore) -> Vec<CheckLine> {
    let mut lines = Vec::new();
    match store.rights(true).await {
        Err(error) => return vec![problem("store", error.into())],
        Ok(rights) => {
            for (may, name) in [(rights.put, "put objects"), (rights.list, "list the bucket")] {
                lines.push(match may {
                    Some(true) => CheckLine::ok("store rights", format!("the key may {name}")),
                    Some(false) => {
                        CheckLine::problem("store rights", format!("the key may not {name}"), "allow s3:PutObject and s3:ListBucket")
                    }
                    None => {
                        CheckLine::warning("store rights", format!("whether the key may {name} could not be told"), "run a backup and see")
                    }
                });
            }
            let too_much: Vec<&str> = [(rights.read, "read"), (rights.delete, "delete")]
                .into_iter()
                .filter_map(|(may, name)| (may == Some(true)).then_some(name))
                .collect();
            if !too_much.is_empty() {
                lines.push(CheckLine::warning(
                    "store rights",
                    format!("the key may also {} objects, which this job never does", too_much.join(" and ")),
                    "give this host a key that may put and list only: a stolen one is then no disaster",
                ));
            }
        }
    }
    lines.extend(safety(store).await);
    lines.extend(clock(store).await);
    lines
}

async fn safety(store: &DynStore) -> Option<CheckLine> {
    let advice = "turn on versioning (better, object lock) on the bucket: a stolen key could overwrite a backup, and only then is the old \
                  version still there";
    match store.safety().await {
        Ok(safety) => Some(match (safety.versioning, safety.object_lock) {
            (_, Switch::On) => CheckLine::ok("store safety", "versions are kept and locked"),
            (Switch::On, _) => CheckLine::ok("store safety", "older versions are kept"),
            (Switch::Off, _) => CheckLine::warning("store safety", "an overwritten backup would be lost: versioning is off", advice),
            (Switch::Unknown, _) => CheckLine::warning("store safety", "this key may not see whether versioning is on", advice),
        }),
        Err(error) => Some(problem("store safety", error.into())),
    }
}

async fn clock(store: &DynStore) -> Option<CheckLine> {
    match setup::clock_difference(store).await {
        Ok(None) => None,
        Ok(Some(apart)) => {
            let found = format!("{} s apart from the store's", apart.num_seconds());
            Some(if apart > setup::CLOCK_TOLERANCE {
                CheckLine::problem("clock", found, "correct this host's clock (chronyc tracking): backups are stamped by it")
            } else {
                CheckLine::ok("clock", found)
            })
        }
        Err(error) => Some(problem("clock", error)),
    }
}
