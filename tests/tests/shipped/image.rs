//! What the image holds is enough: the CronJobs' own commands run in a root that holds what the last stage of the
//! Containerfile names and nothing else, as the pod's user, with its mounts, its root read-only, its capabilities gone.
//!
//! No registry is asked: the packages are this host's (Debian 12, as the image's), and of PostgreSQL's clients there is
//! Debian's own 15; 16 to 18 come from a repository that the build alone reaches.

use std::{
    collections::BTreeSet,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use plana_testkit::{
    ceph::{Bucket, Gateway, User},
    pg::{PgCluster, PgMajor},
};
use serde_json::Value;

use crate::{jobs, rendered, text};

/// What of `debian:bookworm-slim` is counted on, though the Containerfile does not name it.
const BASE: [&str; 3] = ["coreutils", "dash", "libc6"];

/// The instructions of the Containerfile's last stage, continued lines joined.
fn last_stage() -> Vec<String> {
    let file = text("Containerfile").replace("\\\n", " ");
    let stage = file.rsplit("\nFROM ").next().expect("a stage").to_owned();
    stage.lines().skip(1).filter(|line| !line.starts_with('#') && !line.is_empty()).map(str::to_owned).collect()
}

/// The packages that it installs.
fn packages() -> Vec<String> {
    let run = last_stage().into_iter().find(|line| line.contains("apt-get install")).expect("it installs something");
    let named = run.split("--no-install-recommends ").nth(1).and_then(|rest| rest.split("&&").next()).expect("packages").to_owned();
    named.split_whitespace().map(str::to_owned).collect()
}

/// The jobs that it copies.
fn binaries() -> Vec<String> {
    let copy = last_stage().into_iter().find(|line| line.starts_with("COPY --from=build")).expect("it copies the jobs");
    copy.split_whitespace().filter_map(|word| Some(word.strip_prefix("/src/target/release/")?.to_owned())).collect()
}

/// Standard output of a program that must succeed.
#[track_caller]
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// These packages with all that they depend on.
fn closure(packages: &[String]) -> BTreeSet<String> {
    let quiet = ["--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances"];
    let names: Vec<&str> = packages.iter().map(String::as_str).collect();
    let listed = said("apt-cache", &[&["depends", "--installed", "--recurse"][..], &quiet, &names].concat());
    listed.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase())).map(str::to_owned).collect()
}

/// The root file system, with nothing but what the Containerfile puts there.
struct Root {
    directory: tempfile::TempDir,
}

