//! Retention that differs from deployment to deployment.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDateTime, Utc};

use super::Grid;
use crate::{name::printable, window::Window};

/// How long the rows of each deployment are kept. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeploymentWindows(BTreeMap<String, Window>);

/// Why an answer is no retention. Completes "failed to …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("believe the retention per deployment: {0}; nothing of this table expires until the query answers again")]
pub struct DeploymentsRefused(pub String);

impl DeploymentWindows {
    /// From the rows of the query: deployment, days.
    ///
    /// # Errors
    /// When there is none, or one says nothing usable: an answer that is wrong in one row is trusted in none.
    pub fn read(rows: impl IntoIterator<Item = (Option<String>, Option<i64>)>) -> Result<Self, DeploymentsRefused> {
        let refused = |what: String| Err(DeploymentsRefused(what));
        let mut windows: BTreeMap<String, Window> = BTreeMap::new();
        for (deployment, days) in rows {
            let Some(deployment) = deployment else { return refused("a row has no deployment".to_owned()) };
            let window = days.and_then(|days| u32::try_from(days).ok()).and_then(Window::from_days);
            let Some(window) = window else {
                let days = days.map_or("NULL".to_owned(), |days| days.to_string());
                return refused(format!("deployment {} has {days} days", printable(&deployment)));
            };
            let longest = windows.entry(deployment).or_insert(window);
            *longest = window.max(*longest);
        }
        if windows.is_empty() { refused("the query answers no row".to_owned()) } else { Ok(DeploymentWindows(windows)) }
    }

    /// When everything of everybody that it names has expired.
    pub fn longest(&self) -> Option<Window> {
        self.0.values().max().copied()
    }

    /// The deployments.
    pub fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// For each deployment the point before which its rows have expired.
    pub fn cutoffs(&self, grid: &Grid, now: DateTime<Utc>) -> Vec<(String, NaiveDateTime)> {
        let cutoff = |window: &Window| now.checked_sub_signed(window.span()).map(|at| grid.past(at));
        self.0.iter().filter_map(|(deployment, window)| Some((deployment.clone(), cutoff(window)?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::partition::{KeyType, Period};

    fn read(rows: &[(Option<&str>, Option<i64>)]) -> Result<DeploymentWindows, DeploymentsRefused> {
        DeploymentWindows::read(rows.iter().map(|(name, days)| (name.map(str::to_owned), *days)))
    }

    #[test]
    fn an_answer_that_is_wrong_in_one_row_is_trusted_in_none() {
        for rows in
            [&[][..], &[(None, Some(30))], &[(Some("a"), None)], &[(Some("a"), Some(0))], &[(Some("a"), Some(30)), (Some("b"), Some(-1))]]
        {
            assert!(read(rows).is_err(), "{rows:?}");
        }
    }

    #[test]
    fn of_an_hour_that_comes_twice_no_row_goes_too_early() {
        let zone = "Europe/Sofia".parse().expect("a zone");
        let grid = Grid { period: Period::Monthly, key: KeyType::Timestamp, zone };
        let now = "2026-10-26T00:30:00Z".parse().expect("a time");
        let cutoffs = read(&[(Some("a"), Some(1))]).expect("windows").cutoffs(&grid, now);
        assert_eq!(grid.key.text(cutoffs[0].1), "2026-10-25 02:30:00");
    }

    #[test]
    fn the_longest_window_decides_for_all_and_of_two_for_one_the_longer() {
        let windows = read(&[(Some("a"), Some(30)), (Some("b"), Some(90)), (Some("a"), Some(60))]).expect("windows");
        assert_eq!((windows.longest().map(Window::days), windows.names()), (Some(90), vec!["a".to_owned(), "b".to_owned()]));
    }
}
