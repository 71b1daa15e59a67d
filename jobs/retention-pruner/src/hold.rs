//! `hold` and `release`: a set that no run deletes.

use bytes::Bytes;
use futures::TryStreamExt as _;
use plana_harness::{Answer, Context, Failure};
use plana_plan::{SetKey, set::HOLD};
use plana_storage::{PutMode, StoreError};

use crate::{
    apply::delete_listed,
    error::RunError,
    listing::{Listed, below},
    setup::Opened,
};

async fn objects_of(opened: &Opened, set: &SetKey) -> Result<Vec<Listed>, RunError> {
    let listed: Vec<Listed> = below(&*opened.store, opened.mode, &set.prefix()).try_collect().await?;
    if listed.is_empty() { Err(RunError::NoSuchSet(set.clone())) } else { Ok(listed) }
}

/// Puts the mark.
///
/// # Errors
/// When the set is not there, or the key may not put.
pub async fn hold(context: Context, set: SetKey) -> Result<Answer, Failure> {
    Ok(put(&context, &set).await?)
}

async fn put(context: &Context, set: &SetKey) -> Result<Answer, RunError> {
    let opened = Opened::new(context).await?;
    objects_of(&opened, set).await?;
    let key = set.object(HOLD);
    let text = format!("held by {} at {}\n", context.host(), context.started_at().to_rfc3339());
    if !context.dry_run() {
        match opened.store.put(&key, Bytes::from(text), PutMode::IfAbsent).await {
            Ok(_) | Err(StoreError::AlreadyExists(_)) => {}
            Err(error) => return Err(error.into()),
        }
        if opened.store.find(&key).await?.is_none() {
            return Err(RunError::NoSuchSet(set.clone()));
        }
    }
    let said = format!("{set} is held: no run deletes it, until `retention-pruner release {set}`");
    Ok(Answer::default().text(said).json("set", set.to_string()).json("held", true))
}

/// Takes the mark away, all versions of it.
///
/// # Errors
/// When the set is not there, or the key may not delete.
pub async fn release(context: Context, set: SetKey) -> Result<Answer, Failure> {
    Ok(take_away(&context, &set).await?)
}

async fn take_away(context: &Context, set: &SetKey) -> Result<Answer, RunError> {
    let opened = Opened::new(context).await?;
    let key = set.object(HOLD);
    let marks: Vec<Listed> = objects_of(&opened, set).await?.into_iter().filter(|listed| listed.key == key).collect();
    let was_held = !marks.is_empty();
    if was_held && !context.dry_run() {
        // Where no mark has a version of its own, the bucket keeps none of it.
        let is_versioned = marks.iter().any(Listed::is_versioned);
        delete_listed(&opened.store, is_versioned, &marks).await?.into_iter().collect::<Result<(), StoreError>>()?;
    }
    let said = if was_held { format!("{set} is no longer held: its window decides again") } else { format!("{set} was not held") };
    Ok(Answer::default().text(said).json("set", set.to_string()).json("held", false))
}
