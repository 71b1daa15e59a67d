//! What a database is, and therefore under which label it is kept.

use plana_testkit::pg::{PgCluster, PgMajor, quote_literal};

use crate::common::{Job, Outcome, expect_words};

struct Names {
    by_map: String,
    by_file: String,
    by_query: String,
    odd_tier: String,
    no_tier: String,
    template: String,
    unruled: String,
}

impl Names {
    fn all(&self) -> [&str; 7] {
        [&self.by_map, &self.by_file, &self.by_query, &self.odd_tier, &self.no_tier, &self.template, &self.unruled]
    }
}

/// Databases, and a configuration in which the tiers of each come from another source; the better source wins where two
/// speak of the same one.
fn prepared() -> (&'static PgCluster, Names, Job) {
    let cluster = PgCluster::shared(PgMajor::V15);
    let make = |prefix: &str| cluster.fresh_database(prefix).unwrap();
    let names = Names {
        by_map: make("tenant"),
        by_file: make("tenant"),
        by_query: make("tenant"),
        odd_tier: make("tenant"),
        no_tier: make("tenant"),
        template: make("tenant_template"),
        unruled: make("stranger"),
    };
    let account = make("account");
    let row = |name: &str, tier: &str| format!("({}, {})", quote_literal(name), quote_literal(tier));
    let rows = [
        row(&names.by_map, "starter"),
        row(&names.by_file, "starter"),
        row(&names.by_query, "Enterprise "),
        row(&names.odd_tier, "platinum"),
    ];
    let sql = format!("CREATE TABLE tenants (name text, tier text); INSERT INTO tenants VALUES {}", rows.join(", "));
    cluster.psql(&account, &sql).unwrap();
    let job = crate::common::job().on(cluster).only(&names.all());
    let file = job.home().join("tiers");
    std::fs::write(&file, format!("# name tier\n{} pro\n{} starter\n", names.by_file, names.by_map)).unwrap();
    let job = job.config(&format!(
        "[rules.templates]\norder = 1\nclass = \"template\"\ndatabases = [\"*_template_*\"]\n\
         [rules.tenants]\norder = 2\nclass = \"tenant\"\ndatabases = [\"tenant_*\"]\nowners = [\"postgres\"]\n\
         [rules.nobody]\norder = 3\nclass = \"platform\"\ndatabases = [\"stranger_*\"]\nowners = [\"somebody-else\"]\n\
         [tiers]\nfile = \"{}\"\n[tiers.static]\n\"{}\" = \"enterprise\"\n\
         [tiers.sql]\ndatabase = \"{account}\"\nquery = \"SELECT name, tier FROM tenants\"\n",
        file.display(),
        names.by_map
    ));
    (cluster, names, job)
}

fn kept(outcome: &Outcome, name: &str) -> (String, String) {
    let item = outcome.item(name);
    assert_eq!(item["outcome"], "done", "{item}");
    let text = |key: &str| item[key].as_str().unwrap().to_owned();
    (text("class"), text("label"))
}

fn of(class: &str, label: &str) -> (String, String) {
    (class.to_owned(), label.to_owned())
}

#[test]
fn tiers_come_from_the_map_then_the_file_then_the_query() {
    let (_, names, job) = prepared();
    let outcome = job.run().expect(0);
    assert_eq!(kept(&outcome, &names.by_map), of("tenant", "enterprise"));
    assert_eq!(kept(&outcome, &names.by_file), of("tenant", "pro"));
    assert_eq!(kept(&outcome, &names.by_query), of("tenant", "enterprise"));
    assert_eq!(kept(&outcome, &names.template), of("template", "template"), "the first rule in order counts");
    // Whatever is unknown is dumped all the same, under the longest window, and said.
    for (name, class, why) in [
        (&names.odd_tier, "tenant", "its tier `platinum` has no retention window"),
        (&names.no_tier, "tenant", "its tier was not found"),
        (&names.unruled, "unclassified", "no rule names it"),
    ] {
        assert_eq!(kept(&outcome, name), of(class, "unclassified"));
        let warnings = outcome.item(name)["warnings"].to_string();
        expect_words(&warnings, &[why, "longest window"]);
        expect_words(&outcome.done.stderr, &[why]);
    }
    let set = job.store().set(&names.by_query);
    assert_eq!((set.manifest.class.as_deref(), set.manifest.tier.as_deref()), (Some("tenant"), Some("enterprise")));
    assert_eq!(set.key.label.to_string(), "enterprise");
    assert_eq!(job.store().set(&names.odd_tier).manifest.tier.as_deref(), Some("platinum"));
}

#[test]
fn a_tier_query_that_fails_costs_a_warning_only() {
    let (_, names, job) = prepared();
    for (setting, value, reason) in [
        ("TIERS__SQL__QUERY", "SELECT name, tier FROM no_such_table", "no_such_table"),
        ("TIERS__SQL__QUERY", "SELECT pg_sleep(60)::text, ''", "tiers.sql"),
        ("TIERS__SQL__DATABASE", "no_such_database", "no_such_database"),
    ] {
        let job = job.clone().env(format!("PLANA_JOBS__{setting}"), value).env("PLANA_JOBS__TIERS__SQL__TIMEOUT", "1s");
        let outcome = job.run().expect(0);
        expect_words(&outcome.warnings(), &["tiers.sql", reason, "longest window"]);
        assert_eq!(kept(&outcome, &names.by_query), of("tenant", "unclassified"));
        assert_eq!(kept(&outcome, &names.by_file), of("tenant", "pro"), "the other sources still count");
    }
}

#[test]
fn a_tier_query_cannot_write() {
    let (cluster, names, job) = prepared();
    let query = "WITH gone AS (DELETE FROM tenants RETURNING name, tier) SELECT name, tier FROM gone";
    let outcome = job.clone().env("PLANA_JOBS__TIERS__SQL__QUERY", query).run().expect(0);
    expect_words(&outcome.warnings(), &["tiers.sql"]);
    let account = outcome.warnings();
    let account = account.split(['`', ' ', ':', ';']).find(|word| word.starts_with("account_")).expect("the database's name");
    assert_eq!(cluster.psql(account, "SELECT count(*) FROM tenants").unwrap(), "4");
    assert_eq!(kept(&outcome, &names.by_query), of("tenant", "unclassified"));
}

#[test]
fn without_any_rule_nothing_is_odd() {
    let cluster = PgCluster::shared(PgMajor::V15);
    let name = cluster.fresh_database("plain").unwrap();
    let outcome = crate::common::job().on(cluster).only(&[&name]).run().expect(0);
    assert_eq!(kept(&outcome, &name), of("unclassified", "unclassified"));
    assert_eq!(outcome.warnings(), "");
}
