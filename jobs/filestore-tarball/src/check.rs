//! The preflight: a line per check, with what to do. Changes nothing that matters.

use plana_backup::{
    escrow::check_escrow,
    preflight::{check_encryption, check_failure, check_source, check_store, check_tiers, problem},
    sources::Source,
};
use plana_harness::{CheckLine, Context, Failure};

use crate::{Args, run};

/// Tests everything that a run needs, and goes on after what is wrong, so that one call tells all of it.
///
/// # Errors
/// Never in practice: what is wrong is a line.
pub async fn check(context: Context, args: Args) -> Result<Vec<CheckLine>, Failure> {
    let mut lines = vec![check_encryption(&context, "")];
    match Source::all(&context, &args.root, &args.directory) {
        Ok(sources) => {
            for source in sources {
                lines.extend(check_source(&context, source, args.accept_empty).await);
            }
        }
        Err(failure) => lines.push(check_failure("file stores", &failure)),
    }
    match run::server(&context).await {
        Ok(Some(server)) => {
            let facts = server.facts();
            let found = format!("PostgreSQL {} at {}, as role {}", facts.version, server.settings().server_label(), facts.role);
            lines.push(CheckLine::ok("server", found));
            lines.extend(check_tiers(&context, server.settings()).await);
        }
        Ok(None) => lines.push(CheckLine::warning(
            "server",
            "none is configured: missing files cannot be told, and locks hold on this host alone",
            "set postgres.dsn to the server that holds the tenants' databases",
        )),
        Err(error) => lines.push(problem("server", error)),
    }
    lines.extend(check_store(&context).await);
    lines.extend(check_escrow(&context).await);
    Ok(lines)
}
