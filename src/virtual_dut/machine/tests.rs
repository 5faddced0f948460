//! The device as a whole: flash, watchdog, protection, and that neither slices of time nor snapshots nor short cuts leave a trace.

use std::{fs, path::Path, sync::Arc};

use super::{super::noise::Noise, *};
use crate::virtual_dut::{CYCLES_PER_SECOND, FLASH_SIZE, PAGE_SIZE, RAM_BASE, RAM_SIZE, UICR_BASE};

const NVMC_CONFIG: u32 = 0x4001_E504;
const NVMC_ERASE_PAGE: u32 = 0x4001_E508;
/// `verify-entry` of the plain bootloader in `firmware-fixtures/manifest.toml`.
const VERIFY: u32 = 0x3B9A;

/// Powered and started, in an endless loop at 0x100.
fn looping() -> Machine {
    let mut machine = Machine::new(MachineConfig::default());
    let words = [RAM_BASE + RAM_SIZE, 0x101].map(u32::to_le_bytes).concat();
    machine.preload(0, &words).unwrap();
    machine.preload(0x100, &[0xFE, 0xE7]).unwrap();
    machine.power_on();
    machine.run_until(START_UP + 100);
    machine
}

/// As the core does.
fn store(machine: &mut Machine, address: u32, value: u32) -> Option<()> {
    let now = machine.now;
    machine.soc.write(address, Size::Word, value, now, false)
}

fn image(id: &str) -> Vec<u8> {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("firmware-fixtures/smart-lock/images");
    fs::read(images.join(format!("{id}.bin"))).unwrap()
}

fn lock(application: &[u8]) -> Machine {
    let mut machine = Machine::new(MachineConfig::default());
    machine.preload(0, &image("bootloader")).unwrap();
    machine.preload(0x6000, application).unwrap();
    machine.power_on();
    machine
}

/// Runs to `end` in slices, and gives what was said on the way, and the digest.
fn sliced(mut machine: Machine, end: u64, slice: u64) -> (Vec<TxByte>, [u8; 32]) {
    let mut said = Vec::new();
    while machine.now() < end {
        machine.run_until((machine.now() + slice).min(end));
        said.extend(machine.uart_take_timed());
    }
    (said, machine.digest())
}

#[test]
fn slices_of_time_leave_no_trace() {
    let memo = Arc::new(VerifyMemo::new());
    let mut up = lock(&image("lock-v1"));
    up.memoise_verify(VERIFY, memo);
    let start = up.clone();
    up.run_until(3 * CYCLES_PER_SECOND);
    assert!(up.uart_take().ends_with(b"ready\r\n"));
    up.uart_push(b"status\r\nversion\r\n");
    for machine in [start, up] {
        let end = machine.now() + 700_000;
        let whole = sliced(machine.clone(), end, u64::MAX / 2);
        assert!(!whole.0.is_empty());
        for slice in [1, 7, 1000] {
            assert_eq!(sliced(machine.clone(), end, slice), whole, "slices of {slice}");
        }
    }
}

#[test]
fn a_snapshot_goes_on_alike_whatever_becomes_of_the_original() {
    let mut machine = lock(&image("lock-v1"));
    machine.run_until(200_000);
    let snapshot = machine.clone();
    machine.run_until(600_000);
    machine.preload(0x400, &[0; 1024]).unwrap();
    for offset in 0..RAM_SIZE {
        machine.debug_write(RAM_BASE + offset, Size::Byte, 0xEE).unwrap();
    }
    let (mut first, mut second) = (snapshot.clone(), snapshot);
    assert_eq!(first.digest(), second.digest());
    first.run_until(900_000);
    second.run_until(900_000);
    assert_eq!((first.uart_take(), first.digest()), (second.uart_take(), second.digest()));
}

#[test]
fn a_remembered_check_leaves_what_an_executed_one_does() {
    let mut forged = image("lock-v1");
    forged[5000] ^= 1;
    for (application, said) in [(image("lock-v1"), "ready\r\n"), (forged, "BL: recovery\r\n")] {
        let memo = Arc::new(VerifyMemo::new());
        let machine = lock(&application);
        let run = |memo: Option<Arc<VerifyMemo>>| {
            let mut machine = machine.clone();
            if let Some(memo) = memo {
                machine.memoise_verify(VERIFY, memo);
            }
            machine.run_until(3 * CYCLES_PER_SECOND);
            let transcript = machine.uart_take_timed();
            let text: Vec<u8> = transcript.iter().map(|sent| sent.byte).collect();
            assert!(String::from_utf8_lossy(&text).ends_with(said), "{}", String::from_utf8_lossy(&text));
            (transcript, machine.digest(), machine.future(), machine.instructions())
        };
        let executed = run(None);
        let watched = run(Some(memo.clone()));
        assert_eq!(memo.hits_and_misses(), (0, 1));
        let remembered = run(Some(memo.clone()));
        assert_eq!(memo.hits_and_misses(), (1, 1));
        assert!(executed == watched && executed == remembered, "{said:?}");
    }
}

