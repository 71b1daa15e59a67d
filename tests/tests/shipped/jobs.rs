//! The jobs' own command lines, as clap has them.

use clap::Command;
pub use plana_scenarios::jobs as all;

/// The job of that name.
pub fn named(name: &str) -> Option<Command> {
    all().into_iter().find(|job| job.get_name() == name)
}

/// Whether the job's own parser takes the words, of which the first is the job's name; else what it says.
pub fn accepts(words: &[&str]) -> Result<(), String> {
    let job = words.first().and_then(|name| named(name)).ok_or_else(|| format!("{words:?} begins with no job"))?;
    // Where Kubernetes tells each pod its index, a test has none: 8 is then 0/8.
    let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    if let Some(at) = words.iter().position(|word| word == "--shard")
        && words.get(at + 1).is_some_and(|count| count.parse::<u32>().is_ok())
    {
        words[at + 1] = format!("0/{}", words[at + 1]);
    }
    job.try_get_matches_from(&words).map(drop).map_err(|error| format!("{}: {error}", words.join(" ")))
}

#[test]
fn it_tells_good_from_bad() {
    assert_eq!(accepts(&["pg-dump-to-sos", "--missing-within", "12h", "--shard", "8"]), Ok(()));
    for bad in [&["pg-dump-to-sos", "--no-such"][..], &["pg-dump", "check"], &["restore-from-sos", "drill", "--sample", "few"], &[]] {
        assert!(accepts(bad).is_err(), "{bad:?}");
    }
}
