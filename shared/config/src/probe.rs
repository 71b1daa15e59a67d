//! What the schema wants at a key, asked of the schema itself.
//!
//! A deserializer that holds no data but a path. It leads serde's derived code down that path, one key
//! at a time, and stops where the path ends: either to report what was asked for there, or to let the
//! one value of that key be read. So the schema's structs are the only list of keys that there is, and
//! each key of each layer is judged on its own, whatever is wrong beside it.

use std::fmt;

use figment::{
    error::{Actual, Kind as FigmentKind},
    value::Value,
};
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, IntoDeserializer, MapAccess, Visitor},
};

use crate::{Config, Secret};

/// What the schema wants at a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text, and whatever is read from text.
    Text,
    /// Text that is never printed.
    Secret,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// A list.
    List,
    /// A table with these keys.
    Struct(&'static [&'static str]),
    /// A table with keys of the operator's choice.
    Map,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// What the schema says to a path, or to a value at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The path leads to this.
    Wants(Kind),
    /// The value is good.
    Fits,
    /// There is no such key; these are there.
    Unknown {
        /// The keys that stand beside it.
        known: &'static [&'static str],
    },
    /// The value is of the wrong kind. Says nothing of the value itself.
    WrongKind {
        /// What was found.
        found: &'static str,
        /// What was expected.
        expected: String,
    },
    /// The value is of the right kind and wrong: why. May show the value.
    Invalid(String),
}

/// What the schema wants at a path.
pub(crate) fn ask(path: &[String]) -> Answer {
    run(Probe { path, value: None })
}

/// What the schema says to a value at a path that leads to a leaf.
pub(crate) fn judge(path: &[String], value: &Value) -> Answer {
    run(Probe { path, value: Some(value) })
}

/// Every key of the schema with what it wants; `*` stands for keys of the operator's choice.
pub(crate) fn all_keys() -> Vec<(Vec<String>, Kind)> {
    let mut found = Vec::new();
    let mut open = vec![Vec::new()];
    while let Some(path) = open.pop() {
        let Answer::Wants(kind) = ask(&path) else { continue };
        let below = |key: &str| path.iter().cloned().chain([key.to_owned()]).collect::<Vec<_>>();
        match kind {
            Kind::Struct(fields) => open.extend(fields.iter().rev().map(|field| below(field))),
            Kind::Map => open.push(below("*")),
            _ => {}
        }
        found.push((path, kind));
    }
    found
}

fn run(probe: Probe<'_>) -> Answer {
    match Config::deserialize(probe) {
        // Only a schema without any key could get here.
        Ok(_) => Answer::Fits,
        Err(answer) => answer,
    }
}

#[derive(Clone, Copy)]
struct Probe<'a> {
    path: &'a [String],
    value: Option<&'a Value>,
}

impl Probe<'_> {
    fn leaf<T>(self, kind: Kind) -> Result<T, Answer> {
        if self.path.is_empty() { Err(Answer::Wants(kind)) } else { Err(Answer::Unknown { known: &[] }) }
    }
}

