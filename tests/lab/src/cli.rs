//! The command line.
//!
//! * `cargo lab build` prepares the machine. Done once; it takes about a minute and 140 MB of downloads.
//! * `cargo lab run [--up udev,usb,ble,net] [--timeout 1800s] [--repo DIR] [--share DIR] -- COMMAND ARGUMENTS...` runs a command in it.
//! * `cargo lab bench [--device lock|hub] [--timeout 1800s] -- COMMAND ARGUMENTS...` runs a command in it beside a wired device: [`crate::wired`].
//! * `cargo lab test [FILTER]` runs the tests that need it.
//!
//! Exit codes: the command's own; 2 wrong arguments, 77 no lab on this machine (skipped; 1 in CI), 124 timed out, 125 the guest died
//! or could not be prepared.

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::Duration,
};

use crate::{
    vm::{self, Job, Outcome, VmError},
    wired::Device,
};

const USAGE: &str = "\
usage: cargo lab build
       cargo lab run [--up udev,usb,ble,net] [--timeout 1800s] [--repo DIR] [--share DIR]... -- COMMAND [ARGUMENT]...
       cargo lab bench [--device lock|hub] [--timeout 1800s] -- COMMAND [ARGUMENT]...
       cargo lab test [FILTER]
  in a command under `bench`:
       lab pull|put|renumber|hang|heal console|probe|port
       lab weld|free";

/// Unless the command line says otherwise.
const TIMEOUT: Duration = Duration::from_mins(30);
/// All tests in one boot, also on a machine that is busy with other things.
const TEST_TIMEOUT: &str = "3600s";

/// Runs the command line without the program's name.
pub fn main(arguments: Vec<OsString>) -> ExitCode {
    let words: Vec<&OsStr> = arguments.iter().map(OsString::as_os_str).collect();
    let result = match words.split_first().and_then(|(first, rest)| Some((first.to_str()?, rest))) {
        Some(("build", [])) => build(),
        Some(("run", rest)) => match parse_run(rest) {
            Ok(job) => run(&job),
            Err(problem) => return wrong(&problem),
        },
        Some(("bench", rest)) => match at_bench(rest) {
            Ok(job) => build_hilbench().and_then(|()| run(&job)),
            Err(problem) => return wrong(&problem),
        },
        Some(("wired", rest)) => return wired(rest),
        Some((verb, rest)) if ORDERS.contains(&verb) => return order(verb, rest),
        Some(("test", rest)) if rest.len() <= 1 => test(rest),
        _ => return wrong("expected build, run, bench or test"),
    };
    result.unwrap_or_else(|error| {
        note(&error.to_string());
        match error {
            // A pipeline that skips is a pipeline that tests nothing.
            VmError::Unsupported { .. } if env::var_os("CI").is_none() => ExitCode::from(77),
            VmError::Unsupported { .. } => ExitCode::from(1),
            _ => ExitCode::from(125),
        }
    })
}

fn note(text: &str) {
    // Without standard error there is nobody to tell.
    drop(writeln!(io::stderr(), "lab: {text}"));
}

fn wrong(problem: &str) -> ExitCode {
    note(problem);
    drop(writeln!(io::stderr(), "{USAGE}"));
    ExitCode::from(2)
}

fn build() -> Result<ExitCode, VmError> {
    let lab = vm::ensure(&mut note)?;
    note(&format!("ready; packages: {}", lab.manifest().display()));
    Ok(ExitCode::SUCCESS)
}

fn run(job: &Job) -> Result<ExitCode, VmError> {
    let lab = vm::ensure(&mut note)?;
    Ok(match vm::run(&lab, job, io::stdout())? {
        Outcome::Exit(code) => ExitCode::from(code),
        Outcome::TimedOut => {
            note(&format!("timed out after {} s; the guest was switched off", job.timeout.as_secs()));
            ExitCode::from(124)
        }
        Outcome::Died(console) => {
            note(&format!("the guest died without a result; the end of its console:\n{console}"));
            ExitCode::from(125)
        }
    })
}

/// Hands on the bench, for commands beside it.
const ORDERS: &[&str] = &["pull", "put", "renumber", "hang", "heal", "weld", "free"];

