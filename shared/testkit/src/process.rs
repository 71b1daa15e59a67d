//! What all servers share: a directory, a port, a child process, and a keeper that removes them whatever happens.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
pub use rustix::process::Signal;

/// How long a server may take to answer after its start; generous, since tests share two cores with the compiler.
pub(crate) const START_LIMIT: Duration = Duration::from_secs(60);

/// Reads `run SIGNAL PID` and `gone PID` lines until its standard input ends, which it does when the test process
/// is gone, however it went; then stops what still runs and removes the directory.
const KEEPER: &str = r#"
trap '' HUP INT TERM QUIT
running=
while read -r verb signal pid; do
  case $verb in
    run) running="$running $signal:$pid" ;;
    gone) kept=; for one in $running; do [ "${one#*:}" = "$signal" ] || kept="$kept $one"; done; running=$kept ;;
  esac
done
alive() { state=$(cat "/proc/${1#*:}/stat" 2>/dev/null) && case $state in *') Z '*) false ;; esac; }
for one in $running; do kill -CONT "${one#*:}"; kill -"${one%%:*}" "${one#*:}"; done 2>/dev/null
for round in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  left=
  for one in $running; do alive "$one" && left=1; done
  [ -n "$left" ] || break
  sleep 0.1
done
for one in $running; do kill -KILL "${one#*:}"; done 2>/dev/null
if [ -d "$1/disk" ]; then umount -l "$1/disk" || sudo -n umount -l "$1/disk"; fi 2>/dev/null
rm -rf --one-file-system -- "$1"
"#;

/// The name of the directory in a home on which the keeper expects a file system.
pub(crate) const DISK: &str = "disk";

/// A temporary directory and the servers that live in it. Dropping it, or the death of this process, ends both.
#[derive(Debug)]
pub(crate) struct Home {
    path: PathBuf,
    keeper: Mutex<(Child, Option<ChildStdin>)>,
}

impl Home {
    /// Makes `/tmp/plana-{kind}-XXXXXX`: a short path, for socket names may have 107 bytes only.
    pub(crate) fn new(kind: &str) -> Result<Self> {
        let parent = std::env::var_os("PLANA_TEST_TMP").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
        let path = tempfile::Builder::new()
            .prefix(&format!("plana-{kind}-"))
            .tempdir_in(&parent)
            .with_context(|| format!("failed to make a directory in {}", parent.display()))?
            .keep();
        // Servers and clients that run as other users pass through it.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        let mut keeper = Command::new("/bin/sh")
            .args(["-c", KEEPER, "plana-keeper"])
            .arg(&path)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What is sent to the group of the tests (a terminal's interrupt, a runner's timeout) must not end it.
            .process_group(0)
            .spawn()
            .context("failed to start the keeper")?;
        let line = keeper.stdin.take();
        Ok(Self { path, keeper: Mutex::new((keeper, line)) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn tell(&self, line: &str) -> Result<()> {
        let mut keeper = lock(&self.keeper);
        let (_, Some(pipe)) = &mut *keeper else { bail!("failed to reach the keeper of {}", self.path.display()) };
        writeln!(pipe, "{line}").with_context(|| format!("failed to reach the keeper of {}", self.path.display()))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let mut keeper = lock(&self.keeper);
        drop(keeper.1.take());
        keeper.0.wait().ok();
    }
}

/// A server process that its [`Home`]'s keeper knows.
#[derive(Debug)]
pub(crate) struct Server {
    name: &'static str,
    child: Child,
    log: PathBuf,
    /// What ends it at once and cleanly enough.
    quick: Signal,
}

impl Server {
    /// Starts `command` with its output in `{home}/{name}.log`.
    pub(crate) fn spawn(home: &Home, name: &'static str, command: &mut Command, quick: Signal) -> Result<Self> {
        let log = home.join(&format!("{name}.log"));
        let out = OpenOptions::new().create(true).append(true).open(&log)?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).process_group(0);
        let child = command
            .spawn()
            .with_context(|| format!("failed to start {}: run tools/install-deps.sh test", command.get_program().to_string_lossy()))?;
        let mut server = Self { name, child, log, quick };
        let told = home.tell(&format!("run {} {}", quick.as_raw(), server.pid()));
        if told.is_err() {
            server.end(home);
        }
        told.map(|()| server)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        send(self.pid(), signal)
    }

    /// Waits until `ready` answers; fails when the server ends before, or takes too long.
    pub(crate) fn wait_ready(&mut self, mut ready: impl FnMut() -> bool) -> Result<()> {
        let begun = Instant::now();
        while !ready() {
            if let Some(status) = self.child.try_wait()? {
                bail!("failed to start {}: it ended with {status}; its log ends:\n{}", self.name, self.log_tail());
            }
            ensure!(
                begun.elapsed() < START_LIMIT,
                "failed to start {}: no answer in {START_LIMIT:?}; its log ends:\n{}",
                self.name,
                self.log_tail()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, home: &Home, limit: Duration) -> Result<ExitStatus> {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                home.tell(&format!("gone {}", self.pid())).ok();
                return Ok(status);
            }
            ensure!(begun.elapsed() < limit, "failed to stop {}: it still runs after {limit:?}", self.name);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it now, by force where it does not follow.
    pub(crate) fn end(&mut self, home: &Home) {
        self.signal(Signal::CONT).ok();
        self.signal(self.quick).ok();
        if self.wait(home, Duration::from_secs(3)).is_err() {
            self.child.kill().ok();
            self.wait(home, Duration::from_secs(3)).ok();
        }
    }

    pub(crate) fn log_tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(4000)..]).into_owned()
    }
}

/// Sends `signal` to the process `pid`.
pub fn send(pid: u32, signal: Signal) -> Result<()> {
    let raw = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw).context("failed to signal: no such process id")?;
    rustix::process::kill_process(raw, signal).with_context(|| format!("failed to send {signal:?} to process {pid}"))
}

