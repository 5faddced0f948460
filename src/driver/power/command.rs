//! Driver `command`: a program of the lab's own switches the supply.

use std::{path::PathBuf, process::Stdio, time::Duration};

use nix::unistd::{AccessFlags, access};
use tokio::{io::AsyncReadExt as _, process::Command, time::timeout};

use super::{read_back, required, word};
use crate::channel::{
    clock::BoxFuture,
    finding::{Finding, look_at},
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

    /// The programs of the commands.
    fn programs(&self) -> impl Iterator<Item = &str> {
        [Some(&self.up), Some(&self.down), self.status.as_ref()]
            .into_iter()
            .flatten()
            .filter_map(|words| Some(words.first()?.as_str()))
    }

    /// What is wrong with a program, `path` being the places where it is looked for.
    fn missing(&self, program: &str, path: &std::ffi::OsStr) -> Option<Finding> {
        let places: Vec<PathBuf> = if program.contains('/') {
            vec![self.base.join(program)]
        } else {
            std::env::split_paths(path).map(|directory| directory.join(program)).collect()
        };
        if places.iter().any(|place| place.is_file() && access(place, AccessFlags::X_OK).is_ok()) {
            return None;
        }
        if let Some(place) = places.iter().find(|place| place.is_file()) {
            let advice = format!("`chmod +x {}`", place.display());
            return Some(Finding::problem(format!("this user may not run {}", place.display()), advice));
        }
        let advice = "install it, or write its path, which starts at the directory of the rig file";
        Some(Finding::absent(format!("there is no program `{program}`"), advice))
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

    fn examine<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Vec<Finding>> {
        Box::pin(async move {
            let commands = match Commands::from(parameters) {
                Ok(commands) => commands,
                Err(error) => return vec![error.into()],
            };
            let path = std::env::var_os("PATH").unwrap_or_default();
            let missing: Vec<Finding> = commands.programs().filter_map(|program| commands.missing(program, &path)).collect();
            // Only `status` is run: the others would switch.
            if missing.is_empty() { look_at(self.open(parameters).await).await } else { missing }
        })
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
    async fn an_examination_finds_the_programs_and_switches_nothing() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("pdu");
        std::fs::write(&script, "#!/bin/sh\necho $1 >> called\necho on\n").unwrap();
        let values = [("up", "./pdu up"), ("down", "./pdu down"), ("status", "./pdu status")];
        let values = values.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mut parameters = Parameters { values, base: dir.path().to_owned() };
        let found = CommandSupply.examine(&parameters).await;
        assert!(found.iter().all(|found| found.is_problem() && found.to_string().contains("chmod +x")), "{found:?}");
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let found = CommandSupply.examine(&parameters).await;
        assert!(matches!(found.as_slice(), [one] if one.what.contains("reads back up")), "{found:?}");
        assert_eq!(std::fs::read_to_string(dir.path().join("called")).unwrap(), "status\n");
        parameters.values.insert("down".to_owned(), "no-such-program-here off".to_owned());
        let found = CommandSupply.examine(&parameters).await;
        assert!(matches!(found.as_slice(), [one] if one.absent && one.what.contains("no-such-program-here")), "{found:?}");
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
