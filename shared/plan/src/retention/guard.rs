//! What stops a whole run. Each message completes "failed to …" and says how to get past.

use chrono::TimeDelta;

use crate::{escrow::ESCROW, name::printable};

/// What a run prunes, and how its settings are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pruned {
    /// Backups.
    Backups,
    /// A registry's mirror.
    Mirror,
}

impl Pruned {
    /// The section of the configuration.
    pub const fn section(self) -> &'static str {
        match self {
            Pruned::Backups => "retention",
            Pruned::Mirror => "mirror",
        }
    }

    const fn store(self) -> &'static str {
        match self {
            Pruned::Backups => "store.backups at the backups' store",
            Pruned::Mirror => "store.mirror at the mirror's store",
        }
    }

    const fn call(self) -> &'static str {
        match self {
            Pruned::Backups => "retention-pruner",
            Pruned::Mirror => "retention-pruner mirror",
        }
    }

    const fn counted(self) -> &'static str {
        match self {
            Pruned::Backups => "committed sets",
            Pruned::Mirror => "manifests",
        }
    }
}

/// Why a run deletes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The operator has not said that it may delete.
    #[error(
        "delete anything: {section}.enabled is false; read what `{call} --dry-run` says it would delete, then set it to true",
        section = .0.section(), call = .0.call()
    )]
    NotEnabled(Pruned),
    /// The store is not one that may be pruned.
    #[error("prune {url}: it is not named in {section}.stores; if it is meant, add \"{url}\" there", section = .what.section())]
    NotNamed {
        /// What was to be pruned.
        what: Pruned,
        /// The store.
        url: String,
    },
    /// The store is where template seeds are kept.
    #[error("prune {url}: {why}, and seeds are kept for ever; no setting changes that: point {store}", store = .what.store())]
    Templates {
        /// What was to be pruned.
        what: Pruned,
        /// The store.
        url: String,
        /// What shows it.
        why: String,
    },
    /// The store is where keys are kept in escrow.
    #[error(
        "prune {url}: {why}, and keys are kept for ever, since a dump without its key is lost; no setting changes that: point \
         {store}", store = .what.store()
    )]
    Escrow {
        /// What was to be pruned.
        what: Pruned,
        /// The store.
        url: String,
        /// What shows it.
        why: String,
    },
    /// Our clock and the store's are too far apart to tell ages.
    #[error(
        "tell how old anything is: this host's clock and the store's differ by {seconds} s, and more than {tolerance} s are not \
         safe; correct this host's clock (chronyc tracking), then run it again"
    )]
    ClockApart {
        /// How far they are apart.
        seconds: i64,
        /// How far they may be.
        tolerance: i64,
    },
    /// Far fewer backups than at the last run.
    #[error(
        "take the listing for whole: the last run left {before} {counted}, and now there are {now}, {percent} % fewer (more than \
         {section}.max_shrink_percent = {most}); find out who deleted them, or whether the store lists all; if it is meant to be so, \
         run once with --accept-shrink",
        counted = .what.counted(), section = .what.section()
    )]
    Shrunk {
        /// What was counted.
        what: Pruned,
        /// How many there were after the last run.
        before: u64,
        /// How many there are now.
        now: u64,
        /// How many per cent fewer that is.
        percent: u64,
        /// How many it may be.
        most: u32,
    },
    /// Nothing shows what was pulled.
    #[error(
        "tell what was pulled: {why}; feed the ledger (`retention-pruner ledger < access.log >> pulls.jsonl`), or wait until it covers \
         mirror.window, or set mirror.without_ledger to \"last-modified\": then what was pushed long ago goes, however often it is pulled"
    )]
    NoLedger {
        /// What is wrong with the ledger.
        why: String,
    },
    /// A line of a ledger could be a pull, and cannot be read.
    #[error(
        "read the ledger of pulls: {place} is no line of one, and may have been a pull; mend or remove the line ({count} of this kind)"
    )]
    BadLedger {
        /// The file and the line.
        place: String,
        /// How many such lines there are.
        count: u64,
    },
}

/// Refuses until the operator has said that it may delete.
///
/// # Errors
/// [`Refusal::NotEnabled`].
pub fn require_enabled(what: Pruned, enabled: bool) -> Result<(), Refusal> {
    if enabled { Ok(()) } else { Err(Refusal::NotEnabled(what)) }
}

/// Refuses a store that the operator has not named. `url` is its own, as it would be named.
///
/// # Errors
/// [`Refusal::NotNamed`].
pub fn require_named(what: Pruned, url: &str, named: &[String]) -> Result<(), Refusal> {
    let plain = |url: &str| url.trim_end_matches('/').to_owned();
    if named.iter().any(|one| plain(one) == plain(url)) { Ok(()) } else { Err(Refusal::NotNamed { what, url: printable(url) }) }
}

/// Refuses a store whose address says that template seeds are in it.
///
/// # Errors
/// [`Refusal::Templates`].
pub fn refuse_templates(what: Pruned, url: &str) -> Result<(), Refusal> {
    let is_word = |word: &str| matches!(word.to_ascii_lowercase().as_str(), "template" | "templates");
    if !url.split(|c: char| !c.is_ascii_alphanumeric()).any(is_word) {
        return Ok(());
    }
    Err(Refusal::Templates { what, url: printable(url), why: "its address says that templates are in it".to_owned() })
}

/// Refuses a store in which template seeds lie, whatever it is called. `seed` is the key of one.
///
/// # Errors
/// [`Refusal::Templates`].
pub fn refuse_seeds(what: Pruned, url: &str, seed: Option<&str>) -> Result<(), Refusal> {
    let Some(key) = seed else { return Ok(()) };
    Err(Refusal::Templates { what, url: printable(url), why: format!("the template seed {} is in it", printable(key)) })
}

