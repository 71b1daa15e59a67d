//! The small platform that the demo shows too: `tests/platform` at the root of the repository.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result};

use crate::pg::{PgCluster, PgMajor};
use crate::process::{clean, output};

/// A tenant of the platform: its database and its tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tenant {
    /// The database's name.
    pub database: &'static str,
    /// `starter`, `pro` or `enterprise`.
    pub tier: &'static str,
}

/// The tenants, as plana_pulse_account has them too (`SELECT database_name, tier FROM tenants`).
pub const TENANTS: [Tenant; 6] = [
    Tenant { database: "acme.planapulse.app", tier: "enterprise" },
    Tenant { database: "globex.planapulse.app", tier: "pro" },
    Tenant { database: "initech.planapulse.app", tier: "pro" },
    Tenant { database: "bakery.planapulse.app", tier: "starter" },
    Tenant { database: "cycles.planapulse.app", tier: "starter" },
    Tenant { database: "dental.planapulse.app", tier: "starter" },
];

/// The template databases.
pub const TEMPLATES: [&str; 2] = ["basic-template-18.planapulse.app", "pro-template-18.planapulse.app"];

/// The platform's own databases.
pub const SERVICES: [&str; 6] = ["authentik", "forgejo", "nextcloud", "vaultwarden", "plana_pulse_account", "pulse_account"];

/// The external client's database.
pub const EXTERNAL: &str = "openphysica_website";

/// How much is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// About how many invoices a tenant of the tier pro has; the others follow.
    pub invoices: u32,
    /// How many files its file store has.
    pub attachments: u32,
}

impl Scale {
    /// A second's work, a few megabytes in all.
    pub const SMALL: Self = Self { invoices: 100, attachments: 12 };
}

/// Fills a fresh cluster with the platform; with a directory, writes the tenants' file stores there too.
pub fn create(cluster: &PgCluster, scale: Scale, filestore: Option<&Path>) -> Result<()> {
    let script = directory().join("make");
    let mut command = Command::new(&script);
    clean(&mut command);
    let mut path = OsString::from(cluster.bin_dir());
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    command.env("PATH", path).envs(cluster.env());
    command.args(["--scale", &scale.invoices.to_string(), "--attachments", &scale.attachments.to_string()]);
    if let Some(filestore) = filestore {
        command.arg("--filestore").arg(filestore);
    }
    output(&mut command).map(drop).context("failed to make the platform")
}

/// Makes one tenant's database, with about so many invoices and no attachments in the file store: 1,700 rows and
/// 0.5 MB per 200 invoices.
pub fn create_tenant(cluster: &PgCluster, database: &str, invoices: u32) -> Result<()> {
    cluster.psql_file("postgres", &directory().join("roles.sql"), &[])?;
    cluster.psql("postgres", &format!("CREATE DATABASE {} OWNER plana", crate::pg::quote_identifier(database)))?;
    let tenant = database.split('.').next().unwrap_or(database);
    cluster.psql_file(database, &directory().join("tenant.sql"), &[("scale", &invoices.to_string()), ("tenant", tenant)]).map(drop)
}

/// A cluster of that major version with the platform in it, shared by the tests of this process; read only, please.
pub fn shared(major: PgMajor) -> &'static PgCluster {
    static SHARED: [OnceLock<PgCluster>; 3] = [const { OnceLock::new() }; 3];
    let slot = PgMajor::ALL.iter().position(|one| *one == major).unwrap_or(0);
    SHARED[slot].get_or_init(|| {
        PgCluster::start(major)
            .and_then(|cluster| create(&cluster, Scale::SMALL, None).map(|()| cluster))
            .unwrap_or_else(|error| panic!("{error:#}"))
    })
}

fn directory() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/platform");
    path.canonicalize().unwrap_or(path)
}
