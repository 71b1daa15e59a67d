//! What the command line says.

use std::{path::PathBuf, str::FromStr};

use clap::{Args as ClapArgs, Parser, Subcommand};
use plana_config::Override;
use plana_harness::{CommonArgs, VERSION, help_footer};
use plana_plan::{Area, SetKey, escrow::Sought, moment::Moment, seed::SeedName, select::NamePattern};

/// The job's name.
pub const JOB: &str = "restore-from-sos";

const EXAMPLES: &str = "
  restore-from-sos list                               what there is, newest first
  restore-from-sos list 'acme.*' --long               with rows, and how each was verified
  restore-from-sos check                              could a restore begin? changes nothing
  restore-from-sos check --latest '*'                 is the newest set of each name whole?
  restore-from-sos restore acme.planapulse.app --into acme_copy
                                                      beside what is there
  restore-from-sos restore acme.planapulse.app --at '2026-11-22 18:00' --replace
                                                      in its place; the old one is kept under another name
  restore-from-sos restore-filestore acme.planapulse.app --to /srv/files/acme --uid 101 --gid 101
                                                      files, owned by the application's user
  restore-from-sos restore-tenant acme.planapulse.app --into acme_check --to /srv/files/acme_check
                                                      database and files, compared
  restore-from-sos seed restore basic-template-18.planapulse.app@3f9c --into new_tenant
                                                      a template's content, by the beginning of its SHA
  restore-from-sos drill --area filestore             every newest file store, file by file
  restore-from-sos drill --sample 5                   prove five more, those whose proof is the oldest
  restore-from-sos escrow recover EXO_ENCRYPTION_KEY --identity offline.key --to exo.key
                                                      a key that backups need, out of escrow
  restore-from-sos fetch pg/acme.planapulse.app/20261123T031500Z.pro.1a2b3c4d --to /srv/rescue
                                                      the files, for pg_restore by hand";

/// List, check, fetch and restore backups
///
/// A set counts when its payload and its manifest are both listed. Its bytes are believed when they have the hashes that the
/// manifest names, a restored database when its rows were counted again. A restore goes into a fresh database under a
/// temporary name, which no application finds, and takes its name at the very end.
#[derive(Debug, Clone, Parser)]
#[command(name = JOB, version = VERSION, after_help = help_footer(EXAMPLES), subcommand_required = true, arg_required_else_help = true)]
pub struct Args {
    /// What all jobs take.
    #[command(flatten)]
    pub common: CommonArgs,

    /// Where backups are: s3://bucket/prefix or file:///directory
    #[arg(long, value_name = "URL", global = true, help_heading = "The store")]
    pub store: Option<String>,

