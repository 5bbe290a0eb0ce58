//! Real nats-servers on loopback to test against.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A nats-server process that can be stopped, and started again where it was.
pub(crate) struct NatsServer {
    pub(crate) port: u16,
    config: PathBuf,
    child: Option<Child>,
}

impl NatsServer {
    /// A server of its own in a folder.
    pub(crate) fn start(folder: &Path) -> Self {
        let mut server = Self::prepare(folder, "alone", "");
        server.resume();
        server
    }

    /// A server that is not running yet. `more` stands at the end of its configuration.
    pub(crate) fn prepare(folder: &Path, name: &str, more: &str) -> Self {
        let port = free_port();
        let data = folder.join(name);
        let config = folder.join(format!("{name}.conf"));
        let text = format!(
            "server_name: {name}\nlisten: 127.0.0.1:{port}\n\
             jetstream {{ store_dir: \"{}\", sync_interval: always, max_file_store: 8GB }}\n{more}",
            data.display()
        );
        std::fs::write(&config, text).unwrap();
        Self { port, config, child: None }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Starts it, and waits until it listens.
    pub(crate) fn resume(&mut self) {
        let mut child = Command::new(binary())
            .arg("--config")
            .arg(&self.config)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        loop {
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "nats-server ended: {line}");
            if line.contains("Server is ready") {
                break;
            }
        }
        // What else it says is let through, so that it never waits for a reader.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        self.child = Some(child);
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that nobody listens at. A cluster's members must know each other's beforehand.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// `tests/run` puts nats-server on the PATH; without it, the one that it installed is found.
pub(crate) fn binary() -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("target/tools/bin/nats-server"))
        .find(|path| path.exists());
    let on_path = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path).map(|folder| folder.join("nats-server")).find(|it| it.exists())
    });
    on_path.or(installed).unwrap_or_else(|| {
        panic!("there is no nats-server: run the tests with tests/run, which installs it")
    })
}
