//! `restore-tenant`: a database and its files, and whether they belong together.

mod attachments;

use std::{path::PathBuf, time::Instant};

use futures::TryStreamExt as _;
use plana_drill::{Refusal, Source, failure};
use plana_harness::{Context, Failure, ItemReport, Outcome};
use plana_plan::{
    Area, SetKey, Stamp,
    inventory::Inventory,
    name::printable,
    tenant::{FilesFor, KnownFiles, files_for},
};
use plana_restore::{FileStoreRestore, OpenSet, ReadMeter, RestoreError, StagedFiles, filestore_facts, open_set, stage_filestore};
use plana_storage::listing;

use attachments::Found;

use crate::{
    args::TenantArgs,
    filestore::{owner, planned, report},
    keys,
    restore::{attempt, could_begin, found, settle, target},
};

/// Restores a tenant's database and files. The server is asked whether it could take the database, the files are unpacked and
/// proven, the database follows, and both take their places when both are there.
///
/// # Errors
/// Whatever kept it from being begun; later failures are items of the report.
pub async fn restore_tenant(context: Context, args: TenantArgs, identity: Option<PathBuf>) -> Result<(), Failure> {
    if !args.database.table.is_empty() {
        return Err(failure(RestoreError::Refused("restore one table of a tenant: use `restore --table`".to_owned()).into()));
    }
    let source = Source::open(&context, identity).await?;
    let database = &args.database;
    let dump = found(&context, &source, database.area, &database.what, database.at).await.map_err(failure)?;
    let files = files_of(&context, &source, &args, &dump).await.map_err(failure)?;
    tracing::info!(dump = %dump.key, files = %files.key, "restoring a tenant");
    Tenant { context: &context, source: &source, args: &args, dump: &dump, files: &files }.run().await
}

/// The file store that belongs to the dump.
async fn files_of(context: &Context, source: &Source, args: &TenantArgs, dump: &OpenSet) -> Result<OpenSet, Refusal> {
    let area = if dump.key.area == Area::InsurancePg { Area::InsuranceFilestore } else { Area::Filestore };
    let name = args.files_of.as_deref().unwrap_or(&dump.manifest.name);
    if let Ok(key) = name.parse::<SetKey>() {
        return Ok(open_set(&source.store, &key).await?);
    }
    let prefix = SetKey::group_prefix(area, name);
    let stores = Inventory::read(listing::objects(&*source.store, &prefix).try_collect::<Vec<_>>().await?);
    let refused = |what: String| {
        let name = printable(name);
        RestoreError::Refused(format!("restore the files of {area}/{name} for the dump of {}: {what}", dump.key.stamp))
    };
    let key = match files_for(dump.key.stamp, &stores, context.now()) {
        FilesFor::After(key) => key,
        FilesFor::OnlyBefore(key) if args.older_files => {
            context.report().warn(format!(
                "the files are of {}, before the dump of {}: those of rows that were written in between are missing",
                key.stamp, dump.key.stamp
            ));
            key
        }
        FilesFor::OnlyBefore(key) => {
            return Err(refused(format!(
                "none were taken after it, and files of rows that were written after the nearest before it, {key}, would be missing; \
                 give --older-files to go on with that one, or an earlier --at"
            ))
            .into());
        }
        FilesFor::Nothing => {
            return Err(refused(
                "there is no set of them; look at `list --area filestore`, name another with --files-of, or use `restore` for the database \
                 alone"
                    .to_owned(),
            )
            .into());
        }
    };
    Ok(open_set(&source.store, &key).await?)
}

struct Tenant<'a> {
    context: &'a Context,
    source: &'a Source,
    args: &'a TenantArgs,
    dump: &'a OpenSet,
    files: &'a OpenSet,
}

impl Tenant<'_> {
    async fn run(&self) -> Result<(), Failure> {
        let began = Instant::now();
        if self.context.dry_run() {
            let database = attempt(self.context, self.source, &self.args.database, self.dump).await.map_err(failure)?;
            self.say(database, self.dump, began);
            let files = planned(self.files, &self.args.files).map_err(Refusal::from).map_err(failure)?;
            self.say(files, self.files, began);
            return Ok(());
        }
        // The files may take an hour: what would keep the database from being restored is said before.
        for set in [self.dump, self.files] {
            if let Err(error) = keys::require(self.context, &self.args.database.keys, set).await {
                return settle(self.context, set, began, Err(error));
            }
        }
        if let Err(error) = could_begin(self.context, self.source, &self.args.database, self.dump).await {
            return settle(self.context, self.dump, began, Err(error));
        }
        let staged = match self.stage().await {
            Ok(staged) => staged,
            Err(error) => return settle(self.context, self.files, began, Err(error.into())),
        };
        let began_database = Instant::now();
        match attempt(self.context, self.source, &self.args.database, self.dump).await {
            Ok(report) => self.say(report, self.dump, began_database),
            // The files are removed again with `staged`.
            Err(error) => return settle(self.context, self.dump, began_database, Err(error)),
        }
        match self.place(staged).await {
            Ok(report) => self.say(report, self.files, began),
            Err(error) => {
                let error = format!("{error}; the database is in its place, and its files are not: use restore-filestore");
                self.say(ItemReport::failed(self.files.key.area, &self.files.manifest.name, error), self.files, began);
            }
        }
        Ok(())
    }

    async fn stage(&self) -> Result<StagedFiles, RestoreError> {
        let meter = ReadMeter::default();
        let payload = &self.files.manifest.payload;
        let _bar = self.context.progress().watch(&self.files.manifest.name, Some(payload.stored_bytes), meter.stored_bytes.clone());
        let reading = self.source.reading(self.context, self.files, &meter);
        let to = &self.args.files.to;
        stage_filestore(&FileStoreRestore { reading, to, replace: self.args.database.replace, owner: owner(&self.args.files) }).await
    }

    /// Puts the files in their place and looks for the file of every attachment.
    async fn place(&self, staged: StagedFiles) -> Result<ItemReport, RestoreError> {
        let (proof, warnings) = (staged.proof.clone(), staged.warnings.clone());
        let placed = staged.place(self.files, Stamp::new(chrono::Utc::now())).await?;
        let known = KnownFiles::new(filestore_facts(self.files)?, proof.unproven.iter().map(|file| file.name));
        let database = target(&self.args.database, self.dump);
        let (found, error) = match attachments::look(self.context, self.args, &database, known).await {
            Ok(found) => (found, None),
            Err(error) => {
                (Found::default(), Some(format!("look for the file of every attachment: failed to {error}; all is in its place")))
            }
        };
        let mut report = report(self.files, &self.args.files, Outcome::Done)
            .field("files", proof.files)
            .field("proven", proof.proven)
            .field("attachments", found.rows)
            .field("missing", found.missing)
            .field("damaged", found.damaged)
            .field("old one kept as", placed.kept_as.map(|kept| kept.display().to_string()));
        report.error = error.or_else(|| found.loss());
        if report.error.is_some() {
            report.outcome = Outcome::Failed;
        }
        let warnings = self.files.warnings.iter().cloned().chain(warnings).chain(found.listed);
        Ok(warnings.fold(report, ItemReport::warning))
    }

    fn say(&self, report: ItemReport, set: &OpenSet, began: Instant) {
        self.context.report().item(report.key(set.key.to_string()).took(began.elapsed()));
    }
}
