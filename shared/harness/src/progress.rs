//! How far a run is: bars on a terminal, nothing elsewhere.

use std::{
    collections::HashMap,
    io::{self, IsTerminal},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use plana_plan::name::printable;
use tokio_util::sync::CancellationToken;

/// How often the bars follow the counters.
const REFRESH: Duration = Duration::from_millis(200);

// Each fits into 80 columns, and the bar takes what a wider terminal leaves.
const OVERALL: &str = "{msg:.bold} {pos}/{len} {wide_bar} {elapsed:>4}";
const WITH_HINT: &str = "  {msg:28!} {wide_bar} {percent:>3}% {bytes:>10} {bytes_per_sec:>12} {elapsed:>4}";
const PARTS: &str = "  {msg:28!} {wide_bar} {pos}/{len} {elapsed:>4}";
const WITHOUT_HINT: &str = "  {wide_msg} {spinner} {bytes:>10} {bytes_per_sec:>12} {elapsed:>4}";

/// How far a run is.
#[derive(Clone)]
pub struct Progress {
    bars: Option<Arc<Bars>>,
}

struct Bars {
    multi: MultiProgress,
    overall: ProgressBar,
    running: Mutex<HashMap<u64, (ProgressBar, Arc<AtomicU64>)>>,
    next: AtomicU64,
}

/// Whether bars are of use: stderr is a terminal that can move its cursor.
pub(crate) fn terminal_can_show_bars() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

impl Progress {
    /// No bars; counters all the same.
    pub fn hidden() -> Self {
        Progress { bars: None }
    }

    /// Bars on stderr.
    pub(crate) fn on_terminal(multi: MultiProgress) -> Self {
        multi.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let overall = multi.add(ProgressBar::new(0).with_style(style(OVERALL)));
        Progress { bars: Some(Arc::new(Bars { multi, overall, running: Mutex::default(), next: AtomicU64::new(0) })) }
    }

    /// How many items the run has, under a heading such as `databases`.
    pub fn expect(&self, heading: &'static str, items: u64) {
        if let Some(bars) = &self.bars {
            bars.overall.set_length(items);
            bars.overall.set_message(heading);
            bars.overall.enable_steady_tick(REFRESH);
        }
    }

    /// An item begins; its size is a hint, where there is one. Its bar goes when the last clone of the handle does.
    pub fn start(&self, name: &str, size_hint: Option<u64>) -> ItemProgress {
        self.watch(name, size_hint, Arc::default())
    }

    /// The same for an item whose worker counts the bytes read in a counter of its own.
    pub fn watch(&self, name: &str, size_hint: Option<u64>, bytes_in: Arc<AtomicU64>) -> ItemProgress {
        let template = if size_hint.is_some() { WITH_HINT } else { WITHOUT_HINT };
        let bar = self.bars.as_ref().map(|bars| bars.begin(name, template, size_hint, bytes_in.clone(), 1));
        ItemProgress(Arc::new(Counters { bytes_in, bytes_out: AtomicU64::new(0), _bar: bar }))
    }

    /// Parts of an item, such as `acme's tables`, that a worker counts: shown beside its bytes, as no item of its own.
    pub fn parts(&self, name: &str, parts: u64, done: Arc<AtomicU64>) -> PartsProgress {
        PartsProgress { _bar: self.bars.as_ref().map(|bars| bars.begin(name, PARTS, Some(parts), done, 0)) }
    }

    /// Lets the bars follow the counters until the token is cancelled.
    pub(crate) fn follow(&self, until: CancellationToken) {
        let Some(bars) = self.bars.clone() else { return };
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(REFRESH);
            while until.run_until_cancelled(tick.tick()).await.is_some() {
                bars.refresh();
            }
        });
    }

    /// Takes the bars off the terminal.
    pub(crate) fn clear(&self) {
        if let Some(bars) = &self.bars {
            bars.overall.finish_and_clear();
            for (bar, _) in bars.running.lock().unwrap_or_else(PoisonError::into_inner).values() {
                bar.finish_and_clear();
            }
            if let Err(error) = bars.multi.clear() {
                tracing::debug!("the bars could not be cleared: {error}");
            }
        }
    }
}

impl Bars {
    fn begin(self: &Arc<Self>, name: &str, template: &str, size_hint: Option<u64>, done: Arc<AtomicU64>, items: u64) -> Running {
        let bar = size_hint.map_or_else(ProgressBar::new_spinner, ProgressBar::new).with_style(style(template));
        let bar = self.multi.insert_before(&self.overall, bar);
        bar.set_message(printable(name));
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(id, (bar, done));
        Running { bars: Arc::downgrade(self), id, items }
    }

