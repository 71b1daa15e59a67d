//! Which files an Odoo database names in its file store.

use std::{collections::BTreeSet, time::Duration};

use futures::TryStreamExt;
use plana_plan::attachment::{AttachmentName, NameCollector, NamedFiles};
use sqlx::AssertSqlSafe;

use crate::{
    dsn::ConnectionSettings,
    server::{ServerError, close, connect},
};

const ALL: &str = "SELECT store_fname FROM public.ir_attachment WHERE store_fname IS NOT NULL";
const STILL: &str = "SELECT DISTINCT store_fname FROM public.ir_attachment WHERE store_fname = ANY($1)";
const DOING: &str = "read which files it names";
/// How many names are asked for at once.
const BATCH: usize = 1000;

/// Reads which files the settings' database names: read-only, row by row, for at most `limit`.
///
/// # Errors
/// When the database cannot be asked in time, is none of Odoo's, or names more files than are kept.
pub async fn named_files(settings: &ConnectionSettings, connect_timeout: Duration, limit: Duration) -> Result<NamedFiles, ServerError> {
    let (mut connection, _) = connect(settings, connect_timeout).await?;
    let asked = async {
        prepare(&mut connection, limit).await?;
        let mut collector = NameCollector::default();
        let mut rows = sqlx::query_scalar::<_, String>(ALL).fetch(&mut connection);
        while let Some(name) = rows.try_next().await? {
            if let Err(too_many) = collector.take(&name) {
                return Ok(Err(too_many.to_string()));
            }
        }
        Ok(Ok(collector.finish()))
    };
    let answer = in_time(settings, limit, asked).await?;
    close(connection).await;
    answer.map_err(|reason| ServerError::Query { doing: DOING.to_owned(), database: settings.database().to_owned(), reason })
}

/// Asks which of `names` the settings' database names now.
///
/// # Errors
/// When the database cannot be asked in time.
pub async fn still_named(
    settings: &ConnectionSettings,
    names: &[AttachmentName],
    connect_timeout: Duration,
    limit: Duration,
) -> Result<BTreeSet<AttachmentName>, ServerError> {
    let (mut connection, _) = connect(settings, connect_timeout).await?;
    let asked = async {
        prepare(&mut connection, limit).await?;
        let mut still = BTreeSet::new();
        for batch in names.chunks(BATCH) {
            let texts: Vec<String> = batch.iter().map(ToString::to_string).collect();
            let found = sqlx::query_scalar::<_, String>(STILL).bind(texts).fetch_all(&mut connection).await?;
            still.extend(found.iter().filter_map(|name| AttachmentName::parse(name.as_bytes())));
        }
        Ok(still)
    };
    let still = in_time(settings, limit, asked).await?;
    close(connection).await;
    Ok(still)
}

async fn prepare(connection: &mut sqlx::PgConnection, limit: Duration) -> Result<(), sqlx::Error> {
    let limit = limit.as_millis().max(1);
    let settings = format!("SET statement_timeout = {limit}; SET default_transaction_read_only = on");
    sqlx::raw_sql(AssertSqlSafe(settings)).execute(connection).await.map(drop)
}

async fn in_time<T>(
    settings: &ConnectionSettings,
    limit: Duration,
    asked: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, ServerError> {
    let late = |_| ServerError::Timeout { server: settings.server_label(), seconds: limit.as_secs() };
    // The second ends a server that hangs where no statement timeout reaches.
    let answer = tokio::time::timeout(limit + Duration::from_secs(1), asked).await.map_err(late)?;
    answer.map_err(|error| ServerError::from_query(DOING, settings, error))
}
