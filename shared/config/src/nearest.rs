//! The right key that a wrong one was meant to be.

use crate::probe;

/// What a wrong key was meant to be: the words to go on with after what is wrong.
pub(crate) fn advice(path: &[String], known: &[&'static str], written: impl Fn(&[String]) -> String) -> String {
    let Some((wrong, table)) = path.split_last() else { return String::new() };
    let beside = |key: &str| written(&table.iter().cloned().chain([key.to_owned()]).collect::<Vec<_>>());
    if let Some(key) = nearest(wrong, known.iter().copied()) {
        return format!("did you mean {}?", beside(key));
    }
    // A right key in the wrong table.
    let all = probe::all_keys();
    let mut elsewhere = all.iter().filter(|(key, _)| key.last() == Some(wrong)).map(|(key, _)| key);
    if let Some(key) = elsewhere.next() {
        return format!("did you mean {}?", written(key));
    }
    format!("the keys here are {}", known.join(", "))
}

/// The word that is meant: at most two letters away, else the most similar one if it is similar at all.
pub(crate) fn nearest<'a>(wrong: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let wrong = wrong.to_ascii_lowercase().replace('-', "_");
    let close = known.clone().map(|word| (strsim::damerau_levenshtein(&wrong, word), word)).min_by_key(|(distance, _)| *distance);
    if let Some((distance, word)) = close
        && distance <= 2
        && distance < word.len()
    {
        return Some(word);
    }
    let alike = known.map(|word| (strsim::jaro_winkler(&wrong, word), word)).max_by(|a, b| a.0.total_cmp(&b.0));
    alike.filter(|(similarity, _)| *similarity >= 0.8).map(|(_, word)| word)
}
