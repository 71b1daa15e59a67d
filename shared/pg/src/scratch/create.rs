//! Making a scratch database, finding it again, and dropping it.

use std::{collections::BTreeSet, slice};

use chrono::{DateTime, SecondsFormat, Utc};
use plana_plan::{manifest::LocaleFacts, name::printable};

use super::{Admin, AdminError, is_scratch, names, place::owned_by};
use crate::{
    server::{ServerError, close, reason, sql_state},
    sql,
};

/// What a new database is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDatabase {
    /// Its encoding, such as `UTF8`.
    pub encoding: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// Whose rules for sorting and case; unknown ones are the server's own choice.
    pub locale: Option<LocaleFacts>,
    /// Its owner, where it is not our role.
    pub owner: Option<String>,
    /// When, by which leftovers are told from what is at work.
    pub made_at: DateTime<Utc>,
}

/// A scratch database that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scratch {
    /// Its name.
    pub name: String,
    /// When it was made; unknown while it is being made, or where that was cut short.
    pub made_at: Option<DateTime<Utc>>,
    /// Its owner.
    pub owner: String,
    /// Whether our role may drop it.
    pub is_ours: bool,
    /// How many sessions it has: a restore that is at work has some.
    pub sessions: u64,
}

const COMMENT: &str = "plana-jobs scratch, made ";
const KEPT_COMMENT: &str = "plana-jobs, kept for a look: its restore failed";

const SCRATCH: &str = "
    SELECT d.datname::text, pg_catalog.shobj_description(d.oid, 'pg_database'), pg_catalog.pg_get_userbyid(d.datdba)::text,
           pg_catalog.pg_has_role(d.datdba, 'USAGE'),
           (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid AND a.usesysid IS NOT NULL)
    FROM pg_catalog.pg_database d ORDER BY d.datname";

impl Admin {
    /// Makes an empty database, from template0, that only its owner (and superusers) may connect to.
    ///
    /// Nobody may connect before that is settled. What is killed on the way leaves a database without a comment.
    ///
    /// # Errors
    /// When the name is taken or unusable, the locale or the owner does not exist, or a right is missing. Nothing is left then.
    pub async fn create_database(&self, name: &str, new: &NewDatabase) -> Result<(), AdminError> {
        let doing = format!("create database `{}`", printable(name));
        names::check(&doing, name)?;
        if let Some(owner) = &new.owner {
            self.check_role(&doing, owner).await?;
        }
        self.make(&doing, name, new).await?;
        let database = sql::identifier(name);
        let comment = format!("{COMMENT}{}", new.made_at.to_rfc3339_opts(SecondsFormat::Secs, true));
        let mut settled = vec![
            format!("REVOKE CONNECT, TEMPORARY ON DATABASE {database} FROM PUBLIC"),
            format!("COMMENT ON DATABASE {database} IS {}", sql::literal(&comment)),
            format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true"),
        ];
        // Last: whoever gives a database away may change it no more.
        settled.extend(new.owner.iter().map(|owner| owned_by(name, owner)));
        let settled = self.execute(&doing, &settled).await;
        if settled.is_err() {
            let undone = self.execute(&doing, &[format!("DROP DATABASE IF EXISTS {database}")]).await;
            undone.unwrap_or_else(|error| tracing::warn!(%error, "an empty database is left"));
        }
        settled
    }

    async fn make(&self, doing: &str, name: &str, new: &NewDatabase) -> Result<(), AdminError> {
        let of_provider = new.locale.as_ref().filter(|_| self.server.facts().version.major >= 15).map(provider).unwrap_or_default();
        let statement = format!(
            "CREATE DATABASE {} TEMPLATE template0 ENCODING {} LC_COLLATE {} LC_CTYPE {}{of_provider} ALLOW_CONNECTIONS false",
            sql::identifier(name),
            sql::literal(&new.encoding),
            sql::literal(&new.collate),
            sql::literal(&new.ctype),
        );
        let mut connection = self.session(None).await?;
        let made = sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await;
        close(connection).await;
        let doing = doing.to_owned();
        made.map(drop).map_err(|error| match sql_state(&error).as_deref() {
            Some("42501") => AdminError::MayNotCreate { doing, role: self.server.facts().role.clone() },
            // An invalid locale, a locale of another encoding, an unknown encoding, and a server that was built without ICU.
            Some("42809" | "22023" | "42704" | "0A000") => AdminError::Locale {
                doing,
                locale: printable(&format!(
                    "encoding {}, LC_COLLATE {} and LC_CTYPE {}{}",
                    new.encoding,
                    new.collate,
                    new.ctype,
                    new.locale.as_ref().map(provider).unwrap_or_default()
                )),
                reason: reason(&error),
            },
            _ => AdminError::from_query(&doing, self, error),
        })
    }

