//! The first segment of every key: what kind of thing a set holds.

use std::{fmt, str::FromStr};

/// What kind of thing a backup set holds; the first segment of its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Area {
    /// A logical dump of one database.
    Pg,
    /// A tarball of one tenant's file store.
    Filestore,
    /// Roles, tablespaces and settings of one PostgreSQL cluster.
    Globals,
    /// A dump taken before a destructive operation.
    InsurancePg,
    /// A file store taken before a destructive operation.
    InsuranceFilestore,
    /// A partition archived before it was dropped; its name has three segments.
    Partition,
    /// A template's content, in a store of its own: there keys begin with the template's name, and no key anywhere with `seed`.
    Seed,
}

impl Area {
    /// Every area of the backups' store, in the order in which people are shown them.
    pub const ALL: [Area; 6] = [Area::Pg, Area::Filestore, Area::Globals, Area::InsurancePg, Area::InsuranceFilestore, Area::Partition];

    /// The key segment, such as `insurance-pg`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Area::Pg => "pg",
            Area::Filestore => "filestore",
            Area::Globals => "globals",
            Area::InsurancePg => "insurance-pg",
            Area::InsuranceFilestore => "insurance-filestore",
            Area::Partition => "partition",
            Area::Seed => "seed",
        }
    }

    /// How many key segments a name has here: three for partitions (database, schema, table), two for seeds (template, SHA), else
    /// one.
    pub const fn name_segments(self) -> usize {
        match self {
            Area::Partition => 3,
            Area::Seed => 2,
            _ => 1,
        }
    }

    /// Whether labels decide how long its sets are kept, and floor and freeze guard them.
    pub const fn has_tiers(self) -> bool {
        matches!(self, Area::Pg | Area::Filestore | Area::Globals)
    }

    /// Whether a set's label has a second segment, `until-{stamp}`.
    pub const fn is_insurance(self) -> bool {
        matches!(self, Area::InsurancePg | Area::InsuranceFilestore)
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not an area's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an area: use one of pg, filestore, globals, insurance-pg, insurance-filestore, partition")]
pub struct UnknownArea(pub String);

impl FromStr for Area {
    type Err = UnknownArea;

    fn from_str(text: &str) -> Result<Self, UnknownArea> {
        Area::ALL.into_iter().find(|area| area.as_str() == text).ok_or_else(|| UnknownArea(text.to_owned()))
    }
}

impl serde::Serialize for Area {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Area {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // In a manifest, and nowhere in a key.
        if text == Area::Seed.as_str() { Ok(Area::Seed) } else { text.parse().map_err(serde::de::Error::custom) }
    }
}
