//! One TLS stack for the whole process.

use std::sync::Once;

static INSTALLED: Once = Once::new();

/// Makes rustls with ring the process's default; any number of calls do it once. [`crate::Harness`]
/// calls it; tests that open TLS connections without a harness must.
pub fn install_tls() {
    INSTALLED.call_once(|| {
        if rustls::crypto::ring::default_provider().install_default().is_err() {
            // Somebody else's choice stands, and works as well.
            tracing::debug!("a TLS provider was installed before");
        }
    });
}
