//! The firmware's console says the same on both sides, byte for byte: boot, commands, refused and genuine updates, a crash.
//!
//! Flash is written through the debugger before a reset: `-device loader` would write its files again at every reset.

use std::{fs, io::Write as _, path::Path};

use hilbench::virtual_dut::{CYCLES_PER_SECOND, Machine, MachineConfig};

use super::emulator::Qemu;

/// Lines that are not compared: how they begin, how far they agree, and why.
const EXCEPTIONS: &[(&str, usize, &str)] = &[
    ("BL: reset ", 10, "QEMU has no RESETREAS"),
    ("log ", 4, "QEMU has no RESETREAS, and the second in which something happens is not the same"),
    ("dump ", 5, "the second is not the same"),
    ("version 2.0.0 counter ", 22, "QEMU clears UICR, where the counter is, at every reset"),
];

/// For one answer.
const PATIENCE: u64 = 20 * CYCLES_PER_SECOND;

fn image(id: &str) -> Vec<u8> {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("firmware-fixtures/smart-lock/images");
    fs::read(images.join(format!("{id}.bin"))).unwrap()
}

struct Both {
    machine: Machine,
    qemu: Qemu,
    compared: usize,
    excepted: Vec<String>,
}

impl Both {
    fn new() -> Self {
        let (mut machine, mut qemu) = (Machine::new(MachineConfig::default()), Qemu::new());
        for (address, id) in [(0, "bootloader"), (0x6000, "lock-v1")] {
            machine.preload(address, &image(id)).unwrap();
            qemu.write(address, &image(id));
        }
        machine.power_on();
        machine.stop_on_uart(true);
        qemu.boot();
        Self { machine, qemu, compared: 0, excepted: Vec::new() }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.machine.uart_push(bytes);
        self.qemu.console.write_all(bytes).unwrap();
    }

    /// Lets both speak up to and with `end`, and compares.
    fn hear(&mut self, end: &str) {
        let (mut ours, limit) = (Vec::new(), self.machine.now() + PATIENCE);
        while !ours.ends_with(end.as_bytes()) {
            assert!(self.machine.now() < limit, "waiting for {end:?} after {:?}", String::from_utf8_lossy(&ours));
            self.machine.run_until(limit);
            ours.extend(self.machine.uart_take());
        }
        let theirs = self.qemu.hear(end);
        let (ours, theirs) = (String::from_utf8_lossy(&ours), String::from_utf8_lossy(&theirs));
        assert_eq!(ours.split_inclusive('\n').count(), theirs.split_inclusive('\n').count(), "machine {ours:?}, QEMU {theirs:?}");
        for (mut ours, mut theirs) in ours.split_inclusive('\n').zip(theirs.split_inclusive('\n')) {
            if let Some((_, len, reason)) = EXCEPTIONS.iter().find(|(start, ..)| ours.starts_with(start) && ours != theirs) {
                self.excepted.push(format!("{ours:?} and {theirs:?}: {reason}"));
                (ours, theirs) = (&ours[..*len], &theirs[..(*len).min(theirs.len())]);
            }
            assert_eq!(ours, theirs);
            self.compared += ours.len();
        }
    }

    fn ask(&mut self, command: &str, end: &str) {
        self.send(format!("{command}\r\n").as_bytes());
        self.hear(end);
    }

    fn update(&mut self, bytes: &[u8], end: &str) {
        self.ask("login admin 24681357", "ok\r\n");
        self.ask(&format!("update {}", bytes.len()), "send\r\n");
        for part in bytes.chunks(64) {
            self.send(part);
            self.hear("\r\n");
        }
        self.hear(end);
    }
}

pub(crate) fn same_transcript() {
    let mut both = Both::new();
    both.hear("smart-lock 1.0.0 ready\r\n");
    both.ask("version", "\r\n");
    both.ask("unlock", "\r\n");
    both.ask("frobnicate", "\r\n");
    both.ask("login admin 1111", "\r\n");
    both.ask("login admin 24681357", "ok\r\n");
    both.ask("settings", "\r\n");
    both.ask("set volume 7", "ok\r\n");
    both.ask("users", "\r\n");
    both.ask("unlock", "ok\r\n");
    both.ask("log", "log end 3\r\n");
    // A HardFault, through the bootloader's vectors to the application's handler, with a frame that it reads.
    both.ask("crash", "ok\r\n");
    both.hear("smart-lock 1.0.0 ready\r\n");
    both.ask("login admin 24681357", "ok\r\n");
    both.ask("log", "log end 5\r\n");
    both.ask("dump", "dump end 1\r\n");
    let mut forged = image("lock-v2");
    forged[5000] ^= 1;
    both.update(&forged, "BL: refused signature\r\nBL: verify a ok\r\nsmart-lock 1.0.0 ready\r\n");
    both.update(&image("lock-v2"), "smart-lock 2.0.0 ready\r\n");
    both.ask("version", "\r\n");
    both.ask("login admin 24681357", "ok\r\n");
    both.ask("settings", "volume=7 autolock=30\r\n");
    both.ask("confirm", "confirmed\r\n");
    both.ask("version", "counter 2 confirmed\r\n");
    eprintln!("console: {} bytes compared; lines that differ:", both.compared);
    for line in &both.excepted {
        eprintln!("  {line}");
    }
}
