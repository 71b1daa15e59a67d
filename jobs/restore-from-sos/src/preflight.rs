//! `check` without sets: whether a restore and a drill could begin. Changes nothing.

use std::path::Path;

use plana_backup::{
    SetupError,
    preflight::{check_clock, needed_right, needless_rights, problem},
    setup,
};
use plana_config::StoreName;
use plana_drill::{Refusal, failure, identities, servers};
use plana_harness::{CheckLine, Context, Exit, Failure, human};
use plana_pg::{
    client::Program,
    rights::{Grade, check_restorer},
    server::Server,
    throwaway,
};
use plana_plan::pgclient::Fit;
use plana_restore::free_bytes;
use plana_storage::DynStore;
use rustix::fs::{Access, access};

use crate::JOB;

/// Tests everything that restores and drills need, and goes on after what is wrong, so that one call tells all of it.
///
/// # Errors
/// Never in practice: what is wrong is a line.
pub async fn preflight(context: Context, identity: Option<std::path::PathBuf>) -> Result<Vec<CheckLine>, Failure> {
    let mut lines = vec![private_keys(&context, identity)];
    let opened = server(&context).await;
    let backed_up = match opened {
        Ok(server) => {
            lines.push(CheckLine::ok("server", server.describe()));
            lines.push(pg_restore(&context, &server).await);
            lines.extend(role(&server).await);
            server.facts().system_identifier.clone()
        }
        Err(error) if !is_named(&context) => {
            let found = format!("none is named, and what libpq would take does not answer: failed to {error}");
            lines.push(CheckLine::warning("server", found, "set postgres.dsn, or give --dsn when something is restored"));
            None
        }
        Err(error) => {
            lines.push(problem("server", error));
            None
        }
    };
    match setup::open_store(context.config(), context.env(), false).await {
        Ok(store) => lines.extend(storage(&store).await),
        Err(error) => lines.push(problem("store", error)),
    }
    if context.config().store.templates.is_some() {
        lines.extend(match setup::open_named_store(context.config(), context.env(), StoreName::Templates, false).await {
            Ok(store) => storage(&store).await,
            Err(error) => vec![problem("templates' store", error)],
        });
    }
    lines.push(spool(context.config().restore.spool_dir.as_deref(), context.config().restore.jobs));
    lines.push(drills(&context, backed_up.as_deref()).await);
    Ok(lines)
}

fn private_keys(context: &Context, identity: Option<std::path::PathBuf>) -> CheckLine {
    let named = identity.or_else(|| context.config().restore.identity_file.clone());
    let is_encrypted = setup::recipients(&context.config().encryption).is_ok_and(|keys| !keys.is_empty());
    match named.map(|path| (path.display().to_string(), identities(path))) {
        Some((path, Ok(_))) => CheckLine::ok("private key", path),
        Some((_, Err(error))) => CheckLine::bad_config("private key", format!("failed to {error}"), "give the file that age-keygen wrote"),
        None if is_encrypted => {
            let advice = "mount it where a restore runs, and only then, and name it in --identity or restore.identity_file";
            CheckLine::warning("private key", "backups are encrypted, and no private key is at hand", advice)
        }
        None => CheckLine::ok("private key", "none, and backups are not encrypted by this configuration"),
    }
}

/// Whether somebody says which server it is.
fn is_named(context: &Context) -> bool {
    let env = context.env();
    !matches!(context.config().postgres_dsn(env), Ok(None))
        || ["PGHOST", "PGHOSTADDR", "PGSERVICE"].iter().any(|name| env.get(name).is_some())
}

async fn server(context: &Context) -> Result<Server, SetupError> {
    let config = context.config();
    setup::connect(config, &setup::connection(config, context.env(), JOB, None)?).await
}

async fn pg_restore(context: &Context, server: &Server) -> CheckLine {
    let subject = Program::PgRestore.file_name();
    match setup::find_client(context.config(), context.env(), Program::PgRestore, server).await {
        Err(error) => problem(subject, error),
        Ok(chosen) => {
            let found = format!("{} ({})", chosen.client.version, chosen.client.path.display());
            let major = server.facts().version.major;
            match chosen.fit {
                Fit::SameMajor => CheckLine::ok(subject, found),
                Fit::Newer => CheckLine::warning(
                    subject,
                    format!("{found} is newer than the server, which may not take what it sends"),
                    format!("apt-get install postgresql-client-{major}"),
                ),
            }
        }
    }
}

