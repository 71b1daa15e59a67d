//! A proven database takes its name, or another one's place.

use plana_plan::name::printable;

use super::{Admin, AdminError, create::made_at, evict::Found, names};
use crate::sql;

impl Admin {
    /// Renames a database, which nobody may be connected to, and gives it to `owner` where one is named. A scratch
    /// database loses the comment that says so. All of that happens or nothing.
    ///
    /// # Errors
    /// When there is no such database, the name is taken or unusable, a session does not end within the server's five
    /// seconds, or a right is missing.
    pub async fn rename(&self, from: &str, to: &str, owner: Option<&str>) -> Result<(), AdminError> {
        let doing = format!("rename database `{}` to `{}`", printable(from), printable(to));
        names::check(&doing, to)?;
        let database = self.find(&doing, from).await?;
        if let Some(owner) = owner {
            self.check_role(&doing, owner).await?;
        }
        match self.execute(&doing, &take_name(&database, from, to, owner)).await {
            Err(error) => Err(self.with_sessions(error, &[&database]).await),
            Ok(()) => Ok(()),
        }
    }

    /// Puts `fresh` in the place of `existing`, which is kept as `kept` with its data and its owner, and gives it to
    /// `owner` where one is named.
    ///
    /// Both names change in one transaction. Its first statement keeps new sessions of `existing` out and waits for the
    /// old ones, which are told to end meanwhile. So whatever fails, and whoever is killed in between, `existing` either
    /// stands whole under its own name, open as before, or whole under `kept`, and then `fresh` has taken its place; when
    /// the connection is lost at the very end, [`Server::database_exists`](crate::server::Server::database_exists) tells
    /// which. Nobody may connect to what is kept until somebody says so (`ALTER DATABASE … ALLOW_CONNECTIONS true`): an
    /// application that visits every database of its role would work on old data.
    ///
    /// # Errors
    /// When one of the two does not exist or is not ours, the name to keep it under is taken or unusable, or a session
    /// does not end within the server's five seconds.
    pub async fn swap(&self, existing: &str, kept: &str, fresh: &str, owner: Option<&str>) -> Result<(), AdminError> {
        let doing = format!("replace database `{}` by `{}`", printable(existing), printable(fresh));
        names::check(&doing, kept)?;
        // Before anybody's session ends: what can be known to fail.
        let (old, new) = (self.find(&doing, existing).await?, self.find(&doing, fresh).await?);
        if self.server.database_exists(kept).await? {
            return Err(AdminError::Exists { doing: format!("keep database `{}` as `{}`", printable(existing), printable(kept)) });
        }
        if let Some(owner) = owner {
            self.check_role(&doing, owner).await?;
        }
        let mut statements = vec![
            format!("ALTER DATABASE {} RENAME TO {}", sql::identifier(existing), sql::identifier(kept)),
            format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", sql::identifier(kept)),
        ];
        statements.extend(take_name(&new, fresh, existing, owner));
        match self.evicting(&old, self.execute(&doing, &statements)).await {
            Err(error) => Err(self.with_sessions(error, &[&old, &new]).await),
            Ok(()) => Ok(()),
        }
    }

    /// `ALTER DATABASE … OWNER TO`: after it our role may not be able to change the database any more.
    ///
    /// # Errors
    /// When database or role do not exist, or our role is not a member of the role.
    pub async fn set_owner(&self, database: &str, role: &str) -> Result<(), AdminError> {
        let doing = format!("give database `{}` to role `{}`", printable(database), printable(role));
        self.check_role(&doing, role).await?;
        self.execute(&doing, &[owned_by(database, role)]).await
    }
}

fn take_name(database: &Found, from: &str, to: &str, owner: Option<&str>) -> Vec<String> {
    let mut statements = vec![format!("ALTER DATABASE {} RENAME TO {}", sql::identifier(from), sql::identifier(to))];
    if database.comment.as_deref().and_then(made_at).is_some() {
        statements.push(format!("COMMENT ON DATABASE {} IS NULL", sql::identifier(to)));
    }
    // Last: whoever gives a database away may change it no more.
    statements.extend(owner.map(|owner| owned_by(to, owner)));
    statements
}

pub(super) fn owned_by(database: &str, role: &str) -> String {
    format!("ALTER DATABASE {} OWNER TO {}", sql::identifier(database), sql::identifier(role))
}
