//! A cap on the bytes per second of all uploads of a run together.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// A cap on the bytes per second of all uploads of a run together; the default has none.
///
/// A part waits for its turn and is then sent at full speed, so the cap holds on average and not within a part.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    cap: Option<(u64, Arc<Mutex<Instant>>)>,
}

impl Pace {
    /// At most `bytes_per_second`, at least one.
    pub fn capped(bytes_per_second: u64) -> Self {
        Pace { cap: Some((bytes_per_second.max(1), Arc::new(Mutex::new(Instant::now())))) }
    }

    /// Waits until `bytes` may be sent.
    pub async fn wait(&self, bytes: u64) {
        let Some((rate, free_at)) = &self.cap else { return };
        let turn = {
            let mut free_at = free_at.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = (*free_at).max(Instant::now());
            *free_at = turn + Duration::from_secs_f64(bytes as f64 / *rate as f64);
            turn
        };
        tokio::time::sleep_until(turn).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_cap_holds_over_several_senders() {
        let pace = Pace::capped(1_000_000);
        let begun = Instant::now();
        let send = || async {
            for _ in 0..5 {
                pace.wait(40_000).await
            }
        };
        tokio::join!(send(), send());
        // Ten turns of 40 ms, the first of which begins at once.
        assert!((350..700).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
        Pace::default().wait(u64::MAX).await;
    }
}
