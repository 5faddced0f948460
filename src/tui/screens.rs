//! What each screen of a run looks like.

mod bench;
mod cuts;
mod frame;
mod measured;
mod result;
mod start;
mod steps;

pub use bench::bench;
pub use cuts::cuts;
pub use frame::{footer, header, tabs, transport};
pub use measured::measured;
pub use result::{commands, order, result};
pub use start::{FORM_ROWS, Focus, StartState, starting};
pub use steps::steps;

use super::{
    paper::Paper,
    session::{Session, Tab},
};
use std::time::Instant;

/// The open screen of a run.
pub fn body(session: &mut Session, now: Instant, paper: &mut Paper<'_>) {
    session.rows = paper.height().saturating_sub(2);
    match session.tab {
        Tab::Steps => steps(session, now, paper),
        Tab::Consoles => consoles(session, paper),
        Tab::Timeline => {
            let title = session.timeline.title(&session.tape);
            session.timeline.draw(&session.tape, &mut paper.framed(&title, true));
        }
        Tab::Bench => bench(session, paper),
        Tab::Measured => measured(session, paper),
        Tab::Cuts => cuts(session, paper),
        Tab::Result => result(session, paper),
    }
}

/// The chosen console; where there is room, the list of all beside it.
fn consoles(session: &Session, paper: &mut Paper<'_>) {
    let (width, height) = (paper.width(), paper.height());
    let list = if width >= 110 { 26 } else { 0 };
    let title = session.console.title(&session.tape);
    session.console.draw(&session.tape, &mut paper.part(0, 0, width - list, height).framed(&title, true));
    if list == 0 {
        return;
    }
    let chosen = session.console.stream(&session.tape);
    let mut part = paper.part(width - list, 0, list, height);
    let mut inner = part.framed("All channels", false);
    let all: Vec<_> = session.tape.streams().collect();
    let now = all.iter().position(|name| Some(*name) == chosen.as_ref()).unwrap_or(0);
    let top = now.saturating_sub(inner.height().saturating_sub(1));
    for (row, name) in all.iter().skip(top).take(inner.height()).enumerate() {
        let arrow = if name.way == super::tape::Way::Sent { "<" } else { ">" };
        let end = inner.width();
        inner.text(0, row, &format!("{arrow} {}", name.channel), super::paper::PLAIN);
        inner.text_to(end, row, &super::words::bytes(session.tape.len(name)), super::paper::DIM);
        if top + row == now {
            inner.style(row, super::paper::CHOSEN);
        }
    }
}
