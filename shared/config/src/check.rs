//! A layer against the schema: every key that does not exist, every value that does not fit.

use figment::value::{Dict, Value};

use crate::{
    Problem,
    layer::{Layer, PREFIX},
    nearest,
    probe::{self, Answer, Kind},
    problem::dotted,
};

/// A key that cannot be used, and why.
pub(crate) struct Fault {
    /// The key.
    pub(crate) path: Vec<String>,
    /// What is wrong with it.
    pub(crate) problem: Problem,
}

impl Fault {
    /// Whether a complaint about the key would only repeat this one.
    pub(crate) fn explains(&self, path: &[String]) -> bool {
        !self.path.is_empty() && (path.starts_with(&self.path) || self.path.starts_with(path))
    }
}

/// A problem of no key in particular.
impl From<Problem> for Fault {
    fn from(problem: Problem) -> Self {
        Fault { path: Vec::new(), problem }
    }
}

/// All that is wrong with a layer on its own.
pub(crate) fn check(layer: &Layer) -> Vec<Fault> {
    let mut faults = Vec::new();
    check_table(layer, &layer.tree, &mut Vec::new(), &mut faults);
    // A file is read from its top to its end, also by whoever corrects it.
    faults.sort_by_key(|fault| fault.problem.place.rsplit(':').next().and_then(|line| line.parse::<usize>().ok()));
    faults
}

fn check_table(layer: &Layer, table: &Dict, path: &mut Vec<String>, faults: &mut Vec<Fault>) {
    for (key, value) in table {
        path.push(key.clone());
        let problem = match (probe::ask(path), value) {
            (Answer::Wants(Kind::Struct(_) | Kind::Map), Value::Dict(_, below)) => {
                check_table(layer, below, path, faults);
                None
            }
            (Answer::Wants(Kind::Struct(_) | Kind::Map), _) => Some(("a value where a table belongs".to_owned(), String::new())),
            (Answer::Wants(Kind::Choice(words)), value) => wrong_choice(value, words),
            (Answer::Wants(kind), value) => wrong_value(probe::judge(path, value), kind),
            (Answer::Unknown { known }, _) => {
                let from_environment = layer.place(path).starts_with("environment");
                let written = |path: &[String]| if from_environment { variable(path) } else { dotted(path) };
                Some(("unknown key".to_owned(), nearest::advice(path, known, written)))
            }
            (answer, _) => Some((answer.to_string(), String::new())),
        };
        if let Some((what, help)) = problem {
            faults.push(Fault { path: path.clone(), problem: Problem::new(layer.place(path), dotted(path), what, help) });
        }
        path.pop();
    }
}

fn wrong_choice(value: &Value, words: &[&'static str]) -> Option<(String, String)> {
    let choice = words.join(", ");
    match value {
        Value::String(_, word) if words.contains(&word.as_str()) => None,
        Value::String(_, word) => {
            let help = nearest::nearest(word, words.iter().copied()).map_or_else(String::new, |near| format!("did you mean {near}?"));
            Some((format!("{word:?} is none of {choice}"), help))
        }
        _ => Some((format!("expects one of {choice}, in quotes"), String::new())),
    }
}

fn wrong_value(answer: Answer, kind: Kind) -> Option<(String, String)> {
    match answer {
        Answer::Fits => None,
        Answer::WrongKind { found, expected } => Some((format!("expects {}, found {found}", expected), String::new())),
        // Texts of a type's own may show the value.
        Answer::Invalid(_) if kind == Kind::Secret => Some(("is not a value for it".to_owned(), String::new())),
        Answer::Unknown { known } => Some(("holds an unknown key".to_owned(), format!("the keys here are {}", known.join(", ")))),
        answer => Some((answer.to_string(), String::new())),
    }
}

/// The environment variable that sets a key.
pub(crate) fn variable(path: &[String]) -> String {
    format!("{PREFIX}{}", path.join("__").to_ascii_uppercase())
}
