use std::collections::BTreeMap;

use probe_rs::{
    Error,
    architecture::arm::{ArmError, DapError},
    flashing::FlashError,
    probe::{DebugProbeError, ProbeCreationError},
};

use super::{
    failure::{Cause, Failure},
    order::Operation,
    *,
};

fn parameters(values: &[(&str, &str)]) -> Parameters {
    let values: BTreeMap<_, _> = values.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    Parameters { values, ..Parameters::default() }
}

fn cause(error: Error) -> Cause {
    Failure::from(error).cause
}

#[test]
fn causes_are_found_however_deep_they_are() {
    let silent = || ArmError::Dap(DapError::NoAcknowledge);
    assert_eq!(cause(Error::Arm(silent())), Cause::NoTarget);
    assert_eq!(cause(Error::Arm(ArmError::NoTargetResponse { source: Box::new(silent()) })), Cause::NoTarget);
    assert_eq!(cause(Error::Arm(ArmError::Dap(DapError::FaultResponse))), Cause::Refused);
    assert_eq!(cause(Error::Arm(ArmError::MissingPermissions("erase_all".into()))), Cause::Locked);
    assert_eq!(cause(Error::Probe(DebugProbeError::ProbeCouldNotBeCreated(ProbeCreationError::CouldNotOpen))), Cause::Probe);
    assert_eq!(cause(Error::Timeout), Cause::Other);
    let wrapped = FlashError::PageWrite { page_address: 0x400, source: Box::new(FlashError::Core(Error::Arm(silent()))) };
    assert_eq!(Failure::from(wrapped).cause, Cause::NoTarget);
}

#[test]
fn texts_name_every_cause_and_not_the_wrappings() {
    let failure = Failure::from(Error::Arm(ArmError::Dap(DapError::NoAcknowledge)));
    assert_eq!(failure.text, "Target device did not respond to request");
    let error = failure.into_link_error("reset with x".to_owned());
    assert!(
        error.to_string().starts_with("reset with x: Target device did not respond to request; check that the device has power")
    );
    assert!(!error.lost);
    assert!(Failure::new(Cause::Probe, "gone").into_link_error(String::new()).lost);
}

#[test]
fn the_identity_is_the_probe_whatever_the_spelling() {
    let identity = |probe| ProbeRs::in_process().identity(&parameters(&[("probe", probe), ("chip", "nRF51822_xxAA")]));
    assert_eq!(identity("0D28:0204:99").unwrap(), "debug probe 0d28:0204:99");
    assert_eq!(identity("d28:204:99").unwrap(), "debug probe 0d28:0204:99");
    let error = identity("microbit").unwrap_err().to_string();
    assert!(error.contains("\"microbit\"") && error.contains("VID:PID"), "{error}");
    assert!(ProbeRs::in_process().identity(&parameters(&[])).unwrap_err().what.contains("`probe` is missing"));
}

async fn open_error(values: &[(&str, &str)]) -> LinkError {
    match ProbeRs::in_process().open(&parameters(values)).await {
        Ok(_) => panic!("opened"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn opening_tells_what_is_wrong_with_probe_chip_or_speed() {
    let absent = [("probe", "ffff:fffe:none"), ("returns-within", "0s")];
    let with = |more: &[(&'static str, &'static str)]| [&absent[..], more].concat();
    let error = open_error(&with(&[("chip", "nRF51822_xxAA")])).await;
    assert!(error.lost && error.what.contains("there is no debug probe ffff:fffe:none"), "{error}");
    let error = open_error(&with(&[("chip", "nRF51823")])).await;
    assert!(!error.lost && error.what.contains("nRF51823"), "{error}");
    let error = open_error(&with(&[("chip", "nRF51822_xxAA"), ("speed", "fast")])).await;
    assert!(error.what.contains("4000kHz"), "{error}");
}

#[tokio::test]
async fn a_probe_that_is_not_there_is_looked_for_as_long_as_the_rig_says() {
    let absent = [("probe", "ffff:fffe:none"), ("chip", "nRF51822_xxAA"), ("returns-within", "500ms")];
    let start = std::time::Instant::now();
    let error = open_error(&absent).await;
    assert!(error.what.contains("looked for during 500ms"), "{error}");
    assert!(start.elapsed() >= Duration::from_millis(200), "more than once");
}

#[tokio::test]
async fn a_probe_on_the_supply_of_the_device_need_not_be_there_at_first() {
    let driver = ProbeRs::in_process();
    let on_board = [("probe", "ffff:fffe:none"), ("chip", "nRF51822_xxAA"), ("powered-by", "supply"), ("returns-within", "0s")];
    let Opened::Probe(mut link) = driver.open(&parameters(&on_board)).await.unwrap() else { panic!("it is a probe") };
    let error = link.read(0, 4).await.unwrap_err();
    assert!(error.lost && error.what.contains("there is no debug probe"), "{error}");
}

#[test]
fn parameters_that_cannot_be_right_are_refused_before_anything_is_touched() {
    let wrong = |name: &'static str, value: &'static str| {
        let values = [("probe", "0d28:0204"), ("chip", "nRF51822_xxAA"), (name, value)];
        ProbeRs::in_process().check(&parameters(&values)).unwrap_err().what
    };
    assert!(wrong("returns-within", "soon").contains("is not a time"));
    assert!(wrong("operation-timeout", "10ms").contains("a second at least"));
    assert!(wrong("unit", "xyz").contains("hex digits"));
    assert!(wrong("unit", "112233").contains("3 bytes"));
    assert!(wrong("unit", "11223344").contains("the identity at 0x10000060 has 8"));
    assert!(wrong("unit", "ffffffffffffffff").contains("not there"));
    assert!(wrong("unit-at", "0x10000060/8").contains("needs `unit`"));
    let odd = [("probe", "0d28:0204"), ("chip", "STM32F407VGTx"), ("unit", "11223344")];
    assert!(ProbeRs::in_process().check(&parameters(&odd)).unwrap_err().what.contains("unit-at: ADDRESS/LENGTH"));
    let there = [&odd[..], &[("unit-at", "0x1FFF7A10/4")]].concat();
    ProbeRs::in_process().check(&parameters(&there)).unwrap();
}

#[test]
fn the_selector_of_a_glasgow_behind_a_socket_is_kept_as_it_is() {
    for probe in ["20b7:9db1:unix:/run/glasgow.sock", "20b7:9db1:tcp:[::1]:7000"] {
        let values = parameters(&[("probe", probe), ("chip", "nRF51822_xxAA")]);
        assert_eq!(ProbeRs::in_process().identity(&values).unwrap(), format!("debug probe {probe}"));
        assert_eq!(ProbeRs::in_process().link(&values).unwrap().instrument.selector, probe);
    }
}

#[tokio::test]
async fn a_panicking_driver_is_a_fault_of_the_bench_and_the_link_survives() {
    let mut link = ProbeRsLink::new("ffff:fffe".into(), "nRF51822_xxAA".into(), "x".into());
    let error = link.act("flash", Operation::Panic.into()).await.unwrap_err();
    assert!(error.lost && error.what.contains("panicked: driver bug"), "{error}");
    let error = link.act("read", Operation::Check.into()).await.unwrap_err();
    assert!(error.what.contains("there is no debug probe"), "{error}");
}
