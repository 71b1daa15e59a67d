//! The preflight: a line per check, with what to do. Changes nothing that matters.

use plana_backup::{
    SetupError,
    escrow::check_escrow,
    preflight::{check_clients, check_encryption, check_failure, check_role, check_source, check_store, check_tiers, problem},
    setup,
    sources::Source,
};
use plana_harness::{CheckLine, Context, Failure};
use plana_pg::{client::Program, server::Server};

use crate::{Args, JOB};

/// Tests everything that a snapshot needs, and goes on after what is wrong, so that one call tells all of it.
///
/// # Errors
/// Never in practice: what is wrong is a line.
pub async fn check(context: Context, args: Args) -> Result<Vec<CheckLine>, Failure> {
    let mut lines = vec![check_encryption(&context, "")];
    match server(&context).await {
        Ok(server) => {
            lines.push(CheckLine::ok("server", server.describe()));
            lines.extend(check_clients(&context, &server, &[Program::PgDump]).await);
            lines.extend(check_role(&server).await);
            lines.extend(check_tiers(&context, server.settings()).await);
        }
        Err(error) => lines.push(problem("server", error)),
    }
    match Source::all(&context, &args.root, &[]) {
        Ok(sources) => {
            for source in sources {
                lines.extend(check_source(&context, source, false).await);
            }
        }
        Err(failure) => lines.push(check_failure("file stores", &failure)),
    }
    lines.extend(check_store(&context).await);
    lines.extend(check_escrow(&context).await);
    Ok(lines)
}

async fn server(context: &Context) -> Result<Server, SetupError> {
    let config = context.config();
    setup::connect(config, &setup::connection(config, context.env(), JOB, None)?).await
}
