//! Databases may be called anything: each is dumped, listed under the one spelling of its name, and restored.

// Clippy takes helpers outside of test functions for shipped code.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]

mod common;

use std::collections::BTreeSet;

use plana_plan::{Area, name};
use plana_testkit::{
    bin::Bin,
    pg::{PgCluster, PgMajor, quote_identifier},
};

/// Names, and how keys spell them.
const NAMES: &[(&str, &str)] = &[
    ("plain", "plain"),
    ("Upper", "Upper"),
    ("upper", "upper"),
    ("two words", "two%20words"),
    (" ", "%20"),
    (" around ", "%20around%20"),
    ("quo\"te'd", "quo%22te%27d"),
    ("\"", "%22"),
    ("'", "%27"),
    ("back\\slash\\", "back%5Cslash%5C"),
    ("a/b", "a%2Fb"),
    ("/", "%2F"),
    (".", "%2E"),
    ("..", "%2E."),
    ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
    (".hidden", "%2Ehidden"),
    (".tmp-0-x", "%2Etmp-0-x"),
    ("new\nline", "new%0Aline"),
    ("tab\tand bell\u{7}", "tab%09and%20bell%07"),
    ("an elephant 🐘", "an%20elephant%20%F0%9F%90%98"),
    ("-rf", "%2Drf"),
    ("--help", "%2D-help"),
    ("a=b", "a%3Db"),
    ("dbname=postgres host=nowhere.invalid", "dbname%3Dpostgres%20host%3Dnowhere.invalid"),
    ("postgres://x", "postgres%3A%2F%2Fx"),
    ("%41", "%2541"),
    ("A", "A"),
    ("$(touch /tmp/owned)`id`;#", "%24%28touch%20%2Ftmp%2Fowned%29%60id%60%3B%23"),
    ("*", "%2A"),
    ("[a", "%5Ba"),
    ("pgbouncer", "pgbouncer"),
    ("manifest.json", "manifest.json"),
    (LONG, LONG),
    (
        LONG_ENCODED,
        "%E8%AA%9E%E8%AA%9E%E8%AA%9E%E8%AA%9E%E8%AA%9E%E8%AA%9E%E8%AA%9E%E8%AA%9E%E8%AA%9E%E8%AA%9E%E8%AA%9E%E8%AA%9E%E8%AA%9E%E8%AA%9E%E8%AA%9E%E8%AA%9E%E8%AA%9E%E8%AA%9E%E8%AA%9E%E8%AA%9E%E8%AA%9E",
    ),
];

/// The longest names that PostgreSQL takes: 63 bytes, and 63 bytes of which each needs three characters in a key.
const LONG: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
const LONG_ENCODED: &str = "語語語語語語語語語語語語語語語語語語語語語";

#[test]
fn every_name_is_dumped_listed_and_restored() {
    let cluster = PgCluster::start(PgMajor::V16).unwrap();
    assert_eq!((LONG.len(), LONG_ENCODED.len()), (63, 63));
    for (name, _) in NAMES {
        cluster.psql("postgres", &format!("CREATE DATABASE {} TEMPLATE template0", quote_identifier(name))).unwrap();
        // What it holds tells it apart from all others: a dump of the wrong one would show.
        cluster.psql(name, "CREATE TABLE \"the \"\"table\"\"\" AS SELECT current_database() AS name").unwrap();
    }
    let job = crate::common::job().on(&cluster);
    let outcome = job.run().expect(0);
    let store = job.store();
    let listed: BTreeSet<String> =
        store.files().into_iter().filter_map(|(key, _)| key.strip_prefix("pg/")?.split('/').next().map(str::to_owned)).collect();
    let expected: BTreeSet<String> =
        NAMES.iter().map(|(_, spelling)| *spelling).chain(["postgres", "template1"]).map(str::to_owned).collect();
    assert_eq!(listed, expected);
    for (at, (name, spelling)) in NAMES.iter().enumerate() {
        assert_eq!(outcome.outcome(name), "done", "{name:?}");
        let set = store.only_set(Area::Pg, name);
        assert_eq!(set.key.encoded_name, *spelling);
        assert_eq!((set.manifest.name.as_str(), name::decode(spelling).as_deref()), (*name, Ok(*name)));
        let restored = format!("restored_{at}");
        set.restore(&cluster, &restored);
        let held = cluster.psql(&restored, "SELECT encode(convert_to(name::text, 'UTF8'), 'hex') FROM \"the \"\"table\"\"\"").unwrap();
        assert_eq!(held, hex(name.as_bytes()), "{name:?}");
    }
    a_name_selects_itself(&cluster);
    what_people_see_is_printable(&cluster);
}

fn what_people_see_is_printable(cluster: &PgCluster) {
    let store = tempfile::tempdir().unwrap();
    let bin = Bin::program(env!("CARGO_BIN_EXE_pg-dump-to-sos")).envs(cluster.env()).env("STATE_DIRECTORY", store.path());
    let bin = bin.arg("--dry-run").arg(format!("--store=file://{}", store.path().display()));
    let text = bin.env("PATH", cluster.bin_dir()).run().unwrap().expect_code(0).stdout;
    assert!(text.lines().any(|line| line.contains("new\\nline") && line.contains("planned")), "{text}");
    assert!(!text.contains('\u{7}'), "{text}");
}

/// A name that is spelled out means itself, though it looks like an option, a path or a connection string.
fn a_name_selects_itself(cluster: &PgCluster) {
    let names: Vec<&str> = NAMES.iter().map(|(name, _)| *name).filter(|name| !name.contains(['*', '['])).collect();
    let outcome = crate::common::job().on(cluster).only(&names).arg("--dry-run").run().expect(0);
    let mut expected: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    expected.sort();
    assert_eq!(outcome.databases("planned"), expected);
    let outcome = crate::common::job().on(cluster).only(&[".."]).arg("--dry-run").run().expect(0);
    assert_eq!(outcome.databases("planned"), [".."]);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
