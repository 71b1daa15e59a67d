//! What all snapshots of a run share: the server, the store, the locks, the stamp.

use plana_archive::Compression;
use plana_backup::{
    Dumper, Escrow, ItemLocks, Items, Target,
    filestore::{self, tarball_compression},
    lock::ServerLocks,
    preflight::{self, try_store},
    setup,
};
use plana_harness::{BackupArgs, Context, Failure};
use plana_pg::server::Server;
use plana_plan::{SetLabel, Stamp};

use crate::{Args, JOB};

/// What all snapshots of a run share.
pub struct Run<'a> {
    pub items: Items<'a>,
    /// The same target, with the patience for file stores.
    pub files: Target,
    pub compression: Compression,
    pub dumper: Option<Dumper>,
    /// The server, where no database is dumped and one is configured all the same.
    other_server: Option<Server>,
    pub stamp: Stamp,
    pub label: SetLabel,
    /// The keys that what is insured needs besides itself.
    pub escrow: Escrow,
}

impl<'a> Run<'a> {
    /// Opens everything without which no snapshot could succeed.
    pub async fn open(context: &'a Context, args: &Args, stamp: Stamp, label: SetLabel) -> Result<Self, Failure> {
        let config = context.config();
        filestore::raise_open_files();
        let recipients = setup::recipients(&config.encryption).map_err(preflight::failure)?;
        let wants_database = !args.tenant.is_empty() || !args.database.is_empty();
        let dumper = if wants_database { Some(Dumper::open(context).await.map_err(preflight::failure)?) } else { None };
        let other_server = if wants_database { None } else { server(context).await? };
        let store = setup::open_store(config, context.env(), !context.dry_run()).await.map_err(preflight::failure)?;
        try_store(context, &store).await.map_err(preflight::failure)?;
        let locks: Box<dyn ItemLocks> = match dumper.as_ref().map(|dumper| &dumper.server).or(other_server.as_ref()) {
            Some(server) => Box::new(ServerLocks(setup::locks(config, server).await.map_err(preflight::failure)?)),
            None => Box::new(setup::file_locks(context.state().dir(), context.dry_run()).map_err(preflight::failure)?),
        };
        let target = Target::new(store, recipients, &config.upload, &config.dump, 1);
        let files = Target { patience: filestore::patience(config), ..target.clone() };
        let items = Items::new(context, &BackupArgs::default(), target, locks);
        Ok(Run { items, files, compression: tarball_compression(config, 1), dumper, other_server, stamp, label, escrow: Escrow::default() })
    }

    /// The server, where there is one.
    pub fn server(&self) -> Option<&Server> {
        self.dumper.as_ref().map(|dumper| &dumper.server).or(self.other_server.as_ref())
    }
}

async fn server(context: &Context) -> Result<Option<Server>, Failure> {
    let config = context.config();
    if !setup::has_server(config, context.env()).map_err(preflight::failure)? {
        return Ok(None);
    }
    let settings = setup::connection(config, context.env(), JOB, None).map_err(preflight::failure)?;
    setup::connect(config, &settings).await.map(Some).map_err(preflight::failure)
}
