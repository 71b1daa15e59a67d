use proptest::prelude::*;

use super::*;

const TEXT: &str = r#"--
-- PostgreSQL database cluster dump
--

\restrict abc

SET default_transaction_read_only = off;
SET client_encoding = 'UTF8';

CREATE ROLE "Odd; ""role""";
ALTER ROLE "Odd; ""role""" WITH NOSUPERUSER INHERIT LOGIN PASSWORD 'SCRAM-SHA-256$4096:a;b''c==$d:e=';
COMMENT ON ROLE "Odd; ""role""" IS 'first;
second -- no comment';
CREATE ROLE plana;
ALTER ROLE plana WITH NOSUPERUSER;
ALTER ROLE plana SET search_path TO 'a', 'b;c';
ALTER ROLE plana SET x.y TO E'a\';b';
CREATE ROLE postgres;
ALTER ROLE postgres WITH SUPERUSER;
GRANT plana TO "Odd; ""role""" WITH INHERIT TRUE GRANTED BY postgres;
GRANT plana TO postgres GRANTED BY postgres;
GRANT SET ON PARAMETER work_mem TO plana;
CREATE TABLESPACE fast OWNER plana LOCATION '/srv/fast';
GRANT ALL ON TABLESPACE fast TO PUBLIC;
ALTER TABLESPACE fast SET (random_page_cost=1.1);
DROP ROLE somebody;

\unrestrict abc
"#;

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn what_pg_dumpall_writes_is_read_and_nothing_that_is_there_is_touched() {
    let plan = plan_globals(statements(TEXT).expect("statements"), &names(&["postgres"]), &names(&["pg_default"]));
    assert_eq!(plan.made, ["role Odd; \"role\"", "role plana", "tablespace fast"]);
    assert_eq!(plan.there, ["role postgres"]);
    assert_eq!(plan.roles.len(), 9, "{plan:#?}");
    assert_eq!(plan.tablespaces.len(), 3);
    assert_eq!(plan.unknown, ["GRANT plana TO postgres GRANTED BY postgres", "DROP ROLE somebody"]);
    let again = plan_globals(statements(TEXT).expect("statements"), &names(&["postgres", "plana", "Odd; \"role\""]), &names(&["fast"]));
    assert!(again.roles.is_empty() && again.tablespaces.is_empty() && again.made.is_empty(), "{again:#?}");
    assert_eq!(again.there.len(), 4);
}

#[test]
fn a_cut_text_is_an_error_and_no_verifier_is_shown() {
    assert_eq!(statements("SET a = b;\nALTER ROLE x SET y TO 'z;\n"), Err(Unfinished(2)));
    assert_eq!(statements("CREATE ROLE x"), Err(Unfinished(1)));
    assert_eq!(shown("ALTER ROLE x WITH LOGIN PASSWORD 'SCRAM-SHA-256$1' VALID UNTIL 'y'"), "ALTER ROLE x WITH LOGIN PASSWORD '…'");
}

proptest! {
    /// Whatever a role is called, its statements are its own, and no quote lets another statement in.
    #[test]
    fn no_name_or_text_leaves_its_quotes(name in "[^\0]{1,20}", comment in "[^\0\\\\]{0,20}") {
        let (quoted, comment) = (name.replace('"', "\"\""), comment.replace('\'', "''"));
        let text = format!("CREATE ROLE \"{quoted}\";\nCOMMENT ON ROLE \"{quoted}\" IS '{comment}';\n");
        let found = statements(&text).expect("statements");
        let about: Vec<About> = found.into_iter().map(|statement| statement.about).collect();
        prop_assert_eq!(about, vec![About::NewRole(name.clone()), About::Role(name)]);
    }

    #[test]
    fn any_text_is_taken_or_refused(text in "\\PC*") {
        let taken = statements(&text);
        prop_assert!(taken.is_ok() || taken.is_err());
    }
}
