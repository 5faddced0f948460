//! Rigs, device profiles and plans: what is shipped is clean, what is wrong is told.

#![expect(clippy::unwrap_used, reason = "test code; clippy's exception covers only functions marked as tests")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use hilbench::{
    channel::link::ChannelKind,
    diagnostic::{self, Code, Report},
    driver::probe::lock,
    plan::{self, Applicability, Bound, bind, load_plan},
    prove::{self, Matrix},
    rig::{DriverCatalogue, RigFile, load_device, load_rig},
};
use proptest::prelude::*;

const INTERPOSER: [(&str, bool, &str); 5] = [
    ("routes", true, "routes"),
    ("clock", false, "time server"),
    ("dns", false, "DNS"),
    ("names", false, "names"),
    ("portal", false, "captive portal"),
];

/// The drivers of the virtual bench, as data.
fn drivers() -> DriverCatalogue {
    let mut drivers = DriverCatalogue::default();
    drivers.add("virtual-power", ChannelKind::Supply, &[]);
    drivers.add("virtual-serial", ChannelKind::Console, &[("baud", false, "bits per second")]);
    drivers.add("virtual-button", ChannelKind::Button, &[("pin", true, "pin number")]);
    drivers.add(
        "virtual-probe",
        ChannelKind::Probe,
        &[("chip", true, "name of the chip"), ("unit", false, "identity of the chip")],
    );
    drivers.drivers.get_mut("virtual-power").unwrap().sees_flash = true;
    drivers.add("hub-power", ChannelKind::Supply, &[]);
    drivers.add("hub-serial", ChannelKind::Console, &[]);
    drivers.add("hub-button", ChannelKind::Button, &[]);
    drivers.add("interposer", ChannelKind::Network, &INTERPOSER);
    drivers.add(
        "cloud-https",
        ChannelKind::Cloud,
        &[("listen", true, "address"), ("names", false, "names"), ("tls", false, "TLS")],
    );
    drivers.add("cloud-mqtt", ChannelKind::Cloud, &[("listen", true, "address"), ("names", false, "names of the service")]);
    drivers.add(
        "https-client",
        ChannelKind::Api,
        &[("address", true, "address"), ("pin", true, "certificate"), ("mdns", false, "address"), ("besides", false, "address")],
    );
    drivers
}

fn rig(path: &str) -> RigFile {
    load_rig(Path::new(path), &drivers()).unwrap_or_else(|report| panic!("{report}"))
}

fn bound(plan: &str, on: &str) -> Result<Bound, Report> {
    bind(&load_plan(Path::new(plan))?, &rig(on))
}

/// Checks a file as its directory says: `rigs`, `devices`, or `plans`, which are bound to the fixture rig.
fn check(path: &Path) -> Report {
    let text = path.to_string_lossy();
    let result = if text.contains("/rigs/") {
        load_rig(path, &drivers()).map(|rig| rig.report)
    } else if text.contains("/devices/") {
        load_device(path).map(|device| device.report)
    } else if text.contains("/matrices/") {
        Matrix::load(path).map(|_| Report::default())
    } else {
        // Whether a unit may be erased is the rig's to say.
        let bench = if text.ends_with("sacrifice.yaml") { "keepsake" } else { "bench" };
        load_plan(path)
            .and_then(|plan| bind(&plan, &rig(&format!("tests/fixtures/rigs/valid/{bench}.yaml"))))
            .map(|bound| bound.report)
    };
    result.unwrap_or_else(|report| report)
}

fn files(directory: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{directory}");
    files
}

const INVALID: &[&str] = &[
    "tests/fixtures/rigs/invalid",
    "tests/fixtures/devices/invalid",
    "tests/fixtures/plans/invalid",
    "tests/fixtures/matrices/invalid",
];
const VALID: &[&str] =
    &["tests/fixtures/rigs/valid", "tests/fixtures/devices/valid", "tests/fixtures/plans/valid", "tests/fixtures/matrices/valid"];

/// The shipped rigs whose device is virtual. The drivers of others are not in this test's catalogue; the program checks all of them in CI.
fn virtual_rigs() -> impl Iterator<Item = PathBuf> {
    let all = ["rigs", "rigs/variants", "rigs/bench-faults"].into_iter().flat_map(files);
    all.filter(|path| fs::read_to_string(path).unwrap().contains("\nvirtual"))
}