#[test]
fn a_call_that_the_debugger_disturbed_is_not_remembered() {
    let memo = Arc::new(VerifyMemo::new());
    let mut machine = lock(&image("lock-v1"));
    machine.memoise_verify(VERIFY, memo.clone());
    let mut second = machine.clone();
    machine.run_until(CYCLES_PER_SECOND / 2);
    assert_eq!(memo.hits_and_misses(), (0, 1));
    machine.debug_write(RAM_BASE, Size::Byte, 0).unwrap();
    machine.run_until(3 * CYCLES_PER_SECOND);
    second.run_until(3 * CYCLES_PER_SECOND);
    assert_eq!(memo.hits_and_misses(), (0, 2));
}

#[test]
fn a_debugger_steps_in_the_middle_of_a_call_answered_from_memory_and_the_device_takes_no_less_time() {
    const DHCSR: u32 = 0xE000_EDF0;
    const KEY: u32 = 0xA05F_0000;
    let memo = Arc::new(VerifyMemo::new());
    let ready = |disturb: bool| {
        let mut machine = lock(&image("lock-v1"));
        machine.memoise_verify(VERIFY, Arc::clone(&memo));
        machine.run_until(CYCLES_PER_SECOND / 2);
        if disturb {
            let before = machine.now();
            machine.debug_write(DHCSR, Size::Word, KEY | 3).unwrap();
            assert!(machine.is_halted(), "in the middle of the check");
            machine.debug_write(DHCSR, Size::Word, KEY | 5).unwrap();
            machine.run_until(before + 1000);
            assert!(machine.is_halted(), "stepped");
            machine.debug_write(DHCSR, Size::Word, KEY).unwrap();
        }
        let mut said = machine.uart_take();
        while !said.ends_with(b"ready\r\n") {
            machine.run_until(machine.now() + CYCLES_PER_SECOND / 1000);
            said.extend(machine.uart_take());
            assert!(machine.now() < 5 * CYCLES_PER_SECOND);
        }
        machine.now()
    };
    let executed = ready(false);
    for disturb in [false, true] {
        // Looked at once a millisecond.
        assert!(ready(disturb).abs_diff(executed) < CYCLES_PER_SECOND / 500, "disturbed: {disturb}");
    }
}

#[test]
fn flash_is_written_only_when_enabled_and_bits_are_only_cleared() {
    let mut machine = looping();
    let address = 0x8000;
    assert_eq!(store(&mut machine, address, 0), None);
    assert_eq!((machine.nv().read(address, 4).unwrap(), machine.nv().counts().total()), (vec![0xFF; 4], 0));
    store(&mut machine, NVMC_CONFIG, 1).unwrap();
    store(&mut machine, address, 0xFFFF_0F0F).unwrap();
    store(&mut machine, address, 0x00FF_F0FF).unwrap();
    assert_eq!(machine.nv().read(address, 4).unwrap(), 0x00FF_000F_u32.to_le_bytes());
    for size in [Size::Half, Size::Byte] {
        let now = machine.now;
        assert_eq!(machine.soc.write(address + 4, size, 0, now, false), None, "{size:?}");
    }
    // Erasing is enabled by another value.
    store(&mut machine, NVMC_ERASE_PAGE, address).unwrap();
    assert_eq!(machine.nv().counts().pages, 0);
    store(&mut machine, NVMC_CONFIG, 2).unwrap();
    assert_eq!(store(&mut machine, address, 0), None);
    store(&mut machine, NVMC_ERASE_PAGE, address + 8).unwrap();
    assert_eq!(machine.nv().read(address, PAGE_SIZE).unwrap(), vec![0xFF; PAGE_SIZE as usize]);
    assert_eq!(machine.nv().read(0x100, 2).unwrap(), [0xFE, 0xE7], "other pages stay");
}

