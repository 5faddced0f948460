//! The virtual device through probe-rs: sessions on it, and the probe link that the bench uses.
//!
//! Everything between these tests and the registers of the model is the code that drives real probes, and the flash algorithm is the one
//! that probe-rs has for the chip, executed by the emulated core.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test")]

mod probe {
    pub(crate) mod device;
    mod lock;
}

use std::{sync::LazyLock, thread, time::Duration};

use hilbench::{
    channel::link::{Driver, LinkError, Opened, Parameters, ProbeLink, Proof, Segment},
    driver::probe::{ProbeRs, ProbeRsLink},
    event::{CutPhase, Digest},
    virtual_dut::{FLASH_SIZE, PAGE_SIZE, RAM_BASE, UICR_BASE, probe::Registered},
};
use probe::device::{COUNTER, Device, LOOP, counting_program, image};
use probe_rs::{
    CoreStatus, HaltReason, MemoryInterface, Permissions, Session,
    config::{Registry, TargetSelector},
    probe::list::Lister,
};

const CHIP: &str = "nRF51822_xxAA";
const HALT: Duration = Duration::from_millis(500);
/// UICR.RBPCONF and its value with readback protection of all code on.
const RBPCONF: u32 = UICR_BASE + 4;
const PROTECT_ALL: [u8; 4] = [0xFF, 0x00, 0xFF, 0xFF];

static REGISTRY: LazyLock<Registry> = LazyLock::new(Registry::from_builtin_families);

fn attach(registered: &Registered) -> Session {
    attach_as(registered, CHIP.into())
}

fn attach_as(registered: &Registered, chip: TargetSelector) -> Session {
    let listed = Lister::new().list_all();
    let info = listed.iter().find(|probe| probe.serial_number.as_deref() == Some(registered.serial())).expect("it is listed");
    info.open().expect("it is free").attach_with_registry(chip, Permissions::new(), &REGISTRY).expect("the device answers")
}

fn link(registered: &Registered) -> ProbeRsLink {
    ProbeRsLink::new(registered.selector(), CHIP.into(), format!("virtual-probe {}", registered.serial()))
}

fn segment(address: u32, bytes: &[u8]) -> Segment {
    Segment { address, bytes: bytes.to_vec() }
}

fn witness(proof: Result<Proof, LinkError>) -> String {
    match proof.expect("the operation succeeds") {
        Proof::Seen(witness) => witness.what,
        Proof::None(missing) => panic!("no witness: {missing}"),
    }
}

// --- sessions, straight through probe-rs ---

#[test]
fn the_core_halts_steps_and_runs() {
    let device = Device::running(&counting_program());
    let registered = device.plug_in("halt-step-run");
    let mut session = attach(&registered);
    let mut core = session.core(0).unwrap();
    assert!(!core.status().unwrap().is_halted(), "attaching leaves the device running");

    core.halt(HALT).unwrap();
    let counted = core.read_word_32(COUNTER.into()).unwrap();
    assert!(counted > 0);
    let before = core.read_word_32(COUNTER.into()).unwrap();
    assert_eq!(core.read_word_32(COUNTER.into()).unwrap(), before, "a halted core does not count");

    let mut at = core.read_core_reg::<u32>(core.program_counter()).unwrap();
    for _ in 0..6 {
        let next = if at == LOOP.end { LOOP.start } else { at + 2 };
        at = core.step().unwrap().pc as u32;
        assert_eq!(at, next);
    }
    assert_eq!(core.read_word_32(COUNTER.into()).unwrap(), before + 2, "six steps are two rounds");

    core.run().unwrap();
    device.run(1000);
    core.halt(HALT).unwrap();
    assert!(core.read_word_32(COUNTER.into()).unwrap() > before + 100);
}

