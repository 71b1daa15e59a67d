//! One layer of the configuration: its keys, and where each of them stands.

mod text;
mod toml;

use std::collections::BTreeMap;

use figment::{
    Metadata, Profile, Provider,
    value::{Dict, Map, Value},
};

use crate::{
    Environment, Override, Problem,
    probe::{self, Answer, Kind},
    problem::dotted,
};

/// The prefix of environment variables that set keys.
pub(crate) const PREFIX: &str = "PLANA_JOBS__";

/// One layer of the configuration.
#[derive(Clone, Default)]
pub(crate) struct Layer {
    /// What holds the keys: a file, `environment`, `flags`.
    pub(crate) name: String,
    /// The keys and values.
    pub(crate) tree: Dict,
    /// Where each key stands, such as `/etc/plana-jobs/config.toml:12`.
    pub(crate) places: BTreeMap<Vec<String>, String>,
}

impl Layer {
    /// A layer from TOML; `name` is the file's.
    pub(crate) fn from_toml(name: &str, content: &str) -> Result<Self, Problem> {
        toml::parse(name, content)
    }

    /// The layer of the variables `PLANA_JOBS__SECTION__KEY`.
    pub(crate) fn from_environment(env: &Environment) -> (Self, Vec<Problem>) {
        let mut layer = Layer { name: "environment".to_owned(), ..Layer::default() };
        let mut problems = Vec::new();
        for (name, value) in env.iter() {
            if !name.get(..PREFIX.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(PREFIX)) {
                continue;
            }
            let place = format!("environment variable {name}");
            let path: Vec<String> = name[PREFIX.len()..].split("__").map(str::to_ascii_lowercase).collect();
            let problem = if path.iter().any(String::is_empty) {
                Some(Problem::new(place, "", "it names no key", format!("write {PREFIX}SECTION__KEY, two underscores between the parts")))
            } else if let Some(value) = value {
                layer.set(&path, value, place).err()
            } else {
                Some(Problem::new(place, dotted(&path), "its value is not UTF-8", ""))
            };
            problems.extend(problem);
        }
        (layer, problems)
    }

    /// The layer of what flags set.
    pub(crate) fn from_overrides(overrides: &[Override]) -> (Self, Vec<Problem>) {
        let mut layer = Layer { name: "flags".to_owned(), ..Layer::default() };
        let set = |o: &Override| {
            let path: Vec<String> = o.key.split('.').map(str::to_owned).collect();
            layer.set(&path, &o.value, o.flag.clone()).err()
        };
        let problems = overrides.iter().filter_map(set).collect();
        (layer, problems)
    }

    /// Sets one key to a value that came as text: the schema decides what it is read as.
    fn set(&mut self, path: &[String], text: &str, place: String) -> Result<(), Problem> {
        let kind = match probe::ask(path) {
            Answer::Wants(kind) => kind,
            Answer::Unknown { known: [] } => {
                return Err(Problem::new(place, dotted(path), "unknown key", "it stands below a key that is not a table"));
            }
            // Its place and name are judged with all the layer's keys.
            _ => Kind::Text,
        };
        let value = text::typed(text, kind).ok_or_else(|| {
            let help = "name a key in it, or write an inline table such as {\"acme.example.org\" = \"pro\"}";
            Problem::new(&place, dotted(path), "is a table", help)
        })?;
        if let Value::Dict(_, table) = &value {
            let below = |key: &String| path.iter().cloned().chain([key.clone()]).collect::<Vec<_>>();
            self.places.extend(table.keys().map(|key| (below(key), place.clone())));
        }
        self.places.insert(path.to_vec(), place);
        insert(&mut self.tree, path, value);
        Ok(())
    }

    /// Where the key stands in this layer; a key that is not written out stands where its table does.
    pub(crate) fn place(&self, path: &[String]) -> &str {
        (0..=path.len()).rev().find_map(|depth| self.places.get(&path[..depth])).unwrap_or(&self.name)
    }

    /// The table at the path.
    pub(crate) fn table_mut(&mut self, path: &[String]) -> Option<&mut Dict> {
        path.iter().try_fold(&mut self.tree, |table, key| match table.get_mut(key) {
            Some(Value::Dict(_, below)) => Some(below),
            _ => None,
        })
    }

    /// Takes the key and all that is below it out of the layer, if it is there.
    pub(crate) fn forget(&mut self, path: &[String]) {
        self.remove(path);
    }

    /// Takes the key and all that is below it out of the layer; whether it was there.
    pub(crate) fn remove(&mut self, path: &[String]) -> bool {
        let Some((last, parents)) = path.split_last() else { return false };
        let found = self.table_mut(parents).is_some_and(|table| table.remove(last).is_some());
        self.places.retain(|key, _| !key.starts_with(path));
        found
    }
}

/// figment merges the layers, key by key; lists replace lists.
impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.tree.clone()))
    }
}

fn insert(table: &mut Dict, path: &[String], value: Value) {
    let Some((key, below)) = path.split_first() else { return };
    if below.is_empty() {
        match (table.get_mut(key), value) {
            (Some(Value::Dict(_, there)), Value::Dict(_, more)) => there.extend(more),
            (_, value) => drop(table.insert(key.clone(), value)),
        }
        return;
    }
    let next = table.entry(key.clone()).or_insert_with(|| Dict::new().into());
    if !matches!(next, Value::Dict(..)) {
        *next = Dict::new().into();
    }
    if let Value::Dict(_, next) = next {
        insert(next, below, value);
    }
}

#[cfg(test)]
mod tests;