#[test]
fn everything_shipped_is_clean() {
    for path in files("rigs/devices") {
        let loaded = load_device(&path).unwrap_or_else(|report| panic!("{report}"));
        assert!(loaded.report.is_empty(), "{}", loaded.report);
    }
    for rig_path in virtual_rigs() {
        let rig = rig(&rig_path.to_string_lossy());
        let mut plans = 0;
        for plan_path in files("testplans") {
            let plan = load_plan(&plan_path).unwrap_or_else(|report| panic!("{report}"));
            // Lock and hub have plans of their own, told by the channels that these need.
            if !plan.plan.requires.iter().all(|channel| rig.world.channels.contains_key(channel)) {
                continue;
            }
            plans += 1;
            let bound = bind(&plan, &rig).unwrap_or_else(|report| panic!("{report}"));
            assert!(bound.report.is_empty(), "{}", bound.report);
            // The virtual lock has neither USB nor a radio nor a network: nothing else may be left out there.
            let why = |channel: &str| format!("rig `{}` has no channel `{channel}`", bound.rig.name);
            let known = ["port", "radio", "network"].map(|channel| Applicability::NotApplicable(why(channel)));
            let skipped = bound.applicability.iter().filter(|a| **a != Applicability::Applicable && !known.contains(a));
            assert_eq!(skipped.collect::<Vec<_>>(), Vec::<&Applicability>::new(), "{}", rig_path.display());
        }
        let least = if rig.rig.virtual_hub.is_some() { 8 } else { 7 };
        assert_eq!(plans, least, "plans for {}", rig_path.display());
    }
}

#[test]
fn valid_files_are_clean() {
    for path in VALID.iter().flat_map(|directory| files(directory)) {
        let report = check(&path);
        assert!(report.is_empty(), "{report}");
    }
}

#[test]
fn invalid_files_are_told() {
    for path in INVALID.iter().flat_map(|directory| files(directory)) {
        let report = check(&path);
        assert!(!report.is_empty(), "{} has no problem", path.display());
        let shown = report.human(false);
        assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
        let kind = path.parent().and_then(Path::parent).and_then(Path::file_name).unwrap().to_string_lossy().into_owned();
        let name = format!("{kind}__{}", path.file_stem().unwrap().to_string_lossy());
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false, snapshot_path => "fixtures/snapshots" }, {
            insta::assert_snapshot!(name, shown);
        });
    }
}

#[test]
fn nothing_is_erased_on_a_rig_that_does_not_say_so() {
    let plan = load_plan(Path::new("tests/fixtures/plans/invalid/sacrifice.yaml")).unwrap();
    let told = bind(&plan, &rig("tests/fixtures/rigs/valid/keepsake.yaml")).unwrap_err();
    let lines: Vec<_> = told.diagnostics.iter().map(|diagnostic| (diagnostic.code, diagnostic.primary.place.line())).collect();
    assert_eq!(lines, [(Code::NotSacrificial, 7), (Code::NotSacrificial, 14)], "the step, and the procedure that does it");
    let allowed = bind(&plan, &rig("tests/fixtures/rigs/valid/bench.yaml")).unwrap();
    assert!(allowed.report.is_empty() && allowed.rig.sacrificial);
    bind(&plan, &rig("tests/fixtures/rigs/valid/no-probe.yaml")).expect("without a probe its cases are not applicable");
}

#[test]
fn every_code_is_met_by_some_file() {
    let mut met: BTreeSet<Code> = INVALID
        .iter()
        .flat_map(|directory| files(directory))
        .flat_map(|path| check(&path).diagnostics)
        .map(|diagnostic| diagnostic.code)
        .collect();
    // Files that cannot be committed: see the tests below.
    met.extend(strange_files().into_iter().map(|(_, code)| code));
    let missing: Vec<_> = Code::ALL.iter().filter(|code| !met.contains(code)).collect();
    assert!(missing.is_empty(), "no invalid file meets {missing:?}");
}

/// Content of files that are no YAML, with the code that they must be told by.
fn strange_files() -> Vec<(Vec<u8>, Code)> {
    let bomb = (1..12).fold("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, n| {
        let alias = format!("*a{}", n - 1);
        format!("{text}a{n}: &a{n} [{}]\n", [alias.as_str(); 10].join(", "))
    });
    vec![
        (vec![b' '; (1 << 20) + 1], Code::TooLarge),
        (b"schema: testplan/1\nname: \xff\xfe\n".to_vec(), Code::NotUtf8),
        (b"schema: testplan/1\nname: a\0b\n".to_vec(), Code::ForbiddenCharacter),
        (b"name: \x1b[31m\n".to_vec(), Code::ForbiddenCharacter),
        (Vec::new(), Code::EmptyFile),
        ("\u{feff}\n# only a comment\n\n---\n".into(), Code::EmptyFile),
        (b"cases:\n\t- id: a\n".to_vec(), Code::Syntax),
        (b"a: [1, 2\nb: 3\n".to_vec(), Code::Syntax),
        (b"a: *nowhere\n".to_vec(), Code::Syntax),
        (b"a: &a [*a]\n".to_vec(), Code::Syntax),
        (b"schema: testplan/1\n---\nschema: testplan/1\n".to_vec(), Code::Syntax),
        ("[".repeat(100_000).into_bytes(), Code::TooComplex),
        (format!("{}x\n", "- ".repeat(10_000)).into_bytes(), Code::TooComplex),
        (bomb.into_bytes(), Code::TooComplex),
    ]
}

