//! Locks per item that hold across hosts: PostgreSQL's advisory locks.
//!
//! All locks of a run belong to one session of their own, to one fixed database, since a lock is only
//! seen within its database. The session is watched: when it is lost, so are the locks, and whoever
//! works under one is told by a [`CancellationToken`].

use std::{collections::HashSet, time::Duration};

use plana_plan::{Area, name::printable};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    dsn::ConnectionSettings,
    server::{ServerError, close, connect},
};

/// How often the session is asked whether it is still there. Shorter than any firewall's patience.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Never to be changed: versions of this suite must exclude each other.
const NAMESPACE: &str = "plana-jobs/lock/1";

/// Why a lock could not be asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// The session is lost, and all its locks with it.
    #[error("lock {area}/{}: the connection that holds the locks was lost", printable(.name))]
    Lost {
        /// What kind of thing.
        area: Area,
        /// Its name.
        name: String,
    },
}

/// One session that holds the locks of a run. Dropped, it ends once the last guard is gone.
#[derive(Debug, Clone)]
pub struct AdvisoryLocks {
    requests: mpsc::UnboundedSender<Request>,
    lost: CancellationToken,
}

#[derive(Debug)]
enum Request {
    Lock { key: i64, answer: oneshot::Sender<bool> },
    Unlock { key: i64, answer: Option<oneshot::Sender<()>> },
}

/// Holds one lock until it is dropped or released.
#[derive(Debug)]
pub struct LockGuard {
    key: i64,
    requests: mpsc::UnboundedSender<Request>,
    lost: CancellationToken,
    released: bool,
}

/// The lock's number: stable between versions and hosts.
pub fn lock_key(area: Area, name: &str) -> i64 {
    let mut digest = Sha256::new();
    for part in [NAMESPACE, area.as_str(), name] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    let digest = digest.finalize();
    digest.iter().take(8).fold(0i64, |key, byte| (key << 8) | i64::from(*byte))
}

impl AdvisoryLocks {
    /// Opens the session, in the settings' database: the same one for every job and host.
    ///
    /// # Errors
    /// When the server does not let us in.
    pub async fn connect(settings: &ConnectionSettings, timeout: Duration) -> Result<Self, ServerError> {
        let (mut connection, _) = connect(settings, timeout).await?;
        // The session is idle for hours, and its server must notice soon when this host is gone.
        let prepare = "SET idle_session_timeout = 0; SET statement_timeout = 0;
                       SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3";
        let prepared = sqlx::raw_sql(prepare).execute(&mut connection).await;
        prepared.map_err(|error| ServerError::from_query("prepare the session that holds the locks", settings, error))?;
        let (requests, received) = mpsc::unbounded_channel();
        let lost = CancellationToken::new();
        tokio::spawn(hold(connection, received, lost.clone()));
        Ok(AdvisoryLocks { requests, lost })
    }

    /// Takes the lock of an item; `None` when somebody else holds it, in this process or another.
    ///
    /// # Errors
    /// When the session is lost.
    pub async fn try_lock(&self, area: Area, name: &str) -> Result<Option<LockGuard>, LockError> {
        let key = lock_key(area, name);
        let lost = || LockError::Lost { area, name: name.to_owned() };
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request::Lock { key, answer }).map_err(|_| lost())?;
        let taken = answered.await.map_err(|_| lost())?;
        Ok(taken.then(|| LockGuard { key, requests: self.requests.clone(), lost: self.lost.clone(), released: false }))
    }

    /// Cancelled when the session is lost, and all locks with it.
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }
}

impl LockGuard {
    /// Cancelled when the lock is lost with its session.
    pub fn lost(&self) -> CancellationToken {
        self.lost.clone()
    }

    /// Gives the lock back, and returns when it is free.
    pub async fn release(mut self) {
        self.released = true;
        let (answer, answered) = oneshot::channel();
        // Without the session there is no lock to give back.
        if self.requests.send(Request::Unlock { key: self.key, answer: Some(answer) }).is_ok() {
            answered.await.ok();
        }
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        if !self.released {
            self.requests.send(Request::Unlock { key: self.key, answer: None }).ok();
        }
    }
}

/// Serves the session until nobody can ask any more, or it is lost.
async fn hold(mut connection: PgConnection, mut requests: mpsc::UnboundedReceiver<Request>, lost: CancellationToken) {
    let mut held = HashSet::new();
    loop {
        let served = match tokio::time::timeout(KEEPALIVE, requests.recv()).await {
            Ok(None) => return close(connection).await,
            Ok(Some(request)) => serve(&mut connection, request, &mut held).await,
            Err(_) => ask(sqlx::query_scalar::<_, i32>("SELECT 1").fetch_one(&mut connection)).await.map(|_| ()),
        };
        if let Err(reason) = served {
            tracing::error!(reason, held = held.len(), "the connection that holds the locks was lost");
            return lost.cancel();
        }
    }
}

async fn serve(connection: &mut PgConnection, request: Request, held: &mut HashSet<i64>) -> Result<(), String> {
    match request {
        Request::Lock { key, answer } => {
            // A session may take its own lock twice: two workers of one process must not.
            let free = !held.contains(&key)
                && ask(sqlx::query_scalar("SELECT pg_catalog.pg_try_advisory_lock($1)").bind(key).fetch_one(&mut *connection)).await?;
            if free {
                held.insert(key);
                if answer.send(true).is_err() {
                    return unlock(connection, key, held).await;
                }
            } else {
                // Whoever asked may have given up.
                answer.send(false).ok();
            }
            Ok(())
        }
        Request::Unlock { key, answer } => {
            unlock(connection, key, held).await?;
            answer.map(|answer| answer.send(()).ok());
            Ok(())
        }
    }
}

async fn unlock(connection: &mut PgConnection, key: i64, held: &mut HashSet<i64>) -> Result<(), String> {
    held.remove(&key);
    ask(sqlx::query_scalar::<_, bool>("SELECT pg_catalog.pg_advisory_unlock($1)").bind(key).fetch_one(connection)).await.map(|_| ())
}

async fn ask<T>(query: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, query).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two versions that disagree here would not exclude each other.
    #[test]
    fn keys_are_stable_and_tell_items_apart() {
        assert_eq!(lock_key(Area::Pg, "acme.planapulse.app"), GOLDEN);
        assert_ne!(lock_key(Area::Pg, "a"), lock_key(Area::Filestore, "a"));
        assert_ne!(lock_key(Area::Pg, "a"), lock_key(Area::Pg, "b"));
    }

    const GOLDEN: i64 = 5_566_872_579_313_538_027;
}
