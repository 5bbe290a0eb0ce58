//! A wire between a client and a server that can be cut, stalled and mended.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Whole,
    /// Nothing comes through, and nobody is told.
    Stalled,
    /// Connections end, and new ones too.
    Cut,
}

pub(crate) struct Proxy {
    pub(crate) port: u16,
    wire: watch::Sender<Wire>,
}

impl Proxy {
    /// Stands before a server at a port of loopback.
    pub(crate) async fn before(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (wire, watched) = watch::channel(Wire::Whole);
        tokio::spawn(async move {
            let server = SocketAddr::from((Ipv4Addr::LOCALHOST, server));
            while let Ok((client, _)) = listener.accept().await {
                if *watched.borrow() == Wire::Cut {
                    continue;
                }
                let Ok(server) = TcpStream::connect(server).await else { continue };
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                tokio::spawn(carry(from_client, to_server, watched.clone()));
                tokio::spawn(carry(from_server, to_client, watched.clone()));
            }
        });
        Self { port, wire }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn set(&self, wire: Wire) {
        self.wire.send_replace(wire);
    }
}

/// Carries bytes one way until either end, or the wire, is cut.
async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut wire: watch::Receiver<Wire>) {
    /// So that what is under way when the wire is cut is lost at any place.
    const PIECE: usize = 1024;
    let mut buffer = [0; PIECE];
    loop {
        let read = tokio::select! {
            // Reading may be cancelled: nothing is read then.
            read = from.read(&mut buffer) => read,
            cut = wire.wait_for(|wire| *wire == Wire::Cut) => {
                drop(cut);
                return;
            }
        };
        let Ok(read @ 1..) = read else { return };
        // The test ended if this fails.
        let Ok(now) = wire.wait_for(|wire| *wire != Wire::Stalled).await.map(|wire| *wire) else {
            return;
        };
        if now == Wire::Cut || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}
