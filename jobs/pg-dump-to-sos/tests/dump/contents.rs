//! What a set holds of one database: its settings, its large objects, nothing at all, more than one volume.

use plana_plan::Area;
use plana_testkit::pg::{PgCluster, PgMajor};

use crate::common::{Job, expect_words, faults::big_database, rows};

#[test]
fn the_manifest_has_what_a_dump_has_not() {
    let cluster = PgCluster::shared(PgMajor::V16);
    let name = cluster.fresh_database("facts").unwrap();
    let role = format!("role_of_{name}");
    let sql = format!(
        "DROP DATABASE {name};
         CREATE ROLE {role};
         CREATE DATABASE {name} OWNER {role} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0;
         ALTER DATABASE {name} SET work_mem = '5MB';
         ALTER DATABASE {name} SET search_path = one, \"Two\";
         ALTER ROLE {role} IN DATABASE {name} SET statement_timeout = '7s';
         REVOKE ALL ON DATABASE {name} FROM PUBLIC;
         GRANT CONNECT ON DATABASE {name} TO pg_monitor"
    );
    for statement in sql.split(';') {
        cluster.psql("postgres", statement).unwrap();
    }
    // LATIN1 and beyond what a locale of its own would sort; the archive says which encoding it has.
    cluster.psql(&name, "CREATE TABLE public.accents AS SELECT 'Zürich'::text AS city").unwrap();
    let job = crate::common::job().on(cluster).only(&[&name]);
    job.run().expect(0);
    let set = job.store().set(&name);
    let facts = set.manifest.database.as_ref().unwrap();
    assert_eq!(
        (facts.owner.as_str(), facts.encoding.as_str(), facts.collate.as_str(), facts.ctype.as_str()),
        (role.as_str(), "LATIN1", "C", "C")
    );
    assert_eq!(facts.settings[""], ["work_mem=5MB", "search_path=one, \"Two\""]);
    assert_eq!(facts.settings[&role], ["statement_timeout=7s"]);
    assert!(facts.grants.contains(&format!("pg_monitor=c/{role}")), "{:?}", facts.grants);
    assert!(!facts.grants.iter().any(|grant| grant.starts_with('=')), "nothing is PUBLIC's: {:?}", facts.grants);
    assert!(facts.archive_version.starts_with("1."), "{}", facts.archive_version);
    assert!(facts.size_bytes > 1_000_000);
    assert_eq!(facts.extensions.keys().collect::<Vec<_>>(), ["plpgsql"]);
    let restored = format!("{name}_back");
    set.restore(cluster, &restored);
    assert_eq!(cluster.psql(&restored, "SELECT city FROM public.accents").unwrap(), "Zürich");
}

#[test]
fn an_empty_database() {
    let cluster = PgCluster::shared(PgMajor::V18);
    let name = cluster.fresh_database("empty").unwrap();
    let job = crate::common::job().on(cluster).only(&[&name]);
    assert_eq!(job.run().expect(0).item(&name)["rows"], 0);
    let set = job.store().set(&name);
    let facts = set.manifest.database.as_ref().unwrap();
    assert!(facts.tables.is_empty() && facts.large_objects.is_none(), "{facts:?}");
    set.restore(cluster, &format!("{name}_back"));
}

#[test]
fn large_objects() {
    for major in PgMajor::ALL {
        let cluster = PgCluster::shared(major);
        let name = cluster.fresh_database("objects").unwrap();
        // One of many pages, one of a few bytes, one that is empty.
        let fill = "SELECT lo_from_bytea(4711, (SELECT string_agg(sha512(i::text::bytea), '') FROM generate_series(1, 40000) AS i));
                    SELECT lo_from_bytea(4712, 'few'); SELECT lo_create(4713)";
        cluster.psql(&name, fill).unwrap();
        let job = crate::common::job().on(cluster).only(&[&name]);
        job.run().expect(0);
        let set = job.store().set(&name);
        let objects = set.manifest.database.as_ref().unwrap().large_objects.clone().unwrap();
        assert_eq!((objects.count, objects.bytes), (3, 40_000 * 64 + 3), "PostgreSQL {major}");
        let restored = format!("{name}_back");
        set.restore(cluster, &restored);
        let digests = "SELECT string_agg(oid || md5(lo_get(oid)), ',' ORDER BY oid) FROM pg_largeobject_metadata";
        assert_eq!(cluster.psql(&restored, digests).unwrap(), cluster.psql(&name, digests).unwrap());
    }
}

#[test]
fn a_dump_that_passes_the_stores_limits_goes_on_in_further_volumes() {
    let cluster = PgCluster::shared(PgMajor::V15);
    let name = big_database(cluster, "volumes");
    let parts_of_5_mib = |job: Job| job.set("upload.memory", "15MiB").set("upload.parts_in_flight", "2");
    for (setting, value) in [("upload.max_object", "12MiB"), ("upload.max_parts", "2")] {
        let job = parts_of_5_mib(crate::common::job().on(cluster)).only(&[&name]).set(setting, value);
        job.run().expect(0);
        let set = job.store().set(&name);
        let volumes = &set.manifest.payload.volumes;
        assert!(volumes.len() >= 3, "{setting}: {volumes:#?}");
        for (at, volume) in volumes.iter().enumerate() {
            let ending = if at == 0 { ".dump.zst".to_owned() } else { format!(".dump.zst.{at:03}") };
            assert!(volume.key.ends_with(&ending), "{}", volume.key);
            assert!(volume.bytes <= 12 << 20, "{volume:?}");
            assert!(at + 1 == volumes.len() || (volume.parts, volume.bytes) == (2, 2 * volume.part_bytes), "{volume:?}");
        }
        let restored = format!("{name}_{}", value.to_lowercase());
        set.restore(cluster, &restored);
        assert_eq!(rows::tables(cluster, &restored), rows::tables(cluster, &name));
        cluster.psql("postgres", &format!("DROP DATABASE {restored}")).unwrap();
    }
}

#[test]
fn a_standby_can_be_backed_up() {
    let standby = super::connections::Standby::start();
    let job = standby.job();
    let outcome = job.run().expect(0);
    assert_eq!(outcome.databases("done"), ["held", "postgres", "template1"]);
    assert_eq!(outcome.item_in("globals", "cluster")["outcome"], "done");
    assert_eq!(job.store().set("held").manifest.database.unwrap().rows, 1000);
    assert_eq!(job.store().sets(Area::Globals, "cluster").len(), 1);
    let check = job.clone().arg("check").run();
    expect_words(&check.done.stdout, &["a standby"]);
}