#[test]
fn core_registers_are_read_and_written() {
    let registered = Device::running(&counting_program()).plug_in("registers");
    let mut session = attach(&registered);
    let mut core = session.core(0).unwrap();
    core.reset_and_halt(HALT).unwrap();
    assert_eq!(core.read_core_reg::<u32>(core.program_counter()).unwrap(), 0x40);
    assert_eq!(core.read_core_reg::<u32>(core.stack_pointer()).unwrap(), RAM_BASE + 0x4000);
    for register in 0..13_u16 {
        core.write_core_reg(probe_rs::RegisterId(register), 0x1000_0000 + u32::from(register)).unwrap();
    }
    for register in 0..13_u16 {
        assert_eq!(core.read_core_reg::<u32>(probe_rs::RegisterId(register)).unwrap(), 0x1000_0000 + u32::from(register));
    }
    // The next two instructions set r0 and r1; the third counts on from what is written here.
    core.step().unwrap();
    core.step().unwrap();
    core.write_core_reg(probe_rs::RegisterId(0), 41_u32).unwrap();
    core.step().unwrap();
    core.step().unwrap();
    assert_eq!(core.read_word_32(COUNTER.into()).unwrap(), 42);
}

#[test]
fn a_hardware_breakpoint_stops_the_core_there() {
    let device = Device::running(&counting_program());
    let registered = device.plug_in("breakpoint");
    let mut session = attach(&registered);
    let mut core = session.core(0).unwrap();
    core.halt(HALT).unwrap();
    for address in [LOOP.start + 2, LOOP.start] {
        core.set_hw_breakpoint(address.into()).unwrap();
        core.run().unwrap();
        core.wait_for_core_halted(HALT).unwrap();
        assert!(matches!(core.status().unwrap(), CoreStatus::Halted(HaltReason::Breakpoint(_))));
        assert_eq!(core.read_core_reg::<u32>(core.program_counter()).unwrap(), address);
        core.clear_hw_breakpoint(address.into()).unwrap();
    }
    core.run().unwrap();
    device.run(10_000);
    assert!(!core.status().unwrap().is_halted(), "no breakpoint is left");
}

#[test]
fn memory_is_read_and_written_in_bytes_and_words() {
    let registered = Device::running(&counting_program()).plug_in("memory-widths");
    let mut session = attach(&registered);
    let mut core = session.core(0).unwrap();
    core.halt(HALT).unwrap();
    let base = u64::from(RAM_BASE) + 0x100;
    core.write_32(base, &[0x0403_0201, 0x0807_0605]).unwrap();
    core.write_8(base + 3, &[0xAA, 0xBB]).unwrap();
    let mut bytes = [0; 8];
    core.read_8(base, &mut bytes).unwrap();
    assert_eq!(bytes, [1, 2, 3, 0xAA, 0xBB, 6, 7, 8]);
    assert_eq!(core.read_word_32(base + 4).unwrap(), 0x0807_06BB);
    let mut long = vec![0; 3000];
    core.read_8(0, &mut long).unwrap();
    assert_eq!(long[..0x50], counting_program()[..0x50], "flash, across the increment limit of the access port");
    assert!(core.read_word_32(0x3000_0000).is_err(), "nothing is there");
    assert_eq!(core.read_word_32(base).unwrap(), 0xAA03_0201, "and the session goes on");
}

#[test]
fn the_chip_is_told_from_its_rom_table_and_factory_registers() {
    let registered = Device::running(&counting_program()).plug_in("auto-detect");
    assert!(attach_as(&registered, TargetSelector::Auto).target().name.starts_with("nRF51822"));
}

#[test]
fn a_session_ends_with_the_supply_and_a_new_one_works() {
    let device = Device::running(&counting_program());
    let registered = device.plug_in("session-cut");
    let mut session = attach(&registered);
    device.power(false);
    assert!(session.core(0).and_then(|mut core| core.halt(HALT).map(drop)).is_err());
    device.power(true);
    drop(session);
    let mut session = attach(&registered);
    let mut core = session.core(0).unwrap();
    core.halt(HALT).unwrap();
    assert!(core.read_word_32(COUNTER.into()).unwrap() > 0, "it booted and counts again");
}

// --- the probe link of the bench ---

#[tokio::test]
async fn flashing_leaves_exactly_the_image_and_the_device_running_it() {
    let device = Device::running(&image(1, 8 * 1024));
    let registered = device.plug_in("flash");
    let wanted = counting_program();
    let padding = image(2, 16 * 1024 - wanted.len());
    let told = witness(link(&registered).flash(vec![segment(0, &wanted), segment(wanted.len() as u32, &padding)], false).await);
    let all = [wanted, padding].concat();
    assert_eq!(device.flash(0, all.len() as u32), all);
    assert!(told.contains(&format!("wrote {} bytes in 2 segments", all.len())) && told.contains(&Digest::of(&all).0), "{told}");
    assert!(told.contains("caught in reset at 0x00000040"), "{told}");
    let before = device.counter();
    device.run(10_000);
    assert!(device.counter() > before, "it runs");
}