/// The job with the wired bench around its command. What `hilbench` records there is kept where it would be on the host.
fn at_bench(words: &[&OsStr]) -> Result<Job, String> {
    let (words, device) = match words {
        [option, device, rest @ ..] if *option == "--device" => {
            (rest, device.to_string_lossy().parse::<Device>().map(|_| *device)?)
        }
        _ => (words, OsStr::new("lock")),
    };
    let mut job = parse_run(words)?;
    let program = env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let command = std::mem::replace(&mut job.command, vec![program.into(), "wired".into(), device.into()]);
    job.command.extend(command);
    job.services = ["udev", "usb", "ble", "net"].into_iter().map(str::parse).collect::<Result<_, _>>()?;
    let store = job.directory.join(env::var_os("HILBENCH_STORE").unwrap_or_else(|| ".hilbench".into()));
    job.kept = Some(store);
    Ok(job)
}

/// Cargo as the user's shell would start it. What `cargo run` has told this program of its own package would make build scripts that look at such
/// variables, `ring`'s for one, run again, and everything above them be built anew, at each change between the two.
fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let own = |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|start| name.starts_with(start));
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(own)) {
        command.env_remove(name);
    }
    command.current_dir(repository());
    command
}

/// Commands and tests use the program that belongs to this one. It is built beside the lab, so that both share what they are made of.
fn build_hilbench() -> Result<(), VmError> {
    let mut command = cargo();
    command.args(["build", "--quiet", "--package", "hilbench", "--package", "lab", "--bin", "hilbench"]);
    let status = command.status().map_err(VmError::file("start", "cargo"))?;
    if status.success() { Ok(()) } else { Err(VmError::file("build", "hilbench")(io::Error::other(status.to_string()))) }
}

/// In the guest: the bench with a command beside it.
fn wired(words: &[&OsStr]) -> ExitCode {
    let Some((device, command)) = words.split_first().and_then(|(device, rest)| Some((device.to_str()?.parse().ok()?, rest)))
    else {
        return wrong("expected a device and a command after `wired`");
    };
    let command: Vec<OsString> = command.iter().map(OsString::from).collect();
    crate::wired::run(device, &command).unwrap_or_else(|error| {
        note(&error.to_string());
        ExitCode::from(125)
    })
}

/// In the guest, beside the bench: an order to it.
fn order(verb: &str, rest: &[&OsStr]) -> ExitCode {
    let words: Vec<_> = std::iter::once(verb.into()).chain(rest.iter().map(|word| word.to_string_lossy())).collect();
    match crate::wired::order(&words.join(" ")) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            note(&problem);
            ExitCode::from(2)
        }
    }
}

/// Cargo builds the tests; this program is their runner, once for the one binary that has them all.
fn test(filter: &[&OsStr]) -> Result<ExitCode, VmError> {
    // Before the compiler: on a machine without a lab it would be in vain.
    vm::ensure(&mut note)?;
    build_hilbench()?;
    let program = env::current_exe().map_err(VmError::file("find", "this program"))?;
    let runner = ["run", "--up", "udev,usb,ble,net", "--timeout", TEST_TIMEOUT, "--"];
    let runner: Vec<String> = [&*program.to_string_lossy()].into_iter().chain(runner).map(|word| format!("{word:?}")).collect();
    let mut command = cargo();
    command.args(["test", "--package", "lab", "--test", "drivers", "--config"]);
    command.arg(format!("target.'cfg(all())'.runner=[{}]", runner.join(",")));
    // The kernel's ports and names are shared by all tests of a guest.
    command.args(["--", "--test-threads=1", "--include-ignored"]).args(filter);
    let status = command.status().map_err(VmError::file("start", "cargo"))?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(125)))
}

/// The repository that this program was built from.
fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package).to_owned()
}

