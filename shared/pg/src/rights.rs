//! Whether our role may read all that a dump reads, and the SQL that mends what is missing.

mod restorer;

use plana_plan::name::printable;
use sqlx::PgConnection;

use crate::{
    server::{DatabaseInfo, Server, ServerError, close, connect},
    sql,
};

pub use restorer::{RESTORER_SQL, check_restorer};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grade {
    /// The dump, or the restore, would fail.
    Missing,
    /// It succeeds, and something is worth knowing.
    Note,
}

/// One thing about our rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The database; `None` for the whole server.
    pub database: Option<String>,
    /// How much it matters.
    pub grade: Grade,
    /// What is so.
    pub problem: String,
    /// The SQL that mends it, for an administrator.
    pub mend: Option<String>,
}

/// Makes the role that a backup needs, with psql as a superuser. It can read everything and is asked
/// for no more.
///
/// `pg_read_all_data` does not reach large objects, rows behind row-level security, or databases whose
/// CONNECT was revoked; each has its line.
pub const LEAST_RIGHTS_SQL: &str = r"-- As a superuser, in psql. Then give it a password: \password plana_backup
CREATE ROLE plana_backup LOGIN;
-- Tables, views and sequences of every schema, also those that are made later; and the roles' password verifiers.
GRANT pg_read_all_data TO plana_backup;
-- Rows behind row-level security: pg_dump refuses to leave any out.
ALTER ROLE plana_backup BYPASSRLS;
-- Large objects, which pg_read_all_data does not cover. The alternative is GRANT SELECT ON LARGE OBJECT for each, now and
-- whenever one is made. This setting passes by the check of large objects' rights in this role's sessions, for writing
-- too; the next line makes its transactions read-only unless it asks otherwise.
ALTER ROLE plana_backup SET lo_compat_privileges = on;
ALTER ROLE plana_backup SET default_transaction_read_only = on;
-- Failures are told apart by the server's words: in English.
ALTER ROLE plana_backup SET lc_messages = 'C';
-- Databases whose CONNECT was revoked from PUBLIC. Repeat it when one is made so.
SELECT format('GRANT CONNECT ON DATABASE %I TO plana_backup', datname) FROM pg_database
 WHERE datallowconn AND NOT has_database_privilege('plana_backup', oid, 'CONNECT') \gexec
";

/// What concerns the whole server.
pub fn check_server(server: &Server) -> Vec<Finding> {
    let facts = server.facts();
    let role = sql::identifier(&facts.role);
    let mut findings = Vec::new();
    let mut note = |problem: String, mend: Option<String>| findings.push(Finding { database: None, grade: Grade::Note, problem, mend });
    if facts.is_superuser {
        note(format!("role {role} is a superuser: a role that can only read does for backups"), Some(LEAST_RIGHTS_SQL.to_owned()));
    } else if !facts.can_read_role_passwords {
        let problem = format!("role {role} may not read the roles' password verifiers: the globals are dumped without them");
        note(problem, Some(format!("GRANT pg_read_all_data TO {role}")));
    }
    findings
}

