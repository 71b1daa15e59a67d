//! Where file stores are: roots, single directories, and those that are not there.

use std::{fs, os::unix::fs::symlink};

use plana_plan::Area;

use crate::{Root, expect_words, facts, job, set_of, text};

#[test]
fn rules_tiers_and_the_sources_own_class_give_the_label() {
    let job = job();
    let (root, casts) = (Root::of(&job), Root::named(&job, "casts"));
    root.fill("acme.app", 2, 100);
    root.fill("nobody.app", 2, 100);
    root.fill("stray", 2, 100);
    root.fill(".snapshot", 2, 100);
    casts.write("one.cast", "recording");
    let text = format!(
        "[filestore.sources.tenants]\nroot = \"{}\"\n[filestore.sources.exo-casts]\npath = \"/nowhere\"\npath_env = \"EXO_CAST_STORAGE_DIR\"\n\
         class = \"platform\"\ngrowing = true\n[rules.tenants]\norder = 1\nclass = \"tenant\"\ndatabases = [\"*.app\"]\nowners = [\"plana\"]\n\
         [tiers.static]\n\"acme.app\" = \"pro\"\n",
        root.0.display()
    );
    let outcome = job.clone().config(&text).env("EXO_CAST_STORAGE_DIR", &casts.0).run().expect(0);
    assert_eq!(outcome.databases("done"), ["acme.app", "exo-casts", "nobody.app", "stray"]);
    let label = |name: &str| outcome.item(name)["label"].clone();
    assert_eq!(
        [label("acme.app"), label("exo-casts"), label("nobody.app"), label("stray")],
        ["pro", "platform", "unclassified", "unclassified"]
    );
    let set = set_of(&job, "exo-casts");
    assert_eq!((facts(&set).source.as_str(), facts(&set).directory.as_str()), ("exo-casts", casts.0.to_str().unwrap()));
    expect_words(&outcome.warnings(), &["its tier was not found", "no rule names it"]);
}

#[test]
fn one_tenant_in_two_roots_is_an_error_until_they_are_told_apart() {
    let job = job();
    let (old, new) = (Root::named(&job, "v17"), Root::named(&job, "v18"));
    old.fill("acme.app", 2, 100);
    new.fill("acme.app", 3, 100);
    new.fill("beta.app", 2, 100);
    let config = |suffix: &str| {
        format!(
            "[filestore.sources.v17]\nroot = \"{}\"\n{suffix}\n[filestore.sources.v18]\nroot = \"{}\"\n",
            old.0.display(),
            new.0.display()
        )
    };
    let outcome = job.clone().config(&config("")).run().expect(3);
    let error = outcome.error("acme.app");
    expect_words(error, &[&text(&old.path("acme.app")), &text(&new.path("acme.app")), "(v17)", "(v18)", "suffix"]);
    assert_eq!(outcome.databases("done"), ["beta.app"]);
    job.store().expect_nothing_of("acme.app");
    let outcome = job.clone().config(&config("suffix = \"@v17\"")).run().expect(0);
    assert_eq!(outcome.databases("done"), ["acme.app", "acme.app@v17", "beta.app"]);
    assert_eq!(facts(&job.store().only_set(Area::Filestore, "acme.app@v17")).files, 2);
}

#[test]
fn a_missing_mount_is_refused_and_the_others_are_taken() {
    let job = job();
    let (root, other) = (Root::of(&job), Root::named(&job, "other"));
    root.fill("acme.app", 2, 100);
    other.fill("beta.app", 2, 100);
    let both = job.clone().args([root.arg(), other.arg()]);
    both.run().expect(0);
    for is_there in [true, false] {
        fs::rename(&root.0, job.home().join("away")).unwrap();
        if is_there {
            fs::create_dir(&root.0).unwrap();
        }
        let outcome = both.run().expect(20);
        expect_words(outcome.run_error(), &["for empty", "1 tenants were in it", "is it mounted", "--accept-empty"]);
        assert_eq!(outcome.databases("done"), ["beta.app"]);
        // It stays refused until somebody says that it is right.
        both.clone().arg("--dry-run").run().expect(20);
        fs::remove_dir(&root.0).ok();
        fs::rename(job.home().join("away"), &root.0).unwrap();
    }
    fs::remove_dir_all(root.path("acme.app")).unwrap();
    both.clone().arg("--accept-empty").run().expect(0);
    both.run().expect(0);
}

#[test]
fn a_single_directory_that_is_suddenly_empty_is_refused_too() {
    let job = job();
    let casts = Root::named(&job, "casts");
    casts.write("one.cast", "recording");
    let job = job.arg(format!("--directory={}", casts.0.display()));
    job.run().expect(0);
    fs::remove_file(casts.path("one.cast")).unwrap();
    expect_words(job.run().expect(20).run_error(), &["something was in it"]);
}

#[test]
fn a_root_that_never_was_is_a_configuration_error() {
    let outcome = job().arg("--root=/no/such/root").run().expect(10);
    expect_words(outcome.run_error(), &["/no/such/root", "mount it"]);
}

#[test]
fn tenants_that_are_links_or_have_impossible_names_fail_alone() {
    use std::os::unix::ffi::OsStrExt;
    let job = job();
    let root = Root::of(&job);
    root.fill("acme.app", 2, 100);
    symlink("/etc", root.path("evil.app")).unwrap();
    symlink("acme.app", root.path("alias.app")).unwrap();
    root.write(std::ffi::OsStr::from_bytes(b"b\xffd/file"), "content");
    let outcome = job.clone().arg(root.arg()).run().expect(3);
    assert_eq!(outcome.databases("done"), ["acme.app"]);
    for link in ["evil.app", "alias.app"] {
        expect_words(outcome.error(link), &["read the directory", link]);
    }
    assert!(outcome.done.stdout.contains("its name is not UTF-8"), "{}", outcome.done.stdout);
    // A name that only looks dangerous is one like any other.
    root.fill("-rf ..%2F", 2, 100);
    let outcome = job.clone().arg(root.arg()).run().expect(3);
    assert_eq!(outcome.databases("done"), ["-rf ..%2F", "acme.app"]);
}

#[test]
fn links_in_a_store_are_left_out_and_said() {
    let job = job();
    let root = Root::of(&job);
    root.fill("acme.app", 2, 100);
    symlink("/etc/passwd", root.path("acme.app/outside")).unwrap();
    let outcome = job.clone().arg(root.arg()).run().expect(0);
    expect_words(&outcome.warnings(), &["1 file special: outside (a symbolic link; left out)"]);
    assert_eq!(facts(&set_of(&job, "acme.app")).skipped.total, 1);
}
