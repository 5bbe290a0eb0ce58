//! To which trace a call belongs, as W3C Trace Context tells it: carried from a caller's request
//! to whatever is published for it. A trace is made of hexadecimal numbers, and tells of nobody.
//!
//! It goes with the task, and not as an argument: nothing is decided on it, and every door and
//! every step would have to hand it on.

use std::future::Future;
use std::task::{Context, Poll};

use http::HeaderMap;
use tokio::task::futures::TaskLocalFuture;
use tower::Service;

/// The header, and the gRPC metadata.
pub const TRACEPARENT: &str = "traceparent";

tokio::task_local! {
    static CURRENT: Option<Trace>;
}

/// A `traceparent`, which is what it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace(String);

impl Trace {
    /// None if it is no `traceparent`: then a trace begins anew, as the recommendation says. Of
    /// later versions, what this one knows is kept.
    pub fn parse(text: &str) -> Option<Self> {
        const DIGITS: [usize; 4] = [2, 32, 16, 2];
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let parts: Vec<&str> = text.split('-').collect();
        let (known, more) = parts.split_at_checked(DIGITS.len())?;
        let is_form = known
            .iter()
            .zip(DIGITS)
            .all(|(part, digits)| part.len() == digits && part.bytes().all(is_hex));
        let [version, trace, span, flags] = known else { return None };
        let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
        let is_version = *version == "00" && more.is_empty() || !["00", "ff"].contains(version);
        let is_one = is_form && is_version && !is_zero(trace) && !is_zero(span);
        is_one.then(|| Self(format!("00-{trace}-{span}-{flags}")))
    }

    /// That of the call that is being answered, if its caller named one.
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok().flatten()
    }

    /// That which a request names.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers.get(TRACEPARENT)?.to_str().ok()?)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Does work that belongs to a trace.
pub fn within<F: Future>(trace: Option<Trace>, work: F) -> TaskLocalFuture<Option<Trace>, F> {
    CURRENT.scope(trace, work)
}

/// A service whose calls belong to the traces that they name.
#[derive(Debug, Clone)]
pub struct Traced<S>(pub S);

impl<S, B> Service<http::Request<B>> for Traced<S>
where
    S: Service<http::Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = TaskLocalFuture<Option<Trace>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        within(Trace::of(request.headers()), self.0.call(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_no_trace_is_none() {
        assert_eq!(Trace::parse(GIVEN).unwrap().as_str(), GIVEN);
        for wrong in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-患者太郎76d43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(Trace::parse(wrong), None, "{wrong}");
        }
        let later = "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more";
        assert_eq!(Trace::parse(later).unwrap().as_str(), GIVEN);
    }

    #[tokio::test]
    async fn a_call_belongs_to_the_trace_that_it_names() {
        let answer = |_request: http::Request<()>| async {
            let trace = Trace::current().map(|trace| trace.as_str().to_owned());
            Ok::<_, std::convert::Infallible>(trace.unwrap_or_default())
        };
        let mut service = Traced(tower::service_fn(answer));
        let request = http::Request::builder().header(TRACEPARENT, GIVEN).body(()).unwrap();
        assert_eq!(service.call(request).await.unwrap(), GIVEN);
        let request = http::Request::builder().body(()).unwrap();
        assert_eq!(service.call(request).await.unwrap(), "");
        assert_eq!(Trace::current(), None, "outside of calls there is none");
    }
}
