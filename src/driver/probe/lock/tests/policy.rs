use proptest::prelude::*;

use super::*;

fn identified(idr: u32) -> Transcript {
    format!("ap0 r 0xfc = {idr:#x}\nap@0x2000 r 0xdfc = {idr:#x}").parse().unwrap()
}

const AHB_AP: u32 = 0x2477_0011;

/// The refusal of a write that only a destructive licence covers.
fn refused(so_far: &Transcript, line: &str) -> String {
    let wanted: Transcript = line.parse().unwrap();
    let transaction = wanted.exchanges[0].transaction;
    assert_eq!(permits(so_far, &transaction, Licence::Destructive), Ok(()));
    permits(so_far, &transaction, Licence::ReadOnly).expect_err(line).to_string()
}

#[test]
fn a_destructive_licence_takes_both_the_plan_and_the_unit() {
    assert_eq!(Licence::of(true, true), Licence::Destructive);
    for (plan, unit) in [(false, false), (true, false), (false, true)] {
        assert_eq!(Licence::of(plan, unit), Licence::ReadOnly);
    }
    assert_eq!(Licence::default(), Licence::ReadOnly);
}

#[test]
fn erasing_and_unlocking_is_refused_by_name() {
    for (idr, line, told) in [
        (0x0288_0000, "ap0 w 0x04 1 = ok", "ERASEALL"),
        (0x1288_0000, "ap0 w 0x1c 1 = ok", "ERASEPROTECT"),
        (0x3288_0000, "ap0 w 0x00 2 = ok", "resets"),
        (0x001C_0020, "ap0 w 0x04 1 = ok", "mass-erases"),
        (0x16E6_0001, "ap0 w 0x04 0xcfacc118 = ok", "CMDKEY"),
        (0x26E6_0011, "ap0 w 0x00 1 = ok", "erases the device"),
        (0x002A_0000, "ap0 w 0x04 7 = ok", "REQUEST"),
        (0x002A_0000, "ap0 w 0x00 0x21 = ok", "mailbox"),
        (0x0000_0000, "ap0 w 0x00 0x23000002 = ok", "not been identified"),
        (AHB_AP, "ap1 w 0x04 0 = ok", "not been identified"),
        (AHB_AP, "ap0 w 0x10 0 = ok", "only CSW and TAR"),
        (AHB_AP, "dp w 0x08 0x01000000 = ok", "SELECT"),
        (AHB_AP, "dp w 0x04 0x54000000 = ok", "not needed"),
        (AHB_AP, "dp w 0x14 0 = ok", "not needed"),
    ] {
        let text = refused(&identified(idr), line);
        assert!(text.contains(told) && text.contains("destructive: true") && text.contains("sacrificial"), "{line}: {text}");
    }
}

#[test]
fn writes_of_memory_are_refused_and_the_known_ones_named() {
    for (address, told) in [
        ("0x4001e50c", "NVMC"),
        ("0x40022008", "STM32"),
        ("0x40023c08", "STM32"),
        ("0x52002008", "STM32H7"),
        ("0x41002100", "DSU"),
        ("0x41004000", "NVMCTRL"),
        ("0x20000000", "writes memory at 0x20000000"),
    ] {
        let mut so_far = identified(AHB_AP);
        so_far.exchanges.extend(format!("ap0 w 0x04 {address} = ok").parse::<Transcript>().unwrap().exchanges);
        let text = refused(&so_far, "ap0 w 0x0c 1 = ok");
        assert!(text.contains(told), "{address}: {text}");
    }
    assert!(refused(&identified(AHB_AP), "ap0 w 0x0c 1 = ok").contains("it writes memory"));
}

#[test]
fn each_bit_that_may_be_written_to_the_debug_port_is_listed() {
    let permitted = |address| -> Vec<u32> {
        let may = |bit: &u32| {
            permits(&Transcript::default(), &Transaction::write(Port::Dp, address, 1 << bit), Licence::ReadOnly).is_ok()
        };
        (0..32).filter(may).collect()
    };
    assert_eq!(permitted(0x00), [0, 1, 2, 3, 4]);
    assert_eq!(permitted(0x04), [0, 1, 4, 5, 8, 9, 10, 11, 28, 30]);
    for address in [0x08, 0x0C, 0x14, 0x24] {
        assert_eq!(permitted(address), [0_u32; 0]);
    }
}

