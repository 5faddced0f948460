//! The host controller interface of a Low Energy controller: Core Specification, volume 4, part E.

/// Kinds of packets (part A, 2).
pub(super) mod packet {
    pub(crate) const COMMAND: u8 = 1;
    pub(crate) const DATA: u8 = 2;
    pub(crate) const EVENT: u8 = 4;
    /// Of the kernel's `hci_vhci`: make the controller.
    pub(crate) const VENDOR: u8 = 0xFF;
}

/// Commands with an effect; the others only have an answer.
pub(super) mod command {
    pub(crate) const DISCONNECT: u16 = 0x0406;
    pub(crate) const READ_REMOTE_VERSION: u16 = 0x041D;
    pub(crate) const RESET: u16 = 0x0C03;
    pub(crate) const SCAN_ENABLE: u16 = 0x200C;
    pub(crate) const CREATE_CONNECTION: u16 = 0x200D;
    pub(crate) const CANCEL_CONNECTION: u16 = 0x200E;
    pub(crate) const UPDATE_CONNECTION: u16 = 0x2013;
    pub(crate) const READ_REMOTE_FEATURES: u16 = 0x2016;
}

const COMMAND_COMPLETE: u8 = 0x0E;
const COMMAND_STATUS: u8 = 0x0F;
const UNKNOWN_COMMAND: u8 = 0x01;

/// Handle of the only connection.
pub(super) const HANDLE: [u8; 2] = [0x40, 0x00];

/// The controller's own address.
const OWN_ADDRESS: [u8; 6] = [0x01, 0x00, 0x00, 0xAB, 0x1A, 0x00];

/// An event as the host reads it.
pub(super) fn event(code: u8, parameters: &[u8]) -> Vec<u8> {
    [&[packet::EVENT, code, parameters.len() as u8], parameters].concat()
}

/// An event of the Low Energy part (7.7.65).
pub(super) fn low_energy(subevent: u8, parameters: &[u8]) -> Vec<u8> {
    event(0x3E, &[&[subevent], parameters].concat())
}

/// "Underway": the result comes as an event of its own.
pub(super) fn started(command: u16) -> Vec<u8> {
    let [low, high] = command.to_le_bytes();
    event(COMMAND_STATUS, &[0, 1, low, high])
}

/// The result of a command that is done at once.
pub(super) fn complete(command: u16) -> Vec<u8> {
    let parameters = result(command);
    event(COMMAND_COMPLETE, &[&[1], &command.to_le_bytes()[..], &parameters].concat())
}

/// Status, then what the command gives.
fn result(command: u16) -> Vec<u8> {
    let ok = |values: &[u8]| [&[0], values].concat();
    match command {
        // Version 4.2 of both protocols; the manufacturer's number is the one for internal use.
        0x1001 => ok(&[8, 0, 0, 8, 0xFF, 0xFF, 0, 0]),
        0x1002 => ok(&supported_commands()),
        // Low Energy, no BR/EDR.
        0x1003 => ok(&[0, 0, 0, 0, 0x60, 0, 0, 0]),
        0x1009 => ok(&OWN_ADDRESS),
        // Packets of 251 bytes, eight of them.
        0x2002 => ok(&[251, 0, 8]),
        // Encryption.
        0x2003 => ok(&[1, 0, 0, 0, 0, 0, 0, 0]),
        0x2007 => ok(&[0]),
        0x200F => ok(&[8]),
        0x2018 => ok(&[4; 8]),
        0x201C => ok(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x03, 0, 0]),
        // Event masks, addresses, advertising and scanning parameters, the list of accepted devices.
        0x0C01 | command::RESET | 0x2001 | 0x2005 | 0x2006 | 0x2008..=0x200C | command::CANCEL_CONNECTION | 0x2010..=0x2012 => {
            ok(&[])
        }
        _ => vec![UNKNOWN_COMMAND],
    }
}

/// Which commands the table of 6.27 says that there are.
fn supported_commands() -> [u8; 64] {
    let mut bytes = [0; 64];
    // Disconnect; remote version; event mask and reset; version, commands and features; address.
    for (byte, bits) in [(0, 0x20), (2, 0x80), (5, 0xC0), (14, 0x28), (15, 0x02), (25, 0xF7), (26, 0xFF), (27, 0x27), (28, 0x08)]
    {
        bytes[byte] = bits;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_name_their_command() {
        assert_eq!(complete(command::RESET), [4, 0x0E, 4, 1, 0x03, 0x0C, 0]);
        assert_eq!(complete(0x3FFF)[6], UNKNOWN_COMMAND);
        assert_eq!(complete(0x1002).len(), 71);
        assert_eq!(started(command::DISCONNECT), [4, 0x0F, 4, 0, 1, 0x06, 0x04]);
    }
}
