//! Values that come as text, from the environment and from flags.

use figment::{
    providers::{Format, Toml},
    value::{Dict, Value},
};

use crate::probe::Kind;

/// The value that the text means where the schema wants `kind`. Text stays text, so that `12345`,
/// `true` and `00123` are good names and passwords. What cannot be read as the kind stays text too and
/// is then judged like any value. `None` for text where a table is wanted.
///
/// A list is written as in TOML, `["a", "b"]`, or plainly, `a,b` or `[a, b]`; in the plain form a comma
/// always separates, so a pattern such as `{a,b}` needs the first.
pub(super) fn typed(text: &str, kind: Kind) -> Option<Value> {
    let trimmed = text.trim();
    let as_text = || Value::from(text.to_owned());
    Some(match kind {
        Kind::Text | Kind::Secret | Kind::Choice(_) => as_text(),
        Kind::Bool => trimmed.parse::<bool>().map_or_else(|_| as_text(), Value::from),
        Kind::Integer => match (trimmed.parse::<u64>(), trimmed.parse::<i64>()) {
            (Ok(number), _) => number.into(),
            (_, Ok(number)) => number.into(),
            _ => as_text(),
        },
        Kind::Number => trimmed.parse::<f64>().map_or_else(|_| as_text(), Value::from),
        Kind::List => in_toml(trimmed).filter(|value| matches!(value, Value::Array(..))).unwrap_or_else(|| plain_list(trimmed)),
        Kind::Struct(_) | Kind::Map => in_toml(trimmed).filter(|value| matches!(value, Value::Dict(..)))?,
    })
}

fn in_toml(text: &str) -> Option<Value> {
    let mut tree: Dict = Toml::from_str(&format!("value = {text}\n")).ok()?;
    // A text with a line break could smuggle in a second key.
    if tree.len() == 1 { tree.remove("value") } else { None }
}

fn plain_list(text: &str) -> Value {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let items = inner.split(',').map(str::trim).filter(|item| !item.is_empty());
    Value::from(items.map(|item| item.trim_matches('"').to_owned()).collect::<Vec<_>>())
}
