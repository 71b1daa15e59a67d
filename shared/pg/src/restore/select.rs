//! Tables alone, as pg_restore is told of them.

use std::{collections::BTreeSet, ffi::OsString};

use plana_plan::name::printable;

use super::{RestoreError, RestoreFailure};

/// The arguments that pick exactly these tables.
pub(super) fn arguments(what: &str, tables: &[(String, String)]) -> Result<Vec<OsString>, RestoreError> {
    let wanted: BTreeSet<_> = tables.iter().map(|(schema, table)| (schema.as_str(), table.as_str())).collect();
    let schemas: BTreeSet<_> = wanted.iter().map(|(schema, _)| *schema).collect();
    let names: BTreeSet<_> = wanted.iter().map(|(_, table)| *table).collect();
    // pg_restore takes every table of these names in every one of these schemas.
    let all = || schemas.iter().flat_map(|schema| names.iter().map(move |name| (*schema, *name)));
    if let Some((schema, table)) = all().find(|pair| !wanted.contains(pair)) {
        let unasked = format!("{}.{}", printable(schema), printable(table));
        let reason = format!(
            "pg_restore picks tables by schema and by name, and would restore `{unasked}` as well; restore the tables of one schema at a time"
        );
        return Err(RestoreError::without_advice(what, RestoreFailure::Start, reason));
    }
    let strict = (!wanted.is_empty()).then(|| OsString::from("--strict-names"));
    let schemas = schemas.iter().map(|schema| format!("--schema={schema}").into());
    let names = names.iter().map(|name| format!("--table={name}").into());
    Ok(strict.into_iter().chain(schemas).chain(names).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(tables: &[(&str, &str)]) -> Result<Vec<String>, String> {
        let tables: Vec<_> = tables.iter().map(|&(schema, table)| (schema.to_owned(), table.to_owned())).collect();
        let arguments = arguments("acme", &tables).map_err(|error| error.to_string())?;
        Ok(arguments.into_iter().map(|argument| argument.to_string_lossy().into_owned()).collect())
    }

    #[test]
    fn only_what_was_asked_for_is_picked() {
        assert_eq!(pick(&[]).expect("everything"), Vec::<String>::new());
        let one = pick(&[("public", "-t; a"), ("public", "b"), ("public", "b")]).expect("a schema");
        assert_eq!(one, ["--strict-names", "--schema=public", "--table=-t; a", "--table=b"]);
        pick(&[("a", "t"), ("b", "t")]).expect("one name in two schemas");
        let message = pick(&[("a", "x"), ("b", "y")]).expect_err("a product");
        assert!(message.starts_with("restore acme: ") && message.contains("`a.y`"), "{message}");
    }
}