    /// The file with the age private key, where payloads are encrypted
    #[arg(long, value_name = "FILE", global = true, help_heading = "The store")]
    pub identity: Option<PathBuf>,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// List sets, newest first
    List(ListArgs),
    /// Show what a set's manifest says
    Show {
        /// The set: area/name/stamp.label.id
        #[arg(value_name = "SET")]
        set: SetKey,
    },
    /// Read sets back to their ends and compare everything with their manifests; nothing touches the disk. Without sets: test
    /// configuration, store, rights, clock, server and role, and where drills would restore
    Check(CheckArgs),
    /// Copy a set's files into a directory, verified as they are written; goes on where an earlier attempt was cut
    Fetch {
        /// The set: area/name/stamp.label.id
        #[arg(value_name = "SET")]
        set: SetKey,
        /// The directory
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Restore a database
    Restore(RestoreArgs),
    /// Restore a file store: unpacked beside its target, every file proven, and only then in its place
    RestoreFilestore(FilestoreArgs),
    /// Restore a database and the first file store taken after it, and look for the file of every attachment
    RestoreTenant(TenantArgs),
    /// Bring an archived partition back: restored beside its parent, proven, and only then attached
    RestorePartition(PartitionArgs),
    /// Make the roles and tablespaces of a backup that the server does not have, as a superuser; changes none that is there
    RestoreGlobals(GlobalsArgs),
    /// Template seeds, in store.templates: list, check, fetch and restore them
    #[command(subcommand)]
    Seed(SeedCommand),
    /// Prove that backups restore: into scratch databases that are compared and dropped, or file stores read to their ends; the
    /// least recently proven first
    Drill(DrillArgs),
    /// Keys in escrow: without them what some backups hold is unreadable
    Escrow(EscrowArgs),
}

/// Where keys are, and what is done with them.
#[derive(Debug, Clone, ClapArgs)]
pub struct EscrowArgs {
    /// Where keys are: s3://bucket/prefix or file:///directory [default: store.escrow.url]
    #[arg(long, value_name = "URL", global = true)]
    pub escrow_store: Option<String>,
    /// What is done.
    #[command(subcommand)]
    pub command: EscrowCommand,
}

/// What is done with keys in escrow.
#[derive(Debug, Clone, Subcommand)]
pub enum EscrowCommand {
    /// List the keys that are there, by name and fingerprint; reads none
    List {
        /// Only this name, or what this glob means
        #[arg(value_name = "NAME-OR-GLOB")]
        name: Option<NamePattern>,
    },
    /// Write a key out again, opened by --identity and compared with its fingerprint
    Recover {
        /// The key's name; where there are several, with @ and the beginning of the fingerprint that a manifest names
        #[arg(value_name = "NAME[@FINGERPRINT]")]
        what: Sought,
        /// The file, which must not be there yet, and which only you will be able to read
        #[arg(long, value_name = "FILE", required_unless_present = "stdout")]
        to: Option<PathBuf>,
        /// Write it to stdout, where a terminal or a log may keep it
        #[arg(long, conflicts_with = "to")]
        stdout: bool,
    },
}

/// What to do with template seeds. `--store` means their store.
#[derive(Debug, Clone, Subcommand)]
pub enum SeedCommand {
    /// List the contents that each template has had, newest first
    List {
        /// Only this template, or what this glob means
        #[arg(value_name = "NAME-OR-GLOB")]
        name: Option<NamePattern>,
    },
    /// Read seeds back to their ends: hashes, rows, and whether the content is the one that the SHA names
    Check {
        /// The templates, each with its SHA or the beginning of it [default SHA: the newest]
        #[arg(value_name = "TEMPLATE[@SHA]", required = true)]
        seeds: Vec<SeedName>,
    },
    /// Copy a seed's files into a directory, verified as they are written
    Fetch {
        /// The template, with its SHA or the beginning of it [default SHA: the newest]
        #[arg(value_name = "TEMPLATE[@SHA]")]
        seed: SeedName,
        /// The directory
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Restore a seed into a database
    Restore(SeedRestoreArgs),
}

/// Which seed is restored, and whereto.
#[derive(Debug, Clone, ClapArgs)]
#[command(
    mut_arg("what", |arg| arg.value_name("TEMPLATE[@SHA]").help("The template, with its SHA or the beginning of it [default SHA: the newest]")),
    mut_arg("into", |arg| arg.required(true).help("The new database's name")),
    mut_arg("at", |arg| arg.help("Without a SHA: the newest at this time, such as '2026-11-23 03:15' (UTC) [default: now]")),
    mut_arg("area", |arg| arg.hide(true)),
    mut_arg("table", |arg| arg.hide(true))
)]
pub struct SeedRestoreArgs {
    /// The database.
    #[command(flatten)]
    pub database: RestoreArgs,
}

/// What is proven, and where.
#[derive(Debug, Clone, ClapArgs)]
pub struct DrillArgs {
    /// At most so many names
    #[arg(long, value_name = "N")]
    pub sample: Option<usize>,
    /// What is proven: pg, restored and counted; or filestore and insurance-filestore, read to their ends, every file
    /// compared with its name, and nothing written
    #[arg(long, value_name = "AREA", default_value_t = Area::Pg)]
    pub area: Area,
    /// Only this name, or what this glob means
    #[arg(long, value_name = "NAME-OR-GLOB")]
    pub only: Option<NamePattern>,
    /// The server to restore on, without a password: not the one that is backed up [default: restore.scratch_dsn]
    #[arg(long, value_name = "DSN")]
    pub scratch_dsn: Option<String>,
    /// How many at the same time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub jobs: u32,
    /// Restore as a superuser all the same: the dumps' own functions then run as one
    #[arg(long)]
    pub as_superuser: bool,
}

/// One area, or by `insurance` both of the insurance.
#[derive(Debug, Clone)]
pub struct Areas(pub Vec<Area>);

impl FromStr for Areas {
    type Err = <Area as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "insurance" => Ok(Areas(Area::ALL.into_iter().filter(|area| area.is_insurance()).collect())),
            area => Ok(Areas(vec![area.parse()?])),
        }
    }
}

/// Which sets are listed.
#[derive(Debug, Clone, ClapArgs)]
pub struct ListArgs {
    /// Only this name, or what this glob means
    #[arg(value_name = "NAME-OR-GLOB")]
    pub name: Option<NamePattern>,
    /// Only this area (repeatable): pg, filestore, globals, insurance-pg, insurance-filestore, partition; insurance for both of its own
    #[arg(long, value_name = "AREA")]
    pub area: Vec<Areas>,
    /// Only the newest of each name at this time, such as '2026-11-23 03:15' (UTC)
    #[arg(long, value_name = "TIME")]
    pub at: Option<Moment>,
    /// Incomplete sets too, marked
    #[arg(long)]
    pub all: bool,
    /// With rows, and how each was verified: reads every manifest
    #[arg(long)]
    pub long: bool,
}

