//! Runs a job: everything around its work.

mod preflight;
mod run;

use std::{future::Future, io, process::ExitCode, time::Duration};

use chrono::Utc;
use indicatif::MultiProgress;
use plana_config::{ConfigSource, Environment, Loaded, Override};
use tokio::runtime::Runtime;

use crate::{
    answer::Answer,
    args::{BackupArgs, CommonArgs, PreflightArgs},
    check::CheckLine,
    context::{Context, host_name},
    exit::{Exit, Interrupt},
    failure::{Failure, chain, sentence},
    logs::{self, RunLabel},
    metrics::Scope,
    progress::terminal_can_show_bars,
    schedule::Ticker,
    signals::Signals,
    tls::install_tls,
};

/// How long a job may clean up after a signal. Kubernetes kills after 30 s, and the end of a run needs some of them.
const GRACE: Duration = Duration::from_secs(25);

/// Everything around a job's work.
pub struct Harness {
    job: &'static str,
    common: CommonArgs,
    overrides: Vec<Override>,
    scope: Scope,
    resumable: bool,
    to_stderr: bool,
    env: Environment,
    host: String,
    label: RunLabel,
    bars: Option<MultiProgress>,
}

impl Harness {
    /// A harness for the job of this name, such as `pg-dump-to-sos`.
    pub fn new(job: &'static str, common: &CommonArgs) -> Self {
        Harness {
            job,
            bars: (!common.quiet && terminal_can_show_bars()).then(MultiProgress::new),
            common: common.clone(),
            overrides: Vec::new(),
            scope: Scope::default(),
            resumable: false,
            to_stderr: false,
            env: std::env::vars_os().collect(),
            host: host_name(),
            label: RunLabel::default(),
        }
    }

    /// The job makes backups: its flags over the configuration, and which part of the names it works on. `jobs_key` is the
    /// key of how many items it works on at the same time.
    pub fn backup(self, args: &BackupArgs, jobs_key: &str) -> Self {
        self.backup_into("store.backups.url", args, jobs_key)
    }

    /// The same where the store that `--store` means is another; `store_key` is the key of its address.
    pub fn backup_into(mut self, store_key: &str, args: &BackupArgs, jobs_key: &str) -> Self {
        self.overrides.extend(args.overrides(store_key, jobs_key));
        self.scope = Scope::of(&args.selection());
        self.resumable = true;
        self
    }

    /// A person's own call, which says nothing about the job's schedule: its metrics stay as they are.
    #[must_use]
    pub fn by_hand(mut self) -> Self {
        self.scope.by_hand = true;
        self
    }

    /// The result goes to stderr: stdout belongs to a command that this process starts.
    #[must_use]
    pub fn result_on_stderr(mut self) -> Self {
        self.to_stderr = true;
        self
    }

    /// More flags over the configuration.
    pub fn overrides(mut self, overrides: impl IntoIterator<Item = Override>) -> Self {
        self.overrides.extend(overrides);
        self
    }

    /// Does the work once, or with `--schedule` again and again, and says how it ended.
    ///
    /// The work puts what became of its items into [`Context::report`] and returns `Ok` when it got
    /// through them, whatever became of each; an error is for what ends the whole run.
    pub fn run<W, F>(self, work: W) -> ExitCode
    where
        W: Fn(Context) -> F,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.on_runtime(async |signals| match &self.common.schedule {
            None => self.run_once(&work, &signals).await,
            Some(_) => self.run_on_schedule(&work, &signals).await,
        })
    }

    /// Does a preflight: changes nothing, prints a line per check, and tells nobody but, where it is asked to, the metrics.
    pub fn check<W, F>(self, asked: PreflightArgs, work: W) -> ExitCode
    where
        W: Fn(Context) -> F,
        F: Future<Output = Result<Vec<CheckLine>, Failure>> + Send + 'static,
    {
        self.on_runtime(async |signals| self.check_once(asked, &work, &signals).await)
    }

    /// Answers a question: changes nothing, tells nobody, prints the answer. When the question cannot be answered, stdout
    /// stays empty, and the last log line says why.
    pub fn answer<W, F>(self, work: W) -> ExitCode
    where
        W: Fn(Context) -> F,
        F: Future<Output = Result<Answer, Failure>> + Send + 'static,
    {
        self.on_runtime(async |signals| self.answer_once(&work, &signals).await)
    }

    fn on_runtime(&self, work: impl AsyncFnOnce(Signals) -> Exit) -> ExitCode {
        logs::start(&self.common, self.label.clone(), self.bars.clone());
        self.label.set(self.job, &crate::context::new_run_id(Utc::now()));
        install_tls();
        let started = Runtime::new().and_then(|runtime| {
            let signals = runtime.block_on(async { Signals::listen() })?;
            Ok((runtime, signals))
        });
        let (runtime, signals) = match started {
            Ok(started) => started,
            Err(error) => return cannot_start(&error),
        };
        let exit = runtime.block_on(work(signals));
        // A thread that still waits for a dead server must not keep the process.
        runtime.shutdown_background();
        exit.into()
    }

    fn load(&self) -> Result<Loaded, Failure> {
        let source = ConfigSource::new(self.common.config.clone(), self.env.clone(), self.overrides.clone());
        let loaded = plana_config::load(&source)?;
        for note in &loaded.notes {
            tracing::warn!("{note}");
        }
        Ok(loaded)
    }

    async fn run_on_schedule<W, F>(&self, work: &W, signals: &Signals) -> Exit
    where
        W: Fn(Context) -> F,
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let Some(schedule) = &self.common.schedule else { return Exit::Usage };
        let mut ticker = match Ticker::start(schedule).await {
            Ok(ticker) => ticker,
            Err(error) => {
                tracing::error!("{}", sentence(&format!("start the schedule `{schedule}`: {}", chain(&error))));
                return Exit::Failed;
            }
        };
        loop {
            tracing::info!("waiting for the next run, at {} (schedule `{schedule}`, UTC)", ticker.due().await);
            if signals.token().run_until_cancelled(ticker.next()).await.is_none() {
                ticker.stop().await;
                tracing::info!("the schedule ended; no run was at work");
                // Being told to stop while nothing is at work is how a schedule ends, not a failure.
                return Exit::Done;
            }
            let exit = self.run_once(work, signals).await;
            ticker.idle();
            if matches!(exit, Exit::Cancelled(Interrupt::Int | Interrupt::Term)) {
                ticker.stop().await;
                return exit;
            }
        }
    }
}

fn cannot_start(error: &io::Error) -> ExitCode {
    tracing::error!("{}", sentence(&format!("start: {error}")));
    Exit::Failed.into()
}
