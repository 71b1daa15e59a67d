//! What all tables of a run share: the server, a session, the run's lock.

use plana_backup::{Escrow, SetupError, preflight, setup};
use plana_harness::{Context, Failure};
use plana_pg::{
    dsn::ConnectionSettings,
    locks::{AdvisoryLocks, LockGuard},
    partitions::{Catalog, Patience, Tables},
    server::Server,
};
use plana_plan::Area;
use tokio::sync::OnceCell;

use crate::{
    Args, JOB,
    managed::{Selected, select},
};

/// What all tables of a run share.
pub struct Run {
    /// The server.
    pub server: Server,
    /// How the tables' database is reached.
    pub settings: ConnectionSettings,
    /// The session in it.
    pub tables: Tables,
    /// What the catalog said at first.
    pub catalog: Catalog,
    /// What the configuration means.
    pub selected: Selected,
    /// The keys that archives need besides themselves, once the first is made.
    pub escrow: OnceCell<Escrow>,
}

impl Run {
    /// Connects, and looks at the catalog.
    ///
    /// # Errors
    /// When the server cannot be used, or nothing is configured.
    pub async fn open(context: &Context, args: &Args) -> Result<Self, Failure> {
        let config = context.config();
        if config.partitions.tables.is_empty() {
            let advice = "name tables in [partitions.tables] of the configuration; config/exo.toml is an example";
            return Err(Failure::bad_config(format!("find any table to roll: none is configured; {advice}")));
        }
        let (server, settings) = connect(context).await.map_err(preflight::failure)?;
        let patience = Patience { lock_timeout: config.partitions.lock_timeout.0, attempts: config.partitions.lock_attempts };
        let of_server = |error| preflight::failure(SetupError::Server(error));
        let mut tables = Tables::open(&server, &settings, patience).await.map_err(of_server)?;
        let catalog = tables.catalog().await.map_err(of_server)?;
        let selected = select(&catalog, &config.partitions, &args.selection());
        Ok(Run { server, settings, tables, catalog, selected, escrow: OnceCell::new() })
    }

    /// Takes the lock that lets one run at a time work on this database; held for as long as both parts live.
    ///
    /// # Errors
    /// When another run is at work, or the server cannot be asked.
    pub async fn lock(&self) -> Result<(AdvisoryLocks, LockGuard), Failure> {
        let locks = AdvisoryLocks::connect(&self.settings, self.server.timeout()).await;
        let locks = locks.map_err(|error| preflight::failure(SetupError::Server(error)))?;
        match locks.try_lock(Area::Partition, JOB).await {
            Ok(Some(guard)) => Ok((locks, guard)),
            Ok(None) => Err(Failure::left_to_other("roll partitions: another run is at work in this database")),
            Err(error) => Err(Failure::failed(error)),
        }
    }

    /// Looks at the catalog again, after something was changed.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn look_again(&mut self, context: &Context, args: &Args) -> Result<(), Failure> {
        self.catalog = self.tables.catalog().await.map_err(|error| preflight::failure(SetupError::Server(error)))?;
        self.selected = select(&self.catalog, &context.config().partitions, &args.selection());
        Ok(())
    }
}

/// The server, and how the tables' database is reached.
///
/// # Errors
/// When it does not answer, or refuses us.
pub async fn connect(context: &Context) -> Result<(Server, ConnectionSettings), SetupError> {
    let config = context.config();
    let settings = setup::connection(config, context.env(), JOB, None)?;
    let settings = match &config.partitions.database {
        Some(database) => settings.with_database(database),
        None => settings,
    };
    let server = setup::connect(config, &settings).await?;
    let settings = server.settings().clone();
    Ok((server, settings))
}
