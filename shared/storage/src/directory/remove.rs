//! Deleting files, and the directories that they leave empty.

use std::io;

use rustix::fs::AtFlags;

use super::{Root, split, tree};

pub(super) fn delete(root: &Root, key: &str) -> io::Result<()> {
    let (parents, file) = split(key);
    let removed = tree::descend(tree::open_root(&root.path)?, parents).and_then(|dir| {
        rustix::fs::unlinkat(&dir, file, AtFlags::empty())?;
        Ok(rustix::fs::fsync(&dir)?)
    });
    match removed {
        Ok(()) => remove_empty_parents(root, key),
        Err(error) if error.kind() == io::ErrorKind::NotFound && root.path.exists() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes the directories that the key's file has left empty: a prefix without objects is no prefix.
pub(super) fn remove_empty_parents(root: &Root, key: &str) -> io::Result<()> {
    let mut path = key;
    while let Some((parent, _)) = path.rsplit_once('/') {
        let (parents, name) = split(parent);
        let removed = tree::descend(tree::open_root(&root.path)?, parents).map(|dir| rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR));
        // Not empty, or gone: somebody else's business, and so are the directories above.
        if !matches!(removed, Ok(Ok(()))) {
            break;
        }
        path = parent;
    }
    Ok(())
}
