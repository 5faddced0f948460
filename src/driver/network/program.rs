//! The kernel's network tools as child processes: no shell, bounded output, bounded time.

use std::{path::PathBuf, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
    time::timeout,
};

use crate::channel::link::LinkError;

/// Time for a tool to end.
const LIMIT: Duration = Duration::from_secs(10);
/// Bytes of its output that are looked at.
const OUTPUT: u64 = 1 << 20;

/// A tool, with the package that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tool {
    Ip,
    Tc,
    Nft,
}

impl Tool {
    const fn name(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Tc => "tc",
            Self::Nft => "nft",
        }
    }

    const fn package(self) -> &'static str {
        match self {
            Self::Ip | Self::Tc => "iproute2",
            Self::Nft => "nftables",
        }
    }

    /// Where it is. Ordinary users often have no `sbin` in their path.
    pub(super) fn find(self) -> Result<PathBuf, LinkError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut directories: Vec<PathBuf> = std::env::split_paths(&path).collect();
        directories.extend(["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from));
        directories.into_iter().map(|directory| directory.join(self.name())).find(|file| file.is_file()).ok_or_else(|| {
            let what = format!("it is not installed; install the package `{}`", self.package());
            LinkError::new(format!("run `{}`", self.name()), what)
        })
    }
}

/// Runs tools, in a network namespace if there is one.
#[derive(Debug, Clone, Default)]
pub(super) struct Tools {
    pub(super) namespace: Option<String>,
}

impl Tools {
    /// Runs a tool to its end and returns what it printed.
    ///
    /// # Errors
    /// It is missing, did not end in time, or failed; then with what it complained about.
    pub(super) async fn run(&self, tool: Tool, arguments: &str, input: Option<&str>) -> Result<String, LinkError> {
        let file = tool.find()?;
        let shown = match &self.namespace {
            Some(namespace) => format!("ip netns exec {namespace} {} {arguments}", tool.name()),
            None => format!("{} {arguments}", tool.name()),
        };
        let failed = |what: String| LinkError::new(format!("run `{shown}`"), what);
        let mut command = match &self.namespace {
            Some(namespace) => {
                let mut command = Command::new(Tool::Ip.find()?);
                command.args(["netns", "exec", namespace]).arg(file);
                command
            }
            None => Command::new(file),
        };
        let mut child = command
            .args(arguments.split_whitespace())
            .env("LC_ALL", "C")
            .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(error.to_string()))?;
        let (stdin, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let work = async {
            let write = async {
                if let (Some(mut stdin), Some(input)) = (stdin, input) {
                    stdin.write_all(input.as_bytes()).await?;
                }
                Ok::<(), std::io::Error>(())
            };
            let printed = read(out);
            let complained = read(err);
            let (written, printed, complained) = tokio::join!(write, printed, complained);
            let status = child.wait().await?;
            // A tool that does not read to the end has failed, and says why.
            if status.success() {
                written?;
            }
            Ok::<_, std::io::Error>((status, printed?, complained?))
        };
        let ended =
            timeout(LIMIT, work).await.map_err(|_| failed(format!("it has not ended within {LIMIT:?} and was killed")))?;
        let (status, printed, complained) = ended.map_err(|error| failed(error.to_string()))?;
        if !status.success() {
            let complaint: String = String::from_utf8_lossy(&complained).trim().chars().take(500).collect();
            return Err(failed(format!("{status}: {complaint}")));
        }
        Ok(String::from_utf8_lossy(&printed).into_owned())
    }
}

/// Reads to the end; what is beyond the limit is dropped, or the tool would wait for a reader.
async fn read(pipe: Option<impl tokio::io::AsyncRead + Unpin>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        (&mut pipe).take(OUTPUT).read_to_end(&mut bytes).await?;
        tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await?;
    }
    Ok(bytes)
}

/// What this process may not do and would have to.
pub(super) fn missing_capabilities(wanted: &[(&'static str, u32)]) -> Vec<&'static str> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).map(str::trim);
    let effective = effective.and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0);
    wanted.iter().filter(|(_, bit)| effective >> bit & 1 == 0).map(|(name, _)| *name).collect()
}

#[cfg(test)]
mod tests {
    use super::{Tool, Tools, missing_capabilities};

    #[tokio::test]
    async fn a_tool_that_fails_is_told_with_its_complaint() {
        if Tool::Ip.find().is_err() {
            return;
        }
        let error = Tools::default().run(Tool::Ip, "link show dev no-such-port", None).await.unwrap_err();
        assert!(error.operation.contains("no-such-port") && error.what.contains("does not exist"), "{error}");
    }

    #[test]
    fn a_capability_that_no_kernel_has_is_missing() {
        assert_eq!(missing_capabilities(&[("CAP_NONE", 63)]), ["CAP_NONE"]);
    }
}