#[test]
fn files_that_are_no_yaml_are_one_problem_each() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("plan.yaml");
    for (bytes, code) in strange_files() {
        fs::write(&path, &bytes).unwrap();
        for report in [load_plan(&path).unwrap_err(), load_rig(&path, &drivers()).unwrap_err(), load_device(&path).unwrap_err()] {
            let codes: Vec<_> = report.diagnostics.iter().map(|d| d.code).collect();
            assert_eq!(codes, [code], "{:?}: {report}", String::from_utf8_lossy(&bytes[..bytes.len().min(60)]));
            assert!(!report.human(false).chars().any(|c| c.is_control() && c != '\n'));
        }
    }
}

#[test]
fn what_is_not_a_readable_file_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let code = |path: &Path| load_plan(path).unwrap_err().diagnostics[0].code;
    assert_eq!(code(directory.path()), Code::CannotRead);
    assert_eq!(code(&directory.path().join("missing.yaml")), Code::CannotRead);
    assert_eq!(code(Path::new("/dev/null")), Code::CannotRead);
    // A named pipe would block for ever if it were opened.
    let pipe = directory.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(code(&pipe), Code::CannotRead);
}

#[test]
fn a_file_full_of_problems_is_told_in_reasonable_length() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("plan.yaml");
    let keys: Vec<String> = (0..20_000).map(|n| format!("key-{n}: 1")).collect();
    fs::write(&path, format!("schema: testplan/1\n{}\n", keys.join("\n"))).unwrap();
    let report = load_plan(&path).unwrap_err();
    assert!(report.diagnostics.len() > 20_000);
    let shown = report.human(false);
    assert!(shown.lines().count() < 3_000, "{}", shown.lines().count());
    assert!(shown.ends_with("20005 errors; the first 200 are shown\n"), "{}", &shown[shown.len() - 100..]);
}

#[test]
fn line_ends_do_not_matter() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("plan.yaml");
    let text = fs::read_to_string("testplans/secure-update.yaml").unwrap();
    fs::write(&path, text.replace('\n', "\r\n")).unwrap();
    let (unix, dos) = (load_plan(Path::new("testplans/secure-update.yaml")).unwrap(), load_plan(&path).unwrap());
    assert_eq!(unix.plan, dos.plan);
}

#[test]
fn a_power_cut_search_does_not_apply_to_a_supply_that_sees_no_flash_operations() {
    let plan = load_plan(Path::new("testplans/secure-update.yaml")).unwrap();
    let mut blind = drivers();
    blind.drivers.get_mut("virtual-power").unwrap().sees_flash = false;
    let bound = bind(&plan, &load_rig(Path::new("rigs/virtual-lock.yaml"), &blind).unwrap()).unwrap();
    let skipped = bound.plan.cases.iter().zip(&bound.applicability).filter_map(|(case, applicability)| match applicability {
        Applicability::NotApplicable(why) => Some((case.id.as_str(), why.as_str())),
        Applicability::Applicable => None,
    });
    let why = "supply `supply` of rig `virtual-lock` cannot see flash operations; a virtual rig can";
    assert_eq!(skipped.collect::<Vec<_>>(), [("power-cut-during-update", why), ("power-cut-during-revert", why)]);
}

#[test]
fn a_rig_without_a_channel_makes_cases_not_applicable_with_the_reason() {
    let bound = bound("tests/fixtures/plans/valid/optional.yaml", "tests/fixtures/rigs/valid/no-probe.yaml").unwrap();
    assert_eq!(
        bound.applicability,
        [
            Applicability::Applicable,
            Applicability::NotApplicable("rig `no-probe` has no channel `probe`".into()),
            Applicability::NotApplicable("rig `no-probe` has no channels `probe`, `radio`".into()),
        ]
    );
}

#[test]
fn scalars_are_kept_as_written() {
    let device = load_device(Path::new("tests/fixtures/devices/valid/minimal.yaml")).unwrap().device;
    assert_eq!(device.declared["firmware"], "1.10");
    assert_eq!(device.declared["hex"], "0x0010");
    assert_eq!(device.declared["word"], "yes");
    assert_eq!(device.declared["octal"], "017");
}

