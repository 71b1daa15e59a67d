//! Whether everything is there that a restore needs, before anything is begun.

use std::collections::{BTreeMap, BTreeSet};

use plana_pg::{
    archive::{ArchiveReader, ArchiveVisitor, TocEntry, roles_named},
    scratch::Admin,
    server::ServerFacts,
};
use plana_plan::{manifest::DatabaseFacts, name::printable, pgclient::PgVersion};

use super::{DatabaseRestore, Purpose, finished::Work};
use crate::{
    error::RestoreError,
    read::{of_io, peek_payload},
};

/// What the archive's own table of contents says.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    /// The owners of objects; none with `--no-owner`.
    pub(super) owners: BTreeSet<String>,
    /// The roles that policies are for.
    pub(super) policy_roles: BTreeSet<String>,
    /// The roles that grants are to or from.
    grant_roles: BTreeSet<String>,
    /// The archive's own grants on the schema `public`, as SQL.
    pub(super) public_acl: String,
    /// The number of every entry, in the archive's order.
    pub(super) entries: Vec<i64>,
    /// Extensions in their order: entry, name and the SQL that makes them.
    pub(super) extensions: Vec<(i64, String, String)>,
    /// Entries that comment on extensions.
    pub(super) extension_comments: Vec<i64>,
    /// Schemas, by name.
    pub(super) schemas: BTreeMap<String, i64>,
    /// What of it waits for what.
    pub(super) work: Work,
}

/// Refuses what is unsafe, and what could not succeed; gives what the archive says of itself, where somebody needs it.
pub(super) async fn check(restore: &DatabaseRestore<'_>, facts: &DatabaseFacts) -> Result<Contents, RestoreError> {
    occupied(restore.admin, restore.purpose).await?;
    let (contents, missing) = look(restore, facts).await?;
    if missing.is_empty() { Ok(contents) } else { Err(RestoreError::Unready { set: restore.reading.set.key.to_string(), missing }) }
}

/// What the server lacks for this dump, each with what to do, and what the archive says of itself.
pub(super) async fn look(restore: &DatabaseRestore<'_>, facts: &DatabaseFacts) -> Result<(Contents, Vec<String>), RestoreError> {
    let admin = restore.admin;
    let no_owner = restore.options.no_owner;
    let mut contents = contents(restore).await?;
    if no_owner {
        contents.owners.clear();
    }
    let mut roles = contents.owners.clone();
    roles.extend((!no_owner).then(|| facts.owner.clone()));
    let mut missing = missing(facts, admin, &roles).await?;
    missing.extend(beside_owners(restore, &contents, &roles).await?);
    missing.extend(if restore.superuser.is_some() { Vec::new() } else { beyond_our_rights(facts, admin).await? });
    Ok((contents, missing))
}

/// Refuses a name that is another database's.
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
async fn contents(restore: &DatabaseRestore<'_>) -> Result<Contents, RestoreError> {
    let mut reader = ArchiveReader::with_visitor(Contents::default());
    let set = restore.reading.set.key.clone();
    let contents = peek_payload(restore.reading, move |content| {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = content.read(&mut buffer).map_err(|error| of_io(&set, error))?;
            reader.feed(&buffer[..read]).map_err(|reason| RestoreError::Archive { set: set.to_string(), reason })?;
            if read == 0 || reader.has_contents() {
                return Ok(reader.visitor().clone());
            }
        }
    });
    contents.await
}

impl ArchiveVisitor for Contents {
    fn entry(&mut self, entry: &TocEntry) {
        self.entries.push(entry.dump_id);
        self.work.entry(entry);
        match &*entry.desc {
            "EXTENSION" => {
                self.extensions.push((entry.dump_id, entry.tag.clone(), entry.definition.clone().unwrap_or_default()));
            }
            "COMMENT" if entry.tag.starts_with("EXTENSION ") => self.extension_comments.push(entry.dump_id),
            "SCHEMA" => drop(self.schemas.insert(entry.tag.clone(), entry.dump_id)),
            "POLICY" => self.policy_roles.extend(roles_named(entry)),
            "ACL" | "DEFAULT ACL" => self.grant_roles.extend(roles_named(entry)),
            _ => {}
        }
        self.owners.extend(entry.owner.clone().filter(|owner| !owner.is_empty()));
        if entry.desc == "ACL" && entry.tag == "SCHEMA public" {
            self.public_acl.push_str(entry.definition.as_deref().unwrap_or_default());
        }
    }
}

/// What is missing of what the manifest alone tells.
async fn missing(facts: &DatabaseFacts, admin: &Admin, owners: &BTreeSet<String>) -> Result<Vec<String>, RestoreError> {
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

/// Roles that policies and grants name and the server lacks: pg_restore would stop at them after the data. Tables alone are
/// restored without either, and on a cluster of our own those of policies are made.
async fn beside_owners(restore: &DatabaseRestore<'_>, contents: &Contents, owners: &BTreeSet<String>) -> Result<Vec<String>, RestoreError> {
    if !restore.options.tables.is_empty() {
        return Ok(Vec::new());
    }
    let wanted = |roles: &BTreeSet<String>, unless: bool| roles.difference(owners).filter(|_| !unless).cloned().collect::<Vec<_>>();
    let of_policies = wanted(&contents.policy_roles, restore.superuser.is_some());
    let of_grants = wanted(&contents.grant_roles, restore.options.no_privileges);
    let policies = restore.admin.missing_roles(&of_policies).await?;
    let grants = restore.admin.missing_roles(&of_grants).await?;
    let of_policy = |role: &String| {
        let role = printable(role);
        format!("role `{role}`, which a row-level policy is for, is not there: create it (NOLOGIN is enough), or restore the globals first")
    };
    let of_grant = |role: &String| {
        let role = printable(role);
        format!("role `{role}`, which grants name, is not there: create it, restore the globals first, or give --no-privileges")
    };
    let mut missing: Vec<String> = policies.iter().map(of_policy).collect();
    missing.extend(grants.iter().filter(|role| !policies.contains(role)).map(of_grant));
    Ok(missing)
}

/// Extensions that our role may not make.
async fn beyond_our_rights(facts: &DatabaseFacts, admin: &Admin) -> Result<Vec<String>, RestoreError> {
    if admin.server().facts().is_superuser {
        return Ok(Vec::new());
    }
    let available = admin.available_extensions().await?;
    let beyond = |name: &&String| *name != "plpgsql" && available.get(*name).is_some_and(|extension| extension.needs_superuser);
    let told = |name: &String| {
        format!(
            "extension `{}` may only be made by a superuser: give --as-superuser, if you trust the dump's own functions",
            printable(name)
        )
    };
    Ok(facts.extensions.keys().filter(beyond).map(told).collect())
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
