//! Where drills restore: on a scratch server that is named, else on a throwaway cluster of their own.

use std::sync::atomic::{AtomicU64, Ordering};

use plana_backup::setup;
use plana_harness::{Context, Failure, human};
use plana_pg::{
    client::{self, Installed, Program},
    dsn::ConnectionSettings,
    locks::AdvisoryLocks,
    scratch::Admin,
    server::Server,
    throwaway::{self, Throwaway, ThrowawayOptions},
};
use plana_plan::{
    manifest::DatabaseFacts,
    name::printable,
    pgclient::{PgVersion, choose_client},
};
use plana_restore::{RestoreError, free_bytes, sweep_scratch};

use crate::error::{Refusal, failure};

/// What is known of the place before anything is begun.
pub enum Means {
    /// A server that is named.
    Server(ConnectionSettings),
    /// The server programs that are installed here.
    Own(Vec<Installed>),
}

impl Means {
    /// Chooses: a scratch server where one is named (without a password, by a command line), else a cluster of our own.
    ///
    /// # Errors
    /// When there is neither.
    pub async fn find(context: &Context, shown_dsn: Option<&str>) -> Result<Self, Failure> {
        let (config, env) = (context.config(), context.env());
        let dsn = match shown_dsn {
            Some(dsn) => Some(setup::shown_dsn(dsn).map_err(Refusal::from).map_err(failure)?),
            None => config.scratch_dsn(env)?,
        };
        if let Some(dsn) = dsn {
            return setup::connection(config, env, context.job(), Some(&dsn)).map(Means::Server).map_err(Refusal::from).map_err(failure);
        }
        let servers = servers(context).await;
        if servers.is_empty() {
            return Err(Failure::bad_config(
                "find a server to restore on: install PostgreSQL's server programs on this host (postgresql-N, of the dumps' major version or \
                 a newer one), and drills make a throwaway cluster of their own; or name another server than the one that is backed up, in \
                 restore.scratch_dsn or --scratch-dsn",
            ));
        }
        Ok(Means::Own(servers))
    }
}

/// The installed servers that can make a cluster.
pub async fn servers(context: &Context) -> Vec<Installed> {
    let found = client::find(Program::Postgres, &context.config().postgres.bin_dirs, context.env().get("PATH")).await;
    found.into_iter().filter(|server| server.path.with_file_name("initdb").exists()).collect()
}

/// A server on which drills restore.
pub struct Place {
    /// Our rights on it.
    pub admin: Admin,
    /// Locks that show others what is in use.
    pub locks: AdvisoryLocks,
    /// The program that fits it.
    pub pg_restore: Installed,
    own: Option<Own>,
}

struct Own {
    cluster: Throwaway,
    superuser: Admin,
    /// Bytes that drills at work may still need.
    promised: AtomicU64,
}

impl Place {
    /// Connects, or makes the cluster: of the dumps' newest major version, where it can be had. A superuser restores only where
    /// that is meant.
    ///
    /// # Errors
    /// When the server cannot be used.
    pub async fn open(context: &Context, means: Means, as_superuser: bool, newest: Option<PgVersion>) -> Result<Self, Refusal> {
        let config = context.config();
        let (server, own) = match means {
            Means::Server(settings) => (setup::connect(config, &settings).await?, None),
            Means::Own(servers) => {
                let own = make(context, &servers, newest).await?;
                (Server::connect(own.cluster.settings(), config.postgres.connect_timeout.0).await.map_err(RestoreError::from)?, Some(own))
            }
        };
        refuse_superuser(&server, as_superuser)?;
        let pg_restore = setup::find_client(config, context.env(), Program::PgRestore, &server).await?.client;
        let locks = setup::locks(config, &server).await?;
        let admin = Admin::new(server);
        if own.is_none() {
            sweep(context, &admin, &locks).await?;
        }
        Ok(Place { admin, locks, pg_restore, own })
    }

    /// The superuser of our own cluster.
    pub fn superuser(&self) -> Option<&Admin> {
        self.own.as_ref().map(|own| &own.superuser)
    }

