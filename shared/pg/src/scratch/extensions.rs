//! Extensions: which a server has, who may make them, and those that we make ourselves where the server is our own.

use std::collections::{BTreeMap, BTreeSet};

use plana_plan::name::printable;
use sqlx::AssertSqlSafe;

use super::{Admin, AdminError};
use crate::{
    server::{ServerError, close},
    sql,
};

/// An extension that a server could make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Available {
    /// The version that it would take.
    pub version: String,
    /// Whether only a superuser may make it.
    pub needs_superuser: bool,
}

/// An extension of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// The schema of its objects.
    pub schema: Option<String>,
}

const AVAILABLE: &str = "
    SELECT e.name::text, COALESCE(e.default_version, ''), COALESCE(v.superuser AND NOT v.trusted, false)
    FROM pg_catalog.pg_available_extensions e
    LEFT JOIN pg_catalog.pg_available_extension_versions v ON v.name = e.name AND v.version = e.default_version";

// Rows of an extension's own tables may stand in an archive, and are loaded by the role that restores.
const MEMBERS: &str = "
    SELECT pg_catalog.format('GRANT ALL ON %s %I.%I TO ', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, n.nspname, c.relname)
    FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'e' AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION ALL
    SELECT DISTINCT pg_catalog.format('GRANT USAGE ON SCHEMA %I TO ', n.nspname)
    FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE n.nspname !~ '^pg_'";

impl Admin {
    /// The extensions that the server could make.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn available_extensions(&self) -> Result<BTreeMap<String, Available>, ServerError> {
        let mut connection = self.session(None).await?;
        let found = sqlx::query_as::<_, (String, String, bool)>(AVAILABLE).fetch_all(&mut connection).await;
        close(connection).await;
        let found = self.answered("list the available extensions", found)?.into_iter();
        Ok(found.map(|(name, version, needs_superuser)| (name, Available { version, needs_superuser })).collect())
    }

    /// Makes extensions in a database, in their order, for `role`, which may then fill their tables. Gives the schemas that
    /// had to be made for them. Our own role must be a superuser.
    ///
    /// # Errors
    /// When one cannot be made.
    pub async fn make_extensions(&self, database: &str, extensions: &[Wanted], role: &str) -> Result<BTreeSet<String>, AdminError> {
        let mut connection = self.session(Some(database)).await?;
        let role = sql::identifier(role);
        let mut made = BTreeSet::new();
        for Wanted { name, schema } in extensions {
            let doing = format!("make the extension `{}`", printable(name));
            let mut statement = String::new();
            if let Some(schema) = schema {
                let query = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)").bind(schema);
                let exists: bool = self.answered(&doing, query.fetch_one(&mut connection).await)?;
                if !exists {
                    statement.push_str(&format!("CREATE SCHEMA {} AUTHORIZATION {role}; ", sql::identifier(schema)));
                    made.insert(schema.clone());
                }
            }
            statement.push_str(&format!("CREATE EXTENSION IF NOT EXISTS {}", sql::identifier(name)));
            statement.extend(schema.iter().map(|schema| format!(" WITH SCHEMA {}", sql::identifier(schema))));
            let done = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await;
            done.map_err(|error| AdminError::from_query(&doing, self, error))?;
        }
        let doing = "let the restoring role fill the extensions' tables";
        let grants: Vec<String> = self.answered(doing, sqlx::query_scalar(MEMBERS).fetch_all(&mut connection).await)?;
        let grants: String = grants.into_iter().map(|grant| format!("{grant}{role}; ")).collect();
        let done = sqlx::raw_sql(AssertSqlSafe(grants)).execute(&mut connection).await;
        close(connection).await;
        done.map(|_| made).map_err(|error| AdminError::from_query(doing, self, error))
    }
}
