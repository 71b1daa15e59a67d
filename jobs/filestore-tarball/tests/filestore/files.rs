//! Files that fail, change and vanish while they are read, and a file system that does not answer. Each fault comes at a moment
//! that is known, through a file system of our own.

use std::{
    fs,
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use plana_plan::Area;
use plana_testkit::{
    bin::Running,
    job::{Job, Outcome, store::Set},
    process::Signal,
    spoiled::{EIO, ESTALE, Spoil, SpoilRule, SpoiledTree, Step},
};

use crate::{Root, expect_same, expect_words, facts, job, noise, partial, paths, set_of};

/// A store behind a file system that can be spoiled.
struct Site {
    root: Root,
    tree: SpoiledTree,
    job: Job,
}

impl Site {
    fn new() -> Self {
        let job = job();
        let root = Root::of(&job);
        root.fill("acme.app", 20, 3_000);
        root.write("acme.app/zz/large", noise("large", 4 << 20));
        root.write("acme.app/zz/small", noise("small", 40_000));
        let mounted = job.home().join("mounted");
        fs::create_dir(&mounted).unwrap();
        let tree = SpoiledTree::mount(&root.0, &mounted).unwrap();
        let job = job.clone().arg(format!("--root={}", mounted.display()));
        Site { root, tree, job }
    }

    fn on(&self, step: Step, path: &str, spoil: Spoil) -> SpoilRule {
        self.tree.add(SpoilRule::on(step, path, spoil))
    }

    #[track_caller]
    fn whole(&self) -> Set {
        self.job.run().expect(0);
        let set = set_of(&self.job, "acme.app");
        assert!(facts(&set).is_whole());
        expect_same(&set, &self.root.path("acme.app"));
        set
    }

    /// Runs it: committed, with that one file listed, and the rest whole.
    #[track_caller]
    fn not_whole(&self, path: &str, words: &[&str]) -> Outcome {
        let outcome = self.job.run().expect(3);
        let set = set_of(&self.job, "acme.app");
        assert_eq!(paths(&facts(&set).not_whole), [path]);
        expect_words(partial(&outcome, "acme.app"), &["1 file not archived as they were", path]);
        expect_words(facts(&set).not_whole.listed[0].reason.as_deref().unwrap(), words);
        outcome
    }
}

fn act(act: impl Fn(&Path) + Send + Sync + 'static) -> Spoil {
    Spoil::Act(Arc::new(act))
}

#[test]
fn stale_handles_are_opened_again_once() {
    let site = Site::new();
    let rules = [(Step::Open, "zz/small"), (Step::Read, "zz/small"), (Step::Read, "zz/large"), (Step::List, "acme.app/zz")]
        .map(|(step, path)| site.tree.add(SpoilRule::on(step, path, Spoil::Fail(ESTALE)).times(1)));
    let late = site.tree.add(SpoilRule::on(Step::Read, "zz/large", Spoil::Fail(ESTALE)).from_offset(2 << 20).times(1));
    site.whole();
    for rule in rules.iter().chain([&late]) {
        assert_eq!(rule.hits(), 1);
    }
}

#[test]
fn an_error_that_passes_is_passed_over_and_one_that_lasts_is_listed() {
    let site = Site::new();
    site.tree.add(SpoilRule::on(Step::Read, "zz/small", Spoil::Fail(EIO)).times(2));
    site.whole();
    let site = Site::new();
    site.on(Step::Read, "zz/small", Spoil::Fail(EIO));
    site.not_whole("zz/small", &["not in the archive", "Input/output error"]);
}

#[test]
fn a_large_file_that_cannot_be_read_to_its_end_is_listed_and_filled() {
    let site = Site::new();
    site.tree.add(SpoilRule::on(Step::Read, "zz/large", Spoil::Fail(EIO)).from_offset(2 << 20));
    site.not_whole("zz/large", &["could not be read", "Input/output error", "zeros fill the rest"]);
    assert_eq!(site.job.store().only_set(Area::Filestore, "acme.app").manifest.filestore.unwrap().files, 22);
}

#[test]
fn a_rerun_makes_good_what_was_not_whole() {
    let site = Site::new();
    let rule = site.tree.add(SpoilRule::on(Step::Read, "zz/small", Spoil::Fail(EIO)).times(4));
    site.job.run().expect(3);
    assert_eq!(rule.hits(), 4);
    // Fresh as it is, it is not what was wanted.
    let outcome = site.job.clone().arg("--missing-within=12h").run().expect(0);
    assert_eq!(outcome.outcome("acme.app"), "done");
    let outcome = site.job.clone().arg("--missing-within=12h").run().expect(0);
    assert_eq!(outcome.outcome("acme.app"), "fresh");
}

#[test]
fn files_that_grow_at_every_look_are_listed_unless_their_source_says_that_they_grow() {
    let grow = |path: &Path| fs::File::options().append(true).open(path).unwrap().write_all(b"more").unwrap();
    for name in ["zz/small", "zz/large"] {
        let site = Site::new();
        site.on(Step::Read, name, act(grow));
        site.not_whole(name, &["it grew beyond its"]);
    }
    let site = Site::new();
    site.on(Step::Read, "zz/small", act(grow));
    let text = format!("[filestore.sources.a]\nroot = \"{}\"\ngrowing = true\n", site.tree.path().display());
    let job = job().config(&text);
    job.run().expect(0);
    assert_eq!(paths(&facts(&set_of(&job, "acme.app")).growing), ["zz/small"]);
}

#[test]
fn a_small_file_that_grew_is_read_again_as_it_is_now() {
    let grow = |path: &Path| fs::File::options().append(true).open(path).unwrap().write_all(b"more").unwrap();
    let site = Site::new();
    let rule = site.tree.add(SpoilRule::on(Step::Read, "zz/small", act(grow)).times(1));
    site.whole();
    assert_eq!(rule.hits(), 1);
}

#[test]
fn nothing_but_zeros_stands_for_what_a_small_file_lost_at_every_look() {
    let halve = |path: &Path| {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    };
    let site = Site::new();
    site.on(Step::Read, "zz/small", act(halve));
    site.not_whole("zz/small", &["shrank from", "zeros fill the rest"]);
    let set = set_of(&site.job, "acme.app");
    let taken = Command::new("tar").arg("-xOzf").arg(&set.volumes()[0]).arg("./zz/small").output().unwrap().stdout;
    let same = taken.iter().zip(noise("small", 40_000)).take_while(|(taken, was)| *taken == was).count();
    // Earlier looks, at more of it, have left their bytes in the same memory.
    assert!(same > 0 && same < taken.len() && taken[same..].iter().all(|byte| *byte == 0), "{same} of {}", taken.len());
}

#[test]
fn a_file_that_shrinks_while_it_is_read() {
    let cut = |size: u64| act(move |path: &Path| fs::File::options().write(true).open(path).unwrap().set_len(size).unwrap());
    // A small one is read again, as it is now.
    let site = Site::new();
    site.tree.add(SpoilRule::on(Step::Read, "zz/small", cut(100)).times(1));
    assert_eq!(facts(&site.whole()).files, 22);
    // A large one has its header out.
    let site = Site::new();
    site.tree.add(SpoilRule::on(Step::Read, "zz/large", cut(1 << 20)).from_offset(2 << 20));
    site.not_whole("zz/large", &["shrank from 4194304 to", "zeros fill the rest"]);
}

#[test]
fn files_that_vanish_or_are_replaced_between_listing_and_opening() {
    let replace = |with: fn(&Path)| {
        act(move |path: &Path| {
            fs::remove_file(path).unwrap();
            with(path);
        })
    };
    let site = Site::new();
    site.tree.add(SpoilRule::on(Step::Open, "zz/small", replace(|_| ())).times(1));
    let outcome = site.job.run().expect(0);
    assert_eq!(paths(&facts(&set_of(&site.job, "acme.app")).vanished), ["zz/small"]);
    assert_eq!(outcome.outcome("acme.app"), "done");
    for with in [|path: &Path| symlink("/etc/passwd", path).unwrap(), |path: &Path| fs::create_dir(path).unwrap()] as [fn(&Path); 2] {
        let site = Site::new();
        site.tree.add(SpoilRule::on(Step::Lookup, "zz/small", replace(with)).times(1));
        site.not_whole("zz/small", &["something else took its place"]);
    }
}

#[test]
fn an_attachment_that_is_just_being_written_is_waited_for() {
    for (begun, size) in [(10_000, 30_000), (2 << 20, 3 << 20)] {
        let site = Site::new();
        let content = noise("late", size);
        let path = site.root.path("acme.app").join(crate::attachment(&content));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &content[..begun]).unwrap();
        // The rest comes once it was opened for the first time.
        let rest = act(move |path: &Path| {
            let (mut file, rest) = (fs::File::options().append(true).open(path).unwrap(), content[begun..].to_vec());
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(100));
                file.write_all(&rest).unwrap();
            });
        });
        site.tree.add(SpoilRule::on(Step::Open, path.file_name().unwrap().to_str().unwrap(), rest).times(1));
        let set = site.whole();
        assert_eq!((facts(&set).proven, facts(&set).damaged.total), (21, 0));
    }
}

