//! Wall time and peak memory of a command, and what the machine is.

use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

/// What one command took.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Wall time.
    pub wall: Duration,
    /// Processor time of the process and of its children.
    pub cpu: Duration,
    /// Peak resident memory of the process itself, its children not included, in bytes.
    pub peak_bytes: u64,
    /// The shortest and the longest wall time of its rounds, where it is their median.
    pub spread: (Duration, Duration),
}

/// Runs a command to its end, which must be a success.
pub fn run(command: &mut Command) -> Result<Cost> {
    let (began, cpu_before) = (Instant::now(), cpu_of_children());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().with_context(|| format!("start {command:?}"))?;
    let status_file = format!("/proc/{}/status", child.id());
    let mut stderr = child.stderr.take().expect("piped");
    let errors = thread::spawn(move || std::io::read_to_string(&mut stderr).unwrap_or_default());
    let mut peak_bytes = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        peak_bytes = peak_bytes.max(high_water(&status_file).unwrap_or(0));
        thread::sleep(Duration::from_millis(5));
    };
    let wall = began.elapsed();
    let errors = errors.join().unwrap_or_default();
    ensure!(status.success(), "{command:?} ended with {status}:\n{errors}");
    Ok(Cost { wall, cpu: cpu_of_children().saturating_sub(cpu_before), peak_bytes, spread: (wall, wall) })
}

/// Processor time of all children that have ended, theirs included (fields 16 and 17 of proc_pid_stat(5), in hundredths).
fn cpu_of_children() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(13) + ticks(14)) * 10)
}

/// The kernel's own record of the most memory that the process ever held.
fn high_water(status_file: &str) -> Option<u64> {
    let status = fs::read_to_string(status_file).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}

/// The run of the middle wall time.
pub fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_by_key(|cost| cost.wall);
    let spread = (costs[0].wall, costs[costs.len() - 1].wall);
    Cost { spread, ..costs[costs.len() / 2] }
}

/// A line of a table: what it took, and how ours compares.
pub fn row(name: &str, cost: Cost, ours: Cost) {
    let seconds = |wall: Duration| wall.as_secs_f64();
    let (ratio, (least, most)) = (seconds(ours.wall) / seconds(cost.wall), cost.spread);
    let spread = format!("({:.2} to {:.2})", seconds(least), seconds(most));
    println!("  {name:<46} {:>7.2} s {spread:<18}   ours / this = {ratio:.2}", seconds(cost.wall));
}

/// What the figures were measured on.
pub fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name").and_then(|rest| rest.split(": ").nth(1)))
        .unwrap_or("unknown processor");
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    format!("{cpus} × {model}; server, gateway and job on the same machine\n")
}

/// Bytes in MiB.
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
