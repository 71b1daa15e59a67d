//! What the documents tell people to type is what the jobs take, and what they link to is there.

use std::path::{Path, PathBuf};

use crate::{jobs, root, text};

/// Every document, by its path below the repository.
fn documents() -> Vec<String> {
    let mut found = vec!["README.md".to_owned(), "ARCHITECTURE.md".to_owned(), "CONTRIBUTING.md".to_owned(), "CHANGELOG.md".to_owned()];
    found.push("systemd/README.md".to_owned());
    let mut open = vec![root().join("docs")];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).expect("docs/") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path.strip_prefix(root()).expect("below").display().to_string());
            }
        }
    }
    found
}

/// The lines of a document's shell blocks, continued ones joined.
fn shell_lines(document: &str) -> Vec<String> {
    let (mut lines, mut inside, mut pending) = (Vec::new(), false, String::new());
    for line in document.lines() {
        match line.trim() {
            "```sh" => inside = true,
            "```" => inside = false,
            line if inside => match line.strip_suffix('\\') {
                Some(begun) => pending.push_str(begun),
                None => lines.push(std::mem::take(&mut pending) + line),
            },
            _ => {}
        }
    }
    lines
}

/// The calls of our jobs in a line: each the job's name and its words.
fn calls(line: &str) -> Vec<Vec<String>> {
    // What the shell would put there.
    let line = line.replace("$(date -u +%FT%TZ)", "2026-11-24T12:00:00Z");
    let words = shlex::split(&line).unwrap_or_else(|| panic!("not a line of a shell: {line}"));
    let ends = |word: &str| {
        ["|", "||", "&&", ";", "&", ")"].contains(&word) || word.starts_with('>') || word.starts_with("2>") || word.starts_with('<')
    };
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let name = word.rsplit('/').next().unwrap_or_default();
        // A package, a unit or an object of that name is no call.
        let is_argument =
            at > 0 && (["-p", "cp", "patch"].contains(&words[at - 1].as_str()) || word.contains("cronjob/") || words[at - 1] == "cronjob");
        if jobs::named(name).is_none() || is_argument {
            continue;
        }
        let rest = words[at + 1..].iter().take_while(|word| !ends(word)).cloned();
        found.push(std::iter::once(name.to_owned()).chain(rest).collect());
    }
    found
}

#[test]
fn every_command_line_is_one_that_its_job_takes() {
    let (mut tried, mut wrong) = (0, Vec::new());
    for document in documents() {
        for line in shell_lines(&text(&document)) {
            for call in calls(&line) {
                tried += 1;
                let words: Vec<&str> = call.iter().map(String::as_str).collect();
                wrong.extend(jobs::accepts(&words).err().map(|error| format!("{document}: {line}\n{error}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried >= 70, "only {tried} calls were found");
}

#[test]
fn calls_are_found_wherever_they_stand() {
    let found = calls(
        "PGUSER=postgres restore-from-sos list --at \"$(date -u +%FT%TZ)\" | xargs -I NAME restore-from-sos restore NAME > log && cargo build -p pg-dump-to-sos",
    );
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0], ["restore-from-sos", "list", "--at", "2026-11-24T12:00:00Z"]);
    assert_eq!(found[1], ["restore-from-sos", "restore", "NAME"]);
    assert!(calls("kubectl -n plana-jobs create job --from=cronjob/pg-dump-to-sos by-hand").is_empty());
}

/// The heading's anchor, as the forges make it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut tried = 0;
    for document in documents() {
        let here = text(&document);
        let directory = root().join(&document).parent().map(Path::to_path_buf).expect("a directory");
        for target in here.split("](").skip(1).filter_map(|rest| rest.split(')').next()).filter(|target| !target.contains("://")) {
            tried += 1;
            let (path, place) = target.split_once('#').map_or((target, None), |(path, place)| (path, Some(place)));
            let file: PathBuf = if path.is_empty() { root().join(&document) } else { directory.join(path) };
            assert!(file.exists(), "{document} links to {target}");
            if let Some(place) = place {
                let headings = std::fs::read_to_string(&file).expect("text");
                assert!(
                    headings.lines().filter(|line| line.starts_with('#')).any(|line| anchor(line) == place),
                    "{document} links to {target}"
                );
            }
        }
    }
    assert!(tried >= 40, "{tried}");
}