/// Which sets are checked.
#[derive(Debug, Clone, ClapArgs)]
pub struct CheckArgs {
    /// Of a check without sets.
    #[command(flatten)]
    pub asked: plana_harness::PreflightArgs,
    /// The sets: area/name/stamp.label.id
    #[arg(value_name = "SET", conflicts_with = "metrics")]
    pub sets: Vec<SetKey>,
    /// The newest set of each of these names (repeatable)
    #[arg(long, value_name = "NAME-OR-GLOB", conflicts_with = "metrics")]
    pub latest: Vec<NamePattern>,
    /// Where --latest looks (repeatable) [default: pg, globals]
    #[arg(long, value_name = "AREA")]
    pub area: Vec<Area>,
    /// How many at the same time
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub jobs: u32,
    /// The keys that they need.
    #[command(flatten)]
    pub keys: KeyArgs,
}

/// Which globals are restored, and where.
#[derive(Debug, Clone, ClapArgs)]
pub struct GlobalsArgs {
    /// The name of the globals, or a set: globals/name/stamp.label.id [default: dump.cluster_name]
    #[arg(value_name = "NAME-OR-SET")]
    pub what: Option<String>,
    /// The newest set at this time, such as '2026-11-23 03:15' (UTC) [default: now]
    #[arg(long, value_name = "TIME")]
    pub at: Option<Moment>,
    /// How the server is reached, without a password [default: postgres.dsn, or libpq's environment]
    #[arg(long, value_name = "DSN")]
    pub dsn: Option<String>,
}

/// What is restored, and whereto.
#[derive(Debug, Clone, ClapArgs)]
pub struct RestoreArgs {
    /// The database's name as it was dumped, or a set: area/name/stamp.label.id
    #[arg(value_name = "NAME-OR-SET")]
    pub what: String,
    /// The newest set at this time, such as '2026-11-23 03:15' (UTC) [default: now]
    #[arg(long, value_name = "TIME")]
    pub at: Option<Moment>,
    /// The area: pg or insurance-pg
    #[arg(long, value_name = "AREA", default_value_t = Area::Pg)]
    pub area: Area,
    /// The new database's name [default: the name that was dumped]
    #[arg(long, value_name = "DATABASE")]
    pub into: Option<String>,
    /// Take the place of the database of that name, which is kept under another name
    #[arg(long)]
    pub replace: bool,
    /// How the server is reached, without a password [default: postgres.dsn, or libpq's environment]
    #[arg(long, value_name = "DSN")]
    pub dsn: Option<String>,
    /// Jobs of pg_restore; more than one needs a spool directory [default: restore.jobs, 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub jobs: Option<u32>,
    /// Where the archive is unpacked for a parallel restore; without room there it is streamed [default: restore.spool_dir;
    /// without one it is streamed]
    #[arg(long, value_name = "DIR")]
    pub spool: Option<PathBuf>,
    /// All objects belong to the restoring role
    #[arg(long)]
    pub no_owner: bool,
    /// No grants
    #[arg(long)]
    pub no_privileges: bool,
    /// Restore as this role (pg_restore --role)
    #[arg(long, value_name = "ROLE")]
    pub role: Option<String>,
    /// Only this table, as SCHEMA.TABLE (repeatable), into a database of its own: give --into
    #[arg(long, value_name = "SCHEMA.TABLE", requires = "into", conflicts_with = "replace")]
    pub table: Vec<String>,
    /// Run this command before the database takes its name, with PGDATABASE set to it; if it fails, so does the restore
    #[arg(long, value_name = "COMMAND")]
    pub hook: Option<String>,
    /// Restore as a superuser all the same: the dump's own functions then run as one
    #[arg(long)]
    pub as_superuser: bool,
    /// The keys that it needs.
    #[command(flatten)]
    pub keys: KeyArgs,
    /// Leave the unfinished database when the restore fails, for a look
    #[arg(long)]
    pub keep_failed: bool,
}

/// The keys without which what is restored could not be read.
#[derive(Debug, Clone, Default, ClapArgs)]
pub struct KeyArgs {
    /// A file that holds this key, without which what the set holds is unreadable (repeatable) [default: the credential
    /// escrow.keys.NAME.secret, else the variable NAME]
    #[arg(long = "key", value_name = "NAME=FILE", value_parser = key_file)]
    pub key: Vec<(String, PathBuf)>,
    /// Go on without the keys that it needs, or with others
    #[arg(long, conflicts_with = "key")]
    pub without_key: bool,
}

