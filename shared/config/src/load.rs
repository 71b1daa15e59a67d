//! All layers together.

mod alternatives;
mod files;

use std::{collections::BTreeMap, path::PathBuf};

use figment::{Figment, error::Kind as FigmentKind};

use crate::{
    Config, ConfigError, ConfigSource, DEFAULTS, Problem,
    check::{Fault, check},
    layer::Layer,
    probe::Answer,
    problem::dotted,
    validate,
};

/// A configuration that was read and found good.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The files that were read, in the order of their layers.
    pub files: Vec<PathBuf>,
    /// What is odd but no error, for the log.
    pub notes: Vec<String>,
    places: BTreeMap<Vec<String>, String>,
}

impl Loaded {
    /// Where a dotted key got its value, such as `/etc/plana-jobs/config.toml:12`; `None` where no layer
    /// holds the key.
    pub fn place_of(&self, key: &str) -> Option<&str> {
        let path: Vec<String> = key.split('.').map(str::to_owned).collect();
        self.places.get(&path).map(String::as_str)
    }
}

impl Config {
    /// The built-in defaults and, over them, this TOML.
    pub fn from_toml(text: &str) -> Result<Config, ConfigError> {
        let layers = vec![Layer::from_toml("built-in defaults", DEFAULTS)?, Layer::from_toml("configuration", text)?];
        merge(layers, Vec::new()).map(|(config, _)| config)
    }
}

/// Reads all layers, checks each key of each of them, and then the whole.
///
/// The error names all that is wrong and not only the first thing.
pub fn load(source: &ConfigSource) -> Result<Loaded, ConfigError> {
    let mut faults = Vec::new();
    let mut layers = vec![Layer::from_toml("built-in defaults", DEFAULTS)?];
    let files = files::read(source, &mut layers, &mut faults);
    for (layer, problems) in [Layer::from_environment(&source.env), Layer::from_overrides(&source.overrides)] {
        layers.push(layer);
        faults.extend(problems.into_iter().map(Fault::from));
    }
    let mut notes = files::exposed(&files, &layers);
    notes.extend(nearly_ours(source));
    let (config, layers) = merge(layers, faults)?;
    notes.extend(crate::credentials::exposed(&config, &source.env));
    Ok(Loaded { config, files, notes, places: layers.into_iter().flat_map(|layer| layer.places).collect() })
}

fn merge(mut layers: Vec<Layer>, mut faults: Vec<Fault>) -> Result<(Config, Vec<Layer>), ConfigError> {
    for layer in &mut layers {
        let found = check(layer);
        // What is wrong is taken out, so that the rest can be judged in the same run.
        for fault in &found {
            layer.remove(&fault.path);
        }
        faults.extend(found);
    }
    faults.extend(alternatives::settle(&mut layers));
    let extracted = extract(&mut layers, &mut faults);
    for finding in extracted.iter().flat_map(validate::validate) {
        if !faults.iter().any(|fault| fault.explains(&finding.path)) {
            let problem = Problem::new(place(&layers, &finding.path), dotted(&finding.path), finding.what, finding.help);
            faults.push(Fault { path: finding.path, problem });
        }
    }
    match extracted {
        Some(config) if faults.is_empty() => Ok((config, layers)),
        _ => Err(ConfigError { problems: faults.into_iter().map(|fault| fault.problem).collect() }),
    }
}

/// The configuration, without the tables that lack a key: each of those is a fault.
fn extract(layers: &mut [Layer], faults: &mut Vec<Fault>) -> Option<Config> {
    loop {
        let figment = layers.iter().fold(Figment::new(), |figment, layer| figment.merge(layer));
        let error = match figment.extract::<Config>() {
            Ok(config) => return Some(config),
            Err(error) => error,
        };
        let table = error.path.clone();
        let (what, help) = match &error.kind {
            FigmentKind::MissingField(name) => (format!("lacks the key `{name}`"), "add it"),
            // Each value was judged before: nothing else is left to find, and no value is shown.
            _ => (Answer::from(error).to_string(), ""),
        };
        // A key that was mistyped is missing as well: said once.
        if !faults.iter().any(|fault| fault.path.starts_with(&table)) {
            let problem = Problem::new(place(layers, &table), dotted(&table), what, help);
            faults.push(Fault { path: table.clone(), problem });
        }
        let removed = layers.iter_mut().map(|layer| layer.remove(&table)).filter(|removed| *removed).count();
        if removed == 0 {
            return None;
        }
    }
}

fn place<'a>(layers: &'a [Layer], path: &[String]) -> &'a str {
    let written = |depth: usize| layers.iter().rev().find_map(|layer| layer.places.get(&path[..depth]));
    (1..=path.len()).rev().find_map(written).map_or("configuration", String::as_str)
}

/// Variables that look like a key of ours and are none: one underscore where two belong.
fn nearly_ours(source: &ConfigSource) -> Vec<String> {
    let looks_like = |name: &str| name.starts_with("PLANA_JOBS_") && !name.starts_with(crate::layer::PREFIX) && name.contains("__");
    let note = |name: &str| {
        let meant = name.replacen("PLANA_JOBS_", crate::layer::PREFIX, 1);
        format!("environment variable {name} is not read: did you mean {meant}?")
    };
    source.env.iter().map(|(name, _)| name).filter(|name| looks_like(name)).map(note).collect()
}

#[cfg(test)]
mod tests;
