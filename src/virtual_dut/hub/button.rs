//! The hub's button: a press switches the lamp, holding it down for long enough is a factory reset.

use std::time::Duration;

use tokio::sync::watch;

use super::{Flaw, Hardware, firmware::Life, lock};
use crate::event::Nanos;

/// How long it has to be held for a factory reset.
pub(super) const HOLD: Duration = Duration::from_secs(10);
/// What a hub with [`Flaw::ShortGesture`] is content with.
const SHORT: Duration = Duration::from_secs(5);

/// The contact, and what happened at it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Contact {
    /// How often it was closed.
    pub(super) presses: u64,
    /// Since when it is closed.
    pub(super) closed: Option<Nanos>,
}

/// The button switches the lamp, whatever the network does. Presses count that come after `seen`, however late this part gets its first turn.
pub(super) async fn lamp(hardware: &Hardware, life: &Life, mut seen: u64) {
    let mut contact = hardware.contact.subscribe();
    contact.mark_changed();
    while contact.changed().await.is_ok() {
        let now = contact.borrow_and_update().presses;
        (seen..now).for_each(|_| switch(hardware, life));
        seen = now;
    }
}

fn switch(hardware: &Hardware, life: &Life) {
    if hardware.config.flaw == Some(Flaw::NeedsService) && !life.connected() {
        hardware.line.print("lamp waits for the service");
        return;
    }
    let now = hardware.now();
    let mut store = lock(&hardware.store);
    let on = !store.state().lamp;
    store.switch(on, now);
    if hardware.config.flaw == Some(Flaw::ForgetsEvents) && !life.connected() {
        let last = store.state().waiting.back().map_or(0, |event| event.number);
        store.told(last, now);
    }
    drop(store);
    hardware.line.print(if on { "lamp on" } else { "lamp off" });
    life.changed.notify_one();
}

/// Completes when the button was held for long enough. It has to be up once after a start: one that is stuck resets nothing again.
pub(super) async fn held(hardware: &Hardware) {
    let hold = if hardware.config.flaw == Some(Flaw::ShortGesture) { SHORT } else { HOLD };
    let mut contact = hardware.contact.subscribe();
    while contact.borrow_and_update().closed.is_some() {
        if contact.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
    loop {
        let now = *contact.borrow_and_update();
        let enough = async {
            match now.closed {
                Some(since) => hardware.sleep_until(since.after(hold)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = another(&mut contact, now) => {}
            () = enough => return,
        }
    }
}

/// Waits until the contact was opened, or closed again, since it was like this.
async fn another(contact: &mut watch::Receiver<Contact>, before: Contact) {
    if contact.wait_for(|now| *now != before).await.is_err() {
        std::future::pending::<()>().await;
    }
}
