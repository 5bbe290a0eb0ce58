//! How long a connection is waited for: as long as it may be silent, and for all of a message that
//! has begun no longer than that, nor for bytes of no message. Else a byte now and then would hold
//! a place for ever.

use std::time::Duration;

/// What is left of the time that a connection has. Only waiting for its bytes counts.
#[derive(Debug)]
pub(super) struct Patience {
    /// None for as long as it takes.
    whole: Option<Duration>,
    waited: Duration,
}

impl Patience {
    /// So many milliseconds; 0 for as long as it takes.
    pub(super) fn new(idle_ms: u64) -> Self {
        let whole = (idle_ms > 0).then(|| Duration::from_millis(idle_ms));
        Self { whole, waited: Duration::ZERO }
    }

    /// None if it takes longer than is left. Of no time left, nothing is taken that is there.
    pub(super) async fn wait<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        match self.left() {
            Some(Duration::ZERO) => None,
            Some(left) => tokio::time::timeout(left, work).await.ok(),
            None => Some(work.await),
        }
    }

    /// Counts what was waited for a part of a message, or for bytes of none.
    pub(super) fn waited(&mut self, time: Duration) {
        self.waited = self.waited.saturating_add(time);
    }

    /// A message has begun, or is there whole: it or the next one has all of the time.
    pub(super) fn renew(&mut self) {
        self.waited = Duration::ZERO;
    }

    fn left(&self) -> Option<Duration> {
        self.whole.map(|whole| whole.saturating_sub(self.waited))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_pieces_of_a_message_share_the_time_of_one_silence() {
        let mut patience = Patience::new(2_500);
        patience.waited(SECOND);
        patience.waited(SECOND);
        assert_eq!(patience.left(), Some(SECOND / 2));
        patience.waited(SECOND);
        assert_eq!(patience.left(), Some(Duration::ZERO));
        patience.renew();
        assert_eq!(patience.left(), Some(Duration::from_millis(2_500)));
        assert_eq!(Patience::new(0).left(), None, "for as long as it takes");
    }

    #[tokio::test]
    async fn who_has_used_up_the_time_is_not_heard_any_more() {
        let mut patience = Patience::new(2_500);
        assert_eq!(patience.wait(async { 1 }).await, Some(1));
        patience.waited(3 * SECOND);
        assert_eq!(patience.wait(async { 1 }).await, None);
        assert_eq!(Patience::new(0).wait(async { 1 }).await, Some(1));
    }
}
