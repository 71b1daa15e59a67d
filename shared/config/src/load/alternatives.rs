//! The forms of one secret: the value, `…_file`, `…_env`. Exactly one of them counts.

use crate::{
    Problem,
    check::Fault,
    layer::Layer,
    probe::{self, Kind},
    problem::dotted,
};

/// Lets a later layer's form of a secret take the place of the forms of earlier layers, so that a
/// variable can override a file's `dsn_file` by a `dsn`. Two forms in one layer contradict each other.
pub(super) fn settle(layers: &mut [Layer]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for index in 0..layers.len() {
        let (earlier, rest) = layers.split_at_mut(index);
        let Some(layer) = rest.first() else { break };
        for forms in forms_of_secrets(layer) {
            let given: Vec<_> = forms.iter().filter(|path| layer.places.contains_key(*path)).collect();
            if let [first, second, ..] = given[..] {
                let what = format!("says again what {} says at {}", dotted(first), layer.place(first));
                let problem = Problem::new(layer.place(second), dotted(second), what, "keep one of them");
                faults.push(Fault { path: second.clone(), problem });
            } else if let [form] = given[..] {
                for other in forms.iter().filter(|path| *path != form) {
                    earlier.iter_mut().for_each(|layer| layer.forget(other));
                }
            }
        }
    }
    faults
}

/// For each secret of which the layer holds a form: all of its forms.
fn forms_of_secrets(layer: &Layer) -> Vec<Vec<Vec<String>>> {
    let mut secrets: Vec<Vec<String>> = layer.places.keys().filter_map(|path| secret_of(path)).collect();
    secrets.sort_unstable();
    secrets.dedup();
    let forms = |secret: Vec<String>| ["", "_file", "_env"].iter().map(|ending| with_ending(&secret, ending)).collect();
    secrets.into_iter().map(forms).collect()
}

/// The secret that the key is a form of.
fn secret_of(path: &[String]) -> Option<Vec<String>> {
    let (last, table) = path.split_last()?;
    let stem = last.strip_suffix("_file").or_else(|| last.strip_suffix("_env")).unwrap_or(last);
    let secret: Vec<String> = table.iter().cloned().chain([stem.to_owned()]).collect();
    (probe::ask(&secret) == probe::Answer::Wants(Kind::Secret)).then_some(secret)
}

fn with_ending(secret: &[String], ending: &str) -> Vec<String> {
    let mut path = secret.to_vec();
    if let Some(last) = path.last_mut() {
        last.push_str(ending);
    }
    path
}
