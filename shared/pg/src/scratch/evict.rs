//! Ending the sessions of a database while a statement that needs it alone waits for them.

use std::time::Duration;

use plana_plan::name::printable;
use sqlx::PgConnection;

use super::{Admin, AdminError};
use crate::{
    server::{ServerError, close},
    sql,
};

/// How often sessions are looked for; the server waits five seconds for them to end.
const PAUSE: Duration = Duration::from_millis(50);

/// A database that is there.
pub(super) struct Found {
    /// What it is called may change meanwhile, and who is meant must not.
    pub(super) oid: i64,
    owner: String,
    pub(super) comment: Option<String>,
    is_ours: bool,
}

const DATABASE: &str = "
    SELECT d.oid::int8, pg_catalog.pg_get_userbyid(d.datdba)::text, pg_catalog.shobj_description(d.oid, 'pg_database'),
           pg_catalog.pg_has_role(d.datdba, 'USAGE')
    FROM pg_catalog.pg_database d WHERE d.datname::text = $1";

// Of the sessions of others a plain role sees pid and role, and neither kind nor name. What has no role is the server's
// own, such as autovacuum, which the statement stops by itself.
const SESSIONS: &str = "
    SELECT pid FROM pg_catalog.pg_stat_activity WHERE datid::int8 = $1 AND usesysid IS NOT NULL AND pid <> pg_catalog.pg_backend_pid()";

const WHOSE: &str = "
    SELECT pg_catalog.format('%s of %s', pg_catalog.count(*), COALESCE(pg_catalog.quote_ident(usename), 'the server itself'))
    FROM pg_catalog.pg_stat_activity WHERE datid::int8 = $1 AND pid <> pg_catalog.pg_backend_pid() GROUP BY usename
    UNION ALL
    SELECT pg_catalog.format('prepared transaction %L of %I', x.gid, x.owner) FROM pg_catalog.pg_prepared_xacts x
    JOIN pg_catalog.pg_database d ON d.datname = x.database WHERE d.oid::int8 = $1";

impl Admin {
    /// The database, where there is one that we may change.
    pub(super) async fn look_up(&self, doing: &str, name: &str) -> Result<Option<Found>, AdminError> {
        let mut connection = self.session(None).await?;
        let query = sqlx::query_as::<_, (i64, String, Option<String>, bool)>(DATABASE).bind(name);
        let found = query.fetch_optional(&mut connection).await;
        close(connection).await;
        let found = self.answered(doing, found)?.map(|(oid, owner, comment, is_ours)| Found { oid, owner, comment, is_ours });
        match found {
            Some(Found { is_ours: false, owner, .. }) => {
                let (owner, role) = (sql::identifier(&owner), sql::identifier(&self.server.facts().role));
                let reason = format!("it belongs to role {owner}, whose rights role {role} does not have");
                Err(AdminError::Denied { doing: doing.to_owned(), reason, advice: format!("GRANT {owner} TO {role}") })
            }
            found => Ok(found),
        }
    }

    /// The same, where there must be one.
    pub(super) async fn find(&self, doing: &str, name: &str) -> Result<Found, AdminError> {
        let gone = || AdminError::Gone { doing: doing.to_owned(), reason: format!("there is no database `{}`", printable(name)) };
        self.look_up(doing, name).await?.ok_or_else(gone)
    }

    /// Waits for `work` and ends the database's sessions until it is done. The statement in it keeps new ones out.
    pub(super) async fn evicting(&self, database: &Found, work: impl Future<Output = Result<(), AdminError>>) -> Result<(), AdminError> {
        tokio::select! {
            biased;
            done = work => done,
            never = self.evict(database.oid) => match never {},
        }
    }

    /// The same failure, with the sessions that are in the way.
    pub(super) async fn with_sessions(&self, error: AdminError, databases: &[&Found]) -> AdminError {
        let AdminError::InUse { doing, reason, role, .. } = error else { return error };
        let mut sessions = Vec::new();
        for database in databases {
            sessions.extend(self.whose(database.oid).await);
        }
        let sessions = if sessions.is_empty() { String::new() } else { format!(" ({})", printable(&sessions.join(", "))) };
        AdminError::InUse { doing, reason, sessions, role }
    }

    async fn evict(&self, oid: i64) -> std::convert::Infallible {
        match self.session(None).await {
            Ok(mut connection) => loop {
                if let Err(error) = terminate(&mut connection, oid).await {
                    tracing::debug!(%error, "sessions could not be looked for");
                }
                tokio::time::sleep(PAUSE).await;
            },
            Err(error) => {
                tracing::debug!(%error, "nobody ends the sessions");
                std::future::pending().await
            }
        }
    }

    /// Who is still there, for a message.
    async fn whose(&self, oid: i64) -> Vec<String> {
        let asked = async {
            let mut connection = self.session(None).await?;
            let found = sqlx::query_scalar::<_, String>(WHOSE).bind(oid).fetch_all(&mut connection).await;
            close(connection).await;
            self.answered("ask for the sessions", found)
        };
        asked.await.unwrap_or_else(|error: ServerError| {
            tracing::debug!(%error, "whose the sessions are is unknown");
            Vec::new()
        })
    }
}

async fn terminate(connection: &mut PgConnection, oid: i64) -> Result<(), sqlx::Error> {
    for pid in sqlx::query_scalar::<_, i32>(SESSIONS).bind(oid).fetch_all(&mut *connection).await? {
        // One by one: a session that is not ours to end must not save the others. Whoever waits for it learns of it.
        let ended = sqlx::query("SELECT pg_catalog.pg_terminate_backend($1)").bind(pid).execute(&mut *connection).await;
        if let Err(error) = ended {
            tracing::debug!(pid, %error, "a session could not be ended");
        }
    }
    Ok(())
}
