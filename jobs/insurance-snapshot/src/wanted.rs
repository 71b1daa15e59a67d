//! What is to be insured, found on the server and among the file stores before anything begins.

use std::collections::BTreeMap;

use plana_backup::{
    Escrow, preflight,
    sources::{self, Found, Memory, Source},
    tiers,
};
use plana_harness::{Context, Failure};
use plana_pg::server::DatabaseInfo;
use plana_plan::{
    Area,
    classify::{Classified, Tiers, decide},
    name::printable,
};

use crate::{Args, run::Run, snapshot::listed_sets};

/// A name and its halves; at least one is there.
pub struct Wanted {
    pub name: String,
    pub classified: Classified,
    pub database: Option<DatabaseInfo>,
    pub files: Option<Found>,
}

impl Wanted {
    /// The keys that any of it needs, which are in escrow then as far as they can be.
    pub async fn keys(context: &Context, all: &[Self]) -> Result<Escrow, Failure> {
        let databases: Vec<&str> =
            all.iter().filter_map(|wanted| wanted.database.as_ref().map(|database| database.name.as_str())).collect();
        let stores: Vec<&str> = all.iter().filter(|wanted| wanted.files.is_some()).map(|wanted| wanted.name.as_str()).collect();
        Escrow::prepare(context, &databases, &stores).await.map_err(preflight::failure)
    }

    /// Finds everything that was asked for, tenants first. What cannot be found is no insurance: nothing begins then.
    pub async fn find(run: &Run<'_>, args: &Args) -> Result<Vec<Self>, Failure> {
        let databases = match &run.dumper {
            Some(dumper) => dumper.server.databases().await.map_err(|error| preflight::failure(error.into()))?,
            None => Vec::new(),
        };
        let stores = if args.tenant.is_empty() && args.filestore.is_empty() { BTreeMap::new() } else { stores(run, args).await? };
        let tiers = tiers::find(run.items.context, run.server().map(|server| server.settings())).await;
        let asked = args.tenant.iter().map(|name| (name, true, true));
        let asked = asked.chain(args.database.iter().map(|name| (name, true, false)));
        let asked = asked.chain(args.filestore.iter().map(|name| (name, false, true)));
        let mut all: Vec<Wanted> = Vec::new();
        for (name, wants_database, wants_files) in asked {
            if all.iter().any(|wanted| wanted.name == *name) {
                return Err(Failure::usage(format!("insure {} twice: name it once", printable(name))));
            }
            let database = if wants_database { Some(database(&databases, name)?) } else { None };
            let files = if wants_files { files(&stores, name, args.no_filestore && wants_database)? } else { None };
            let classified = classified(run, name, database.as_ref(), &tiers);
            all.push(Wanted { name: name.clone(), classified, database, files });
        }
        Ok(all)
    }
}

/// Refuses a dump under a stamp that files were taken under already: they may lack what was added in between, and nothing would
/// show it.
pub async fn require_order(run: &Run<'_>, args: &Args, wanted: &[Wanted]) -> Result<(), Failure> {
    let Some(stamp) = args.stamp else { return Ok(()) };
    for wanted in wanted.iter().filter(|wanted| wanted.database.is_some()) {
        let files = listed_sets(run, Area::InsuranceFilestore, &wanted.name).await.map_err(Failure::failed)?;
        if files.sets.keys().any(|key| key.stamp == stamp) {
            return Err(Failure::refused(format!(
                "dump {} under the stamp {stamp}: its files were taken under it before, and the database goes first; leave --stamp out, and \
                 take the files again under the new one",
                printable(&wanted.name)
            )));
        }
    }
    Ok(())
}

async fn stores(run: &Run<'_>, args: &Args) -> Result<BTreeMap<String, Vec<Found>>, Failure> {
    let context = run.items.context;
    let sources = match Source::all(context, &args.root, &[]) {
        Ok(sources) => sources,
        // Nothing is configured, and nothing is asked for that would need it.
        Err(_) if args.no_filestore && args.filestore.is_empty() => return Ok(BTreeMap::new()),
        Err(failure) => return Err(failure),
    };
    let discovered = sources::discover(context, sources, &Memory::read(context.state()), false).await;
    // Where a source cannot be looked at, a name that is not found may be there.
    discovered.failure.map_or(Ok(discovered.stores), Err)
}

fn database(databases: &[DatabaseInfo], name: &str) -> Result<DatabaseInfo, Failure> {
    databases.iter().find(|database| database.name == name).cloned().ok_or_else(|| {
        Failure::refused(format!(
            "insure the database {}: the server has none of that name; an operation on it would be one on something else: look at the name",
            printable(name)
        ))
    })
}

fn files(stores: &BTreeMap<String, Vec<Found>>, name: &str, may_lack: bool) -> Result<Option<Found>, Failure> {
    match stores.get(name).map_or(&[][..], Vec::as_slice) {
        [found] => Ok(Some(found.clone())),
        [] if may_lack => Ok(None),
        [] => Err(Failure::refused(format!(
            "insure the file store of {}: no source has a directory of that name; look at the name, at the mount and at filestore.sources, \
             or give --no-filestore where the tenant has none",
            printable(name)
        ))),
        several => {
            let places: Vec<String> = several.iter().map(|found| found.place.path().display().to_string()).collect();
            Err(Failure::refused(format!(
                "tell which file store is that of {}: there are {}; remove one, or tell the sources apart by `suffix`",
                printable(name),
                places.join(" and ")
            )))
        }
    }
}

fn classified(run: &Run<'_>, name: &str, database: Option<&DatabaseInfo>, tiers: &Tiers) -> Classified {
    let config = run.items.context.config();
    let owner = database.map_or("", |database| database.owner.as_str());
    decide(name, owner, &config.classification_rules(), tiers, &config.retention.labels())
}
