//! One key: read, fingerprinted, looked for in the escrow store, and put there where it is not.

use bytes::Bytes;
use futures::TryStreamExt as _;
use plana_archive::{Recipients, SALT_BYTES, fingerprint};
use plana_config::{Secret, StoreName};
use plana_harness::{Context, Event};
use plana_plan::{
    SetNonce, Stamp,
    escrow::{Entry, EntryKey, Fingerprint, Salt, Standing, common_salt, standing},
    name::{encode, printable},
};
use plana_storage::{DynStore, PutMode, StoreError, listing, verify};
use serde_json::json;

use super::{FoundKey, Kept};
use crate::{
    setup::{self, SetupError},
    target::nonce,
};

/// age's own parts of an encrypted file, at the least: version line, one recipient, MAC line, nonce and tag.
const AGE_BYTES: u64 = 150;

/// What is kept of a name, as far as it is listed.
///
/// # Errors
/// When the store cannot be listed.
pub async fn list(store: &DynStore, prefix: &str) -> Result<Vec<Entry>, StoreError> {
    let entry = |object: plana_plan::inventory::ObjectMeta| {
        let key = EntryKey::parse(&object.key);
        std::future::ready(Ok(key.map(|key| Entry { key, bytes: object.size })))
    };
    match listing::objects(&**store, prefix).try_filter_map(entry).try_collect().await {
        // A directory that is made when the first key is put there.
        Err(StoreError::NoSuchBucket(_)) if store.url().starts_with("file:") => Ok(Vec::new()),
        listed => listed,
    }
}

/// The fingerprint of a key. Takes 64 MiB and half a second of another thread.
///
/// # Errors
/// When that thread died, in words.
pub async fn take_fingerprint(name: &str, salt: Salt, key: &Secret) -> Result<Fingerprint, String> {
    let (name, key) = (name.to_owned(), key.clone());
    let taken = tokio::task::spawn_blocking(move || fingerprint(&name, &salt.0, key.expose().as_bytes())).await;
    let digest = taken.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    Ok(Fingerprint { digest, salt })
}

/// Keeps keys in the escrow store, where there is one.
pub(super) struct Keeper<'a> {
    context: &'a Context,
    recipients: Recipients,
    store: Result<DynStore, String>,
}

impl<'a> Keeper<'a> {
    /// Opens the escrow store. What is wrong with it is a complaint of each key.
    pub(super) async fn open(context: &'a Context, recipients: Recipients) -> Self {
        let config = context.config();
        let store = if config.store.escrow.is_none() {
            Err("no escrow store is configured; name one in [store.escrow], another one than the backups'".to_owned())
        } else {
            let opened = setup::open_named_store(config, context.env(), StoreName::Escrow, !context.dry_run()).await;
            opened.map_err(|error: SetupError| format!("failed to {error}"))
        };
        Keeper { context, recipients, store }
    }

    /// Reads a key, and keeps it.
    pub(super) async fn keep(&self, name: &str) -> FoundKey {
        let missing = |why: String| FoundKey { name: name.to_owned(), fingerprint: None, kept: Err(why) };
        let secret = match self.context.config().escrow_secret(name, self.context.env()) {
            Ok(Some(secret)) => secret,
            Ok(None) => {
                return missing(format!(
                    "the key itself was not found; set the variable {0}, or provide the credential escrow.keys.{0}.secret, or name a file in \
                     escrow.keys.{0}.secret_file",
                    printable(name)
                ));
            }
            Err(error) => return missing(format!("failed to read the key: {error}")),
        };
        // A store that cannot be listed does not keep the fingerprint out of the manifest: the salt is a new one then.
        let entries = match &self.store {
            Ok(store) => list(store, &EntryKey::group_prefix(name)).await.map_err(|error| format!("failed to {error}")),
            Err(why) => Err(why.clone()),
        };
        let salt = match entries.as_ref().ok().and_then(|entries| common_salt(entries, name)) {
            Some(salt) => salt,
            None => {
                let mut salt = [0; SALT_BYTES];
                match getrandom::fill(&mut salt) {
                    Ok(()) => Salt(salt),
                    Err(error) => return missing(format!("no random number can be had: {error}")),
                }
            }
        };
        let fingerprint = match take_fingerprint(name, salt, &secret).await {
            Ok(fingerprint) => fingerprint,
            Err(why) => return missing(format!("its fingerprint could not be taken: {why}")),
        };
        let kept = match entries {
            Ok(entries) => self.kept(name, &fingerprint, &secret, &entries).await,
            Err(why) => Err(why),
        };
        FoundKey { name: name.to_owned(), fingerprint: Some(fingerprint), kept }
    }

    async fn kept(&self, name: &str, fingerprint: &Fingerprint, secret: &Secret, entries: &[Entry]) -> Result<Kept, String> {
        let recipients = SetNonce(self.recipients.condensed());
        let least_bytes = AGE_BYTES + secret.expose().len() as u64;
        let standing = standing(entries, name, fingerprint, recipients, least_bytes);
        if let Standing::Kept(since) = standing {
            return Ok(Kept { since: since.instant(), made: None });
        }
        let put = if self.context.dry_run() { Err("this is a dry run".to_owned()) } else { self.put(name, fingerprint, secret).await };
        match (put, standing) {
            (Ok(key), _) => {
                self.tell(&key, entries, standing);
                Ok(Kept { since: key.stamp.instant(), made: Some(key) })
            }
            // Somebody can open it: today's recipients cannot, and that is worth a warning and no more.
            (Err(why), Standing::ForOthers(since)) => {
                self.context.report().warn(format!(
                    "the key {} is in escrow for other recipients than escrow.recipients names today, and was not put there for these: {why}",
                    printable(name)
                ));
                Ok(Kept { since: since.instant(), made: None })
            }
            (Err(why), _) => Err(why),
        }
    }

    async fn put(&self, name: &str, fingerprint: &Fingerprint, secret: &Secret) -> Result<EntryKey, String> {
        let store = self.store.as_ref().map_err(Clone::clone)?;
        if self.recipients.is_empty() {
            return Err("escrow.recipients is empty; give age public keys whose private keys are offline".to_owned());
        }
        let sealed = self.recipients.seal(secret.expose().as_bytes()).map_err(|error| format!("failed to encrypt it: {error}"))?;
        let key = EntryKey {
            name: name.to_owned(),
            fingerprint: *fingerprint,
            stamp: Stamp::new(self.context.now()),
            recipients: SetNonce(self.recipients.condensed()),
            id: nonce().map_err(|error| format!("failed to {error}"))?,
        };
        let put = verify::put_verified(&**store, &key.to_string(), Bytes::from(sealed), PutMode::IfAbsent).await;
        put.map_err(|error| format!("failed to {error}"))?;
        Ok(key)
    }

    fn tell(&self, key: &EntryKey, entries: &[Entry], standing: Standing) {
        let why = match standing {
            Standing::ForOthers(_) => "it was there for other recipients",
            _ if entries.is_empty() => "it is the first of that name",
            _ => "it is another key than before: older backups need the older one, which stays in escrow",
        };
        let (name, short) = (printable(&key.name), key.fingerprint.short());
        tracing::info!(entry = %key, "the key {name} ({short}) was put into escrow: {why}");
        let data = json!({ "fingerprint": key.fingerprint.to_string(), "entry": key.to_string(), "why": why });
        self.context.events().send(Event::about("key.escrowed", format!("escrow/{}", encode(&key.name)), data));
    }
}