#[test]
fn the_core_stands_still_while_the_flash_is_busy() {
    let mut machine = looping();
    for (config, address, value, cycles) in [(1, 0x8000, 0, 46 * 16), (2, NVMC_ERASE_PAGE, 0x8000, 21_000 * 16)] {
        store(&mut machine, NVMC_CONFIG, config).unwrap();
        let (start, executed) = (machine.now(), machine.instructions());
        store(&mut machine, address, value).unwrap();
        machine.run_until(start + cycles);
        assert_eq!(machine.instructions(), executed);
        machine.run_until(start + cycles + 10);
        assert!(machine.instructions() > executed);
    }
}

#[test]
fn an_armed_cut_leaves_old_new_or_something_between() {
    let (address, old, new) = (0x8000, 0xFFFF_00FF_u32, 0x1234_5678_u32);
    let mut torn = std::collections::BTreeSet::new();
    for phase in [CutPhase::Before, CutPhase::After].into_iter().chain((0..20).map(|seed| CutPhase::Torn { seed })) {
        let mut machine = looping();
        machine.preload(address, &old.to_le_bytes()).unwrap();
        machine.arm_cut(0, phase);
        store(&mut machine, NVMC_CONFIG, 1).unwrap();
        store(&mut machine, address, new).unwrap();
        assert_eq!(machine.run_until(machine.now() + 10_000), StopReason::CutReached);
        assert!(!machine.is_powered());
        let now = machine.soc.nv.word(address).unwrap();
        match phase {
            CutPhase::Before => assert_eq!(now, old),
            CutPhase::After => assert_eq!(now, old & new),
            CutPhase::Torn { .. } => {
                assert_eq!((now | old, now & (old & new)), (old, old & new), "{now:#x}");
                torn.insert(now);
            }
        }
    }
    assert!(torn.len() > 5, "{torn:x?}");
}

#[test]
fn power_lost_within_an_erase_only_sets_bits() {
    let mut machine = looping();
    machine.preload(0x8000, &[0x5A; 1024]).unwrap();
    store(&mut machine, NVMC_CONFIG, 2).unwrap();
    store(&mut machine, NVMC_ERASE_PAGE, 0x8000).unwrap();
    machine.run_until(machine.now() + 1000);
    machine.power_off();
    let page = machine.nv().read(0x8000, 1024).unwrap();
    assert!(page.iter().all(|byte| byte & 0x5A == 0x5A));
    assert!(page.iter().any(|byte| *byte != 0x5A) && page.iter().any(|byte| *byte != 0xFF));
}

#[test]
fn a_watchdog_that_nobody_feeds_resets_and_says_so() {
    let mut machine = looping();
    for (register, value) in [(0x4001_0504, 3276), (0x4001_0000, 1)] {
        store(&mut machine, register, value).unwrap();
    }
    let mut fed = machine.clone();
    machine.run_until(machine.now() + CYCLES_PER_SECOND / 5);
    assert_eq!(machine.debug_read(0x4000_0400, Size::Word), Ok(2), "RESETREAS.DOG");
    assert_eq!(machine.debug_read(0x4001_0400, Size::Word), Ok(0), "no longer running");
    for _ in 0..20 {
        fed.run_until(fed.now() + CYCLES_PER_SECOND / 100);
        store(&mut fed, 0x4001_0600, 0x6E52_4635).unwrap();
    }
    assert_eq!(fed.debug_read(0x4000_0400, Size::Word), Ok(0));
}

#[test]
fn reasons_of_resets_add_up() {
    let mut machine = looping();
    machine.pin_reset();
    machine.run_until(machine.now() + START_UP + 10);
    machine.debug_write(0xE000_ED0C, Size::Word, 0x05FA_0004).unwrap();
    machine.run_until(machine.now() + START_UP + 10);
    assert_eq!(machine.debug_read(0x4000_0400, Size::Word), Ok(1 | 4), "pin and soft");
    machine.power_off();
    machine.power_on();
    assert_eq!(machine.debug_read(0x4000_0400, Size::Word), Ok(0));
}

