//! The shipped plans on the wired bench, unmodified.

use crate::{
    host::eventually,
    program::{RIG, Store, bench},
};

#[test]
#[ignore = "needs the lab: cargo lab test"]
fn secure_update_passes_behind_real_drivers() {
    let lock = bench();
    let store = Store::new("secure-update");
    let ended = store.hilbench(&["run", "testplans/secure-update.yaml", "--rig", RIG]);
    ended.expect(0);
    // What a supply that sees no flash operations cannot do is told, not passed over.
    let (passed, skipped) = ("28 passed, 2 skipped", "cannot see flash operations");
    assert!(ended.stdout.contains(passed) && ended.stdout.contains(skipped), "{}", ended.stdout);
    eventually("the supply is off", || !lock.bench().powered());
}
