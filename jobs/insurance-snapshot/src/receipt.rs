//! The receipt as a file, and as people read it.

use std::{io::Write as _, path::Path};

use plana_harness::{Extra, Failure, human};
use plana_plan::{
    name::printable,
    receipt::{InsuredSet, NeededKey, Receipt, Snapshot},
};

use crate::Args;

/// Looks whether the receipt could be written, before an hour is spent on what it is to tell.
pub fn try_place(args: &Args) -> Result<(), Failure> {
    let Some(path) = args.receipt.as_deref().filter(|_| !args.common.dry_run) else { return Ok(()) };
    tempfile::Builder::new().prefix(".receipt-").tempfile_in(parent(path)).map(drop).map_err(|error| cannot(path, &error))
}

/// Writes the receipt whole or not at all, where a file of it is wanted.
pub fn write(args: &Args, receipt: &Receipt) -> Result<(), Failure> {
    let Some(path) = args.receipt.as_deref() else { return Ok(()) };
    let write = || {
        let mut file = tempfile::Builder::new().prefix(".receipt-").tempfile_in(parent(path))?;
        serde_json::to_writer_pretty(&mut file, receipt)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok::<_, std::io::Error>(())
    };
    write().map_err(|error| cannot(path, &error))
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("write the receipt {}: {error}; name a file in a directory that this user may write", path.display()))
}

/// The receipt as part of the run's result.
pub fn extra(receipt: &Receipt) -> Extra {
    Extra { key: "receipt", json: serde_json::to_value(receipt).unwrap_or_default(), text: text(receipt) }
}

fn text(receipt: &Receipt) -> String {
    let mut blocks = vec![format!("Insured for {}, stamp {}, in {}", receipt.operation, receipt.stamp, receipt.store)];
    blocks.extend(receipt.snapshots.iter().map(snapshot));
    blocks.join("\n\n")
}

fn snapshot(snapshot: &Snapshot) -> String {
    let reused = if snapshot.reused { ", made before and used again" } else { "" };
    let proven = if snapshot.proven_by_restore { ", restored for a trial" } else { "" };
    let until = snapshot.kept_until.instant().format("%Y-%m-%d %H:%M");
    let mut lines = vec![format!("{}: kept until {until} UTC{reused}{proven}", printable(&snapshot.name))];
    lines.extend(snapshot.sets.iter().map(|set| format!("  {}\n      {}", set.set, contents(set))));
    lines.push(format!("  Back again by:\n      {}", snapshot.restore));
    if snapshot.sets.iter().any(InsuredSet::is_encrypted) {
        lines.push("  It is encrypted: IDENTITY is the file with the private key of one of its recipients.".to_owned());
    }
    lines.extend(snapshot.keys.iter().map(key));
    lines.join("\n")
}

/// Where the command takes a key from, and what has to be done before.
fn key(key: &NeededKey) -> String {
    let NeededKey { name, file, recover } = key;
    let (name, file) = (printable(name), printable(file));
    match recover {
        Some(recover) => format!(
            "  It needs the key {name}, in the file {file}. Where it is nowhere at hand, it comes out of escrow by the private key of one of \
             its recipients:\n      {recover}"
        ),
        None => format!("  It needs the key {name}, in the file {file}."),
    }
}

/// `12.3 MiB, 1,234 rows of 45 tables`.
fn contents(set: &InsuredSet) -> String {
    let number = |number: u64| human::integer(number.into());
    let mut parts = vec![human::bytes(set.stored_bytes)];
    if let (Some(rows), Some(tables)) = (set.rows, set.tables) {
        parts.push(format!("{} rows of {} tables", number(rows), number(tables)));
    }
    parts.extend(set.files.map(|files| format!("{} files", number(files))));
    match (set.named, set.missing) {
        (Some(named), Some(0)) => parts.push(format!("all {} that the dump names are there", number(named))),
        (Some(named), Some(missing)) => {
            parts.push(format!("of {} that the dump names {} were missing before", number(named), number(missing)));
        }
        _ => {}
    }
    parts.extend(set.damaged.filter(|damaged| *damaged > 0).map(|damaged| format!("{} were damaged before", number(damaged))));
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_key_takes_is_said_beneath_the_command() {
        let there = NeededKey::in_file("A", "/run/a");
        assert_eq!(key(&there), "  It needs the key A, in the file /run/a.");
        let escrowed = key(&NeededKey::to_be_written("B", Some("B"), &[]));
        assert!(escrowed.starts_with("  It needs the key B, in the file B.key. Where it is nowhere at hand,"), "{escrowed}");
        assert!(escrowed.ends_with("\n      restore-from-sos escrow recover B --identity IDENTITY --to B.key"), "{escrowed}");
    }
}
