//! Blobs, once manifests and links have gone.
//!
//! All repositories are listed again first, and at least once a minute while blobs go: whatever is linked or referred to then stays,
//! also what somebody has pushed since the plan. Each blob is listed again before it goes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use futures::{TryStreamExt as _, future::join_all};
use plana_plan::mirror::{
    Content, Digest, MirrorStock, PlannedBlob,
    key::{BLOBS, MirrorKey, REPOSITORIES, read},
    protect::{protected, unread},
};
use plana_storage::StoreError;
use tokio_util::sync::CancellationToken;

use super::{MirrorPruner, listing::list_part, read::read_manifests};
use crate::{
    apply::Applied,
    listing::{Listed, below},
};

/// For so long a listing of the repositories is good.
const FRESH: Duration = Duration::from_secs(60);
/// First bytes whose blobs are deleted side by side.
const AT_ONCE: usize = 8;

impl MirrorPruner {
    /// Deletes blobs. Those that something needs after all are in `changed`. Once the repositories cannot be listed, or a new
    /// manifest not be read, no more blobs go: those that are left count as failed.
    pub async fn delete_blobs(
        &self,
        doomed: &[&PlannedBlob],
        contents: &mut BTreeMap<Digest, Content>,
        cancel: &CancellationToken,
    ) -> Applied {
        let mut applied = Applied::default();
        // By their first byte: the layout keeps those together.
        let mut shards: BTreeMap<String, Vec<&PlannedBlob>> = BTreeMap::new();
        for blob in doomed {
            shards.entry(blob.id.hex().chars().take(2).collect()).or_default().push(blob);
        }
        let mut left = doomed.len();
        let mut stand: Option<(Instant, BTreeSet<Digest>)> = None;
        let shards: Vec<(String, Vec<&PlannedBlob>)> = shards.into_iter().collect();
        for together in shards.chunks(AT_ONCE) {
            if cancel.is_cancelled() {
                applied.cancelled = true;
                break;
            }
            let (since, needed) = match stand.take().filter(|(since, _)| since.elapsed() < FRESH) {
                Some(fresh) => fresh,
                None => match self.needed_now(contents).await {
                    Ok(needed) => (Instant::now(), needed),
                    Err(error) => {
                        applied.note_error(left, &error);
                        break;
                    }
                },
            };
            left -= together.iter().map(|(_, blobs)| blobs.len()).sum::<usize>();
            for of_shard in join_all(together.iter().map(|(short, blobs)| self.shard(short, blobs, &needed))).await {
                applied.add(of_shard);
            }
            stand = Some((since, needed));
        }
        applied
    }

    /// Deletes blobs of one first byte, but for those that are needed.
    async fn shard(&self, short: &str, blobs: &[&PlannedBlob], needed: &BTreeSet<Digest>) -> Applied {
        let mut applied = Applied::default();
        let (free, taken): (Vec<&PlannedBlob>, Vec<&PlannedBlob>) = blobs.iter().partition(|blob| !needed.contains(&blob.id));
        applied.changed.extend(taken.iter().map(|blob| blob.id.to_string()));
        match self.list_shard(short).await {
            Ok(now) => self.delete_shard(&free, now, &mut applied).await,
            Err(error) => applied.note_error(free.len(), &error),
        }
        applied
    }

    async fn needed_now(&self, contents: &mut BTreeMap<Digest, Content>) -> Result<BTreeSet<Digest>, StoreError> {
        let now = list_part(&*self.store, self.mode, REPOSITORIES).await?.stock;
        contents.extend(read_manifests(&*self.store, unread(&now, contents)).await?);
        Ok(protected(&now, contents))
    }

    async fn list_shard(&self, short: &str) -> Result<(MirrorStock, BTreeMap<Digest, Vec<Listed>>), StoreError> {
        let prefix = format!("{BLOBS}sha256/{short}/");
        let (mut stock, mut objects): (MirrorStock, BTreeMap<Digest, Vec<Listed>>) = Default::default();
        let mut listing = below(&*self.store, self.mode, &prefix);
        while let Some(listed) = listing.try_next().await? {
            stock.add(listed.entry());
            if let Some(MirrorKey::Blob(digest)) = read(&listed.key) {
                objects.entry(digest).or_default().push(listed);
            }
        }
        Ok((stock, objects))
    }

    async fn delete_shard(
        &self,
        blobs: &[&PlannedBlob],
        (stock, mut objects): (MirrorStock, BTreeMap<Digest, Vec<Listed>>),
        applied: &mut Applied,
    ) {
        let (mut owners, mut batch): (Vec<Digest>, Vec<Listed>) = Default::default();
        for blob in blobs {
            match stock.blobs.get(&blob.id) {
                None => applied.gone += 1,
                Some(facts) if *facts == blob.facts => {
                    for listed in objects.remove(&blob.id).unwrap_or_default() {
                        owners.push(blob.id);
                        batch.push(listed);
                    }
                }
                Some(_) => applied.changed.push(blob.id.to_string()),
            }
        }
        let all: BTreeSet<Digest> = owners.iter().copied().collect();
        let stayed: BTreeSet<Digest> = self.delete_objects(&batch, applied).await.into_iter().map(|at| owners[at]).collect();
        applied.deleted += (all.len() - stayed.len()) as u64;
    }
}
