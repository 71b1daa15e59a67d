//! The SDK's errors by the cases on which callers act.

use std::error::Error;

use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::RequestId as _,
    types,
};

use super::Place;
use crate::error::{Failure, Operation, StoreError};

impl Place {
    /// The error of an operation on `key`; empty means the whole store.
    pub(super) fn name<E>(&self, operation: Operation, key: &str, error: SdkError<E, HttpResponse>) -> StoreError
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let object = self.object(key);
        let failure = |cause: String| Failure::new(operation, &object, cause);
        match &error {
            SdkError::ServiceError(service) => {
                let status = service.raw().status().as_u16();
                let (code, message) = (service.err().code(), service.err().message());
                let id = service.raw().request_id().or_else(|| service.err().meta().request_id());
                named(case(status, code), message)(failure(words(status, code, message, id)))
            }
            SdkError::TimeoutError(_) => StoreError::Timeout(failure(chain(&error))),
            SdkError::DispatchFailure(dispatch) if dispatch.is_timeout() => StoreError::Timeout(failure(chain(&error))),
            SdkError::DispatchFailure(_) => StoreError::Connection(failure(chain(&error))),
            SdkError::ResponseError(response) => {
                let status = response.raw().status().as_u16();
                let cause = format!("its answer with status {status} could not be read: {}", chain(&error));
                if status >= 500 { StoreError::Unavailable(failure(cause)) } else { StoreError::Connection(failure(cause)) }
            }
            _ => StoreError::Other(failure(chain(&error))),
        }
    }

    /// The error of one key in the answer to a batch.
    pub(super) fn name_in_batch(&self, operation: Operation, key: &str, error: &types::Error) -> StoreError {
        let (code, message) = (error.code(), error.message());
        named(case(0, code), message)(Failure::new(operation, self.object(key), words(0, code, message, None)))
    }
}

/// A lock has no code of its own: it is a refusal that says so (AWS, Ceph, MinIO).
fn named(case: fn(Failure) -> StoreError, message: Option<&str>) -> fn(Failure) -> StoreError {
    let message = message.unwrap_or_default().to_ascii_lowercase();
    let is_lock = ["object lock", "worm protected"].iter().any(|words| message.contains(words));
    let is_refusal = is_lock && matches!(case(Failure::new(Operation::Delete, "", "")), StoreError::AccessDenied(_) | StoreError::Other(_));
    if is_refusal { StoreError::Locked } else { case }
}

fn words(status: u16, code: Option<&str>, message: Option<&str>, id: Option<&str>) -> String {
    let mut words = code.map_or_else(|| format!("the store answered status {status}"), str::to_owned);
    // Some stores repeat the code, or leave the message empty.
    if let Some(message) = message.filter(|message| !message.is_empty() && Some(*message) != code) {
        words += &format!(", {message}");
    }
    if let Some(id) = id.filter(|id| !id.is_empty()) {
        words += &format!(" (request {id})");
    }
    words
}

fn case(status: u16, code: Option<&str>) -> fn(Failure) -> StoreError {
    match code.unwrap_or_default() {
        "AccessDenied" | "AllAccessDisabled" | "Forbidden" => StoreError::AccessDenied,
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "InvalidToken"
        | "ExpiredToken"
        | "AuthorizationHeaderMalformed"
        | "InvalidSecurity" => StoreError::BadCredentials,
        "RequestTimeTooSkewed" | "RequestExpired" => StoreError::ClockSkew,
        "NoSuchBucket" => StoreError::NoSuchBucket,
        "NoSuchKey" | "NoSuchVersion" | "NoSuchUpload" => StoreError::NotFound,
        "PreconditionFailed" | "ConditionalRequestConflict" => StoreError::AlreadyExists,
        "SlowDown" | "ServiceUnavailable" | "InternalError" | "InternalFailure" | "TooManyRequests" | "Throttling" | "OperationAborted" => {
            StoreError::Unavailable
        }
        "RequestTimeout" => StoreError::Timeout,
        "BadDigest" | "InvalidDigest" | "XAmzContentSHA256Mismatch" | "IncompleteBody" | "InvalidPart" | "InvalidPartOrder" => {
            StoreError::Corrupt
        }
        "EntityTooLarge" | "EntityTooSmall" | "KeyTooLongError" | "InvalidRange" => StoreError::Unusable,
        "QuotaExceeded" | "InsufficientCapacity" => StoreError::NoSpace,
        "NotImplemented" | "MethodNotAllowed" => StoreError::Unsupported,
        _ => match status {
            401 => StoreError::BadCredentials,
            403 => StoreError::AccessDenied,
            404 => StoreError::NotFound,
            405 | 501 => StoreError::Unsupported,
            408 => StoreError::Timeout,
            412 => StoreError::AlreadyExists,
            416 => StoreError::Unusable,
            507 => StoreError::NoSpace,
            429 | 500.. => StoreError::Unavailable,
            _ => StoreError::Other,
        },
    }
}

/// The messages from the outermost to the innermost cause, each once.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut messages: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let message = error.to_string();
        if messages.last().is_none_or(|last| !last.contains(&message)) {
            messages.push(message);
        }
        next = error.source();
    }
    messages.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_before_the_status() {
        let made = |status, code| case(status, code)(Failure::new(Operation::Put, "s3://b/k", ""));
        assert!(matches!(made(403, Some("SignatureDoesNotMatch")), StoreError::BadCredentials(_)));
        assert!(matches!(made(403, Some("RequestTimeTooSkewed")), StoreError::ClockSkew(_)));
        assert!(matches!(made(403, None), StoreError::AccessDenied(_)));
        assert!(matches!(made(200, Some("InternalError")), StoreError::Unavailable(_)));
        assert!(matches!(made(503, None), StoreError::Unavailable(_)));
        assert!(matches!(made(400, Some("SomethingNew")), StoreError::Other(_)));
        let locked = |case, message| named(case, message)(Failure::new(Operation::Delete, "s3://b/k", ""));
        let words = Some("Access Denied because object protected by object lock.");
        assert!(matches!(locked(StoreError::AccessDenied, words), StoreError::Locked(_)));
        assert!(matches!(locked(StoreError::AccessDenied, Some("no such policy")), StoreError::AccessDenied(_)));
        assert!(matches!(locked(StoreError::Unavailable, words), StoreError::Unavailable(_)));
    }
}