fn parse_run(words: &[&OsStr]) -> Result<Job, String> {
    let split = words.iter().position(|word| *word == "--").ok_or("expected `--` before the command")?;
    let command: Vec<OsString> = words[split + 1..].iter().map(OsString::from).collect();
    let program = command.first().ok_or("expected a command after `--`")?.clone();
    let directory = env::current_dir().map_err(|error| format!("cannot find the current directory: {error}"))?;
    let (mut services, mut timeout, mut repo, mut shares) = (Vec::new(), TIMEOUT, repository(), Vec::new());
    let mut options = words[..split].iter();
    while let Some(option) = options.next() {
        let value = options
            .next()
            .and_then(|value| value.to_str())
            .ok_or_else(|| format!("expected a value after {}", option.display()))?;
        match option.to_str() {
            Some("--up") => services = value.split(',').map(str::parse).collect::<Result<_, _>>()?,
            Some("--timeout") => timeout = seconds(value)?,
            Some("--repo") => repo = directory.join(value),
            Some("--share") => shares.push(directory.join(value)),
            _ => return Err(format!("unknown option {}", option.display())),
        }
    }
    shares.insert(0, repo);
    // A command without slashes is one of the guest's own.
    let program = Path::new(&program);
    if program.components().count() > 1 {
        let parent = directory.join(program).parent().map(Path::to_owned).unwrap_or_default();
        if parent.is_dir() && !["/bin", "/sbin", "/usr", "/lib"].iter().any(|system| parent.starts_with(system)) {
            shares.push(parent);
        }
    }
    shares.push(directory.clone());
    Ok(Job { command, directory, shares: without_nested(shares)?, kept: None, services, timeout })
}

/// Directories that the guest has itself: the host's would hide them.
const GUESTS_OWN: &[&str] =
    &["/", "/bin", "/dev", "/etc", "/lib", "/proc", "/root", "/run", "/sbin", "/scratch", "/sys", "/tmp", "/usr", "/var"];

/// Canonical paths, without those that are inside another, and without the guest's own.
fn without_nested(paths: Vec<PathBuf>) -> Result<Vec<PathBuf>, String> {
    let mut kept: Vec<PathBuf> = Vec::new();
    for path in paths {
        let path = path.canonicalize().map_err(|error| format!("cannot share `{}`: {error}", path.display()))?;
        if !GUESTS_OWN.iter().any(|own| path == Path::new(own)) && !kept.iter().any(|other| path.starts_with(other)) {
            kept.retain(|other| !other.starts_with(&path));
            kept.push(path);
        }
    }
    Ok(kept)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number = text.strip_suffix('s').unwrap_or(text);
    let number = number.parse().map_err(|_| format!("`{text}` is not a number of seconds, such as 300s"))?;
    Ok(Duration::from_secs(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vm::Service;

    fn parse(words: &[&str]) -> Result<Job, String> {
        parse_run(&words.iter().map(OsStr::new).collect::<Vec<_>>())
    }

    #[test]
    fn a_run_has_services_a_time_and_a_command() {
        let job = parse(&["--up", "udev,usb", "--timeout", "7s", "--", "lsusb", "-t"]).unwrap();
        assert_eq!(job.services, [Service::Udev, Service::Usb]);
        assert_eq!(job.timeout, Duration::from_secs(7));
        assert_eq!(job.command, ["lsusb", "-t"]);
        assert_eq!(job.shares, [repository().canonicalize().unwrap()]);
    }

    #[test]
    fn a_bench_has_a_device_and_a_store_on_the_host() {
        let at = |words: &[&str]| at_bench(&words.iter().map(OsStr::new).collect::<Vec<_>>());
        let job = at(&["--device", "hub", "--timeout", "7s", "--", "true"]).unwrap();
        assert_eq!(job.command[1..], ["wired", "hub", "true"]);
        assert_eq!((job.timeout, job.services.len()), (Duration::from_secs(7), 4));
        assert!(job.kept.is_some_and(|kept| kept.starts_with(&job.directory)));
        assert_eq!(at(&["--", "true"]).unwrap().command[1..], ["wired", "lock", "true"]);
        assert!(at(&["--device", "fridge", "--", "true"]).is_err_and(|error| error.contains("lock, hub")));
    }

    #[test]
    fn wrong_arguments_are_named() {
        assert!(parse(&["true"]).is_err_and(|error| error.contains("`--`")));
        assert!(parse(&["--up", "wifi", "--", "true"]).is_err_and(|error| error.contains("wifi")));
        assert!(parse(&["--timeout", "soon", "--", "true"]).is_err_and(|error| error.contains("soon")));
        assert!(parse(&["--colour", "x", "--", "true"]).is_err_and(|error| error.contains("--colour")));
    }

    #[test]
    fn shares_inside_others_are_left_out() {
        let inside = repository().join("src");
        assert_eq!(
            without_nested(vec![inside.clone(), repository(), "/tmp".into(), inside]).unwrap(),
            [repository().canonicalize().unwrap()]
        );
    }
}