/// What concerns one database. A database that went away meanwhile has no findings.
///
/// # Errors
/// When the database cannot be asked, for another reason than rights.
pub async fn check_database(server: &Server, database: &DatabaseInfo) -> Result<Vec<Finding>, ServerError> {
    let finding = |grade, problem, mend| Finding { database: Some(database.name.clone()), grade, problem, mend };
    if let Some(obstacle) = database.obstacle(server.facts()) {
        return Ok(vec![finding(Grade::Missing, obstacle.problem, Some(obstacle.mend))]);
    }
    if server.facts().is_superuser {
        return Ok(Vec::new());
    }
    let settings = server.settings().with_database(&database.name);
    let mut connection = match connect(&settings, server.timeout()).await {
        Ok((connection, _)) => connection,
        Err(ServerError::Gone { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let seen = look(&mut connection, server.facts().version.major).await;
    close(connection).await;
    let seen = seen.map_err(|error| ServerError::from_query("look for what cannot be read", &settings, error))?;
    let role = sql::identifier(&server.facts().role);
    let mut findings = Vec::new();
    if let Some(first) = seen.unreadable.first() {
        let problem = format!("role {role} may not read {} tables and sequences, such as {}", seen.unreadable_count, printable(first));
        findings.push(finding(Grade::Missing, problem, Some(format!("GRANT pg_read_all_data TO {role}"))));
    }
    if let Some(first) = seen.row_security.first() {
        let problem =
            format!("row-level security hides rows of {} tables from role {role}, such as {}", seen.row_security_count, printable(first));
        findings.push(finding(Grade::Missing, problem, Some(format!("ALTER ROLE {role} BYPASSRLS"))));
    }
    if seen.large_objects > 0 {
        let problem = format!("role {role} may not read {} large objects", seen.large_objects);
        findings.push(finding(Grade::Missing, problem, Some(format!("ALTER ROLE {role} SET lo_compat_privileges = on"))));
    }
    if seen.user_mappings > 0 {
        let problem =
            format!("{} user mappings of foreign servers: only a superuser's dump holds their options (passwords)", seen.user_mappings);
        findings.push(finding(Grade::Note, problem, None));
    }
    Ok(findings)
}

struct Seen {
    unreadable: Vec<String>,
    unreadable_count: i64,
    row_security: Vec<String>,
    row_security_count: i64,
    large_objects: i64,
    user_mappings: i64,
}

// What pg_dump locks and copies: tables and sequences outside the system's schemas, and of an extension only what it
// says to hold configuration.
const RELATIONS: &str = "
    SELECT pg_catalog.format('%I.%I', n.nspname, c.relname),
           NOT (pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')),
           c.relkind IN ('r', 'p') AND pg_catalog.row_security_active(c.oid)
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
                      WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
                        AND d.refclassid = 'pg_catalog.pg_extension'::regclass AND NOT c.oid = ANY (COALESCE(e.extconfig, '{}')))";

const UNREADABLE: &str = "
    WITH relations (name, unreadable, hidden) AS (RELATIONS)
    SELECT COALESCE((SELECT pg_catalog.array_agg(name) FROM (SELECT name FROM relations WHERE unreadable ORDER BY name LIMIT 3) examples), '{}'),
           (SELECT pg_catalog.count(*) FROM relations WHERE unreadable),
           COALESCE((SELECT pg_catalog.array_agg(name) FROM (SELECT name FROM relations WHERE hidden ORDER BY name LIMIT 3) examples), '{}'),
           (SELECT pg_catalog.count(*) FROM relations WHERE hidden)";

const LARGE_OBJECTS: &str = "
    SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata m
    WHERE pg_catalog.current_setting('lo_compat_privileges') = 'off'
      AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(COALESCE(m.lomacl, pg_catalog.acldefault('L', m.lomowner))) a
                      WHERE a.privilege_type = 'SELECT' AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE')))
      AND NOT pg_catalog.pg_has_role(m.lomowner, 'USAGE')";

const LARGE_OBJECTS_18: &str = "
    SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata m
    WHERE pg_catalog.current_setting('lo_compat_privileges') = 'off' AND NOT pg_catalog.has_largeobject_privilege(m.oid, 'SELECT')";

async fn look(connection: &mut PgConnection, major: u32) -> Result<Seen, sqlx::Error> {
    let query = sqlx::AssertSqlSafe(UNREADABLE.replace("RELATIONS", RELATIONS));
    let (unreadable, unreadable_count, row_security, row_security_count) =
        sqlx::query_as::<_, (Vec<String>, i64, Vec<String>, i64)>(query).fetch_one(&mut *connection).await?;
    let query = if major >= 18 { LARGE_OBJECTS_18 } else { LARGE_OBJECTS };
    let large_objects = sqlx::query_scalar(query).fetch_one(&mut *connection).await?;
    let query = "SELECT pg_catalog.count(*) FROM pg_catalog.pg_user_mappings WHERE umoptions IS NULL";
    let user_mappings = sqlx::query_scalar(query).fetch_one(connection).await?;
    Ok(Seen { unreadable, unreadable_count, row_security, row_security_count, large_objects, user_mappings })
}
