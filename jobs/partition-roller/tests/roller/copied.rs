//! What a new partition gets from its parent besides its columns.

use crate::{Place, TABLE, each};

#[test]
fn owner_grants_row_security_replica_identity_and_storage_are_the_parents() {
    each(|major| {
        let place = Place::with_events(major);
        let (owner, reader) = (format!("owner_{}", place.name), format!("reader_{}", place.name));
        let newest = place.month(0);
        place.sql(&format!(
            "CREATE ROLE {owner}; CREATE ROLE {reader}; GRANT USAGE, CREATE ON SCHEMA public TO {owner};
             ALTER TABLE events OWNER TO {owner};
             ALTER TABLE events ADD CONSTRAINT one UNIQUE (id, at);
             ALTER TABLE events REPLICA IDENTITY USING INDEX one;
             GRANT SELECT, INSERT ON events TO {reader} WITH GRANT OPTION; GRANT SELECT (at) ON events TO PUBLIC;
             ALTER TABLE events ENABLE ROW LEVEL SECURITY; ALTER TABLE events FORCE ROW LEVEL SECURITY;
             CREATE POLICY own ON events AS PERMISSIVE FOR SELECT TO {reader} USING (deployment = current_user);
             ALTER TABLE events ALTER COLUMN body SET STATISTICS 321; ALTER TABLE events ALTER COLUMN body SET STORAGE EXTERNAL;
             ALTER TABLE {newest} SET (fillfactor = 77, autovacuum_enabled = false);
             ALTER DEFAULT PRIVILEGES FOR ROLE {owner} GRANT ALL ON TABLES TO PUBLIC"
        ));
        place.run(TABLE, 0);
        let made = place.month(-2);
        let facts = place.sql(&format!(
            "SELECT pg_get_userbyid(relowner), relrowsecurity, relforcerowsecurity, relreplident, (SELECT array_agg(o ORDER BY o) FROM unnest(reloptions) o) FROM pg_class WHERE relname = '{made}'"
        ));
        assert_eq!(facts, format!("{owner}|t|t|i|{{autovacuum_enabled=false,fillfactor=77}}"));
        let acl = |table: &str| {
            place.sql(&format!("SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM pg_class, unnest(relacl) a WHERE relname = '{table}' AND a::text NOT LIKE '{owner}=%'"))
        };
        assert_eq!(acl(&made), acl("events"));
        assert!(!acl(&made).contains("=arwdD"), "{}", acl(&made));
        let column = |table: &str, column: &str| {
            place.sql(&format!(
                "SELECT attacl, attstattarget, attstorage FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attname = '{column}'"
            ))
        };
        for name in ["at", "body"] {
            assert_eq!(column(&made, name), column("events", name));
        }
        let policies = |table: &str| {
            place.sql(&format!("SELECT policyname, permissive, roles, cmd, qual, with_check FROM pg_policies WHERE tablename = '{table}'"))
        };
        assert_eq!(policies(&made), policies("events"));
        place.sql(&format!("DROP TABLE events; DROP OWNED BY {owner}; DROP OWNED BY {reader}; DROP ROLE {owner}; DROP ROLE {reader}"));
    });
}

#[test]
fn a_role_that_may_not_act_as_the_owner_is_told_the_grant_and_the_other_tables_are_rolled() {
    each(|major| {
        let place = Place::with_events(major);
        let (owner, roller) = (format!("owner_{}", place.name), format!("roller_{}", place.name));
        place.sql(&format!(
            "CREATE ROLE {owner}; CREATE ROLE {roller} LOGIN PASSWORD 'x'; GRANT CREATE, USAGE ON SCHEMA public TO {owner}, {roller};
             ALTER TABLE events OWNER TO {owner};
             CREATE TABLE mine (at timestamptz NOT NULL) PARTITION BY RANGE (at); ALTER TABLE mine OWNER TO {roller}"
        ));
        let config = "[partitions.tables.all]\nschema = \"public\"\n";
        let job = place.job(config).env("PGUSER", &roller).env("PGPASSWORD", "x");
        let outcome = job.run().expect(3);
        plana_testkit::job::expect_words(
            outcome.error("public.events"),
            &["permission denied", &format!("GRANT \"{owner}\" TO \"{roller}\"")],
        );
        assert_eq!(outcome.item("public.mine")["made"], 4);
        let checked = job.clone().arg("check").run().done.expect_code(1).stdout;
        plana_testkit::job::expect_words(
            &checked,
            &["of which this role is no member", &format!("GRANT \\\"{owner}\\\" TO \\\"{roller}\\\"")],
        );
        // As a member it does all of it.
        place.sql(&format!("GRANT {owner} TO {roller}"));
        assert_eq!(job.run().expect(0).item("public.events")["made"], 3);
        assert_eq!(place.sql(&format!("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = '{}'", place.month(-1))), owner);
        place
            .sql(&format!("DROP TABLE events, mine; DROP OWNED BY {owner}; DROP OWNED BY {roller}; DROP ROLE {owner}; DROP ROLE {roller}"));
    });
}
