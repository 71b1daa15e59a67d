//! What is stored is what was there.

use std::{fs, path::Path};

use plana_plan::manifest::FileStoreLayout;

use crate::{Root, expect_same, expect_words, facts, job, noise, paths, set_of};

#[test]
fn a_file_store_comes_back_as_it_was() {
    let job = job();
    let root = Root::of(&job);
    root.fill("acme.app", 50, 20_000);
    root.attach("acme.app", noise("large", 5 << 20));
    root.attach("acme.app", b"");
    root.write("acme.app/checklist/ab/abcd", "");
    root.write("acme.app/old/file with a long name", "text ".repeat(10_000));
    let outcome = job.clone().arg(root.arg()).run().expect(0);
    let set = set_of(&job, "acme.app");
    let facts = facts(&set);
    assert_eq!((facts.files, facts.proven, facts.layout), (54, 52, FileStoreLayout::Odoo));
    assert_eq!(outcome.item("acme.app")["files"], 54);
    let payload = &set.manifest.payload;
    assert_eq!((payload.format.as_str(), payload.compression.as_str()), ("tar", "gzip"));
    assert!(payload.volumes[0].key.ends_with(".tar.gz"));
    expect_same(&set, &root.path("acme.app"));
}

#[test]
fn the_same_tree_gives_the_same_tarball() {
    let job = job();
    let root = Root::of(&job);
    root.fill("acme.app", 200, 9_000);
    let job = job.arg(root.arg());
    job.run().expect(0);
    job.clone().set("filestore.workers", "1").set("filestore.memory", "1MiB").run().expect(0);
    let sets = job.store().sets(plana_plan::Area::Filestore, "acme.app");
    assert_eq!(sets.len(), 2);
    assert_eq!(sets[0].manifest.payload.stored_sha256, sets[1].manifest.payload.stored_sha256);
}

#[test]
fn zstd_by_configuration() {
    let job = job();
    let root = Root::of(&job);
    root.fill("acme.app", 5, 9_000);
    job.clone().arg(root.arg()).set("filestore.compression", "zstd").run().expect(0);
    let set = set_of(&job, "acme.app");
    assert_eq!(set.manifest.payload.compression, "zstd");
    assert!(set.manifest.payload.volumes[0].key.ends_with(".tar.zst"));
}

#[test]
fn damaged_files_are_stored_and_listed_and_no_failure_of_ours() {
    let job = job();
    let root = Root::of(&job);
    root.fill("acme.app", 10, 1000);
    let (small, large) = (root.attach("acme.app", "small"), root.attach("acme.app", noise("large", 3 << 20)));
    root.write(format!("acme.app/{small}"), "other");
    root.write(format!("acme.app/{large}"), noise("other", 3 << 20));
    let outcome = job.clone().arg(root.arg()).run().expect(0);
    let set = set_of(&job, "acme.app");
    let mut damaged = [small, large];
    damaged.sort();
    assert_eq!(paths(&facts(&set).damaged), damaged);
    assert_eq!(facts(&set).proven, 10);
    expect_words(&outcome.warnings(), &["2 files damaged", &damaged[0], "its SHA-1 is "]);
    expect_same(&set, &root.path("acme.app"));
}

#[test]
fn a_file_of_more_than_8_gb() {
    let job = job();
    let directory = job.home().join("casts");
    fs::create_dir(&directory).unwrap();
    let size = (8u64 << 30) + 4097;
    fs::File::create(directory.join("a-large-one")).unwrap().set_len(size).unwrap();
    fs::write(directory.join("next"), "next").unwrap();
    // zstd, since it makes nothing of zeros in no time.
    let job = job.set("filestore.compression", "zstd").limit(std::time::Duration::from_secs(300));
    job.clone().arg(format!("--directory={}", directory.display())).run().expect(0);
    let set = job.store().only_set(plana_plan::Area::Filestore, "casts");
    assert_eq!(facts(&set).bytes, size + 4);
    // By the readers that people have, as far as their listings say.
    let payload = set.volumes()[0].display().to_string();
    for list in ["zstd -dc \"$0\" | tar tv", "zstd -dc \"$0\" | bsdtar tvf -", "zstd -dc \"$0\" | busybox tar tv"] {
        let listed = std::process::Command::new("sh").args(["-c", list, &payload]).output().unwrap();
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        assert!(listed.status.success() && text.contains(&size.to_string()) && text.contains("./next"), "{list}: {text}");
    }
}

#[test]
fn memory_does_not_grow_with_the_store() {
    let peak = |count: usize| {
        let job = job();
        let root = Root::of(&job);
        root.fill("acme.app", count, 150_000);
        root.attach("acme.app", noise("large", 40 << 20));
        job.clone().arg(root.arg()).run().expect(0).done.peak_rss_bytes
    };
    let (small, large) = (peak(100), peak(1000));
    assert!(large < 160 << 20, "{} MiB", large >> 20);
    assert!(large < small + (24 << 20), "{} MiB with 15 MB, {} MiB with 150 MB", small >> 20, large >> 20);
}

#[test]
fn memory_does_not_grow_with_a_directory_of_200_000_entries_beyond_their_names() {
    let peak = |count: usize| {
        let job = job();
        // In memory where there is some: so many files take minutes on a slow disk.
        let memory = Path::new("/dev/shm");
        let tree = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        for number in 0..count {
            fs::File::create(tree.path().join(format!("{number:040}"))).unwrap();
        }
        let outcome = job.clone().arg(format!("--directory={}", tree.path().display())).run().expect(0);
        let set = job.store().committed().remove(0);
        assert_eq!(facts(&set).files, count as u64);
        outcome.done.peak_rss_bytes
    };
    let (small, large) = (peak(2_000), peak(200_000));
    // A name of 40 bytes takes twice as much; nothing else of a file stays.
    assert!(large < small + (32 << 20), "{} MiB with 2,000 entries, {} MiB with 200,000", small >> 20, large >> 20);
}

#[test]
fn what_the_manifest_says_is_encrypted_too() {
    let job = job();
    let root = Root::of(&job);
    root.fill("acme.app", 5, 9_000);
    let key = job.home().join("key.txt");
    assert!(std::process::Command::new("age-keygen").arg("-o").arg(&key).output().unwrap().status.success());
    let text = fs::read_to_string(&key).unwrap();
    let public = text.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    job.clone().arg(root.arg()).set("encryption.recipients", public).run().expect(0);
    let set = job.store().only_set(plana_plan::Area::Filestore, "acme.app");
    assert!(set.manifest.payload.volumes[0].key.ends_with(".tar.gz.age"));
    assert_eq!(set.decrypted(&key).len() as u64, set.manifest.payload.content_bytes);
}
