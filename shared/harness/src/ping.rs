//! URLs that are called when a job starts, succeeds and fails.

use std::time::Duration;

use plana_config::Secret;

/// How long one call may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Calls in all, the first included.
const ATTEMPTS: u32 = 3;

/// The pause before another attempt.
const PAUSE: Duration = Duration::from_millis(500);

/// A client for pings and metrics; TLS as the process has it.
pub(crate) fn http_client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder().timeout(TIMEOUT).user_agent(concat!("plana-jobs/", env!("CARGO_PKG_VERSION"))).build()
}

/// Calls the URL; what goes wrong is a warning. The URL, which often holds a token, is in no message.
pub(crate) async fn ping(what: &'static str, url: Secret) {
    if let Err(reason) = call(&url).await {
        tracing::warn!("the ping URL for {what} could not be called: {reason}; the run goes on");
    }
}

async fn call(url: &Secret) -> Result<(), String> {
    let client = http_client().map_err(|error| describe(&error))?;
    let mut attempt = 1;
    loop {
        let answer = client.get(url.expose()).send().await.and_then(reqwest::Response::error_for_status);
        match answer {
            Ok(_) => return Ok(()),
            Err(error) if attempt == ATTEMPTS || error.is_builder() => return Err(describe(&error.without_url())),
            Err(_) => attempt += 1,
        }
        tokio::time::sleep(PAUSE * attempt).await;
    }
}

/// What went wrong, with its causes, without any URL.
pub(crate) fn describe(error: &reqwest::Error) -> String {
    if let Some(status) = error.status() {
        return format!("it answered {status}");
    }
    if error.is_timeout() {
        return format!("it did not answer within {} s", TIMEOUT.as_secs());
    }
    if error.is_builder() {
        return "it is not a valid http:// or https:// URL".to_owned();
    }
    crate::failure::chain(error)
}
