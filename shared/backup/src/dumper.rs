//! What dumps databases: the server, the program that fits it, and how it is run.

use plana_harness::Context;
use plana_pg::{
    client::{Installed, Program},
    dump::DumpOptions,
    server::Server,
};
use plana_plan::pgclient::Fit;

use crate::setup::{self, SetupError};

/// What dumps the databases of a server.
#[derive(Debug, Clone)]
pub struct Dumper {
    /// The server.
    pub server: Server,
    /// The chosen pg_dump.
    pub pg_dump: Installed,
    /// How it is run.
    pub options: DumpOptions,
}

impl Dumper {
    /// Connects to the server of the configuration, and finds a pg_dump that can read it.
    ///
    /// # Errors
    /// When the server does not let us in, or no program fits.
    pub async fn open(context: &Context) -> Result<Self, SetupError> {
        let config = context.config();
        let settings = setup::connection(config, context.env(), context.job(), None)?;
        let server = setup::connect(config, &settings).await?;
        let pg_dump = find_pg_dump(context, &server).await?;
        let options = DumpOptions {
            lock_wait_timeout: config.dump.lock_wait_timeout.0,
            nice: config.dump.nice,
            session: server.child_session(),
            ..DumpOptions::default()
        };
        Ok(Dumper { server, pg_dump, options })
    }
}

/// The pg_dump that fits the server; one of a newer major is used with a warning.
async fn find_pg_dump(context: &Context, server: &Server) -> Result<Installed, SetupError> {
    let chosen = setup::find_client(context.config(), context.env(), Program::PgDump, server).await?;
    if chosen.fit == Fit::Newer {
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
