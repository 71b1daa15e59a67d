//! What only a directory can do to its objects.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Command,
    sync::Arc,
};

use bytes::Bytes;
use common::{LIMITS, MIB, noise};
use futures::TryStreamExt as _;
use plana_plan::{manifest::Verified, parts::PartPlan};
use plana_storage::{
    DirectoryStore, DynStore, MemoryBudget, ObjectWriter, Pace, PutMode, Store as _, StoreError, Switch, WriterOptions, listing, verify,
};

fn store(root: &Path) -> DirectoryStore {
    DirectoryStore::new(root, LIMITS)
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("there").permissions().mode() & 0o7777
}

async fn keys(store: &DirectoryStore) -> Vec<String> {
    listing::objects(store, "").map_ok(|object| object.key).try_collect().await.expect("a listing")
}

#[tokio::test]
async fn objects_are_files_for_their_owner_alone() {
    let root = tempfile::tempdir().expect("a directory");
    let store = store(root.path());
    assert_eq!(store.url(), format!("file://{}", root.path().display()));
    let put = verify::put_verified(&store, "pg/acme/manifest.json", Bytes::from_static(b"{}"), PutMode::IfAbsent).await.expect("put");
    assert_eq!((put.verified, put.etag), (Verified::SizeAndFsync, None));
    assert_eq!(fs::read(root.path().join("pg/acme/manifest.json")).expect("the file"), b"{}");
    assert_eq!((mode(&root.path().join("pg")), mode(&root.path().join("pg/acme/manifest.json"))), (0o700, 0o600));
    let safety = store.safety().await.expect("safety");
    assert_eq!((safety.versioning, safety.object_lock), (Switch::Off, Switch::Off));
}

#[tokio::test]
async fn a_missing_directory_is_said_to_be_missing_and_made_where_asked() {
    let parent = tempfile::tempdir().expect("a directory");
    let store = store(&parent.path().join("backups"));
    for error in [
        store.list("", None).await.expect_err("no directory"),
        store.list_names("pg/", None).await.expect_err("no directory"),
        store.put("k", Bytes::new(), PutMode::IfAbsent).await.expect_err("no directory"),
        store.begin("k", MIB).await.expect_err("no directory"),
        store.find("k").await.expect_err("no directory"),
        store.get("k", None, None).await.expect_err("no directory"),
        store.rights(false).await.expect_err("no directory"),
        store.delete(&["k".to_owned()]).await.expect("outcomes").remove(0).result.expect_err("no directory"),
    ] {
        assert!(matches!(error, StoreError::NoSuchBucket(_)), "{error:?}");
    }
    store.create().await.expect("made");
    store.create().await.expect("made already");
    assert_eq!(mode(&parent.path().join("backups")), 0o700);
    assert_eq!(keys(&store).await, [""; 0]);
    let deeper = DirectoryStore::new(parent.path().join("not/mounted"), LIMITS);
    assert!(matches!(deeper.create().await, Err(StoreError::NoSuchBucket(_))));
}

#[tokio::test]
async fn no_link_leads_out_of_the_root() {
    let outside = tempfile::tempdir().expect("a directory");
    fs::write(outside.path().join("secret"), b"secret").expect("a file");
    let root = tempfile::tempdir().expect("a directory");
    symlink(outside.path(), root.path().join("pg")).expect("a link");
    fs::create_dir(root.path().join("in")).expect("a directory");
    symlink(outside.path().join("secret"), root.path().join("in/file")).expect("a link");
    let store = store(root.path());
    assert_eq!(keys(&store).await, [""; 0]);
    assert_eq!(store.find("in/file").await, Ok(None));
    for error in [
        store.put("pg/new", Bytes::from_static(b"x"), PutMode::Overwrite).await.expect_err("a link"),
        store.begin("pg/a/new", MIB).await.expect_err("a link"),
        store.get("pg/secret", None, None).await.expect_err("a link"),
        store.get("in/file", None, None).await.expect_err("a link"),
        store.delete(&["pg/secret".to_owned()]).await.expect("outcomes").remove(0).result.expect_err("a link"),
    ] {
        assert!(matches!(error, StoreError::Io(_)), "{error:?}");
    }
    // A put replaces the link, not what it points to.
    store.put("in/file", Bytes::from_static(b"new"), PutMode::Overwrite).await.expect("replaced");
    assert_eq!(fs::read(outside.path().join("secret")).expect("the file"), b"secret");
    assert_eq!(fs::read_dir(outside.path()).expect("the directory").count(), 1);
    // The root itself may be one: that is the operator's choice.
    let linked = outside.path().join("root");
    symlink(root.path(), &linked).expect("a link");
    assert_eq!(keys(&DirectoryStore::new(linked, LIMITS)).await, ["in/file"]);
}

