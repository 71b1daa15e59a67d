//! The programs that are compared.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};
use plana_testkit::{
    ceph::{Bucket, User},
    pg::PgCluster,
};

/// The optimised binary of a job.
pub fn job(name: &str) -> Result<PathBuf> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let path = target.join("release").join(name);
    ensure!(path.exists(), "{} is missing: run `make build` first", path.display());
    Ok(path)
}

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

/// rclone, as the installer left it.
pub fn rclone() -> Result<PathBuf> {
    let caches =
        [env::var_os("PLANA_TEST_CACHE").map(PathBuf::from), Some(root().join(".cache")), Some("/var/tmp/plana-jobs-cache".into())];
    let found = caches.into_iter().flatten().map(|cache| cache.join("rclone")).find(|path| path.exists());
    found.ok_or_else(|| anyhow::anyhow!("rclone is missing: run tools/install-deps.sh bench"))
}

/// A shell pipeline as a user would write it, with the server and the bucket (`remote:$BUCKET`) in its environment.
pub fn pipeline(script: &str, cluster: &PgCluster, bucket: &Bucket) -> Result<Command> {
    let mut command = Command::new("bash");
    command.args(["-o", "pipefail", "-c", script]);
    let path = format!("{}:{}", cluster.bin_dir().display(), env::var("PATH").unwrap_or_default());
    command.env_clear().envs(cluster.env()).env("PATH", path);
    with_remote(&mut command, bucket)?;
    Ok(command)
}

/// Gives a command rclone, with the bucket as `remote:$BUCKET`.
pub fn with_remote(command: &mut Command, bucket: &Bucket) -> Result<()> {
    let key = User::Admin.key();
    command.env("RCLONE", rclone()?).env("BUCKET", bucket.name());
    command.envs([
        ("HOME", "/nonexistent"),
        ("RCLONE_CONFIG", "/dev/null"),
        ("RCLONE_CONFIG_REMOTE_TYPE", "s3"),
        ("RCLONE_CONFIG_REMOTE_PROVIDER", "Ceph"),
        ("RCLONE_CONFIG_REMOTE_NO_CHECK_BUCKET", "true"),
        ("RCLONE_CONFIG_REMOTE_ENDPOINT", bucket.endpoint()),
        ("RCLONE_CONFIG_REMOTE_ACCESS_KEY_ID", &key.access),
        ("RCLONE_CONFIG_REMOTE_SECRET_ACCESS_KEY", &key.secret),
    ]);
    Ok(())
}

/// `restore-from-sos` with the same server and bucket, as the role that restores and with the key that reads.
pub fn restorer(arguments: &[&str], cluster: &PgCluster, bucket: &Bucket) -> Result<Command> {
    let mut command = Command::new(job("restore-from-sos")?);
    let path = format!("{}:{}", cluster.bin_dir().display(), env::var("PATH").unwrap_or_default());
    command.env_clear().envs(cluster.env()).envs(bucket.env(User::Restore)).env("PATH", path).env("PGUSER", "plana_restore");
    command.args(["--quiet", "--store"]).arg(format!("s3://{}", bucket.name())).args(arguments);
    Ok(command)
}

/// Our job with the same server and bucket, and the key that its work allows.
pub fn ours(arguments: &[&str], cluster: &PgCluster, bucket: &Bucket) -> Result<Command> {
    let mut command = Command::new(job("pg-dump-to-sos")?);
    let path = format!("{}:{}", cluster.bin_dir().display(), env::var("PATH").unwrap_or_default());
    command.env_clear().envs(cluster.env()).envs(bucket.env(User::Backup)).env("PATH", path);
    command.args(["--quiet", "--store"]).arg(format!("s3://{}", bucket.name())).args(arguments);
    Ok(command)
}
