//! The SDK's client, with every choice made explicitly.

use std::time::Duration;

use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Config, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
        StalledStreamProtectionConfig,
        retry::{ClassifyRetry, RetryAction, RetryConfig, RetryPartition, TokenBucket},
        timeout::TimeoutConfig,
    },
};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{interceptors::context::InterceptorContext, retries::classifiers::RetryClassifierPriority};
use plana_config::schema::ChecksumMode;

use super::{Place, S3Options};

/// Connections that were idle for longer tend to be dead without notice.
const POOL_IDLE: Duration = Duration::from_secs(15);
/// A line slower than this per part counts as stalled.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 << 10;
const FIRST_BACKOFF: Duration = Duration::from_millis(500);

/// A client that knows nothing but what it is told: no profile files, no instance metadata.
pub(super) fn build(options: &S3Options) -> Result<Client, String> {
    let settings = &options.client;
    if let Some(endpoint) = &options.endpoint {
        let url = url::Url::parse(endpoint).map_err(|error| format!("its endpoint is not a URL ({error}); write https://host"))?;
        if !matches!(url.scheme(), "http" | "https")
            || url.host_str().is_none()
            || !matches!(url.path(), "" | "/")
            || !url.username().is_empty()
        {
            return Err("its endpoint is not of the form https://host".to_owned());
        }
    }
    let token = options.session_token.as_ref().map(|token| token.expose().to_owned());
    let (access, secret) = (options.access_key_id.expose(), options.secret_access_key.expose());
    let http = Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).pool_idle_timeout(POOL_IDLE).build_https();
    let (requests, responses) = match settings.checksums {
        ChecksumMode::WhenRequired => (RequestChecksumCalculation::WhenRequired, ResponseChecksumValidation::WhenRequired),
        ChecksumMode::WhenSupported => (RequestChecksumCalculation::WhenSupported, ResponseChecksumValidation::WhenSupported),
    };
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .credentials_provider(Credentials::new(access, secret, token, None, "plana-jobs"))
        .region(Region::new(options.region.clone()))
        .force_path_style(settings.path_style)
        .disable_s3_express_session_auth(true)
        .request_checksum_calculation(requests)
        .response_checksum_validation(responses)
        .http_client(http)
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(settings.connect_timeout.0)
                .read_timeout(settings.read_timeout.0)
                .operation_attempt_timeout(settings.attempt_timeout.0)
                .build(),
        )
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(settings.max_attempts.max(1))
                .with_initial_backoff(FIRST_BACKOFF.min(settings.max_backoff.0))
                .with_max_backoff(settings.max_backoff.0),
        )
        // The SDK's own bucket is shared by the whole process and would end the retries of one upload for the trouble
        // of another; the number of attempts and the backoff bound them well enough.
        .retry_partition(RetryPartition::custom("plana-jobs").token_bucket(TokenBucket::unlimited()).build())
        .retry_classifier(PassingErrors)
        // For what is read. It sees no stall of what is sent: a body in memory counts as sent once the connection has
        // taken it over. The timeouts of `sending` do that.
        .stalled_stream_protection(
            StalledStreamProtectionConfig::enabled().upload_enabled(false).grace_period(settings.read_timeout.0).build(),
        );
    config.set_endpoint_url(options.endpoint.clone());
    Ok(Client::from_conf(config.build()))
}

impl Place {
    /// The settings of a request that sends this many bytes. The SDK's read timeout begins with the request, not with
    /// the last byte sent, so it would end what a slow line still sends: the attempt's time grows with the body instead.
    pub(super) fn sending(&self, bytes: u64) -> aws_sdk_s3::config::Builder {
        let allowance = Duration::from_secs(bytes / SLOWEST_BYTES_PER_SECOND);
        self.within((self.settings.read_timeout.0 + allowance).min(self.settings.attempt_timeout.0))
    }

    /// The settings of a request that makes an object of its parts, which stores may take minutes for.
    pub(super) fn completing(&self) -> aws_sdk_s3::config::Builder {
        self.within(self.settings.complete_timeout.0)
    }

    fn within(&self, attempt: Duration) -> aws_sdk_s3::config::Builder {
        let timeouts = TimeoutConfig::builder().connect_timeout(self.settings.connect_timeout.0).disable_read_timeout();
        Config::builder().timeout_config(timeouts.operation_attempt_timeout(attempt).build())
    }

    /// The settings of a request that is not worth all attempts.
    pub(super) fn tried(&self, attempts: u32) -> aws_sdk_s3::config::Builder {
        Config::builder().retry_config(
            RetryConfig::standard()
                .with_max_attempts(attempts.min(self.settings.max_attempts).max(1))
                .with_initial_backoff(FIRST_BACKOFF.min(self.settings.max_backoff.0))
                .with_max_backoff(self.settings.max_backoff.0),
        )
    }
}

/// Errors that pass by themselves and that the SDK does not take for such: a body that was damaged on its way is only to
/// be sent again, and compatible stores have codes of their own. The code counts, not the status: a Complete may answer
/// 200 with an error inside.
#[derive(Debug)]
struct PassingErrors;

const THROTTLED: &[&str] = &["SlowDown", "ServiceUnavailable", "Throttling", "TooManyRequests", "RequestLimitExceeded", "Busy"];
const PASSING: &[&str] =
    &["InternalError", "InternalFailure", "RequestTimeout", "OperationAborted", "BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody"];

impl ClassifyRetry for PassingErrors {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        if !matches!(context.output_or_error(), Some(Err(_))) {
            return RetryAction::NoActionIndicated;
        }
        let Some(response) = context.response() else { return RetryAction::NoActionIndicated };
        let code = response.body().bytes().and_then(error_code);
        match code {
            Some(code) if THROTTLED.contains(&code) => RetryAction::throttling_error(),
            Some(code) if PASSING.contains(&code) => RetryAction::transient_error(),
            _ if response.status().as_u16() == 429 => RetryAction::throttling_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "errors that pass by themselves"
    }

    fn priority(&self) -> RetryClassifierPriority {
        RetryClassifierPriority::run_after(RetryClassifierPriority::transient_error_classifier())
    }
}

/// The code in an S3 error document.
fn error_code(body: &[u8]) -> Option<&str> {
    let text = str::from_utf8(body).ok().filter(|text| text.contains("<Error>") || text.contains("<Error "))?;
    let (_, code) = text.split_once("<Code>")?;
    code.split_once("</Code>").map(|(code, _)| code.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_found_in_error_documents_only() {
        let body = b"<?xml version=\"1.0\"?>\n<Error><Code>SlowDown</Code><Message>m</Message></Error>";
        assert_eq!(error_code(body), Some("SlowDown"));
        assert_eq!(error_code(b"<CompleteMultipartUploadResult><Code>SlowDown</Code></CompleteMultipartUploadResult>"), None);
        assert_eq!(error_code(b"\xff"), None);
    }
}
