//! A backup set's place in a store: `{area}/{name}/{stamp}.{label}.{id}/{file}`.
//!
//! A seed's, in a store of its own, is `{template}/{sha256}/{file}`: what distinguishes two sets of one content is in the
//! names of their files, `{template}_{stamp}.{id}.…`, the manifest's among them, so that no put can hit an existing key there
//! either.

use std::{fmt, str::FromStr};

use crate::{
    Area, SetLabel, Stamp,
    name::{self, NameError},
    seed::{self, ContentSha},
};

/// The object that makes a set a backup; written last.
pub const MANIFEST: &str = "manifest.json";
/// The object that keeps a set from every deletion.
pub const HOLD: &str = "hold";
/// The first segment of what `check` writes; reserved, never a set.
pub const PROBE: &str = "probe";

/// Eight random lower-case hex digits that make a set's keys unused, so that no put can hit an existing one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SetNonce(pub u32);

impl fmt::Display for SetNonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// The text is not eight lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a set's id: eight lower-case hex digits")]
pub struct NonceError(pub String);

impl FromStr for SetNonce {
    type Err = NonceError;

    fn from_str(text: &str) -> Result<Self, NonceError> {
        let fits = text.len() == 8 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let value = if fits { u32::from_str_radix(text, 16).ok() } else { None };
        value.map(SetNonce).ok_or_else(|| NonceError(text.to_owned()))
    }
}

/// Names one set: everything that its keys say.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SetKey {
    /// What kind of thing it holds.
    pub area: Area,
    /// The encoded name: one segment, or three joined by `/` for partitions, or a template's name and a SHA for seeds.
    pub encoded_name: String,
    /// When it was begun.
    pub stamp: Stamp,
    /// What decides how long it is kept.
    pub label: SetLabel,
    /// What makes its keys unused.
    pub id: SetNonce,
}

/// What an object is within its set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectRole {
    /// The manifest.
    Manifest,
    /// The mark that keeps the set from every deletion.
    Hold,
    /// Any other object directly in the set; whether the set owns it, its file name decides.
    Payload,
}

impl SetKey {
    /// A new set of a one-segment area.
    pub fn new(area: Area, plain_name: &str, stamp: Stamp, label: impl Into<SetLabel>, id: SetNonce) -> Self {
        SetKey { area, encoded_name: name::encode(plain_name), stamp, label: label.into(), id }
    }

    /// A new set of an archived partition: its database, its schema, its name.
    pub fn partition(names: [&str; 3], stamp: Stamp, label: impl Into<SetLabel>, id: SetNonce) -> Self {
        SetKey { area: Area::Partition, encoded_name: names.map(name::encode).join("/"), stamp, label: label.into(), id }
    }

    /// A new seed of that content.
    pub fn seed(template: &str, content: ContentSha, stamp: Stamp, id: SetNonce) -> Self {
        let label = seed::LABEL.parse().unwrap_or_else(|_| crate::Label::unclassified());
        let encoded_name = format!("{}/{content}", name::encode(template));
        SetKey { area: Area::Seed, encoded_name, stamp, label: SetLabel::from(label), id }
    }

    /// The content that a seed's key names; `None` for everything else.
    pub fn content(&self) -> Option<ContentSha> {
        let (_, sha) = self.encoded_name.split_once('/').filter(|_| self.area == Area::Seed)?;
        sha.parse().ok()
    }

    /// The prefix of every set of one name, with its trailing slash.
    pub fn group_prefix(area: Area, plain_name: &str) -> String {
        let name = name::encode(plain_name);
        if area == Area::Seed { format!("{name}/") } else { format!("{area}/{name}/") }
    }

    /// The set's prefix, with its trailing slash.
    pub fn prefix(&self) -> String {
        format!("{self}/")
    }

    /// The key of an object in the set.
    pub fn object(&self, file: &str) -> String {
        format!("{self}/{file}")
    }

