//! Names of databases that a restore makes or sets aside.

use plana_plan::{Stamp, dumps::KEPT};

use super::AdminError;

/// The most bytes that PostgreSQL keeps of a name; it cuts longer ones without a word that we would hear.
const NAME_BYTES: usize = 63;
const RANDOM_DIGITS: usize = 8;

/// A scratch database's name: the prefix, cut where it is too long, and eight hex digits.
pub fn scratch_name(prefix: &str, random: u32) -> String {
    format!("{}{random:08x}", cut(prefix, NAME_BYTES - RANDOM_DIGITS))
}

/// Whether [`scratch_name`] makes such names of the prefix. Of an empty prefix nothing is.
pub fn is_scratch(name: &str, prefix: &str) -> bool {
    let digits = name.strip_prefix(cut(prefix, NAME_BYTES - RANDOM_DIGITS)).unwrap_or_default();
    !prefix.is_empty() && digits.len() == RANDOM_DIGITS && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The name under which a database that was replaced is kept: its own, cut where it is too long, and when. Dumps leave such
/// names out ([`plana_plan::dumps::is_kept`]).
pub fn kept_name(name: &str, stamp: Stamp) -> String {
    let suffix = format!("{KEPT}{stamp}");
    format!("{}{suffix}", cut(name, NAME_BYTES.saturating_sub(suffix.len())))
}

/// The beginning of a text: whole characters, no more than so many bytes.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Refuses what cannot be a database's name, before the server makes another name of it.
pub(super) fn check(doing: &str, name: &str) -> Result<(), AdminError> {
    if name.is_empty() || name.len() > NAME_BYTES || name.contains('\0') {
        return Err(AdminError::BadName { doing: doing.to_owned(), name: name.to_owned() });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_names_are_short_and_known_again() {
        assert_eq!(scratch_name("plana_scratch_", 0xAB), "plana_scratch_000000ab");
        for prefix in ["p", "plana_scratch_", "🦀\"'", &"é".repeat(40)] {
            let name = scratch_name(prefix, 0xFEED_BEEF);
            assert!(name.len() <= 63 && name.ends_with("feedbeef") && is_scratch(&name, prefix), "{name}");
        }
        for other in
            ["plana_scratch_", "plana_scratch_0000000", "plana_scratch_0000000G", "plana_scratch_000000aB", "x_000000ab", "000000ab"]
        {
            assert!(!is_scratch(other, "plana_scratch_"), "{other}");
        }
        assert!(!is_scratch("000000ab", "") && !is_scratch("plana_scratch_000000ab1", "plana_scratch_"));
    }

    #[test]
    fn kept_names_fit_and_are_cut_between_characters() {
        let stamp: Stamp = "20261124T031500Z".parse().expect("a stamp");
        assert_eq!(kept_name("acme.example", stamp), "acme.example_kept_20261124T031500Z");
        for name in ["x".repeat(63), "é".repeat(31), "🦀".repeat(15), "a".repeat(40) + "🦀"] {
            let kept = kept_name(&name, stamp);
            assert!(plana_plan::dumps::is_kept(&kept), "{kept}");
            assert!(kept.len() <= 63 && kept.len() >= 60 && kept.ends_with("_kept_20261124T031500Z"), "{kept}");
        }
    }

    #[test]
    fn what_the_server_would_cut_is_refused() {
        for name in ["", "a\0b", &"x".repeat(64), &"é".repeat(32)] {
            let message = check("create it", name).expect_err(name).to_string();
            assert!(message.contains("1 to 63 bytes"), "{message}");
        }
        check("create it", &"x".repeat(63)).expect("the longest");
    }
}
