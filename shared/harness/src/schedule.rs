//! `--schedule`: stay, and run again and again.

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::mpsc;
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

/// When to run: five cron fields (minute first) or six (second first), in UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CronSchedule {
    text: String,
    with_seconds: String,
}

impl FromStr for CronSchedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The scheduler wants the field of seconds; the world mostly writes five fields.
        let with_seconds = match text.split_whitespace().count() {
            5 => format!("0 {text}"),
            6 => text.to_owned(),
            count => {
                return Err(format!("`{text}` has {count} fields: write five (minute first) or six (second first), such as `30 2 * * *`"));
            }
        };
        Job::new(with_seconds.as_str(), |_, _| {})
            .map_err(|_| format!("`{text}` is not a cron expression such as `30 2 * * *` (every day at 02:30 UTC)"))?;
        Ok(CronSchedule { text: text.to_owned(), with_seconds })
    }
}

impl fmt::Display for CronSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A schedule that ticks. A tick while the last one's run is at work is skipped with a warning.
pub(crate) struct Ticker {
    scheduler: JobScheduler,
    ticks: mpsc::Receiver<()>,
    busy: Arc<AtomicBool>,
}

impl Ticker {
    /// Starts the schedule.
    pub(crate) async fn start(schedule: &CronSchedule) -> Result<Self, JobSchedulerError> {
        let (sender, ticks) = mpsc::channel(1);
        let busy = Arc::new(AtomicBool::new(false));
        let at_work = busy.clone();
        let job = Job::new(schedule.with_seconds.as_str(), move |_, _| {
            if at_work.load(Ordering::Acquire) {
                tracing::warn!("skipped a scheduled run: the last one is still at work; schedule them further apart");
            } else if sender.try_send(()).is_err() {
                tracing::debug!("a scheduled run is already waiting to start");
            }
        })?;
        let scheduler = JobScheduler::new().await?;
        scheduler.add(job).await?;
        scheduler.start().await?;
        Ok(Ticker { scheduler, ticks, busy })
    }

    /// Waits for the next tick; until [`Ticker::idle`] all others are skipped.
    pub(crate) async fn next(&mut self) {
        if self.ticks.recv().await.is_none() {
            // The scheduler is gone, which only shutting down does: there is no next tick.
            std::future::pending::<()>().await;
        }
        self.busy.store(true, Ordering::Release);
    }

    /// The run of the last tick is over.
    pub(crate) fn idle(&self) {
        self.busy.store(false, Ordering::Release);
    }

    /// When the next tick is due, for people.
    pub(crate) async fn due(&mut self) -> String {
        match self.scheduler.time_till_next_job().await {
            Ok(Some(wait)) => {
                let at = chrono::Utc::now() + wait;
                format!("{}", at.format("%Y-%m-%dT%H:%M:%SZ"))
            }
            Ok(None) | Err(_) => "never: the schedule means no time to come".to_owned(),
        }
    }

    /// Ends the schedule.
    pub(crate) async fn stop(mut self) {
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::debug!("the schedule did not end cleanly: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_and_six_fields_are_schedules() {
        for text in ["30 2 * * *", "*/2 * * * * *", "0 30 2 * * Mon-Fri", "@daily"] {
            assert_eq!(text.parse::<CronSchedule>().is_ok(), !text.starts_with('@'), "{text}");
        }
        for text in ["", "2", "61 * * * *", "x y z a b", "* * * * * * *"] {
            assert!(text.parse::<CronSchedule>().is_err(), "{text}");
        }
    }
}
