//! The roles that an entry's SQL names: they must be there before it is restored.

use std::collections::BTreeSet;

use super::TocEntry;

/// The roles that a policy, a grant or a default privilege of an archive names, in `pg_dump`'s own SQL; none in other entries.
/// Grants on the database itself are left out: they are restored only together with it.
pub fn roles_named(entry: &TocEntry) -> BTreeSet<String> {
    let of_database = entry.desc == "ACL" && entry.tag.starts_with("DATABASE ");
    match &*entry.desc {
        "POLICY" | "ACL" | "DEFAULT ACL" if !of_database => in_sql(entry.definition.as_deref().unwrap_or_default()),
        _ => BTreeSet::new(),
    }
}

#[derive(PartialEq, Eq)]
enum Token {
    /// A keyword, or a name that needs no quotes.
    Word(String),
    Quoted(String),
    Comma,
    Other,
}

/// After `TO`, `FROM`, `FOR ROLE` and `AUTHORIZATION` come roles. `pg_dump` writes keywords in capitals, and a name with
/// capitals in quotes, so that neither is taken for the other; what stands in parentheses names no role.
fn in_sql(sql: &str) -> BTreeSet<String> {
    let mut roles = BTreeSet::new();
    // Whether a role comes next, and whether one was just read, so that a comma brings another.
    let (mut next, mut listed) = (false, false);
    for token in outside_parentheses(sql) {
        (next, listed) = match token {
            Token::Word(word) if is_keyword(&word) => (matches!(&*word, "TO" | "FROM" | "ROLE" | "AUTHORIZATION"), false),
            Token::Word(name) | Token::Quoted(name) if next => {
                roles.insert(name);
                (false, true)
            }
            Token::Comma => (listed, false),
            Token::Word(_) | Token::Quoted(_) | Token::Other => (false, false),
        };
    }
    roles
}

fn is_keyword(word: &str) -> bool {
    word.starts_with(|letter: char| letter.is_ascii_uppercase())
}

fn outside_parentheses(sql: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut depth = 0usize;
    let mut rest = sql.chars().peekable();
    while let Some(letter) = rest.next() {
        let token = match letter {
            quote @ ('"' | '\'') => {
                let mut text = String::new();
                while let Some(letter) = rest.next() {
                    if letter == quote && rest.next_if_eq(&quote).is_none() {
                        break;
                    }
                    text.push(letter);
                }
                if quote == '"' { Token::Quoted(text) } else { Token::Other }
            }
            letter if letter.is_alphabetic() || letter == '_' => {
                let mut word = String::from(letter);
                while let Some(letter) = rest.next_if(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '$')) {
                    word.push(letter);
                }
                Token::Word(word)
            }
            '(' => {
                depth += 1;
                continue;
            }
            ')' => {
                depth = depth.saturating_sub(1);
                continue;
            }
            ',' => Token::Comma,
            letter if letter.is_whitespace() => continue,
            _ => Token::Other,
        };
        if depth == 0 {
            tokens.push(token);
        }
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn named(sql: &str, expected: &[&str]) {
        assert_eq!(in_sql(sql).iter().map(String::as_str).collect::<Vec<_>>(), expected, "{sql}");
    }

    #[test]
    fn those_of_policies() {
        named("CREATE POLICY p ON public.t TO b, \"A \"\"b\"\"\", c USING ((owner = CURRENT_USER));\n", &["A \"b\"", "b", "c"]);
        named(
            "CREATE POLICY \"x TO y\" ON public.\"FROM z\" AS RESTRICTIVE FOR SELECT TO reader WITH CHECK ((a > ')'::text));\n",
            &["reader"],
        );
        named("CREATE POLICY p ON public.t TO _, __ USING (true);\n", &["_", "__"]);
        named("CREATE POLICY p ON public.t USING ((a IN ( SELECT u.a\n   FROM public.u)));\n", &[]);
    }

    #[test]
    fn those_of_grants() {
        named("REVOKE ALL ON SCHEMA public FROM PUBLIC;\nGRANT ALL ON SCHEMA public TO plana;\n", &["plana"]);
        named("GRANT SELECT(id),UPDATE(\"to\") ON TABLE public.t TO \"Mixed\" WITH GRANT OPTION;\n", &["Mixed"]);
        named("GRANT ALL ON FUNCTION public.f(a integer, \"FROM\" text) TO caller;\n", &["caller"]);
        named(
            "SET SESSION AUTHORIZATION granter;\nGRANT SELECT ON TABLE t TO reader;\nRESET SESSION AUTHORIZATION;\n",
            &["granter", "reader"],
        );
    }

    #[test]
    fn those_of_default_privileges() {
        let sql = "ALTER DEFAULT PRIVILEGES FOR ROLE plana IN SCHEMA app REVOKE ALL ON TABLES FROM plana;\n\
                   ALTER DEFAULT PRIVILEGES FOR ROLE plana IN SCHEMA app GRANT SELECT ON TABLES TO reader_1;\n";
        named(sql, &["plana", "reader_1"]);
    }
}
