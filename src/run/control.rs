//! The socket by which other processes of the same user ask something of a run: `control.sock` in its directory.
//!
//! One [`Request`] as JSON per line, one [`Reply`] as JSON per line; a connection may send several. What a run is at is not asked here: the
//! journal tells. Requests are data of somebody else: bounded, and refused with a reason.

use std::{
    fs,
    io::{self, BufRead as _, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};

use super::desk::Desk;
use crate::event::Request;

/// The socket in the run directory.
const SOCKET: &str = "control.sock";
/// Where its path stands if it had to go elsewhere.
const POINTER: &str = "control.path";
/// Longest path of a socket that every Unix takes (`sun_path` of Linux has 108 bytes, a zero included).
const LONGEST_PATH: usize = 100;
/// Longest line, in bytes.
const LONGEST_LINE: u64 = 16 * 1024;
/// Connections at a time.
const CONNECTIONS: usize = 16;
/// Time for a client to be answered.
const ANSWER: Duration = Duration::from_secs(5);

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// It was taken.
    Ok,
    /// It was not, and why.
    Error(String),
}

/// The listening socket; gone when this is dropped.
pub struct Control {
    task: JoinHandle<()>,
    files: Vec<PathBuf>,
    directory: Option<PathBuf>,
}

impl Control {
    /// Listens in the run's directory.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn start(run_directory: &Path, desk: Desk, requests: mpsc::Sender<Request>) -> io::Result<Self> {
        let own = std::path::absolute(run_directory)?.join(SOCKET);
        let mut control = Self { task: tokio::spawn(async {}), files: Vec::new(), directory: None };
        let socket = if own.as_os_str().len() <= LONGEST_PATH {
            own
        } else {
            let directory = private_directory()?;
            let elsewhere = directory.join(SOCKET);
            control.directory = Some(directory);
            let pointer = run_directory.join(POINTER);
            fs::write(&pointer, elsewhere.as_os_str().as_encoded_bytes())?;
            control.files.push(pointer);
            elsewhere
        };
        let listener = UnixListener::bind(&socket)?;
        control.files.push(socket.clone());
        // Between these two lines others may connect; who they are is asked of the kernel all the same.
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o600))?;
        control.task = tokio::spawn(listen(listener, desk, requests));
        Ok(control)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        #[expect(clippy::disallowed_methods, reason = "the task only waits and tells; nothing of it can be left half done")]
        self.task.abort();
        for file in &self.files {
            let _ = fs::remove_file(file);
        }
        if let Some(directory) = &self.directory {
            let _ = fs::remove_dir(directory);
        }
    }
}