    fn refresh(&self) {
        // Only counters are held here, never a handle: the drop of a last handle takes this lock.
        for (bar, bytes_in) in self.running.lock().unwrap_or_else(PoisonError::into_inner).values() {
            let at = bytes_in.load(Ordering::Relaxed);
            // The size is a hint: a bar that is full while bytes still come would be a lie.
            if bar.length().is_some_and(|length| at > length) {
                bar.set_length(at);
            }
            bar.set_position(at);
            bar.tick();
        }
    }

    fn end(&self, id: u64, items: u64) {
        let ended = self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let Some((bar, _)) = ended {
            bar.finish_and_clear();
            self.multi.remove(&bar);
            self.overall.inc(items);
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants; a test parses each. A bar that looks plain beats a job that dies of its bar.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

/// How far one item is. Cheap to clone and to count on, from any task or thread.
#[derive(Clone)]
pub struct ItemProgress(Arc<Counters>);

struct Counters {
    bytes_in: Arc<AtomicU64>,
    bytes_out: AtomicU64,
    _bar: Option<Running>,
}

struct Running {
    bars: Weak<Bars>,
    id: u64,
    /// How many items of the run are done with it.
    items: u64,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(bars) = self.bars.upgrade() {
            bars.end(self.id, self.items);
        }
    }
}

/// The bar of an item's parts, which goes with it.
pub struct PartsProgress {
    _bar: Option<Running>,
}

impl ItemProgress {
    /// More bytes were read, before compression.
    pub fn add_in(&self, bytes: u64) {
        self.0.bytes_in.fetch_add(bytes, Ordering::Relaxed);
    }

    /// More bytes were stored.
    pub fn add_out(&self, bytes: u64) {
        self.0.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes read so far.
    pub fn bytes_in(&self) -> u64 {
        self.0.bytes_in.load(Ordering::Relaxed)
    }

    /// Bytes stored so far.
    pub fn bytes_out(&self) -> u64 {
        self.0.bytes_out.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_hidden_terminal() -> Progress {
        let progress = Progress::on_terminal(MultiProgress::new());
        if let Some(bars) = &progress.bars {
            bars.multi.set_draw_target(ProgressDrawTarget::hidden());
        }
        progress
    }

    #[test]
    fn the_templates_are_templates() {
        for template in [OVERALL, WITH_HINT, PARTS, WITHOUT_HINT] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn a_bar_lives_as_long_as_its_handle_and_counts_from_any_thread() {
        let progress = on_hidden_terminal();
        let bars = progress.bars.clone().unwrap();
        progress.expect("items", 2);
        let item = progress.start("a", Some(10));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let item = item.clone();
                scope.spawn(move || (0..100).for_each(|_| item.add_in(1)));
            }
        });
        item.add_out(7);
        bars.refresh();
        assert_eq!((item.bytes_in(), item.bytes_out()), (400, 7));
        let shown = bars.running.lock().unwrap().values().map(|(bar, _)| (bar.position(), bar.length())).next();
        // The hint was 10: the bar grows with what came instead of standing full.
        assert_eq!(shown, Some((400, Some(400))));
        let parts = progress.parts("a's tables", 3, Arc::new(AtomicU64::new(2)));
        bars.refresh();
        drop(item);
        assert_eq!(bars.running.lock().unwrap().values().map(|(bar, _)| (bar.position(), bar.length())).next(), Some((2, Some(3))));
        drop(parts);
        assert!(bars.running.lock().unwrap().is_empty());
        assert_eq!(bars.overall.position(), 1);
    }

    #[test]
    fn items_may_end_while_the_bars_are_drawn() {
        let progress = on_hidden_terminal();
        let bars = progress.bars.clone().unwrap();
        let (tell, ended) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let done = Arc::new(AtomicU64::new(0));
            let (drawn, until) = (bars.clone(), done.clone());
            let drawing = std::thread::spawn(move || {
                while until.load(Ordering::Relaxed) == 0 {
                    drawn.refresh();
                }
            });
            (0..5000).for_each(|_| drop(progress.start("a", Some(10))));
            done.store(1, Ordering::Relaxed);
            drawing.join().unwrap();
            tell.send(bars.overall.position()).unwrap();
        });
        assert_eq!(ended.recv_timeout(Duration::from_secs(60)), Ok(5000), "drawing and ending wait for each other");
    }

    #[test]
    fn without_bars_the_counters_count() {
        let item = Progress::hidden().start("a", None);
        item.add_in(3);
        assert_eq!(item.bytes_in(), 3);
    }
}
