//! Listings of one level, and pages of uploads.

use std::{
    io,
    ops::ControlFlow,
    os::fd::{AsFd as _, BorrowedFd},
};

use plana_plan::inventory::ObjectMeta;
use rustix::fs::AtFlags;

use super::{
    PAGE, Root,
    tree::{self, Span},
};
use crate::contract::{ListCursor, NamePage, UploadMeta, UploadPage};

pub(super) fn list_names(root: &Root, prefix: &str, after: Option<&str>) -> io::Result<NamePage> {
    let mut names = NamePage::default();
    let parent = &prefix[..prefix.rfind('/').map_or(0, |at| at + 1)];
    // No key has such a segment, and a walk along one would leave the root.
    if parent.split('/').any(|segment| matches!(segment, "." | "..")) || parent.starts_with('/') || parent.contains("//") {
        return Ok(names);
    }
    let dir = match tree::descend(tree::open_root(&root.path)?, parent.split('/').filter(|segment| !segment.is_empty())) {
        Ok(dir) => dir,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            // The root is there, so the prefix is merely empty.
            tree::open_root(&root.path)?;
            return Ok(names);
        }
        Err(error) => return Err(error),
    };
    let mut last = None;
    for entry in tree::entries(dir.as_fd(), parent)? {
        let full = format!("{parent}{}", entry.name);
        if !full.starts_with(prefix) || after.is_some_and(|after| full.as_str() <= after) {
            continue;
        }
        let found = first_object(dir.as_fd(), parent, &entry)?;
        let Some(found) = found else { continue };
        if names.prefixes.len() + names.objects.len() == PAGE {
            names.next = last.map(|marker| ListCursor { marker, minor: None });
            break;
        }
        match entry.directory() {
            Some(_) => names.prefixes.push(full.clone()),
            None => names.objects.push(found),
        }
        last = Some(full);
    }
    Ok(names)
}

/// The file, or the first in the directory: an empty directory is no prefix of any key.
fn first_object(dir: BorrowedFd<'_>, parent: &str, entry: &tree::Entry) -> io::Result<Option<ObjectMeta>> {
    let full = format!("{parent}{}", entry.name);
    let Some(name) = entry.directory() else {
        if tree::is_temporary(&entry.name) {
            return Ok(None);
        }
        return match rustix::fs::statat(dir, &*entry.name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(tree::meta(full, &stat))),
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        };
    };
    let inner = match tree::descend(dir.try_clone_to_owned()?, [name]) {
        Ok(inner) => inner,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut first = None;
    tree::walk(inner.as_fd(), &full, Span { prefix: &full, after: None }, &mut |found| {
        if tree::is_temporary(found.name) {
            return ControlFlow::Continue(());
        }
        first = Some(found.meta());
        ControlFlow::Break(())
    })
    .map(|_| first)
}

pub(super) fn upload_page(mut uploads: Vec<UploadMeta>, after: Option<&ListCursor>) -> UploadPage {
    uploads.sort_by(|a, b| (&a.key, &a.upload_id).cmp(&(&b.key, &b.upload_id)));
    if let Some(after) = after {
        let id = after.minor.clone().unwrap_or_default();
        uploads.retain(|upload| (&upload.key, &upload.upload_id) > (&after.marker, &id));
    }
    let more = uploads.len() > PAGE;
    uploads.truncate(PAGE);
    let next = uploads.last().filter(|_| more).map(|last| ListCursor { marker: last.key.clone(), minor: Some(last.upload_id.clone()) });
    UploadPage { uploads, next }
}
