//! The databases of a server.

use std::{collections::BTreeMap, fmt};

use plana_plan::{
    manifest::{DatabaseFacts, LocaleFacts},
    pgclient::PgVersion,
};
use sqlx::{PgConnection, Row, postgres::PgRow};

use super::ServerFacts;
use crate::{archive::ArchiveSummary, sql};

/// A database, as its server's catalog has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseInfo {
    /// Its name.
    pub name: String,
    /// Its owner.
    pub owner: String,
    /// `pg_database_size`, where we may know it.
    pub size_bytes: Option<u64>,
    /// Whether anybody may connect.
    pub allow_connections: bool,
    /// Whether it is a template for CREATE DATABASE.
    pub is_template: bool,
    /// Whether it is what an interrupted DROP DATABASE left.
    pub is_invalid: bool,
    /// How many may connect at once; -1 without a limit.
    pub connection_limit: i32,
    /// Whether our role may connect.
    pub can_connect: bool,
    /// Its encoding.
    pub encoding: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// Whose rules for sorting and case it has; `None` before PostgreSQL 15.
    pub locale: Option<LocaleFacts>,
    /// Its grants as PostgreSQL writes them; empty while they are the defaults.
    pub grants: Vec<String>,
    /// `ALTER DATABASE … SET` and `ALTER ROLE … IN DATABASE … SET`: role (empty for all) → settings.
    pub settings: BTreeMap<String, Vec<String>>,
}

/// What stands in the way of a dump. Shown, it is the problem and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// What is so.
    pub problem: String,
    /// The SQL that mends it, for an administrator.
    pub mend: String,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, or exclude it", self.problem, self.mend)
    }
}

impl DatabaseInfo {
    /// What stands in the way of a dump; `None` when nothing does.
    pub fn obstacle(&self, server: &ServerFacts) -> Option<Obstacle> {
        let (name, role) = (sql::identifier(&self.name), sql::identifier(&server.role));
        let (problem, mend) = if self.is_invalid {
            ("it is what an interrupted DROP DATABASE left, and nobody can connect".to_owned(), format!("DROP DATABASE {name}"))
        } else if !self.allow_connections {
            ("connections to it are disallowed".to_owned(), format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
        } else if !self.can_connect {
            (format!("role {role} may not connect to it"), format!("GRANT CONNECT ON DATABASE {name} TO {role}"))
        } else if self.connection_limit == 0 && !server.is_superuser {
            ("its connection limit is 0".to_owned(), format!("ALTER DATABASE {name} CONNECTION LIMIT -1"))
        } else {
            return None;
        };
        Some(Obstacle { problem, mend })
    }

    /// What a manifest says of the database and its dump.
    pub fn facts(
        &self,
        server: &ServerFacts,
        client: PgVersion,
        extensions: BTreeMap<String, String>,
        archive: ArchiveSummary,
    ) -> DatabaseFacts {
        DatabaseFacts {
            server_version: server.version.to_string(),
            pg_dump_version: client.to_string(),
            archive_version: archive.header.archive_version.to_string(),
            owner: self.owner.clone(),
            encoding: self.encoding.clone(),
            collate: self.collate.clone(),
            ctype: self.ctype.clone(),
            locale: self.locale.clone(),
            size_bytes: self.size_bytes.unwrap_or_default(),
            settings: self.settings.clone(),
            grants: self.grants.clone(),
            extensions,
            rows: archive.rows,
            tables: archive.tables,
            large_objects: archive.large_objects,
        }
    }
}

// The columns of the locale are other ones in each major version, so the row is asked as a whole.
// A size may be asked for by whoever may connect or read all statistics. A database that is dropped
// while the query runs turns its privileges into NULL.
const DATABASES: &str = "
    SELECT d.oid::int8 AS oid, d.datname::text AS name, pg_catalog.pg_get_userbyid(d.datdba)::text AS owner,
           CASE WHEN pg_catalog.has_database_privilege(d.oid, 'CONNECT') OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')
                THEN pg_catalog.pg_database_size(d.oid) END AS size_bytes,
           d.datallowconn AS allow_connections, d.datistemplate AS is_template, d.datconnlimit AS connection_limit,
           COALESCE(pg_catalog.has_database_privilege(d.oid, 'CONNECT'), false) AS can_connect,
           pg_catalog.pg_encoding_to_char(d.encoding)::text AS encoding, d.datcollate::text AS collate, d.datctype::text AS ctype,
           COALESCE(d.datacl::text[], '{}') AS grants,
           CASE j.whole ->> 'datlocprovider' WHEN 'c' THEN 'libc' WHEN 'i' THEN 'icu' WHEN 'b' THEN 'builtin'
                ELSE j.whole ->> 'datlocprovider' END AS locale_provider,
           COALESCE(j.whole ->> 'datlocale', j.whole ->> 'daticulocale') AS locale_name,
           j.whole ->> 'daticurules' AS icu_rules, j.whole ->> 'datcollversion' AS locale_version
    FROM pg_catalog.pg_database d, LATERAL (SELECT pg_catalog.to_jsonb(d) AS whole) j WHERE d.datname <> 'template0' ORDER BY d.datname";

const SETTINGS: &str = "
    SELECT s.setdatabase::int8, COALESCE(r.rolname::text, ''), s.setconfig
    FROM pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
    WHERE s.setdatabase <> 0 AND (s.setrole = 0 OR r.oid IS NOT NULL)";

fn locale(row: &PgRow) -> Result<Option<LocaleFacts>, sqlx::Error> {
    let Some(provider) = row.try_get::<Option<String>, _>("locale_provider")? else { return Ok(None) };
    let (name, icu_rules, version) = (row.try_get("locale_name")?, row.try_get("icu_rules")?, row.try_get("locale_version")?);
    Ok(Some(LocaleFacts { provider, name, icu_rules, version }))
}

pub(super) async fn list(connection: &mut PgConnection) -> Result<Vec<DatabaseInfo>, sqlx::Error> {
    let mut settings: BTreeMap<i64, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for (database, role, values) in sqlx::query_as::<_, (i64, String, Vec<String>)>(SETTINGS).fetch_all(&mut *connection).await? {
        settings.entry(database).or_default().insert(role, values);
    }
    let rows = sqlx::query(DATABASES).fetch_all(connection).await?;
    rows.iter()
        .map(|row| {
            let connection_limit: i32 = row.try_get("connection_limit")?;
            Ok(DatabaseInfo {
                name: row.try_get("name")?,
                owner: row.try_get("owner")?,
                size_bytes: row.try_get::<Option<i64>, _>("size_bytes")?.map(i64::unsigned_abs),
                allow_connections: row.try_get("allow_connections")?,
                is_template: row.try_get("is_template")?,
                // How PostgreSQL 15.4 and later mark it (DATCONNLIMIT_INVALID_DB).
                is_invalid: connection_limit == -2,
                connection_limit,
                can_connect: row.try_get("can_connect")?,
                encoding: row.try_get("encoding")?,
                collate: row.try_get("collate")?,
                ctype: row.try_get("ctype")?,
                grants: row.try_get("grants")?,
                locale: locale(row)?,
                settings: settings.remove(&row.try_get("oid")?).unwrap_or_default(),
            })
        })
        .collect()
}
