//! Tenants' tiers from a table that the platform keeps.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::TryStreamExt;
use plana_plan::name::printable;
use sqlx::{Connection, Row};

use crate::{
    dsn::ConnectionSettings,
    server::{ServerError, close, connect},
};

/// What a lookup found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lookup {
    /// (database, tier), each database once.
    pub rows: Vec<(String, String)>,
    /// Databases that have no tier, or two: which one is right is for people to say.
    pub undecided: Vec<String>,
    /// Rows that say nothing usable, and why.
    pub complaints: Vec<String>,
}

/// More rows than any platform has tenants; a query without a condition must not fill the memory.
const MOST_ROWS: usize = 1_000_000;

/// Runs `query`, two text columns, in the settings' database: read-only and for at most `timeout`.
///
/// # Errors
/// When the database cannot be asked, or the query does not answer two columns in time.
pub async fn look_up(settings: &ConnectionSettings, query: &str, timeout: Duration) -> Result<Lookup, ServerError> {
    let (mut connection, _) = connect(settings, timeout).await?;
    let failed = |error| ServerError::from_query("look up the tiers", settings, error);
    let limit = timeout.as_millis().max(1);
    let asked = async {
        // The second query ends a server that hangs where no statement timeout reaches.
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("SET statement_timeout = {limit}"))).execute(&mut connection).await?;
        let mut transaction = connection.begin_with("BEGIN READ ONLY").await?;
        let mut lookup = Collector::default();
        // What an administrator has configured is run as it stands.
        let mut rows = sqlx::query(sqlx::AssertSqlSafe(query.to_owned())).fetch(&mut *transaction);
        while let Some(row) = rows.try_next().await? {
            if row.len() != 2 {
                return Ok(Err(format!("it answers {} columns, and two are wanted: the database and its tier", row.len())));
            }
            if !lookup.take(row.try_get(0)?, row.try_get(1)?) {
                return Ok(Err(format!("it answers more than {MOST_ROWS} rows")));
            }
        }
        drop(rows);
        transaction.rollback().await?;
        Ok(Ok(lookup.finish()))
    };
    let late = |_| ServerError::Timeout { server: settings.server_label(), seconds: timeout.as_secs() };
    let answer = tokio::time::timeout(timeout + Duration::from_secs(1), asked).await.map_err(late)?.map_err(failed)?;
    close(connection).await;
    answer.map_err(|reason| ServerError::Query { doing: "look up the tiers".to_owned(), database: settings.database().to_owned(), reason })
}

#[derive(Default)]
struct Collector {
    tiers: BTreeMap<String, String>,
    contradicted: BTreeMap<String, String>,
    nulls: usize,
    without: BTreeSet<String>,
}

impl Collector {
    fn take(&mut self, database: Option<String>, tier: Option<String>) -> bool {
        let (Some(database), Some(tier)) = (&database, tier) else {
            self.nulls += 1;
            self.without.extend(database);
            return self.without.len() <= MOST_ROWS;
        };
        if let Some(other) = self.tiers.get(database)
            && *other != tier
        {
            self.contradicted.insert(database.clone(), format!("`{}` and `{}`", printable(other), printable(&tier)));
        }
        self.tiers.entry(database.clone()).or_insert(tier);
        self.tiers.len() <= MOST_ROWS
    }

    /// A tenant of two tiers has none: which window is right is for people to say, and until then it is kept longest.
    fn finish(mut self) -> Lookup {
        let mut complaints = Vec::new();
        if self.nulls > 0 {
            complaints.push(format!("{} rows of the tier query have no database or no tier", self.nulls));
        }
        for (database, tiers) in self.contradicted {
            self.tiers.remove(&database);
            self.without.insert(database.clone());
            complaints.push(format!("the tier query gives {} two tiers, {tiers}: it counts as unknown", printable(&database)));
        }
        let undecided = self.without.into_iter().filter(|name| !self.tiers.contains_key(name)).collect();
        Lookup { rows: self.tiers.into_iter().collect(), undecided, complaints }
    }
}