    pub(super) async fn check_role(&self, doing: &str, role: &str) -> Result<(), AdminError> {
        match self.missing_roles(slice::from_ref(&role.to_owned())).await?.pop() {
            Some(role) => Err(AdminError::NoSuchRole { doing: doing.to_owned(), role }),
            None => Ok(()),
        }
    }

    /// Makes the roles that are not there, which can do nothing. Our own role must be a superuser, on a server of our own.
    ///
    /// # Errors
    /// When one cannot be made, as a name that PostgreSQL keeps for itself.
    pub async fn make_roles(&self, names: &BTreeSet<String>) -> Result<(), AdminError> {
        let names: Vec<String> = names.iter().cloned().collect();
        for name in self.missing_roles(&names).await? {
            // Another restore may make it at the same time.
            let body =
                format!("BEGIN CREATE ROLE {}; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END", sql::identifier(&name));
            self.execute(&format!("make role `{}`", printable(&name)), &[format!("DO {}", sql::literal(&body))]).await?;
        }
        Ok(())
    }

    /// The databases with a name that [`scratch_name`](super::scratch_name) makes of the prefix.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn list_scratch(&self, prefix: &str) -> Result<Vec<Scratch>, ServerError> {
        let mut connection = self.session(None).await?;
        let query = sqlx::query_as::<_, (String, Option<String>, String, bool, i64)>(SCRATCH);
        let found = query.fetch_all(&mut connection).await;
        close(connection).await;
        let found = self.answered("list the scratch databases", found)?.into_iter();
        let ours = found.filter(|(name, ..)| is_scratch(name, prefix));
        let scratch = ours.map(|(name, comment, owner, is_ours, sessions)| {
            let made_at = comment.as_deref().and_then(made_at);
            Scratch { name, made_at, owner, is_ours, sessions: sessions.unsigned_abs() }
        });
        Ok(scratch.collect())
    }

    /// Drops a scratch database, its sessions with it. That it is gone already is no error.
    ///
    /// # Errors
    /// When its name is not one that [`scratch_name`](super::scratch_name) makes of the prefix, whatever it is; when
    /// it is not ours; when somebody's session does not end.
    pub async fn drop_database(&self, name: &str, prefix: &str) -> Result<(), AdminError> {
        if !is_scratch(name, prefix) {
            return Err(AdminError::NotScratch { name: name.to_owned(), prefix: prefix.to_owned() });
        }
        let doing = format!("drop database `{}`", printable(name));
        let Some(database) = self.look_up(&doing, name).await? else { return Ok(()) };
        // WITH (FORCE) fails, for whoever is no superuser, while autovacuum is at work there; without it DROP stops
        // autovacuum, keeps new sessions out and waits for the others, which are told to end meanwhile.
        let statement = format!("DROP DATABASE IF EXISTS {}", sql::identifier(name));
        match self.evicting(&database, self.execute(&doing, &[statement])).await {
            Err(error) => Err(self.with_sessions(error, &[&database]).await),
            Ok(()) => Ok(()),
        }
    }

    /// Drops a scratch database that nobody is connected to, and ends nobody's session.
    ///
    /// # Errors
    /// When its name is not one that [`scratch_name`](super::scratch_name) makes of the prefix; when it is gone, in use, or
    /// not ours.
    pub async fn drop_unused(&self, name: &str, prefix: &str) -> Result<(), AdminError> {
        if !is_scratch(name, prefix) {
            return Err(AdminError::NotScratch { name: name.to_owned(), prefix: prefix.to_owned() });
        }
        self.execute(&format!("drop database `{}`", printable(name)), &[format!("DROP DATABASE {}", sql::identifier(name))]).await
    }

    /// Takes the mark of a scratch database away, so that no sweep takes it for a leftover.
    ///
    /// # Errors
    /// When there is no such database, or it is not ours.
    pub async fn keep(&self, name: &str) -> Result<(), AdminError> {
        let statement = format!("COMMENT ON DATABASE {} IS {}", sql::identifier(name), sql::literal(KEPT_COMMENT));
        self.execute(&format!("mark database `{}`", printable(name)), &[statement]).await
    }
}

/// The provider of a locale as CREATE DATABASE takes it; empty for one that this version does not know.
fn provider(locale: &LocaleFacts) -> String {
    let option = match &*locale.provider {
        "libc" => return " LOCALE_PROVIDER libc".to_owned(),
        "icu" => "ICU_LOCALE",
        "builtin" => "BUILTIN_LOCALE",
        _ => return String::new(),
    };
    let named = locale.name.iter().map(|name| format!(" {option} {}", sql::literal(name)));
    let rules = locale.icu_rules.iter().map(|rules| format!(" ICU_RULES {}", sql::literal(rules)));
    std::iter::once(format!(" LOCALE_PROVIDER {}", locale.provider)).chain(named).chain(rules).collect()
}

/// When it was made, by its comment.
pub(super) fn made_at(comment: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(comment.strip_prefix(COMMENT)?).ok().map(|at| at.to_utc())
}