    /// Whether a database has room on our own cluster, beside what is at work; the room is its own until it is dropped.
    ///
    /// # Errors
    /// When it has not.
    pub fn room(&self, facts: Option<&DatabaseFacts>, content_bytes: u64) -> Result<Option<Room<'_>>, RestoreError> {
        let Some(own) = &self.own else { return Ok(None) };
        // As large as it was on its server, where that is known, and some for the log of what is written.
        let bytes = facts.map_or(0, |facts| facts.size_bytes).max(content_bytes);
        let needed = bytes + bytes / 10 + (256 << 20);
        let directory = own.cluster.directory();
        let room = Room { promised: &own.promised, needed };
        let promised = own.promised.fetch_add(needed, Ordering::Relaxed);
        match free_bytes(directory) {
            Some(free) if free < promised.saturating_add(needed) => Err(RestoreError::Refused(format!(
                "restore on a throwaway cluster: it needs about {}, and {} are free for it at {}; name a larger place in restore.scratch_dir",
                human::bytes(needed),
                human::bytes(free.saturating_sub(promised)),
                directory.display()
            ))),
            _ => Ok(Some(room)),
        }
    }

    /// Ends and removes our own cluster.
    pub async fn close(self, context: &Context) {
        let Some(own) = self.own else { return };
        if let Err(error) = own.cluster.stop().await {
            context.report().warn(format!("the throwaway cluster was not removed: failed to {error}; the next drill removes it"));
        }
    }
}

/// Room that a drill may need.
pub struct Room<'a> {
    promised: &'a AtomicU64,
    needed: u64,
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.promised.fetch_sub(self.needed, Ordering::Relaxed);
    }
}

async fn make(context: &Context, servers: &[Installed], newest: Option<PgVersion>) -> Result<Own, Refusal> {
    let restore = &context.config().restore;
    let parent = restore.scratch_dir.clone();
    let swept = tokio::task::spawn_blocking(move || throwaway::sweep(&parent)).await.unwrap_or_default();
    for path in swept {
        context.report().warn(format!("{}: a throwaway cluster that a killed drill left was removed", path.display()));
    }
    let versions: Vec<PgVersion> = servers.iter().map(|server| server.version).collect();
    let fits = newest.and_then(|newest| choose_client(newest, &versions)).and_then(|(index, _)| servers.get(index));
    // Older than some dump: that one fails by itself, and says why.
    let postgres = fits
        .or_else(|| servers.iter().max_by_key(|server| server.version))
        .ok_or_else(|| RestoreError::Internal("no server program is installed any more".to_owned()))?;
    let options = ThrowawayOptions { postgres, parent: &restore.scratch_dir, user: &restore.scratch_user };
    let cluster = Throwaway::start(options).await?;
    tracing::info!(directory = %cluster.directory().display(), "PostgreSQL {} restores on a throwaway cluster", postgres.version);
    let superuser = Admin::new(cluster.superuser().clone());
    Ok(Own { cluster, superuser, promised: AtomicU64::new(0) })
}

/// Drops what killed runs have left on the server, and says so.
///
/// # Errors
/// When the server does not answer.
pub async fn sweep(context: &Context, admin: &Admin, locks: &AdvisoryLocks) -> Result<(), RestoreError> {
    for name in sweep_scratch(admin, locks, &context.config().dump.scratch_prefix, context.now()).await? {
        context.report().warn(format!("the scratch database `{}`, which a killed run left, was dropped", printable(&name)));
    }
    Ok(())
}

/// A dump holds functions, and some of them run while it is restored.
///
/// # Errors
/// When the role is a superuser and that is not meant.
pub fn refuse_superuser(server: &Server, meant: bool) -> Result<(), RestoreError> {
    let facts = server.facts();
    if !facts.is_superuser || meant {
        return Ok(());
    }
    Err(RestoreError::Refused(format!(
        "restore as role `{}`: it is a superuser, and functions of the dump that run while it is restored would be one too; use a role with \
         LOGIN and CREATEDB that is a member of the owners' roles, or give --as-superuser for a dump that you trust",
        printable(&facts.role)
    )))
}
