//! A frame: the screen, its footer, and what is in front of it.

use ratatui::{buffer::Buffer, style::Style};

use super::{App, Screen};
use crate::tui::{
    dialogs::{self, Dialog},
    keys::{Action, Keymap},
    paper::{BAD, BOLD, DIM, FAULT, Paper, WARN, finish},
    screens::{self, Focus},
    session::{Session, Tab},
};

impl App {
    /// Draws a frame.
    pub fn draw(&mut self, buffer: &mut Buffer) {
        let keys = self.keys.clone();
        let now = self.now;
        let message = self.message.as_ref().map(|(text, _)| text.clone());
        let mut paper = Paper::new(buffer);
        let (width, height) = (paper.width(), paper.height());
        let footer = self.footer();
        match &mut self.screen {
            Screen::Start if !self.home => screens::starting("", &mut paper.part(0, 0, width, height.saturating_sub(2))),
            Screen::Start => {
                if height > 4 {
                    paper.text(0, 0, "hilbench", BOLD);
                    paper.text(10, 0, "hardware test bench: choose a bench, then a plan", DIM);
                    self.start.draw(&mut paper.part(0, 1, width, height - 3));
                } else {
                    self.start.draw(&mut paper.part(0, 0, width, height.saturating_sub(1)));
                }
            }
            Screen::Starting(own) => screens::starting(own.run.as_str(), &mut paper.part(0, 0, width, height.saturating_sub(2))),
            Screen::Run(session) => {
                if height >= 8 {
                    screens::header(session, now, &mut paper.part(0, 0, width, 2));
                    screens::tabs(session, &keys, &mut paper.part(0, 2, width, 1));
                    screens::body(session, now, &mut paper.part(0, 3, width, height - 5));
                    screens::transport(session, &mut paper.part(0, height - 2, width, 1));
                } else {
                    screens::header(session, now, &mut paper.part(0, 0, width, height.saturating_sub(1)));
                }
            }
        }
        if height >= 2 {
            if let Some(message) = message {
                // Where a recorded run is played, that line is taken: it stands in the frame above.
                let played = matches!(&self.screen, Screen::Run(session) if session.transport.is_some());
                if played && height >= 8 {
                    paper.text_within(2, height - 3, &format!(" {message} "), width.saturating_sub(4), WARN);
                } else {
                    paper.text(0, height - 2, &message, WARN);
                }
            } else if let Screen::Run(session) = &self.screen
                && session.transport.is_none()
                && height >= 8
            {
                let (text, style) = notice(session, &keys);
                paper.text(0, height - 2, &text, style);
            }
            screens::footer(&keys, &footer, &mut paper.part(0, height - 1, width, 1));
        }
        self.draw_front(&keys, &mut paper);
        finish(buffer, self.abilities);
    }

    /// Whether a question of the run is in front.
    fn asked(&self) -> bool {
        let asks = |session: &Session| session.open_prompt().is_some() && !session.prompt.aside;
        self.dialog.is_none() && self.session().is_some_and(asks)
    }

    pub(super) fn draw_front(&mut self, keys: &Keymap, paper: &mut Paper<'_>) {
        let name = |action| keys.first(action);
        if let Screen::Run(session) = &self.screen
            && self.dialog.is_none()
            && !session.prompt.aside
        {
            dialogs::prompt(session, self.now, [&name(Action::Open), &name(Action::Back)], paper);
        }
        let contexts = self.help_contexts();
        match &self.dialog {
            None => {}
            Some(Dialog::Help(top)) => dialogs::help(keys, &contexts, *top, paper),
            Some(Dialog::Text(title, lines, top)) => dialogs::text(title, lines, *top, paper),
            Some(Dialog::Input(purpose, text)) => dialogs::input(purpose, text, paper),
            Some(Dialog::Leave) => dialogs::leave([&name(Action::Detach), &name(Action::Stop), &name(Action::Back)], paper),
            Some(Dialog::Stop) => {
                if let Screen::Run(session) = &self.screen {
                    dialogs::stop(session, [&name(Action::Open), &name(Action::Back), &name(Action::Stop)], paper);
                }
            }
            Some(Dialog::Copy(chosen)) => {
                if let Screen::Run(session) = &self.screen {
                    dialogs::copy(&screens::commands(session), *chosen, paper);
                }
            }
        }
    }

