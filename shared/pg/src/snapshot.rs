//! A snapshot that several dumps read: whatever changes meanwhile, they see the same.

use std::{collections::BTreeMap, time::Duration};

use plana_plan::pgclient::PgVersion;
use sqlx::PgConnection;

use crate::{
    dsn::ConnectionSettings,
    server::{ServerError, close, connect},
    session,
};

/// A session that holds a snapshot of its database for others. It holds no lock on any table.
pub struct Snapshot {
    connection: PgConnection,
    id: String,
    extensions: BTreeMap<String, String>,
}

impl Snapshot {
    /// Takes a snapshot of the settings' database.
    ///
    /// # Errors
    /// When the database cannot be connected to, or gives none.
    pub async fn take(settings: &ConnectionSettings, server: PgVersion, timeout: Duration) -> Result<Self, ServerError> {
        let (mut connection, _) = connect(settings, timeout).await?;
        let failed = |error| ServerError::from_query("take a snapshot", settings, error);
        // The session is idle for as long as the dumps take.
        let patience = session::patient(server).into_iter().map(|(name, value)| format!("SET {name} = '{value}'; "));
        let prepare = patience.collect::<String>()
            + "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3;
               BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
        sqlx::raw_sql(sqlx::AssertSqlSafe(prepare)).execute(&mut connection).await.map_err(failed)?;
        let id = sqlx::query_scalar::<_, String>("SELECT pg_catalog.pg_export_snapshot()");
        let id = id.fetch_one(&mut connection).await.map_err(failed)?;
        let query = sqlx::query_as::<_, (String, String)>("SELECT extname::text, extversion FROM pg_catalog.pg_extension");
        let extensions = query.fetch_all(&mut connection).await.map_err(failed)?.into_iter().collect();
        Ok(Snapshot { connection, id, extensions })
    }

    /// Its name, for `pg_dump --snapshot`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The extensions and their versions, which a dump does not hold.
    pub fn extensions(&self) -> &BTreeMap<String, String> {
        &self.extensions
    }

    /// Lets it go.
    pub async fn release(self) {
        close(self.connection).await;
    }
}
