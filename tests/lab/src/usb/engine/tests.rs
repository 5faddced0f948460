use std::{io::Read, time::Duration};

use super::{
    super::{
        description::{Description, Speed},
        vendor::Loopback,
    },
    *,
};

/// A host that speaks to the engine without a kernel.
struct Host {
    stream: UnixStream,
    engine: Engine,
    number: u32,
}

impl Host {
    fn new() -> Self {
        let (stream, devices) = UnixStream::pair().unwrap();
        // Only against hangs.
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        let engine = Engine::start(Box::new(Loopback::new(Description::new(Speed::High, 1, 2, "x"))), devices).unwrap();
        Self { stream, engine, number: 0 }
    }

    fn send(&mut self, words: [u32; 10], tail: &[u8]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).chain(tail.iter().copied()).collect();
        self.stream.write_all(&bytes).unwrap();
    }

    fn submit(&mut self, endpoint: u8, setup: [u8; 8], data: &[u8], space: u32) -> u32 {
        self.number += 1;
        let inward = u32::from(endpoint >> 7);
        let length = if inward == 1 { space } else { data.len() as u32 };
        let words = [1, self.number, 0, inward, u32::from(endpoint & 0xF), 0, length, 0, 0, 0];
        self.send(words, &[&setup, data].concat());
        self.number
    }

    fn unlink(&mut self, wanted: u32) -> u32 {
        self.number += 1;
        self.send([2, self.number, 0, 0, 0, wanted, 0, 0, 0, 0], &[0; 8]);
        self.number
    }

    /// Command, number, status, and the data of `length` bytes.
    fn answer(&mut self, inward: bool) -> (u32, u32, i32, Vec<u8>) {
        let mut header = [0; 48];
        self.stream.read_exact(&mut header).unwrap();
        let word = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
        let mut data = vec![0; if inward { word(24) as usize } else { 0 }];
        self.stream.read_exact(&mut data).unwrap();
        (word(0), word(4), word(20) as i32, data)
    }
}

const NO_SETUP: [u8; 8] = [0; 8];
const GET_DEVICE: [u8; 8] = [0x80, 6, 0, 1, 0, 0, 18, 0];

#[test]
fn a_read_waits_until_there_is_data() {
    let mut host = Host::new();
    let read = host.submit(0x81, NO_SETUP, &[], 64);
    let write = host.submit(0x01, NO_SETUP, b"hello", 0);
    assert_eq!(host.answer(false), (3, write, 0, Vec::new()));
    assert_eq!(host.answer(true), (3, read, 0, b"hello".to_vec()));
}

#[test]
fn a_read_that_waits_can_be_taken_back_and_one_that_is_done_cannot() {
    let mut host = Host::new();
    let read = host.submit(0x81, NO_SETUP, &[], 64);
    let unlink = host.unlink(read);
    assert_eq!(host.answer(false), (4, unlink, status::UNLINKED, Vec::new()));
    let control = host.submit(0x80, GET_DEVICE, &[], 18);
    assert_eq!(host.answer(true).3.len(), 18);
    let unlink = host.unlink(control);
    assert_eq!(host.answer(false), (4, unlink, status::OK, Vec::new()));
}

#[test]
fn a_hung_device_answers_nothing_until_it_is_healed() {
    let mut host = Host::new();
    host.engine.tell(Event::Fault(Fault::Hang));
    let control = host.submit(0x80, GET_DEVICE, &[], 18);
    let unlink = host.unlink(99);
    // The controller still answers for itself.
    assert_eq!(host.answer(false), (4, unlink, status::OK, Vec::new()));
    host.engine.tell(Event::Heal);
    assert_eq!(host.answer(true).1, control);
}

#[test]
fn a_stall_ends_when_the_halt_is_cleared() {
    let mut host = Host::new();
    host.engine.tell(Event::Fault(Fault::Stall(0x01)));
    let write = host.submit(0x01, NO_SETUP, b"x", 0);
    assert_eq!(host.answer(false), (3, write, status::STALL, Vec::new()));
    host.submit(0x00, [0x02, 1, 0, 0, 0x01, 0, 0, 0], &[], 0);
    assert_eq!(host.answer(false).2, status::OK);
    host.submit(0x01, NO_SETUP, b"x", 0);
    assert_eq!(host.answer(false).2, status::OK);
}

#[test]
fn short_late_and_too_long_answers() {
    let mut host = Host::new();
    host.engine.tell(Event::Fault(Fault::Short(0x81, 2)));
    for (text, space, status, got) in
        [(b"abcd", 64, status::OK, "ab"), (b"abcd", 3, status::BABBLE, "abc"), (b"abcd", 4, status::OK, "abcd")]
    {
        host.submit(0x01, NO_SETUP, text, 0);
        host.answer(false);
        host.submit(0x81, NO_SETUP, &[], space);
        let answer = host.answer(true);
        assert_eq!((answer.2, answer.3.as_slice()), (status, got.as_bytes()));
    }
    let delay = Duration::from_millis(30);
    host.engine.tell(Event::Fault(Fault::Delay(delay)));
    let start = std::time::Instant::now();
    host.submit(0x80, GET_DEVICE, &[], 18);
    assert_eq!(host.answer(true).3.len(), 18);
    assert!(start.elapsed() >= delay);
}

#[test]
fn the_model_comes_back_when_the_host_goes() {
    let host = Host::new();
    drop(host.stream);
    assert_eq!(host.engine.finish().unwrap().description().name, "x");
}
