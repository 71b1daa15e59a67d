//! What the README quotes from the code is what the code says.
#![allow(clippy::expect_used, reason = "a test may")]

use plana_pg::rights::LEAST_RIGHTS_SQL;

fn readme() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")).expect("the README")
}

#[test]
fn it_shows_each_jobs_help() {
    for mut command in plana_scenarios::jobs() {
        command = command.term_width(100);
        let help = command.render_help().to_string();
        let help: String = help.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
        let (about, options) = help.split_once("\n\n").expect("a summary and the rest");
        let name = command.get_name();
        assert!(readme().contains(options.trim_end()), "the README's block under {name} should read (after {about:?}):\n\n{options}");
    }
}

#[test]
fn it_shows_the_sql_of_the_least_role() {
    assert!(readme().contains(LEAST_RIGHTS_SQL.trim_end()), "the README's SQL should read:\n\n{LEAST_RIGHTS_SQL}");
}
