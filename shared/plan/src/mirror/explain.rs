//! Everything that was weighed for one key, tag or digest.

use super::{
    digest::Digest,
    key::{MirrorKey, read},
    plan::{MirrorPlan, PlannedLink, RepositoryPlan},
    pulls::Pulled,
    stock::{Facts, Target},
    verdict::{Verdict, last_in_words},
};
use crate::retention::Explanation;

/// Explains a key of the store, `name:tag`, `name@digest`, or a blob's digest; `None` where nothing of it is listed.
pub fn explain(plan: &MirrorPlan, text: &str) -> Option<Explanation> {
    if let Ok(digest) = text.parse::<Digest>() {
        return blob(plan, digest);
    }
    match read(text) {
        Some(MirrorKey::Blob(digest)) => blob(plan, digest),
        Some(MirrorKey::Revision(name, digest)) => revision(of_name(plan, name)?, digest),
        Some(MirrorKey::Current(name, tag) | MirrorKey::Index(name, tag, _)) => of_tag(of_name(plan, name)?, tag),
        Some(MirrorKey::Layer(name, digest)) => {
            let link = of_name(plan, name)?.layers.iter().find(|link| link.id == digest)?;
            Some(of_link(format!("the link of {name} to {digest}"), link, Vec::new()))
        }
        Some(MirrorKey::Upload(name, id)) => {
            let upload = of_name(plan, name)?.uploads.iter().find(|upload| upload.id == id)?;
            Some(of_link(format!("the push {id} into {name}"), upload, Vec::new()))
        }
        Some(MirrorKey::Strange(_)) | None => match Pulled::parse(text) {
            Some(Pulled::Tag(name, tag)) => of_tag(of_name(plan, &name)?, &tag),
            Some(Pulled::Digest(Some(name), digest)) => revision(of_name(plan, &name)?, digest),
            _ => unknown(plan, text),
        },
    }
}

fn of_name<'a>(plan: &'a MirrorPlan, name: &str) -> Option<&'a RepositoryPlan> {
    plan.repositories.iter().find(|repository| repository.name == name)
}

fn listed(facts: &Facts) -> String {
    format!("{} bytes, changed at {}", facts.bytes, facts.latest_change.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
}

fn told(subject: String, verdict: &Verdict, lines: Vec<String>) -> Explanation {
    Explanation { subject, goes: verdict.is_delete(), lines, reason: verdict.reason() }
}

fn of_link<K>(subject: String, link: &PlannedLink<K>, mut lines: Vec<String>) -> Explanation {
    lines.insert(0, listed(&link.facts));
    told(subject, &link.verdict, lines)
}

fn revision(repository: &RepositoryPlan, digest: Digest) -> Option<Explanation> {
    let found = repository.revisions.iter().find(|revision| revision.digest == digest)?;
    let tags: Vec<&str> = repository.tags_of(digest).map(|tag| tag.name.as_str()).collect();
    let mut lines = vec![
        format!("its link: {}", listed(&found.facts)),
        format!("last activity: {}", last_in_words(found.last)),
        if tags.is_empty() { "no tag means it".to_owned() } else { format!("tags that mean it: {}", tags.join(", ")) },
    ];
    lines.extend(repository.unclear.iter().map(|(_, why)| format!("not understood in its repository: {why}")));
    Some(told(format!("{}@{digest}", repository.name), &found.verdict, lines))
}

fn of_tag(repository: &RepositoryPlan, name: &str) -> Option<Explanation> {
    let tag = repository.tags.iter().find(|tag| tag.name == name)?;
    let subject = format!("{}:{name}", repository.name);
    let means = match &tag.tag.target {
        Some(Target::Revision(digest)) => *digest,
        _ => {
            let (goes, reason) = (tag.goes, "what it means cannot be told".to_owned());
            return Some(Explanation { subject, goes, lines: Vec::new(), reason });
        }
    };
    match revision(repository, means) {
        Some(of_revision) => {
            let lines = [vec![format!("it means {means}")], of_revision.lines].concat();
            Some(Explanation { subject, goes: tag.goes, lines, reason: of_revision.reason })
        }
        None => {
            let reason = if tag.goes { "its manifest has gone long ago" } else { "its manifest is not there, and it is young" };
            Some(Explanation { subject, goes: tag.goes, lines: vec![format!("it means {means}")], reason: reason.to_owned() })
        }
    }
}

fn blob(plan: &MirrorPlan, digest: Digest) -> Option<Explanation> {
    let found = plan.blobs.iter().find(|blob| blob.id == digest)?;
    let of = |repository: &&RepositoryPlan| {
        repository.layers.iter().any(|link| link.id == digest) || repository.revisions.iter().any(|revision| revision.digest == digest)
    };
    let names: Vec<&str> = plan.repositories.iter().filter(of).map(|repository| repository.name.as_str()).collect();
    let of_names = if names.is_empty() { "no repository has it".to_owned() } else { format!("in {}", names.join(", ")) };
    Some(of_link(format!("the blob {digest}"), found, vec![of_names]))
}

fn unknown(plan: &MirrorPlan, key: &str) -> Option<Explanation> {
    let (key, facts) = plan.unknown.iter().find(|(known, _)| known == key)?;
    let reason = "nobody knows what it is, and it is kept".to_owned();
    Some(Explanation { subject: key.clone(), goes: false, lines: vec![listed(facts)], reason })
}