fn key_file(text: &str) -> Result<(String, PathBuf), String> {
    let (name, file) = text.split_once('=').filter(|(name, file)| !name.is_empty() && !file.is_empty()).ok_or("write NAME=FILE")?;
    Ok((name.to_owned(), file.into()))
}

/// Which partition comes back, and whereto.
#[derive(Debug, Clone, ClapArgs)]
pub struct PartitionArgs {
    /// The set: partition/database/schema/table/stamp.label.id
    #[arg(value_name = "SET")]
    pub set: SetKey,
    /// The database that it goes back to [default: the one that it comes from]
    #[arg(long, value_name = "DATABASE")]
    pub into: Option<String>,
    /// Leave it a table of its own
    #[arg(long)]
    pub no_attach: bool,
    /// The keys that it needs.
    #[command(flatten)]
    pub keys: KeyArgs,
    /// How the server is reached, without a password [default: postgres.dsn, or libpq's environment]
    #[arg(long, value_name = "DSN")]
    pub dsn: Option<String>,
    /// Restore as a superuser all the same: the dump's own functions then run as one
    #[arg(long)]
    pub as_superuser: bool,
}

/// Where files go, and whose they are.
#[derive(Debug, Clone, ClapArgs)]
pub struct FilesArgs {
    /// The directory that will hold the files, such as /var/lib/odoo/filestore/NAME; its parent must be there
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// The number of the user whose the files will be, such as 101 (Odoo 17) or 100 (Odoo 18) [default: whoever runs this]
    #[arg(long, value_name = "UID")]
    pub uid: Option<u32>,
    /// The number of the group whose the files will be [default: that of whoever runs this]
    #[arg(long, value_name = "GID")]
    pub gid: Option<u32>,
}

/// Which file store is restored, and whereto.
#[derive(Debug, Clone, ClapArgs)]
pub struct FilestoreArgs {
    /// The file store's name, or a set: area/name/stamp.label.id
    #[arg(value_name = "NAME-OR-SET")]
    pub what: String,
    /// The newest set at this time, such as '2026-11-23 03:15' (UTC) [default: now]
    #[arg(long, value_name = "TIME")]
    pub at: Option<Moment>,
    /// The area: filestore or insurance-filestore
    #[arg(long, value_name = "AREA", default_value_t = Area::Filestore)]
    pub area: Area,
    /// Where the files go.
    #[command(flatten)]
    pub files: FilesArgs,
    /// The keys that they need.
    #[command(flatten)]
    pub keys: KeyArgs,
    /// Take the place of the directory of that name, which is kept beside it under another name
    #[arg(long)]
    pub replace: bool,
}

/// Which tenant is restored, and whereto.
#[derive(Debug, Clone, ClapArgs)]
#[command(mut_arg("table", |arg| arg.hide(true)), mut_arg("replace", |arg| arg.help("Take the places of the database and the directory of those names, which are kept under other names")))]
pub struct TenantArgs {
    /// The database.
    #[command(flatten)]
    pub database: RestoreArgs,
    /// Where the files go.
    #[command(flatten)]
    pub files: FilesArgs,
    /// The file store's name, or a set of one [default: the first set of the database's name that was begun after the dump]
    #[arg(long, value_name = "NAME-OR-SET")]
    pub files_of: Option<String>,
    /// Go on with files that were taken before the dump where none were taken after it: those of later rows will be missing
    #[arg(long)]
    pub older_files: bool,
}

impl Args {
    /// What the flags say over the configuration.
    pub fn overrides(&self) -> Vec<Override> {
        let key = if matches!(self.command, Command::Seed(_)) { "store.templates.url" } else { "store.backups.url" };
        let store = self.store.iter().map(|url| Override::new("--store", key, url.clone()));
        let escrow = match &self.command {
            Command::Escrow(escrow) => escrow.escrow_store.as_ref(),
            _ => None,
        };
        store.chain(escrow.map(|url| Override::new("--escrow-store", "store.escrow.url", url.clone()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn insurance_means_both_of_its_areas() {
        let read = |text: &str| text.parse::<Areas>().map(|areas| areas.0).ok();
        assert_eq!(read("insurance"), Some(vec![Area::InsurancePg, Area::InsuranceFilestore]));
        assert_eq!((read("pg"), read("insurances")), (Some(vec![Area::Pg]), None));
    }
}
