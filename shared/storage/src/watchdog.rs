//! Whether anything still moves.

use std::time::Duration;

use tokio::time::Instant;

/// Returns once `position` has not changed for `limit`.
pub async fn stalled<P: PartialEq>(position: impl Fn() -> P, limit: Duration) {
    let mut seen = (position(), Instant::now());
    loop {
        tokio::time::sleep((limit / 20).max(Duration::from_millis(50))).await;
        let now = position();
        if now != seen.0 {
            seen = (now, Instant::now());
        } else if seen.1.elapsed() >= limit {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[tokio::test]
    async fn it_returns_when_nothing_moves_and_not_before() {
        let position = AtomicU64::new(0);
        let moving = async {
            for step in 1..=6 {
                tokio::time::sleep(Duration::from_millis(100)).await;
                position.store(step, Ordering::Relaxed);
            }
        };
        let begun = Instant::now();
        let (_, ()) = tokio::join!(moving, stalled(|| position.load(Ordering::Relaxed), Duration::from_millis(300)));
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(850) && took < Duration::from_secs(5), "{took:?}");
    }
}