/// Refuses a store whose address says that keys are kept in it.
///
/// # Errors
/// [`Refusal::Escrow`].
pub fn refuse_escrow(what: Pruned, url: &str) -> Result<(), Refusal> {
    if !url.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word.eq_ignore_ascii_case(ESCROW)) {
        return Ok(());
    }
    Err(Refusal::Escrow { what, url: printable(url), why: "its address says that keys are kept in it".to_owned() })
}

/// Refuses a store in which keys lie, whatever it is called. `key` is that of one's object.
///
/// # Errors
/// [`Refusal::Escrow`].
pub fn refuse_kept_keys(what: Pruned, url: &str, key: Option<&str>) -> Result<(), Refusal> {
    let Some(key) = key else { return Ok(()) };
    Err(Refusal::Escrow { what, url: printable(url), why: format!("the key {} is in it", printable(key)) })
}

/// Whether something lies where keys are kept: anything there, since a key that nobody reads today may be one all the same.
pub fn is_kept_key(key: &str) -> bool {
    key.strip_prefix(ESCROW).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a key is a template seed's: `{template}/{sha256}/{file}`.
pub fn is_seed(key: &str) -> bool {
    let mut segments = key.split('/').skip(1);
    let digest = segments.next().unwrap_or_default();
    let is_digest = digest.len() == 64 && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    is_digest && segments.next().is_some_and(|file| !file.is_empty()) && segments.next().is_none()
}

/// Refuses while the clocks are too far apart.
///
/// # Errors
/// [`Refusal::ClockApart`].
pub fn require_same_clock(apart: Option<TimeDelta>, tolerance: TimeDelta) -> Result<(), Refusal> {
    match apart.map(|apart| apart.abs()) {
        Some(apart) if apart > tolerance => Err(Refusal::ClockApart { seconds: apart.num_seconds(), tolerance: tolerance.num_seconds() }),
        _ => Ok(()),
    }
}

/// Refuses a listing that holds far fewer committed sets than the last run left.
///
/// # Errors
/// [`Refusal::Shrunk`].
pub fn require_no_shrink(what: Pruned, before: Option<u64>, now: u64, most_percent: u32) -> Result<(), Refusal> {
    let Some(before) = before.filter(|before| *before > now) else { return Ok(()) };
    let lost = u128::from(before - now) * 100;
    if lost <= u128::from(before) * u128::from(most_percent) {
        return Ok(());
    }
    let percent = u64::try_from(lost.div_ceil(u128::from(before))).unwrap_or(100);
    Err(Refusal::Shrunk { what, before, now, percent, most: most_percent })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_stores_are_pruned_and_templates_never() {
        let named = ["s3://plana-pulse-backups/".to_owned()];
        assert_eq!(require_named(Pruned::Backups, "s3://plana-pulse-backups", &named), Ok(()));
        for other in ["s3://plana-pulse-backups-2", "s3://plana-pulse-backup", "s3://plana-pulse-backups/x", ""] {
            assert!(require_named(Pruned::Backups, other, &named).is_err(), "{other}");
        }
        assert!(require_named(Pruned::Backups, "", &[]).is_err());
        for url in ["s3://plana-pulse-templates", "s3://Templates", "s3://b/templates", "file:///srv/template"] {
            assert!(refuse_templates(Pruned::Backups, url).is_err(), "{url}");
        }
        assert_eq!(refuse_templates(Pruned::Backups, "s3://plana-pulse-backups"), Ok(()));
        for url in ["s3://plana-pulse-escrow", "s3://b/Escrow", "file:///srv/escrow"] {
            let refused = refuse_escrow(Pruned::Mirror, url).expect_err(url).to_string();
            assert!(refused.ends_with("point store.mirror at the mirror's store"), "{refused}");
        }
        assert_eq!(refuse_escrow(Pruned::Backups, "s3://plana-pulse-backups"), Ok(()));
        assert!(is_kept_key("escrow/KEY/scrypt1-0-0/x.age") && is_kept_key("escrow/x") && !is_kept_key("escrows/x"));
        let sha = "0123456789abcdef".repeat(4);
        assert!(is_seed(&format!("basic-template-18/{sha}/manifest.json")));
        for key in [format!("basic/{sha}"), format!("basic/{sha}/"), format!("basic/{sha}/a/b"), format!("a/b/{sha}/c"), "pg/a/b/c".into()]
        {
            assert!(!is_seed(&key), "{key}");
        }
    }

    #[test]
    fn clocks_may_differ_by_the_tolerance_and_no_more() {
        let (five, seconds) = (TimeDelta::minutes(5), |seconds| Some(TimeDelta::seconds(seconds)));
        for apart in [None, seconds(0), seconds(300), seconds(-300)] {
            assert_eq!(require_same_clock(apart, five), Ok(()));
        }
        for apart in [seconds(301), seconds(-301), seconds(86_400)] {
            assert!(require_same_clock(apart, five).is_err());
        }
    }

    #[test]
    fn a_listing_may_shrink_so_much_and_no_more() {
        for (before, now, most, good) in [
            (None, 0, 20, true),
            (Some(0), 0, 20, true),
            (Some(100), 80, 20, true),
            (Some(100), 79, 20, false),
            (Some(100), 200, 20, true),
            (Some(3), 2, 20, false),
            (Some(1), 0, 99, false),
            (Some(1), 0, 100, true),
            (Some(u64::MAX), 0, 50, false),
        ] {
            assert_eq!(require_no_shrink(Pruned::Backups, before, now, most).is_ok(), good, "{before:?} {now} {most}");
        }
    }
}
