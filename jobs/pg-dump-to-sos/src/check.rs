//! The preflight: a line per check, with what to do. Changes nothing that matters.

use plana_backup::{
    SetupError,
    escrow::check_escrow,
    preflight::{check_clients, check_encryption, check_role, check_store, check_store_named, check_tiers, problem},
    setup,
};
use plana_config::StoreName;
use plana_harness::{CheckLine, Context, Failure};
use plana_pg::{client::Program, server::Server};
use plana_plan::name::printable;

use crate::{JOB, TEMPLATES_JOB, template};

/// Tests everything that a run needs, and goes on after what is wrong, so that one call tells all of it.
///
/// # Errors
/// Never in practice: what is wrong is a line.
pub async fn check(context: Context) -> Result<Vec<CheckLine>, Failure> {
    let mut lines = vec![check_encryption(&context, ", and role passwords are left out of the globals")];
    match server(&context, JOB).await {
        Ok(server) => {
            lines.push(CheckLine::ok("server", server.describe()));
            lines.extend(check_clients(&context, &server, &[Program::PgDump, Program::PgDumpAll]).await);
            lines.extend(check_role(&server).await);
            lines.extend(check_tiers(&context, server.settings()).await);
        }
        Err(error) => lines.push(problem("server", error)),
    }
    lines.extend(check_store(&context).await);
    lines.extend(check_escrow(&context).await);
    Ok(lines)
}

/// The same for `--templates`: which databases are templates, and the store of seeds.
///
/// # Errors
/// Never in practice: what is wrong is a line.
pub async fn check_templates(context: Context) -> Result<Vec<CheckLine>, Failure> {
    let mut lines = vec![check_encryption(&context, "")];
    match server(&context, TEMPLATES_JOB).await {
        Ok(server) => {
            lines.push(CheckLine::ok("server", server.describe()));
            lines.extend(check_clients(&context, &server, &[Program::PgDump]).await);
            lines.extend(check_role(&server).await);
            lines.push(templates(&context, &server).await);
        }
        Err(error) => lines.push(problem("server", error)),
    }
    lines.extend(check_store_named(StoreName::Templates, &context).await);
    Ok(lines)
}

async fn templates(context: &Context, server: &Server) -> CheckLine {
    let subject = "templates";
    if let Err(failure) = template::require_rule(context) {
        return CheckLine::bad_config(subject, format!("failed to {}", failure.message), "a run would end here");
    }
    match server.databases().await {
        Err(error) => problem(subject, error.into()),
        Ok(databases) => match template::templates(context, &databases).as_slice() {
            [] => CheckLine::warning(subject, "no database of this server is of the class template", "look at the rules"),
            found => CheckLine::ok(subject, found.iter().map(|found| printable(&found.name)).collect::<Vec<_>>().join(", ")),
        },
    }
}

async fn server(context: &Context, job: &str) -> Result<Server, SetupError> {
    let config = context.config();
    setup::connect(config, &setup::connection(config, context.env(), job, None)?).await
}
