//! `Boards` over all shards.

use std::future::Future;

use futures_util::future::try_join_all;
use futures_util::stream::{self, BoxStream, SelectAll, StreamExt as _};
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};
use tsunagi_bus::remote::NoAddress;
use tsunagi_bus::{Cursor, Region};
use tsunagi_chassis::{Config, Refused};
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

/// A board that is watched in all shards.
struct Watched {
    boards: ShardedBoards,
    signs: SelectAll<BoxStream<'static, (usize, Result<v1::WatchBoardResponse, Status>)>>,
    seen: Cursor,
    /// Shards that have not yet told all that was stored when they were asked.
    behind: usize,
}

impl Watched {
    /// The next sign, with the cursor of all shards. None when one of them has ended.
    async fn next(&mut self) -> Result<Option<v1::WatchBoardResponse>, Status> {
        loop {
            let Some((place, sign)) = self.signs.next().await else { return Ok(None) };
            let sign = sign.map_err(|status| self.boards.others.told(place, status))?;
            let seen = self.boards.region.read_cursor(&sign.cursor).map_err(Refused::from)?;
            for position in self.boards.others.shard(place).part_of(&seen).positions() {
                self.seen.advance(position);
            }
            if matches!(sign.frame, Some(Sign::CaughtUp(_))) {
                self.behind = self.behind.saturating_sub(1);
                if self.behind > 0 {
                    continue;
                }
            }
            let cursor = self.boards.region.cursor_text(&self.seen);
            return Ok(Some(v1::WatchBoardResponse { cursor, ..sign }));
        }
    }
}

/// What all shards answered, and the cursor that has seen all of it.
struct Gathered<A> {
    answers: Vec<A>,
    cursor: String,
}

impl ShardedBoards {
    pub fn new(own: BoardsService, region: Region, config: &Config) -> Result<Self, NoAddress> {
        let others = Others::new(region.slots, config)?;
        Ok(Self { own, region, others })
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
                Ok::<_, Status>(signs.map(move |sign| (place, sign)).boxed())
            }
        });
        let signs = try_join_all(asked).await?;
        let behind = signs.len();
        let signs = stream::select_all(signs);
        let watched = Watched { boards: self.clone(), signs, seen, behind };
        let frames = stream::try_unfold(watched, |mut watched| async move {
            let sign = watched.next().await?;
            Ok(sign.map(|sign| (sign, watched)))
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
            whole.is_cut |= board.is_cut;
        }
        arrange_caseload(&mut whole, &self.region.zone);
        Ok(Response::new(whole))
    }
}

type Liaison = v1::ReadLiaisonBoardResponse;
type Team = v1::ReadTeamBoardResponse;
type Caseload = v1::ReadCaseloadBoardResponse;
