use std::{collections::BTreeSet, fs, path::Path};

use super::{Held, Holder, LeaseError, guard, held, queue::Ticket, take};

fn holder(plan: &str) -> Holder {
    Holder { pid: 7, since: "2026-01-01T00:00:00Z".to_owned(), plan: plan.to_owned(), run: "r".to_owned() }
}

fn set(instruments: &[&str]) -> BTreeSet<String> {
    instruments.iter().map(|instrument| (*instrument).to_owned()).collect()
}

fn one(directory: &Path, instrument: &str, plan: &str) -> Result<super::Lease, LeaseError> {
    take(directory, &set(&[instrument]), &holder(plan), None).map(|mut leases| leases.remove(0))
}

#[test]
fn a_second_taker_is_told_who_holds_it_and_gets_it_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let first = one(dir.path(), "usb 1-1.2 / port 3", "first plan").unwrap();
    let refused = one(dir.path(), "usb 1-1.2 / port 3", "second").unwrap_err();
    assert!(matches!(&refused, LeaseError::Held { holder: Some(h), .. } if h.plan == "first plan"), "{refused}");
    assert!(refused.to_string().contains("process 7 since 2026-01-01"), "{refused}");
    one(dir.path(), "usb 1-1.2 - port 3", "other instrument").unwrap();
    drop(first);
    one(dir.path(), "usb 1-1.2 / port 3", "second").unwrap();
}

#[test]
fn an_instrument_whose_guard_is_at_work_is_not_given_to_anybody() {
    let dir = tempfile::tempdir().unwrap();
    let at_work = guard(dir.path(), "supply").unwrap();
    assert!(matches!(one(dir.path(), "supply", "next"), Err(LeaseError::Guarded { .. })));
    drop(at_work);
    let run = one(dir.path(), "supply", "next").unwrap();
    guard(dir.path(), "supply").unwrap();
    drop(run);
}

#[test]
fn a_run_gets_all_of_its_instruments_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let other = one(dir.path(), "b", "other").unwrap();
    let refused = take(dir.path(), &set(&["a", "b", "c"]), &holder("all"), None).unwrap_err();
    assert!(matches!(refused, LeaseError::Held { instrument, .. } if instrument == "b"));
    // Neither what comes before nor what comes after is kept by the refused run.
    drop(take(dir.path(), &set(&["a", "c"]), &holder("rest"), None).unwrap());
    drop(other);
    assert_eq!(take(dir.path(), &set(&["a", "b", "c"]), &holder("all"), None).unwrap().len(), 3);
}

#[test]
fn those_who_wait_are_served_in_order_and_before_those_who_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let running = one(dir.path(), "a", "running").unwrap();
    let first = Ticket::draw(dir.path(), &set(&["a", "b"]), &holder("first")).unwrap();
    let second = Ticket::draw(dir.path(), &set(&["a"]), &holder("second")).unwrap();
    drop(running);
    let next = |ticket: Option<&Ticket>, instruments: &[&str]| take(dir.path(), &set(instruments), &holder("next"), ticket);
    for (ticket, plan) in [(Some(&second), "first"), (None, "first")] {
        assert!(matches!(next(ticket, &["a"]), Err(LeaseError::Kept { holder, .. }) if holder.plan == plan));
    }
    // Even what nobody has yet is kept for the first, or small runs would starve a large one.
    assert!(matches!(next(None, &["b"]), Err(LeaseError::Kept { .. })));
    next(None, &["c"]).unwrap();
    drop(next(Some(&first), &["a", "b"]).unwrap());
    drop(first);
    drop(next(Some(&second), &["a"]).unwrap());
    drop(second);
    next(None, &["a"]).unwrap();
    assert!(!fs::read_dir(dir.path()).unwrap().any(|file| file.unwrap().path().extension().is_some_and(|e| e == "ticket")));
}

#[test]
fn the_ticket_of_a_run_that_is_gone_counts_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let content = serde_json::json!({ "instruments": ["a"], "pid": 1, "since": "", "plan": "dead", "run": "" });
    fs::write(dir.path().join("00000000000000000003.ticket"), content.to_string()).unwrap();
    one(dir.path(), "a", "next").unwrap();
    assert!(!dir.path().join("00000000000000000003.ticket").exists());
}

#[test]
fn what_is_held_is_listed_with_who_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(held(&dir.path().join("nothing")).unwrap(), Held::default());
    drop(one(dir.path(), "was held", "past").unwrap());
    drop(one(dir.path(), "lost", "killed").unwrap());
    let _guard = guard(dir.path(), "lost").unwrap();
    let _held = one(dir.path(), "held", "now").unwrap();
    let _ticket = Ticket::draw(dir.path(), &set(&["held"]), &holder("later")).unwrap();
    let found = held(dir.path()).unwrap();
    let names = |list: &[(String, Holder)]| list.iter().map(|(name, h)| (name.clone(), h.plan.clone())).collect::<Vec<_>>();
    assert_eq!(names(&found.instruments), [("held".to_owned(), "now".to_owned())]);
    assert_eq!(names(&found.guarded), [("lost".to_owned(), "killed".to_owned())]);
    assert_eq!(found.waiting.iter().map(|waiting| waiting.holder.plan.as_str()).collect::<Vec<_>>(), ["later"]);
    assert!(found.of("held").unwrap().contains("for plan now") && found.of("was held").is_none());
    assert!(found.of("lost").unwrap().contains("guard"));
}

#[test]
fn locks_are_for_all_users_and_never_go_through_a_link() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let dir = tempfile::tempdir().unwrap();
    let leases = dir.path().join("leases");
    let _held = one(&leases, "a", "plan").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&leases), 0o1777);
    for file in fs::read_dir(&leases).unwrap() {
        assert_eq!(mode(&file.unwrap().path()), 0o666);
    }
    let (victim, link) = (dir.path().join("victim"), leases.join(super::files::name("b")));
    fs::write(&victim, "precious").unwrap();
    symlink(&victim, link).unwrap();
    assert!(matches!(one(&leases, "b", "plan"), Err(LeaseError::Io { .. })));
    assert_eq!(fs::read_to_string(victim).unwrap(), "precious");
}

#[test]
fn an_alien_record_is_no_reason_to_give_an_instrument_away() {
    let dir = tempfile::tempdir().unwrap();
    let _held = one(dir.path(), "a", "plan").unwrap();
    fs::write(dir.path().join(super::files::name("a")), "\u{1b}[2J{").unwrap();
    let refused = one(dir.path(), "a", "next").unwrap_err();
    assert!(matches!(&refused, LeaseError::Held { holder: None, .. }), "{refused}");
}
