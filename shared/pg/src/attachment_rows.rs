//! The rows of an Odoo database that name files in its file store.

use std::time::Duration;

use futures::TryStreamExt as _;
use sqlx::{AssertSqlSafe, Row as _};
use tokio::sync::mpsc::Sender;

use crate::{
    dsn::ConnectionSettings,
    server::{ServerError, close, connect},
};

/// A row of `ir_attachment` that names a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachmentRow {
    /// Its id.
    pub id: i64,
    /// What people call it.
    pub name: Option<String>,
    /// The model of the record that it belongs to.
    pub res_model: Option<String>,
    /// The record.
    pub res_id: Option<i64>,
    /// The file's path in the file store.
    pub store_fname: String,
}

const DOING: &str = "read which files it names";
/// What an attachment is known by; a column that a database does not have is null.
const COLUMNS: [(&str, &str); 5] = [("id", "int8"), ("name", "text"), ("res_model", "text"), ("res_id", "int8"), ("store_fname", "text")];
const THERE: &str = "SELECT attname::text FROM pg_catalog.pg_attribute
    WHERE attrelid = pg_catalog.to_regclass('public.ir_attachment') AND attnum > 0 AND NOT attisdropped";

/// Sends every row that names a file, by id, until nobody takes them; `false` where the settings' database has no table of
/// attachments.
///
/// # Errors
/// When the database cannot be asked.
pub async fn attachment_rows(
    settings: &ConnectionSettings,
    connect_timeout: Duration,
    taker: Sender<AttachmentRow>,
) -> Result<bool, ServerError> {
    let failed = |error| ServerError::from_query(DOING, settings, error);
    let (mut connection, _) = connect(settings, connect_timeout).await?;
    let there: Vec<String> = sqlx::query_scalar(THERE).fetch_all(&mut connection).await.map_err(failed)?;
    let has = |name: &str| there.iter().any(|column| column == name);
    if !has("id") || !has("store_fname") {
        close(connection).await;
        return Ok(false);
    }
    let columns = COLUMNS.map(|(name, kind)| if has(name) { format!("{name}::{kind}") } else { format!("NULL::{kind}") });
    let query = format!("SELECT {} FROM public.ir_attachment WHERE store_fname IS NOT NULL ORDER BY id", columns.join(", "));
    let mut rows = sqlx::query(AssertSqlSafe(query)).fetch(&mut connection);
    while let Some(row) = rows.try_next().await.map_err(failed)? {
        let read = || {
            Ok(AttachmentRow {
                id: row.try_get(0)?,
                name: row.try_get(1)?,
                res_model: row.try_get(2)?,
                res_id: row.try_get(3)?,
                store_fname: row.try_get(4)?,
            })
        };
        if taker.send(read().map_err(failed)?).await.is_err() {
            break;
        }
    }
    drop(rows);
    close(connection).await;
    Ok(true)
}
