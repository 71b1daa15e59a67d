//! Sends events from a task of its own, so that the job never waits for Redis.

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo, RedisError, ServerErrorKind, Value as Answer,
    aio::MultiplexedConnection,
    streams::{StreamAddOptions, StreamTrimStrategy, StreamTrimmingMode},
};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use super::{Event, Origin};
use plana_config::Secret;

/// Events that wait to be sent: more than a run of a thousand failing items makes.
const QUEUE: usize = 4096;

/// Where events go.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub url: Secret,
    pub password: Option<Secret>,
    pub stream: String,
    pub max_len: u64,
    pub timeout: Duration,
    pub detail: bool,
}

enum Message {
    Event(Event, DateTime<Utc>),
    /// The run is over. Said, and not told by the queue's end: a task that was left behind may keep the queue open.
    End,
}

/// Where a job puts events. Never waits and never fails: what cannot be sent is left out.
#[derive(Clone, Default)]
pub struct Events {
    queue: Option<mpsc::Sender<Message>>,
    detail: bool,
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("on", &self.queue.is_some()).finish_non_exhaustive()
    }
}

impl Events {
    /// Puts an event.
    pub fn send(&self, event: Event) {
        if let Some(queue) = &self.queue
            && queue.try_send(Message::Event(event, Utc::now())).is_err()
        {
            tracing::debug!("an event was left out");
        }
    }

    /// Puts an event that only `events.detail = "all"` wants.
    pub fn send_detail(&self, event: Event) {
        if self.detail {
            self.send(event);
        }
    }
}

/// The task that sends.
pub(crate) struct Sender {
    queue: mpsc::Sender<Message>,
    task: JoinHandle<()>,
    patience: Duration,
}

impl Sender {
    /// Starts the task; it connects when the first event comes.
    pub(crate) fn start(target: Target, origin: Origin) -> (Events, Sender) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let (detail, patience) = (target.detail, target.timeout);
        let task = tokio::spawn(send_all(target, origin, waiting));
        (Events { queue: Some(queue.clone()), detail }, Sender { queue, task, patience })
    }

    /// Waits until what was put is sent, but no longer than one event may take.
    pub(crate) async fn finish(self) {
        let abort = self.task.abort_handle();
        let all_sent = async {
            // A closed queue means that the task gave up before, and said so.
            if self.queue.send(Message::End).await.is_ok()
                && let Err(error) = self.task.await
            {
                tracing::warn!("the event stream's task broke off: {error}");
            }
        };
        if timeout(self.patience, all_sent).await.is_err() {
            abort.abort();
            tracing::warn!("the last events are left out: the event stream did not take them within {:?}", self.patience);
        }
    }
}

async fn send_all(target: Target, origin: Origin, mut waiting: mpsc::Receiver<Message>) {
    let mut connection = None;
    let mut number = 0;
    while let Some(Message::Event(event, time)) = waiting.recv().await {
        number += 1;
        let body = origin.cloud_event(&event, number, time).to_string();
        // One limit around everything: a name that does not resolve, a server that accepts and says nothing.
        let sent = timeout(target.timeout, send(&target, &mut connection, &body)).await;
        let reason = match sent {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => explain(&error),
            Err(_) => format!("it did not answer within {:?}", target.timeout),
        };
        // Once is enough: whoever waits for Redis for each event loses minutes to a service that no job needs.
        tracing::warn!("the event stream is away, so the rest of this run's events are left out: {reason}");
        return;
    }
}

async fn send(target: &Target, connection: &mut Option<MultiplexedConnection>, body: &str) -> Result<(), RedisError> {
    if connection.is_none() {
        *connection = Some(connect(target).await?);
    }
    let Some(connection) = connection else { return Ok(()) };
    let options = StreamAddOptions::default()
        .trim(StreamTrimStrategy::maxlen(StreamTrimmingMode::Approx, usize::try_from(target.max_len).unwrap_or(usize::MAX)));
    let command = redis::Cmd::xadd_options(&target.stream, "*", &[("event", body)], &options);
    command.query_async::<Answer>(connection).await.map(drop)
}

async fn connect(target: &Target) -> Result<MultiplexedConnection, RedisError> {
    let mut info = target.url.expose().into_connection_info()?;
    if let Some(password) = &target.password
        && info.redis_settings().password().is_none()
    {
        let settings = info.redis_settings().clone().set_password(password.expose());
        info = info.set_redis_settings(settings);
    }
    // The library's own limits are shorter than what people may configure; the one around the whole attempt decides.
    let beyond = Some(target.timeout * 2);
    let limits = AsyncConnectionConfig::new().set_connection_timeout(beyond).set_response_timeout(beyond);
    Client::open(info)?.get_multiplexed_async_connection_with_config(&limits).await
}

/// Whether the stream takes events, without adding one: the right to add is looked at before the id, and
/// no entry may have the id 0-0.
///
/// # Errors
/// What is wrong, in words.
pub(crate) async fn probe(target: &Target) -> Result<(), String> {
    let refused = async {
        let mut connection = connect(target).await?;
        redis::cmd("XADD").arg(&target.stream).arg("0-0").arg("event").arg("").query_async::<Answer>(&mut connection).await
    };
    match timeout(target.timeout, refused).await {
        Err(_) => Err(format!("it did not answer within {:?}", target.timeout)),
        Ok(Err(error)) if error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError) && error.code() == Some("ERR") => Ok(()),
        Ok(Err(error)) => Err(explain(&error)),
        Ok(Ok(_)) => Err("it took an entry that no Redis takes".to_owned()),
    }
}

/// What went wrong, without the URL, which may hold a password.
fn explain(error: &RedisError) -> String {
    if error.kind() == ErrorKind::AuthenticationFailed {
        return "it does not accept the password: look at events.password and the user in events.url".to_owned();
    }
    match error.code() {
        Some("NOAUTH") => "it asks for a password: set events.password_file".to_owned(),
        Some("NOPERM") => "its user may not XADD to the stream: grant it".to_owned(),
        // What a server answered that is no Redis may have many lines.
        _ => error.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}
