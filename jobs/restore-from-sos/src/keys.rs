//! The keys that a set needs besides itself: asked for, and compared with the fingerprints that its manifest names.

use plana_backup::escrow::take_fingerprint;
use plana_config::{ConfigError, Problem, Secret};
use plana_drill::Refusal;
use plana_harness::Context;
use plana_plan::{
    escrow::{Fingerprint, FingerprintError, is_key_name},
    manifest::RequiredKey,
    name::printable,
};
use plana_restore::{OpenSet, RestoreError};

use crate::args::KeyArgs;

/// How a key that a set needs stands to the one at hand.
enum Found {
    Same,
    Other,
    None,
    /// There is one, and nobody can say whether it is the right one.
    Uncertain(String),
}

/// Refuses unless every key that the set needs is at hand and is the right one; gives what deserves attention.
///
/// # Errors
/// When one is not at hand, or is another: refused before anything is begun. When a file that was named cannot be used.
pub async fn require(context: &Context, args: &KeyArgs, set: &OpenSet) -> Result<Vec<String>, Refusal> {
    let (mut warnings, mut lacking) = (Vec::new(), Vec::new());
    for key in &set.manifest.requires_key {
        if args.without_key {
            warnings.push(format!("it needs the key {}, which was not asked for (--without-key)", printable(&key.name)));
            continue;
        }
        match find(context, args, key).await? {
            Found::Same => tracing::info!("the key {} is the one that {} needs", printable(&key.name), set.key),
            Found::Uncertain(why) => warnings.push(why),
            Found::Other => lacking.push(other(key)),
            Found::None => lacking.push(none(key)),
        }
    }
    if lacking.is_empty() {
        return Ok(warnings);
    }
    if context.dry_run() {
        warnings.extend(lacking);
        return Ok(warnings);
    }
    Err(RestoreError::Refused(format!(
        "restore {}: {}; or give --without-key, if its content is of use without",
        set.key,
        lacking.join("; ")
    ))
    .into())
}

/// Compares the keys that are at hand; that one is not is worth a warning only, since nothing is restored.
///
/// # Errors
/// When a key is another than the one that the set needs, or cannot be read.
pub async fn compare(context: &Context, args: &KeyArgs, set: &OpenSet) -> Result<Vec<String>, RestoreError> {
    let mut warnings = Vec::new();
    for key in set.manifest.requires_key.iter().filter(|_| !args.without_key) {
        match find(context, args, key).await.map_err(|error| RestoreError::Refused(error.to_string()))? {
            Found::Same => {}
            Found::Uncertain(why) => warnings.push(why),
            Found::Other => return Err(RestoreError::Mismatch { set: set.key.to_string(), what: other(key) }),
            Found::None => warnings.push(format!("it needs the key {}, which is not at hand and was not compared", printable(&key.name))),
        }
    }
    Ok(warnings)
}

async fn find(context: &Context, args: &KeyArgs, key: &RequiredKey) -> Result<Found, Refusal> {
    // The name comes out of a manifest, and leads to a file and a variable.
    if !is_key_name(&key.name) {
        return Ok(Found::Uncertain(format!(
            "its manifest says that it needs the key `{}`, and no key can be called so",
            printable(&key.name)
        )));
    }
    let Some(secret) = secret(context, args, &key.name).map_err(|error| Refusal::Setup(error.into()))? else { return Ok(Found::None) };
    let name = printable(&key.name);
    let named: Result<Fingerprint, FingerprintError> = key.fingerprint.parse();
    let Ok(named) = named else {
        return Ok(Found::Uncertain(format!(
            "whether the key {name} is the right one could not be told: its manifest says `{}`, which is no fingerprint that this version \
             knows",
            printable(&key.fingerprint)
        )));
    };
    match take_fingerprint(&key.name, named.salt, &secret).await {
        Ok(taken) if taken == named => Ok(Found::Same),
        Ok(_) => Ok(Found::Other),
        Err(why) => Err(RestoreError::Internal(why).into()),
    }
}

/// The file of the command line, else where the configuration and the environment say.
fn secret(context: &Context, args: &KeyArgs, name: &str) -> Result<Option<Secret>, ConfigError> {
    let Some((_, file)) = args.key.iter().rev().find(|(named, _)| named == name) else {
        let (config, env) = (context.config(), context.env());
        // The configuration may be that of the host that makes the backups: here its variable need not be set.
        let named = config.escrow.keys.get(name).and_then(|key| key.secret_env.as_deref());
        return if named.is_some_and(|variable| env.get(variable).is_none()) { Ok(None) } else { config.escrow_secret(name, env) };
    };
    let wrong = |what: String| Problem::new(file.display().to_string(), "--key", what, "name the file that holds the key and nothing else");
    let text = std::fs::read_to_string(file).map_err(|error| wrong(format!("could not be read: {error}")))?;
    let key = text.trim_end_matches(['\n', '\r']);
    if key.is_empty() { Err(wrong("is empty".to_owned()).into()) } else { Ok(Some(Secret::new(key))) }
}

/// What gets the right key back.
fn recover(key: &RequiredKey) -> String {
    let name = printable(&key.name);
    let which = key.fingerprint.parse::<Fingerprint>().map_or_else(|_| String::new(), |fingerprint| format!("@{}", fingerprint.short()));
    format!("`restore-from-sos escrow recover {name}{which} --identity FILE --to KEYFILE`, then --key {name}=KEYFILE")
}

fn other(key: &RequiredKey) -> String {
    format!(
        "the key {} at hand is not the one that it was written with (fingerprint {}): what it protects would stay unreadable; get the right \
         one out of escrow: {}",
        printable(&key.name),
        printable(&key.fingerprint),
        recover(key)
    )
}

fn none(key: &RequiredKey) -> String {
    let name = printable(&key.name);
    format!(
        "parts of it are unreadable without the key {name} (fingerprint {}), which is not at hand: give --key {name}=FILE, or set the \
         variable {name}; it is in escrow: {}",
        printable(&key.fingerprint),
        recover(key)
    )
}
