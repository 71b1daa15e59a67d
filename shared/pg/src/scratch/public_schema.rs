//! Who may create in the schema `public` while a restore is at work.
//!
//! Since PostgreSQL 15 it belongs to whoever owns the database, and only whoever may create in it can be given what lies in it.
//! A scratch database belongs to us, so that the owners of what is restored need that right until it has its own owner.

use std::collections::BTreeSet;

use sqlx::AssertSqlSafe;

use super::{Admin, AdminError};
use crate::{server::close, sql};

impl Admin {
    /// Lets the roles create in `public`, where there is such a schema, or takes that right back.
    ///
    /// # Errors
    /// When the database cannot be connected to, or the schema is not ours.
    pub async fn allow_in_public(&self, database: &str, roles: &BTreeSet<String>, allow: bool) -> Result<(), AdminError> {
        if roles.is_empty() {
            return Ok(());
        }
        let roles: Vec<String> = roles.iter().map(|role| sql::identifier(role)).collect();
        let (verb, to) = if allow { ("GRANT", "TO") } else { ("REVOKE", "FROM") };
        let statement = format!("{verb} CREATE ON SCHEMA public {to} {}", roles.join(", "));
        let mut connection = self.session(Some(database)).await?;
        let done = sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await;
        close(connection).await;
        match done {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("3F000") => Ok(()),
            other => other.map(drop).map_err(|error| AdminError::from_query("prepare the schema public", self, error)),
        }
    }
}

/// Whether an archive's own grants on the schema `public` let that role create in it.
pub fn grants_create(acl: &str, role: &str) -> bool {
    let plain = format!(" TO {role};");
    let quoted = format!(" TO {};", sql::identifier(role));
    acl.lines().map(str::trim).any(|line| {
        let right = line.starts_with("GRANT ALL ON SCHEMA ") || (line.starts_with("GRANT ") && line.contains("CREATE"));
        right && (line.ends_with(&plain) || line.ends_with(&quoted))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_of_an_archive_are_read() {
        let acl = "REVOKE USAGE ON SCHEMA public FROM PUBLIC;\nGRANT USAGE ON SCHEMA public TO reader;\nGRANT ALL ON SCHEMA public TO plana;\n\
                   GRANT CREATE ON SCHEMA public TO \"odd role\";\n";
        for (role, may) in [("plana", true), ("odd role", true), ("reader", false), ("lana", false), ("PUBLIC", false)] {
            assert_eq!(grants_create(acl, role), may, "{role}");
        }
    }
}