impl Root {
    fn new() -> Self {
        let root = Root { directory: tempfile::Builder::new().prefix("plana-image-").tempdir().expect("a directory") };
        std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).expect("a mode");
        for link in ["bin", "lib", "lib64", "sbin"] {
            std::fs::create_dir_all(root.path().join("usr").join(link)).expect("a directory");
            symlink(format!("usr/{link}"), root.path().join(link)).expect("a link");
        }
        let wanted: Vec<String> = packages().into_iter().chain(BASE.map(str::to_owned)).collect();
        for package in closure(&wanted) {
            // Packages without an architecture in their name are found too.
            let Ok(listed) = Command::new("dpkg").args(["-L", &package]).output() else { continue };
            String::from_utf8_lossy(&listed.stdout).lines().map(Path::new).for_each(|file| root.copy(file));
        }
        // update-ca-certificates makes this one when the package is installed.
        root.copy(Path::new("/etc/ssl/certs/ca-certificates.crt"));
        for program in ["pg_dump", "pg_dumpall", "pg_restore"] {
            root.copy(&Path::new("/usr/lib/postgresql/15/bin").join(program));
        }
        assert!(text("Containerfile").contains("/clients/usr/lib/libpq.so.5"));
        std::fs::copy("/usr/lib/x86_64-linux-gnu/libpq.so.5", root.path().join("usr/lib/libpq.so.5")).expect("libpq");
        for place in [
            "proc",
            "dev",
            "tmp",
            "etc/plana-jobs",
            "run/secrets/plana-jobs",
            "var/lib/plana-jobs",
            "var/lib/odoo/filestore",
            "usr/local/bin",
        ] {
            std::fs::create_dir_all(root.path().join(place)).expect("a directory");
        }
        for file in binaries().iter().map(|name| format!("usr/local/bin/{name}")).chain(["dev/null", "dev/urandom"].map(str::to_owned)) {
            std::fs::write(root.path().join(file), "").expect("a place to mount");
        }
        root
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A file of the host, at the same place, if it is one that a program needs: no documents, no sources of certificates.
    fn copy(&self, file: &Path) {
        let needed = ["/bin/", "/lib/", "/lib64/", "/usr/bin/", "/usr/lib/", "/usr/libexec/", "/etc/ssl/"];
        let is_needed = needed.iter().any(|place| file.starts_with(place)) && !file.starts_with("/usr/lib/x86_64-linux-gnu/gconv");
        let Ok(meta) = file.symlink_metadata() else { return };
        if !is_needed || meta.is_dir() {
            return;
        }
        let target = self.path().join(file.strip_prefix("/").expect("absolute"));
        std::fs::create_dir_all(target.parent().expect("a directory")).expect("a directory");
        if target.symlink_metadata().is_ok() {
            return;
        }
        if meta.is_symlink() {
            symlink(std::fs::read_link(file).expect("a link"), target).expect("a link");
        } else {
            std::fs::copy(file, target).expect("a copy");
        }
    }
}

/// What a pod has besides the root: directories of this host by the names of its volumes.
struct Volumes {
    home: tempfile::TempDir,
}

impl Volumes {
    fn of(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }
}

/// Runs a pod's command as Kubernetes would.
fn run(root: &Root, volumes: &Volumes, pod: &Value, more: &[&str]) -> Output {
    let (rooted, spec, container) = (root.path().display().to_string(), &pod["securityContext"], &pod["containers"][0]);
    let id = |name: &str| spec[name].as_u64().expect("an id").to_string();
    let groups: Vec<String> =
        spec["supplementalGroups"].as_array().into_iter().flatten().map(Value::to_string).chain([id("fsGroup")]).collect();
    let mut script = String::from("set -e\n");
    let mut bind = |from: &str, to: &str, read_only: bool| {
        script += &format!("mount --bind '{from}' '{rooted}{to}'\n");
        if read_only {
            script += &format!("mount -o remount,bind,ro '{rooted}{to}'\n");
        }
    };
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    bind(&rooted, "", true);
    let targets = std::env::current_exe().expect("this test").ancestors().nth(2).expect("the target directory").to_path_buf();
    for name in binaries() {
        bind(&targets.join(&name).display().to_string(), &format!("/usr/local/bin/{name}"), true);
    }
    for mount in container["volumeMounts"].as_array().expect("mounts") {
        let (name, place) = (mount["name"].as_str().expect("a name"), mount["mountPath"].as_str().expect("a path"));
        bind(&volumes.of(name).display().to_string(), place, mount["readOnly"] == true);
    }
    bind("/dev/null", "/dev/null", false);
    bind("/dev/urandom", "/dev/urandom", false);
    // setuid takes every capability away, and no_new_privs keeps it so.
    script += &format!("mount -t proc proc '{rooted}/proc'\n");
    script += &format!(
        "exec setpriv --no-new-privs chroot --userspec={}:{} --groups={} '{rooted}' /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin \"$@\"\n",
        id("runAsUser"),
        id("runAsGroup"),
        groups.join(",")
    );
    let sudo: &[&str] = if said("id", &["-u"]).trim() == "0" { &[] } else { &["sudo", "-n"] };
    let unshare = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", &script, "pod"];
    let words: Vec<&str> = sudo.iter().chain(&unshare).copied().collect();
    Command::new(words[0]).args(&words[1..]).args(rendered::command(pod)).args(more).output().expect("unshare")
}