#[tokio::test]
async fn flashing_part_of_a_page_keeps_the_rest_of_it() {
    let device = Device::running(&image(3, 4 * 1024));
    let registered = device.plug_in("part-of-a-page");
    let mut wanted = device.flash(0, FLASH_SIZE);
    let piece = image(4, 100);
    wanted[PAGE_SIZE as usize + 36..][..100].copy_from_slice(&piece);
    link(&registered).flash(vec![segment(PAGE_SIZE + 36, &piece)], false).await.unwrap();
    assert!(device.flash(0, FLASH_SIZE) == wanted);
}

#[tokio::test]
async fn erasing_all_erases_code_and_configuration() {
    let device = Device::running(&image(5, 20 * 1024));
    device.preload(UICR_BASE + 0x80, &[0, 0, 0, 0]);
    let registered = device.plug_in("erase-all");
    let program = counting_program();
    let told = witness(link(&registered).flash(vec![segment(0, &program)], true).await);
    assert!(told.starts_with("erased all; "), "{told}");
    let flash = device.flash(0, FLASH_SIZE);
    assert_eq!(flash[..program.len()], program);
    assert!(flash[program.len()..].iter().all(|&byte| byte == 0xFF));
    assert_eq!(device.flash(UICR_BASE + 0x80, 4), [0xFF; 4]);
}

#[tokio::test]
async fn configuration_registers_are_written_and_never_silently_left() {
    let device = Device::running(&counting_program());
    let registered = device.plug_in("configuration");
    let mut link = link(&registered);
    let customer = UICR_BASE + 0x80;
    let told = witness(link.flash(vec![segment(customer, &[0x7F, 0xFF, 0xFF, 0xFF, 0xFE])], false).await);
    assert!(told.contains("2 configuration registers"), "{told}");
    assert_eq!(device.flash(customer, 8), [0x7F, 0xFF, 0xFF, 0xFF, 0xFE, 0xFF, 0xFF, 0xFF]);

    let code = device.flash(0, FLASH_SIZE);
    let error = link.flash(vec![segment(0, &image(6, 1024)), segment(customer, &[0xFF])], false).await.unwrap_err();
    assert!(error.what.contains("0x10001080") && error.what.contains("without erasing all"), "{error}");
    assert!(device.flash(0, FLASH_SIZE) == code, "nothing was touched");
}

#[tokio::test]
async fn segments_that_fit_nowhere_are_refused_before_anything_is_erased() {
    let device = Device::running(&counting_program());
    let registered = device.plug_in("nowhere");
    let code = device.flash(0, FLASH_SIZE);
    for bad in [segment(FLASH_SIZE - 2, &[1, 2, 3, 4]), segment(UICR_BASE + 0xF0, &[0; 64]), segment(0x5000_0000, &[1])] {
        link(&registered).flash(vec![segment(0, &image(7, 64)), bad], true).await.unwrap_err();
        assert!(device.flash(0, FLASH_SIZE) == code);
    }
}

#[tokio::test]
async fn a_reset_starts_the_program_anew() {
    let device = Device::running(&counting_program());
    let registered = device.plug_in("reset");
    device.run(1_000_000);
    let before = device.counter();
    let told = witness(link(&registered).reset().await);
    assert!(told.contains("0x00000040"), "{told}");
    let after = device.counter();
    assert!(after > 0 && after < before, "{after} is counted from zero");
}

#[tokio::test]
async fn memory_is_read_and_a_hole_is_the_devices_refusal() {
    let device = Device::running(&counting_program());
    let registered = device.plug_in("read");
    let mut link = link(&registered);
    assert_eq!(link.read(0, 0x50).await.unwrap().unwrap(), counting_program()[..0x50]);
    assert_eq!(link.read(3, 2).await.unwrap().unwrap(), counting_program()[3..5]);
    assert!(link.read(0, 0).await.unwrap().unwrap().is_empty());
    let refusal = link.read(0x3000_0000, 4).await.unwrap().unwrap_err();
    assert!(refusal.contains("FAULT"), "{refusal}");
    assert!(link.read(0xFFFF_FFF0, 0x20).await.is_err(), "beyond the address space is a mistake of the plan");
    assert!(link.read(0, u32::MAX).await.is_err(), "and so is this");
}