    /// The manifest's key.
    pub fn manifest(&self) -> String {
        match self.area {
            Area::Seed => self.object(&format!("{}.{MANIFEST}", self.stem())),
            _ => self.object(MANIFEST),
        }
    }

    /// What the names of the set's files begin with.
    fn stem(&self) -> String {
        match (self.area, self.encoded_name.split_once('/')) {
            (Area::Seed, Some((template, _))) => format!("{template}_{}.{}", self.stamp, self.id),
            _ => format!("{}_{}", self.encoded_name.replace('/', "."), self.stamp),
        }
    }

    /// The payload's file name, which speaks for itself after a download: `{name}_{stamp}{suffix}`.
    ///
    /// `suffix` begins with a dot, such as `.dump.zst` or `.dump.zst.age`. Volumes after the first
    /// get `.001`, `.002` … behind it.
    pub fn file_name(&self, suffix: &str, volume: u32) -> String {
        let stem = format!("{}{suffix}", self.stem());
        if volume == 0 { stem } else { format!("{stem}.{volume:03}") }
    }

    /// Whether `file` is a name that [`SetKey::file_name`] could have made for this set: a payload of ours.
    pub fn owns_file(&self, file: &str) -> bool {
        let stem = format!("{}.", self.stem());
        file.strip_prefix(&stem).is_some_and(|suffix| {
            !suffix.is_empty()
                && suffix.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
        })
    }

    /// The plain name; for partitions the three parts joined by a dot, for seeds the template's.
    ///
    /// # Errors
    /// When a part is not UTF-8.
    pub fn plain_name(&self) -> Result<String, NameError> {
        let parts = if self.area == Area::Seed { 1 } else { self.area.name_segments() };
        let parts: Result<Vec<_>, _> = self.encoded_name.split('/').take(parts).map(name::decode).collect();
        Ok(parts?.join("."))
    }

    /// Reads a key of a store of seeds. `None` means that this suite did not write it.
    pub fn parse_seed_object(key: &str) -> Option<(SetKey, ObjectRole, &str)> {
        let mut segments = key.split('/');
        let (template, sha, file) = (segments.next()?, segments.next()?, segments.next()?);
        if !name::is_segment(template) || sha.parse::<ContentSha>().is_err() || segments.next().is_some() {
            return None;
        }
        let mut parts = file.strip_prefix(template)?.strip_prefix('_')?.splitn(3, '.');
        let (stamp, id, rest) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?);
        let label = SetLabel::from(seed::LABEL.parse::<crate::Label>().ok()?);
        let set = SetKey { area: Area::Seed, encoded_name: format!("{template}/{sha}"), stamp, label, id };
        let role = if rest == MANIFEST { ObjectRole::Manifest } else { ObjectRole::Payload };
        set.owns_file(file).then_some((set, role, file))
    }

    /// Reads a key. `None` means that this suite did not write it: kept and reported, never touched.
    pub fn parse_object(key: &str) -> Option<(SetKey, ObjectRole, &str)> {
        let (area, rest) = key.split_once('/')?;
        let area: Area = area.parse().ok()?;
        let mut segments = rest.split('/');
        let mut names = Vec::with_capacity(area.name_segments());
        for _ in 0..area.name_segments() {
            let segment = segments.next()?;
            if !name::is_segment(segment) {
                return None;
            }
            names.push(segment);
        }
        let set = segments.next()?;
        let file = segments.next()?;
        if file.is_empty() || segments.next().is_some() {
            return None;
        }
        let (stamp, rest) = set.split_once('.')?;
        let (label, id) = rest.rsplit_once('.')?;
        let set = SetKey {
            area,
            encoded_name: names.join("/"),
            stamp: stamp.parse().ok()?,
            label: SetLabel::parse(area, label)?,
            id: id.parse().ok()?,
        };
        let role = match file {
            MANIFEST => ObjectRole::Manifest,
            HOLD => ObjectRole::Hold,
            _ => ObjectRole::Payload,
        };
        Some((set, role, file))
    }
}

