//! Keys that a backup's content needs and the backup does not hold: how they are told apart, and where they are kept.
//!
//! An escrow store holds `escrow/{name}/{fingerprint}/{stamp}.{recipients}.{id}.age`, so that a listing alone says which keys
//! are kept, under which salts, and for which recipients. Nothing in it is ever changed or deleted.

use std::{fmt, str::FromStr};

use crate::{SetNonce, Stamp, name};

/// The first segment of every entry.
pub const ESCROW: &str = "escrow";

/// What makes the same key have another fingerprint elsewhere, so that nobody computes fingerprints in advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Salt(pub [u8; 16]);

/// Tells whether a key is the one that is meant, to whoever has the key; to nobody else it is of any use but for guessing, and
/// each guess costs what the derivation costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint {
    /// What the key gave.
    pub digest: [u8; 16],
    /// With which salt.
    pub salt: Salt,
}

/// How the digest is derived from name, salt and key. Other costs are another scheme: what a stranger's manifest says must not
/// decide how much memory a restore takes.
const SCHEME: &str = "scrypt1";

impl Fingerprint {
    /// Enough of it to tell the keys of one name apart, for people.
    pub fn short(&self) -> String {
        hex::encode(&self.digest[..6])
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}-{}-{}", hex::encode(self.digest), hex::encode(self.salt.0))
    }
}

/// The text is not a fingerprint that this version knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a fingerprint of the form {SCHEME}-digest-salt", name::printable(.0))]
pub struct FingerprintError(pub String);

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        read(text).filter(|read| read.to_string() == text).ok_or_else(|| FingerprintError(text.to_owned()))
    }
}

fn read(text: &str) -> Option<Fingerprint> {
    let (digest, salt) = text.strip_prefix(SCHEME)?.strip_prefix('-')?.split_once('-')?;
    let bytes = |text: &str| <[u8; 16]>::try_from(hex::decode(text).ok()?).ok();
    Some(Fingerprint { digest: bytes(digest)?, salt: Salt(bytes(salt)?) })
}

/// A key's name is part of objects' keys, credentials' names and command lines.
const LONGEST_NAME: usize = 64;

/// Whether a key may be called so: letters, digits, `_`, `-` and `.`, neither of the last two in front.
pub fn is_key_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(fits) && !name.starts_with(['-', '.'])
}

/// One kept key: everything that its object's key says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntryKey {
    /// The key's name.
    pub name: String,
    /// Which key it is.
    pub fingerprint: Fingerprint,
    /// When it was put there.
    pub stamp: Stamp,
    /// To whom it is encrypted, condensed: the same recipients give the same number.
    pub recipients: SetNonce,
    /// What makes the object's key unused.
    pub id: SetNonce,
}

impl EntryKey {
    /// The prefix of every entry of one name, with its trailing slash.
    pub fn group_prefix(name: &str) -> String {
        format!("{ESCROW}/{}/", name::encode(name))
    }

    /// Reads an object's key. `None` means that this suite did not write it.
    pub fn parse(key: &str) -> Option<Self> {
        let mut segments = key.strip_prefix(ESCROW)?.strip_prefix('/')?.split('/');
        let (name, fingerprint, file) = (segments.next()?, segments.next()?, segments.next()?);
        if segments.next().is_some() {
            return None;
        }
        let mut parts = file.split('.');
        let entry = EntryKey {
            name: name::decode(name).ok()?,
            fingerprint: fingerprint.parse().ok()?,
            stamp: parts.next()?.parse().ok()?,
            recipients: parts.next()?.parse().ok()?,
            id: parts.next()?.parse().ok()?,
        };
        (parts.next() == Some("age") && parts.next().is_none()).then_some(entry)
    }
}

impl fmt::Display for EntryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EntryKey { name, fingerprint, stamp, recipients, id } = self;
        write!(f, "{ESCROW}/{}/{fingerprint}/{stamp}.{recipients}.{id}.age", name::encode(name))
    }
}

/// An entry as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What its key says.
    pub key: EntryKey,
    /// Its size in bytes.
    pub bytes: u64,
}

/// The salt under which all runs take the fingerprint of a name's key, so that they find what earlier ones have kept: one of
/// those that are listed, always the same one. Two runs that both began with an empty store have made two; from then on all
/// use the same.
pub fn common_salt<'a>(entries: impl IntoIterator<Item = &'a Entry>, name: &str) -> Option<Salt> {
    entries.into_iter().filter(|entry| entry.key.name == name).map(|entry| entry.key.fingerprint.salt).min()
}

/// Whether a key is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is, for today's recipients, since then.
    Kept(Stamp),
    /// It is, for other recipients than today's: somebody new could not open it.
    ForOthers(Stamp),
    /// It is not.
    Missing,
}

/// Whether a key of this fingerprint is kept. What is smaller than `least_bytes` cannot hold it.
pub fn standing<'a>(
    entries: impl IntoIterator<Item = &'a Entry>,
    name: &str,
    fingerprint: &Fingerprint,
    recipients: SetNonce,
    least_bytes: u64,
) -> Standing {
    let of_it = |entry: &&Entry| entry.key.name == name && entry.key.fingerprint == *fingerprint && entry.bytes >= least_bytes;
    let stands = |entry: &Entry| {
        let since = entry.key.stamp;
        if entry.key.recipients == recipients { Standing::Kept(since) } else { Standing::ForOthers(since) }
    };
    let rank = |standing: &Standing| match standing {
        Standing::Kept(since) => (0, Some(*since)),
        Standing::ForOthers(since) => (1, Some(*since)),
        Standing::Missing => (2, None),
    };
    entries.into_iter().filter(of_it).map(stands).min_by_key(rank).unwrap_or(Standing::Missing)
}