#[test]
fn an_identification_does_not_outlive_silence_or_another_one() {
    let csw = Transaction::write(Port::Ap(0), 0x00, 0x2300_0002);
    for (text, permitted) in [
        ("ap0 r 0xfc = 0x24770011", true),
        ("ap0 r 0xfc = 0x24770011\nap0 r 0x00 = fault", true),
        ("ap0 r 0xfc = 0x24770011\ndp r 0x00 = no-ack", false),
        ("ap0 r 0xfc = 0x24770011\nap0 r 0x00 = garbled", false),
        ("ap0 r 0xfc = 0x24770011\nap0 r 0xfc = 0x16e60001", false),
        ("ap0 r 0xfc = 0x24770011\nap0 r 0xfc = fault", false),
        ("ap0 r 0xfc = 0x16e60001\nap0 r 0xfc = 0x24770011", true),
    ] {
        let so_far: Transcript = text.parse().unwrap();
        assert_eq!(permits(&so_far, &csw, Licence::ReadOnly).is_ok(), permitted, "{text}");
    }
}

fn ports() -> impl Strategy<Value = Port> {
    prop_oneof![Just(Port::Dp), (0_u8..4).prop_map(Port::Ap), Just(Port::ApAt(0x2000))]
}

fn transactions() -> impl Strategy<Value = Transaction> {
    let registers = prop_oneof![
        // Where it matters.
        prop::sample::select(vec![0x00_u16, 0x04, 0x08, 0x0C, 0xD00, 0xD04, 0xD0C]),
        (0_u16..64).prop_map(|index| index * 4),
        (0_u16..64).prop_map(|index| 0xD00 + index * 4)
    ];
    let values = prop_oneof![any::<u32>(), (0_u32..32).prop_map(|bit| 1 << bit), Just(0)];
    (ports(), registers, prop::option::of(values)).prop_map(|(port, address, value)| Transaction {
        port,
        address,
        access: value.map_or(Access::Read, Access::Write),
    })
}

fn exchanges() -> impl Strategy<Value = Exchange> {
    let identities = prop_oneof![Just(AHB_AP), Just(0x0288_0000), Just(0x16E6_0001), Just(0x001C_0000), Just(0), any::<u32>()];
    let identification = (ports(), identities)
        .prop_map(|(port, idr)| Exchange { transaction: Transaction::read(port, port.at(0xFC)), answer: Answer::Ok(idr) });
    let other = (transactions(), prop_oneof![Just(Answer::Ok(0)), Just(Answer::Fault), Just(Answer::NoAck)])
        .prop_map(|(transaction, answer)| Exchange { transaction, answer });
    prop_oneof![2 => identification, 1 => other]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is permitted, said once more in other words.
    #[test]
    fn without_a_licence_no_write_outside_the_list_passes(
        past in prop::collection::vec(exchanges(), 0..6),
        transaction in transactions(),
    ) {
        let so_far = Transcript { exchanges: past, ..Transcript::default() };
        prop_assert_eq!(permits(&so_far, &transaction, Licence::Destructive), Ok(()));
        let verdict = permits(&so_far, &transaction, Licence::ReadOnly);
        let Access::Write(value) = transaction.access else {
            prop_assert_eq!(verdict, Ok(()));
            return Ok(());
        };
        let allowed = match (transaction.port, transaction.address) {
            (Port::Dp, 0) => value < 32,
            // No debug reset (26), no transaction counter (23..12), no pushed compare or verify (3..2), no acknowledge or other bits.
            (Port::Dp, 4) => value & 0xAFFF_F0CC == 0,
            (Port::Dp, _) => false,
            (port, address) => {
                let setting_up = match port {
                    Port::ApAt(_) => [0xD00, 0xD04].contains(&address),
                    _ => [0, 4].contains(&address),
                };
                let last = so_far.exchanges.iter().rposition(|past| past.transaction == Transaction::read(port, port.at(0xFC)));
                let said = last.is_some_and(|at| {
                    matches!(so_far.exchanges[at].answer, Answer::Ok(idr) if idr & 0x1_E000 == 0x1_0000)
                        && so_far.exchanges[at..].iter().all(|later| later.answer != Answer::NoAck)
                });
                setting_up && said
            }
        };
        prop_assert_eq!(verdict.is_ok(), allowed, "{}", transaction);
    }
}

/// Granting erasing to probe-rs is a line of code here and nothing else: the library reads no variable for it. The version is pinned, so
/// that a new one is looked at before this is said of it.
#[test]
fn erasing_is_granted_in_one_place_and_by_no_environment() {
    fn sources(directory: &Path, into: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, into);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                into.push((path.to_string_lossy().into_owned(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    let code = |text: &str| text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<String>();
    let granting: Vec<_> = files
        .iter()
        .filter(|(path, text)| !path.contains("/tests") && code(text).contains(&["allow", "erase", "all()"].join("_")))
        .map(|(path, _)| path.as_str())
        .collect();
    assert!(matches!(granting[..], [path] if path.ends_with("driver/probe/operations.rs")), "{granting:?}");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    assert!(
        manifest.contains("probe-rs = { version = \"=0.32.0\""),
        "look whether the library reads PROBE_RS_ALLOW_ERASE_ALL now"
    );
}
