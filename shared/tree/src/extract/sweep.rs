//! What killed restores have left beside their targets.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use rustix::fs::{FlockOperation, Mode, OFlags};

use super::staging::{LOCK, PREFIX};

/// Removes the unfinished trees of killed restores in a directory, and gives their names. A tree is known by its name and by the
/// lock beside it, which must be ours and held by nobody: what is at work, what belongs to another user, and what has no lock
/// stays.
///
/// # Errors
/// When the directory cannot be read. What cannot be removed stays for another time.
pub fn sweep_staging(directory: &Path) -> io::Result<Vec<String>> {
    let mut swept = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let Some(tree) = name.to_str().and_then(|name| name.strip_suffix(LOCK)).filter(|tree| is_staging(tree)) else { continue };
        if let Some(true) = remove(directory, tree) {
            swept.push(tree.to_owned());
        }
    }
    Ok(swept)
}

/// Whether a name is one that a restore gives.
fn is_staging(name: &str) -> bool {
    let digits = name.strip_prefix(PREFIX).unwrap_or_default();
    digits.len() == 8 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether there was a tree, and it is gone; none where it stays.
fn remove(directory: &Path, tree: &str) -> Option<bool> {
    let lock_path = directory.join(format!("{tree}{LOCK}"));
    let lock = rustix::fs::open(&lock_path, OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let ours = rustix::fs::fstat(&lock).ok()?.st_uid == rustix::process::geteuid().as_raw();
    if !ours || rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return None;
    }
    // Another sweeper may have removed it between the opening and the lock.
    let still = fs::symlink_metadata(&lock_path).ok()?.ino() == rustix::fs::fstat(&lock).ok()?.st_ino;
    if !still {
        return None;
    }
    let removed = match fs::remove_dir_all(directory.join(tree)) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(_) => return None,
    };
    fs::remove_file(&lock_path).ok()?;
    Some(removed)
}
