//! Driver `command`: a program of the lab's own switches the supply.

use std::{path::PathBuf, process::Stdio, time::Duration};

use tokio::{io::AsyncReadExt as _, process::Command, time::timeout};

use super::{read_back, required, word};
use crate::channel::{
    clock::BoxFuture,
    link::{ChannelKind, Driver, LinkError, Opened, Parameters, Proof, SupplyLink},
};

/// Time for a command to end.
const LIMIT: Duration = Duration::from_secs(30);
/// Bytes of its output that are looked at.
const OUTPUT: u64 = 4096;

/// Driver `command`. Commands are words separated by spaces, started without a shell in the rig's directory.
#[derive(Debug, Clone, Copy, Default)]
pub struct CommandSupply;

struct Commands {
    up: Vec<String>,
    down: Vec<String>,
    status: Option<Vec<String>>,
    base: PathBuf,
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

impl Commands {
    fn from(parameters: &Parameters) -> Result<Self, LinkError> {
        let command = |name| required(parameters, name, "command").map(words);
        Ok(Self {
            up: command("up")?,
            down: command("down")?,
            status: parameters.values.get("status").map(|text| words(text)).filter(|words| !words.is_empty()),
            base: parameters.base.clone(),
        })
    }

    /// Runs a command to its end and returns what it printed.
    async fn run(&self, words: &[String]) -> Result<String, LinkError> {
        let shown = words.join(" ");
        let failed = |what: String| LinkError::new(format!("run `{shown}`"), what);
        let (program, arguments) = words.split_first().ok_or_else(|| failed("there is no command".to_owned()))?;
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir(if self.base.as_os_str().is_empty() { ".".as_ref() } else { self.base.as_path() })
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let work = async {
            let (mut printed, mut complained) = (Vec::new(), Vec::new());
            // What is beyond the limit is read and dropped, or the program would wait for a reader.
            if let Some(mut out) = out {
                (&mut out).take(OUTPUT).read_to_end(&mut printed).await?;
                tokio::io::copy(&mut out, &mut tokio::io::sink()).await?;
            }
            if let Some(err) = err {
                err.take(OUTPUT).read_to_end(&mut complained).await?;
            }
            child.wait().await.map(|status| (status, printed, complained))
        };
        let ended =
            timeout(LIMIT, work).await.map_err(|_| failed(format!("it has not ended within {LIMIT:?} and was killed")))?;
        let (status, printed, complained) = ended.map_err(|error| failed(error.to_string()))?;
        if !status.success() {
            return Err(failed(format!("{status}: {}", String::from_utf8_lossy(&complained).trim())));
        }
        Ok(String::from_utf8_lossy(&printed).trim().to_owned())
    }

    async fn status(&self) -> Result<Option<bool>, LinkError> {
        let Some(status) = &self.status else { return Ok(None) };
        match self.run(status).await?.split_whitespace().next() {
            Some("up" | "on" | "1") => Ok(Some(true)),
            Some("down" | "off" | "0") => Ok(Some(false)),
            other => {
                let what = format!("its first word is neither up, on, 1 nor down, off, 0 but {:?}", other.unwrap_or_default());
                Err(LinkError::new(format!("read `{}`", status.join(" ")), what))
            }
        }
    }
}

impl SupplyLink for Commands {
    fn set(&mut self, up: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(async move {
            self.run(if up { &self.up } else { &self.down }).await?;
            match self.status().await? {
                Some(found) => read_back("the supply's command", up, found),
                None => Ok(Proof::None(format!("a `status` command that reads back {}", word(up)))),
            }
        })
    }

    fn is_up(&mut self) -> BoxFuture<'_, Result<Option<bool>, LinkError>> {
        Box::pin(self.status())
    }
}

impl Driver for CommandSupply {
    fn name(&self) -> &'static str {
        "command"
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Supply
    }

    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)] {
        &[
            ("up", true, "command that switches the supply on"),
            ("down", true, "command that switches it off"),
            ("status", false, "command that prints `up` or `down`; without it nothing proves a cut"),
        ]
    }

    fn check(&self, parameters: &Parameters) -> Result<(), LinkError> {
        Commands::from(parameters).map(drop)
    }

    fn identity(&self, parameters: &Parameters) -> Result<String, LinkError> {
        Ok(format!("supply by `{}`", Commands::from(parameters)?.up.join(" ")))
    }

    fn open<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>> {
        Box::pin(async move { Ok(Opened::Supply(Box::new(Commands::from(parameters)?))) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supply(directory: &std::path::Path, values: &[(&str, &str)]) -> Box<dyn SupplyLink> {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Box::new(Commands::from(&Parameters { values, base: directory.to_owned() }).unwrap())
    }

    #[tokio::test]
    async fn what_the_status_says_is_the_witness() {
        let dir = tempfile::tempdir().unwrap();
        for state in ["up", "down"] {
            std::fs::write(dir.path().join(state), format!("{state}\n")).unwrap();
        }
        let mut supply = supply(dir.path(), &[("up", "cp up state"), ("down", "cp down state"), ("status", "cat state")]);
        assert!(matches!(supply.set(true).await.unwrap(), Proof::Seen(witness) if witness.what.contains("reads back up")));
        assert_eq!(supply.is_up().await.unwrap(), Some(true));
        assert!(matches!(supply.set(false).await.unwrap(), Proof::Seen(_)));
        assert_eq!(supply.is_up().await.unwrap(), Some(false));
    }

    #[tokio::test]
    async fn a_welded_relay_is_a_fault_of_the_bench_and_no_status_is_no_proof() {
        let dir = tempfile::tempdir().unwrap();
        let mut welded = supply(dir.path(), &[("up", "true"), ("down", "true"), ("status", "echo on")]);
        assert!(welded.set(false).await.unwrap_err().what.contains("reads back up"));
        let mut blind = supply(dir.path(), &[("up", "true"), ("down", "true")]);
        assert!(matches!(blind.set(false).await.unwrap(), Proof::None(_)));
        assert_eq!(blind.is_up().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_command_that_fails_or_babbles_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut supply = supply(dir.path(), &[("up", "ls nothing-here"), ("down", "no-such-program"), ("status", "echo maybe")]);
        assert!(supply.set(true).await.unwrap_err().what.contains("nothing-here"));
        assert!(supply.set(false).await.unwrap_err().operation.contains("no-such-program"));
        assert!(supply.is_up().await.unwrap_err().what.contains("maybe"));
    }
}
