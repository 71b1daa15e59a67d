//! `retire`: a name that is no longer backed up.

use plana_harness::{Answer, Context, Failure};
use plana_plan::{Area, moment::Moment, retention::Retirement};

use crate::{
    JOB,
    error::RunError,
    listing::{self, Whole},
    memory::Memory,
    setup::Opened,
};

/// Remembers that a name is no longer backed up, or that it is again.
///
/// # Errors
/// When no backup has that name, or it cannot be remembered.
pub async fn retire(context: Context, name: String, by: Option<Moment>, cancel: bool) -> Result<Answer, Failure> {
    Ok(say(&context, &name, by, cancel).await?)
}

async fn say(context: &Context, name: &str, by: Option<Moment>, cancel: bool) -> Result<Answer, RunError> {
    let opened = Opened::new(context).await?;
    let Whole { stock, .. } = listing::list_all(&*opened.store, opened.mode, opened.keys.clone(), 0).await.map_err(RunError::HalfListed)?;
    let of_name = stock.groups.iter().filter(|(group, _)| matches!(group.area, Area::Pg | Area::Filestore | Area::Globals));
    let sets: usize = of_name.filter(|(group, _)| group.plain_name() == name).map(|(_, sets)| sets.len()).sum();
    if sets == 0 && !cancel {
        return Err(RunError::NoSuchName(name.to_owned()));
    }
    let retirement = (!cancel).then(|| Retirement { at: context.started_at(), by: by.map(|by| by.instant()) });
    if !context.dry_run() {
        let state = plana_harness::State::new(context.state().dir(), false);
        Memory::keep_retirement(&state, (JOB, opened.store.url()), name, retirement)?;
    }
    let said = match (retirement, by) {
        (None, _) => format!("{name} is not retired: floor and freeze hold for it"),
        (Some(_), None) => {
            format!(
                "{name} is retired: its {sets} sets go when their windows are over, without floor or freeze, unless it is backed up again"
            )
        }
        (Some(_), Some(by)) => {
            format!("{name} is retired: its {sets} sets go when their windows are over, and after {by} all that is not held or insured")
        }
    };
    Ok(Answer::default().text(said).json("name", name).json("retired", !cancel).json("sets", sets))
}
