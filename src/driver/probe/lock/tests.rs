mod families;
mod fixtures;
mod policy;
mod text;

use std::{collections::BTreeMap, fs, path::Path};

use super::{ask::Wire, transcript::mem_ap, *};
use crate::driver::probe::failure::Failure;

/// A recorded transcript with the verdict that it has to give.
struct Case {
    family: Family,
    /// `open`, `read-protected`, `locked`, `locked-for-good`, `no-debug-port` or `undetermined`.
    kind: String,
    title: String,
    source: String,
    transcript: Transcript,
}

fn kind(state: &LockState) -> &'static str {
    match state {
        LockState::Open => "open",
        LockState::ReadProtected { .. } => "read-protected",
        LockState::Locked { permanent: false, .. } => "locked",
        LockState::Locked { permanent: true, .. } => "locked-for-good",
        LockState::NoDebugPort => "no-debug-port",
        LockState::Undetermined { .. } => "undetermined",
    }
}

/// What every fixture begins with, given DPIDR.
fn port_up(dpidr: &str) -> String {
    format!("supply 3300 mV\ndp r 0x00 = {dpidr}\ndp w 0x00 0x1e = ok\ndp w 0x04 0x50000000 = ok\ndp r 0x04 = 0xf0000040\n")
}

fn cases(family: Family) -> Vec<Case> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/lock/{family}.txt"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let read = |block: &str| {
        let mut lines = block.lines();
        let (kind, title) = lines.next().unwrap().split_once(": ").unwrap();
        let source = lines.next().unwrap().strip_prefix("source ").unwrap();
        let body: String = lines
            .map(|line| match line.strip_prefix("port-up ") {
                Some(dpidr) => port_up(dpidr),
                None => format!("{line}\n"),
            })
            .collect();
        let transcript = body.parse().unwrap_or_else(|error| panic!("{}, {title}: {error}", path.display()));
        Case { family, kind: kind.to_owned(), title: title.to_owned(), source: source.to_owned(), transcript }
    };
    format!("\n{text}").split("\ncase ").skip(1).map(read).collect()
}

fn all_cases() -> Vec<Case> {
    Family::ALL.into_iter().flat_map(cases).collect()
}

/// A device that behaves as a transcript says, whatever it is asked: registers that the transcript does not have read as zero, and memory
/// that it does not have is refused.
struct Device<'a> {
    recorded: &'a Transcript,
    read: BTreeMap<String, usize>,
    control: BTreeMap<String, u32>,
    target: BTreeMap<String, u32>,
}

impl<'a> Device<'a> {
    fn of(recorded: &'a Transcript) -> Self {
        Self { recorded, read: BTreeMap::new(), control: BTreeMap::new(), target: BTreeMap::new() }
    }

    fn register(&mut self, transaction: &Transaction) -> Answer {
        let answers: Vec<Answer> = self.recorded.reads(transaction.port, transaction.address).collect();
        let next = self.read.entry(transaction.to_string()).or_default();
        let answer = answers.get(*next).or(answers.last()).copied();
        *next += 1;
        answer.unwrap_or(Answer::Ok(0))
    }

    fn memory(&self, port: Port) -> Answer {
        let name = port.to_string();
        let Some(&address) = self.target.get(&name) else { panic!("{port}: data register read before an address was set") };
        let csw_matters = self.recorded.exchanges.iter().any(|exchange| {
            let Transaction { port: at, address, access } = exchange.transaction;
            at == port && address == port.at(mem_ap::CSW) && matches!(access, Access::Write(_))
        });
        let csw = if csw_matters { self.control.get(&name).copied() } else { None };
        self.recorded.memory(port, csw, address).unwrap_or(Answer::Fault)
    }
}

impl Wire for Device<'_> {
    fn transact(&mut self, transaction: &Transaction) -> Result<Answer, Failure> {
        let Transaction { port, address, access } = *transaction;
        let is = |register: u16| port != Port::Dp && address == port.at(register) && self.recorded.is_mem_ap(port);
        Ok(match access {
            Access::Read if is(mem_ap::DRW) => self.memory(port),
            Access::Read => self.register(transaction),
            Access::Write(value) => {
                if is(mem_ap::CSW) {
                    self.control.insert(port.to_string(), value);
                } else if is(mem_ap::TAR) {
                    self.target.insert(port.to_string(), value);
                }
                Answer::Ok(value)
            }
        })
    }
}
