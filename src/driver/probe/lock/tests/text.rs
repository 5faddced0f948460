use proptest::prelude::*;

use super::{super::ask::answer_of, *};

fn error(text: &str) -> String {
    text.parse::<Transcript>().expect_err(text).to_string()
}

#[test]
fn lines_are_what_the_documentation_shows() {
    let text = "supply 3300 mV\ndp r 0x00 = 0x2ba01477\ndp w 0x04 0x50000000 = ok\nap0 w 0x04 0x10001208 = ok\nap0 r 0x0c = fault\n\
                ap@0x2000 r 0xdfc = 0x34770008\n";
    let transcript: Transcript = text.parse().unwrap();
    assert_eq!(transcript.exchanges[2].transaction, Transaction::write(Port::Ap(0), 0x04, 0x1000_1208));
    assert_eq!(transcript.exchanges[3].answer, Answer::Fault);
    assert_eq!(transcript.to_string(), text);
}

#[test]
fn short_forms_stand_for_transactions() {
    let short: Transcript = "mem ap0 0x10 = 0x5 # a word\n\nap1 r 0x00 = 6 x3".parse().unwrap();
    let long = "ap0 w 0x04 0x10 = ok\nap0 r 0x0c = 0x5\nap1 r 0x00 = 6\nap1 r 0x00 = 6\nap1 r 0x00 = 6".parse().unwrap();
    assert_eq!(short, long);
    let version_6: Transcript = "mem ap@0x2000 0x10 = wait".parse().unwrap();
    assert_eq!(version_6.to_string(), "supply unknown\nap@0x2000 w 0xd04 0x00000010 = ok\nap@0x2000 r 0xd0c = wait\n");
}

#[test]
fn other_lines_are_refused_with_their_number() {
    for (text, told) in [
        ("dp r 0x00 = 1\nap0 x", "line 2"),
        ("ap256 r 0 = 1", "not a port"),
        ("ap r 0 = 1", "not a port"),
        ("ap0 r 0x10000 = 1", "not a register"),
        ("ap0 r 0 = 0x100000000", "not a number"),
        ("ap0 r 0 = ok", "not a number"),
        ("ap0 w 0 1 = 1", "a write"),
        ("ap0 r 0 = 1 x0", "count"),
        ("ap0 r 0 = 1 x1001", "count"),
        ("supply up", "not a transaction"),
    ] {
        assert!(error(text).contains(told), "{text}: {}", error(text));
    }
}

#[test]
fn a_word_of_memory_is_that_of_the_last_address_and_control_word() {
    let read = |text: &str, csw| text.parse::<Transcript>().unwrap().memory(Port::Ap(0), csw, 0x10);
    assert_eq!(read("ap0 w 0x04 0x10 = ok\nap0 r 0x0c = 7", None), Some(Answer::Ok(7)));
    assert_eq!(read("ap0 w 0x04 0x10 = fault\nap0 r 0x0c = 7", None), None, "the address was not set");
    assert_eq!(read("ap0 w 0x04 0x10 = ok\nap0 w 0x0c 9 = ok\nap0 r 0x0c = 7", None), None, "the address may have moved");
    assert_eq!(read("ap0 w 0x04 0x10 = ok\nap0 r 0x0c = 7\nap0 r 0x0c = 8", None), Some(Answer::Ok(7)), "and by reading");
    assert_eq!(read("ap1 w 0x04 0x10 = ok\nap0 r 0x0c = 7", None), None, "another port");
    let two = "ap0 w 0x00 1 = ok\nmem ap0 0x10 = 7\nap0 w 0x00 2 = ok\nmem ap0 0x10 = fault";
    assert_eq!((read(two, Some(1)), read(two, Some(2)), read(two, Some(3))), (Some(Answer::Ok(7)), Some(Answer::Fault), None));
    assert_eq!(read(two, None), Some(Answer::Fault), "the last");
}

#[test]
fn errors_of_probe_rs_are_answers_only_if_they_are_about_the_wire() {
    use probe_rs::{
        architecture::arm::{ArmError, DapError},
        probe::{DebugProbeError, WireProtocol},
    };
    let silent = || ArmError::Dap(DapError::NoAcknowledge);
    assert_eq!(answer_of(&silent()), Some(Answer::NoAck));
    assert_eq!(answer_of(&ArmError::NoTargetResponse { source: Box::new(silent()) }), Some(Answer::NoAck));
    assert_eq!(answer_of(&ArmError::Dap(DapError::FaultResponse)), Some(Answer::Fault));
    assert_eq!(answer_of(&ArmError::Timeout), Some(Answer::Wait));
    assert_eq!(answer_of(&ArmError::Dap(DapError::IncorrectParity)), Some(Answer::Garbled));
    assert_eq!(answer_of(&ArmError::Dap(DapError::Protocol(WireProtocol::Swd))), Some(Answer::Garbled));
    assert_eq!(answer_of(&ArmError::Probe(DebugProbeError::Timeout)), None, "the bench's fault");
    assert_eq!(answer_of(&ArmError::WrongApVersion), None, "the wrong family for this chip");
}

fn exchanges() -> impl Strategy<Value = Exchange> {
    let port = prop_oneof![Just(Port::Dp), any::<u8>().prop_map(Port::Ap), any::<u32>().prop_map(Port::ApAt)];
    let failed = prop_oneof![Just(Answer::Fault), Just(Answer::NoAck), Just(Answer::Wait), Just(Answer::Garbled)];
    (port, any::<u16>(), prop::option::of(any::<u32>()), prop::result::maybe_ok(any::<u32>(), failed)).prop_map(
        |(port, address, written, answer)| Exchange {
            transaction: Transaction { port, address, access: written.map_or(Access::Read, Access::Write) },
            answer: match (answer, written) {
                (Ok(_), Some(value)) | (Ok(value), None) => Answer::Ok(value),
                (Err(failed), _) => failed,
            },
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn text_and_json_are_read_back_as_written(
        exchanges in prop::collection::vec(exchanges(), 0..20),
        supply in prop_oneof![Just(Supply::Unknown), any::<u32>().prop_map(Supply::Millivolts)],
    ) {
        let transcript = Transcript { supply, exchanges };
        prop_assert_eq!(&transcript.to_string().parse::<Transcript>().unwrap(), &transcript);
        let json = serde_json::to_string(&transcript).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Transcript>(&json).unwrap(), &transcript);
    }

    #[test]
    fn reading_text_never_panics(text in "(dp|ap0|mem|supply|x3|=| |0x1f|\\n|[a-z0-9@])*") {
        let _ = text.parse::<Transcript>();
    }
}
