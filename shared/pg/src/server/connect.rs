//! Opening a session, on the first host that takes us.

use std::time::Duration;

use sqlx::{ConnectOptions, PgConnection, postgres::PgSslMode};

use super::{ServerError, close, error::is_tls};
use crate::dsn::{ConnectionSettings, HostAddress};

/// Opens a session and says on which of the hosts.
pub(crate) async fn connect(settings: &ConnectionSettings, timeout: Duration) -> Result<(PgConnection, usize), ServerError> {
    let wanted = settings.keyword("target_session_attrs").unwrap_or("any");
    let mut failure = None;
    // `prefer-standby` takes any host in a second round.
    let rounds: &[&str] = if wanted == "prefer-standby" { &["standby", "any"] } else { &[wanted] };
    for wanted in rounds {
        for index in 0..settings.hosts().len() {
            let host = settings.pinned_to(index);
            let mut connection = match connect_host(&host, timeout).await {
                Ok(connection) => connection,
                // As libpq: what does not answer is passed over, what refuses us ends the search.
                Err(error @ (ServerError::Unreachable { .. } | ServerError::Timeout { .. })) => {
                    failure = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if is_suitable(&mut connection, &host, wanted).await? {
                return Ok((connection, index));
            }
            close(connection).await;
        }
    }
    Err(failure.unwrap_or_else(|| ServerError::NoSuitableHost { server: settings.server_label(), wanted: wanted.to_owned() }))
}

async fn connect_host(settings: &ConnectionSettings, timeout: Duration) -> Result<PgConnection, ServerError> {
    // Floats are never read, and poolers refuse the parameter.
    let options = settings.connect_options().extra_float_digits(None);
    let late = |_| ServerError::Timeout { server: settings.server_label(), seconds: timeout.as_secs() };
    let attempt = async {
        match options.connect().await {
            // `prefer` means that TLS may fail.
            Err(error) if is_tls(&error) && matches!(options.get_ssl_mode(), PgSslMode::Prefer) => {
                options.clone().ssl_mode(PgSslMode::Disable).connect().await
            }
            // `allow` means that TLS is tried where plain text is refused.
            Err(sqlx::Error::Database(error))
                if matches!(options.get_ssl_mode(), PgSslMode::Allow) && error.code().as_deref() == Some("28000") =>
            {
                options.clone().ssl_mode(PgSslMode::Require).connect().await
            }
            other => other,
        }
    };
    tokio::time::timeout(timeout, attempt).await.map_err(late)?.map_err(|error| ServerError::from_connect(settings, error))
}

async fn is_suitable(connection: &mut PgConnection, settings: &ConnectionSettings, wanted: &str) -> Result<bool, ServerError> {
    if wanted == "any" {
        return Ok(true);
    }
    let query = "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only') = 'on'";
    let state = sqlx::query_as::<_, (bool, bool)>(query).fetch_one(connection).await;
    let (in_recovery, read_only) = state.map_err(|error| ServerError::from_query("ask a host for its role", settings, error))?;
    Ok(match wanted {
        "read-write" => !read_only,
        "read-only" => read_only,
        "primary" => !in_recovery,
        _ => in_recovery,
    })
}

/// PgBouncer answers for a database `pgbouncer`; PostgreSQL says that there is none.
pub(super) async fn refuse_pooler(settings: &ConnectionSettings, timeout: Duration) -> Result<(), ServerError> {
    // A socket's directory tells nothing: PgBouncer can listen there too.
    let probe = settings.with_database("pgbouncer");
    let pooler = || Err(ServerError::Pooler { server: settings.server_label() });
    match connect_host(&probe, timeout).await {
        Ok(mut connection) => {
            // Somebody may have called a database so: PgBouncer's console knows no such query.
            let real = sqlx::raw_sql("SELECT pg_catalog.version()").execute(&mut connection).await.is_ok();
            close(connection).await;
            if real { Ok(()) } else { pooler() }
        }
        Err(ServerError::Pooler { .. }) => pooler(),
        // Only PgBouncer refuses its own console in other words than those for a missing database.
        Err(ServerError::Unreachable { reason, .. }) if reason.contains("not allowed") => pooler(),
        Err(error) => {
            tracing::debug!(%error, host = ?settings.hosts().first().map(|h| matches!(h.address, HostAddress::Socket(_))), "no pooler's console");
            Ok(())
        }
    }
}
