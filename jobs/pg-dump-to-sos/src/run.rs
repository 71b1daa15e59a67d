//! What all items of a run share: the server, the programs, the store, the locks.

use plana_backup::{Items, SetupError, Target, lock::ServerLocks, preflight::try_store, setup};
use plana_harness::Context;
use plana_pg::{
    client::{Installed, Program},
    dump::DumpOptions,
    server::{DatabaseInfo, Server},
};
use plana_plan::{dumps::Candidate, pgclient::Fit};

use crate::{Args, JOB};

/// What all items of a run share.
pub struct Run<'a> {
    pub items: Items<'a>,
    pub server: Server,
    pub pg_dump: Installed,
    pub pg_dumpall: Installed,
    pub options: DumpOptions,
}

impl<'a> Run<'a> {
    /// Opens the server and the store, and finds the programs: everything without which no item could succeed.
    pub async fn open(context: &'a Context, args: &Args) -> Result<Self, SetupError> {
        let config = context.config();
        // What is only read comes first: a run that cannot begin leaves no new directory either.
        let recipients = setup::recipients(&config.encryption)?;
        let settings = setup::connection(config, context.env(), JOB, None)?;
        let store = setup::open_store(config, context.env(), !context.dry_run()).await?;
        let server = setup::connect(config, &settings).await?;
        let pg_dump = find_client(context, Program::PgDump, &server).await?;
        let pg_dumpall = find_client(context, Program::PgDumpAll, &server).await?;
        try_store(context, &store).await?;
        let locks = setup::locks(config, &server).await?;
        let options = DumpOptions {
            lock_wait_timeout: config.dump.lock_wait_timeout.0,
            nice: config.dump.nice,
            session: server.child_session(),
            ..DumpOptions::default()
        };
        let target = Target::new(store, recipients, &config.upload, &config.dump, config.dump.jobs);
        let items = Items::new(context, &args.backup, target, Box::new(ServerLocks(locks)));
        Ok(Run { items, server, pg_dump, pg_dumpall, options })
    }

    /// The same run, its threads shared out for the number of items that there really are.
    pub fn for_items(mut self, items: usize) -> Self {
        let config = self.items.context.config();
        let at_once = u32::try_from(items).unwrap_or(u32::MAX).clamp(1, config.dump.jobs);
        let (store, recipients) = (self.items.target.store.clone(), self.items.target.recipients.clone());
        self.items.target = Target::new(store, recipients, &config.upload, &config.dump, at_once);
        self
    }
}

/// The program that fits the server; one of a newer major is used with a warning.
async fn find_client(context: &Context, program: Program, server: &Server) -> Result<Installed, SetupError> {
    let chosen = setup::find_client(context.config(), context.env(), program, server).await?;
    if chosen.fit == Fit::Newer && program == Program::PgDump {
        context.report().warn(format!(
            "the server is PostgreSQL {} and the oldest pg_dump that can read it is {}: its dumps may not restore into the server's own \
             version; install postgresql-client-{}",
            server.facts().version,
            chosen.client.version,
            server.facts().version.major
        ));
    }
    Ok(chosen.client)
}

/// A database as the plan sees it.
pub fn candidate(database: &DatabaseInfo) -> Candidate {
    Candidate {
        name: database.name.clone(),
        owner: database.owner.clone(),
        size_bytes: database.size_bytes,
        accepts_connections: database.allow_connections,
    }
}
