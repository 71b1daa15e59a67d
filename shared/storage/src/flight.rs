//! One multipart upload with several parts on their way at once.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use tokio::task::{JoinError, JoinSet};

use crate::{
    contract::{PartReceipt, Stored, Upload},
    error::{Failure, Operation, StoreError},
    pace::Pace,
    writer::WriterOptions,
};

/// One multipart upload with several parts on their way at once. Dropping it stops them and completes nothing.
#[derive(Debug)]
pub(crate) struct Flight {
    key: String,
    upload: Arc<dyn Upload>,
    aloft: JoinSet<Result<PartReceipt, StoreError>>,
    landed: Vec<PartReceipt>,
    parts: u32,
    most: usize,
    pace: Pace,
    sent: Arc<AtomicU64>,
}

impl Flight {
    pub(crate) fn new(key: String, upload: Box<dyn Upload>, options: &WriterOptions) -> Self {
        Flight {
            key,
            upload: Arc::from(upload),
            aloft: JoinSet::new(),
            landed: Vec::new(),
            parts: 0,
            most: options.parts_in_flight.max(1),
            pace: options.pace.clone(),
            sent: Arc::clone(&options.sent),
        }
    }

    /// How many parts were launched.
    pub(crate) fn parts(&self) -> u32 {
        self.parts
    }

    pub(crate) fn is_aloft(&self) -> bool {
        !self.aloft.is_empty()
    }

    /// Sends a part on its way, after an earlier one has landed where too many are on theirs.
    pub(crate) async fn launch(&mut self, part: Bytes) -> Result<(), StoreError> {
        while self.aloft.len() >= self.most {
            self.land_one().await?;
        }
        self.parts += 1;
        let (number, upload, pace, sent) = (self.parts, Arc::clone(&self.upload), self.pace.clone(), Arc::clone(&self.sent));
        self.aloft.spawn(async move {
            let bytes = part.len() as u64;
            pace.wait(bytes).await;
            let receipt = upload.put_part(number, part).await?;
            sent.fetch_add(bytes, Ordering::Relaxed);
            Ok(receipt)
        });
        Ok(())
    }

    /// Waits for one part. May be cancelled.
    pub(crate) async fn land_one(&mut self) -> Result<(), StoreError> {
        match self.aloft.join_next().await {
            Some(landing) => self.note(landing),
            None => Ok(()),
        }
    }

    /// Takes in the parts that have landed already.
    pub(crate) fn land_ready(&mut self) -> Result<(), StoreError> {
        while let Some(landing) = self.aloft.try_join_next() {
            self.note(landing)?;
        }
        Ok(())
    }

    fn note(&mut self, landing: Result<Result<PartReceipt, StoreError>, JoinError>) -> Result<(), StoreError> {
        let receipt = landing
            .map_err(|error| StoreError::Other(Failure::new(Operation::Put, &self.key, format!("a part's task ended early: {error}"))))
            .flatten();
        match receipt {
            Ok(receipt) => {
                self.landed.push(receipt);
                Ok(())
            }
            Err(error) => {
                // The others would only waste the line.
                self.aloft.abort_all();
                Err(error)
            }
        }
    }

    /// Waits for all parts and makes the object of them.
    pub(crate) async fn complete(&mut self) -> Result<(String, Stored), StoreError> {
        while self.is_aloft() {
            self.land_one().await?;
        }
        self.landed.sort_by_key(|receipt| receipt.number);
        let whole = self.landed.iter().map(|receipt| receipt.number).eq(1..=self.parts);
        if !whole {
            let cause = format!("{} of {} parts have arrived", self.landed.len(), self.parts);
            return Err(StoreError::Corrupt(Failure::new(Operation::Complete, &self.key, cause)));
        }
        let stored = self.upload.complete(&self.landed).await?;
        Ok((self.key.clone(), stored))
    }

    /// Stops what is on its way and frees what has arrived.
    pub(crate) async fn abort(mut self) -> Result<(), StoreError> {
        self.aloft.shutdown().await;
        self.upload.abort().await
    }
}
