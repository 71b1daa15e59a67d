//! Roles and tablespaces, from a set to a server.

use plana_pg::{globals, server::Server};
use plana_plan::{
    globals::{GlobalsPlan, plan_globals, statements},
    pgclient::PgVersion,
};

use crate::{
    error::RestoreError,
    read::{Reading, of_io, read_payload},
};

/// A hundred thousand roles have less to say.
const MOST_BYTES: u64 = 64 << 20;

/// Reads the globals of a set, proven, and plans what would be run on the server: what is there already stays as it is.
///
/// # Errors
/// When the set holds no globals or cannot be believed, or the server is older or does not answer.
pub async fn read_globals(reading: Reading<'_>, server: &Server) -> Result<GlobalsPlan, RestoreError> {
    let set = reading.set;
    let Some(facts) = &set.manifest.globals else {
        return Err(RestoreError::Refused(format!("restore the globals of {}: it holds none; look at `list --area globals`", set.key)));
    };
    let dumped: Option<PgVersion> = facts.server_version.parse().ok();
    if let Some(dumped) = dumped.filter(|dumped| server.facts().version.major < dumped.major) {
        let missing = vec![format!("the server is PostgreSQL {} and the globals are of {dumped}", server.facts().version)];
        return Err(RestoreError::Unready { set: set.key.to_string(), missing });
    }
    let size = set.manifest.payload.content_bytes;
    if size > MOST_BYTES {
        return Err(RestoreError::Refused(format!(
            "restore the globals of {}: {size} bytes are more than any server's; use `fetch`",
            set.key
        )));
    }
    let key = set.key.clone();
    let text = read_payload(reading, move |content| {
        let mut text = Vec::new();
        std::io::Read::read_to_end(content, &mut text).map_err(|error| of_io(&key, error))?;
        Ok(text)
    })
    .await?;
    let differs = |what: String| RestoreError::Mismatch { set: set.key.to_string(), what };
    let text = String::from_utf8(text).map_err(|error| differs(format!("its SQL is no UTF-8: {error}")))?;
    let statements = statements(&text).map_err(|error| differs(error.to_string()))?;
    let (roles, tablespaces) = globals::existing(server).await?;
    Ok(plan_globals(statements, &roles, &tablespaces))
}

/// Makes what was planned.
///
/// # Errors
/// When a statement fails: then no role is made.
pub async fn make_globals(server: &Server, plan: &GlobalsPlan) -> Result<(), RestoreError> {
    Ok(globals::make(server, &plan.roles, &plan.tablespaces).await?)
}
