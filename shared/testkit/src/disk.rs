//! A file system that fills up.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process::{DISK, Home, output};

/// A directory on a small file system in memory; gone when it is dropped, or with this process.
#[derive(Debug)]
pub struct SmallDisk {
    home: Home,
}

impl SmallDisk {
    /// Makes one that holds so many bytes (rounded up to a page), for everybody to write. Mounting takes root, or sudo
    /// without a question.
    pub fn new(bytes: u64) -> Result<Self> {
        let home = Home::new("disk")?;
        let disk = Self { home };
        std::fs::create_dir(disk.path())?;
        let mut command = if rustix::process::getuid().is_root() { Command::new("mount") } else { Command::new("sudo") };
        if !rustix::process::getuid().is_root() {
            command.args(["-n", "mount"]);
        }
        command.args(["-t", "tmpfs", "-o", &format!("size={bytes},mode=0777"), "plana-testkit"]).arg(disk.path());
        output(&mut command).context("failed to mount a small disk: it takes root, or sudo without a password")?;
        Ok(disk)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.home.join(DISK)
    }
}