macro_rules! leaves {
    ($($kind:ident: $($method:ident)*;)*) => {$($(
        fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Answer> {
            self.leaf(Kind::$kind)
        }
    )*)*};
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Answer;

    leaves! {
        Text: deserialize_any deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf
              deserialize_unit deserialize_identifier deserialize_ignored_any;
        Bool: deserialize_bool;
        Integer: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
                 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128;
        Number: deserialize_f32 deserialize_f64;
        List: deserialize_seq;
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, _: V) -> Result<V::Value, Answer> {
        self.leaf(Kind::Text)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Answer> {
        self.leaf(Kind::List)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(self, _: &'static str, _: usize, _: V) -> Result<V::Value, Answer> {
        self.leaf(Kind::List)
    }

    fn deserialize_enum<V: Visitor<'de>>(self, _: &'static str, words: &'static [&'static str], _: V) -> Result<V::Value, Answer> {
        self.leaf(Kind::Choice(words))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Answer> {
        if name == Secret::SERDE_NAME { self.leaf(Kind::Secret) } else { visitor.visit_newtype_struct(self) }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Answer> {
        visitor.visit_some(self)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Answer> {
        if self.path.is_empty() { Err(Answer::Wants(Kind::Map)) } else { visitor.visit_map(self) }
    }

    fn deserialize_struct<V: Visitor<'de>>(self, _: &'static str, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Answer> {
        match self.path.first() {
            None => Err(Answer::Wants(Kind::Struct(fields))),
            Some(key) if !fields.contains(&key.as_str()) => Err(Answer::Unknown { known: fields }),
            Some(_) => visitor.visit_map(self),
        }
    }
}

/// One table with one key: the path's next.
impl<'de> MapAccess<'de> for Probe<'_> {
    type Error = Answer;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Answer> {
        self.path.first().map(|key| seed.deserialize(key.as_str().into_deserializer())).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Answer> {
        self.path = self.path.get(1..).unwrap_or_default();
        match (self.path, self.value) {
            // Whether it fits or not, the rest of the schema is of no interest: an error ends the walk.
            ([], Some(value)) => Err(seed.deserialize(value).map_or_else(Answer::from, |_| Answer::Fits)),
            _ => seed.deserialize(*self),
        }
    }
}

impl From<figment::Error> for Answer {
    fn from(error: figment::Error) -> Self {
        // figment's own texts show the value: they are never used.
        match error.kind {
            FigmentKind::Message(reason) => Answer::Invalid(reason),
            FigmentKind::InvalidType(found, expected) => Answer::WrongKind { found: found_kind(&found), expected: plain(&expected) },
            FigmentKind::InvalidValue(_, expected) => Answer::Invalid(format!("is out of range: expects {}", plain(&expected))),
            FigmentKind::InvalidLength(length, expected) => Answer::Invalid(format!("{length} items: expected {expected}")),
            FigmentKind::UnknownVariant(word, words) => Answer::Invalid(format!("`{word}` is none of {}", words.join(", "))),
            FigmentKind::UnknownField(_, known) => Answer::Unknown { known },
            FigmentKind::MissingField(name) => Answer::Invalid(format!("`{name}` is missing")),
            FigmentKind::DuplicateField(name) => Answer::Invalid(format!("`{name}` is given twice")),
            FigmentKind::ISizeOutOfRange(_) | FigmentKind::USizeOutOfRange(_) => Answer::Invalid("is out of range".to_owned()),
            FigmentKind::Unsupported(found) => Answer::WrongKind { found: found_kind(&found), expected: "something else".to_owned() },
            FigmentKind::UnsupportedKey(_, expected) => Answer::Invalid(format!("its key must be {expected}")),
        }
    }
}

/// serde's names of types, as people say them.
fn plain(expected: &str) -> String {
    match expected {
        "a boolean" => "true or false".to_owned(),
        "a string" | "path string" => "text in quotes".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a table".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        other => other.to_owned(),
    }
}

fn found_kind(found: &Actual) -> &'static str {
    match found {
        Actual::Bool(_) => "true or false",
        Actual::Unsigned(_) | Actual::Signed(_) => "a whole number",
        Actual::Float(_) => "a fractional number",
        Actual::Char(_) | Actual::Str(_) => "text",
        Actual::Seq => "a list",
        Actual::Map => "a table",
        _ => "something else",
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Wants(kind) => write!(f, "expects {kind:?}"),
            Answer::Fits => f.write_str("fits"),
            Answer::Unknown { .. } => f.write_str("unknown key"),
            Answer::WrongKind { found, expected } => write!(f, "{found} where {expected} belongs"),
            Answer::Invalid(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Answer {}

impl de::Error for Answer {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Answer::Invalid(reason.to_string())
    }
}