#[tokio::test]
async fn readback_protection_refuses_reads_and_only_erasing_all_opens_it() {
    let device = Device::running(&counting_program());
    let registered = device.plug_in("protection");
    let mut link = link(&registered);
    witness(link.flash(vec![segment(0, &counting_program()), segment(RBPCONF, &PROTECT_ALL)], true).await);

    let refusal = link.read(0, 64).await.unwrap().unwrap_err();
    assert!(refusal.contains("readback protection"), "{refusal}");
    assert!(device.counter() > 0, "the device itself runs");
    let error = link.flash(vec![segment(0, &counting_program())], false).await.unwrap_err();
    assert!(error.what.contains("erase-all"), "{error}");
    assert_eq!(device.flash(0, 64), counting_program()[..64], "nothing was touched");

    let other = [counting_program(), image(8, 512)].concat();
    witness(link.flash(vec![segment(0, &other)], true).await);
    assert_eq!(link.read(0, other.len() as u32).await.unwrap().unwrap(), other);
}

#[tokio::test]
async fn a_device_without_supply_is_told_from_the_sense_pin_without_trying_the_wire() {
    let device = Device::running(&counting_program());
    device.power(false);
    let registered = device.plug_in("no-supply");
    let mut link = link(&registered);
    for error in [
        link.read(0, 4).await.map(drop).unwrap_err(),
        link.reset().await.map(drop).unwrap_err(),
        link.flash(vec![segment(0, &[0; 4])], true).await.map(drop).unwrap_err(),
    ] {
        assert!(error.what.contains("no supply") && error.what.contains("has power"), "{error}");
        assert!(error.operation.contains("no-supply") && !error.lost, "{error}");
    }
    assert_eq!(registered.traffic().transfers, 0);
    device.power(true);
    link.read(0, 4).await.unwrap().unwrap();
}

#[tokio::test]
async fn power_lost_while_flashing_is_a_fault_of_the_bench_and_the_next_try_works() {
    let device = Device::running(&counting_program());
    let registered = device.plug_in("flash-cut");
    let mut link = link(&registered);
    let whole = [counting_program(), image(9, 6000)].concat();
    device.cut_at_flash_operation(200, CutPhase::Before);
    let error = link.flash(vec![segment(0, &whole)], false).await.unwrap_err();
    assert!(error.what.contains("has power") && !error.lost, "{error}");
    assert!(!device.powered());
    device.power(true);
    witness(link.flash(vec![segment(0, &whole)], false).await);
    assert_eq!(device.flash(0, whole.len() as u32), whole);
}

#[tokio::test]
async fn a_halted_core_stays_halted_over_reads_until_it_is_let_run() {
    let device = Device::running(&counting_program());
    let registered = device.plug_in("halt-link");
    let mut link = link(&registered);
    assert!(witness(link.halt().await).starts_with("core halted at 0x000000"));
    let before = device.counter();
    device.run(10_000);
    assert_eq!(link.read(COUNTER, 4).await.unwrap().unwrap(), before.to_le_bytes(), "it does not count");
    device.run(10_000);
    assert_eq!(device.counter(), before, "nor after the read");
    assert_eq!(witness(link.resume().await), "core let run");
    device.run(10_000);
    assert!(device.counter() > before);
    let error = link.resume().await.unwrap_err();
    assert!(error.what.contains("was not halted"), "{error}");

    link.halt().await.unwrap();
    witness(link.reset().await);
    let before = device.counter();
    device.run(10_000);
    assert!(device.counter() > before, "a reset lets it run");

    link.halt().await.unwrap();
    device.power(false);
    assert!(link.read(0, 4).await.unwrap_err().what.contains("power"));
    device.power(true);
    assert_eq!(link.read(0, 4).await.unwrap().unwrap(), counting_program()[..4], "a lost session is not held");
}

