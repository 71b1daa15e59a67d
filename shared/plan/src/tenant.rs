//! Which file store belongs to which dump, and whether each file that a database names is in it.
//!
//! A file is written before the row that names it is committed, so files that are taken after a dump hold everything that the
//! dump refers to, but for what was deleted in between; files that were taken before it may lack some.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};

use crate::{
    SetKey, Stamp,
    attachment::AttachmentName,
    inventory::Inventory,
    manifest::{FileStoreFacts, PathList},
};

/// The file stores that there are for a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilesFor {
    /// The first that was begun at the dump's time or after it.
    After(SetKey),
    /// All were begun before it; this is the last of them.
    OnlyBefore(SetKey),
    /// There is none.
    Nothing,
}

/// Chooses among the committed file stores of a name the one that belongs to a dump that was begun at `dump`. What is from the
/// future of `now` never counts: only a wrong clock or a stolen key writes that.
pub fn files_for(dump: Stamp, stores: &Inventory, now: DateTime<Utc>) -> FilesFor {
    let mut before = None;
    // Oldest first: keys of one name sort by their stamps.
    for store in stores.committed().map(|set| &set.key).filter(|key| key.stamp.instant() <= now) {
        if store.stamp >= dump {
            return FilesFor::After(store.clone());
        }
        before = Some(store);
    }
    before.map_or(FilesFor::Nothing, |store| FilesFor::OnlyBefore(store.clone()))
}

/// What is known of a file that a row names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It is there, and nothing speaks against it.
    Whole,
    /// It is there, and was damaged already when the backup was made.
    DamagedBefore,
    /// It is not there, and was missing already when the backup was made.
    MissingBefore,
    /// It is not there, and nothing says that it was missing before.
    Missing,
    /// What the row names is no path of a file store.
    NoPath,
}

impl Verdict {
    /// Whether the restore lacks what the tenant had.
    pub const fn is_loss(self) -> bool {
        matches!(self, Verdict::Missing | Verdict::NoPath)
    }
}

/// What a file store's manifest says of files, and what was seen of them when it was restored.
#[derive(Debug, Clone, Default)]
pub struct KnownFiles {
    missing: BTreeSet<AttachmentName>,
    unlisted: u64,
    unproven: BTreeSet<AttachmentName>,
}

impl KnownFiles {
    /// By the manifest, which lists the first of the missing ones, and by the files whose content was not what their names say.
    pub fn new(facts: &FileStoreFacts, unproven: impl IntoIterator<Item = AttachmentName>) -> Self {
        let unlisted = facts.missing.total.saturating_sub(facts.missing.listed.len() as u64);
        KnownFiles { missing: names(&facts.missing), unlisted, unproven: unproven.into_iter().collect() }
    }

    /// How many files were missing already when the backup was made, and are not known by name: the list had no room for them.
    pub const fn unlisted(&self) -> u64 {
        self.unlisted
    }

    /// Judges what a row names. `is_there` is asked only for paths of attachments, which are safe to look for.
    pub fn judge(&self, store_fname: &str, is_there: impl FnOnce(&AttachmentName) -> bool) -> Verdict {
        let Some(name) = AttachmentName::parse(store_fname.as_bytes()) else { return Verdict::NoPath };
        match (is_there(&name), self.unproven.contains(&name), self.missing.contains(&name)) {
            (true, false, _) => Verdict::Whole,
            (true, true, _) => Verdict::DamagedBefore,
            (false, _, true) => Verdict::MissingBefore,
            (false, _, false) => Verdict::Missing,
        }
    }
}

fn names(list: &PathList) -> BTreeSet<AttachmentName> {
    list.listed.iter().filter_map(|listed| AttachmentName::parse(listed.path.as_bytes())).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Area, Label, SetNonce, inventory::ObjectMeta};

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a time")
    }

    fn inventory(sets: &[(i64, bool)]) -> Inventory {
        let objects = sets.iter().zip(1..).flat_map(|((seconds, committed), id)| {
            let key = SetKey::new(Area::Filestore, "acme", Stamp::new(at(*seconds)), Label::unclassified(), SetNonce(id));
            let manifest = committed.then(|| key.manifest());
            let keys = [Some(key.object(&key.file_name(".tar.gz", 0))), manifest];
            keys.into_iter().flatten().map(|key| ObjectMeta { key, size: 1, last_modified: at(0), etag: None })
        });
        Inventory::read(objects)
    }

    fn seconds(found: &FilesFor) -> Option<i64> {
        match found {
            FilesFor::After(key) | FilesFor::OnlyBefore(key) => Some(key.stamp.instant().timestamp()),
            FilesFor::Nothing => None,
        }
    }

    fn path(number: u8) -> String {
        let name = format!("{number:02x}{}", "0".repeat(38));
        format!("{}/{name}", &name[..2])
    }

    #[test]
    fn a_row_is_judged_by_what_is_there_and_what_was_known() {
        let mut facts = FileStoreFacts::new(crate::manifest::FileStoreLayout::Odoo, "test", b"/srv");
        facts.missing.add(path(1).as_bytes(), None);
        let name = |number| AttachmentName::parse(path(number).as_bytes()).expect("an attachment");
        facts.missing.total = 8;
        let known = KnownFiles::new(&facts, [name(2)]);
        assert_eq!(known.unlisted(), 7);
        for (number, there, verdict) in [
            (0, true, Verdict::Whole),
            (0, false, Verdict::Missing),
            (1, false, Verdict::MissingBefore),
            (1, true, Verdict::Whole),
            (2, true, Verdict::DamagedBefore),
            (2, false, Verdict::Missing),
        ] {
            let found = known.judge(&path(number), |asked| {
                assert_eq!(*asked, name(number));
                there
            });
            assert_eq!((found, found.is_loss()), (verdict, verdict == Verdict::Missing), "{number}");
        }
        for hostile in ["../../etc/passwd", "/etc/passwd", "", "ab/../ab"] {
            assert_eq!(known.judge(hostile, |_| panic!("asked for")), Verdict::NoPath);
        }
    }

    proptest! {
        #[test]
        fn the_first_committed_one_at_or_after_the_dump_belongs_to_it(
            sets in proptest::collection::vec((0i64..50, any::<bool>()), 0..12), dump in 0i64..50, now in 0i64..60,
        ) {
            let found = files_for(Stamp::new(at(dump)), &inventory(&sets), at(now));
            let committed: Vec<i64> = sets.iter().filter(|(seconds, committed)| *committed && *seconds <= now).map(|(seconds, _)| *seconds).collect();
            let after = committed.iter().copied().filter(|seconds| *seconds >= dump).min();
            let before = committed.iter().copied().filter(|seconds| *seconds < dump).max();
            prop_assert_eq!(matches!(found, FilesFor::After(_)), after.is_some());
            prop_assert_eq!(seconds(&found), after.or(before));
        }
    }
}
