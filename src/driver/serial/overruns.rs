//! How many bytes a port has lost, as its driver counts.
//!
//! The call made for this, `TIOCGICOUNT`, cannot be made without `unsafe`, and no library offers it. What is left is the text that the kernel's
//! serial core writes for each port, `oe:` being overruns: `/proc/tty/driver/NAME`, where `/proc/tty/drivers` tells which name belongs to which
//! device file. Ports of the machine itself (8250, PL011 and the like) are in there; the drivers of USB adapters write no counts. Only
//! root can read it.

use std::{fs, path::Path};

/// Overruns of the port at `path` since the machine was started; `None` if nobody tells.
pub(super) fn of(proc: &Path, path: &Path) -> Option<u64> {
    let path = fs::canonicalize(path).ok()?;
    let name = path.to_str()?;
    let drivers = fs::read_to_string(proc.join("tty/drivers")).ok()?;
    let (driver, line) = drivers.lines().find_map(|line| driver(line, name))?;
    count(&fs::read_to_string(proc.join("tty/driver").join(driver)).ok()?, line)
}

/// The driver of a row `serial /dev/ttyS 4 64-95 serial` if the port is one of its own, and the port's number there.
fn driver<'a>(row: &'a str, port: &str) -> Option<(&'a str, u32)> {
    let mut words = row.split_whitespace();
    let (driver, prefix) = (words.next()?, words.next()?);
    // A name in a row is no path: it comes from the kernel.
    let number = port.strip_prefix(prefix)?.parse().ok()?;
    (!driver.contains('/')).then_some((driver, number))
}

/// `oe:` of the row `0: uart:16550A port:000003F8 irq:4 tx:0 rx:0 oe:3 RTS|DTR`; left out by the kernel while it is zero.
fn count(text: &str, port: u32) -> Option<u64> {
    let row = text.lines().find_map(|row| row.strip_prefix(&format!("{port}: ")))?;
    if !row.split_whitespace().any(|word| word.starts_with("rx:")) {
        return None;
    }
    row.split_whitespace().find_map(|word| word.strip_prefix("oe:")).map_or(Some(0), |count| count.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overruns_are_those_of_the_port_and_zero_is_not_unknown() {
        let proc = tempfile::tempdir().unwrap();
        let dev = tempfile::tempdir().unwrap();
        let prefix = dev.path().canonicalize().unwrap().join("ttyS");
        let prefix = prefix.to_str().unwrap();
        fs::create_dir_all(proc.path().join("tty/driver")).unwrap();
        let drivers = format!(
            "/dev/tty  /dev/tty  5  0 system:/dev/tty\nusbserial {prefix}USB 188 0-511 serial\nserial {prefix} 4 64-95 serial\n"
        );
        fs::write(proc.path().join("tty/drivers"), drivers).unwrap();
        let text = "serinfo:1.0 driver revision:\n0: uart:16550A port:000003F8 irq:4 tx:12 rx:7 RTS|DTR\n\
                    1: uart:16550A port:000002F8 irq:3 tx:0 rx:9000 fe:2 oe:17 brk:1 RTS\n2: uart:unknown port:000003E8 irq:4\n";
        fs::write(proc.path().join("tty/driver/serial"), text).unwrap();
        fs::write(proc.path().join("tty/driver/usbserial"), "usbserinfo:1.0 driver:2.0\n0: module:ftdi_sio num_ports:1 port:0\n")
            .unwrap();
        let of = |name: &str| {
            let path = dev.path().join(name);
            fs::write(&path, "").unwrap();
            super::of(proc.path(), &path)
        };
        assert_eq!(of("ttyS0"), Some(0));
        assert_eq!(of("ttyS1"), Some(17));
        assert_eq!(of("ttyS2"), None, "no such hardware");
        assert_eq!(of("ttyS10"), None);
        assert_eq!(of("ttySUSB0"), None, "the driver does not count");
    }
}
