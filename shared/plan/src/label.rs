//! The part of a set's name that decides how long it is kept.

use std::{fmt, str::FromStr};

use crate::{Area, stamp::Stamp};

/// A tier, a class or an operation: `[a-z0-9-]+`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label(String);

impl Label {
    /// The label of what no rule and no lookup knows: kept under the longest window that there is.
    pub const UNCLASSIFIED: &'static str = "unclassified";

    /// The label of what no rule and no lookup knows.
    pub fn unclassified() -> Self {
        Label(Self::UNCLASSIFIED.to_owned())
    }

    /// The label's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not a label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a label: use lower-case letters, digits and hyphens")]
pub struct LabelError(pub String);

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        let fits = !text.is_empty() && text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if fits { Ok(Label(text.to_owned())) } else { Err(LabelError(text.to_owned())) }
    }
}

impl serde::Serialize for Label {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Label {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What stands between a set's stamp and its id: a label, and for insurance also until when it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SetLabel {
    /// The tier or class; for insurance the operation.
    pub label: Label,
    /// Until when an insurance set is kept; `None` elsewhere.
    pub until: Option<Stamp>,
}

impl SetLabel {
    /// Parses the dotted segments between stamp and id, as the area requires them.
    pub fn parse(area: Area, text: &str) -> Option<Self> {
        if !area.is_insurance() {
            return Some(SetLabel { label: text.parse().ok()?, until: None });
        }
        let (operation, until) = text.split_once('.')?;
        Some(SetLabel { label: operation.parse().ok()?, until: Some(until.strip_prefix("until-")?.parse().ok()?) })
    }
}

impl From<Label> for SetLabel {
    fn from(label: Label) -> Self {
        SetLabel { label, until: None }
    }
}

impl fmt::Display for SetLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.until {
            None => write!(f, "{}", self.label),
            Some(until) => write!(f, "{}.until-{until}", self.label),
        }
    }
}
