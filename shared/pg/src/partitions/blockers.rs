//! Who holds locks on a table, and for how long.

use std::fmt;

use plana_plan::name::printable;
use sqlx::postgres::types::Oid;

use super::{PartitionError, Tables};

/// A transaction that holds a lock on a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Blocker {
    /// The server's process; none for a prepared transaction.
    pub pid: Option<i32>,
    /// The role.
    pub role: Option<String>,
    /// What its client calls itself.
    pub application: Option<String>,
    /// What it is doing, such as `idle in transaction`.
    pub state: Option<String>,
    /// How long its transaction has lasted, where we may know.
    pub seconds: Option<f64>,
    /// The table.
    pub relation: String,
    /// The lock's mode.
    pub mode: String,
}

impl fmt::Display for Blocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "pid {pid}")?,
            None => f.write_str("a prepared transaction")?,
        }
        let known = [self.role.as_deref(), self.application.as_deref().filter(|name| !name.is_empty()), self.state.as_deref()];
        let mut known: Vec<String> = known.into_iter().flatten().map(printable).collect();
        known.extend(self.seconds.map(|seconds| format!("for {seconds:.0} s")));
        if !known.is_empty() {
            write!(f, " ({})", known.join(", "))?;
        }
        write!(f, " holds {} on {}", self.mode, printable(&self.relation))
    }
}

/// A lock that is held, with what tells its transaction from every other.
#[derive(Debug, Clone)]
pub(super) struct Holder {
    transaction: Option<String>,
    blocker: Blocker,
}

impl From<Holder> for Blocker {
    fn from(holder: Holder) -> Self {
        holder.blocker
    }
}

type Row = (Option<i32>, Option<String>, Option<String>, Option<String>, Option<String>, Option<f64>, String, String);

impl From<Row> for Holder {
    fn from((pid, transaction, role, application, state, seconds, relation, mode): Row) -> Self {
        Holder { transaction, blocker: Blocker { pid, role, application, state, seconds, relation, mode } }
    }
}

/// After such parts of lock_timeout a transaction is looked for again; one that is there each time, for 2 s in all with the usual
/// one, counts as a long one. The first looks come soon, since most transactions are short, and nobody waits for us.
const LOOKS: [f64; 5] = [0.1, 0.4, 0.5, 1.0, 2.0];

const HOLDERS: &str = "
    SELECT DISTINCT ON (l.virtualtransaction, l.relation) l.pid, l.virtualtransaction, a.usename::text,
           a.application_name, a.state, EXTRACT(epoch FROM clock_timestamp() - a.xact_start)::float8,
           l.relation::regclass::text, l.mode
    FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'relation' AND l.granted AND l.pid IS DISTINCT FROM pg_catalog.pg_backend_pid() AND l.relation = ANY ($1)
      AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
    ORDER BY l.virtualtransaction, l.relation, l.mode";

impl Tables {
    /// Who holds a lock on one of these tables just now.
    pub(super) async fn holders(&mut self, tables: &[u32]) -> Result<Vec<Holder>, PartitionError> {
        let oids: Vec<Oid> = tables.iter().map(|oid| Oid(*oid)).collect();
        let found: Result<Vec<Row>, _> = sqlx::query_as(HOLDERS).bind(oids).fetch_all(&mut self.connection).await;
        Ok(found.map_err(|error| self.failed("look who holds locks", error))?.into_iter().map(Holder::from).collect())
    }

    /// Who holds a lock on one of these tables and does not let go: seen in the same transaction again and again, for longer
    /// than one statement of ours would wait. Needs no right to see what others do.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn old_holders(&mut self, tables: &[u32]) -> Result<Vec<Blocker>, PartitionError> {
        let mut still = self.holders(tables).await?;
        for part in LOOKS {
            if still.is_empty() {
                break;
            }
            tokio::time::sleep(self.patience.lock_timeout.mul_f64(part)).await;
            let before = still;
            let same = |one: &Holder, two: &Holder| one.transaction == two.transaction && one.blocker.relation == two.blocker.relation;
            still = self.holders(tables).await?;
            still.retain(|holder| before.iter().any(|other| same(holder, other)));
        }
        Ok(still.into_iter().map(Blocker::from).collect())
    }

    /// Ends a step before it asks for a lock that it would not get.
    pub(super) async fn refuse_blocked(&mut self, doing: &str, tables: &[u32]) -> Result<(), PartitionError> {
        let blockers = self.old_holders(tables).await?;
        if blockers.is_empty() { Ok(()) } else { Err(PartitionError::Blocked { doing: doing.to_owned(), blockers }) }
    }
}
