//! Three nats-servers on loopback that form a cluster.

use tempfile::TempDir;

use crate::nats_servers::{NatsServer, free_port};

/// Three servers that form a cluster.
pub(crate) struct NatsCluster {
    pub(crate) servers: Vec<NatsServer>,
    _folder: TempDir,
}

impl NatsCluster {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let routes: Vec<u16> = (0..3).map(|_| free_port()).collect();
        let all: Vec<String> =
            routes.iter().map(|port| format!("nats://127.0.0.1:{port}")).collect();
        let server = |(index, port): (usize, &u16)| {
            let more = format!(
                "cluster {{ name: region, listen: \"127.0.0.1:{port}\", routes: [{}] }}\n",
                all.join(", ")
            );
            NatsServer::prepare(folder.path(), &format!("n{index}"), &more)
        };
        let mut servers: Vec<NatsServer> = routes.iter().enumerate().map(server).collect();
        for server in &mut servers {
            server.resume();
        }
        Self { servers, _folder: folder }
    }

    /// The server with a name: `n0`, `n1` or `n2`.
    pub(crate) fn named(&mut self, name: &str) -> &mut NatsServer {
        let index: usize = name.trim_start_matches('n').parse().unwrap();
        &mut self.servers[index]
    }

    pub(crate) fn urls(&self) -> String {
        self.servers.iter().map(NatsServer::url).collect::<Vec<_>>().join(",")
    }
}