#[test]
fn protected_flash_reads_as_zero_for_the_debugger_and_runs() {
    let mut machine = looping();
    assert_eq!(machine.debug_read(0x100, Size::Half), Ok(0xE7FE));
    store(&mut machine, NVMC_CONFIG, 1).unwrap();
    store(&mut machine, UICR_BASE + 4, 0xFFFF_00FF).unwrap();
    machine.run_until(machine.now() + 10_000);
    assert_eq!(machine.debug_read(0x100, Size::Half), Ok(0xE7FE), "from the next reset on");
    machine.pin_reset();
    let executed = machine.instructions();
    machine.run_until(machine.now() + START_UP + 1000);
    assert!(machine.instructions() > executed + 100);
    for (address, size) in [(0x100, Size::Half), (0, Size::Word), (FLASH_SIZE - 1, Size::Byte)] {
        assert_eq!(machine.debug_read(address, size), Ok(0));
    }
    machine.debug_write(RAM_BASE, Size::Word, 7).unwrap();
    assert_eq!(machine.debug_read(RAM_BASE, Size::Word), Ok(7), "RAM is not protected");
    // Erasing everything lifts it, with the next reset.
    machine.debug_write(NVMC_CONFIG, Size::Word, 2).unwrap();
    machine.debug_write(0x4001_E50C, Size::Word, 1).unwrap();
    machine.run_until(machine.now() + CYCLES_PER_SECOND);
    machine.pin_reset();
    assert_eq!(machine.debug_read(0x100, Size::Half), Ok(0xFFFF));
}

#[test]
fn bytes_leave_no_faster_than_ten_bit_times() {
    let mut machine = lock(&image("lock-v1"));
    machine.run_until(100_000);
    let sent = machine.uart_take_timed();
    assert!(sent.len() > 10);
    let bits = 10 * CYCLES_PER_SECOND / 115_200;
    assert!(sent.windows(2).all(|pair| pair[1].at - pair[0].at >= bits), "{sent:?}");
}

#[test]
fn whatever_is_in_flash_can_be_executed() {
    for seed in 0..10 {
        let mut noise = Noise::new(seed);
        let mut machine = Machine::new(MachineConfig { seed, ..MachineConfig::default() });
        let mut flash: Vec<u8> = (0..0x1000).flat_map(|_| noise.next().to_le_bytes()).collect();
        // Vectors that lead somewhere, most of the time.
        for vector in flash[..0xC0].as_chunks_mut::<4>().0 {
            *vector = ((noise.next() as u32 & 0x7FFF) | 1).to_le_bytes();
        }
        flash[..4].copy_from_slice(&(RAM_BASE + (noise.next() as u32 & 0x3FFC)).to_le_bytes());
        machine.preload(0, &flash).unwrap();
        machine.power_on();
        machine.uart_push(&flash[..64]);
        while machine.instructions() < 100_000 {
            machine.run_until(machine.now() + 1 + (noise.next() & 0x3FFF));
            // Random code soon ends in a loop or a fault: somewhere else, then.
            let core = &mut machine.core;
            core.registers.pc = noise.next() as u32 & if noise.next() & 7 == 0 { u32::MAX - 1 } else { 0x7FFE };
            let register = noise.next() as usize & 15;
            core.registers.r[register] = RAM_BASE + (noise.next() as u32 & 0x3FFF);
        }
    }
}

#[test]
fn whatever_a_debugger_does_is_answered() {
    let spaces = [0, 0x6000, 0x1000_0000, UICR_BASE, RAM_BASE, 0x4000_0000, 0x4000_2000, 0x4000_8000, 0x4001_0000, 0x4001_E000];
    let more = [0x5000_0000, 0xE000_1000, 0xE000_2000, 0xE000_E000, 0xE000_E000, 0xE000_E000, 0xE00F_F000, 0xF000_0000];
    let spaces = [&spaces[..], &more].concat();
    for seed in 0..40 {
        let mut noise = Noise::new(seed);
        let mut machine = lock(&image("lock-v1"));
        for _ in 0..2000 {
            let (value, kind) = (noise.next() as u32, noise.next());
            let size = [Size::Byte, Size::Half, Size::Word, Size::Word][kind as usize & 3];
            let address = spaces[(kind >> 8) as usize % spaces.len()] + (noise.next() as u32 & 0xFFF);
            let address = if kind >> 16 & 7 == 0 { noise.next() as u32 } else { address & !3 };
            match kind >> 24 & 15 {
                0..=4 => drop(machine.debug_read(address, size)),
                5..=8 => drop(machine.debug_write(address, size, value)),
                9 => drop(machine.debug_write(0xE000_EDF0, Size::Word, 0xA05F_0000 | value & 0xF)),
                10 => drop(machine.debug_write(0xE000_EDF4, Size::Word, value & 0x1_001F)),
                11 => drop(machine.debug_write(0xE000_2000 + (value & 0x1C), Size::Word, value | 1)),
                12 if value & 15 == 0 => machine.power_off(),
                12 => machine.power_on(),
                13 if value & 15 == 0 => machine.pin_reset(),
                _ => {
                    machine.run_until(machine.now() + u64::from(value & 0xFFF));
                }
            }
        }
    }
}
