//! What a key is: ours, an older backup's, a probe, or nobody's.

use super::{
    legacy::LegacyPattern,
    stock::{GroupKey, SetId},
};
use crate::{Area, ObjectRole, SetKey, SetLabel, name::encode, set::PROBE};

/// Reads keys, those of this suite and those that patterns name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Keys(Vec<LegacyPattern>);

/// What a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// An object of a set of ours.
    Ours(GroupKey, SetId, ObjectRole),
    /// An object that lies in a set of ours, and that this suite did not write.
    Stranger(GroupKey, SetId),
    /// A backup that was there before this suite.
    Legacy(GroupKey, SetId),
    /// What `check` wrote.
    Probe,
    /// Nobody knows it.
    Nothing,
}

impl Keys {
    /// With these patterns.
    pub fn new(legacy: impl IntoIterator<Item = LegacyPattern>) -> Self {
        Keys(legacy.into_iter().collect())
    }

    /// What a key is.
    pub fn read(&self, key: &str) -> Known {
        if let Some((key, role, file)) = SetKey::parse_object(key) {
            let stranger = role == ObjectRole::Payload && !key.owns_file(file);
            let (group, id) = split(key);
            return if stranger { Known::Stranger(group, id) } else { Known::Ours(group, id, role) };
        }
        let first = key.split('/').next().unwrap_or_default();
        if first == PROBE && key.len() > PROBE.len() + 1 {
            return Known::Probe;
        }
        // What lies among ours and is malformed is not older than this suite.
        if first.parse::<Area>().is_ok() { Known::Nothing } else { self.legacy(key) }
    }

    /// Where two patterns read a key differently, nobody knows which is right.
    fn legacy(&self, key: &str) -> Known {
        let mut readings = self.0.iter().filter_map(|pattern| {
            let reading = pattern.read(key)?;
            let group = GroupKey { area: pattern.area, encoded_name: encode(&reading.name) };
            Some((group, SetId { stamp: reading.stamp, label: SetLabel::from(pattern.label.clone()), nonce: None }))
        });
        let Some((group, id)) = readings.next() else { return Known::Nothing };
        if readings.all(|other| other == (group.clone(), id.clone())) { Known::Legacy(group, id) } else { Known::Nothing }
    }

    /// The group and set of an object's key or of a set's.
    pub fn place_of(&self, key: &str) -> Option<(GroupKey, SetId)> {
        match self.read(key) {
            Known::Ours(group, id, _) | Known::Stranger(group, id) | Known::Legacy(group, id) => Some((group, id)),
            Known::Probe => None,
            Known::Nothing => key.parse::<SetKey>().ok().map(split),
        }
    }

    /// Whether a key is one that this suite writes, or that a pattern names.
    pub fn knows(&self, key: &str) -> bool {
        matches!(self.read(key), Known::Ours(..) | Known::Legacy(..) | Known::Probe)
    }
}

fn split(key: SetKey) -> (GroupKey, SetId) {
    let SetKey { area, encoded_name, stamp, label, id } = key;
    (GroupKey { area, encoded_name }, SetId { stamp, label, nonce: Some(id) })
}
