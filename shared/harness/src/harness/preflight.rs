//! What every job's `check` looks at: what the harness itself uses. A job never depends on any of it,
//! so what is wrong here is a warning.

use std::path::Path;

use plana_config::{Config, Secret};
use rustix::fs::{Access, access};

use super::Harness;
use crate::{
    check::CheckLine,
    events::{Target, probe},
    failure::chain,
    metrics,
    observers::Places,
    state::State,
};

impl Harness {
    pub(super) async fn preflight(&self, config: &Config) -> Vec<CheckLine> {
        let places = match Places::find(config, &self.env, self.job) {
            Ok(places) => places,
            Err(error) => {
                return vec![CheckLine::bad_config("secrets", chain(&error), "put the secret where the configuration says it is")];
            }
        };
        let mut lines = vec![state_line(&State::dir_of(&config.state_dir, self.env.get("STATE_DIRECTORY")))];
        if let Some(target) = &places.events {
            lines.push(events_line(target).await);
        }
        lines.extend(places.textfile_dir.as_deref().map(textfile_line));
        if let Some(url) = &places.pushgateway {
            lines.push(pushgateway_line(url).await);
        }
        lines
    }
}

/// The directory is made when it is first needed, so the nearest one that exists is what counts.
fn state_line(dir: &Path) -> CheckLine {
    let existing = dir.ancestors().find(|dir| dir.exists()).unwrap_or(dir);
    let shown = dir.display().to_string();
    match access(existing, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => CheckLine::ok("state directory", shown),
        Err(error) => CheckLine::warning(
            "state directory",
            format!("{shown} cannot be written: {}: {error}", existing.display()),
            "set state_dir to a directory that this user may write; without it the job works, and remembers nothing",
        ),
    }
}

async fn events_line(target: &Target) -> CheckLine {
    match probe(target).await {
        Ok(()) => CheckLine::ok("event stream", format!("{} takes events", target.stream)),
        Err(reason) => {
            CheckLine::warning("event stream", reason, "mend it, or unset events.url; without it the job works, and tells nobody")
        }
    }
}

fn textfile_line(dir: &Path) -> CheckLine {
    match access(dir, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => CheckLine::ok("metrics textfile", dir.display().to_string()),
        Err(error) => CheckLine::warning(
            "metrics textfile",
            format!("{} cannot be written: {error}", dir.display()),
            "let this user write there, or unset metrics.textfile_dir; without it alerts hear nothing",
        ),
    }
}

async fn pushgateway_line(url: &Secret) -> CheckLine {
    match metrics::reach(url).await {
        Ok(()) => CheckLine::ok("Pushgateway", "answers"),
        Err(reason) => CheckLine::warning("Pushgateway", reason, "look at metrics.pushgateway; without it alerts hear nothing"),
    }
}
