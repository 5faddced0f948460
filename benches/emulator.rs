//! How fast the emulated device runs real firmware: `cargo bench --bench emulator`. Elements are instructions, boots or snapshots.

use std::{fs, hint::black_box, path::Path, sync::Arc};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use hilbench::virtual_dut::{CYCLES_PER_SECOND, Machine, MachineConfig, RAM_BASE, Size, VerifyMemo};

/// `verify-entry` of the plain bootloader in `firmware-fixtures/manifest.toml`.
const VERIFY: u32 = 0x3B9A;

fn image(id: &str) -> Vec<u8> {
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("firmware-fixtures/smart-lock/images");
    fs::read(images.join(format!("{id}.bin"))).expect("image")
}

/// Provisioned, and just switched on.
fn lock() -> Machine {
    let mut machine = Machine::new(MachineConfig::default());
    machine.preload(0, &image("bootloader")).expect("inside flash");
    machine.preload(0x6000, &image("lock-v1")).expect("inside flash");
    machine.power_on();
    machine
}

/// Runs until the application has said that it is up.
fn boot(mut machine: Machine) -> Machine {
    let mut said = Vec::new();
    machine.stop_on_uart(true);
    while !said.ends_with(b"ready\r\n") {
        assert!(machine.now() < 10 * CYCLES_PER_SECOND, "no boot: {}", String::from_utf8_lossy(&said));
        machine.run_until(10 * CYCLES_PER_SECOND);
        said.extend(machine.uart_take());
    }
    machine.stop_on_uart(false);
    machine
}

/// A machine some way into the signature check of its boot, and the instructions of the second of device time that follows, which is all
/// signature check.
fn checking() -> (Machine, u64) {
    let mut machine = lock();
    machine.run_until(CYCLES_PER_SECOND / 4);
    let mut later = machine.clone();
    later.run_until(machine.now() + CYCLES_PER_SECOND);
    assert!(later.uart_take() == machine.clone().uart_take(), "the check lasts longer than that");
    let instructions = later.instructions() - machine.instructions();
    (machine, instructions)
}

fn execution(c: &mut Criterion) {
    let (checking, instructions) = checking();
    let mut group = c.benchmark_group("execute");
    group.sample_size(20).throughput(Throughput::Elements(instructions));
    group.bench_function("one second of a signature check", |b| {
        b.iter_batched_ref(
            || checking.clone(),
            |machine| machine.run_until(machine.now() + CYCLES_PER_SECOND),
            BatchSize::SmallInput,
        );
    });
    // The first execution of a call that is to be remembered notes its writes.
    let mut start = lock();
    start.memoise_verify(VERIFY, Arc::new(VerifyMemo::new()));
    start.run_until(CYCLES_PER_SECOND / 4);
    group.bench_function("the same, watched", |b| {
        b.iter_batched_ref(
            || start.clone(),
            |machine| machine.run_until(machine.now() + CYCLES_PER_SECOND),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn boots(c: &mut Criterion) {
    let off = lock();
    let mut group = c.benchmark_group("boot");
    group.sample_size(10).throughput(Throughput::Elements(1));
    group.bench_function("checks executed", |b| b.iter_batched(|| off.clone(), boot, BatchSize::SmallInput));
    let mut remembering = off.clone();
    remembering.memoise_verify(VERIFY, Arc::new(VerifyMemo::new()));
    assert_eq!(boot(remembering.clone()).digest(), boot(off).digest());
    group.sample_size(50);
    group.bench_function("checks remembered", |b| b.iter_batched(|| remembering.clone(), boot, BatchSize::SmallInput));
    group.finish();
}

fn snapshots(c: &mut Criterion) {
    let up = boot(lock());
    let mut group = c.benchmark_group("snapshot");
    group.throughput(Throughput::Elements(1));
    group.bench_function("take", |b| b.iter_with_large_drop(|| up.clone()));
    group.bench_function("take, dirty RAM and a flash page, go back", |b| {
        let mut machine = up.clone();
        b.iter(|| {
            let snapshot = machine.clone();
            for word in 0..64 {
                machine.debug_write(RAM_BASE + 64 * word, Size::Word, word).expect("RAM");
            }
            machine.preload(0x2_0000, &[0; 64]).expect("flash");
            black_box(&machine);
            machine = snapshot;
        });
    });
    group.finish();
}

criterion_group!(benches, execution, boots, snapshots);
criterion_main!(benches);
