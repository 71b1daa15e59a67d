//! Settings of a database that was restored.

use std::collections::BTreeMap;

use plana_plan::name::printable;
use sqlx::PgConnection;

use super::{Admin, AdminError};
use crate::{
    server::{ServerError, close, reason},
    sql,
};

/// Settings that are lists of names, each of which is quoted by itself; the server keeps them with double quotes around
/// what needs them (GUC_LIST_QUOTE). As in pg_dump, which has to know them too.
const QUOTED_LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// Libraries that every session loads first.
const LOCK_OUT: [&str; 2] = ["local_preload_libraries", "session_preload_libraries"];

impl Admin {
    /// `ALTER DATABASE … SET` and `ALTER ROLE … IN DATABASE … SET` for a manifest's settings: role (empty for all) →
    /// `name=value` as the server keeps them. Answers with what was left out, and why; the rest is set.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn apply_settings(&self, database: &str, settings: &BTreeMap<String, Vec<String>>) -> Result<Vec<String>, AdminError> {
        let roles: Vec<_> = settings.keys().filter(|role| !role.is_empty()).cloned().collect();
        let missing = self.missing_roles(&roles).await?;
        let mut warnings = Vec::new();
        let mut connection = self.session(None).await?;
        for (role, values) in settings {
            if missing.contains(role) {
                warnings.push(format!("role `{}` does not exist: its {} settings were left out", printable(role), values.len()));
                continue;
            }
            for setting in values {
                let name = printable(setting.split_once('=').map_or(setting.as_str(), |(name, _)| name));
                let left_out = |why: &str| format!("the setting `{name}`{} was left out: {why}", of_role(role));
                let Some(assignment) = assignment(setting) else {
                    warnings.push(left_out("it is none that PostgreSQL keeps"));
                    continue;
                };
                let statement = format!("{} SET {assignment}", subject(database, role));
                let Err(error) = sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await else { continue };
                let said = reason(&error);
                match ServerError::from_query("restore the settings of a database", self.server.settings(), error) {
                    lost @ ServerError::Lost { .. } => return Err(lost.into()),
                    _ => warnings.push(left_out(&printable(&said))),
                }
            }
        }
        let unusable = self.reset_what_locks_out(database, settings, &mut connection).await;
        close(connection).await;
        warnings.extend(unusable?);
        Ok(warnings)
    }

    /// A library that this server does not have refuses every connection to the database.
    async fn reset_what_locks_out(
        &self,
        database: &str,
        settings: &BTreeMap<String, Vec<String>>,
        connection: &mut PgConnection,
    ) -> Result<Option<String>, AdminError> {
        let preloads = |setting: &String| LOCK_OUT.iter().any(|name| setting.starts_with(name));
        if !settings.get("").is_some_and(|settings| settings.iter().any(preloads)) {
            return Ok(None);
        }
        let said = match self.session(Some(database)).await {
            Err(ServerError::Unreachable { reason, .. }) => reason,
            Err(error) => return Err(error.into()),
            Ok(session) => {
                close(session).await;
                return Ok(None);
            }
        };
        let reset = LOCK_OUT.map(|name| format!("{} RESET {name}", subject(database, ""))).join("; ");
        let doing = format!("reset the libraries of database `{}`", printable(database));
        let done = sqlx::raw_sql(sqlx::AssertSqlSafe(reset)).execute(connection).await;
        done.map_err(|error| AdminError::from_query(&doing, self, error))?;
        Ok(Some(format!("the settings {} were left out: with them nobody could connect: {}", LOCK_OUT.join(" and "), printable(&said))))
    }
}

fn of_role(role: &str) -> String {
    if role.is_empty() { String::new() } else { format!(" of role `{}`", printable(role)) }
}

fn subject(database: &str, role: &str) -> String {
    let database = sql::identifier(database);
    if role.is_empty() {
        format!("ALTER DATABASE {database}")
    } else {
        format!("ALTER ROLE {} IN DATABASE {database}", sql::identifier(role))
    }
}

/// `"name" TO values`; nothing for what the server would never have kept.
fn assignment(setting: &str) -> Option<String> {
    let (name, value) = setting.split_once('=')?;
    if !is_setting_name(name) || value.contains('\0') {
        return None;
    }
    let value = if QUOTED_LISTS.contains(&name.to_ascii_lowercase().as_str()) {
        let names: Vec<_> = split_list(value)?.iter().map(|name| sql::literal(name)).collect();
        if names.is_empty() { "''".to_owned() } else { names.join(", ") }
    } else {
        sql::literal(value)
    };
    Some(format!("{} TO {value}", sql::identifier(name)))
}

/// An identifier, or several with dots between them.
fn is_setting_name(name: &str) -> bool {
    name.split('.').all(|part| {
        let mut bytes = part.bytes();
        let begins = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        begins && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$'))
    })
}

/// The names of a list with commas, where names that need it stand in double quotes.
fn split_list(text: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = text.trim_start();
    if rest.is_empty() {
        return Some(names);
    }
    loop {
        let mut name = String::new();
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted;
            loop {
                let (part, after) = rest.split_once('"')?;
                name.push_str(part);
                rest = after;
                match rest.strip_prefix('"') {
                    Some(after) => rest = after,
                    None => break,
                }
                name.push('"');
            }
        } else {
            let end = rest.find(|c: char| c == ',' || c.is_ascii_whitespace()).unwrap_or(rest.len());
            if end == 0 {
                return None;
            }
            name.push_str(&rest[..end]);
            rest = &rest[end..];
        }
        names.push(name);
        rest = rest.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None if rest.is_empty() => return Some(names),
            None => return None,
        }
    }
}

#[cfg(test)]
mod tests;
