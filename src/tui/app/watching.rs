//! Keys of a run, live, finished or played.

use super::{App, Screen};
use crate::tui::{
    dialogs::{Dialog, Purpose},
    keys::Action,
    session::{SPEEDS, Session, Tab},
};

impl App {
    pub(super) fn act_run(&mut self, action: Action) {
        let now = self.now;
        let Screen::Run(session) = &mut self.screen else { return };
        let page = session.rows.max(2) as isize - 1;
        match action {
            Action::Tab1 => session.tab = Tab::Steps,
            Action::Tab2 => session.tab = Tab::Consoles,
            Action::Tab3 => session.tab = Tab::Timeline,
            Action::Tab4 => session.tab = Tab::Bench,
            Action::Tab5 => session.tab = Tab::Measured,
            Action::Tab6 => session.tab = Tab::Cuts,
            Action::Tab7 => session.tab = Tab::Result,
            Action::NextTab => session.tab = session.tab.beside(true),
            Action::PreviousTab => session.tab = session.tab.beside(false),
            Action::Up => scroll(session, -1),
            Action::Down => scroll(session, 1),
            Action::PageUp => scroll(session, -page),
            Action::PageDown => scroll(session, page),
            Action::First => first(session),
            Action::Last => last(session),
            Action::Left | Action::Right => sideways(session, action == Action::Right),
            Action::Open => self.open(),
            Action::Back => self.back(),
            Action::Search => self.dialog = Some(Dialog::Input(Purpose::Search, String::new())),
            Action::SearchNext => self.search(true),
            Action::SearchPrevious => self.search(false),
            Action::Answer => {
                if session.open_prompt().is_some() {
                    session.prompt.aside = false;
                } else {
                    self.say("Nothing is asked.");
                }
            }
            Action::Detach => {
                if session.is_live() {
                    self.detach();
                } else {
                    self.say("The run has ended.");
                }
            }
            Action::Copy => self.dialog = Some(Dialog::Copy(0)),
            Action::Replay => {
                if session.is_live() {
                    self.say("The run is not over yet.");
                } else {
                    session.replay(now);
                    let play = self.keys.first(Action::Play);
                    self.say(format!("{play} plays."));
                }
            }
            Action::NextChannel | Action::PreviousChannel => {
                let forward = action == Action::NextChannel;
                if session.tab == Tab::Timeline {
                    session.timeline.switch(&session.tape, forward);
                } else {
                    session.console.switch(&session.tape, forward);
                }
            }
            Action::Freeze => session.console.freeze(&session.tape),
            Action::Hex => session.console.hex = !session.console.hex,
            Action::Times => session.console.times = !session.console.times,
            action => self.act_replay(action),
        }
    }

    pub(super) fn act_replay(&mut self, action: Action) {
        let now = self.now;
        let Screen::Run(session) = &mut self.screen else { return };
        if session.transport.is_none() {
            return;
        }
        let here = session.tape.position();
        let to = |session: &mut Session, found: Option<u64>, after: bool| match found {
            Some(seq) => {
                session.seek(seq + u64::from(after));
                true
            }
            None => false,
        };
        let found = match action {
            Action::Play => {
                session.toggle_play(now);
                true
            }
            Action::Faster | Action::Slower => {
                if let Some(transport) = &mut session.transport {
                    let by = if action == Action::Faster { 1 } else { -1 };
                    transport.speed = transport.speed.saturating_add_signed(by).min(SPEEDS.len() - 1);
                }
                true
            }
            Action::NextEvent => to(session, Some((here + 1).min(session.tape.end())), false),
            Action::PreviousEvent => to(session, Some(here.saturating_sub(1)), false),
            Action::NextStep => {
                let found = session.tape.step(here, true);
                to(session, found, true)
            }
            Action::PreviousStep => {
                let found = session.tape.step(here.saturating_sub(1), false);
                to(session, found, true)
            }
            Action::NextFailure => {
                let found = session.tape.failure(here, true);
                to(session, found, true)
            }
            Action::PreviousFailure => {
                let found = session.tape.failure(here.saturating_sub(1), false);
                to(session, found, true)
            }
            Action::ToBegin => to(session, Some(0), false),
            Action::ToEnd => to(session, Some(session.tape.end()), false),
            Action::Jump => {
                self.dialog = Some(Dialog::Input(Purpose::Jump, String::new()));
                true
            }
            _ => true,
        };
        if !found {
            self.say("There is none further on.");
        }
    }

    pub(super) fn open(&mut self) {
        let Screen::Run(session) = &mut self.screen else { return };
        match session.tab {
            Tab::Steps => {
                let open = session.tree.unfolded.contains(&session.tree.chosen.case);
                if session.tree.chosen.step.is_some() {
                    self.evidence();
                } else {
                    session.tree.unfold(!open);
                }
            }
            Tab::Result | Tab::Cuts => self.evidence(),
            _ => {}
        }
    }

    pub(super) fn back(&mut self) {
        let Screen::Run(session) = &mut self.screen else { return };
        if session.transport.is_some() && session.shown_prompt().is_some() && !session.prompt.aside {
            session.prompt.aside = true;
        } else if session.tab == Tab::Consoles && (session.console.bottom.is_some() || session.console.hit.is_some()) {
            session.console.bottom = None;
            session.console.hit = None;
        } else if session.tab == Tab::Timeline && session.timeline.bottom.is_some() {
            session.timeline.bottom = None;
        } else if session.is_live() {
            session.tree.follows = true;
            session.tab = Tab::Steps;
        } else if self.home {
            self.go_home();
        } else {
            let key = self.keys.first(Action::Leave);
            self.say(format!("{key} leaves."));
        }
    }
}

fn scroll(session: &mut Session, by: isize) {
    match session.tab {
        Tab::Steps => session.tree.scroll(session.tape.view(), by),
        Tab::Consoles => session.console.scroll(&session.tape, by),
        Tab::Timeline => session.timeline.scroll(&session.tape, by),
        Tab::Bench => session.bench = session.bench.saturating_add_signed(by),
        Tab::Measured => session.measured = session.measured.saturating_add_signed(by.signum()),
        Tab::Cuts => session.cuts = session.cuts.saturating_add_signed(by),
        Tab::Result => session.result = session.result.saturating_add_signed(by),
    }
}

fn first(session: &mut Session) {
    match session.tab {
        Tab::Steps => session.tree.scroll(session.tape.view(), isize::MIN),
        Tab::Consoles => session.console.first(&session.tape, session.rows),
        Tab::Timeline => session.timeline.first(),
        Tab::Bench => session.bench = 0,
        Tab::Measured => session.measured = 0,
        Tab::Cuts => session.cuts = 0,
        Tab::Result => session.result = 0,
    }
}

fn last(session: &mut Session) {
    match session.tab {
        Tab::Steps => {
            session.tree.scroll(session.tape.view(), isize::MAX);
            session.tree.follows = true;
        }
        Tab::Consoles => session.console.bottom = None,
        Tab::Timeline => session.timeline.bottom = None,
        // Drawing takes it back to the last there is.
        Tab::Bench => session.bench = usize::MAX / 2,
        Tab::Measured => session.measured = usize::MAX / 2,
        Tab::Cuts => session.cuts = usize::MAX / 2,
        Tab::Result => session.result = usize::MAX / 2,
    }
}

fn sideways(session: &mut Session, right: bool) {
    match session.tab {
        Tab::Steps => session.tree.unfold(right),
        Tab::Consoles => {
            session.console.left =
                if right { (session.console.left + 16).min(10_000) } else { session.console.left.saturating_sub(16) }
        }
        _ => {}
    }
}
