//! What all items of a run share: the server, the programs, the store, the locks.

use plana_backup::{Dumper, Escrow, Items, SetupError, Target, lock::ServerLocks, preflight::try_store, setup};
use plana_config::StoreName;
use plana_harness::Context;
use plana_pg::{
    client::{Installed, Program},
    server::DatabaseInfo,
};
use plana_plan::dumps::Candidate;

use crate::Args;

/// What all items of a run share.
pub struct Run<'a> {
    pub items: Items<'a>,
    pub dumper: Dumper,
    pub pg_dumpall: Installed,
    /// The keys that databases need besides themselves.
    pub escrow: Escrow,
}

impl<'a> Run<'a> {
    /// Opens the server and a store, and finds the programs: everything without which no item could succeed.
    pub async fn open(context: &'a Context, args: &Args, store: StoreName) -> Result<Self, SetupError> {
        let config = context.config();
        // What is only read comes first: a run that cannot begin leaves no new directory either.
        let recipients = setup::recipients(&config.encryption)?;
        let dumper = Dumper::open(context).await?;
        let pg_dumpall = setup::find_client(config, context.env(), Program::PgDumpAll, &dumper.server).await?.client;
        let store = setup::open_named_store(config, context.env(), store, !context.dry_run()).await?;
        try_store(context, &store).await?;
        let locks = setup::locks(config, &dumper.server).await?;
        let target = Target::new(store, recipients, &config.upload, &config.dump, config.dump.jobs);
        let items = Items::new(context, &args.backup, target, Box::new(ServerLocks(locks)));
        Ok(Run { items, dumper, pg_dumpall, escrow: Escrow::default() })
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

/// A database as the plan sees it.
pub fn candidate(database: &DatabaseInfo) -> Candidate {
    Candidate {
        name: database.name.clone(),
        owner: database.owner.clone(),
        size_bytes: database.size_bytes,
        accepts_connections: database.allow_connections,
    }
}
