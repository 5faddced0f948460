//! The smart lock on the wired bench: its firmware runs, and the relay board feeds it and presses its button.

use gpiocdev::line::Value;
use lab::{
    bench::{BUTTON_LINE, SUPPLY_LINE},
    lock::Lock,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    host::{PATIENCE, block_on, eventually, in_guest, open, wait_by_id},
    program::provision,
    relay::output,
};

/// Reads until `text` was seen; returns all of it.
async fn until(port: &mut tokio_serial::SerialStream, text: &str) -> String {
    let mut seen = String::new();
    while !seen.contains(text) {
        let mut piece = [0; 256];
        let count = port.read(&mut piece).await.unwrap();
        assert_ne!(count, 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&piece[..count]));
    }
    seen
}

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn the_lock_boots_answers_and_is_reset_by_its_button() {
    in_guest();
    let lock = Lock::new("LIVE", 7).unwrap();
    provision(&lock);
    let supply = output(SUPPLY_LINE.into());
    supply.set_value(SUPPLY_LINE.into(), Value::Active).unwrap();
    let (_, file) = wait_by_id("LIVE-console");
    block_on(async {
        let mut port = open(&file);
        // It was said before the port was open, and kept by the adapter.
        until(&mut port, "smart-lock 1.0.0 ready").await;
        port.write_all(b"version\n").await.unwrap();
        until(&mut port, "version 1.0.0 counter").await;
        let button = output(BUTTON_LINE.into());
        button.set_value(BUTTON_LINE.into(), Value::Active).unwrap();
        tokio::time::sleep(std::time::Duration::from_secs(11)).await;
        button.set_value(BUTTON_LINE.into(), Value::Inactive).unwrap();
        until(&mut port, "factory reset done").await;
        until(&mut port, "ready").await;
    });
    supply.set_value(SUPPLY_LINE.into(), Value::Inactive).unwrap();
    assert!(lock.bench().wait_power(false, PATIENCE));
    eventually("the console goes", || crate::host::by_id("LIVE-console").is_none());
}
