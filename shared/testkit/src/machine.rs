//! A Debian with a systemd of its own, booted in a container: what is written into it is gone with it.

use std::fs::File;
use std::net::TcpListener;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::bin::{Bin, Done};
use crate::process::{Home, Server, Signal, clean};
use crate::proxy::TcpProxy;

/// The tree that `tools/install-deps.sh test` makes.
const TREE: &str = "debian-12-root-1";

/// A booted machine; it is turned off when this is dropped, or when this process dies.
#[derive(Debug)]
pub struct Machine {
    // Before its home and the tree's lock.
    server: Server,
    leader: u32,
    home: Home,
    _tree: File,
}

impl Machine {
    /// Boots it, with `shared` of this host to be read as `/shared`. It has no network but its loopback.
    ///
    /// # Errors
    /// When this is not root, when a tool or the tree is missing, or when systemd does not come up.
    pub fn boot(shared: &Path) -> Result<Self> {
        ensure!(rustix::process::getuid().is_root(), "failed to boot a systemd: systemd-nspawn needs root; run this test as root");
        let tree = crate::cache::cached(TREE)?;
        // nspawn wants the tree for itself; another test process may be using it.
        let lock = File::create(tree.with_extension("in-use"))?;
        lock.lock()?;
        let home = Home::new("machine")?;
        let mut command = Command::new("systemd-nspawn");
        clean(&mut command);
        command.args(["--quiet", "--register=no", "--keep-unit", "--volatile=overlay", "--private-network", "--console=pipe", "--boot"]);
        command.arg(format!("--machine=plana-{}", std::process::id()));
        command.arg("--directory").arg(&tree).arg(format!("--bind-ro={}:/shared", shared.display()));
        let mut server = Server::spawn(&home, "systemd-nspawn", &mut command, Signal::TERM)?;
        let nspawn = server.pid();
        let mut leader = None;
        server.wait_ready(|| {
            // Its first child only makes the second, which becomes the machine's first process.
            leader = child_of(nspawn);
            leader.is_some_and(|leader| inside(leader, &["systemctl", "is-system-running"]).is_ok_and(|done| is_up(&done.stdout)))
        })?;
        let leader = leader.context("failed to find the machine's first process")?;
        Ok(Self { server, leader, home, _tree: lock })
    }

    /// A way from the machine's own loopback to a port of this host's: what is connected there to the proxy's port reaches it.
    ///
    /// # Errors
    /// When the machine's network cannot be entered, or it has no such port free.
    pub fn reach(&self, port: u16) -> Result<TcpProxy> {
        let network = File::open(format!("/proc/{}/ns/net", self.leader))?;
        // A socket belongs to the network in which it was made, whoever uses it then.
        TcpProxy::start_where(port, move |address| {
            let enter_and_bind = || {
                rustix::thread::move_into_link_name_space(network.as_fd(), Some(rustix::thread::LinkNameSpaceType::Network))?;
                TcpListener::bind(address)
            };
            std::thread::scope(|scope| scope.spawn(enter_and_bind).join().expect("it binds or says why not"))
        })
    }

    /// Runs a shell script in it, as root, to its end.
    pub fn sh(&self, script: &str) -> Result<Done> {
        inside(self.leader, &["sh", "-ec", script])
    }

    /// Runs a shell script that must succeed, and gives what it printed.
    #[track_caller]
    pub fn must(&self, script: &str) -> String {
        let done = self.sh(script).unwrap_or_else(|error| panic!("{script}: {error:#}"));
        assert_eq!(done.code(), Some(0), "{script}\nstdout:\n{}\nstderr:\n{}\n{}", done.stdout, done.stderr, self.server.log_tail());
        done.stdout.trim_end().to_owned()
    }

    /// Waits until a shell script succeeds.
    #[track_caller]
    pub fn wait_for(&self, what: &str, script: &str, limit: Duration) {
        let begun = Instant::now();
        while self.sh(script).ok().and_then(|done| done.code()) != Some(0) {
            let journal = || self.sh("journalctl --no-pager -n 60").map(|done| done.stdout).unwrap_or_default();
            assert!(begun.elapsed() < limit, "failed to see {what} in {limit:?}; the journal ends:\n{}", journal());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.server.end(&self.home);
    }
}

fn is_up(state: &str) -> bool {
    matches!(state.trim(), "running" | "degraded")
}

/// The only child of a process.
fn child_of(pid: u32) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().last()?.parse().ok()
}

fn inside(leader: u32, arguments: &[&str]) -> Result<Done> {
    let target = leader.to_string();
    Bin::program("/usr/bin/nsenter")
        .args(["--target", &target, "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd=/", "--"])
        .args(arguments)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .run()
}
