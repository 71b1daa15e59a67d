//! How long sets are kept.

use std::collections::BTreeMap;

use plana_plan::{Label, window::Window};
use serde::{Deserialize, Serialize};

/// How long sets are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Label → window. A label without a window counts as `unclassified`: the longest of them.
    pub windows: BTreeMap<String, Window>,
}

impl Retention {
    /// The labels that have a window.
    pub fn labels(&self) -> Vec<Label> {
        self.windows.keys().filter_map(|label| label.parse().ok()).collect()
    }
}
