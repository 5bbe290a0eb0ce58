//! The listener: connections, their limits, and the way of a message from frame to answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tsunagi_chassis::Config;
use tsunagi_chassis::config::Mllp;

use super::answer::{answers, batch_answer};
use super::certificate;
use super::frame::{Frame, Frames, framed, seems_ended};
use super::patience::Patience;
use super::tls;
use crate::adt::{Intake, Kind, MLLP, Outcome, Taken};
use crate::hl7::batch;

/// Bytes read at once: as many as most messages have, and each silent connection holds.
const READ_BYTES: usize = 4 << 10;
/// How long the handshake of TLS may take.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);
/// How long nothing is accepted after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why MLLP cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum MllpError {
    #[error(
        "{0} is not a loopback address, and senders could not prove who they are: take client certificates (mllp-client-ca), listen on 127.0.0.1 or [::1], or say --insecure-listen if the network itself keeps strangers out"
    )]
    NotLoopback(SocketAddr),
    #[error("cannot listen on {address} for MLLP: is another server running there?")]
    Bind { address: SocketAddr, source: std::io::Error },
    #[error("cannot use the file of `{setting}`")]
    Tls {
        setting: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A listener that is bound and not yet served.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    config: Mllp,
    stop_wait: Duration,
}

impl Server {
    /// Binds the listener, if the settings ask for one.
    pub async fn bind(config: &Config) -> Result<Option<Self>, MllpError> {
        let Some(address) = config.mllp.listen else { return Ok(None) };
        let proves = config.mllp.client_ca.is_some();
        if !address.ip().is_loopback() && !proves && !config.insecure_listen {
            return Err(MllpError::NotLoopback(address));
        }
        let tls = tls::acceptor(&config.mllp);
        let tls = tls.map_err(|(setting, source)| MllpError::Tls { setting, source })?;
        let bind_error = |source| MllpError::Bind { address, source };
        let listener = TcpListener::bind(address).await.map_err(bind_error)?;
        let address = listener.local_addr().map_err(bind_error)?;
        let stop_wait = Duration::from_millis(config.stop_wait_ms);
        Ok(Some(Self { listener, address, tls, config: config.mllp.clone(), stop_wait }))
    }

    /// Where it listens; with the port that port 0 turned into.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is cancelled; then what was read is answered, and no more is read.
    /// Who does not take an answer for `stop-wait-ms` gets none.
    pub async fn run(self, intake: Arc<Intake>, stop: CancellationToken) {
        let connections = Arc::new(Semaphore::new(self.config.connections));
        let config = Arc::new(self.config);
        let (tasks, cut) = (TaskTracker::new(), CancellationToken::new());
        loop {
            let accepted = tokio::select! {
                // Both may be cancelled: a connection that is not accepted yet is not lost.
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Of this one connection, or for want of descriptors: others go on, and
                    // until one of them ends the next try would fail at once.
                    tracing::warn!(%error, "an MLLP connection was not accepted");
                    tokio::select! {
                        () = tokio::time::sleep(ACCEPT_PAUSE) => continue,
                        () = stop.cancelled() => break,
                    }
                }
            };
            let Ok(place) = Arc::clone(&connections).try_acquire_owned() else {
                tracing::warn!(%peer, "an MLLP connection too many was closed");
                continue;
            };
            let connection = Connection {
                config: Arc::clone(&config),
                intake: Arc::clone(&intake),
                stop: stop.clone(),
                names: Vec::new(),
            };
            let (tls, cut) = (self.tls.clone(), cut.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = connection.serve(stream, peer, tls) => {}
                    // What was not acknowledged comes again.
                    () = cut.cancelled() => {
                        tracing::warn!(%peer, "an MLLP connection was cut at the end of the stop wait");
                    }
                }
                drop(place);
            });
        }
        tasks.close();
        if tokio::time::timeout(self.stop_wait, tasks.wait()).await.is_err() {
            cut.cancel();
            tasks.wait().await;
        }
    }
}

struct Connection {
    config: Arc<Mllp>,
    intake: Arc<Intake>,
    stop: CancellationToken,
    /// Whom the sender's certificate names.
    names: Vec<String>,
}

