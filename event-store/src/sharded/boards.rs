//! `Boards` over all shards.

use std::collections::BTreeSet;
use std::future::Future;

use futures_util::future::{join_all, try_join_all};
use futures_util::stream::{self, BoxStream, SelectAll, StreamExt as _};
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tsunagi_bus::{Cursor, Region};
use tsunagi_chassis::Refused;
use tsunagi_proto::v1;
use tsunagi_proto::v1::boards_client::BoardsClient;
use tsunagi_proto::v1::boards_server::Boards;
use tsunagi_proto::v1::watch_board_response::Frame as Sign;

use super::{ANSWER_BYTES_MAX, Others, is_forwarded, to_all};
use crate::boards::{
    BoardsService, Frames, arrange_caseload, arrange_liaison, arrange_team, day_text,
};

/// The service.
#[derive(Clone)]
pub struct ShardedBoards {
    own: BoardsService,
    region: Region,
    others: Others,
}

/// A shard's signs. None: it gives no more.
type Signs = BoxStream<'static, (usize, Option<Result<v1::WatchBoardResponse, Status>>)>;

/// A board that is watched in all shards.
struct Watched {
    region: Region,
    others: Others,
    /// The shards of which nothing was heard, if it is not known where they begin.
    beginning: Vec<Signs>,
    signs: SelectAll<Signs>,
    /// What the caller was told of, or does not concern the board, in all shards.
    seen: Cursor,
    /// Shards that have not yet told all that was stored when they were asked.
    behind: usize,
}

impl Watched {
    /// The next sign, with the cursor of all shards.
    async fn next(&mut self) -> Result<v1::WatchBoardResponse, Status> {
        if !self.beginning.is_empty() {
            return self.begin().await;
        }
        loop {
            // Each ends by saying so; then there is no more here either.
            let (place, sign) = self.signs.next().await.unwrap_or((0, None));
            let frame = self.see(place, sign)?;
            if matches!(frame, Some(Sign::CaughtUp(_))) && self.behind > 0 {
                continue;
            }
            return Ok(self.sign(frame));
        }
    }

    /// The first sign of each shard, as one: whoever goes on from a cursor that lacks a shard
    /// would be told all that ever was in it.
    async fn begin(&mut self) -> Result<v1::WatchBoardResponse, Status> {
        let mut beginning = std::mem::take(&mut self.beginning);
        let first = join_all(beginning.iter_mut().map(|signs| signs.next())).await;
        self.signs = stream::select_all(beginning);
        let mut patient_ids = BTreeSet::new();
        for (place, sign) in first.into_iter().map(|sign| sign.unwrap_or((0, None))) {
            match self.see(place, sign)? {
                Some(Sign::Changed(changed)) => patient_ids.extend(changed.patient_ids),
                Some(Sign::CaughtUp(_) | Sign::Heartbeat(_)) | None => {}
            }
        }
        let frame = if !patient_ids.is_empty() {
            Sign::Changed(v1::BoardChanged { patient_ids: patient_ids.into_iter().collect() })
        } else if self.behind == 0 {
            Sign::CaughtUp(v1::CaughtUp {})
        } else {
            Sign::Heartbeat(v1::Heartbeat {})
        };
        Ok(self.sign(Some(frame)))
    }

    /// Takes in how far a shard's sign is, and what it says.
    fn see(
        &mut self,
        place: usize,
        sign: Option<Result<v1::WatchBoardResponse, Status>>,
    ) -> Result<Option<Sign>, Status> {
        let shard = self.others.shard(place);
        let sign = sign.ok_or_else(|| shard.away())?;
        let sign = sign.map_err(|status| self.others.told(place, status))?;
        let seen = self.region.read_cursor(&sign.cursor).map_err(Refused::from)?;
        for position in shard.part_of(&seen).positions() {
            self.seen.advance(position);
        }
        if matches!(sign.frame, Some(Sign::CaughtUp(_))) {
            self.behind = self.behind.saturating_sub(1);
        }
        Ok(sign.frame)
    }

    fn sign(&self, frame: Option<Sign>) -> v1::WatchBoardResponse {
        v1::WatchBoardResponse { frame, cursor: self.region.cursor_text(&self.seen) }
    }
}

/// What all shards answered, and the cursor that has seen all of it.
struct Gathered<A> {
    answers: Vec<A>,
    cursor: String,
}

impl ShardedBoards {
    pub fn new(own: BoardsService, region: Region, others: Others) -> Self {
        Self { own, region, others }
    }

