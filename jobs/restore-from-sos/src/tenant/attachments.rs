//! The file of every attachment.

use std::{fs, path::PathBuf};

use plana_backup::setup;
use plana_harness::Context;
use plana_pg::attachment_rows::{AttachmentRow, attachment_rows};
use plana_plan::{
    name::printable,
    tenant::{KnownFiles, Verdict},
};
use plana_restore::RestoreError;
use tokio::sync::mpsc::Receiver;

use crate::{JOB, args::TenantArgs};

/// Rows on their way from the server to the disk.
const ROWS_AHEAD: usize = 1000;
/// More are counted and not listed.
const MOST_LISTED: usize = 500;

/// What became of the files that the database names.
#[derive(Debug, Default)]
pub struct Found {
    /// Rows that name a file.
    pub rows: u64,
    /// Those whose file is not there.
    pub missing: u64,
    /// Those whose file was damaged already when it was backed up.
    pub damaged: u64,
    /// Each that is missing or damaged, by the attachment.
    pub listed: Vec<String>,
    losses: u64,
    unlisted: u64,
    /// Files that were missing before, which the manifest counts and does not list: some of the losses may be among them.
    known_by_number: u64,
}

impl Found {
    /// What is lost, if anything is.
    pub fn loss(&self) -> Option<String> {
        let Found { rows, losses, known_by_number, .. } = self;
        (*losses > 0).then(|| {
            let known = match known_by_number {
                0 => String::new(),
                more => format!(" (of {more} more that were, the manifest has no room for the names)"),
            };
            format!(
                "find the file of every attachment: {losses} of {rows} have none, and were not known as missing when the files were backed \
                 up{known}; they are listed among the warnings: look for them in another set (--files-of)"
            )
        })
    }

    fn add(&mut self, row: &AttachmentRow, verdict: Verdict) {
        self.rows += 1;
        let what = match verdict {
            Verdict::Whole => return,
            Verdict::DamagedBefore => {
                self.damaged += 1;
                "is damaged, and was when it was backed up"
            }
            Verdict::MissingBefore => {
                self.missing += 1;
                "is missing, and was when it was backed up"
            }
            Verdict::Missing => {
                self.missing += 1;
                "is missing"
            }
            Verdict::NoPath => {
                self.missing += 1;
                "is no path of a file store"
            }
        };
        self.losses += u64::from(verdict.is_loss());
        if self.listed.len() == MOST_LISTED {
            self.unlisted += 1;
        } else {
            self.listed.push(format!("{}: {} {what}", described(row), printable(&row.store_fname)));
        }
    }

    fn finish(mut self) -> Self {
        if self.unlisted > 0 {
            self.listed.push(format!("and {} attachments more", self.unlisted));
        }
        self
    }
}

/// An attachment as people find it again.
fn described(row: &AttachmentRow) -> String {
    let name = row.name.as_deref().map_or_else(String::new, |name| format!(" `{}`", printable(name)));
    let of = match (&row.res_model, row.res_id) {
        (Some(model), Some(id)) => format!(" of {} {id}", printable(model)),
        (Some(model), None) => format!(" of {}", printable(model)),
        _ => String::new(),
    };
    format!("attachment {}{name}{of}", row.id)
}

/// Reads every row of the restored database that names a file, and looks for the file.
///
/// # Errors
/// When the database cannot be asked.
pub async fn look(context: &Context, args: &TenantArgs, database: &str, known: KnownFiles) -> Result<Found, RestoreError> {
    let config = context.config();
    let asked = |error: setup::SetupError| RestoreError::Internal(error.to_string());
    let dsn = args.database.dsn.as_deref().map(setup::shown_dsn).transpose().map_err(asked)?;
    let settings = setup::connection(config, context.env(), JOB, dsn.as_ref()).map_err(asked)?.with_database(database);
    let (rows, taken) = tokio::sync::mpsc::channel(ROWS_AHEAD);
    let directory = args.files.to.clone();
    let looking = tokio::task::spawn_blocking(move || judge(taken, &known, directory));
    let has_attachments = attachment_rows(&settings, config.postgres.connect_timeout.0, rows).await?;
    let mut found = looking.await.map_err(|error| RestoreError::Internal(error.to_string()))?;
    if !has_attachments {
        found.listed.push(format!("`{}` has no table of attachments: its files were compared with nothing", printable(database)));
    }
    Ok(found)
}

/// On a thread of its own: on a network's file system each look takes its time.
fn judge(mut rows: Receiver<AttachmentRow>, known: &KnownFiles, directory: PathBuf) -> Found {
    let mut found = Found { known_by_number: known.unlisted(), ..Found::default() };
    while let Some(row) = rows.blocking_recv() {
        let is_there = |name: &plana_plan::attachment::AttachmentName| {
            fs::symlink_metadata(directory.join(name.to_string())).is_ok_and(|metadata| metadata.is_file())
        };
        let verdict = known.judge(&row.store_fname, is_there);
        found.add(&row, verdict);
    }
    found.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: i64) -> AttachmentRow {
        AttachmentRow { id, name: None, res_model: None, res_id: None, store_fname: format!("ab/{id}") }
    }

    #[test]
    fn more_attachments_than_are_listed_are_counted_all_the_same() {
        let mut found = Found::default();
        let most = i64::try_from(MOST_LISTED).expect("fits");
        (0..most).for_each(|id| found.add(&row(id), Verdict::Missing));
        let listed = Found { listed: found.listed.clone(), ..Found::default() }.finish().listed;
        assert_eq!((listed.len(), listed.last().map(String::as_str)), (MOST_LISTED, Some("attachment 499: ab/499 is missing")));
        (most..most + 7).for_each(|id| found.add(&row(id), Verdict::Missing));
        found.add(&row(-1), Verdict::DamagedBefore);
        let found = found.finish();
        assert_eq!((found.rows, found.missing, found.damaged, found.listed.len()), (508, 507, 1, MOST_LISTED + 1));
        assert_eq!(found.listed.last().map(String::as_str), Some("and 8 attachments more"));
        assert!(found.loss().is_some_and(|loss| loss.contains("507 of 508")));
    }

    #[test]
    fn what_the_manifest_had_no_room_for_may_be_among_the_losses() {
        let found = Found { known_by_number: 3, losses: 1, rows: 9, ..Found::default() };
        assert!(found.loss().is_some_and(|loss| loss.contains("1 of 9") && loss.contains("of 3 more that were")));
        assert!(Found { losses: 0, ..found }.loss().is_none());
    }
}
