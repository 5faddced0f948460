//! The relay board: lines of an FT232R under the kernel's GPIO interface.

use std::path::PathBuf;

use gpiocdev::{
    chip::Chip,
    line::Value,
    request::{Config, Request},
};
use lab::usb::{Cable, ft232r::Ft232r};

use crate::host::{eventually, in_guest};

/// The GPIO chip of FTDI lines.
pub(crate) fn ftdi_chip() -> Option<PathBuf> {
    let chips = gpiocdev::chip::chips().ok()?;
    chips.into_iter().find(|path| Chip::from_path(path).and_then(|chip| chip.info()).is_ok_and(|info| info.label == "ftdi-cbus"))
}

/// Takes a line as an output, low at first.
pub(crate) fn output(line: u32) -> Request {
    let mut request = None;
    eventually("the relay's line", || {
        let asked =
            |chip| Request::from_config(Config::default()).on_chip(chip).with_line(line).as_output(Value::Inactive).request();
        request = ftdi_chip().and_then(|chip| asked(chip).ok());
        request.is_some()
    });
    request.unwrap()
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn lines_of_the_relay_board_can_be_set_and_read() {
    in_guest();
    let (chip, _, cbus) = Ft232r::new("LINES");
    let mut cable = Cable::new(chip);
    cable.plug().unwrap();
    let request = output(2);
    for value in [Value::Active, Value::Inactive, Value::Active] {
        request.set_value(2, value).unwrap();
        assert_eq!(cbus.driven_high() >> 2 & 1, u8::from(value == Value::Active));
        assert_eq!(request.value(2).unwrap(), value);
    }
    cable.unplug().unwrap();
    assert_eq!(cbus.driven_high(), 0);
    eventually("the chip goes", || ftdi_chip().is_none());
    assert!(request.set_value(2, Value::Active).is_err());
}