/// The key that a person asks for: `NAME`, or `NAME@` and the beginning of a digest or a whole fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sought {
    /// The key's name.
    pub name: String,
    /// What its fingerprint begins with.
    pub begins: Option<String>,
}

impl FromStr for Sought {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, begins) = text.split_once('@').map_or((text, None), |(name, begins)| (name, Some(begins)));
        if name.is_empty() || begins.is_some_and(str::is_empty) {
            return Err("write NAME, or NAME@ and the beginning of a fingerprint".to_owned());
        }
        Ok(Sought { name: name.to_owned(), begins: begins.map(str::to_owned) })
    }
}

impl Sought {
    /// Whether an entry is of it.
    pub fn means(&self, entry: &EntryKey) -> bool {
        let begins =
            |begins: &str| hex::encode(entry.fingerprint.digest).starts_with(begins) || entry.fingerprint.to_string().starts_with(begins);
        entry.name == self.name && self.begins.as_deref().is_none_or(begins)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fingerprint(digest: u8, salt: u8) -> Fingerprint {
        Fingerprint { digest: [digest; 16], salt: Salt([salt; 16]) }
    }

    fn entry(name: &str, fingerprint: Fingerprint, day: u32, recipients: u32, bytes: u64) -> Entry {
        let stamp = format!("202611{day:02}T031500Z").parse().expect("a stamp");
        Entry { key: EntryKey { name: name.to_owned(), fingerprint, stamp, recipients: SetNonce(recipients), id: SetNonce(1) }, bytes }
    }

    #[test]
    fn a_key_is_kept_only_by_its_own_fingerprint_for_todays_recipients_and_whole() {
        let mine = fingerprint(1, 1);
        let at = |entries: &[Entry]| standing(entries, "k", &mine, SetNonce(7), 100);
        assert_eq!(at(&[]), Standing::Missing);
        let others = [entry("k", fingerprint(2, 1), 1, 7, 200), entry("k", fingerprint(1, 2), 1, 7, 200), entry("l", mine, 1, 7, 200)];
        assert_eq!(at(&others), Standing::Missing);
        assert_eq!(at(&[entry("k", mine, 1, 7, 99)]), Standing::Missing, "what is cut holds nothing");
        let old = entry("k", mine, 2, 8, 200);
        assert_eq!(at(std::slice::from_ref(&old)), Standing::ForOthers(old.key.stamp));
        let new = entry("k", mine, 3, 7, 200);
        assert_eq!(at(&[old, new.clone(), entry("k", mine, 4, 7, 200)]), Standing::Kept(new.key.stamp));
    }

    #[test]
    fn all_runs_agree_on_one_salt() {
        let entries =
            [entry("k", fingerprint(1, 9), 1, 7, 1), entry("k", fingerprint(3, 4), 2, 7, 1), entry("l", fingerprint(1, 1), 1, 7, 1)];
        assert_eq!(common_salt(&entries, "k"), Some(Salt([4; 16])));
        assert_eq!(common_salt(entries.iter().rev(), "k"), Some(Salt([4; 16])));
        assert_eq!(common_salt(&entries, "m"), None);
    }

    #[test]
    fn only_what_we_write_is_ours() {
        let good = entry("EXO_ENCRYPTION_KEY", fingerprint(1, 2), 1, 7, 1).key.to_string();
        assert!(EntryKey::parse(&good).is_some(), "{good}");
        for bad in [
            good.replace("escrow/", "escrows/"),
            good.replace("scrypt1", "scrypt2"),
            good.replace("0101", "0A01"),
            good.replace(".age", ".ag"),
            format!("{good}.age"),
            format!("{good}/x"),
            good.replace("EXO", "%45XO"),
            good.replace('-', "."),
        ] {
            assert!(EntryKey::parse(&bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn names_lead_nowhere() {
        for good in ["EXO_ENCRYPTION_KEY", "exo-1.key", "k"] {
            assert!(is_key_name(good), "{good}");
        }
        for bad in ["", "..", ".k", "-k", "a/b", "a b", "ä", "a\nb", "a@b", "a=b", &"k".repeat(65)] {
            assert!(!is_key_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_key_is_asked_for_by_name_and_the_beginning_of_its_fingerprint() {
        let key = entry("k", fingerprint(0xab, 2), 1, 7, 1).key;
        for (text, means) in [("k", true), ("k@abab", true), ("k@scrypt1-abab", true), ("k@ba", false), ("l", false), ("l@abab", false)] {
            assert_eq!(text.parse::<Sought>().map(|sought| sought.means(&key)), Ok(means), "{text}");
        }
        for text in ["", "@ab", "k@"] {
            assert!(text.parse::<Sought>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_we_write_we_read(name in "\\PC{1,40}", digest: [u8; 16], salt: [u8; 16], seconds in 0i64..4_000_000_000, recipients: u32, id: u32) {
            let stamp = Stamp::new(chrono::DateTime::from_timestamp(seconds, 0).unwrap_or_default());
            let fingerprint = Fingerprint { digest, salt: Salt(salt) };
            prop_assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
            let key = EntryKey { name, fingerprint, stamp, recipients: SetNonce(recipients), id: SetNonce(id) };
            prop_assert!(key.to_string().starts_with(&EntryKey::group_prefix(&key.name)));
            prop_assert_eq!(EntryKey::parse(&key.to_string()), Some(key));
        }

        #[test]
        fn reading_never_panics(text in "\\PC{0,80}") {
            let _entry = EntryKey::parse(&text);
            let _entry = EntryKey::parse(&format!("escrow/{text}"));
            let _fingerprint = text.parse::<Fingerprint>();
        }
    }
}