#[tokio::test]
async fn what_a_kill_leaves_is_no_object_and_is_swept_as_an_upload() {
    let root = tempfile::tempdir().expect("a directory");
    let store = store(root.path());
    let long = "ö".repeat(120);
    for key in ["pg/acme/payload.zst".to_owned(), format!("pg/{long}")] {
        let upload = store.begin(&key, MIB).await.expect("begun");
        upload.put_part(1, noise(10, 1)).await.expect("a part");
        drop(upload);
    }
    assert_eq!(keys(&store).await, [""; 0]);
    assert_eq!(listing::prefixes(&store, "").try_collect::<Vec<_>>().await, Ok(vec![]));
    let left: Vec<_> = listing::uploads(&store, "pg/").try_collect().await.expect("uploads");
    assert_eq!(left.len(), 2);
    assert_eq!(left[0].key, "pg/acme/payload.zst");
    assert!(left[1].key.starts_with("pg/öö"), "{}", left[1].key);
    for upload in left {
        store.abort_upload(&upload.key, &upload.upload_id).await.expect("aborted");
    }
    assert_eq!(fs::read_dir(root.path()).expect("the root").count(), 0, "not even a directory is left");
    // Somebody's own hidden files are theirs.
    fs::write(root.path().join(".tmp-notes"), b"x").expect("a file");
    assert_eq!(listing::uploads(&store, "").try_collect::<Vec<_>>().await, Ok(vec![]));
}

#[tokio::test]
async fn names_that_no_file_system_takes_are_refused_clearly() {
    let root = tempfile::tempdir().expect("a directory");
    let store = store(root.path());
    for (key, cause) in [("a".repeat(256), "more than 255 bytes"), ("pg/.tmp-x".to_owned(), "temporary files")] {
        let error = store.put(&key, Bytes::new(), PutMode::IfAbsent).await.expect_err("refused");
        assert!(matches!(error, StoreError::Unusable(_)) && error.to_string().contains(cause), "{error}");
    }
    store.put(&"a".repeat(255), Bytes::from_static(b"x"), PutMode::IfAbsent).await.expect("just short enough");
    assert_eq!(keys(&store).await, ["a".repeat(255)]);
}

#[tokio::test]
async fn an_object_that_is_there_is_never_replaced_by_parts() {
    let root = tempfile::tempdir().expect("a directory");
    let store = store(root.path());
    let upload = store.begin("k", MIB).await.expect("begun");
    let part = upload.put_part(1, noise(10, 1)).await.expect("a part");
    store.put("k", Bytes::from_static(b"first"), PutMode::IfAbsent).await.expect("put");
    assert!(matches!(upload.complete(&[part]).await, Err(StoreError::AlreadyExists(_))));
    assert_eq!(fs::read(root.path().join("k")).expect("the file"), b"first");
}