/// Locks `mutex` also after another test's panic: what it guards is a server, and that is still the same.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A TCP port of 127.0.0.1 that no other test process takes while this value lives.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _claim: File,
}

impl Port {
    /// Claims a free port below the range from which the kernel takes the ports of outgoing connections.
    pub fn claim() -> Result<Self> {
        let directory = common_directory()?.join("ports");
        std::fs::create_dir_all(&directory)?;
        let (first, count) = (12_000_u32, 2_000_u32);
        let start = std::process::id().wrapping_mul(37) % count;
        for step in 0..count {
            let number = u16::try_from(first + (start + step) % count)?;
            let claim = OpenOptions::new().create(true).truncate(false).write(true).open(directory.join(number.to_string()))?;
            if claim.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self { number, _claim: claim });
            }
        }
        bail!("failed to find a free port on 127.0.0.1 between {first} and {}", first + count)
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// Whether something accepts connections on that port of 127.0.0.1.
#[must_use]
pub fn accepts(port: u16) -> bool {
    TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), Duration::from_secs(1)).is_ok()
}

/// A directory that the test processes of this user share: port claims and PostgreSQL's prepared clusters.
pub(crate) fn common_directory() -> Result<PathBuf> {
    let uid = rustix::process::getuid().as_raw();
    let path = PathBuf::from(format!("/tmp/plana-testkit-{uid}"));
    if let Err(error) = std::fs::create_dir(&path)
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(error).with_context(|| format!("failed to make {}", path.display()));
    }
    let found = std::fs::symlink_metadata(&path)?;
    ensure!(found.is_dir() && found.uid() == uid, "failed to use {}: it is not a directory of this user", path.display());
    // Servers that run as another user pass through it, whatever the umask.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// A command that runs as an unprivileged user when we are root, with none of our settings of PostgreSQL.
pub(crate) fn unprivileged(program: impl AsRef<OsStr>) -> Command {
    let mut command = match unprivileged_user() {
        Some((uid, gid)) => {
            let mut command = Command::new("setpriv");
            command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".into(), "--".into()]);
            command.arg(program);
            command
        }
        None => Command::new(program),
    };
    clean(&mut command);
    command.current_dir("/");
    command
}

/// Takes the settings of libpq, the AWS libraries and our own jobs out of the environment of `command`.
pub(crate) fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["PG", "AWS_", "PLANA_", "RUST_LOG", "NO_COLOR", "CREDENTIALS_DIRECTORY", "STATE_DIRECTORY", "JOB_COMPLETION_INDEX"]
            .iter()
            .any(|prefix| text.starts_with(prefix))
        {
            command.env_remove(&name);
        }
    }
    command.env("LC_ALL", "C.UTF-8");
}

/// The user and group for servers that refuse root: `postgres`, else `nobody`; none when we are not root.
pub(crate) fn unprivileged_user() -> Option<(u32, u32)> {
    if !rustix::process::getuid().is_root() {
        return None;
    }
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |user: &str| {
        accounts.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(user)).then(|| Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?)))?
        })
    };
    find("postgres").or_else(|| find("nobody")).or(Some((65534, 65534)))
}

/// Gives `path` to the unprivileged user, where there is one.
pub(crate) fn give_away(path: &Path) -> Result<()> {
    if let Some((uid, gid)) = unprivileged_user() {
        std::os::unix::fs::chown(path, Some(uid), Some(gid)).with_context(|| format!("failed to give {} away", path.display()))?;
    }
    Ok(())
}

/// Writes a new file that only its owner can read.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes()).with_context(|| format!("failed to write {}", path.display()))
}

/// Runs a command to its end and gives its standard output; an error carries what it wrote to standard error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let done = command.stdin(Stdio::null()).output().with_context(|| format!("failed to run {name}: run tools/install-deps.sh test"))?;
    ensure!(done.status.success(), "failed to run {command:?}: {}: {}", done.status, String::from_utf8_lossy(&done.stderr).trim());
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}

/// Six random lower-case letters and digits, for names that tests must not share.
pub(crate) fn random_suffix() -> Result<String> {
    let mut bytes = [0_u8; 6];
    std::io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes.iter().map(|byte| char::from(b"abcdefghijklmnopqrstuvwxyz012345"[usize::from(byte % 32)])).collect())
}