    pub(super) fn footer(&self) -> Vec<(&'static [Action], &'static str)> {
        const MOVE: &[Action] = &[Action::Up, Action::Down];
        if self.dialog.is_some() {
            return vec![(MOVE, "move"), (&[Action::Open], "ok"), (&[Action::Back], "close")];
        }
        if self.asked() {
            return vec![
                (MOVE, "choose"),
                (&[Action::Open], "answer"),
                (&[Action::Back], "put aside"),
                (&[Action::Help], "keys"),
            ];
        }
        match &self.screen {
            Screen::Start if self.start.focus == Focus::Form => vec![
                (MOVE, "move"),
                (&[Action::Open], "choose, change"),
                (&[Action::Back], "back"),
                (&[Action::Examine], "examine bench"),
                (&[Action::Help], "keys"),
            ],
            Screen::Start => vec![
                (MOVE, "move"),
                (&[Action::NextTab], "next list"),
                (&[Action::Open], "go on"),
                (&[Action::Examine], "examine bench"),
                (&[Action::Refresh], "look again"),
                (&[Action::Help], "keys"),
                (&[Action::Leave], "leave"),
            ],
            Screen::Starting(_) => vec![(&[Action::Help], "keys")],
            Screen::Run(session) => {
                let mut items: Vec<(&'static [Action], &'static str)> = Vec::new();
                if session.transport.is_some() {
                    items.push((&[Action::Play], "play"));
                    items.push((&[Action::Slower, Action::Faster], "speed"));
                    items.push((&[Action::PreviousEvent, Action::NextEvent], "event"));
                    items.push((&[Action::PreviousFailure, Action::NextFailure], "failure"));
                    items.push((&[Action::Jump], "time"));
                }
                items.push((MOVE, "move"));
                match session.tab {
                    Tab::Steps => items.push((&[Action::Open], "open")),
                    Tab::Consoles => {
                        items.push((&[Action::PreviousChannel, Action::NextChannel], "channel"));
                        items.push((&[Action::Freeze], "freeze"));
                        items.push((&[Action::Hex], "hex"));
                        items.push((&[Action::Times], "times"));
                        items.push((&[Action::Search], "search"));
                    }
                    Tab::Timeline => {
                        items.push((&[Action::PreviousChannel, Action::NextChannel], "channel"));
                        items.push((&[Action::Search], "search"));
                    }
                    Tab::Result | Tab::Cuts => {
                        items.push((&[Action::Open], "evidence"));
                        items.push((&[Action::Copy], "copy command"));
                        if !session.is_live() && session.transport.is_none() {
                            items.push((&[Action::Replay], "play again"));
                        }
                    }
                    Tab::Bench | Tab::Measured => {}
                }
                if session.is_live() {
                    items.push((&[Action::Stop], "stop"));
                }
                items.push((&[Action::Help], "keys"));
                items.push((&[Action::Leave], "leave"));
                items
            }
        }
    }
}

/// What is worth saying above the footer while there is no message.
fn notice(session: &Session, keys: &Keymap) -> (String, Style) {
    let view = session.tape.view();
    if let Some(prompt) = session.open_prompt().filter(|_| session.prompt.aside) {
        return (format!("The run asks: {}  ({} answers)", prompt.text, keys.first(Action::Answer)), WARN);
    }
    if let Some(damage) = session.tape.damage() {
        return (format!("the record is damaged: {damage}"), BAD);
    }
    if !session.tape.is_caught_up() {
        return (format!("reading the record, {} %", (session.tape.read_share() * 100.0) as u32), DIM);
    }
    if let Some(fault) = view.faults.last() {
        return (format!("bench fault: {}", fault.what), FAULT);
    }
    match view.current_step() {
        Some((case, step)) if session.is_live() => (format!("now: {} step {}: {}", case.name(), step.number(), step.text), DIM),
        _ => (String::new(), DIM),
    }
}
