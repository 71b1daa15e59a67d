//! What `check` says of keys: whether each can be read, and whether it is kept, by whom it can be opened, and what else the
//! store's key could do.

use plana_config::StoreName;
use plana_harness::{CheckLine, Context};
use plana_plan::{
    SetNonce,
    escrow::{EntryKey, Standing, common_salt, standing},
};
use plana_storage::{DynStore, Switch};

use super::{keep, require_apart};
use crate::{
    preflight::{needless_rights, problem},
    setup::{self, SetupError},
};

/// What is to be said of the keys that are configured; nothing where there are none. Changes nothing that matters.
pub async fn check_escrow(context: &Context) -> Vec<CheckLine> {
    let config = context.config();
    if let Err(error) = require_apart(config) {
        return vec![problem("escrow", error.into())];
    }
    if config.escrow.keys.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![recipients(context)];
    let store = match store(context).await {
        Ok(Some(store)) => {
            lines.extend(rights(&store).await);
            lines.extend(own_key(context));
            Some(store)
        }
        Ok(None) => {
            let advice = "name one in [store.escrow]: another bucket than the backups', with a key that may put and list";
            lines.push(CheckLine::warning("escrow store", "none is configured: keys are named in manifests and kept nowhere", advice));
            None
        }
        Err(error) => {
            lines.push(problem("escrow store", error));
            None
        }
    };
    for name in config.escrow.keys.keys() {
        lines.push(of_key(context, name, store.as_ref()).await);
    }
    lines
}

async fn store(context: &Context) -> Result<Option<DynStore>, SetupError> {
    let config = context.config();
    if config.store.escrow.is_none() {
        return Ok(None);
    }
    setup::open_named_store(config, context.env(), StoreName::Escrow, false).await.map(Some)
}

fn recipients(context: &Context) -> CheckLine {
    match setup::escrow_recipients(&context.config().escrow) {
        Err(error) => problem("escrow", error),
        Ok(keys) => match keys.to_strings().len() {
            0 => CheckLine::warning(
                "escrow",
                "keys are encrypted to nobody, and so not kept",
                "set escrow.recipients to age public keys whose private keys are offline (age-keygen makes a pair)",
            ),
            1 => CheckLine::warning(
                "escrow",
                "keys are encrypted to one recipient: without its private key they are lost",
                "add a second recipient, whose private key is kept in another place",
            ),
            n => CheckLine::ok("escrow", format!("keys are encrypted to {n} recipients")),
        },
    }
}

async fn rights(store: &DynStore) -> Vec<CheckLine> {
    let subject = "escrow store";
    if store.url().starts_with("file:") {
        let advice = "use an object store on another provider, or a directory that another host owns";
        return vec![CheckLine::warning(subject, format!("{}: this host can also delete what is in it", store.url()), advice)];
    }
    let mut lines = Vec::new();
    // Nothing is written there for a test: nobody would ever sweep it.
    match store.rights(false).await {
        Err(error) => return vec![problem(subject, error.into())],
        Ok(rights) => {
            for (may, name) in [(rights.put, "put objects"), (rights.list, "list the bucket")] {
                if may == Some(false) {
                    lines.push(CheckLine::problem(subject, format!("the key may not {name}"), "allow s3:PutObject and s3:ListBucket"));
                }
            }
            let advice = "give it a key of its own that may put and list only";
            let needless = needless_rights([(rights.read, "read"), (rights.delete, "delete")], advice);
            lines.extend(needless.map(|line| CheckLine { subject: subject.to_owned(), ..line }));
        }
    }
    if lines.is_empty() {
        lines.push(CheckLine::ok(subject, format!("{}: the key may put and list", store.url())));
    }
    if let Ok(safety) = store.safety().await
        && safety.versioning == Switch::Off
        && safety.object_lock != Switch::On
    {
        let advice = "turn on versioning (better, object lock): a stolen key could write over an entry, and only then is the old one there";
        lines.push(CheckLine::warning(subject, "an overwritten entry would be lost: versioning is off", advice));
    }
    lines
}

/// One key for both stores makes two stores one, for whoever takes it.
fn own_key(context: &Context) -> Option<CheckLine> {
    let access = |name| context.config().store_credentials(name, context.env()).ok()?.access_key_id;
    let (backups, escrow) = (access(StoreName::Backups)?, access(StoreName::Escrow)?);
    (backups == escrow).then(|| {
        let advice = "give [store.escrow] an access key of its own (credential store.escrow.access_key_id)";
        CheckLine::warning("escrow store", "it is entered with the same access key as the backups' store", advice)
    })
}

async fn of_key(context: &Context, name: &str, store: Option<&DynStore>) -> CheckLine {
    let subject = format!("key {name}");
    let secret = match context.config().escrow_secret(name, context.env()) {
        Err(error) => return problem(&subject, error.into()),
        Ok(None) => {
            let advice =
                format!("set the variable {name}, or provide the credential escrow.keys.{name}.secret, or name a file or a variable");
            return CheckLine::bad_config(subject, "the key itself was not found", advice);
        }
        Ok(Some(secret)) => secret,
    };
    let Some(store) = store else { return CheckLine::warning(subject, "it can be read, and is in no escrow", "see above") };
    let entries = match keep::list(store, &EntryKey::group_prefix(name)).await {
        Ok(entries) => entries,
        Err(error) => return problem(&subject, error.into()),
    };
    let missing = |what: &str| {
        CheckLine::warning(&subject, format!("{what} is in no escrow"), "the next run puts it there, or `pg-dump-to-sos escrow` now")
    };
    let Some(salt) = common_salt(&entries, name) else { return missing("it") };
    let fingerprint = match keep::take_fingerprint(name, salt, &secret).await {
        Ok(fingerprint) => fingerprint,
        Err(why) => return CheckLine::problem(subject, format!("its fingerprint could not be taken: {why}"), "try again"),
    };
    let recipients = setup::escrow_recipients(&context.config().escrow).map_or(0, |keys| keys.condensed());
    let short = fingerprint.short();
    match standing(&entries, name, &fingerprint, SetNonce(recipients), secret.expose().len() as u64) {
        Standing::Kept(since) => CheckLine::ok(subject, format!("today's key ({short}) is in escrow since {since}")),
        Standing::ForOthers(_) => missing(&format!("for today's recipients, today's key ({short})")),
        Standing::Missing => missing(&format!("today's key ({short})")),
    }
}
