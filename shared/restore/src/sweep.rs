//! Scratch databases that a killed run has left.

use chrono::{DateTime, Utc};
use plana_pg::{locks::AdvisoryLocks, scratch::Admin};
use plana_plan::{
    Area,
    leftover::{Leftover, is_leftover},
};

use crate::error::RestoreError;

/// Drops what killed restores and drills of our role have left on the server, and gives the names. Nobody's session ends for it.
/// What is at work holds its lock; what has no mark of ours, or is young, or in use, stays.
///
/// # Errors
/// When the server does not answer. What cannot be dropped is logged.
pub async fn sweep_scratch(admin: &Admin, locks: &AdvisoryLocks, prefix: &str, now: DateTime<Utc>) -> Result<Vec<String>, RestoreError> {
    let mut swept = Vec::new();
    for found in admin.list_scratch(prefix).await? {
        let seen = Leftover { made_at: found.made_at, is_ours: found.is_ours, in_use: found.sessions > 0 };
        if !is_leftover(seen, now) {
            tracing::debug!(database = found.name, "this scratch database stays");
            continue;
        }
        let taken = locks.try_lock(Area::Pg, &found.name).await.map_err(|error| RestoreError::Internal(error.to_string()))?;
        let Some(lock) = taken else { continue };
        match admin.drop_unused(&found.name, prefix).await {
            Ok(()) => swept.push(found.name),
            // It was put in its place since it was listed.
            Err(error) if error.is_gone() => {}
            Err(error) => tracing::warn!(database = found.name, "what a killed run left stays behind: failed to {error}"),
        }
        lock.release().await;
    }
    Ok(swept)
}
