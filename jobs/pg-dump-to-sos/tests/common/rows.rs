//! What is in a database, table by table, as the server itself counts it.

use std::collections::BTreeMap;

use plana_plan::manifest::DatabaseFacts;
use plana_testkit::pg::PgCluster;

/// Rows and a digest of the rows.
pub type Table = (u64, String);

/// Every table with rows of its own: `schema.table`, rows, and a digest of their text in an order of its own.
pub fn tables(cluster: &PgCluster, database: &str) -> BTreeMap<String, Table> {
    let query = "SELECT format('SELECT %L || E''\\t'' || count(*) || E''\\t'' || \
                 coalesce(md5(string_agg(md5(t::text), '''' ORDER BY md5(t::text))), ''-'') FROM ONLY %I.%I t', \
                 n.nspname || '.' || c.relname, n.nspname, c.relname) \
                 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'\n\\gexec\n";
    let answer = cluster.psql(database, query).expect("the tables");
    let line = |line: &str| {
        let mut fields = line.split('\t');
        let mut field = || fields.next().expect("a field").to_owned();
        (field(), (field().parse().expect("a number"), field()))
    };
    answer.lines().map(line).collect()
}

/// Panics unless the manifest names exactly these tables with these rows.
#[track_caller]
pub fn expect_counts(facts: &DatabaseFacts, tables: &BTreeMap<String, Table>) {
    let noted: BTreeMap<String, u64> = facts.tables.iter().map(|table| (format!("{}.{}", table.schema, table.table), table.rows)).collect();
    let counted: BTreeMap<String, u64> = tables.iter().map(|(name, (rows, _))| (name.clone(), *rows)).collect();
    assert_eq!(noted, counted);
    assert_eq!(facts.rows, counted.values().sum::<u64>());
}
