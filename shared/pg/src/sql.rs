//! Names as they stand in SQL that people are shown.

/// `name` as an identifier.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