#[test]
fn a_tenant_that_is_removed_meanwhile_is_gone() {
    let site = Site::new();
    ["beta.app", "next.app"].iter().for_each(|tenant| site.root.fill(tenant, 3, 100));
    // One while it is read, another before its turn.
    let gone = ["acme.app", "next.app"];
    let removed = gone.map(|tenant| site.root.path(tenant));
    let remove = act(move |_| removed.iter().for_each(|tenant| fs::remove_dir_all(tenant).unwrap()));
    site.tree.add(SpoilRule::on(Step::Read, "zz/large", remove).times(1));
    let outcome = site.job.run().expect(0);
    assert_eq!((outcome.databases("gone"), outcome.databases("done")), (gone.map(str::to_owned).to_vec(), vec!["beta.app".to_owned()]));
    gone.iter().for_each(|tenant| site.job.store().expect_nothing_of(tenant));
}

/// Waits for the last words of a run whose process the kernel keeps until the file system answers, and lets it go then.
#[track_caller]
fn last_words(site: &Site, mut running: Running, within: Duration) -> Outcome {
    let begun = Instant::now();
    let said = running.wait_until("its last words", |running| running.stderr().contains("] run "));
    let elapsed = begun.elapsed();
    // Before anything fails here: nobody could end the run.
    site.tree.release();
    said.unwrap();
    assert!(elapsed < within, "{elapsed:?}");
    Outcome::wait(running)
}

