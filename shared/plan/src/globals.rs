//! What of a server's globals is run on another server: roles and tablespaces that are not there yet, and nothing that
//! changes or drops what is.

use std::collections::BTreeSet;

use crate::name::printable;

/// One statement of `pg_dumpall --globals-only`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// What it is about.
    pub about: About,
    /// Its text, without the semicolon.
    pub sql: String,
}

/// What a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// The session that reads the file.
    Session,
    /// It makes this role.
    NewRole(String),
    /// It gives this role attributes, settings or a comment.
    Role(String),
    /// It gives this role, or PUBLIC, something: a membership or a right on a parameter.
    GrantTo(String),
    /// It makes this tablespace.
    NewTablespace(String),
    /// It changes a tablespace.
    Tablespace(String),
    /// Anything else.
    Unknown,
}

/// What would be run, and what not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GlobalsPlan {
    /// Roles and what they are given, in their order.
    pub roles: Vec<Statement>,
    /// Tablespaces, which no transaction may make.
    pub tablespaces: Vec<Statement>,
    /// Roles and tablespaces that are made.
    pub made: Vec<String>,
    /// Those that are there already, and stay as they are.
    pub there: Vec<String>,
    /// Statements that are left out for another reason.
    pub unknown: Vec<String>,
}

/// The text ends within a statement or a quoted text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the statement that begins in line {0} does not end")]
pub struct Unfinished(pub usize);

/// Splits what pg_dumpall wrote into statements; psql's own commands and comments are passed over.
///
/// # Errors
/// When the text ends within a statement.
pub fn statements(text: &str) -> Result<Vec<Statement>, Unfinished> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(begin) = rest.find(|c: char| !c.is_whitespace()) {
        rest = &rest[begin..];
        if rest.starts_with("--") || rest.starts_with('\\') {
            rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
            continue;
        }
        let line = || Unfinished(text[..text.len() - rest.len()].lines().count() + 1);
        let end = end_of_statement(rest).ok_or_else(line)?;
        let sql = rest[..end].trim_end().to_owned();
        found.push(Statement { about: about(&sql), sql });
        rest = &rest[end + 1..];
    }
    Ok(found)
}