async fn role(server: &Server) -> Vec<CheckLine> {
    let role = format!("{} may make databases and is no superuser", server.facts().role);
    let findings = match check_restorer(server).await {
        Err(error) => return vec![problem("role", error.into())],
        Ok(findings) => findings,
    };
    let is_enough = findings.iter().all(|finding| finding.grade == Grade::Note);
    let ok = is_enough.then(|| CheckLine::ok("role", role));
    let lines = findings.into_iter().map(|finding| {
        let mend = finding.mend.unwrap_or_default();
        match finding.grade {
            Grade::Missing => CheckLine::problem("role", finding.problem, mend),
            Grade::Note => CheckLine::warning("role", finding.problem, mend),
        }
    });
    ok.into_iter().chain(lines).collect()
}

async fn storage(store: &DynStore) -> Vec<CheckLine> {
    if store.url().starts_with("file:") {
        // A directory knows no keys.
        return vec![match store.find("probe/is-it-there").await {
            Ok(_) => CheckLine::ok("store", format!("{} can be read", store.url())),
            Err(error) => problem("store", error.into()),
        }];
    }
    // Nothing is written: the right to put is asked for with a part of an upload that does not exist.
    let rights = match store.rights(false).await {
        Ok(rights) => rights,
        Err(error) => return vec![problem("store", error.into())],
    };
    let allow = "allow s3:ListBucket and s3:GetObject, and on a versioned bucket s3:ListBucketVersions and s3:GetObjectVersion";
    let mut lines = vec![CheckLine::ok("store", store.url())];
    for (may, name) in [(rights.list, "list the bucket"), (rights.read, "read objects")] {
        lines.push(needed_right(may, name, allow, "check a set and see"));
    }
    if rights.list_versions == Some(false) {
        let found = "the key may not list versions: an object that was written over would be lost to it";
        lines.push(CheckLine::warning("store rights", found, allow));
    }
    let advice = "restore with a key of its own that may list and read only: a mistake, or a thief, can then spoil nothing";
    lines.extend(needless_rights([(rights.put, "put"), (rights.delete, "delete")], advice));
    lines.extend(check_clock(store, "stores refuse what is signed by a wrong one").await);
    lines
}

fn spool(directory: Option<&Path>, jobs: u32) -> CheckLine {
    let Some(directory) = directory else {
        let found = if jobs > 1 { "none: archives are streamed into pg_restore, with one job" } else { "none, and none is needed" };
        return CheckLine::ok("spool directory", found);
    };
    match access(directory, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => CheckLine::ok("spool directory", format!("{}, {}", directory.display(), free(directory))),
        Err(error) => CheckLine::warning(
            "spool directory",
            format!("{} cannot be written: {error}", directory.display()),
            "name another in restore.spool_dir; until then parallel restores fail",
        ),
    }
}

fn free(directory: &Path) -> String {
    free_bytes(directory).map_or_else(|| "room unknown".to_owned(), |bytes| format!("{} free", human::bytes(bytes)))
}

/// Where drills would restore.
async fn drills(context: &Context, backed_up: Option<&str>) -> CheckLine {
    let config = context.config();
    let none = "set restore.scratch_dsn, or install PostgreSQL's server programs (postgresql-N) on this host";
    match config.scratch_dsn(context.env()) {
        Err(error) => CheckLine::bad_config("drills", error.to_string(), none),
        Ok(Some(dsn)) => {
            let opened = async {
                let settings = setup::connection(config, context.env(), JOB, Some(&dsn))?;
                setup::connect(config, &settings).await
            };
            match opened.await {
                Err(error) => problem("drills", error),
                Ok(server) if server.facts().system_identifier.as_deref().is_some_and(|id| Some(id) == backed_up) => CheckLine::warning(
                    "drills",
                    format!("on {}, which is the server that backups are restored on", server.describe()),
                    "let another server be the scratch server: a drill uses its disk and its processors",
                ),
                Ok(server) => CheckLine::ok("drills", format!("on {}", server.describe())),
            }
        }
        Ok(None) => {
            let servers = servers(context).await;
            let directory = &config.restore.scratch_dir;
            if servers.is_empty() {
                return CheckLine::warning("drills", "no scratch server is named, and no server program is installed here", none);
            }
            if let Err(error) = throwaway::check_user(&config.restore.scratch_user) {
                let refusal = failure(Refusal::from(error));
                return match refusal.exit {
                    Exit::BadConfig => CheckLine::bad_config("drills", refusal.message, "mend it, then check again"),
                    _ => CheckLine::problem("drills", refusal.message, "mend it, then check again"),
                };
            }
            let mut majors: Vec<u32> = servers.iter().map(|server| server.version.major).collect();
            majors.sort_unstable();
            majors.dedup();
            let majors: Vec<String> = majors.iter().map(u32::to_string).collect();
            let found =
                format!("on a throwaway cluster of PostgreSQL {} in {}, {}", majors.join(", "), directory.display(), free(directory));
            CheckLine::ok("drills", found)
        }
    }
}