impl Connection {
    async fn serve(mut self, stream: TcpStream, peer: SocketAddr, tls: Option<TlsAcceptor>) {
        // Answers are small, and somebody waits for each.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "an MLLP connection goes on with delays");
        }
        let Some(tls) = tls else { return self.talk(stream, peer).await };
        match tokio::time::timeout(HANDSHAKE_WAIT, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
                self.names = chain.first().map(|own| certificate::names(own)).unwrap_or_default();
                self.talk(stream, peer).await;
            }
            Ok(Err(error)) => tracing::warn!(%peer, %error, "an MLLP client was not let in"),
            Err(_) => tracing::warn!(%peer, "an MLLP client did not finish its handshake"),
        }
    }

    async fn talk<S: AsyncRead + AsyncWrite>(&self, stream: S, peer: SocketAddr) {
        let (reader, writer) = tokio::io::split(stream);
        let (to_work, frames) = mpsc::channel(self.config.pipeline);
        let reading = std::pin::pin!(self.read(reader, to_work, peer));
        let mut answering = std::pin::pin!(self.answer(writer, frames, peer));
        tokio::select! {
            // Nobody takes answers any more: nothing more is read.
            () = &mut answering => {}
            // What was read is answered.
            () = reading => answering.await,
        }
    }

    /// Reads frames, as many ahead of the answers as are taken.
    async fn read(
        &self,
        mut reader: impl AsyncRead + Unpin,
        to_work: mpsc::Sender<Frame>,
        peer: SocketAddr,
    ) {
        let mut frames = Frames::new(self.config.frame_bytes);
        let mut bytes = vec![0; READ_BYTES];
        let mut patience = Patience::new(self.config.idle_ms);
        loop {
            let (began, was_inside) = (Instant::now(), frames.is_inside());
            let read = tokio::select! {
                // What was read is in the buffer or not read at all.
                read = patience.wait(reader.read(&mut bytes)) => read,
                () = self.stop.cancelled() => break,
            };
            let count = match read {
                Some(Ok(0)) | None => break,
                Some(Ok(count)) => count,
                Some(Err(error)) => {
                    tracing::debug!(%peer, %error, "an MLLP connection broke");
                    break;
                }
            };
            frames.push(bytes.get(..count).unwrap_or_default());
            // The silence before a message is none of its own. Bytes of no message are as silence.
            if was_inside || !frames.is_inside() {
                patience.waited(began.elapsed());
            } else {
                patience.renew();
            }
            while let Some(frame) = frames.take() {
                if !matches!(frame, Frame::Stray(_)) {
                    patience.renew();
                }
                if to_work.send(frame).await.is_err() {
                    return;
                }
            }
        }
        if let Some(rest) = frames.rest() {
            // If nobody works any more, there is nobody to keep it.
            let _unsent = to_work.send(rest).await;
        }
    }

    /// None if it takes longer than a connection may be silent.
    async fn patiently<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        Patience::new(self.config.idle_ms).wait(work).await
    }

    async fn answer(
        &self,
        mut writer: impl AsyncWrite + Unpin,
        mut frames: mpsc::Receiver<Frame>,
        peer: SocketAddr,
    ) {
        while let Some(frame) = frames.recv().await {
            let answer = self.take(frame, peer).await;
            if answer.is_empty() {
                continue;
            }
            let written = async {
                writer.write_all(&answer).await?;
                writer.flush().await
            };
            if !matches!(self.patiently(written).await, Some(Ok(()))) {
                tracing::warn!(%peer, "an answer was not taken: the message will come again");
                return;
            }
        }
        if let Err(error) = writer.shutdown().await {
            tracing::debug!(%peer, %error, "an MLLP connection was not closed in order");
        }
    }

    /// Takes what is in a frame, and gives the frames that answer it.
    async fn take(&self, frame: Frame, peer: SocketAddr) -> Vec<u8> {
        let bytes = match frame {
            Frame::Message(bytes) => bytes,
            Frame::TooLarge(beginning) => {
                let limit = self.config.frame_bytes;
                let taken = self.intake.refuse_large(&beginning, limit, MLLP).await;
                tell(&taken, peer);
                return in_frames(&answers(&taken));
            }
            Frame::Cut(bytes) => return self.take_cut(&bytes, peer).await,
            Frame::Stray(bytes) => {
                if let Err(refusal) = self.intake.keep_stray(&bytes, MLLP).await {
                    tracing::error!(%peer, reason = refusal.reason, "stray bytes were not kept");
                }
                tracing::warn!(%peer, bytes = bytes.len(), "bytes outside every MLLP frame");
                return Vec::new();
            }
        };
        let pieces = batch::messages(&bytes);
        if pieces.is_empty() {
            let taken = self.intake.take_of(&bytes, MLLP, &self.names).await;
            tell(&taken, peer);
            return in_frames(&answers(&taken));
        }
        if pieces.len() > self.config.batch_messages {
            let limit = self.config.batch_messages;
            let taken = self.intake.refuse_many(&bytes, limit, MLLP).await;
            tell(&taken, peer);
            return in_frames(&answers(&taken));
        }
        let mut all = Vec::with_capacity(pieces.len());
        for piece in pieces {
            let taken = self.intake.take_of(piece, MLLP, &self.names).await;
            tell(&taken, peer);
            all.push(taken);
        }
        let miscount = batch::miscounted(&bytes);
        if let Some(miscount) = miscount {
            tracing::warn!(%peer, %miscount, "a batch does not hold what it says");
        }
        if bytes.starts_with(b"FHS") || bytes.starts_with(b"BHS") {
            let remark = miscount.map(|miscount| miscount.to_string()).unwrap_or_default();
            framed(&batch_answer(&all, &remark))
        } else {
            in_frames(&all.iter().flat_map(answers).collect::<Vec<_>>())
        }
    }

    /// Keeps what of a message is there. Its sender is answered if it waits for that; else it sends
    /// the message again, and would take the answer for that one's.
    async fn take_cut(&self, bytes: &[u8], peer: SocketAddr) -> Vec<u8> {
        let (taken, is_answered) = if seems_ended(bytes) {
            (self.intake.refuse_unended(bytes, MLLP).await, true)
        } else {
            (self.intake.refuse_cut(bytes, MLLP).await, false)
        };
        tell(&taken, peer);
        if is_answered { in_frames(&answers(&taken)) } else { Vec::new() }
    }
}

fn in_frames(answers: &[Vec<u8>]) -> Vec<u8> {
    answers.iter().flat_map(|answer| framed(answer)).collect()
}

/// Says what came of a message, without anything of its content.
fn tell(taken: &Taken, peer: SocketAddr) {
    match &taken.outcome {
        Outcome::Refused(refusal) if refusal.kind == Kind::Unavailable => {
            tracing::error!(%peer, reason = refusal.reason, "an HL7 message could not be stored");
        }
        Outcome::Refused(refusal) => {
            let (reason, field) = (refusal.reason, refusal.field.as_str());
            tracing::info!(%peer, reason, field, "an HL7 message was refused");
        }
        Outcome::Stored | Outcome::Repeated | Outcome::NothingNew | Outcome::Ignored => {
            tracing::debug!(%peer, "an HL7 message was taken");
        }
    }
}