impl fmt::Display for SetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.area {
            Area::Seed => f.write_str(&self.encoded_name),
            _ => write!(f, "{}/{}/{}.{}.{}", self.area, self.encoded_name, self.stamp, self.label, self.id),
        }
    }
}

/// The text is not a set's key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a set: the form is area/name/stamp.label.id")]
pub struct SetKeyError(pub String);

impl FromStr for SetKey {
    type Err = SetKeyError;

    fn from_str(text: &str) -> Result<Self, SetKeyError> {
        let trimmed = text.trim_end_matches('/');
        let object = format!("{trimmed}/{MANIFEST}");
        SetKey::parse_object(&object).map(|(set, ..)| set).ok_or_else(|| SetKeyError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(name: &str) -> SetKey {
        let stamp = "20261123T031500Z".parse().expect("a stamp");
        SetKey::new(Area::Pg, name, stamp, "pro".parse::<crate::Label>().expect("a label"), SetNonce(0x1a2b_3c4d))
    }

    #[test]
    fn keys_read_as_the_contract_says() {
        let set = set("acme.planapulse.app");
        assert_eq!(set.manifest(), "pg/acme.planapulse.app/20261123T031500Z.pro.1a2b3c4d/manifest.json");
        assert_eq!(set.file_name(".dump.zst", 0), "acme.planapulse.app_20261123T031500Z.dump.zst");
        assert_eq!(set.file_name(".dump.zst", 1), "acme.planapulse.app_20261123T031500Z.dump.zst.001");
        assert!(set.owns_file(&set.file_name(".dump.zst.age", 12)));
        for stranger in ["notes.txt", "other_20261123T031500Z.dump.zst", "acme.planapulse.app_20261123T031500Z.", "hold"] {
            assert!(!set.owns_file(stranger), "{stranger}");
        }
    }

    #[test]
    fn insurance_keys_carry_their_until() {
        let key = "insurance-pg/acme/20261123T031500Z.upgrade-17-to-18.until-20261201T000000Z.00000001/manifest.json";
        let (set, role, _) = SetKey::parse_object(key).expect("ours");
        assert_eq!((set.label.label.as_str(), role), ("upgrade-17-to-18", ObjectRole::Manifest));
        assert_eq!(set.label.until.map(|u| u.to_string()).as_deref(), Some("20261201T000000Z"));
        assert_eq!(set.manifest(), key);
    }

    #[test]
    fn partitions_have_three_segments() {
        let key = "partition/exo/public/session_events_2026_01/20261123T031500Z.platform.00000001/manifest.json";
        let (set, ..) = SetKey::parse_object(key).expect("ours");
        assert_eq!(set.plain_name().as_deref(), Ok("exo.public.session_events_2026_01"));
        assert_eq!(set.manifest(), key);
    }

    #[test]
    fn seeds_have_their_ids_in_their_files_names() {
        let sha = ContentSha([0xab; 32]);
        let set = SetKey::seed("../basic", sha, "20261123T031500Z".parse().expect("a stamp"), SetNonce(0x1a2b_3c4d));
        let directory = format!("%2E.%2Fbasic/{sha}");
        assert_eq!(set.prefix(), format!("{directory}/"));
        assert_eq!(set.manifest(), format!("{directory}/%2E.%2Fbasic_20261123T031500Z.1a2b3c4d.manifest.json"));
        assert_eq!(set.file_name(".dump.zst", 1), "%2E.%2Fbasic_20261123T031500Z.1a2b3c4d.dump.zst.001");
        assert_eq!(set.plain_name().as_deref(), Ok("../basic"));
        assert_eq!(set.content(), Some(sha));
        for (key, role) in [(set.manifest(), ObjectRole::Manifest), (set.object(&set.file_name(".dump.zst", 0)), ObjectRole::Payload)] {
            assert_eq!(SetKey::parse_seed_object(&key).map(|(set, role, _)| (set, role)), Some((set.clone(), role)), "{key}");
            // Among backups it is nobody's, and the pruner knows it for what it is.
            assert!(SetKey::parse_object(&key).is_none() && crate::retention::guard::is_seed(&key), "{key}");
        }
        let file = "%2E.%2Fbasic_20261123T031500Z.1a2b3c4d.dump.zst";
        for key in [
            format!("%2E.%2Fbasic/{}/{file}", sha.to_string().to_uppercase()),
            format!("%2E.%2Fbasic/{}/{file}", &sha.to_string()[1..]),
            format!("seed/%2E.%2Fbasic/{sha}/{file}"),
            format!("other/{sha}/{file}"),
            format!("%2E.%2Fbasic/{sha}/manifest.json"),
            format!("%2E.%2Fbasic/{sha}/{file}/x"),
            format!("%2E.%2Fbasic/{sha}/%2E.%2Fbasic_20261123T031500Z.1a2b3c4d."),
            format!("%2E.%2Fbasic/{sha}/%2E.%2Fbasic_20261123T031500Z.1A2B3C4D.dump.zst"),
        ] {
            assert!(SetKey::parse_seed_object(&key).is_none(), "{key}");
        }
    }

    #[test]
    fn what_is_not_exactly_ours_is_unknown() {
        for key in [
            "pg/acme/20261123T031500Z.pro.1a2b3c4d",
            "pg/acme/20261123T031500Z.pro.1a2b3c4d/",
            "pg/acme/20261123T031500Z.pro.1a2b3c4d/a/b",
            "pg/acme/20261123T031500Z.pro.1A2B3C4D/manifest.json",
            "pg/acme/20261123T031500Z.Pro.1a2b3c4d/manifest.json",
            "pg/acme/20261123T031500Z.pro.x.1a2b3c4d/manifest.json",
            "pg/acme/20261123T031500Z.1a2b3c4d/manifest.json",
            "pg/../20261123T031500Z.pro.1a2b3c4d/manifest.json",
            "pg/%41cme/20261123T031500Z.pro.1a2b3c4d/manifest.json",
            "pgx/acme/20261123T031500Z.pro.1a2b3c4d/manifest.json",
            "insurance-pg/acme/20261123T031500Z.pro.1a2b3c4d/manifest.json",
            "partition/exo/public/20261123T031500Z.pro.1a2b3c4d/manifest.json",
            "probe/acme/20261123T031500Z.pro.1a2b3c4d/manifest.json",
            "",
            "/",
        ] {
            assert!(SetKey::parse_object(key).is_none(), "{key}");
        }
    }

    proptest! {
        #[test]
        fn what_we_write_we_read(name in "\\PC{1,40}", label in "[a-z0-9-]{1,12}", seconds in 0i64..4_000_000_000, id: u32, volume in 0u32..2000) {
            let stamp = Stamp::new(chrono::DateTime::from_timestamp(seconds, 0).unwrap_or_default());
            let set = SetKey::new(Area::Pg, &name, stamp, label.parse::<crate::Label>().expect("fits"), SetNonce(id));
            let file = set.file_name(".dump.zst", volume);
            let key = set.object(&file);
            let (read, role, read_file) = SetKey::parse_object(&key).expect("ours");
            prop_assert_eq!(&read, &set);
            prop_assert_eq!(role, ObjectRole::Payload);
            prop_assert!(read.owns_file(read_file));
            prop_assert_eq!(read.plain_name(), Ok(name));
            prop_assert_eq!(set.to_string().parse::<SetKey>(), Ok(set));
        }

        #[test]
        fn reading_never_panics(key in "\\PC{0,80}") {
            let _parsed = SetKey::parse_object(&key);
        }
    }
}
