//! TOML with the line of every key.

use std::collections::BTreeMap;

use figment::{
    providers::{Format, Toml},
    value::Dict,
};
use toml_edit::{ImDocument, Item, TableLike};

use super::Layer;
use crate::Problem;

/// Reads TOML. Values are figment's; the lines come from toml_edit's spans. No text of an error is taken
/// from either's `Display`, which shows the offending line and with it, perhaps, a secret.
pub(super) fn parse(name: &str, content: &str) -> Result<Layer, Problem> {
    let document = ImDocument::parse(content).map_err(|error| {
        let at = error.span().map_or_else(String::new, |span| position(content, span.start));
        Problem::new(format!("{name}{at}"), "", format!("is not TOML: {}", error.message().trim().replace('\n', ", ")), "")
    })?;
    let tree: Dict = Toml::from_str(content).map_err(|error: <Toml as Format>::Error| {
        let at = error.span().map_or_else(String::new, |span| position(content, span.start));
        Problem::new(format!("{name}{at}"), "", "holds what the configuration cannot", "")
    })?;
    let mut places = BTreeMap::new();
    walk(document.as_table(), &mut Vec::new(), &mut |path, start| {
        let line = content.get(..start).map_or(0, |before| before.matches('\n').count()) + 1;
        places.insert(path.to_vec(), format!("{name}:{line}"));
    });
    Ok(Layer { name: name.to_owned(), tree, places })
}

fn walk(table: &dyn TableLike, path: &mut Vec<String>, found: &mut dyn FnMut(&[String], usize)) {
    for (key, item) in table.iter() {
        path.push(key.to_owned());
        let span = table.get_key_value(key).and_then(|(key, _)| key.span()).or_else(|| item.span());
        if let Some(span) = span {
            found(path, span.start);
        }
        if let Some(below) = item.as_table_like().filter(|_| !matches!(item, Item::None)) {
            walk(below, path, found);
        }
        path.pop();
    }
}

/// `:line:column`, both from 1, the column in characters.
fn position(content: &str, offset: usize) -> String {
    let before = content.get(..offset).unwrap_or(content);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    format!(":{}:{}", before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}