/// A new directory that only this user may enter, with a short path.
fn private_directory() -> io::Result<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute() && path.is_dir());
    let below = runtime.filter(|path| path.as_os_str().len() < 60).unwrap_or_else(|| PathBuf::from("/tmp"));
    let mut last = io::Error::other("no name is free");
    for number in 0..100 {
        let directory = below.join(format!("hilbench-{}-{number}", std::process::id()));
        match fs::DirBuilder::new().mode(0o700).create(&directory) {
            Ok(()) => return Ok(directory),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn listen(listener: UnixListener, desk: Desk, requests: mpsc::Sender<Request>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let us = nix::unistd::geteuid().as_raw();
    // The tasks of the connections end with this one.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                if !stream.peer_cred().is_ok_and(|peer| peer.uid() == us || peer.uid() == 0) {
                    continue;
                }
                let (desk, requests) = (desk.clone(), requests.clone());
                connections.spawn(async move {
                    let _place = place;
                    if let Err(error) = serve(stream, &desk, &requests).await {
                        tracing::debug!(%error, "a control connection ended");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the control socket");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, desk: &Desk, requests: &mpsc::Sender<Request>) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read);
    loop {
        let mut line = Vec::new();
        (&mut read).take(LONGEST_LINE).read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            return Ok(());
        }
        let whole = line.ends_with(b"\n");
        let reply = if whole {
            answer(&line, desk, requests).await
        } else {
            Reply::Error("the line is too long or not ended".to_owned())
        };
        let mut text = serde_json::to_vec(&reply)?;
        text.push(b'\n');
        write.write_all(&text).await?;
        if !whole {
            return Ok(());
        }
    }
}

async fn answer(line: &[u8], desk: &Desk, requests: &mpsc::Sender<Request>) -> Reply {
    match serde_json::from_slice(line) {
        Ok(Request::Answer { prompt, answer, by }) => match desk.answer(prompt, &answer, &by) {
            Ok(()) => Reply::Ok,
            Err(why) => Reply::Error(why),
        },
        Ok(Request::Stop { level, by }) => {
            let by = by.chars().filter(|c| !c.is_control()).take(64).collect();
            match requests.send(Request::Stop { level, by }).await {
                Ok(()) => Reply::Ok,
                Err(_) => Reply::Error("the run is ending already".to_owned()),
            }
        }
        Err(error) => Reply::Error(format!("not understood: {error}")),
    }
}

/// Asks something of the run in `run_directory`, from another process. Blocks for a few seconds at most.
///
/// # Errors
/// The run is not there any more, or refuses.
pub fn send(run_directory: &Path, request: &Request) -> Result<(), String> {
    let own = run_directory.join(SOCKET);
    let socket = match fs::read(run_directory.join(POINTER)) {
        Ok(path) => PathBuf::from(String::from_utf8(path).map_err(|_| "control.path is not a path".to_owned())?),
        // A relative path may be short enough where the full one is not.
        Err(_) => own,
    };
    let failed = |error: io::Error| format!("cannot reach the run by {}: {error}", socket.display());
    let mut stream = std::os::unix::net::UnixStream::connect(&socket).map_err(failed)?;
    stream.set_read_timeout(Some(ANSWER)).and_then(|()| stream.set_write_timeout(Some(ANSWER))).map_err(failed)?;
    let mut line = serde_json::to_vec(request).map_err(|error| error.to_string())?;
    line.push(b'\n');
    stream.write_all(&line).map_err(failed)?;
    let mut reply = String::new();
    io::BufReader::new(stream.take(LONGEST_LINE)).read_line(&mut reply).map_err(failed)?;
    match serde_json::from_str(&reply) {
        Ok(Reply::Ok) => Ok(()),
        Ok(Reply::Error(why)) => Err(why),
        Err(_) => Err("the run has ended".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        channel::operator::{Ask as _, Question},
        event::StopLevel,
    };

    fn question() -> Question {
        Question {
            text: "Push it".to_owned(),
            choices: vec!["done".to_owned()],
            within: Duration::from_mins(1),
            ..Question::default()
        }
    }

    async fn sent(directory: &Path, request: Request) -> Result<(), String> {
        let directory = directory.to_owned();
        tokio::task::spawn_blocking(move || send(&directory, &request)).await.unwrap()
    }

    async fn reached_in(directory: &Path) {
        let desk = Desk::default();
        let (requests, mut served) = mpsc::channel(4);
        let control = Control::start(directory, desk.clone(), requests).unwrap();
        let asked = {
            let desk = desk.clone();
            tokio::spawn(async move { desk.ask(question(), None).await })
        };
        while desk.open().is_empty() {
            tokio::task::yield_now().await;
        }
        let answer = |answer: &str| Request::Answer { prompt: 1, answer: answer.to_owned(), by: "kim".to_owned() };
        assert!(sent(directory, answer("no")).await.unwrap_err().contains("none of: done"));
        sent(directory, answer("done")).await.unwrap();
        assert_eq!(asked.await.unwrap().unwrap().by, "kim");
        sent(directory, Request::Stop { level: StopLevel::Now, by: "kim".to_owned() }).await.unwrap();
        assert!(matches!(served.recv().await, Some(Request::Stop { level: StopLevel::Now, .. })));
        drop(control);
        assert!(sent(directory, answer("done")).await.is_err());
        assert_eq!(fs::read_dir(directory).unwrap().count(), 0, "nothing is left behind");
    }

    #[tokio::test]
    async fn a_run_is_reached_by_its_directory_however_long_its_path() {
        let root = tempfile::tempdir().unwrap();
        reached_in(root.path()).await;
        let deep = root.path().join("d".repeat(120));
        fs::create_dir(&deep).unwrap();
        reached_in(&deep).await;
    }

    #[tokio::test]
    async fn rubbish_is_refused_and_does_no_harm() {
        let root = tempfile::tempdir().unwrap();
        let (requests, _served) = mpsc::channel(4);
        let _control = Control::start(root.path(), Desk::default(), requests).unwrap();
        let socket = root.path().join(SOCKET);
        assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
        let long = vec![b'['; 40_000];
        for rubbish in [b"\xff\x00\n".as_slice(), b"{}\n", b"{\"answer\":{\"prompt\":-1}}\n", b"[[[[\n", &long, b"no end"] {
            let mut stream = UnixStream::connect(&socket).await.unwrap();
            // A line that is too long may be refused while it is still being sent.
            let _ = stream.write_all(rubbish).await;
            let _ = stream.shutdown().await;
            let mut reply = Vec::new();
            let _ = stream.read_to_end(&mut reply).await;
            let text = String::from_utf8_lossy(&reply);
            assert!(text.is_empty() && rubbish.len() > 20_000 || text.contains("error"), "{text}");
        }
        let error =
            sent(root.path(), Request::Answer { prompt: 1, answer: "x".to_owned(), by: String::new() }).await.unwrap_err();
        assert!(error.contains("no prompt is open"), "{error}");
    }
}
