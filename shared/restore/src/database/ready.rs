//! Whether everything is there that a restore needs, before anything is begun.

use std::collections::BTreeSet;

use plana_pg::{
    archive::{ArchiveReader, ArchiveVisitor, TocEntry},
    scratch::Admin,
    server::ServerFacts,
};
use plana_plan::{manifest::DatabaseFacts, name::printable, pgclient::PgVersion};

use super::{DatabaseRestore, Purpose};
use crate::{
    error::RestoreError,
    read::{of_io, peek_payload},
};

/// What the archive's own table of contents says of those who own what is in it.
#[derive(Debug, Clone, Default)]
pub(super) struct Owners {
    /// The owners of objects.
    pub(super) roles: BTreeSet<String>,
    /// The archive's own grants on the schema `public`, as SQL.
    pub(super) public_acl: String,
}

/// Refuses what is unsafe, and what could not succeed; gives the owners who must be there, none with `--no-owner`.
pub(super) async fn check(restore: &DatabaseRestore<'_>, facts: &DatabaseFacts) -> Result<Owners, RestoreError> {
    let admin = restore.admin;
    occupied(admin, restore.purpose).await?;
    let owners = if restore.options.no_owner { Owners::default() } else { owners(restore).await? };
    let mut roles = owners.roles.clone();
    roles.extend((!restore.options.no_owner).then(|| facts.owner.clone()));
    let mut missing = missing(facts, admin, &roles).await?;
    let keys = &restore.reading.set.manifest.requires_key;
    missing.extend(keys.iter().filter(|key| !restore.keys_at_hand.contains(&key.name)).map(|key| {
        let name = printable(&key.name);
        format!(
            "parts of it are unreadable without the key `{name}` (fingerprint {}): have it at hand, and say so with --key-at-hand {name}",
            printable(&key.fingerprint)
        )
    }));
    if missing.is_empty() { Ok(owners) } else { Err(RestoreError::Unready { set: restore.reading.set.key.to_string(), missing }) }
}

async fn occupied(admin: &Admin, purpose: Purpose<'_>) -> Result<(), RestoreError> {
    let Purpose::Place(name) = purpose else { return Ok(()) };
    if !admin.server().database_exists(name).await? {
        return Ok(());
    }
    let name = printable(name);
    Err(RestoreError::Refused(format!(
        "restore into `{name}`: there is a database of that name, and it is not touched; use --into for another name, or --replace, \
         which keeps the old one under another"
    )))
}

/// Reads no more than the table of contents, which comes first.
async fn owners(restore: &DatabaseRestore<'_>) -> Result<Owners, RestoreError> {
    let mut reader = ArchiveReader::with_visitor(Owners::default());
    let set = restore.reading.set.key.clone();
    let owners = peek_payload(restore.reading, move |content| {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = content.read(&mut buffer).map_err(|error| of_io(&set, error))?;
            reader.feed(&buffer[..read]).map_err(|reason| RestoreError::Archive { set: set.to_string(), reason })?;
            if read == 0 || reader.has_contents() {
                return Ok(reader.visitor().clone());
            }
        }
    });
    owners.await
}

impl ArchiveVisitor for Owners {
    fn entry(&mut self, entry: &TocEntry) {
        self.roles.extend(entry.owner.clone().filter(|owner| !owner.is_empty()));
        if entry.desc == "ACL" && entry.tag == "SCHEMA public" {
            self.public_acl.push_str(entry.definition.as_deref().unwrap_or_default());
        }
    }
}

/// What the server lacks for this dump, each with what to do.
///
/// # Errors
/// When the server does not answer.
pub async fn missing(facts: &DatabaseFacts, admin: &Admin, owners: &BTreeSet<String>) -> Result<Vec<String>, RestoreError> {
    let mut missing: Vec<String> = too_old(facts, admin.server().facts()).into_iter().collect();
    let roles: Vec<String> = owners.iter().cloned().collect();
    for role in admin.missing_roles(&roles).await? {
        let role = printable(&role);
        missing.push(format!("role `{role}` is not there: create it, restore the globals first, or give --no-owner"));
    }
    let available = admin.available_extensions().await?;
    for name in facts.extensions.keys().filter(|name| !available.contains_key(*name)) {
        missing.push(format!("extension `{}` is not installed on the server: install its package", printable(name)));
    }
    Ok(missing)
}

fn too_old(facts: &DatabaseFacts, server: &ServerFacts) -> Option<String> {
    let dumped: PgVersion = facts.server_version.parse().ok()?;
    (server.version.major < dumped.major).then(|| {
        format!(
            "the server is PostgreSQL {} and the dump is of {}: a dump goes into the same major version or a newer one",
            server.version, dumped
        )
    })
}
