//! `escrow`: every key that backups need is in escrow, now.

use plana_backup::{
    escrow::{Escrow, FoundKey},
    preflight,
};
use plana_harness::{Context, Extra, Failure};
use plana_plan::name::printable;
use serde_json::{Value, json};

/// Puts every configured key into escrow that is not there, and says of each since when it is.
///
/// # Errors
/// When the configuration is wrong, or a key is in no escrow afterwards.
pub async fn escrow(context: Context) -> Result<(), Failure> {
    if context.config().escrow.keys.is_empty() {
        return Err(Failure::bad_config("keep any key: none is configured; name them in [escrow.keys.NAME]"));
    }
    let keys = Escrow::keep_all(&context).await.map_err(preflight::failure)?;
    let text: Vec<String> = keys.iter().map(line).collect();
    context.report().extra(Extra { key: "escrow", json: keys.iter().map(object).collect(), text: text.join("\n") });
    let lost: Vec<&str> = keys.iter().filter(|key| key.kept.is_err()).map(|key| key.name.as_str()).collect();
    if lost.is_empty() { Ok(()) } else { Err(Failure::failed(format!("keep {}: {}", lost.join(", "), reasons(&keys)))) }
}

fn reasons(keys: &[FoundKey]) -> String {
    let reasons: Vec<&str> = keys.iter().filter_map(|key| key.kept.as_ref().err().map(String::as_str)).collect();
    reasons.join("; ")
}

fn short(key: &FoundKey) -> String {
    key.fingerprint.map_or_else(String::new, |fingerprint| format!(" ({})", fingerprint.short()))
}

fn line(key: &FoundKey) -> String {
    let name = printable(&key.name);
    match &key.kept {
        Ok(kept) if kept.made.is_some() => format!("{name}{}: put into escrow", short(key)),
        Ok(kept) => format!("{name}{}: in escrow since {}", short(key), kept.since.format("%Y-%m-%d %H:%M:%S UTC")),
        Err(why) => format!("{name}{}: in no escrow: {}", short(key), printable(why)),
    }
}

fn object(key: &FoundKey) -> Value {
    json!({
        "name": key.name,
        "fingerprint": key.fingerprint.map(|fingerprint| fingerprint.to_string()),
        "since": key.kept.as_ref().ok().map(|kept| kept.since),
        "made": key.kept.as_ref().ok().and_then(|kept| kept.made.as_ref()).map(ToString::to_string),
        "error": key.kept.as_ref().err(),
    })
}
