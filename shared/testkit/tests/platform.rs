//! The platform of the demo and the tests: what is in it, on each major version.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::path::Path;
use std::process::Command;

use plana_testkit::pg::{PgCluster, PgMajor};
use plana_testkit::platform::{self, EXTERNAL, SERVICES, Scale, TEMPLATES, TENANTS};

#[test]
fn has_all_databases_with_their_owners_and_tiers() {
    let cluster = platform::shared(PgMajor::V15);
    let names = cluster.psql("postgres", "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'").unwrap();
    let mut names: Vec<&str> = names.lines().collect();
    let mut expected: Vec<&str> = TENANTS.iter().map(|tenant| tenant.database).chain(TEMPLATES).chain(SERVICES).chain([EXTERNAL]).collect();
    names.sort_unstable();
    expected.sort_unstable();
    assert_eq!(names, expected);
    let owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'openphysica_website'";
    assert_eq!(cluster.psql("postgres", owner).unwrap(), "openphysica");
    let tiers = cluster.psql("plana_pulse_account", "SELECT database_name, tier FROM tenants ORDER BY id").unwrap();
    let expected: Vec<String> = TENANTS.iter().map(|tenant| format!("{}|{}", tenant.database, tenant.tier)).collect();
    assert_eq!(tiers, expected.join("\n"));
}

#[test]
fn attachments_are_files_whose_names_are_their_hashes() {
    let cluster = PgCluster::start(PgMajor::V18).unwrap();
    let filestore = tempfile::tempdir().unwrap();
    platform::create(&cluster, Scale { invoices: 20, attachments: 8 }, Some(filestore.path())).unwrap();
    let rows =
        cluster.psql("globex.planapulse.app", "SELECT store_fname, file_size FROM ir_attachment WHERE store_fname IS NOT NULL").unwrap();
    assert_eq!(rows.lines().count(), 8);
    for row in rows.lines() {
        let (name, size) = row.split_once('|').unwrap();
        let file = filestore.path().join("globex.planapulse.app").join(name);
        assert_eq!(file.metadata().unwrap().len(), size.parse::<u64>().unwrap());
        let sum = Command::new("sha1sum").arg(&file).output().unwrap();
        let hash = Path::new(name).file_name().unwrap().to_str().unwrap();
        assert!(String::from_utf8_lossy(&sum.stdout).starts_with(hash) && name.starts_with(&format!("{}/", &hash[..2])));
    }
    let rows = cluster.psql("acme.planapulse.app", "SELECT count(*) FROM account_move_line").unwrap();
    assert_eq!(rows, "320");
}

#[test]
fn a_tenant_alone_dumps_on_every_major_and_has_what_is_hard_to_dump() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        platform::create_tenant(cluster, "one.planapulse.app", 100).unwrap();
        let dump = cluster.command("pg_dump").args(["-Fc", "-Z0", "-d", "one.planapulse.app"]).output().unwrap();
        assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
        let facts = "SELECT (SELECT count(*) FROM pg_largeobject_metadata), (SELECT count(*) FROM pg_matviews),
            (SELECT count(*) FROM ONLY plana_log), (SELECT count(*) FROM plana_marker), (SELECT count(*) FROM fetchmail_server)";
        assert_eq!(cluster.psql("one.planapulse.app", facts).unwrap(), "1|1|30|1|0");
    }
}
