use proptest::prelude::*;

use super::{super::ask::put, *};

#[test]
fn each_recorded_transcript_gives_its_verdict() {
    for case in all_cases() {
        let reading = decode(case.family, &case.transcript);
        assert_eq!(kind(&reading.state), case.kind, "{}, {}: {}", case.family, case.title, reading.state);
        assert!(case.source.len() > 10, "{}, {}: no source", case.family, case.title);
    }
}

/// Families of which no lock can be proven: a CPU that is not put on the scan chain, and a chip that has no lock.
const NEVER_LOCKED: [Family; 2] = [Family::Cc13, Family::Rp2040];

#[test]
fn every_family_has_transcripts_of_open_locked_and_undetermined() {
    for family in Family::ALL {
        let kinds: Vec<String> = cases(family).into_iter().map(|case| case.kind).collect();
        let has = |wanted: &[&str]| kinds.iter().any(|kind| wanted.contains(&kind.as_str()));
        assert!(has(&["open"]) && has(&["undetermined"]), "{family}: {kinds:?}");
        assert_eq!(has(&["locked", "locked-for-good", "read-protected"]), !NEVER_LOCKED.contains(&family), "{family}: {kinds:?}");
    }
}

#[test]
fn every_fixture_file_is_that_of_a_family() {
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lock")).unwrap() {
        let name = entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned();
        name.parse::<Family>().unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn the_questions_are_enough_for_the_verdict_on_a_device_that_behaves_so() {
    for case in all_cases() {
        let asked = put(&mut Device::of(&case.transcript), case.family, case.transcript.supply).unwrap();
        let state = decode(case.family, &asked).state;
        assert_eq!(kind(&state), case.kind, "{}, {}: {state}\n{asked}", case.family, case.title);
    }
}

#[test]
fn every_question_is_put_to_an_open_device() {
    for family in Family::ALL {
        let case = cases(family).into_iter().find(|case| case.kind == "open").unwrap();
        let asked = put(&mut Device::of(&case.transcript), family, case.transcript.supply).unwrap();
        let asked: Vec<_> = asked.exchanges.iter().map(|exchange| exchange.transaction).collect();
        assert_eq!(asked, questions(family), "{family}");
    }
}

#[test]
fn nothing_is_written_to_a_port_that_is_not_a_memory_access_port() {
    let locked: Vec<Case> = cases(Family::Efm32).into_iter().filter(|case| case.kind == "locked").collect();
    assert_eq!(locked.len(), 2);
    for case in locked {
        let asked = put(&mut Device::of(&case.transcript), case.family, case.transcript.supply).unwrap();
        // The offsets of CSW and TAR are those of CMD and CMDKEY here.
        let written = asked.exchanges.iter().filter(|exchange| matches!(exchange.transaction.access, Access::Write(_)));
        assert!(written.into_iter().all(|exchange| exchange.transaction.port == Port::Dp), "{asked}");
        let read = asked.reads(Port::Ap(0), mem_ap::DRW).count();
        assert_eq!(read, 0, "what has no address is not asked for either");
    }
}

#[test]
fn a_device_without_supply_is_not_asked_and_not_judged() {
    struct Nobody;
    impl Wire for Nobody {
        fn transact(&mut self, transaction: &Transaction) -> Result<Answer, Failure> {
            panic!("{transaction}")
        }
    }
    for family in Family::ALL {
        let asked = put(&mut Nobody, family, Supply::Millivolts(999)).unwrap();
        let LockState::Undetermined { why } = decode(family, &asked).state else { panic!("{family}") };
        assert!(why.contains("no supply"), "{why}");
    }
}

#[test]
fn asking_ends_with_the_first_silence() {
    let silent: Transcript = "supply 3300 mV\ndp r 0x00 = no-ack".parse().unwrap();
    for family in Family::ALL {
        let asked = put(&mut Device::of(&silent), family, silent.supply).unwrap();
        assert_eq!(asked, silent);
        assert_eq!(decode(family, &asked).state, LockState::NoDebugPort);
        let unknown = Transcript { supply: Supply::Unknown, ..asked };
        assert_eq!(kind(&decode(family, &unknown).state), "undetermined", "silence without known power is nothing");
    }
}

#[test]
fn a_verdict_has_the_values_that_it_rests_on() {
    for case in all_cases() {
        let reading = decode(case.family, &case.transcript);
        if !matches!(case.kind.as_str(), "undetermined" | "no-debug-port") {
            assert!(reading.values.len() > 2, "{}, {}: {:?}", case.family, case.title, reading.values);
            assert_eq!((reading.values[0].name.as_str(), reading.values[1].name.as_str()), ("DPIDR", "CTRL/STAT"));
        }
        serde_json::to_string(&reading).unwrap();
    }
    let crp = cases(Family::LpcCrp).into_iter().find(|case| case.kind == "locked").unwrap();
    assert_eq!(decode(Family::LpcCrp, &crp.transcript).certainty, Certainty::Uncertain, "less certain than the rest of its rule");
}

#[test]
fn a_lock_says_what_opens_it() {
    let opened_by = |family: Family| -> Vec<String> {
        let states = cases(family).into_iter().map(move |case| decode(family, &case.transcript).state);
        states.filter_map(|state| if let LockState::Locked { opened_by, .. } = state { Some(opened_by) } else { None }).collect()
    };
    let sam = opened_by(Family::Sam);
    assert!(sam[0].starts_with("chip erase by") && sam[1].contains("chip-erase lock"), "{sam:?}");
    let kinetis = opened_by(Family::Kinetis);
    assert_eq!(kinetis[..2], ["mass erase by the MDM-AP", "mass erase by the MDM-AP"]);
    assert!(kinetis[2].starts_with("nothing"), "{kinetis:?}");
}

#[test]
fn hardened_nordic_chips_are_told_from_older_ones() {
    let open: Vec<Case> = cases(Family::Nrf52).into_iter().filter(|case| case.kind == "open").collect();
    let told = |case: &Case| decode(case.family, &case.transcript).findings.iter().any(|text| text.contains("after each reset"));
    assert_eq!(open.iter().map(told).collect::<Vec<_>>(), [false, true]);
}

/// What one transcript proves, another must not turn into its opposite for want of a single answer.
#[test]
fn no_single_missing_or_failed_answer_turns_one_proof_into_another() {
    let mut changed = 0;
    for case in all_cases() {
        for index in 0..case.transcript.exchanges.len() {
            let mut variants = vec![case.transcript.clone()];
            variants[0].exchanges.remove(index);
            for answer in [Answer::Fault, Answer::Wait, Answer::Garbled, Answer::NoAck] {
                let mut variant = case.transcript.clone();
                variant.exchanges[index].answer = answer;
                variants.push(variant);
            }
            for variant in variants {
                let state = decode(case.family, &variant).state;
                let was_open_now_closed = case.kind == "open" && !matches!(kind(&state), "open" | "undetermined");
                let was_closed_now_open = case.kind == "read-protected" && kind(&state) == "open"
                    || case.kind.starts_with("lock") && !matches!(kind(&state), "locked" | "locked-for-good" | "undetermined");
                // The supply is known to be up, so silence in the first place is what it says.
                if index > 0 || state != LockState::NoDebugPort {
                    assert!(!was_open_now_closed && !was_closed_now_open, "{}, {}: {state}\n{variant}", case.family, case.title);
                }
                changed += usize::from(kind(&state) != case.kind);
            }
        }
    }
    assert!(changed > 1000, "answers matter: {changed}");
}

fn answers() -> impl Strategy<Value = Answer> {
    prop_oneof![
        6 => prop_oneof![any::<u32>(), Just(0), Just(u32::MAX), Just(0x2477_0011), Just(0x0288_0000), Just(0x16E6_0001)].prop_map(Answer::Ok),
        1 => prop_oneof![Just(Answer::Fault), Just(Answer::Wait), Just(Answer::Garbled), Just(Answer::NoAck)],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Noise on all that a family asks after the debug port is up.
    #[test]
    fn any_transcript_has_a_verdict(noise in prop::collection::vec(answers(), 120)) {
        for family in Family::ALL {
            let mut transcript: Transcript = port_up("0x2ba01477").parse().unwrap();
            let questions = questions(family).into_iter().skip(4);
            transcript.exchanges.extend(questions.zip(noise.iter().cycle()).map(|(transaction, &answer)| Exchange { transaction, answer }));
            let state = decode(family, &transcript).state;
            prop_assert!(state != LockState::NoDebugPort);
        }
    }
}