#[tokio::test]
async fn parts_that_make_no_whole_are_refused() {
    let root = tempfile::tempdir().expect("a directory");
    let store = store(root.path());
    let upload = store.begin("k", 10).await.expect("begun");
    let first = upload.put_part(1, noise(10, 1)).await.expect("a part");
    let short = upload.put_part(2, noise(3, 1)).await.expect("a part");
    let third = upload.put_part(3, noise(4, 1)).await.expect("a part");
    assert!(matches!(upload.put_part(4, noise(11, 1)).await, Err(StoreError::Unusable(_))), "larger than a part");
    assert!(matches!(upload.put_part(0, noise(1, 1)).await, Err(StoreError::Unusable(_))));
    for parts in [vec![], vec![short.clone()], vec![first.clone(), third.clone()], vec![first.clone(), short.clone(), third.clone()]] {
        assert!(matches!(upload.complete(&parts).await, Err(StoreError::Unusable(_))), "{parts:?}");
    }
    // The file is longer than the parts that are named.
    assert!(matches!(upload.complete(&[first, short]).await, Err(StoreError::Corrupt(_))));
    assert!(!root.path().join("k").exists());
}

const DISK: u64 = 3 * MIB;
const LIMITED: &str = "PLANA_TEST_LIMITED_FILES";

/// A file system of few bytes, gone with the value.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let root = tempfile::tempdir().expect("a directory");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={DISK},mode=0700"), "tmpfs"]).arg(root.path()).output();
        mount.is_ok_and(|output| output.status.success()).then_some(SmallDisk(root))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.0.path()).status().ok();
    }
}

/// On a small tmpfs; who may not mount one is given small files instead, in a process of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_a_clear_error_and_leaves_nothing() {
    if std::env::var_os(LIMITED).is_some() {
        let root = tempfile::tempdir().expect("a directory");
        return fill_disk(root.path()).await;
    }
    if let Some(disk) = SmallDisk::mount() {
        return fill_disk(disk.0.path()).await;
    }
    let own = std::env::current_exe().expect("this program");
    let limited = Command::new("prlimit")
        .args([&format!("--fsize={DISK}"), "env", "--ignore-signal=XFSZ"])
        .arg(own)
        .args(["--exact", "a_full_disk_is_a_clear_error_and_leaves_nothing", "--nocapture"])
        .env(LIMITED, "1")
        .status();
    assert!(limited.expect("prlimit").success());
}

async fn fill_disk(root: &Path) {
    let store = store(root);
    let shared: DynStore = Arc::new(store.clone());
    let options = WriterOptions {
        plan: PartPlan { part_bytes: MIB, parts_per_volume: 100 },
        parts_in_flight: 2,
        budget: MemoryBudget::new(8 * MIB),
        pace: Pace::default(),
        sent: Arc::default(),
    };
    let mut writer = ObjectWriter::new(shared, |_| "pg/acme/payload".to_owned(), options);
    let mut failed = None;
    for piece in 0..6 {
        failed = writer.write(noise(MIB, piece)).await.err();
        if failed.is_some() {
            break;
        }
    }
    let error = match failed {
        Some(error) => {
            assert_eq!(writer.abort().await, None);
            error
        }
        None => writer.finish().await.expect_err("the disk is full"),
    };
    assert!(matches!(error, StoreError::NoSpace(_)) && error.concerns_whole_store(), "{error:?}");
    assert!(error.to_string().contains("no space is left"), "{error}");
    let small = store.put("pg/acme/small", noise(4 * MIB, 1), PutMode::IfAbsent).await.expect_err("the disk is full");
    assert!(matches!(small, StoreError::NoSpace(_)), "{small}");
    assert_eq!(keys(&store).await, [""; 0]);
    assert_eq!(listing::uploads(&store, "").try_collect::<Vec<_>>().await, Ok(vec![]), "nothing takes up the space");
    store.put("pg/acme/manifest.json", noise(MIB, 1), PutMode::IfAbsent).await.expect("there is space again");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_deletions_never_break_a_put_beside_them() {
    let root = tempfile::tempdir().expect("a directory");
    let store = store(root.path());
    let put = async {
        for n in 0..300 {
            store.put(&format!("pg/acme/{n}"), Bytes::from_static(b"x"), PutMode::IfAbsent).await.expect("put");
        }
    };
    let delete = async {
        for n in 0..3000 {
            let key = format!("pg/acme/{}", n % 300);
            store.delete(&[key]).await.expect("outcomes").remove(0).result.expect("deleted");
        }
    };
    futures::join!(put, delete);
}