    /// Asks all shards the same.
    async fn gather<M, A, F>(
        &self,
        (metadata, message): (&MetadataMap, &M),
        ask: impl Fn(Option<BoardsClient<Channel>>, Request<M>) -> F,
        cursor_of: impl Fn(&A) -> &str,
    ) -> Result<Gathered<A>, Status>
    where
        M: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let asked = self.others.all().map(|(place, other)| {
            let other =
                other.map(|it| BoardsClient::new(it).max_decoding_message_size(ANSWER_BYTES_MAX));
            let answer = ask(other, to_all(metadata, message.clone()));
            async move { answer.await.map_err(|status| self.others.told(place, status)) }
        });
        let answers = try_join_all(asked).await?.into_iter().map(Response::into_inner);
        let answers: Vec<A> = answers.collect();
        let mut seen = Cursor::start();
        for (place, answer) in answers.iter().enumerate() {
            let cursor = self.region.read_cursor(cursor_of(answer)).map_err(Refused::from)?;
            for position in self.others.shard(place).part_of(&cursor).positions() {
                seen.advance(position);
            }
        }
        Ok(Gathered { answers, cursor: self.region.cursor_text(&seen) })
    }

    /// The day that counts as today is the same for all shards. That of a moment is told by it.
    fn day(&self, named: String, as_known_at: Option<&prost_types::Timestamp>) -> String {
        if named.is_empty() && as_known_at.is_none() {
            day_text(None, &self.region.zone)
        } else {
            named
        }
    }
}

#[tonic::async_trait]
impl Boards for ShardedBoards {
    type WatchBoardStream = Frames;

    async fn watch_board(
        &self,
        request: Request<v1::WatchBoardRequest>,
    ) -> Result<Response<Frames>, Status> {
        if is_forwarded(request.metadata()) {
            return self.own.watch_board(request).await;
        }
        let (metadata, _extensions, message) = request.into_parts();
        let seen = self.region.read_cursor(&message.cursor).map_err(Refused::from)?;
        let asked = self.others.all().map(|(place, other)| {
            let request = to_all(&metadata, message.clone());
            async move {
                let signs = match other {
                    Some(other) => {
                        let signs = BoardsClient::new(other).watch_board(request).await;
                        let signs = signs.map_err(|status| self.others.told(place, status))?;
                        signs.into_inner().boxed()
                    }
                    None => self.own.watch_board(request).await?.into_inner().boxed(),
                };
                let signs = signs.map(Some).chain(stream::once(std::future::ready(None)));
                Ok::<_, Status>(signs.map(move |sign| (place, sign)).boxed())
            }
        });
        let signs = try_join_all(asked).await?;
        let behind = signs.len();
        // Without a cursor, each begins at its end, and says where that is.
        let (beginning, signs) =
            if message.cursor.is_empty() { (signs, Vec::new()) } else { (Vec::new(), signs) };
        let (region, others) = (self.region.clone(), self.others.clone());
        let signs = stream::select_all(signs);
        let watched = Watched { region, others, beginning, signs, seen, behind };
        let frames = stream::try_unfold(watched, |mut watched| async move {
            Ok(Some((watched.next().await?, watched)))
        });
        Ok(Response::new(Box::pin(frames)))
    }

    async fn read_liaison_board(
        &self,
        request: Request<v1::ReadLiaisonBoardRequest>,
    ) -> Result<Response<v1::ReadLiaisonBoardResponse>, Status> {
        if is_forwarded(request.metadata()) {
            return self.own.read_liaison_board(request).await;
        }
        let (metadata, _extensions, mut message) = request.into_parts();
        message.on_day = self.day(message.on_day, message.as_known_at.as_ref());
        let ask = |other: Option<BoardsClient<Channel>>, request| async move {
            match other {
                Some(mut other) => other.read_liaison_board(request).await,
                None => self.own.read_liaison_board(request).await,
            }
        };
        let gathered = self.gather((&metadata, &message), ask, |board: &Liaison| &board.cursor);
        let Gathered { answers, cursor } = gathered.await?;
        let mut whole = v1::ReadLiaisonBoardResponse { cursor, ..Default::default() };
        for board in answers {
            whole.expected.extend(board.expected);
            whole.admitted.extend(board.admitted);
            whole.planned_discharges.extend(board.planned_discharges);
            whole.transfers_waiting.extend(board.transfers_waiting);
            whole.is_cut |= board.is_cut;
        }
        arrange_liaison(&mut whole, &self.region.zone);
        Ok(Response::new(whole))
    }

    async fn read_team_board(
        &self,
        request: Request<v1::ReadTeamBoardRequest>,
    ) -> Result<Response<v1::ReadTeamBoardResponse>, Status> {
        if is_forwarded(request.metadata()) {
            return self.own.read_team_board(request).await;
        }
        let (metadata, _extensions, message) = request.into_parts();
        let ask = |other: Option<BoardsClient<Channel>>, request| async move {
            match other {
                Some(mut other) => other.read_team_board(request).await,
                None => self.own.read_team_board(request).await,
            }
        };
        let gathered = self.gather((&metadata, &message), ask, |board: &Team| &board.cursor);
        let Gathered { answers, cursor } = gathered.await?;
        let mut whole = v1::ReadTeamBoardResponse { cursor, ..Default::default() };
        for board in answers {
            whole.patients.extend(board.patients);
            whole.is_cut |= board.is_cut;
        }
        arrange_team(&mut whole);
        Ok(Response::new(whole))
    }

