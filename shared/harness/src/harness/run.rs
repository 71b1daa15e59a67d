//! One run, from its configuration to its last log line.

use std::future::Future;

use chrono::{DateTime, Utc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{GRACE, Harness};
use crate::{
    answer::Answer,
    args::PreflightArgs,
    check::{self, CheckLine},
    context::{Context, Inner, new_run_id},
    events::{Events, Origin},
    exit::{Exit, conclude},
    failure::{Failure, sentence},
    human, metrics,
    observers::{Observers, Places},
    output,
    progress::Progress,
    report::{Recorded, Report, Reporter},
    signals::Signals,
    state::State,
};

/// What a run has before its work begins.
struct Start {
    run_id: String,
    started_at: DateTime<Utc>,
}

impl Harness {
    fn begin(&self) -> Start {
        let started_at = Utc::now();
        let run_id = new_run_id(started_at);
        self.label.set(self.job, &run_id);
        Start { run_id, started_at }
    }

    fn context(&self, start: &Start, config: plana_config::Config, events: Events, cancel: CancellationToken, read_only: bool) -> Context {
        let state_dir = State::dir_of(&config.state_dir, self.env.get("STATE_DIRECTORY"));
        Context::new(Inner {
            job: self.job.to_owned(),
            run_id: start.run_id.clone(),
            started_at: start.started_at,
            host: self.host.clone(),
            dry_run: self.common.dry_run,
            config,
            env: self.env.clone(),
            cancel,
            progress: self.bars.clone().map_or_else(Progress::hidden, Progress::on_terminal),
            report: Reporter::new(events.clone()),
            events,
            state: State::new(state_dir, read_only),
        })
    }

    /// Configuration, and who hears of the run. A dry run tells nobody.
    fn prepare(&self) -> Result<(plana_config::Config, Places), Failure> {
        let config = self.load()?.config;
        let places = if self.common.dry_run { Places::default() } else { Places::find(&config, &self.env, self.job)? };
        Ok((config, places))
    }

    pub(super) async fn run_once<W, F>(&self, work: &W, signals: &Signals) -> Exit
    where
        W: Fn(Context) -> F,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let start = self.begin();
        tracing::info!(
            "{} {} begins, run {}{}",
            self.job,
            crate::VERSION,
            start.run_id,
            if self.common.dry_run { ", a dry run" } else { "" }
        );
        let (config, places) = match self.prepare() {
            Ok(prepared) => prepared,
            Err(failure) => {
                let mut report = self.report(&start, Reporter::new(Events::default()).take(), Err(failure), signals);
                self.show(&mut report);
                return last_words(&report);
            }
        };
        let origin = Origin { job: self.job.to_owned(), host: self.host.clone(), run_id: start.run_id.clone() };
        let (events, observers) = Observers::start(places, origin);
        let cancel = signals.token().child_token();
        let context = self.context(&start, config, events.clone(), cancel.clone(), self.common.dry_run);
        let bars_end = CancellationToken::new();
        context.progress().follow(bars_end.clone());

        let ended = within_grace(tokio::spawn(work(context.clone())), &cancel).await;

        bars_end.cancel();
        context.progress().clear();
        let recorded = context.report().take();
        let saw_all_names = recorded.saw_all_names && ended.is_ok() && signals.interrupt().is_none();
        let mut report = self.report(&start, recorded, ended, signals);
        drop(context);
        self.show(&mut report);
        observers.finish(&events, &report, &self.scope, saw_all_names, signals.token()).await;
        last_words(&report)
    }

    pub(super) async fn check_once<W, F>(&self, asked: PreflightArgs, work: &W, signals: &Signals) -> Exit
    where
        W: Fn(Context) -> F,
        F: Future<Output = Result<Vec<CheckLine>, Failure>> + Send + 'static,
    {
        let start = self.begin();
        let (mut lines, mut places) = (Vec::new(), Places::default());
        let fatal = match self.load() {
            Ok(loaded) => {
                // Secrets that cannot be read are a line of the preflight.
                places = Places::find(&loaded.config, &self.env, self.job).unwrap_or_default();
                lines.push(configuration_line(&loaded.files));
                lines.extend(self.preflight(&loaded.config).await);
                let cancel = signals.token().child_token();
                let context = self.context(&start, loaded.config, Events::default(), cancel.clone(), true);
                let ended = within_grace(tokio::spawn(work(context.clone())), &cancel).await;
                context.progress().clear();
                ended.map(|found| lines.extend(found)).err()
            }
            Err(failure) => Some(failure),
        };
        if let Some(failure) = fatal {
            let line = match failure.exit {
                Exit::BadConfig => CheckLine::bad_config("configuration", sentence(&failure.message), "mend it, then check again"),
                _ => CheckLine::problem("check", sentence(&failure.message), "mend it, then check again"),
            };
            lines.push(line);
        }
        if let Err(failure) = output::checks(self.job, &start.run_id, &lines, self.common.output) {
            tracing::error!("{}", sentence(&failure.message));
            return failure.exit;
        }
        let exit = signals.interrupt().map_or_else(|| check::conclude(&lines), Exit::Cancelled);
        let (outcome, exit_code, tally) = (exit.as_str(), exit.code(), check::tally(&lines));
        match exit {
            Exit::Done => tracing::info!(outcome, exit_code, "check {outcome}: {tally}"),
            _ => tracing::error!(outcome, exit_code, "check {outcome}: {tally}"),
        }
        if asked.metrics {
            places.publish(&metrics::update_of_check(self.job, start.started_at, &lines)).await;
        }
        exit
    }

    pub(super) async fn answer_once<W, F>(&self, work: &W, signals: &Signals) -> Exit
    where
        W: Fn(Context) -> F,
        F: Future<Output = Result<Answer, Failure>> + Send + 'static,
    {
        let start = self.begin();
        let answered = async {
            let config = self.load()?.config;
            let cancel = signals.token().child_token();
            let context = self.context(&start, config, Events::default(), cancel.clone(), true);
            let ended = within_grace(tokio::spawn(work(context.clone())), &cancel).await;
            context.progress().clear();
            output::answer(self.job, &start.run_id, ended?, self.common.output)
        };
        match answered.await {
            Ok(()) => Exit::Done,
            Err(_) if signals.interrupt().is_some() => signals.interrupt().map_or(Exit::Failed, Exit::Cancelled),
            Err(failure) => {
                tracing::error!(exit_code = failure.exit.code(), "{}", sentence(&failure.message));
                failure.exit
            }
        }
    }

    fn report(&self, start: &Start, recorded: Recorded, ended: Result<(), Failure>, signals: &Signals) -> Report {
        let outcomes: Vec<_> = recorded.items.iter().map(|item| item.outcome).collect();
        let fatal = ended.err();
        let exit = conclude(&outcomes, fatal.as_ref().map(|failure| failure.exit), signals.interrupt());
        Report {
            job: self.job.to_owned(),
            run_id: start.run_id.clone(),
            host: self.host.clone(),
            dry_run: self.common.dry_run,
            resumable: self.resumable,
            started_at: start.started_at,
            finished_at: Utc::now(),
            exit,
            error: fatal.map(|failure| failure.message),
            warnings: recorded.warnings,
            clock_seconds: recorded.clock_seconds,
            items: recorded.items,
            extra: recorded.extra,
        }
    }

    /// Shows the result; where stdout does not take it, the run did not do all of its work.
    fn show(&self, report: &mut Report) {
        if let Err(failure) = output::report(report, self.common.output, self.to_stderr) {
            tracing::error!("{}", sentence(&failure.message));
            if report.exit == Exit::Done {
                report.exit = failure.exit;
                report.error = Some(failure.message);
            }
        }
    }
}

