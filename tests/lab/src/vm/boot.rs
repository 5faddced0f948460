//! One run: boot, command, end.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use super::{Service, VmError, cache::Lab, guest::Order, tool};

/// Longer than the host waits: only for guests that the host has lost.
const BACKSTOP: Duration = Duration::from_mins(1);

/// Each word has a reason: `no_timer_check` because the check of the timer fails on a busy host, `clocksource=hpet` because the counter of
/// cycles is calibrated wrongly there and the guest's seconds would not be the host's, `mitigations=off` because this guest has no secrets
/// and emulated mitigations cost time. `panic=-1` with `-no-reboot` makes a crash the end.
const KERNEL_ARGUMENTS: &str =
    "console=ttyS0 quiet loglevel=4 no_timer_check clocksource=hpet mitigations=off random.trust_cpu=on panic=-1";

/// What to do in the guest.
#[derive(Debug, Clone)]
pub struct Job {
    /// Program and arguments.
    pub command: Vec<OsString>,
    /// Where the command starts: the same path as on the host.
    pub directory: PathBuf,
    /// Directories of the host that the guest sees, read-only, under the same path.
    pub shares: Vec<PathBuf>,
    /// A directory that the guest may change, under the same path; made if it is not there.
    pub kept: Option<PathBuf>,
    /// What is started before.
    pub services: Vec<Service>,
    /// How long all of it may take.
    pub timeout: Duration,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The command's exit code.
    Exit(u8),
    /// It took too long; the machine was switched off.
    TimedOut,
    /// The machine ended by itself without a result. Has the end of its console.
    Died(String),
}

/// A directory that goes when the run ends.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left behind, it costs disk space; there is nobody to tell.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A machine that is switched off when its run is left on whatever path.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Boots the machine, runs the job, and copies what it prints to `output`.
pub fn run(lab: &Lab, job: &Job, output: impl Write + Send + 'static) -> Result<Outcome, VmError> {
    let scratch = Scratch(env::temp_dir().join(format!("hilbench-lab-{}", std::process::id())));
    fs::create_dir_all(&scratch.0).map_err(VmError::file("create", &scratch.0))?;
    let backstop_seconds = (job.timeout + BACKSTOP).as_secs();
    let order = Order {
        command: &job.command,
        directory: &job.directory,
        services: &job.services,
        shares: &job.shares,
        kept: job.kept.as_deref(),
        backstop_seconds,
    };
    order.write(&scratch.0)?;
    if let Some(kept) = &job.kept {
        fs::create_dir_all(kept).map_err(VmError::file("create", kept))?;
    }

    let mut command = lab.host_program("usr/bin/qemu-system-x86_64", "qemu-system-x86_64");
    command.env("QEMU_MODULE_DIR", lab.root().join("usr/lib/x86_64-linux-gnu/qemu")).args(arguments(lab, &scratch.0, job));
    // An end of file on standard input would close the port and block the guest's next write, so the pipe stays open until the end.
    let child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(VmError::file("start", "qemu-system-x86_64"))?;
    let mut running = Running(child);
    let ended = copy(running.0.stdout.take(), output);
    if ended.recv_timeout(job.timeout).is_err() {
        return Ok(Outcome::TimedOut);
    }
    running.0.wait().map_err(VmError::file("wait for", "qemu-system-x86_64"))?;
    let code = fs::read_to_string(scratch.0.join("exit")).ok().and_then(|text| text.trim().parse().ok());
    Ok(code.map_or_else(|| Outcome::Died(console(&scratch.0)), Outcome::Exit))
}

/// Copies until the machine closes its output, which it does when it ends; tells then.
fn copy(from: Option<impl Read + Send + 'static>, mut to: impl Write + Send + 'static) -> mpsc::Receiver<()> {
    let (tell, ended) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 8192];
        if let Some(mut from) = from {
            while let Ok(count @ 1..) = read(&mut from, &mut buffer) {
                // A reader who has gone (`| head`) must not block the guest: the rest is read and dropped.
                drop(to.write_all(&buffer[..count]).and_then(|()| to.flush()));
            }
        }
        // Nobody waits any more after a timeout.
        let _ = tell.send(());
    });
    ended
}

fn read(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn console(scratch: &Path) -> String {
    fs::read(scratch.join("console.log")).map(|bytes| tool::tail(&bytes)).unwrap_or_default()
}

fn arguments(lab: &Lab, scratch: &Path, job: &Job) -> Vec<OsString> {
    let accelerator = env::var("HILBENCH_LAB_ACCEL").unwrap_or_else(|_| "tcg".to_owned());
    let mut arguments: Vec<OsString> = Vec::new();
    let mut add = |option: &str, value: OsString| {
        arguments.push(option.into());
        if !value.is_empty() {
            arguments.push(value);
        }
    };
    for directory in ["usr/share/qemu", "usr/share/seabios"] {
        add("-L", lab.root().join(directory).into());
    }
    for (option, value) in [
        ("-nodefaults", ""),
        ("-no-user-config", ""),
        ("-no-reboot", ""),
        ("-display", "none"),
        ("-machine", "q35"),
        // Never chosen by the presence of /dev/kvm: there are machines whose /dev/kvm cannot run a stock kernel.
        ("-accel", &accelerator),
        ("-cpu", "max"),
        // A second processor makes each wake-up on a busy host a matter of milliseconds.
        ("-smp", "1"),
        ("-m", "768"),
        ("-append", KERNEL_ARGUMENTS),
        ("-device", "virtio-serial-pci"),
        ("-chardev", "stdio,id=output,signal=off"),
        ("-device", "virtserialport,chardev=output,name=output"),
    ] {
        add(option, value.into());
    }
    add("-kernel", lab.kernel().into());
    add("-initrd", lab.initrd().into());
    add("-serial", option_value("file:", &scratch.join("console.log"), ""));
    let read_only = ",security_model=none,multidevs=remap,readonly=on,mount_tag=";
    add("-virtfs", option_value("local,path=", &lab.root(), &format!("{read_only}root")));
    let writable = ",security_model=none,multidevs=remap,mount_tag=";
    add("-virtfs", option_value("local,path=", scratch, &format!("{writable}scratch")));
    if let Some(kept) = &job.kept {
        add("-virtfs", option_value("local,path=", kept, &format!("{writable}kept")));
    }
    for (index, share) in job.shares.iter().enumerate() {
        add("-virtfs", option_value("local,path=", share, &format!("{read_only}share{index}")));
    }
    arguments
}

/// A path inside a QEMU option, where a comma has to be doubled.
fn option_value(before: &str, path: &Path, after: &str) -> OsString {
    let path = path.to_string_lossy().replace(',', ",,");
    format!("{before}{path}{after}").into()
}
