//! Devices that flood, talk nonsense, send escape sequences, or say nothing.

use std::time::Duration;

use super::bench::{Bench, Ended, stored};

/// Code for the device, from 0xC0 on: sends `length` bytes from 0x148 on over the serial port, again and again if `repeat` is not 0.
///
/// ```text
/// reset: GPIO.DIRSET = 1 << 24; UART.PSELTXD = 24; BAUDRATE = 115200; ENABLE = 4; STARTTX = 1
/// again: r3 = 0x148; r4 = r3 + [0x140]
/// loop:  while r3 < r4 { TXD = [r3++]; while TXDRDY == 0 {}; TXDRDY = 0 }
///        if [0x144] != 0 goto again
/// stop:  goto stop
/// ```
const TALKER: [u16; 60] = [
    0x4812, 0x4A13, 0x4913, 0x6011, 0x2118, 0x4A13, 0x5081, 0x4913, 0x4A13, 0x5081, 0x2104, 0x4A13, 0x5081, 0x2101, 0x6081,
    0x4B12, 0x681C, 0x3308, 0x18E4, 0x42A3, 0xD20A, 0x7819, 0x3301, 0x4A0F, 0x5081, 0x4A0F, 0x5881, 0x2900, 0xD0FC, 0x2100,
    0x5081, 0xE7F2, 0x4B0C, 0x681C, 0x2C00, 0xD1EA, 0xE7FE, 0x0000, 0x2000, 0x4000, 0x0518, 0x5000, 0x0000, 0x0100, 0x050C,
    0x0000, 0xE000, 0x01D7, 0x0524, 0x0000, 0x0500, 0x0000, 0x0140, 0x0000, 0x051C, 0x0000, 0x011C, 0x0000, 0x0144, 0x0000,
];

/// An image that says `words`.
fn talker(words: &[u8], repeat: bool) -> Vec<u8> {
    let mut image = Vec::new();
    image.extend(0x2000_4000_u32.to_le_bytes());
    image.extend(0xC1_u32.to_le_bytes());
    image.resize(0xC0, 0);
    image.extend(TALKER.iter().flat_map(|half| half.to_le_bytes()));
    image.resize(0x140, 0);
    image.extend(u32::try_from(words.len()).unwrap().to_le_bytes());
    image.extend(u32::from(repeat).to_le_bytes());
    image.extend(words);
    image
}

/// Runs a device that says `words` against a plan whose only expectation is `steps`.
fn against(words: &[u8], repeat: bool, expect: &str) -> (Bench, Ended) {
    let bench = Bench::new();
    bench.file("talker.bin", talker(words, repeat));
    bench.file(
        "device.yaml",
        "schema: device/1\nname: talker\ntitle: A talker\nchannels: { supply: supply, console: console, probe: probe }\n\
         declared: { answer-time: 2s }\nimages: { talker: { file: talker.bin, address: '0x00000000' } }\nprocedures: {}\n",
    );
    let rig = bench.file(
        "rig.yaml",
        "schema: rig/1\nname: talker\ntitle: A talker\ndevice: device.yaml\nsacrificial: true\nvirtual: { chip: nRF51822_xxAA, seed: 1 }\nchannels:\n  \
         supply: { driver: virtual-power }\n  console: { driver: virtual-serial, baud: 115200 }\n  \
         probe: { driver: virtual-probe, chip: nRF51822_xxAA }\nsafe-state:\n  - power: { channel: supply, state: down }\n",
    );
    let plan = bench.file(
        "plan.yaml",
        format!(
            "schema: testplan/1\nname: hostile\ntitle: Hostile\nrequires: [supply, console, probe]\ntimeout: 10m\ncases:\n  \
             - id: listens\n    title: It says ready\n    assesses: [5.3-2-2]\n    timeout: 5m\n    steps:\n      \
             - power: {{ channel: supply, state: up }}\n      \
             - flash: {{ channel: probe, images: [talker], erase-all: true, destructive: true }}\n      - expect: {expect}\n"
        ),
    );
    let ended = bench.hilbench(["run".as_ref(), plan.as_os_str(), "--rig".as_ref(), rig.as_os_str()]);
    ended.is_clean();
    assert!(!bench.supply_is_up("talker"));
    (bench, ended)
}

const READY: &str = "{ channel: console, pattern: '(?m)^ready\\r', within: 2s }";
const READY_OR_FAIL: &str = "{ channel: console, pattern: '(?m)^ready\\r', within: 2s, silence: fail, reason: DEAD }";

const NONSENSE: &[u8] =
    b"\xff\xfe\xc3(\x1b[2J\x1b]0;owned\x07\x1b[31m\x00\x9b5n\xe2\x80\xae\xf0\x9f\x92\xa9 ]]> <script>alert(1)</script> & \r\n";

#[test]
fn nonsense_before_the_answer_is_no_failure_and_reaches_no_terminal() {
    let (bench, ended) = against(&[NONSENSE, b"ready\r\n"].concat(), false, READY);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let directory = bench.runs().pop().unwrap();
    let raw = stored(&directory, "evidence/console.rx");
    assert!(raw.starts_with(NONSENSE), "evidence is what was sent: {raw:?}");
}

#[test]
fn nonsense_for_ever_is_judged_and_told_without_a_control_character() {
    let (bench, ended) = against(NONSENSE, true, READY_OR_FAIL);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("DEAD"), "{ended:?}");
    for format in ["text", "json", "junit", "events"] {
        let shown = bench.hilbench(["show", "latest", "--format", format]);
        assert_eq!(shown.code, Some(0));
        shown.is_clean();
        assert!(!shown.stdout.contains("<script>") || format != "junit", "{}", shown.stdout);
    }
}

#[test]
fn a_line_without_end_ends_with_the_time_allowed() {
    let (bench, ended) = against(&[b'A'; 4096], true, READY);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let received = stored(&bench.runs().pop().unwrap(), "evidence/console.rx").len();
    let second_at_115200 = 11_520;
    assert!((second_at_115200..4 * second_at_115200).contains(&received), "{received} bytes in two seconds");
}

#[test]
fn a_silent_device_is_what_the_plan_says_it_is() {
    let (_, ended) = against(b"", false, READY);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let (_, ended) = against(b"", false, READY_OR_FAIL);
    assert_eq!(ended.code, Some(1), "{ended:?}");
}

#[test]
fn the_time_of_a_silent_device_is_its_own() {
    // Idle time of the device is skipped; only a bench that waits for it takes this long.
    let start = std::time::Instant::now();
    let (_, ended) = against(b"", false, "{ channel: console, pattern: 'ready', within: 200s }");
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(start.elapsed() < Duration::from_secs(190));
}
