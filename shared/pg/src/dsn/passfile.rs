//! `~/.pgpass`.

use std::{io::Read, os::unix::fs::PermissionsExt, path::Path};

/// The lines of a passfile: five fields, unescaped.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Passwords(Vec<[Field; 5]>);

/// A field, and whether it stands for anything.
#[derive(Clone, PartialEq, Eq)]
enum Field {
    Any,
    Exactly(String),
}

impl Field {
    fn matches(&self, value: &str) -> bool {
        match self {
            Field::Any => true,
            Field::Exactly(text) => text == value,
        }
    }
}

impl Passwords {
    /// Reads a passfile. One that others may read is left aside, as libpq does, with a reason.
    pub(super) fn load(path: &Path) -> (Self, Option<String>) {
        let aside = |reason: String| (Passwords::default(), Some(format!("the passfile {} is left aside: {reason}", path.display())));
        let mut file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return (Passwords::default(), None),
            Err(error) => return aside(error.to_string()),
        };
        match file.metadata() {
            Ok(metadata) if !metadata.is_file() => return aside("it is not a plain file".to_owned()),
            Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
                return aside("others may read it: chmod 0600 it".to_owned());
            }
            Ok(_) => {}
            Err(error) => return aside(error.to_string()),
        }
        let mut text = String::new();
        match file.read_to_string(&mut text) {
            Ok(_) => (Passwords::parse(&text), None),
            Err(error) => aside(error.to_string()),
        }
    }

    pub(super) fn parse(text: &str) -> Self {
        Passwords(text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).filter_map(fields).collect())
    }

    /// The password of the first line that matches.
    pub(super) fn find(&self, host: &str, port: u16, database: &str, user: &str) -> Option<&str> {
        let wanted = [host, &port.to_string(), database, user];
        let line = self.0.iter().find(|line| line.iter().zip(wanted).all(|(field, value)| field.matches(value)))?;
        match line.last() {
            Some(Field::Exactly(password)) => Some(password),
            // A password of one asterisk is a password.
            Some(Field::Any) => Some("*"),
            None => None,
        }
    }
}

fn fields(line: &str) -> Option<[Field; 5]> {
    let mut fields = Vec::with_capacity(5);
    let (mut raw, mut text) = (String::new(), String::new());
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        // Whatever follows the fourth colon is the password; colons in it need no backslash, but may have one.
        match c {
            ':' if fields.len() < 4 => {
                fields.push(if raw == "*" { Field::Any } else { Field::Exactly(std::mem::take(&mut text)) });
                raw.clear();
                text.clear();
            }
            '\\' => {
                raw.push(c);
                text.extend(characters.next());
            }
            c => {
                raw.push(c);
                text.push(c);
            }
        }
    }
    fields.push(Field::Exactly(text));
    fields.try_into().ok()
}

/// `text` as a field of a passfile.
pub(super) fn escape(text: &str) -> String {
    text.replace('\\', r"\\").replace(':', r"\:")
}
