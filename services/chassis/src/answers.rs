//! Answers that go on for as long as somebody reads: signs of life while nothing comes, and
//! one end when the server stops.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

use crate::refused::Refused;

/// The answers, with a heartbeat whenever none came for `silence_max`, to their end or the
/// server's.
pub fn follow<T: Send>(
    answers: impl Stream<Item = Result<T, Refused>> + Send,
    heartbeat: impl Fn() -> T + Send,
    silence_max: Duration,
    stop: CancellationToken,
) -> impl Stream<Item = Result<T, Status>> + Send {
    let state = (Box::pin(answers), heartbeat);
    let lively = stream::unfold(state, move |(mut answers, heartbeat)| async move {
        // What ends here is the wait for the next answer. The work on it goes on where it is,
        // inside `answers`: begun again at each heartbeat, it might never be done.
        let answer = match tokio::time::timeout(silence_max, answers.next()).await {
            Ok(answer) => answer?.map_err(Status::from),
            Err(_silence) => Ok(heartbeat()),
        };
        Some((answer, (answers, heartbeat)))
    });
    lively.take_until(stop.clone().cancelled_owned()).chain(end(stop))
}

/// How many answers that go on may be open at once.
#[derive(Debug, Clone)]
pub struct Open(Arc<Semaphore>);

impl Open {
    pub fn new(streams_max: usize) -> Self {
        Self(Arc::new(Semaphore::new(streams_max.min(Semaphore::MAX_PERMITS))))
    }

    /// The right to open one more, for as long as it is held.
    pub fn enter(&self) -> Result<OwnedSemaphorePermit, Refused> {
        Arc::clone(&self.0).try_acquire_owned().map_err(|_full| {
            let message = "as many streams are open as this server takes (open-streams): close one that nobody reads, or try again later";
            Refused::new(Code::ResourceExhausted, "SERVER_FULL", message)
        })
    }
}

/// The answers, which hold a right until they are let go of.
pub fn holding<T>(
    answers: impl Stream<Item = T> + Send,
    right: OwnedSemaphorePermit,
) -> impl Stream<Item = T> + Send {
    answers.map(move |answer| {
        let _held = &right;
        answer
    })
}

/// What stands behind the last answer: why there are no more, if the server stops.
pub fn end<T: Send>(stop: CancellationToken) -> impl Stream<Item = Result<T, Status>> + Send {
    stream::once(async move { stop.is_cancelled() })
        .filter_map(|stopped| async move { stopped.then(|| Err(stops().into())) })
}

/// The reason that a server gives when it stops.
pub const STOPS: &str = "SERVER_STOPS";

/// The refusal of a server that stops.
pub fn stops() -> Refused {
    let message = "the server stops: connect again, and go on from the last cursor or answer";
    Refused::new(Code::Unavailable, STOPS, message)
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::oneshot;
    use tonic_types::StatusExt as _;

    use super::*;

    const SILENCE_MAX: Duration = Duration::from_millis(1);

    type Answers = Pin<Box<dyn Stream<Item = Result<&'static str, Status>> + Send>>;

    fn followed(
        answers: impl Stream<Item = Result<&'static str, Refused>> + Send + 'static,
        stop: &CancellationToken,
    ) -> Answers {
        Box::pin(follow(answers, || "heartbeat", SILENCE_MAX, stop.clone()))
    }

    #[tokio::test]
    async fn work_that_takes_longer_than_a_heartbeat_is_begun_once_and_done() {
        let begun = Arc::new(AtomicUsize::new(0));
        let (done, read) = oneshot::channel::<()>();
        let answers = stream::once({
            let begun = Arc::clone(&begun);
            async move {
                begun.fetch_add(1, Ordering::Relaxed);
                read.await.unwrap();
                Ok("answer")
            }
        });
        let mut followed = followed(answers, &CancellationToken::new());
        for _ in 0..3 {
            assert_eq!(followed.next().await.unwrap().unwrap(), "heartbeat");
        }
        done.send(()).unwrap();
        while followed.next().await.unwrap().unwrap() == "heartbeat" {}
        assert_eq!(begun.load(Ordering::Relaxed), 1);
        assert!(followed.next().await.is_none(), "and nothing behind the end");
    }

    #[tokio::test]
    async fn answers_that_wait_end_when_the_server_stops() {
        let stop = CancellationToken::new();
        let mut followed = followed(stream::pending(), &stop);
        assert_eq!(followed.next().await.unwrap().unwrap(), "heartbeat");
        stop.cancel();
        let status = followed.next().await.unwrap().unwrap_err();
        assert_eq!(status.get_details_error_info().unwrap().reason, "SERVER_STOPS");
        assert!(followed.next().await.is_none());
    }

    #[tokio::test]
    async fn a_refusal_is_told_and_ends_the_answers() {
        let refused = Refused::new(Code::Unavailable, "LOG_UNREADABLE", "later");
        let mut followed = followed(stream::iter([Err(refused)]), &CancellationToken::new());
        let status = followed.next().await.unwrap().unwrap_err();
        assert_eq!(status.get_details_error_info().unwrap().reason, "LOG_UNREADABLE");
        assert!(followed.next().await.is_none());
    }
}
