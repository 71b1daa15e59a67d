//! What all items of a run share: the store, the locks, and the server where there is one.

use plana_archive::Compression;
use plana_backup::{
    Escrow, ItemLocks, Items, SetupError, Target,
    filestore::{self, tarball_compression},
    lock::ServerLocks,
    preflight::try_store,
    setup,
    sources::Memory,
};
use plana_harness::Context;
use plana_pg::server::Server;

use crate::{Args, JOB};

/// What all items of a run share.
pub struct Run<'a> {
    pub items: Items<'a>,
    /// The server that holds the tenants' databases, where one is configured and answers.
    pub server: Option<Server>,
    pub compression: Compression,
    pub memory: Memory,
    /// The keys that file stores need besides themselves.
    pub escrow: Escrow,
}

impl<'a> Run<'a> {
    /// Opens the store and the locks, without which no item could succeed, and the server, without which they can.
    pub async fn open(context: &'a Context, args: &Args) -> Result<Self, SetupError> {
        let config = context.config();
        filestore::raise_open_files();
        let recipients = setup::recipients(&config.encryption)?;
        let store = setup::open_store(config, context.env(), !context.dry_run()).await?;
        try_store(context, &store).await?;
        let server = match server(context).await {
            Ok(server) => server,
            Err(error) => {
                context.report().warn(format!(
                    "failed to {error}; file stores are taken all the same, without comparing them with what databases name, and under \
                     locks of this host alone"
                ));
                None
            }
        };
        let locks: Box<dyn ItemLocks> = match &server {
            Some(server) => Box::new(ServerLocks(setup::locks(config, server).await?)),
            None => Box::new(setup::file_locks(context.state().dir(), context.dry_run())?),
        };
        let mut target = Target::new(store, recipients, &config.upload, &config.dump, config.filestore.jobs);
        target.patience = filestore::patience(config);
        let items = Items::new(context, &args.backup, target, locks);
        let compression = tarball_compression(config, config.filestore.jobs);
        Ok(Run { items, server, compression, memory: Memory::read(context.state()), escrow: Escrow::default() })
    }

    /// The same run, its threads shared out for the number of items that there really are.
    pub fn for_items(mut self, items: usize) -> Self {
        let config = self.items.context.config();
        let at_once = u32::try_from(items).unwrap_or(u32::MAX).clamp(1, config.filestore.jobs);
        self.compression = tarball_compression(config, at_once);
        self
    }
}

/// The server, where one is configured.
pub async fn server(context: &Context) -> Result<Option<Server>, SetupError> {
    let config = context.config();
    if !setup::has_server(config, context.env())? {
        return Ok(None);
    }
    setup::connect(config, &setup::connection(config, context.env(), JOB, None)?).await.map(Some)
}
