//! The last steps: owner, settings and grants, and the name.

use plana_pg::scratch::kept_name;
use plana_plan::{Stamp, manifest::DatabaseFacts};

use super::{DatabaseRestore, Purpose};
use crate::error::RestoreError;

/// Where the database stands now.
#[derive(Debug, Default)]
pub(super) struct Placed {
    pub(super) database: Option<String>,
    pub(super) kept_as: Option<String>,
}

pub(super) async fn place(
    restore: &DatabaseRestore<'_>,
    facts: &DatabaseFacts,
    scratch: &str,
    warnings: &mut Vec<String>,
) -> Result<Placed, RestoreError> {
    let name = match restore.purpose {
        Purpose::Drill => return Ok(Placed::default()),
        Purpose::Place(name) | Purpose::Replace(name) => name,
    };
    let admin = restore.admin;
    warnings.extend(admin.apply_settings(scratch, &facts.settings).await?);
    let grants: &[String] = if restore.options.no_privileges { &[] } else { &facts.grants };
    warnings.extend(admin.apply_grants(scratch, grants).await?);
    // With the name, since whoever gives a database away may not be able to change it any more.
    let owner = (!restore.options.no_owner).then_some(&*facts.owner);
    let kept_as = match restore.purpose {
        Purpose::Replace(_) if admin.server().database_exists(name).await? => {
            let kept = kept_name(name, Stamp::new(chrono::Utc::now()));
            admin.swap(name, &kept, scratch, owner).await?;
            Some(kept)
        }
        _ => {
            admin.rename(scratch, name, owner).await?;
            None
        }
    };
    Ok(Placed { database: Some(name.to_owned()), kept_as })
}
