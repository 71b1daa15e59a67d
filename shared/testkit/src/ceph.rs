//! An S3 store for tests: the Ceph RADOS gateway, on a one-node cluster that keeps its objects in memory.
//!
//! Up in about two seconds. The users are those of the contract's key table, and each bucket's policy gives each of
//! them exactly its rights (see [`Rights`]).

mod bucket;
mod policy;
mod start;

use std::sync::{Mutex, OnceLock};

use anyhow::{Context as _, Result};
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation, retry::RetryConfig,
};

use crate::process::{Home, Port, Server, Signal, lock};
pub use bucket::{Bucket, BucketBuilder, Object, Upload};
pub use policy::Rights;

/// The region to sign for. The gateway takes any.
pub const REGION: &str = "bg-sof-1";

/// A user of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum User {
    /// Owner of every bucket.
    Admin,
    /// What a backup job holds: put and list.
    Backup,
    /// What the pruner holds: list (also uploads and versions), delete, abort.
    Pruner,
    /// What a restore holds: list and read (also versions).
    Restore,
    /// A valid key without rights on any bucket.
    Nobody,
}

impl User {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Admin, Self::Backup, Self::Pruner, Self::Restore, Self::Nobody];

    /// Its name at the gateway.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Backup => "backup",
            Self::Pruner => "pruner",
            Self::Restore => "restore",
            Self::Nobody => "nobody",
        }
    }

    /// Its key; no secret, since the gateway lives for one test run.
    #[must_use]
    pub fn key(self) -> Key {
        let name = self.name();
        Key { access: format!("PLANA{}TEST", name.to_uppercase()), secret: format!("{name}/Secret+Of=The/{name}") }
    }
}

/// An access key and its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// AWS_ACCESS_KEY_ID.
    pub access: String,
    /// AWS_SECRET_ACCESS_KEY.
    pub secret: String,
}

/// A running gateway with its cluster; gone when it is dropped, or with this process.
#[derive(Debug)]
pub struct Gateway {
    port: Port,
    _mon_port: Port,
    gateway: Mutex<Option<Server>>,
    cluster: Mutex<Vec<Server>>,
    home: Home,
}

impl Gateway {
    /// Starts a gateway of one's own: for tests that pause or stop it. Others use [`Gateway::shared`].
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// Starts a gateway with further lines for ceph.conf, such as `rgw multipart min part size = 1`.
    pub fn start_with(settings: &[&str]) -> Result<Self> {
        start::start(settings).context("failed to start the Ceph gateway")
    }

    /// The gateway that all tests of this process share; started by the first that asks.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Gateway> = OnceLock::new();
        SHARED.get_or_init(|| Self::start().unwrap_or_else(|error| panic!("{error:#}")))
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number())
    }

    /// Its TCP port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Makes an empty bucket, `{prefix}-xxxxxx`, with the usual rights.
    pub fn bucket(&self, prefix: &str) -> Result<Bucket> {
        self.bucket_builder(prefix).create()
    }

    /// Settings first (versions, object lock, rights), then [`BucketBuilder::create`].
    #[must_use]
    pub fn bucket_builder(&self, prefix: &str) -> BucketBuilder {
        BucketBuilder::new(self.endpoint(), prefix)
    }

    /// An SDK client for that user, on the endpoint of the gateway itself. Make one per tokio runtime.
    #[must_use]
    pub fn client(&self, user: User) -> aws_sdk_s3::Client {
        client(&self.endpoint(), user)
    }

    /// Freezes the gateway: connections are accepted by the kernel and never answered.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Lets it go on.
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Stops the gateway; what is stored stays in the cluster.
    pub fn stop(&self) {
        if let Some(mut server) = lock(&self.gateway).take() {
            server.end(&self.home);
        }
    }

    /// Starts the gateway again after [`Gateway::stop`], on the same port.
    pub fn restart(&self) -> Result<()> {
        self.stop();
        *lock(&self.gateway) = Some(start::gateway(&self.home, self.port())?);
        Ok(())
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        lock(&self.gateway).as_ref().context("failed to signal the Ceph gateway: it is stopped")?.signal(signal)
    }

    /// The end of the gateway's own log, with a line per request.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = std::fs::read(self.home.join("client.rgw.log")).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(16_000)..]).into_owned()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop();
        for server in lock(&self.cluster).iter_mut() {
            server.end(&self.home);
        }
    }
}

/// An SDK client for that user on any endpoint, such as a proxy's: path style, checksums only where required.
#[must_use]
pub fn client(endpoint: &str, user: User) -> aws_sdk_s3::Client {
    let key = user.key();
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(REGION))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .credentials_provider(Credentials::new(key.access, key.secret, None, None, "plana-testkit"))
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        // What a test asks for happens once, and it sees what came of it.
        .retry_config(RetryConfig::disabled())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    aws_sdk_s3::Client::from_conf(config)
}
