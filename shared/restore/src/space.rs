//! Room on a disk.

use std::path::Path;

/// Bytes that this user may still write below a directory; `None` where the system does not tell.
pub fn free_bytes(directory: &Path) -> Option<u64> {
    let told = rustix::fs::statvfs(directory).ok()?;
    Some(told.f_bavail.saturating_mul(told.f_frsize))
}

/// Files that may still be made there; `None` where the system does not tell, or has no such limit.
pub fn free_files(directory: &Path) -> Option<u64> {
    let told = rustix::fs::statvfs(directory).ok()?;
    (told.f_files > 0).then_some(told.f_favail)
}
