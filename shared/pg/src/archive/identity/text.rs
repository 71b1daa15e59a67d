//! Records of several texts, hashed so that no two of them look alike.

use sha2::{Digest as _, Sha256};

/// Hashes one record: each field with its length, so that nothing moves from one into the next.
pub(super) struct Fields(Sha256);

impl Fields {
    /// A record of that kind.
    pub(super) fn new(kind: &str) -> Self {
        let mut fields = Fields(Sha256::new());
        fields.text(Some(kind));
        fields
    }

    /// A text, or none, which is not the empty one.
    pub(super) fn text(&mut self, text: Option<&str>) {
        self.number(text.map_or(0, |text| text.len() as u64 + 1));
        self.0.update(text.unwrap_or_default());
    }

    /// Texts in their order.
    pub(super) fn texts(&mut self, texts: &[impl AsRef<str>]) {
        self.number(texts.len() as u64);
        texts.iter().for_each(|text| self.text(Some(text.as_ref())));
    }

    /// A number.
    pub(super) fn number(&mut self, number: u64) {
        self.0.update(number.to_le_bytes());
    }

    /// A digest.
    pub(super) fn digest(&mut self, digest: &[u8; 32]) {
        self.0.update(digest);
    }

    /// The record's digest.
    pub(super) fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }

    /// The hash so far, for a last field of any length.
    pub(super) fn open(self) -> Sha256 {
        self.0
    }
}

/// The statements of an entry of grants, in an order of their own: the server keeps grants in the order in which they were
/// made. What is revoked stays before what is granted.
pub(super) fn sorted_grants(definition: &str) -> Vec<String> {
    let mut statements = statements(definition);
    let grants = statements.iter().position(|statement| !revokes(statement)).unwrap_or(statements.len());
    // pg_dump revokes first. Where it does not, the order may mean something.
    if !statements[grants..].iter().any(|statement| revokes(statement)) {
        let (revoked, granted) = statements.split_at_mut(grants);
        revoked.sort();
        granted.sort();
    }
    statements
}

fn revokes(statement: &str) -> bool {
    statement.starts_with("REVOKE ") || statement.starts_with("ALTER DEFAULT PRIVILEGES ") && statement.contains(" REVOKE ")
}

/// What one statement is: with the role that grants, where that is not the owner.
fn statements(definition: &str) -> Vec<String> {
    let mut statements: Vec<String> = Vec::new();
    let mut as_another = false;
    for statement in split(definition) {
        match statements.last_mut().filter(|_| as_another) {
            Some(begun) => begun.push_str(statement),
            None => statements.push(statement.to_owned()),
        }
        as_another =
            (as_another || statement.starts_with("SET SESSION AUTHORIZATION ")) && !statement.starts_with("RESET SESSION AUTHORIZATION;");
    }
    statements
}

/// Cuts behind each `;` and newline that stand outside a quoted name.
fn split(definition: &str) -> Vec<&str> {
    let (mut pieces, mut begin, mut quoted) = (Vec::new(), 0, false);
    let bytes = definition.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            // A doubled quote ends and begins again.
            b'"' => quoted = !quoted,
            b'\n' if !quoted && at > 0 && bytes[at - 1] == b';' => {
                pieces.push(&definition[begin..=at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    if begin < definition.len() {
        pieces.push(&definition[begin..]);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn grants_are_sorted_behind_what_is_revoked() {
        let one = "REVOKE USAGE ON SCHEMA public FROM PUBLIC;\nGRANT ALL ON SCHEMA public TO b;\nGRANT USAGE ON SCHEMA public TO a;\n";
        let two = "REVOKE USAGE ON SCHEMA public FROM PUBLIC;\nGRANT USAGE ON SCHEMA public TO a;\nGRANT ALL ON SCHEMA public TO b;\n";
        assert_eq!(sorted_grants(one), sorted_grants(two));
        assert_eq!(sorted_grants(two).concat(), one);
        let late = "GRANT ALL ON SCHEMA public TO b;\nREVOKE ALL ON SCHEMA public FROM b;\nGRANT ALL ON SCHEMA public TO a;\n";
        assert_eq!(sorted_grants(late).concat(), late, "what may mean something stays as it is");
    }

    #[test]
    fn who_grants_stays_with_what_is_granted() {
        let by = |role: &str, what: &str| format!("SET SESSION AUTHORIZATION {role};\nGRANT {what};\nRESET SESSION AUTHORIZATION;\n");
        let one = by("a", "SELECT ON TABLE t TO x") + &by("b", "INSERT ON TABLE t TO y");
        let two = by("b", "INSERT ON TABLE t TO y") + &by("a", "SELECT ON TABLE t TO x");
        let other = by("b", "SELECT ON TABLE t TO x") + &by("a", "INSERT ON TABLE t TO y");
        assert_eq!(sorted_grants(&one), sorted_grants(&two));
        assert_ne!(sorted_grants(&one), sorted_grants(&other));
    }

    #[test]
    fn a_name_may_look_like_statements() {
        let odd = "GRANT ALL ON TABLE t TO \"x;\nGRANT \"\"y;\nz\";\n";
        assert_eq!(split(odd), [odd]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_the_order_does_not_count(grants in proptest::collection::vec("[a-z]{1,3}", 1..8), by in any::<prop::sample::Index>()) {
            let text = |grants: &[String]| grants.iter().map(|to| format!("GRANT SELECT ON TABLE t TO {to};\n")).collect::<String>();
            let sorted = sorted_grants(&text(&grants));
            prop_assert_eq!(sorted.len(), grants.len());
            let mut turned = grants.clone();
            turned.rotate_left(by.index(grants.len()));
            prop_assert_eq!(&sorted_grants(&text(&turned)), &sorted);
            let mut expected: Vec<String> = grants.iter().map(|to| text(std::slice::from_ref(to))).collect();
            expected.sort();
            prop_assert_eq!(sorted, expected);
        }

        #[test]
        fn cutting_never_panics_and_loses_nothing(definition in "\\PC{0,60}|[\";\\n A-Z]{0,60}") {
            prop_assert_eq!(split(&definition).concat(), definition.clone());
            let mut letters: Vec<char> = sorted_grants(&definition).concat().chars().collect();
            let mut expected: Vec<char> = definition.chars().collect();
            letters.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(letters, expected);
        }
    }
}