#[track_caller]
fn expect(output: &Output, code: i32, at: &str) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(output.status.code(), Some(code), "{at}: {}\n{}", text(&output.stderr), text(&output.stdout));
    text(&output.stdout)
}

fn pod(name: &str) -> &'static Value {
    let (_, job) = rendered::of("overlays/example").jobs().find(|(found, _)| *found == name).expect("a job");
    &job["template"]["spec"]
}

/// Writes what a pod's volumes hold: the ConfigMap's configuration with this test's store, and a Secret of that user's.
fn fill(volumes: &Volumes, bucket: &Bucket, cluster: &PgCluster, user: User) {
    let (config, secrets) = (volumes.of("config"), volumes.of("secrets"));
    [&config, &secrets].iter().for_each(|directory| std::fs::create_dir_all(directory).expect("a directory"));
    let (_, map) = rendered::of("overlays/example").kind("ConfigMap").next().expect("a ConfigMap");
    let shipped = map["data"]["config.toml"].as_str().expect("text");
    let own = shipped
        .replace("s3://my-backups", &format!("s3://{}", bucket.name()))
        .replace("https://s3.example.org", bucket.endpoint())
        .replace("\"eu-central-1\"", &format!("\"{}\"", plana_testkit::ceph::REGION));
    assert_ne!(own, shipped);
    std::fs::write(config.join("config.toml"), own).expect("the configuration");
    let key = user.key();
    for (name, value) in [
        ("store.backups.access_key_id", key.access.clone()),
        ("store.backups.secret_access_key", key.secret.clone()),
        ("postgres.dsn", cluster.dsn("postgres")),
        ("restore.scratch_dsn", cluster.dsn("postgres")),
    ] {
        let file = secrets.join(name);
        std::fs::write(&file, value).expect("a secret");
        // As Kubernetes mounts a Secret with defaultMode 0440 and an fsGroup.
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o440)).expect("a mode");
        std::os::unix::fs::chown(&file, Some(0), Some(65532)).expect("root: the test owns what it mounts");
    }
}

#[test]
fn the_cron_jobs_do_their_work_in_what_the_image_holds() {
    let (root, volumes) = (Root::new(), Volumes { home: tempfile::tempdir().expect("a directory") });
    std::fs::set_permissions(volumes.home.path(), std::fs::Permissions::from_mode(0o755)).expect("a mode");
    let bucket = Gateway::shared().bucket("image").expect("a bucket");
    let cluster = PgCluster::start(PgMajor::V15).expect("a server");
    let tenant = "acme.example.org";
    cluster.psql("postgres", &format!("CREATE DATABASE \"{tenant}\"")).expect("a database");
    cluster.psql(tenant, "CREATE TABLE t AS SELECT generate_series(1, 1000) AS n").expect("rows");
    std::fs::create_dir_all(volumes.of("state")).expect("a directory");
    std::os::unix::fs::chown(volumes.of("state"), Some(65532), Some(65532)).expect("an owner");
    // Files that the group 101 may read, and nobody else.
    let files = volumes.of("filestore").join(tenant).join("3c");
    std::fs::create_dir_all(&files).expect("a directory");
    // The SHA-1 of the content, as Odoo names it.
    let file = files.join("3ca69e8d6c234a469d16ac28a4a658c92267c423");
    std::fs::write(&file, "a\nb\nc\n").expect("a file");
    for path in [files.parent().expect("a tenant"), &files, &file] {
        std::os::unix::fs::chown(path, Some(0), Some(101)).expect("a group");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(if path == file { 0o640 } else { 0o750 })).expect("a mode");
    }

    fill(&volumes, &bucket, &cluster, User::Backup);
    expect_no_rights(&root, &volumes);
    let done = expect(&run(&root, &volumes, pod("pg-dump-to-sos"), &[]), 0, "pg-dump-to-sos");
    assert!(done.contains(tenant) && done.contains("globals"), "{done}");
    // Debian's stdbuf is there: pg_dump is started through it.
    expect(&run(&root, &volumes, pod("pg-dump-to-sos-check"), &[]), 0, "pg-dump-to-sos-check");
    let taken = expect(&run(&root, &volumes, pod("filestore-tarball"), &["--output", "json"]), 0, "filestore-tarball");
    let taken: Value = serde_json::from_str(&taken).expect("JSON");
    assert_eq!((&taken["items"][0]["name"], &taken["items"][0]["outcome"]), (&tenant.into(), &"done".into()), "{taken:#}");
    // What is missing for the group is missing for the job: the files are not readable to everybody.
    let mut other = pod("filestore-tarball").clone();
    other["securityContext"]["supplementalGroups"] = Value::Null;
    let refused = run(&root, &volumes, &other, &["--only", tenant, "--missing-within", "1s"]);
    assert_ne!(refused.status.code(), Some(0), "{}", String::from_utf8_lossy(&refused.stderr));

    fill(&volumes, &bucket, &cluster, User::Restore);
    expect(&run(&root, &volumes, pod("restore-drill-filestore"), &[]), 0, "restore-drill-filestore");
    fill(&volumes, &bucket, &cluster, User::Pruner);
    // The pruner's own guard: nothing is deleted before somebody has allowed it.
    expect(&run(&root, &volumes, pod("retention-pruner"), &[]), 20, "retention-pruner");
    expect(&run(&root, &volumes, pod("retention-pruner-check"), &[]), 0, "retention-pruner-check");
}

