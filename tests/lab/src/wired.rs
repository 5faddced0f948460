//! The bench in the guest with a command at work on it, and hands to pull its cables meanwhile.
//!
//! `cargo lab bench -- COMMAND` boots the machine, wires the lock of `rigs/emulated-lock.yaml` (or with `--device hub` the hub of
//! `rigs/emulated-hub.yaml`) and runs the command beside it. In that command
//! `lab pull console` and the like do what a technician's hands would: see [`Order`].

use std::{
    ffi::OsString,
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    process::{Command, ExitCode},
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use crate::{
    bench::{Bench, BenchError, Part},
    hub::Hub,
    lock::Lock,
    usb::Fault,
};

/// Serial numbers of the bench's parts begin with this; `rigs/emulated-lock.yaml` names them.
pub const NAME: &str = "lock";
/// Device id of the chip on the bench.
pub const UNIT: u64 = 0x0123_4567_89AB_CDEF;

/// The same of a bench with the hub.
pub const HUB: &str = "hub";

const SOCKET: &str = "/run/hilbench-lab";

/// What is on the bench.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Device {
    /// The smart lock, blank.
    #[default]
    Lock,
    /// The smart hub, as delivered.
    Hub,
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "lock" => Ok(Self::Lock),
            "hub" => Ok(Self::Hub),
            _ => Err(format!("`{text}` is not a device; they are lock, hub")),
        }
    }
}

/// The wired device.
enum Wired {
    Lock(Box<Lock>),
    Hub(Hub),
}

impl Wired {
    fn bench(&self) -> &Bench {
        match self {
            Self::Lock(lock) => lock.bench(),
            Self::Hub(hub) => hub.bench(),
        }
    }
}

/// What hands do to the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Pulls a cable of the device.
    Pull(Part),
    /// Puts it back.
    Put(Part),
    /// Pulls it and puts it back so that the kernel gives it another number.
    Renumber(Part),
    /// Its firmware answers nothing any more.
    Hang(Part),
    /// It answers again.
    Heal(Part),
    /// Welds the relay's contact where it is.
    Weld,
    /// Frees it.
    Free,
}

impl FromStr for Order {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (verb, part) = text.split_once(' ').unwrap_or((text, ""));
        let make: fn(Part) -> Self = match verb {
            "weld" if part.is_empty() => return Ok(Self::Weld),
            "free" if part.is_empty() => return Ok(Self::Free),
            "pull" => Self::Pull,
            "put" => Self::Put,
            "renumber" => Self::Renumber,
            "hang" => Self::Hang,
            "heal" => Self::Heal,
            _ => return Err(format!("`{text}` is not an order; they are pull, put, renumber, hang, heal PART; weld; free")),
        };
        match part {
            "console" => Ok(make(Part::Console)),
            "probe" => Ok(make(Part::Probe)),
            "port" => Ok(make(Part::Port)),
            _ => Err(format!("`{part}` is not a part; they are console, probe, port")),
        }
    }
}

impl Order {
    /// Does it.
    pub fn carry_out(self, bench: &Bench) -> Result<(), String> {
        match self {
            Self::Pull(part) => bench.pull(part).map_err(|error| error.to_string()),
            Self::Put(part) => bench.put_back(part).map_err(|error| error.to_string()),
            Self::Renumber(part) => bench.renumber(part).map_err(|error| error.to_string()),
            Self::Hang(part) => {
                bench.fault(part, Fault::Hang);
                Ok(())
            }
            Self::Heal(part) => {
                bench.heal(part);
                Ok(())
            }
            Self::Weld => {
                bench.weld(true);
                Ok(())
            }
            Self::Free => {
                bench.weld(false);
                Ok(())
            }
        }
    }
}

/// Wires the bench, runs the command, and gives its exit code.
///
/// # Errors
/// The bench cannot be wired, or the command not be started.
pub fn run(device: Device, command: &[OsString]) -> Result<ExitCode, BenchError> {
    let (program, arguments) = command.split_first().ok_or_else(|| io::Error::other("there is no command"))?;
    let wired = match device {
        Device::Lock => Wired::Lock(Box::new(Lock::complete(NAME, UNIT)?)),
        Device::Hub => Wired::Hub(Hub::complete(HUB, 1)?),
    };
    serve(&Arc::new(Mutex::new(wired)))?;
    // So that `hilbench` and `lab` are what was built with this.
    let here = std::env::current_exe()?;
    let mut path = OsString::from(here.parent().unwrap_or(Path::new("/")));
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let status = Command::new(program).args(arguments).env("PATH", path).status()?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(125)))
}

/// Takes orders until the process ends.
fn serve(wired: &Arc<Mutex<Wired>>) -> io::Result<()> {
    drop(fs::remove_file(SOCKET));
    let listener = UnixListener::bind(SOCKET)?;
    let wired = Arc::clone(wired);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A hand that lets go in the middle of an order has not given one.
            drop(answer(&stream, &wired));
        }
    });
    Ok(())
}

fn answer(mut stream: &UnixStream, wired: &Mutex<Wired>) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut text = String::new();
    BufReader::new(stream).read_line(&mut text)?;
    let wired = wired.lock().unwrap_or_else(PoisonError::into_inner);
    let done = Order::from_str(text.trim_end()).and_then(|order| order.carry_out(wired.bench()));
    writeln!(stream, "{}", done.err().unwrap_or_else(|| "done".to_owned()))
}

/// Gives an order to the bench of this guest.
///
/// # Errors
/// There is no bench, or the order could not be carried out.
pub fn order(text: &str) -> Result<(), String> {
    let failed =
        |error: io::Error| format!("no bench takes orders here ({error}); they are for commands under `cargo lab bench`");
    let mut stream = UnixStream::connect(SOCKET).map_err(failed)?;
    writeln!(stream, "{text}").map_err(failed)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).map_err(failed)?;
    if answer.trim_end() == "done" { Ok(()) } else { Err(answer.trim_end().to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_words_and_wrong_ones_say_what_there_is() {
        assert_eq!("pull console".parse(), Ok(Order::Pull(Part::Console)));
        assert_eq!("renumber probe".parse(), Ok(Order::Renumber(Part::Probe)));
        assert_eq!("weld".parse(), Ok(Order::Weld));
        assert!("weld port".parse::<Order>().is_err_and(|error| error.contains("weld; free")));
        assert!("pull plug".parse::<Order>().is_err_and(|error| error.contains("console, probe, port")));
    }
}
