use proptest::prelude::*;

use super::*;

/// A device descriptor of one configuration.
fn device() -> Vec<u8> {
    vec![18, 1, 0, 2, 0, 0, 0, 64, 0x09, 0x12, 0x03, 0x00, 0x00, 0x01, 1, 2, 3, 1]
}

fn configuration(interfaces: u8, rest: &[u8]) -> Vec<u8> {
    let total = (9 + rest.len()) as u16;
    [&[9, 2][..], &total.to_le_bytes(), &[interfaces, 1, 0, 0x80, 50], rest].concat()
}

fn good() -> Vec<u8> {
    let rest = [
        &[8, 11, 0, 2, 2, 2, 1, 0][..],
        &[9, 4, 0, 0, 1, 2, 2, 1, 4],
        &[5, 0x24, 0, 0x10, 1],
        &[7, 5, 0x82, 3, 8, 0, 16],
        &[9, 4, 1, 0, 0, 0xFF, 0, 0, 0],
        &[9, 4, 1, 1, 2, 0xFF, 0, 0, 0],
        &[7, 5, 0x01, 2, 0, 2, 0],
        &[7, 5, 0x81, 2, 0, 2, 0],
    ]
    .concat();
    [device(), configuration(2, &rest)].concat()
}

#[test]
fn everything_of_a_good_device_is_read() {
    let tree = Tree::read(&good());
    assert_eq!(tree.problems, Vec::<String>::new());
    let device = tree.device.unwrap();
    assert_eq!((device.vendor, device.product, device.strings), (0x1209, 3, [1, 2, 3]));
    let [configuration] = tree.configurations.as_slice() else { panic!("{tree:?}") };
    assert_eq!((configuration.current, configuration.extra.len()), (100, 1));
    let settings: Vec<_> =
        configuration.settings.iter().map(|found| (found.number, found.alternate, found.class, found.endpoints.len())).collect();
    assert_eq!(settings, [(0, 0, [2, 2, 1], 1), (1, 0, [0xFF, 0, 0], 0), (1, 1, [0xFF, 0, 0], 2)]);
    assert_eq!(configuration.settings[0].extra, [vec![5, 0x24, 0, 0x10, 1]]);
    assert_eq!(configuration.settings[2].endpoints[1].transfer(), "bulk");
    assert_eq!(tree.string_numbers().into_iter().collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn what_is_wrong_is_told_and_the_rest_is_read() {
    let interface = [9, 4, 0, 0, 0, 3, 1, 1, 0];
    let of = |rest: &[u8]| Tree::read(&[device(), configuration(1, rest)].concat());
    let problem = |tree: &Tree, what: &str| assert!(tree.problems.iter().any(|found| found.contains(what)), "{what}: {tree:?}");
    // Length zero would never end; what stands before it counts.
    let zero = of(&[&interface[..], &[0, 4, 0, 0]].concat());
    problem(&zero, "a descriptor of 0 bytes");
    assert_eq!(zero.configurations[0].settings.len(), 1);
    problem(&of(&[&interface[..], &[9, 4, 1]].concat()), "a descriptor of 9 bytes at byte 18");
    problem(&of(&[interface, interface].concat()), "stands twice");
    problem(&of(&[]), "1 interfaces announced, 0 there");
    problem(&of(&[9, 4, 0, 0, 3, 3, 1, 1, 0]), "announces 3 endpoints, 0 there");
    problem(&of(&[7, 5, 0x81, 2, 0, 2, 0]), "type 5 does not belong");
    problem(&Tree::read(&device()), "1 configurations announced, 0 there");
    problem(&Tree::read(&device()[..10]), "10 bytes that are none");
    let mut long = [device(), configuration(1, &interface)].concat();
    long[20] = 0xFF;
    long[21] = 0xFF;
    problem(&Tree::read(&long), "65535 bytes announced, 18 there");
    // Hides an interface behind a length that is too short.
    let mut short = [device(), configuration(1, &interface)].concat();
    short[20] = 9;
    problem(&Tree::read(&short), "9 bytes that are no configuration");
}

#[test]
fn strings_are_text_or_a_problem() {
    assert_eq!(text(&[4, 3, b'a', 0]).unwrap(), "a");
    assert_eq!(text(&[6, 3, 0x1B, 0, 0x00, 0xD8]).unwrap(), "\u{1b}\u{FFFD}");
    for wrong in [&[][..], &[0], &[0, 3], &[3, 3, b'a'], &[6, 3, b'a', 0], &[4, 2, b'a', 0]] {
        assert!(text(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn escapes_of_a_device_stay_data_in_the_evidence() {
    let strings = [(2, vec![6, 3, 0x1B, 0, b'[', 0])].into();
    let dump = Dump { arrival: good(), now: Some(good()), strings, ..Dump::default() };
    let text = json(&dump).to_string();
    assert!(text.contains(r"\u001b[") && !text.contains('\u{1b}'), "{text}");
    assert!(text.contains(r#""now":"the same""#), "{text}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_grow(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let tree = Tree::read(&bytes);
        let found: usize = tree.configurations.iter().map(|found| found.settings.len() + found.extra.len()).sum();
        prop_assert!(found <= bytes.len() / 2 && tree.problems.len() <= MOST_PROBLEMS);
        let _ = (text(&bytes), json(&Dump { arrival: bytes, ..Dump::default() }));
    }

    #[test]
    fn no_change_of_a_good_device_makes_it_panic(at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>()) {
        let mut bytes = good();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes.truncate(cut.index(bytes.len() + 1));
        let _ = Tree::read(&bytes);
    }
}
