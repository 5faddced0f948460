//! Consoles: `cdc-acm`, `ftdi_sio` and `ch341` under tokio-serial.

use std::{io, sync::atomic::Ordering};

use lab::usb::{Cable, Fault, Peer, acm::Acm, ch340::Ch340Relay, ft232r::Ft232r};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_serial::SerialPort;

use crate::host::{PATIENCE, block_on, by_id, eventually, in_guest, open, wait_by_id};

/// Both directions, with more bytes than a packet or the driver's buffer of one transfer has.
async fn exchange(port: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), peer: &Peer) {
    let text: Vec<u8> = (0..3000).map(|index| b'a' + (index % 26) as u8).collect();
    assert_eq!(peer.send(&text), text.len());
    let mut got = vec![0; text.len()];
    port.read_exact(&mut got).await.unwrap();
    assert_eq!(got, text);
    port.write_all(&text).await.unwrap();
    port.write_all(b"\n").await.unwrap();
    let got = peer.receive_until(b"\n", PATIENCE).unwrap();
    assert_eq!(got[..text.len()], text);
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_console_carries_bytes_lines_and_speed() {
    in_guest();
    let (acm, peer) = Acm::new("ACM1");
    let mut cable = Cable::new(acm);
    cable.plug().unwrap();
    let (_, file) = wait_by_id("ACM1");
    assert!(file.to_string_lossy().starts_with("/dev/ttyACM"));
    block_on(async {
        let mut port = open(&file);
        assert!(peer.wait_lines(PATIENCE, |lines| lines.dtr && lines.rts && lines.baud == 115_200));
        port.write_data_terminal_ready(false).unwrap();
        assert!(peer.wait_lines(PATIENCE, |lines| !lines.dtr && lines.rts));
        exchange(&mut port, &peer).await;
    });
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn an_ftdi_converter_carries_bytes() {
    in_guest();
    let (chip, peer, _) = Ft232r::new("FTUART");
    let mut cable = Cable::new(chip);
    cable.plug().unwrap();
    let (_, file) = wait_by_id("FTUART");
    assert!(file.to_string_lossy().starts_with("/dev/ttyUSB"));
    block_on(async { exchange(&mut open(&file), &peer).await });
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_serial_relay_without_a_serial_number_switches() {
    in_guest();
    let (board, closed) = Ch340Relay::new();
    let mut cable = Cable::new(board);
    cable.plug().unwrap();
    let name = cable.wait_terminal().unwrap();
    let file = std::path::PathBuf::from("/dev").join(name);
    eventually("the relay's device file", || file.exists());
    block_on(async {
        let mut port = open(&file);
        port.write_all(&[0xA0, 1, 1, 0xA2]).await.unwrap();
        eventually("the contact closes", || closed.load(Ordering::SeqCst));
        port.write_all(&[0xA0, 1, 0, 0xA1]).await.unwrap();
        eventually("the contact opens", || !closed.load(Ordering::SeqCst));
    });
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn pulling_the_plug_of_an_open_console_ends_reads_and_writes() {
    in_guest();
    let (acm, peer) = Acm::new("PULL");
    let mut cable = Cable::new(acm);
    cable.plug().unwrap();
    let (_, file) = wait_by_id("PULL");
    block_on(async {
        let mut port = open(&file);
        let _ = peer.send(b"before");
        let mut got = [0; 6];
        port.read_exact(&mut got).await.unwrap();
        cable.unplug().unwrap();
        let mut rest = Vec::new();
        // The kernel hangs the terminal up: end of file, or an input error, but never silence.
        let end = port.read_to_end(&mut rest).await;
        assert!(
            end.is_ok() || end.is_err_and(|error| error.raw_os_error().is_some() || error.kind() == io::ErrorKind::BrokenPipe)
        );
        assert!(rest.is_empty());
        assert!(port.write_all(b"after").await.is_err());
    });
    eventually("the link goes", || by_id("PULL").is_none());
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_console_comes_back_under_another_number_and_the_same_link() {
    in_guest();
    let (acm, peer) = Acm::new("BACK");
    let mut cable = Cable::new(acm);
    cable.plug().unwrap();
    let (link, first) = wait_by_id("BACK");
    let port = cable.location().unwrap().to_owned();
    cable.replug_renumbered().unwrap();
    let mut second = first.clone();
    eventually("the link points elsewhere", || {
        second = by_id("BACK").map_or_else(|| first.clone(), |(_, file)| file);
        second != first
    });
    assert_eq!(wait_by_id("BACK").0, link);
    assert_ne!(cable.location().unwrap(), port);
    block_on(async { exchange(&mut open(&link), &peer).await });
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn a_hung_console_is_silent_and_can_still_be_closed() {
    in_guest();
    let (acm, peer) = Acm::new("HUNG");
    let mut cable = Cable::new(acm);
    cable.plug().unwrap();
    let (_, file) = wait_by_id("HUNG");
    block_on(async {
        let mut port = open(&file);
        cable.fault(Fault::Hang);
        let _ = peer.send(b"never seen");
        let silence = tokio::time::timeout(std::time::Duration::from_millis(300), port.read_u8()).await;
        assert!(silence.is_err());
        cable.heal();
        let mut got = [0; 10];
        port.read_exact(&mut got).await.unwrap();
        assert_eq!(&got, b"never seen");
        cable.fault(Fault::Hang);
    });
    cable.unplug().unwrap();
}
