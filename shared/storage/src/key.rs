//! Which keys may be written. A key can come from a database's name, so it is input from outside.

use crate::error::{Failure, Operation, StoreError};

/// S3's limit for a whole key, prefix included.
const MOST_BYTES: usize = 1024;

/// Why a key cannot be written; none when it can.
fn objection(key: &str, prefix_bytes: usize) -> Option<&'static str> {
    if key.is_empty() {
        return Some("the key is empty");
    }
    if key.len() + prefix_bytes > MOST_BYTES {
        return Some("the key has more than 1024 bytes, its store's prefix included");
    }
    if key.chars().any(char::is_control) {
        return Some("the key holds a control character");
    }
    key.split('/').find_map(|segment| match segment {
        "" => Some("the key has an empty segment (`//`, or `/` at its begin or end)"),
        "." | ".." => Some("the key has a segment `.` or `..`"),
        _ => None,
    })
}

/// Refuses a key that no store writes; `prefix_bytes` are those that the store puts before it.
pub(crate) fn check(operation: Operation, store: &str, key: &str, prefix_bytes: usize) -> Result<(), StoreError> {
    match objection(key, prefix_bytes) {
        None => Ok(()),
        Some(cause) => Err(StoreError::Unusable(Failure::new(operation, format!("{}/{key}", store.trim_end_matches('/')), cause))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_keys_are_refused() {
        for key in ["", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "a/./b", "a\0b", "a\nb", "a/\u{7f}", &"x".repeat(1025)] {
            assert!(objection(key, 0).is_some(), "{key:?}");
        }
        for key in ["a", "a/b", "a..b/.c", "pg/%2Ex/ö 'x\"", &"x".repeat(1024)] {
            assert_eq!(objection(key, 0), None, "{key:?}");
        }
        assert!(objection(&"x".repeat(1024), 1).is_some());
    }
}
