//! Grants on a database as PostgreSQL writes them: `grantee=CTc/grantor`.

use crate::sql;

/// What one role granted to one role, or to everybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Grant {
    /// To whom; `None` for PUBLIC.
    pub(super) grantee: Option<String>,
    privileges: Vec<&'static str>,
    /// What the grantee may grant on.
    grantable: Vec<&'static str>,
}

impl Grant {
    /// Reads exactly what the server writes of a database, and nothing else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (grantee, rest) = name(text)?;
        let (letters, rest) = rest.strip_prefix('=')?.split_once('/')?;
        let (grantor, rest) = name(rest)?;
        let mut grant = Grant { grantee: (!grantee.is_empty()).then_some(grantee), privileges: Vec::new(), grantable: Vec::new() };
        let mut letters = letters.chars().peekable();
        while let Some(letter) = letters.next() {
            let privilege = match letter {
                'C' => "CREATE",
                'T' => "TEMPORARY",
                'c' => "CONNECT",
                _ => return None,
            };
            let list = if letters.next_if_eq(&'*').is_some() { &mut grant.grantable } else { &mut grant.privileges };
            list.push(privilege);
        }
        let is_empty = grant.privileges.is_empty() && grant.grantable.is_empty();
        let is_odd = grant.grantee.is_none() && !grant.grantable.is_empty();
        (rest.is_empty() && !grantor.is_empty() && !is_empty && !is_odd && !text.contains('\0')).then_some(grant)
    }

    /// The statements that grant the same, by whoever runs them.
    pub(super) fn statements(&self, database: &str) -> Vec<String> {
        let grantee = self.grantee.as_deref().map_or_else(|| "PUBLIC".to_owned(), sql::identifier);
        let grant = |privileges: &[&str], option: &str| {
            let list = privileges.join(", ");
            (!privileges.is_empty()).then(|| format!("GRANT {list} ON DATABASE {} TO {grantee}{option}", sql::identifier(database)))
        };
        [grant(&self.privileges, ""), grant(&self.grantable, " WITH GRANT OPTION")].into_iter().flatten().collect()
    }
}

/// A role's name, empty for PUBLIC, and what follows it. In quotes a quote is doubled.
fn name(text: &str) -> Option<(String, &str)> {
    let Some(mut rest) = text.strip_prefix('"') else {
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        return Some((text[..end].to_owned(), &text[end..]));
    };
    let mut name = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        name.push_str(part);
        match after.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            // Nobody is called nothing, and PUBLIC is not written so.
            None => return (!name.is_empty()).then_some((name, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn statements(text: &str) -> Option<Vec<String>> {
        Grant::parse(text).map(|grant| grant.statements("d\"b"))
    }

    #[test]
    fn what_the_server_writes_is_read() {
        assert_eq!(statements("=Tc/odoo"), Some(vec!["GRANT TEMPORARY, CONNECT ON DATABASE \"d\"\"b\" TO PUBLIC".to_owned()]));
        let both = vec![
            "GRANT TEMPORARY ON DATABASE \"d\"\"b\" TO \"it's \"\"x\"\"=C/y\"".to_owned(),
            "GRANT CREATE, CONNECT ON DATABASE \"d\"\"b\" TO \"it's \"\"x\"\"=C/y\" WITH GRANT OPTION".to_owned(),
        ];
        assert_eq!(statements("\"it's \"\"x\"\"=C/y\"=C*Tc*/\"an owner\""), Some(both));
        assert_eq!(Grant::parse("\"🦀\"=c/é").and_then(|grant| grant.grantee), Some("🦀".to_owned()));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "=",
            "a",
            "a=",
            "a=c",
            "a=c/",
            "a=/b",
            "a=*/b",
            "a=c**/b",
            "a=r/b",
            "a=c/b ",
            "a =c/b",
            "=c*/b",
            "\"\"=c/b",
            "\"a=c/b",
            "a\"b=c/b",
            "a=c/b/c",
            "a=c/b; DROP DATABASE x",
            "group a=c/b",
            "\"a\0\"=c/b",
        ] {
            assert_eq!(Grant::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn every_name_comes_back(grantee in "[^\0]{1,20}", grantor in "[^\0]{1,20}") {
            let text = format!("{}=c/{}", sql::identifier(&grantee), sql::identifier(&grantor));
            prop_assert_eq!(Grant::parse(&text).and_then(|grant| grant.grantee), Some(grantee));
        }

        #[test]
        fn no_text_leaves_its_quotes(text in "\\PC*") {
            for statement in statements(&text).into_iter().flatten() {
                let outside: String = statement.split('"').step_by(2).collect();
                prop_assert!(outside.chars().all(|c| c.is_ascii_uppercase() || c == ' ' || c == ','), "{}", statement);
            }
        }
    }
}
