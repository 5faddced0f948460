//! `hilbench leases`.

use std::fmt::Write as _;

use super::{Exit, arguments, arguments::MessageFormat, complain, out};
use crate::{
    run::lease::{self, Held},
    view::sanitise::{self, line},
};

pub(super) fn leases(arguments: &arguments::Leases) -> Exit {
    let directory = lease::directory(&arguments.store.store);
    let held = match lease::held(&directory) {
        Ok(held) => held,
        Err(error) => {
            complain(&format!("error: {error}"));
            return Exit::BenchError;
        }
    };
    match arguments.message_format {
        MessageFormat::Human if held == Held::default() => complain("no instrument is in use"),
        MessageFormat::Human => out(&human(&held)),
        MessageFormat::Json => out(&json(&held)),
    }
    Exit::Pass
}

fn human(held: &Held) -> String {
    let mut text = String::new();
    for (state, list) in [("in use", &held.instruments), ("guard", &held.guarded)] {
        for (instrument, holder) in list {
            let _ = writeln!(text, "{state:<7} {}\n{:8}{}", line(instrument, 110), "", line(&holder.to_string(), 110));
        }
    }
    for waiting in &held.waiting {
        let wanted = waiting.instruments.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "waits   {}\n{:8}for {}", line(&waiting.holder.to_string(), 110), "", line(&wanted, 110));
    }
    text
}

fn json(held: &Held) -> String {
    let mut text = String::new();
    for (state, list) in [("in-use", &held.instruments), ("guard", &held.guarded)] {
        for (instrument, holder) in list {
            let object = serde_json::json!({ "state": state, "instrument": instrument, "holder": holder });
            let _ = writeln!(text, "{}", sanitise::json(&object.to_string()));
        }
    }
    for waiting in &held.waiting {
        let object = serde_json::json!({ "state": "waits", "instruments": waiting.instruments, "holder": waiting.holder });
        let _ = writeln!(text, "{}", sanitise::json(&object.to_string()));
    }
    text
}