#[test]
fn a_file_system_that_does_not_answer_fails_its_item_in_time() {
    // Only who reads a large file himself cannot be told; the others end at once, and nobody waits for them.
    for (step, path, within) in
        [(Step::Read, "zz/small", 12), (Step::Read, "zz/large", 40), (Step::Open, "zz/small", 12), (Step::List, "acme.app/zz", 12)]
    {
        let site = Site::new();
        site.root.fill("beta.app", 3, 100);
        site.on(step, path, Spoil::Hang);
        let running = site.job.clone().set("filestore.stall_timeout", "2s").spawn();
        let outcome = last_words(&site, running, Duration::from_secs(within)).expect(3);
        expect_words(outcome.error("acme.app"), &["nothing moved for 2s", "filestore.stall_timeout", "NFS mount may hang"]);
        assert_eq!(outcome.outcome("beta.app"), "done");
        site.job.store().expect_nothing_of("acme.app");
    }
}

#[test]
fn a_root_that_does_not_answer_keeps_the_others_from_nothing() {
    let site = Site::new();
    let other = Root::named(&site.job, "other");
    other.fill("beta.app", 3, 100);
    site.on(Step::List, "root", Spoil::Hang);
    let running = site.job.clone().arg(other.arg()).set("filestore.stall_timeout", "2s").spawn();
    let outcome = last_words(&site, running, Duration::from_secs(20)).expect(1);
    expect_words(outcome.run_error(), &["no answer within 2 s", "look at the mount"]);
    assert_eq!(outcome.databases("done"), ["beta.app"]);
}

#[test]
fn a_store_that_is_slow_for_ever_ends_at_its_deadline() {
    let site = Site::new();
    site.on(Step::Read, "", Spoil::Delay(Duration::from_millis(400)));
    let outcome = site.job.clone().set("filestore.timeout", "2s").set("filestore.workers", "1").run().expect(1);
    expect_words(outcome.error("acme.app"), &["finish within 2s", "filestore.timeout"]);
    site.job.store().expect_nothing_of("acme.app");
}

#[test]
fn a_signal_ends_a_run_that_waits_for_a_dead_mount() {
    let site = Site::new();
    let rule = site.on(Step::Read, "zz/large", Spoil::Hang);
    let mut running = site.job.spawn();
    running.wait_until("the read", |_| rule.hits() > 0).unwrap();
    running.signal(Signal::TERM).unwrap();
    last_words(&site, running, Duration::from_secs(12)).expect(143);
    site.job.store().expect_nothing_of("acme.app");
}

#[test]
fn unreadable_files_are_listed_for_a_user_who_is_not_root() {
    let job = job();
    let root = Root::of(&job);
    root.fill("acme.app", 5, 100);
    let secret: PathBuf = root.write("acme.app/aa/secret", "content");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    fs::create_dir(root.path("acme.app/closed")).unwrap();
    fs::set_permissions(root.path("acme.app/closed"), fs::Permissions::from_mode(0o000)).unwrap();
    for path in [job.home().to_path_buf(), job.home().join("state")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let program = env!("CARGO_BIN_EXE_filestore-tarball");
    let (state, store) = (job.home().join("state"), format!("file://{}", job.home().join("store").display()));
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", program, "--output=json", &root.arg()]);
    let done = command.env("PLANA_JOBS__STATE_DIR", state).env("PLANA_JOBS__STORE__BACKUPS__URL", store).output().unwrap();
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(3), "{stderr}");
    let set = set_of(&job, "acme.app");
    assert_eq!(paths(&facts(&set).not_whole), ["aa/secret", "closed"]);
    expect_words(&stderr, &["2 files not archived as they were", "Permission denied"]);
}
