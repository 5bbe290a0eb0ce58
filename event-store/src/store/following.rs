//! Reads the whole log in its order, as those do who follow it, and goes past what is damaged.

use std::sync::PoisonError;

use tsunagi_bus::{Cursor, Slot, Stored, StreamId, Unreadable};

use super::{FEED_BYTES, STREAM_PAGE_EVENTS, Store, event, placed, stored};
use crate::log::file::Patience;
use crate::log::frame::Header;
use crate::log::past::{self, Found};
use crate::log::scan::{Frame, Scanner};
use crate::log::segment::{SEGMENT_HEADER_BYTES, Segment};
use crate::log::{Location, LogError};

/// Where a reader of the whole log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogPoint(Location);

impl LogPoint {
    /// Before the first event of a segment.
    pub(crate) fn at_segment(number: u32) -> Self {
        Self(Location { segment: number, offset: SEGMENT_HEADER_BYTES })
    }
}

/// What was read of the whole log at a time.
pub(crate) enum Delivered {
    /// None: there are no more.
    Events(Vec<Stored>),
    Unreadable(Option<Unreadable>),
}

/// Events up to where reading ended, or stopped for some reason.
struct Walked<T> {
    events: Vec<T>,
    point: LogPoint,
    stopped: Option<LogError>,
}

impl<T> Walked<T> {
    fn stopped(events: Vec<T>, at: Location, error: LogError) -> Self {
        Self { events, point: LogPoint(at), stopped: Some(error) }
    }
}

impl Store {
    /// Where to begin reading the whole log to see everything that `cursor` has not seen.
    pub(crate) fn point_after(&self, cursor: &Cursor) -> LogPoint {
        let index = self.0.shared.index.read().unwrap_or_else(PoisonError::into_inner);
        let unseen = (0..self.0.region.slots)
            .filter_map(|slot| index.begin_of(slot, cursor.seen(Slot(slot)).saturating_add(1)));
        let durable = self.0.shared.durable();
        LogPoint(unseen.min().unwrap_or(durable).min(durable))
    }

    /// The events from `point` on, as many as are read at once, or the one thing there that cannot
    /// be read, and the point behind them.
    pub(crate) fn read_log(
        &self,
        point: LogPoint,
        patience: Patience,
    ) -> Result<(Delivered, LogPoint), LogError> {
        let Walked { events, point, stopped } = self.walk(point, patience, stored)?;
        match stopped {
            Some(error) if events.is_empty() => {
                if error.is_finding() && patience == Patience::FromMemory {
                    return Err(LogError::WouldWait);
                }
                self.pass(point, error)
            }
            // What stopped it is met at the beginning, the next time.
            Some(_) | None => Ok((Delivered::Events(events), point)),
        }
    }

    /// The same, as they lie on disk. Waits for it.
    pub(crate) fn read_frames(&self, point: LogPoint) -> Result<(Vec<Frame>, LogPoint), LogError> {
        let walked = self.walk(point, Patience::Wait, |_segment, frame| Ok(frame))?;
        walked.stopped.map_or(Ok((walked.events, walked.point)), Err)
    }

    /// The whole stream, without what is damaged of it: for those who must not stop at that for
    /// ever. The damage is told each time, and counted where the whole log is read.
    pub(crate) fn read_past(
        &self,
        stream: StreamId,
        patience: Patience,
    ) -> Result<Vec<Stored>, LogError> {
        let (mut events, mut after, mut is_damaged) = (Vec::new(), 0, false);
        while self.has_more(stream, after) {
            let max = if is_damaged { 1 } else { STREAM_PAGE_EVENTS };
            match self.read_page(stream, (after, max), patience) {
                Ok(page) if page.is_empty() => break,
                Ok(page) => {
                    after += u64::try_from(page.len()).unwrap_or(u64::MAX);
                    events.extend(page);
                }
                Err(error) if !error.is_finding() => return Err(error),
                Err(_) if patience == Patience::FromMemory => return Err(LogError::WouldWait),
                // It is one of these: they are read one by one up to it.
                Err(_) if !is_damaged => is_damaged = true,
                Err(error) => {
                    (after, is_damaged) = (after + 1, false);
                    tracing::error!(%stream, version = after, %error, "who reads a stream goes past what cannot be read");
                }
            }
        }
        Ok(events)
    }

    /// What lies at a point where reading stopped, and the point behind it. Damage is told and
    /// counted each time that somebody goes past it.
    fn pass(&self, point: LogPoint, error: LogError) -> Result<(Delivered, LogPoint), LogError> {
        if !error.is_finding() {
            return Err(error);
        }
        let segment = self.segment(point.0.segment)?;
        let (limit, _) = self.end_of(&segment, self.0.shared.durable())?;
        let behind = |offset| LogPoint(Location { offset, ..point.0 });
        let (header, end) = match past::look(&segment, point.0.offset, limit)? {
            Found::Frame(frame) => {
                let (header, end) = (frame.header, frame.end());
                if let Ok(stored) = stored(&segment, frame) {
                    return Ok((Delivered::Events(vec![stored]), behind(end)));
                }
                (Some(header), end)
            }
            Found::Damage { header, end } => (header, end),
        };
        self.count_damage(&error);
        let unreadable = header.as_ref().and_then(unreadable);
        let event_id = unreadable.map(|of| of.event.to_string()).unwrap_or_default();
        tracing::error!(event_id, %error, "who follows events goes past what cannot be read");
        Ok((Delivered::Unreadable(unreadable), behind(end)))
    }

    fn walk<T>(
        &self,
        point: LogPoint,
        patience: Patience,
        read: impl Fn(&Segment, Frame) -> Result<T, LogError>,
    ) -> Result<Walked<T>, LogError> {
        let durable = self.0.shared.durable();
        let mut at = point.0;
        let mut events = Vec::new();
        let mut bytes = 0;
        while at < durable {
            let segment = self.segment(at.segment)?;
            let (limit, next) = self.end_of(&segment, durable)?;
            let mut scanner = Scanner::new(&segment, at.offset, limit).with_patience(patience);
            loop {
                let frame = match scanner.read_frame() {
                    Ok(Some(frame)) => frame,
                    Ok(None) => break,
                    Err(error) => return Ok(Walked::stopped(events, at, error)),
                };
                let (frame_bytes, end) = (frame.header.frame_bytes(), frame.end());
                match read(&segment, frame) {
                    Ok(event) => events.push(event),
                    Err(error) => return Ok(Walked::stopped(events, at, error)),
                }
                (at.offset, bytes) = (end, bytes + frame_bytes);
                if events.len() >= self.0.subscribe_batch || bytes >= FEED_BYTES {
                    return Ok(Walked { events, point: LogPoint(at), stopped: None });
                }
            }
            at = next;
        }
        Ok(Walked { events, point: LogPoint(at), stopped: None })
    }
}

/// What a header says of its event. None if that is of a kind which this version does not know.
fn unreadable(header: &Header) -> Option<Unreadable> {
    let stream = StreamId::from_parts(header.stream_kind, header.stream_key)?;
    Some(Unreadable { stream, placed: placed(header), event: event(header) })
}