/// Where its semicolon stands: outside of quotes. Within `E'…'` a backslash takes the next character with it.
fn end_of_statement(text: &str) -> Option<usize> {
    let mut characters = text.char_indices().peekable();
    let mut before = ' ';
    while let Some((at, character)) = characters.next() {
        match character {
            ';' => return Some(at),
            '\'' | '"' => {
                let escapes = character == '\'' && matches!(before, 'E' | 'e');
                loop {
                    match characters.next()?.1 {
                        '\\' if escapes => drop(characters.next()?),
                        quote if quote == character => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        before = character;
    }
    None
}

/// A word of a statement: a keyword or name in lower case, or a name that was quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Plain(String),
    Quoted(String),
    Other,
}

impl Word {
    fn is(&self, keyword: &str) -> bool {
        matches!(self, Word::Plain(word) if word == keyword)
    }

    fn name(&self) -> Option<String> {
        match self {
            Word::Plain(name) | Word::Quoted(name) => Some(name.clone()),
            Word::Other => None,
        }
    }
}

fn words(sql: &str) -> Vec<Word> {
    let mut words = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.trim_start().chars().next() {
        rest = rest.trim_start();
        let (word, length) = match first {
            '"' => {
                let end = quoted_end(rest);
                (Word::Quoted(rest.get(1..end - 1).unwrap_or_default().replace("\"\"", "\"")), end)
            }
            '\'' => (Word::Other, quoted_end(rest)),
            letter if letter.is_alphanumeric() || letter == '_' => {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').unwrap_or(rest.len());
                (Word::Plain(rest[..end].to_lowercase()), end)
            }
            other => (Word::Other, other.len_utf8()),
        };
        words.push(word);
        rest = &rest[length..];
    }
    words
}

/// Behind the closing quote of what begins with one, or at the end of the text where there is none.
fn quoted_end(text: &str) -> usize {
    let quote = text.as_bytes()[0];
    let mut bytes = text.bytes().enumerate().skip(1).peekable();
    while let Some((at, byte)) = bytes.next() {
        if byte == quote && bytes.next_if(|(_, next)| *next == quote).is_none() {
            return at + 1;
        }
    }
    text.len()
}

fn about(sql: &str) -> About {
    let words = words(sql);
    let is = |keywords: &[&str]| keywords.len() <= words.len() && keywords.iter().zip(&words).all(|(keyword, word)| word.is(keyword));
    let named = |at: usize, about: fn(String) -> About| words.get(at).and_then(Word::name).map_or(About::Unknown, about);
    let after = |keyword: &str| words.iter().position(|word| word.is(keyword)).map_or(usize::MAX - 1, |at| at + 1);
    if is(&["create", "role"]) {
        named(2, About::NewRole)
    } else if is(&["alter", "role"]) && words.get(3).is_some_and(|word| word.is("with") || word.is("set")) {
        named(2, About::Role)
    } else if is(&["comment", "on", "role"]) {
        named(3, About::Role)
    } else if is(&["create", "tablespace"]) {
        named(2, About::NewTablespace)
    } else if is(&["alter", "tablespace"]) {
        named(2, About::Tablespace)
    } else if is(&["comment", "on", "tablespace"]) {
        named(3, About::Tablespace)
    } else if (is(&["grant"]) || is(&["revoke"])) && words.get(after("on")).is_some_and(|word| word.is("tablespace")) {
        named(after("on") + 1, About::Tablespace)
    } else if is(&["grant"]) {
        named(after("to"), About::GrantTo)
    } else if is(&["set"]) {
        About::Session
    } else {
        About::Unknown
    }
}

/// Plans which statements are run where these roles and tablespaces are there already. Nothing that is there is changed.
pub fn plan_globals(statements: Vec<Statement>, roles: &BTreeSet<String>, tablespaces: &BTreeSet<String>) -> GlobalsPlan {
    let mut plan = GlobalsPlan::default();
    let mut new_roles = BTreeSet::new();
    let mut new_tablespaces = BTreeSet::new();
    for statement in statements {
        match &statement.about {
            About::Session => {}
            About::NewRole(name) if roles.contains(name) => plan.there.push(format!("role {name}")),
            About::NewTablespace(name) if tablespaces.contains(name) => plan.there.push(format!("tablespace {name}")),
            About::NewRole(name) => {
                new_roles.insert(name.clone());
                plan.made.push(format!("role {name}"));
                plan.roles.push(statement);
            }
            About::NewTablespace(name) => {
                new_tablespaces.insert(name.clone());
                plan.made.push(format!("tablespace {name}"));
                plan.tablespaces.push(statement);
            }
            About::Role(name) if new_roles.contains(name) => plan.roles.push(statement),
            About::GrantTo(name) if new_roles.contains(name) => plan.roles.push(statement),
            About::Tablespace(name) if new_tablespaces.contains(name) => plan.tablespaces.push(statement),
            // What concerns those that are there.
            About::Role(name) if roles.contains(name) => {}
            About::Tablespace(name) if tablespaces.contains(name) => {}
            About::GrantTo(_) => plan.unknown.push(shown(&statement.sql)),
            About::Role(_) | About::Tablespace(_) | About::Unknown => plan.unknown.push(shown(&statement.sql)),
        }
    }
    plan
}

/// A statement for people: in one line, without a password's verifier.
pub fn shown(sql: &str) -> String {
    let text = match sql.split_once(" PASSWORD ") {
        Some((before, _)) => format!("{before} PASSWORD '…'"),
        None => sql.to_owned(),
    };
    printable(&text)
}

#[cfg(test)]
mod tests;