#[test]
fn rigs_name_the_entry_of_their_own_bootloader() {
    // A wrong address would silently switch off the memory of signature checks.
    let manifest = fs::read_to_string("firmware-fixtures/manifest.toml").unwrap();
    let entry_of = |image: &Path| {
        let name = format!("file = \"smart-lock/images/{}\"", image.file_name().unwrap().to_string_lossy());
        let block = manifest.split("[[image]]").find(|block| block.contains(&name)).unwrap_or_else(|| panic!("{name}"));
        let line = block.lines().find_map(|line| line.strip_prefix("verify-entry = 0x")).unwrap();
        u32::from_str_radix(line, 16).unwrap()
    };
    let mut locks = 0;
    for path in virtual_rigs() {
        let rig = rig(&path.to_string_lossy()).rig;
        if let Some(device) = &rig.virtual_device {
            assert_eq!(device.verify_entry, Some(entry_of(&rig.device.images["boot"].file)), "{}", path.display());
            locks += 1;
        }
    }
    assert!(locks > 20, "{locks}");
}

/// Compares a generated file with the committed one; `HILBENCH_WRITE=1` writes it.
fn generated(path: &str, text: &str) {
    if std::env::var_os("HILBENCH_WRITE").is_some() {
        fs::create_dir_all(Path::new(path).parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(committed == text, "{path} is not what the tables say; run `HILBENCH_WRITE=1 cargo test --test check generated`");
}

#[test]
fn generated_files_are_up_to_date() {
    for (file, text) in plan::schema().into_iter().chain([prove::schema()]) {
        generated(&format!("docs/schema/{file}"), &text);
    }
    generated("docs/plans-format.md", &plan::key_reference());
    generated("docs/diagnostics.md", &diagnostic::reference());
    generated("docs/lock-states.md", &lock::reference());
}

#[test]
fn schemas_only_use_definitions_that_they_hold() {
    for (file, text) in plan::schema().into_iter().chain([prove::schema()]) {
        let schema: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{file}");
        for reference in text.lines().filter_map(|line| line.trim().strip_prefix("\"$ref\": \"#/$defs/")) {
            let name = reference.trim_end_matches(',').trim_end_matches('"');
            assert!(schema["$defs"][name].is_object(), "{file}: {name}");
        }
    }
}

/// A file of the given content in a directory of its own, checked as a plan, rig and profile.
fn try_all(bytes: &[u8], directory: &Path) {
    let path = directory.join("file.yaml");
    fs::write(&path, bytes).unwrap();
    let drivers = drivers();
    let mut reports = Vec::new();
    match load_plan(&path) {
        Ok(plan) => reports.extend(bind(&plan, &rig("tests/fixtures/rigs/valid/bench.yaml")).err()),
        Err(report) => reports.push(report),
    }
    reports.extend(load_rig(&path, &drivers).err());
    reports.extend(load_device(&path).err());
    for report in reports {
        assert!(report.has_errors(), "an empty report must not refuse a file");
        assert!(!report.human(false).chars().any(|c| c.is_control() && c != '\n'));
        assert!(report.json_lines().lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
    }
}

fn seeds() -> Vec<Vec<u8>> {
    [
        "tests/fixtures/plans/valid/every-step.yaml",
        "tests/fixtures/rigs/valid/bench.yaml",
        "tests/fixtures/devices/valid/lamp.yaml",
    ]
    .iter()
    .map(|path| fs::read(path).unwrap())
    .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let directory = tempfile::tempdir().unwrap();
        try_all(&bytes, directory.path());
    }

    #[test]
    fn yaml_like_text_never_panics(text in "([a-z]{1,3}: ?|- |\\[|\\]|\\{|\\}|&a |\\*a|\"|'|#|\n|\t|  |[^\\x00]|\\$\\{|<<: ){0,80}") {
        let directory = tempfile::tempdir().unwrap();
        try_all(text.as_bytes(), directory.path());
    }

    #[test]
    fn mutated_files_never_panic(
        seed in 0_usize..3,
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..30, prop::collection::vec(any::<u8>(), 0..6)), 1..5),
    ) {
        let mut bytes = seeds().swap_remove(seed);
        for (at, remove, insert) in edits {
            let at = at.index(bytes.len() + 1);
            let end = (at + remove).min(bytes.len());
            bytes.splice(at..end, insert);
        }
        let directory = tempfile::tempdir().unwrap();
        try_all(&bytes, directory.path());
    }

    #[test]
    fn moved_lines_never_panic(seed in 0_usize..3, from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(), indent in 0_usize..9) {
        let text = String::from_utf8(seeds().swap_remove(seed)).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let line = lines.remove(from.index(lines.len()));
        let to = to.index(lines.len() + 1);
        lines.insert(to, format!("{}{}", " ".repeat(indent), line.trim_start()));
        let directory = tempfile::tempdir().unwrap();
        try_all(lines.join("\n").as_bytes(), directory.path());
    }
}
