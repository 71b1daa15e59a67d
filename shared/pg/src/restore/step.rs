//! What pg_restore with several jobs tells of an entry of the archive.

/// A step of one entry, which is named by its number in the archive (`dump_id`).
///
/// A name in the archive can hold what looks like such a message: whoever acts on it must do no harm when it is not true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreStep {
    /// A connection begins with it.
    Launched(i64),
    /// It is in the database, committed.
    Finished(i64),
}

impl RestoreStep {
    /// Reads the first line of a message (`parallel_restore` and its callers in pg_backup_archiver.c); `None` for any other.
    pub fn parse(message: &str) -> Option<Self> {
        let said = message.strip_prefix("pg_restore: ")?;
        let number = |rest: &str| rest.split_once(' ')?.0.parse().ok();
        match said.split_once(" item ")? {
            ("launching", rest) => number(rest).map(RestoreStep::Launched),
            ("finished", rest) => number(rest).map(RestoreStep::Finished),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_of_entries_are_told_from_all_else() {
        let parse = RestoreStep::parse;
        assert_eq!(parse("pg_restore: launching item 3355 TABLE DATA a b"), Some(RestoreStep::Launched(3355)));
        assert_eq!(parse("pg_restore: finished item 3208 CONSTRAINT t t_pkey"), Some(RestoreStep::Finished(3208)));
        for other in [
            "pg_restore: processing item 215 TABLE u",
            "pg_restore: finished main parallel loop",
            "pg_restore: creating TABLE \"public.launching item 7 x\"",
            "pg_restore: finished item x",
            "pg_restore: finished item 99999999999999999999 x",
            "finished item 1 x",
            "",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
