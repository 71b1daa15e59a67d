//! The keys that a restore of a snapshot asks for, as its receipt names them.

use std::{collections::BTreeSet, path};

use plana_config::schema::EscrowKey;
use plana_plan::receipt::NeededKey;

use crate::{Args, run::Run, wanted::Wanted};

/// The keys of a snapshot, each with the file that the restore reads it from: the one that the configuration names, else one
/// that somebody has to write first, since a credential of the service is nothing that whoever restores would have.
pub fn needed_keys(run: &Run<'_>, args: &Args, wanted: &Wanted, reused: bool) -> Vec<NeededKey> {
    let context = run.items.context;
    let of_database = wanted.database.as_ref().map(|database| run.escrow.of_database(context, &database.name));
    let of_files = wanted.files.as_ref().map(|_| run.escrow.of_filestore(context, &wanted.name));
    let needs = of_database.into_iter().chain(of_files).flat_map(|needs| needs.required);
    let names: BTreeSet<String> = needs.map(|key| key.name).collect();
    let needed = |name: &String| {
        if let Some(file) = context.config().escrow.keys.get(name).and_then(file) {
            return NeededKey::in_file(name, &file);
        }
        let kept = run.escrow.found(name).filter(|key| key.kept.is_ok());
        // A snapshot that was there already may be of an older key than today's.
        let fingerprint = kept.and_then(|key| key.fingerprint).filter(|_| !reused);
        let sought = kept.map(|_| fingerprint.map_or_else(|| name.clone(), |fingerprint| format!("{name}@{}", fingerprint.short())));
        NeededKey::to_be_written(name, sought.as_deref(), &args.restore_options())
    };
    names.iter().map(needed).collect()
}

/// The file that the key was read from, where nothing else goes before it.
fn file(key: &EscrowKey) -> Option<String> {
    let file = key.secret_file.as_deref().filter(|_| key.secret_env.is_none() && key.secret.is_none())?;
    Some(path::absolute(file).as_deref().unwrap_or(file).display().to_string())
}
