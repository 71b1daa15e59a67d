//! Memory for parts, shared by all uploads and downloads of a run.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A permit stands for this many bytes: a semaphore counts to 2^29 on small machines.
const PERMIT_BYTES: u64 = 4096;

/// Memory for parts, shared by all uploads and downloads of a run.
///
/// A part's whole size is taken before its first byte is written, and given back when its last copy is dropped,
/// which is when it was sent or given up. No upload waits for memory while it holds what another needs: what an
/// upload holds is either being filled, which needs no more of it, or being sent. So uploads queue, and never
/// deadlock, however many share however small a budget. A download asks for its chunks in their order, so the one that
/// its reader waits for never waits for one behind it. But whoever uploads what it downloads needs two budgets: it waits
/// for memory with a chunk in hand.
#[derive(Clone)]
pub struct MemoryBudget {
    permits: Arc<Semaphore>,
    total: u32,
}

impl MemoryBudget {
    /// A budget of `bytes`, rounded down to 4 KiB and at least that.
    pub fn new(bytes: u64) -> Self {
        let most = u64::try_from(Semaphore::MAX_PERMITS).unwrap_or(u64::MAX).min(u64::from(u32::MAX));
        let total = u32::try_from((bytes / PERMIT_BYTES).clamp(1, most)).unwrap_or(u32::MAX);
        MemoryBudget { permits: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// All bytes of it.
    pub fn total_bytes(&self) -> u64 {
        u64::from(self.total) * PERMIT_BYTES
    }

    /// Bytes that no part holds at the moment.
    pub fn available_bytes(&self) -> u64 {
        self.permits.available_permits() as u64 * PERMIT_BYTES
    }

    /// Waits, in the order of asking, until a part of `bytes` fits. A part larger than the whole budget takes all of it.
    pub async fn part(&self, bytes: usize) -> PartBuffer {
        let wanted = u32::try_from((bytes as u64).div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX).clamp(1, self.total);
        // The semaphore is never closed, so there is always a permit in the end.
        let permit = Arc::clone(&self.permits).acquire_many_owned(wanted).await.ok();
        // Reserved, not touched: the system gives the pages as they are written, so small dumps use little.
        PartBuffer { content: Vec::with_capacity(bytes), size: bytes, permits: [permit, None] }
    }
}

impl fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryBudget({} of {} bytes free)", self.available_bytes(), self.total_bytes())
    }
}

/// What one upload or download may take of a budget: a number of parts of one size.
#[derive(Debug, Clone)]
pub struct PartSource {
    budget: MemoryBudget,
    own: Arc<Semaphore>,
    part_bytes: usize,
}

impl PartSource {
    /// For an upload that holds at most `parts` parts of `part_bytes` each, at least two: one is filled while another
    /// is sent.
    pub fn new(budget: MemoryBudget, part_bytes: u64, parts: usize) -> Self {
        let part_bytes = usize::try_from(part_bytes).unwrap_or(usize::MAX).max(1);
        PartSource { budget, own: Arc::new(Semaphore::new(parts.clamp(2, Semaphore::MAX_PERMITS))), part_bytes }
    }

    /// Waits until the upload may hold one more part, and until it fits the budget.
    pub async fn part(&self) -> PartBuffer {
        self.part_of(self.part_bytes).await
    }

    /// As [`PartSource::part`], but smaller: for the last chunk of what is read, whose size is known.
    pub(crate) async fn part_of(&self, bytes: usize) -> PartBuffer {
        let own = Arc::clone(&self.own).acquire_owned().await.ok();
        let mut part = self.budget.part(bytes.min(self.part_bytes)).await;
        part.permits[1] = own;
        part
    }
}

/// A part that is being filled.
#[derive(Debug)]
pub struct PartBuffer {
    content: Vec<u8>,
    size: usize,
    /// Of the budget, and of the upload's own share; held for as long as the memory is.
    permits: [Option<OwnedSemaphorePermit>; 2],
}

impl PartBuffer {
    /// Takes as much of `bytes` as fits, and tells how much.
    pub fn fill(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.size - self.content.len());
        self.content.extend_from_slice(&bytes[..taken]);
        taken
    }

    /// Whether no byte more fits.
    pub fn is_full(&self) -> bool {
        self.content.len() == self.size
    }

    /// Whether it holds no byte.
    pub fn is_empty(&self) -> bool {
        self.content.is_empty()
    }

    /// The part as it is sent, without a copy. Its memory returns to the budget with the last clone of it.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for PartBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.content
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn memory_returns_with_the_last_clone_of_a_part() {
        let budget = MemoryBudget::new(64 << 10);
        let mut part = budget.part(40 << 10).await;
        assert_eq!(budget.available_bytes(), 24 << 10);
        assert_eq!(part.fill(&[7; 50 << 10]), 40 << 10);
        assert!(part.is_full());
        let sent = part.freeze();
        let kept_for_a_retry = sent.slice(10..);
        drop(sent);
        assert!(budget.part(40 << 10).now_or_never().is_none(), "the clone still holds it");
        drop(kept_for_a_retry);
        assert!(budget.part(40 << 10).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_part_larger_than_the_budget_takes_all_of_it() {
        let budget = MemoryBudget::new(8 << 10);
        let part = budget.part(1 << 20).await;
        assert_eq!(budget.available_bytes(), 0);
        drop(part);
        assert_eq!(budget.available_bytes(), 8 << 10);
    }
}
