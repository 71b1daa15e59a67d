//! Who else hears of a run: the event stream, Prometheus, ping URLs. None of them can change how it ends.

use std::{path::PathBuf, time::Duration};

use plana_config::{Config, ConfigError, Environment, PingUrls, Secret};
use tokio::{task::JoinHandle, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    events::{Events, Origin, Sender, Target, run_finished, run_started, wants_detail},
    exit::Exit,
    metrics::{self, Scope, Update},
    ping::ping,
    report::Report,
};

/// How long the end of a run may take after a signal: with the job's own clean-up less than the 30 s of Kubernetes.
const AFTER_SIGNAL: Duration = Duration::from_secs(3);

/// Where a run is told of, as the configuration has it.
#[derive(Default)]
pub(crate) struct Places {
    pub events: Option<Target>,
    pub textfile_dir: Option<PathBuf>,
    pub pushgateway: Option<Secret>,
    ping: PingUrls,
}

impl Places {
    /// Finds the places and their secrets.
    ///
    /// # Errors
    /// When a file that should hold a secret cannot be read.
    pub(crate) fn find(config: &Config, env: &Environment, job: &str) -> Result<Self, ConfigError> {
        let password = config.events_password(env)?;
        let events = config.events_url(env)?.map(|url| Target {
            url,
            password,
            stream: config.events.stream.clone(),
            max_len: config.events.max_len,
            timeout: config.events.timeout.0,
            detail: wants_detail(config.events.detail),
        });
        Ok(Places {
            events,
            textfile_dir: config.metrics.textfile_dir.clone(),
            pushgateway: config.pushgateway_url(env)?,
            ping: config.ping_urls(job, env)?,
        })
    }
}

impl Places {
    /// Leaves metrics where the configuration says.
    pub(crate) async fn publish(self, update: &Update) {
        tokio::join!(textfile(self.textfile_dir, update), pushgateway(self.pushgateway, update));
    }
}

/// Those who hear of one run.
pub(crate) struct Observers {
    places: Places,
    sender: Option<Sender>,
    start_ping: Option<JoinHandle<()>>,
}

impl Observers {
    /// Tells them that the run starts. None of it is waited for.
    pub(crate) fn start(mut places: Places, origin: Origin) -> (Events, Observers) {
        let (events, sender) = match places.events.take() {
            Some(target) => {
                let (events, sender) = Sender::start(target, origin);
                (events, Some(sender))
            }
            None => (Events::default(), None),
        };
        events.send(run_started(crate::VERSION));
        let start_ping = places.ping.start.take().map(|url| tokio::spawn(ping("start", url)));
        (events, Observers { places, sender, start_ping })
    }

    /// Tells them how it ended; all at the same time, each within its own limit, and after a signal within
    /// a short one: whoever sent it waits to kill.
    pub(crate) async fn finish(self, events: &Events, report: &Report, scope: &Scope, saw_all_names: bool, cancel: &CancellationToken) {
        tokio::select! {
            () = self.tell(events, report, scope, saw_all_names) => {}
            () = async { cancel.cancelled().await; sleep(AFTER_SIGNAL).await } => {
                tracing::warn!("not everybody could be told how the run ended within {} s of the signal", AFTER_SIGNAL.as_secs());
            }
        }
    }

    async fn tell(self, events: &Events, report: &Report, scope: &Scope, saw_all_names: bool) {
        events.send(run_finished(report));
        let update = metrics::update(report, scope, saw_all_names);
        let stream = async {
            if let Some(sender) = self.sender {
                sender.finish().await;
            }
        };
        let (success, failure) = (self.places.ping.success, self.places.ping.failure);
        let pings = async {
            // The order matters to whoever measures a run between the two.
            if let Some(Err(error)) = async { Some(self.start_ping?.await) }.await {
                tracing::debug!("the start ping broke off: {error}");
            }
            let (what, url) = if report.exit == Exit::Done { ("success", success) } else { ("failure", failure) };
            if let Some(url) = url {
                ping(what, url).await;
            }
        };
        tokio::join!(stream, pings, textfile(self.places.textfile_dir, &update), pushgateway(self.places.pushgateway, &update));
    }
}

async fn textfile(dir: Option<PathBuf>, update: &Update) {
    let Some(dir) = dir else { return };
    let (place, update) = (dir.clone(), update.clone());
    let reason = match tokio::task::spawn_blocking(move || metrics::write(&place, &update)).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    tracing::warn!(
        "the metrics could not be written to {}: {reason}; let this user write there, or unset metrics.textfile_dir",
        dir.display()
    );
}

async fn pushgateway(url: Option<Secret>, update: &Update) {
    let Some(url) = url else { return };
    if let Err(reason) = metrics::push(&url, update).await {
        tracing::warn!("the metrics could not be pushed: {reason}; look at metrics.pushgateway");
    }
}
