//! Who may connect to a database that was restored.

use plana_plan::name::printable;

use super::{Admin, AdminError, acl::Grant};
use crate::sql;

impl Admin {
    /// Gives everybody back what everybody has of a database by default: CONNECT and TEMPORARY.
    ///
    /// # Errors
    /// When there is no such database, or it is not ours.
    pub async fn reopen(&self, database: &str) -> Result<(), AdminError> {
        let doing = format!("open database `{}`", printable(database));
        self.find(&doing, database).await?;
        self.execute(&doing, &[format!("GRANT CONNECT, TEMPORARY ON DATABASE {} TO PUBLIC", sql::identifier(database))]).await
    }

    /// Grants what a manifest says was granted, and to everybody no more than that. An empty list means the defaults
    /// ([`reopen`](Self::reopen)).
    ///
    /// The owner becomes the grantor of all of it, and keeps every right of his own. Answers with what was left out.
    ///
    /// # Errors
    /// When there is no such database, or it is not ours; nothing is changed then.
    pub async fn apply_grants(&self, database: &str, grants: &[String]) -> Result<Vec<String>, AdminError> {
        if grants.is_empty() {
            return self.reopen(database).await.map(|()| Vec::new());
        }
        let doing = format!("restore the grants of database `{}`", printable(database));
        // Of whoever may connect and is not the owner, GRANT takes no notice and says that it succeeded.
        self.find(&doing, database).await?;
        let mut warnings = Vec::new();
        let mut parsed = Vec::new();
        for text in grants {
            match Grant::parse(text) {
                Some(grant) => parsed.push(grant),
                None => warnings.push(format!("the grant `{}` is none that PostgreSQL writes, and was left out", printable(text))),
            }
        }
        let grantees: Vec<_> = parsed.iter().filter_map(|grant| grant.grantee.clone()).collect();
        let missing = self.missing_roles(&grantees).await?;
        let mut statements = vec![format!("REVOKE ALL ON DATABASE {} FROM PUBLIC", sql::identifier(database))];
        for grant in parsed {
            match &grant.grantee {
                Some(role) if missing.contains(role) => {
                    warnings.push(format!("role `{}` does not exist: what it was granted was left out", printable(role)));
                }
                _ => statements.extend(grant.statements(database)),
            }
        }
        self.execute(&doing, &statements).await.map(|()| warnings)
    }
}