/// The pod is as it should be: another user, no capability, nothing to be gained, nothing to be written but the state.
fn expect_no_rights(root: &Root, volumes: &Volumes) {
    let mut pod = pod("filestore-tarball").clone();
    let look = "cat /proc/self/status; for place in / /tmp /etc/plana-jobs /var/lib/odoo/filestore /var/lib/plana-jobs; do \
                touch \"$place/x\" 2>/dev/null && echo \"wrote $place\"; done; true";
    pod["containers"][0]["command"] = serde_json::json!(["sh", "-c", look]);
    let status = expect(&run(root, volumes, &pod, &[]), 0, "a look");
    for line in ["Uid:\t65532\t65532", "Gid:\t65532\t65532", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(status.contains(line), "{line} is not in {status}");
    }
    assert_eq!(status.lines().filter(|line| line.starts_with("wrote")).collect::<Vec<_>>(), ["wrote /var/lib/plana-jobs"], "{status}");
    assert!(status.lines().any(|line| line.starts_with("Groups:") && line.contains("101")), "{status}");
}

#[test]
fn the_image_holds_every_job_and_the_clients_of_every_major() {
    let mut jobs: Vec<String> = jobs::all().iter().map(|job| job.get_name().to_owned()).collect();
    let mut copied = binaries();
    jobs.sort();
    copied.sort();
    assert_eq!(copied, jobs);
    let file = text("Containerfile");
    for major in 15..=18 {
        assert!(file.contains(&format!("postgresql-client-{major}")), "{major}");
    }
    assert!(file.contains("for major in 15 16 17 18;") && file.contains("for program in pg_dump pg_dumpall pg_restore;"));
    let stage = last_stage();
    let user = stage.iter().position(|line| line == "USER 65532:65532").expect("a user");
    assert!(stage[user + 1..].iter().all(|line| !line.starts_with("USER") && !line.starts_with("RUN")), "{stage:?}");
    // The toolchain is the one that the workspace needs, and nothing is taken by `latest`.
    let manifest = text("Cargo.toml");
    let rust = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"')).expect("a version");
    assert!(file.contains(&format!("rust:{rust}-slim-bookworm")) && !file.contains(":latest"), "{rust}");
    assert!(file.contains("cargo build --release --locked"));
}