/// Waits for the work, after a cancellation only so long.
async fn within_grace<T>(mut work: JoinHandle<Result<T, Failure>>, cancel: &CancellationToken) -> Result<T, Failure> {
    let ended = tokio::select! {
        ended = &mut work => ended,
        () = async { cancel.cancelled().await; tokio::time::sleep(GRACE).await } => {
            work.abort();
            return Err(Failure::failed(format!("clean up within {} s after the signal; the rest is left to the next run", GRACE.as_secs())));
        }
    };
    ended.unwrap_or_else(|error| {
        let defect = error.try_into_panic().ok().map(|panic| panic_text(panic.as_ref())).unwrap_or_default();
        Err(Failure::failed(format!("go on because of a defect in this program, please report it: {defect}")))
    })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a panic without words".to_owned())
}

fn configuration_line(files: &[std::path::PathBuf]) -> CheckLine {
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    CheckLine::ok("configuration", if files.is_empty() { "defaults, environment and flags; no file".to_owned() } else { files.join(", ") })
}

/// The last log line of a run: how it ended, with the reason, in one place for everybody.
fn last_words(report: &Report) -> Exit {
    let totals = report.totals();
    let counts = format!("{} in {}", totals.sentence(), human::seconds(totals.seconds));
    let words = match &report.error {
        None => counts,
        Some(error) if report.items.is_empty() => sentence(error),
        Some(error) => format!("{counts}; {}", sentence(error)),
    };
    let (outcome, exit_code, seconds) = (report.exit.as_str(), report.exit.code(), totals.seconds.round());
    macro_rules! say {
        ($level:ident) => {
            tracing::$level!(
                outcome,
                exit_code,
                seconds,
                items = totals.items,
                done = totals.done,
                failed = totals.failed,
                bytes = totals.bytes,
                warnings = totals.warnings,
                "run {outcome}: {words}"
            )
        };
    }
    match report.exit {
        Exit::Done => say!(info),
        Exit::LeftToOther | Exit::Cancelled(_) => say!(warn),
        _ => say!(error),
    }
    report.exit
}
