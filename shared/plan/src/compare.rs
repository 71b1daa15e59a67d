//! What a manifest says a dump holds, against what was found.

use std::{collections::BTreeMap, fmt};

use crate::{manifest::TableFacts, name::printable};

/// A table whose rows are not what the manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The table's schema.
    pub schema: String,
    /// The table.
    pub table: String,
    /// The manifest's rows; `None` where it does not name the table.
    pub expected: Option<u64>,
    /// The rows that were found; `None` where the table is not there.
    pub found: Option<u64>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} ", printable(&self.schema), printable(&self.table))?;
        match (self.expected, self.found) {
            (Some(expected), Some(found)) => write!(f, "has {found} rows instead of {expected}"),
            (Some(expected), None) => write!(f, "is not there, with its {expected} rows"),
            (None, Some(found)) => write!(f, "is not in the manifest, and has {found} rows"),
            (None, None) => write!(f, "is in neither"),
        }
    }
}

/// Every table whose rows differ, in the order of their names. A table that stands in a list twice is counted once, with the
/// sum of its rows.
pub fn differences<'a>(expected: &[TableFacts], found: impl IntoIterator<Item = (&'a str, &'a str, u64)>) -> Vec<Difference> {
    let mut both: BTreeMap<_, (Option<u64>, Option<u64>)> = BTreeMap::new();
    for facts in expected {
        let rows = &mut both.entry((&*facts.schema, &*facts.table)).or_default().0;
        *rows = Some(rows.unwrap_or(0).saturating_add(facts.rows));
    }
    for (schema, table, count) in found {
        let rows = &mut both.entry((schema, table)).or_default().1;
        *rows = Some(rows.unwrap_or(0).saturating_add(count));
    }
    let differs = both.into_iter().filter(|(_, (expected, found))| expected != found);
    differs
        .map(|((schema, table), (expected, found))| Difference { schema: schema.to_owned(), table: table.to_owned(), expected, found })
        .collect()
}

/// At most so many differences, as one text.
pub fn summary(differences: &[Difference]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = differences.iter().take(SHOWN).map(ToString::to_string).collect();
    let more = differences.len().saturating_sub(SHOWN);
    if more == 0 { shown.join("; ") } else { format!("{}; and {more} more", shown.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn facts(table: &str, rows: u64) -> TableFacts {
        TableFacts { schema: "public".to_owned(), table: table.to_owned(), rows, bytes: 0 }
    }

    #[test]
    fn each_kind_of_difference_is_named() {
        let expected = [facts("a", 1), facts("b", 2), facts("c", 3)];
        let found = [("public", "a", 1), ("public", "b", 1), ("public", "d", 4)];
        let texts: Vec<String> = differences(&expected, found).iter().map(ToString::to_string).collect();
        let named = [
            "public.b has 1 rows instead of 2",
            "public.c is not there, with its 3 rows",
            "public.d is not in the manifest, and has 4 rows",
        ];
        assert_eq!(texts, named);
        let many: Vec<TableFacts> = (0..9).map(|n| facts(&format!("t{n}"), 1)).collect();
        assert!(summary(&differences(&many, [])).ends_with("; and 4 more"));
    }

    proptest! {
        #[test]
        fn the_same_tables_never_differ_in_whatever_order(mut tables in proptest::collection::vec(("[a-c]{1,2}", 0u64..9), 0..12), lost in 0usize..12) {
            let expected: Vec<TableFacts> = tables.iter().map(|(name, rows)| facts(name, *rows)).collect();
            tables.reverse();
            let found = |tables: &[(String, u64)]| differences(&expected, tables.iter().map(|(name, rows)| ("public", name.as_str(), *rows))).len();
            prop_assert_eq!(found(&tables), 0);
            if lost < tables.len() {
                tables[lost].1 += 1;
                prop_assert_eq!(found(&tables), 1);
            }
        }
    }
}