/// The link of a rig that is for one unit.
fn link_for(registered: &Registered, unit: &str) -> Box<dyn ProbeLink> {
    let values = [("probe", registered.selector()), ("chip", CHIP.to_owned()), ("unit", unit.to_owned())];
    let values = values.map(|(name, value)| (name.to_owned(), value));
    let parameters = Parameters { values: values.into(), ..Parameters::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    match runtime.block_on(ProbeRs::in_process().open(&parameters)).unwrap() {
        Opened::Probe(link) => link,
        _ => panic!("a probe driver opens a probe"),
    }
}

#[test]
fn another_board_is_not_changed() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let device = Device::running(&counting_program());
    let registered = device.plug_in("unit");
    let own = runtime
        .block_on(link(&registered).read(0x1000_0060, 8))
        .unwrap()
        .unwrap()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .concat();
    let mut right = link_for(&registered, &own.to_uppercase());
    witness(runtime.block_on(right.flash(vec![segment(0x1000, &image(3, 100))], false)));
    witness(runtime.block_on(right.flash(vec![segment(0, &counting_program())], true)));

    let before = device.flash(0, FLASH_SIZE);
    let mut wrong = link_for(&registered, "0011223344556677");
    let refused = [
        runtime.block_on(wrong.flash(vec![segment(0x1000, &image(4, 100))], false)).unwrap_err(),
        runtime.block_on(wrong.flash(vec![segment(0, &image(5, 100))], true)).unwrap_err(),
        runtime.block_on(wrong.reset()).unwrap_err(),
        runtime.block_on(wrong.halt()).unwrap_err(),
        runtime.block_on(wrong.read(0, 4)).unwrap_err(),
    ];
    for error in refused {
        assert!(error.what.contains(&format!("another board is attached: its chip is unit {own}")), "{error}");
    }
    assert!(device.flash(0, FLASH_SIZE) == before, "nothing was written");
    let counted = device.counter();
    device.run(10_000);
    assert!(device.counter() > counted, "it runs as before");
}

#[tokio::test]
async fn an_unplugged_probe_is_a_lost_instrument() {
    let registered = Device::running(&counting_program()).plug_in("lost");
    let mut link = link(&registered);
    link.read(0, 4).await.unwrap().unwrap();
    drop(registered);
    let error = link.read(0, 4).await.unwrap_err();
    assert!(error.lost && error.what.contains("there is no debug probe f055:0001:lost"), "{error}");
}

#[tokio::test]
async fn the_probe_rs_driver_opens_the_virtual_probe_like_any_other() {
    let device = Device::running(&counting_program());
    let registered = device.plug_in("by-driver");
    let values = [("probe", registered.selector()), ("chip", CHIP.to_owned()), ("speed", "1000kHz".to_owned())];
    let parameters = Parameters { values: values.map(|(name, value)| (name.to_owned(), value)).into(), ..Parameters::default() };
    let before = (device.now(), registered.traffic().transfers);
    let Opened::Probe(mut link) = ProbeRs::in_process().open(&parameters).await.unwrap() else {
        panic!("a probe driver opens a probe")
    };
    assert_eq!((device.now(), registered.traffic().transfers), before, "the device does not notice");
    assert_eq!(link.read(0, 16).await.unwrap().unwrap(), counting_program()[..16]);
}

#[tokio::test]
async fn the_same_operations_give_the_same_transfers_and_the_same_device() {
    let mut ends = Vec::new();
    for round in 0..2 {
        let device = Device::running(&counting_program());
        let registered = device.plug_in(&format!("determinism-{round}"));
        let mut link = link(&registered);
        link.flash(vec![segment(0, &counting_program()), segment(0x1000, &image(10, 3000))], true).await.unwrap();
        link.read(0x1000, 100).await.unwrap().unwrap();
        link.reset().await.unwrap();
        ends.push((registered.traffic(), device.digest()));
    }
    assert!(ends[0].0.transfers > 1000);
    assert_eq!(ends[0], ends[1]);
}

#[test]
fn two_benches_work_side_by_side() {
    let flash = |number: u8| {
        move || {
            let device = Device::running(&counting_program());
            let registered = device.plug_in(&format!("side-by-side-{number}"));
            let image = [counting_program(), image(number, 5000)].concat();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            witness(runtime.block_on(link(&registered).flash(vec![segment(0, &image)], true)));
            assert_eq!(device.flash(0, image.len() as u32), image);
        }
    };
    let workers = [thread::spawn(flash(21)), thread::spawn(flash(22))];
    for worker in workers {
        worker.join().unwrap();
    }
}
