//! The rehearsal as a process, and what it leaves behind.

use std::{
    fs::Permissions,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use plana_testkit::process::{self, Port, Signal};
use serde_json::Value;
use tempfile::TempDir;

/// A process that ended.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Ended {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in stdout {:?}, stderr {}", self.stdout, self.stderr))
    }

    /// How many lines of the log say this.
    pub fn logged(&self, text: &str) -> usize {
        self.stderr.lines().filter(|line| line.contains(text)).count()
    }
}

/// A directory with a configuration, for one test.
pub struct Place {
    pub dir: TempDir,
}

impl Place {
    pub fn new(config: &str) -> Self {
        let place = Place { dir: tempfile::tempdir().unwrap() };
        place.configure(config);
        place
    }

    pub fn configure(&self, config: &str) {
        let state = self.path("state");
        let file = self.path("config.toml");
        std::fs::write(&file, format!("state_dir = {state:?}\n{config}")).unwrap();
        // It holds passwords: the configuration would rightly warn.
        std::fs::set_permissions(file, Permissions::from_mode(0o600)).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The rehearsal with these arguments, in an environment that holds nothing else.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(rehearsal());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.arg("--config").arg(self.path("config.toml")).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn run(&self, args: &[&str]) -> Ended {
        end(self.command(args))
    }
}

/// The example that cargo builds together with the tests.
pub fn rehearsal() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.ancestors().nth(2).unwrap().join("examples/rehearsal");
    assert!(path.exists(), "{} is missing: cargo build -p plana-harness --examples", path.display());
    path
}

/// Runs the command to its end.
pub fn end(mut command: Command) -> Ended {
    let begun = Instant::now();
    let output = command.output().unwrap();
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        took: begun.elapsed(),
    }
}

/// A process at work.
pub struct AtWork {
    child: Child,
    begun: Instant,
    stderr: std::thread::JoinHandle<String>,
    seen: std::sync::Arc<std::sync::Mutex<String>>,
}

impl AtWork {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut pipe = child.stderr.take().unwrap();
        let seen = std::sync::Arc::new(std::sync::Mutex::new(String::new()));
        let sink = seen.clone();
        let stderr = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = pipe.read(&mut buffer) {
                sink.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
            sink.lock().unwrap().clone()
        });
        AtWork { child, begun: Instant::now(), stderr, seen }
    }

    /// Waits until the log says this so many times.
    pub fn wait_for(&self, text: &str, times: usize) {
        let begun = Instant::now();
        loop {
            let seen = self.seen.lock().unwrap().clone();
            if seen.matches(text).count() >= times {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{text:?} was not logged {times} times: {seen}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// How many times the log said this so far.
    pub fn seen_times(&self, text: &str) -> usize {
        self.seen.lock().unwrap().matches(text).count()
    }

    pub fn signal(&self, signal: Signal) {
        process::send(self.child.id(), signal).unwrap();
    }

    pub fn end(mut self) -> Ended {
        let mut stdout = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        let status = self.child.wait().unwrap();
        Ended { code: status.code(), stdout, stderr: self.stderr.join().unwrap(), took: self.begun.elapsed() }
    }
}

/// A server of this test's own, gone with it.
pub struct Server {
    child: Child,
    pub port: u16,
    _dir: TempDir,
}

impl Server {
    fn start(program: &str, args: impl FnOnce(u16, &Path) -> Vec<String>) -> Self {
        let port = Port::claim().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let number = port.number();
        // Gone also when this process is killed. setpriv becomes the program, so the child's id is the server's.
        let child = Command::new("setpriv")
            .args(["--pdeathsig=KILL", "--", program])
            .args(args(number, dir.path()))
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Server { child, port: number, _dir: dir };
        let begun = Instant::now();
        while !process::accepts(number) {
            assert!(begun.elapsed() < Duration::from_secs(20), "{program} does not listen on {number}; tools/install-deps.sh installs it");
            std::thread::sleep(Duration::from_millis(10));
        }
        server
    }

    /// Redis without persistence, with these settings besides.
    pub fn redis(settings: &[&str]) -> Self {
        Server::start("redis-server", |port, _| {
            let port = port.to_string();
            let base = ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
            base.iter().chain(settings).map(|text| (*text).to_owned()).collect()
        })
    }

    /// Redis behind TLS.
    pub fn redis_tls(certificate: &Path, key: &Path) -> Self {
        Server::start("redis-server", |port, _| {
            let fixed = ["--bind", "127.0.0.1", "--save", "", "--port", "0", "--tls-auth-clients", "no", "--tls-port"];
            let files = ["--tls-cert-file".into(), shown(certificate), "--tls-key-file".into(), shown(key)];
            fixed.iter().map(|text| (*text).to_owned()).chain([port.to_string()]).chain(files).collect()
        })
    }

    /// An HTTPS server that answers every GET.
    pub fn https(certificate: &Path, key: &Path) -> Self {
        Server::start("openssl", |port, _| {
            let fixed = ["s_server", "-quiet", "-www", "-accept"];
            let files = ["-cert".into(), shown(certificate), "-key".into(), shown(key)];
            fixed.iter().map(|text| (*text).to_owned()).chain([port.to_string()]).chain(files).collect()
        })
    }

    /// A Pushgateway.
    pub fn pushgateway() -> Self {
        Server::start("prometheus-pushgateway", |port, _| vec![format!("--web.listen-address=127.0.0.1:{port}")])
    }

    pub fn signal(&self, signal: Signal) {
        process::send(self.child.id(), signal).unwrap();
    }

    /// The events on the stream.
    pub fn events(&self, stream: &str, password: Option<&str>) -> Vec<Value> {
        let mut command = Command::new("redis-cli");
        if let Some(password) = password {
            command.env("REDISCLI_AUTH", password);
        }
        self.events_by(command, stream)
    }

    /// The events on the stream, asked by this redis-cli.
    pub fn events_by(&self, mut redis_cli: Command, stream: &str) -> Vec<Value> {
        let command = redis_cli.args(["-p", &self.port.to_string(), "--json", "XRANGE", stream, "-", "+"]);
        let output = command.output().unwrap();
        let entries: Value = serde_json::from_slice(&output.stdout).unwrap();
        let entries = entries.as_array().unwrap().iter();
        entries
            .map(|entry| {
                assert_eq!(entry[1][0], "event");
                serde_json::from_str(entry[1][1].as_str().unwrap()).unwrap()
            })
            .collect()
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

impl Drop for Server {
    fn drop(&mut self) {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        assert!(killed.is_ok() || std::thread::panicking());
    }
}
