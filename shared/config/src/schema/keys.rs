//! The list of all keys, as the schema itself has it.

use crate::{
    probe::{self, Kind},
    problem::dotted,
};

/// A key of the configuration that holds a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaKey {
    /// The dotted key; `*` stands for a name of the operator's choice.
    pub key: String,
    /// Whether its value is never shown.
    pub is_secret: bool,
}

/// Every key that holds a value, in the order of the schema.
pub fn schema_keys() -> Vec<SchemaKey> {
    let holds_value = |kind: Kind| !matches!(kind, Kind::Struct(_) | Kind::Map);
    let key = |(path, kind): (Vec<String>, Kind)| {
        let is_secret = kind == Kind::Secret;
        holds_value(kind).then(|| SchemaKey { key: dotted(&path).replace("\"*\"", "*"), is_secret })
    };
    probe::all_keys().into_iter().filter_map(key).collect()
}