    async fn read_caseload_board(
        &self,
        request: Request<v1::ReadCaseloadBoardRequest>,
    ) -> Result<Response<v1::ReadCaseloadBoardResponse>, Status> {
        if is_forwarded(request.metadata()) {
            return self.own.read_caseload_board(request).await;
        }
        let (metadata, _extensions, mut message) = request.into_parts();
        message.on_day = self.day(message.on_day, message.as_known_at.as_ref());
        let ask = |other: Option<BoardsClient<Channel>>, request| async move {
            match other {
                Some(mut other) => other.read_caseload_board(request).await,
                None => self.own.read_caseload_board(request).await,
            }
        };
        let gathered = self.gather((&metadata, &message), ask, |board: &Caseload| &board.cursor);
        let Gathered { answers, cursor } = gathered.await?;
        let mut whole = v1::ReadCaseloadBoardResponse { cursor, ..Default::default() };
        for board in answers {
            whole.cases.extend(board.cases);
            whole.referrals_waiting.extend(board.referrals_waiting);
            whole.contacts_asked.extend(board.contacts_asked);
            whole.is_cut |= board.is_cut;
        }
        arrange_caseload(&mut whole, &self.region.zone);
        Ok(Response::new(whole))
    }
}

type Liaison = v1::ReadLiaisonBoardResponse;
type Team = v1::ReadTeamBoardResponse;
type Caseload = v1::ReadCaseloadBoardResponse;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tsunagi_bus::{Position, Slot};
    use tsunagi_chassis::Config;
    use tsunagi_chassis::config::Values;
    use tsunagi_domain::Zone;
    use uuid::Uuid;

    use super::*;

    const SLOTS: u16 = 2;

    /// The first of two shards watches both, of which each gives these signs.
    fn watched(signs: &[Vec<(Sign, u64)>; 2], cursor: Option<Cursor>) -> Watched {
        let flags = [("shard", "1/2"), ("stores", "http://127.0.0.1:1,http://127.0.0.1:1")];
        let flags: BTreeMap<_, _> = flags.map(|(name, value)| (name, value.to_owned())).into();
        let config = Config::new(&Values::gather(&flags, None).unwrap()).unwrap();
        let region = Region {
            id: Uuid::from_u128(7),
            slots: SLOTS,
            zone_name: "UTC".into(),
            zone: Zone::utc(),
            course: 0,
            identifier_key: [0; 32],
        };
        let signs = [0, 1].map(|place: u16| {
            let of_shard = signs[usize::from(place)].clone().into_iter().map(|(frame, n)| {
                let cursor = region.cursor_text(&Cursor::at(Position { slot: Slot(place), n }));
                (
                    usize::from(place),
                    Some(Ok(v1::WatchBoardResponse { frame: Some(frame), cursor })),
                )
            });
            stream::iter(of_shard.collect::<Vec<_>>()).chain(stream::pending()).boxed()
        });
        let others = Others::new(SLOTS, &config, Vec::new()).unwrap();
        let (beginning, signs) =
            if cursor.is_none() { (signs.into(), Vec::new()) } else { (Vec::new(), signs.into()) };
        let signs = stream::select_all(signs);
        Watched { region, others, beginning, signs, seen: cursor.unwrap_or_default(), behind: 2 }
    }

    fn changed(patients: &[&str]) -> Sign {
        let patient_ids = patients.iter().map(ToString::to_string).collect();
        Sign::Changed(v1::BoardChanged { patient_ids })
    }

    async fn next(watched: &mut Watched) -> (Sign, [u64; 2]) {
        let sign = watched.next().await.unwrap();
        let seen = watched.region.read_cursor(&sign.cursor).unwrap();
        (sign.frame.unwrap(), [0, 1].map(|slot| seen.seen(Slot(slot))))
    }

    #[tokio::test]
    async fn the_first_sign_has_a_cursor_of_all_shards() {
        let caught_up = || Sign::CaughtUp(v1::CaughtUp {});
        let first = vec![(changed(&["a"]), 10), (caught_up(), 10), (changed(&["b"]), 11)];
        let mut both = watched(&[first.clone(), vec![(caught_up(), 70)]], None);
        assert_eq!(next(&mut both).await, (changed(&["a"]), [10, 70]));
        assert_eq!(next(&mut both).await, (caught_up(), [10, 70]));
        assert_eq!(next(&mut both).await, (changed(&["b"]), [11, 70]));
        let mut quiet = watched(&[vec![(caught_up(), 10)], vec![(caught_up(), 70)]], None);
        assert_eq!(next(&mut quiet).await, (caught_up(), [10, 70]));
        let late = vec![(changed(&["z"]), 70), (caught_up(), 70)];
        let mut late = watched(&[first.clone(), late], None);
        assert_eq!(next(&mut late).await, (changed(&["a", "z"]), [10, 70]));
        // Whoever has a cursor waits for nobody.
        let silent =
            watched(&[first, Vec::new()], Some(Cursor::at(Position { slot: Slot(1), n: 60 })));
        assert_eq!(next(&mut { silent }).await, (changed(&["a"]), [10, 60]));
    }
}
