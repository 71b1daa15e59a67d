//! What a server says of itself and of us.

use plana_plan::pgclient::PgVersion;
use sqlx::PgConnection;

/// What a server says of itself and of us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// Its version.
    pub version: PgVersion,
    /// Its version as it writes it, such as `16.4 (Debian 16.4-1)`.
    pub version_text: String,
    /// The role that we are.
    pub role: String,
    /// Whether that role is a superuser.
    pub is_superuser: bool,
    /// Whether it passes by row-level security.
    pub bypasses_row_security: bool,
    /// Whether it may read `pg_authid`, and so the roles' password verifiers.
    pub can_read_role_passwords: bool,
    /// Whether the server is a standby.
    pub in_recovery: bool,
    /// What tells this cluster from every other, where we may know it.
    pub system_identifier: Option<String>,
}

const FACTS: &str = "
    SELECT pg_catalog.current_setting('server_version_num')::int4, pg_catalog.current_setting('server_version'), r.rolname::text, r.rolsuper,
           r.rolsuper OR r.rolbypassrls, pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT'), pg_catalog.pg_is_in_recovery()
    FROM pg_catalog.pg_roles r WHERE r.rolname = current_user";

pub(super) async fn read(connection: &mut PgConnection) -> Result<ServerFacts, sqlx::Error> {
    let row = sqlx::query_as::<_, (i32, String, String, bool, bool, bool, bool)>(FACTS).fetch_one(&mut *connection).await?;
    let (number, version_text, role, is_superuser, bypasses_row_security, can_read_role_passwords, in_recovery) = row;
    let identifier = sqlx::query_scalar::<_, String>("SELECT system_identifier::text FROM pg_catalog.pg_control_system()");
    let system_identifier = match identifier.fetch_one(connection).await {
        Ok(identifier) => Some(identifier),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42501") => None,
        Err(error) => return Err(error),
    };
    Ok(ServerFacts {
        version: PgVersion::from_num(number.cast_unsigned()),
        version_text,
        role,
        is_superuser,
        bypasses_row_security,
        can_read_role_passwords,
        in_recovery,
        system_identifier,
    })
}
