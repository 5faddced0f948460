//! Devices without a kernel driver, under libusb.

use std::time::Duration;

use lab::usb::{Cable, Description, Direction, Endpoint, Fault, Interface, Speed, vendor::Loopback};
use rusb::{Context, DeviceHandle, UsbContext};

use crate::host::{PATIENCE, eventually, in_guest};

const VENDOR: u16 = 0x1209;
const PRODUCT: u16 = 0x0004;
/// For transfers that must not end by themselves.
const SHORT: Duration = Duration::from_millis(200);

fn description(serial: &str) -> Description {
    let pair = vec![Endpoint::bulk(1, Direction::Out, 512), Endpoint::bulk(1, Direction::In, 512)];
    let slow = Interface { class: [0xFF, 1, 2], name: Some("control".into()), ..Interface::default() };
    let fast = Interface { alternate: 1, endpoints: pair, ..slow.clone() };
    let other = Interface { number: 1, class: [0xFE, 1, 1], name: Some("update".into()), ..Interface::default() };
    Description::new(Speed::High, VENDOR, PRODUCT, "lab vendor device")
        .serial(serial)
        .interface(slow)
        .interface(fast)
        .interface(other)
}

fn find(context: &Context) -> Option<rusb::Device<Context>> {
    let devices = context.devices().ok()?;
    devices
        .iter()
        .find(|device| device.device_descriptor().is_ok_and(|found| (found.vendor_id(), found.product_id()) == (VENDOR, PRODUCT)))
}

fn open(context: &Context) -> DeviceHandle<Context> {
    let mut opened = None;
    // It is listed before the kernel has chosen its configuration; until then it has no interfaces.
    let usable = |device: &rusb::Device<Context>| device.active_config_descriptor().is_ok();
    eventually("libusb opens the device", || {
        opened = find(context).filter(usable).and_then(|device| device.open().ok());
        opened.is_some()
    });
    opened.unwrap()
}

/// A plugged device with its second setting chosen.
fn ready(context: &Context, serial: &str) -> (Cable, DeviceHandle<Context>) {
    let mut cable = Cable::new(Loopback::new(description(serial)));
    cable.plug().unwrap();
    let handle = open(context);
    handle.claim_interface(0).unwrap();
    handle.set_alternate_setting(0, 1).unwrap();
    (cable, handle)
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn libusb_sees_what_was_declared() {
    in_guest();
    let context = Context::new().unwrap();
    let mut cable = Cable::new(Loopback::new(description("VENDOR1")));
    cable.plug().unwrap();
    let handle = open(&context);
    let device = handle.device();
    let descriptor = device.device_descriptor().unwrap();
    assert_eq!(handle.read_product_string_ascii(&descriptor).unwrap(), "lab vendor device");
    assert_eq!(handle.read_serial_number_string_ascii(&descriptor).unwrap(), "VENDOR1");
    assert_eq!(device.speed(), rusb::Speed::High);
    let configuration = device.active_config_descriptor().unwrap();
    let interfaces: Vec<(u8, u8, u8, usize)> = configuration
        .interfaces()
        .flat_map(|interface| interface.descriptors().collect::<Vec<_>>())
        .map(|found| (found.interface_number(), found.setting_number(), found.class_code(), found.endpoint_descriptors().count()))
        .collect();
    assert_eq!(interfaces, [(0, 0, 0xFF, 0), (0, 1, 0xFF, 2), (1, 0, 0xFE, 0)]);
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn transfers_wait_stall_fall_short_and_recover() {
    in_guest();
    let context = Context::new().unwrap();
    let (cable, handle) = ready(&context, "VENDOR2");
    let mut buffer = [0; 1024];
    assert_eq!(handle.read_bulk(0x81, &mut buffer, SHORT), Err(rusb::Error::Timeout));

    assert_eq!(handle.write_bulk(0x01, b"hello", PATIENCE), Ok(5));
    assert_eq!(handle.read_bulk(0x81, &mut buffer, PATIENCE), Ok(5));
    assert_eq!(&buffer[..5], b"hello");

    cable.fault(Fault::Short(0x81, 2));
    handle.write_bulk(0x01, b"hello", PATIENCE).unwrap();
    assert_eq!(handle.read_bulk(0x81, &mut buffer, PATIENCE), Ok(2));

    cable.fault(Fault::Stall(0x81));
    assert_eq!(handle.read_bulk(0x81, &mut buffer, PATIENCE), Err(rusb::Error::Pipe));
    handle.clear_halt(0x81).unwrap();
    assert_eq!(handle.read_bulk(0x81, &mut buffer, SHORT), Err(rusb::Error::Timeout));

    let got = handle.read_control(0xC0, 0x42, 0x1234, 0x5678, &mut buffer, PATIENCE).unwrap();
    assert_eq!(buffer[..got], [0xC0, 0x42, 0x34, 0x12, 0x78, 0x56, 0x00, 0x04]);
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_hung_device_times_out_and_one_that_is_pulled_is_gone() {
    in_guest();
    let context = Context::new().unwrap();
    let (mut cable, handle) = ready(&context, "VENDOR3");
    cable.fault(Fault::Hang);
    let mut buffer = [0; 64];
    assert_eq!(handle.write_bulk(0x01, b"x", SHORT), Err(rusb::Error::Timeout));
    assert_eq!(handle.read_control(0xC0, 1, 0, 0, &mut buffer, SHORT), Err(rusb::Error::Timeout));
    cable.heal();
    assert_eq!(handle.write_bulk(0x01, b"x", PATIENCE), Ok(1));
    cable.unplug().unwrap();
    eventually("libusb says that the device is gone", || handle.write_bulk(0x01, b"x", SHORT) == Err(rusb::Error::NoDevice));
    eventually("libusb does not list it", || find(&context).is_none());

    // The same again is another device to libusb, under another address.
    let before = handle.device().address();
    cable.plug().unwrap();
    assert_ne!(open(&context).device().address(), before);
}
