use std::collections::BTreeMap;

use probe_rs::{
    Error,
    architecture::arm::{ArmError, DapError},
    flashing::FlashError,
    probe::{DebugProbeError, ProbeCreationError},
};

use super::{failure::Cause, *};

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
    let identity = |probe| ProbeRs.identity(&parameters(&[("probe", probe), ("chip", "nRF51822_xxAA")]));
    assert_eq!(identity("0D28:0204:99").unwrap(), "debug probe 0d28:0204:99");
    assert_eq!(identity("d28:204:99").unwrap(), "debug probe 0d28:0204:99");
    let error = identity("microbit").unwrap_err().to_string();
    assert!(error.contains("\"microbit\"") && error.contains("VID:PID"), "{error}");
    assert!(ProbeRs.identity(&parameters(&[])).unwrap_err().what.contains("`probe` is missing"));
}

async fn open_error(values: &[(&str, &str)]) -> LinkError {
    match ProbeRs.open(&parameters(values)).await {
        Ok(_) => panic!("opened"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn opening_tells_what_is_wrong_with_probe_chip_or_speed() {
    let absent = ("probe", "ffff:fffe:none");
    let error = open_error(&[absent, ("chip", "nRF51822_xxAA")]).await;
    assert!(error.lost && error.what.contains("there is no debug probe ffff:fffe:none"), "{error}");
    let error = open_error(&[absent, ("chip", "nRF51823")]).await;
    assert!(!error.lost && error.what.contains("nRF51823"), "{error}");
    let error = open_error(&[absent, ("chip", "nRF51822_xxAA"), ("speed", "fast")]).await;
    assert!(error.what.contains("4000kHz"), "{error}");
}

#[tokio::test]
async fn a_panicking_driver_is_a_fault_of_the_bench_and_the_link_survives() {
    let mut link = ProbeRsLink::new("ffff:fffe".into(), "nRF51822_xxAA".into(), "x".into());
    let error = link.act::<()>("flash", |_| panic!("driver bug")).await.unwrap_err();
    assert!(error.lost && error.what.contains("panicked"), "{error}");
    assert_eq!(link.act("read", |_| Ok(7)).await.unwrap(), 7);
}
