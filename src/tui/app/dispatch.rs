//! Where a key goes: to what is typed, to a window in front, to a prompt, to the screen.

use std::sync::Arc;

use super::{App, Done, Left, Screen, TYPED};
use crate::{
    event::{Request, StopLevel},
    tui::{
        dialogs::{self, Dialog, Purpose},
        keys::{Action, Context, Key},
        screens,
        session::Tab,
        words,
    },
};

impl App {
    pub(super) fn contexts(&self) -> Vec<Context> {
        match &self.screen {
            Screen::Start | Screen::Starting(_) => vec![Context::Start, Context::Common],
            Screen::Run(session) => {
                let mut contexts = Vec::new();
                if session.tab == Tab::Consoles {
                    contexts.push(Context::Console);
                }
                if session.transport.is_some() {
                    contexts.push(Context::Replay);
                }
                contexts.extend([Context::Run, Context::Common]);
                contexts
            }
        }
    }

    /// Takes pasted text: text where one types, nothing elsewhere.
    pub fn paste(&mut self, text: &str) {
        let clean: String = text.chars().filter(|c| !c.is_control()).take(TYPED).collect();
        if let Some(field) = self.typing() {
            field.push_str(&clean);
        }
    }

    /// The text that is being typed.
    pub(super) fn typing(&mut self) -> Option<&mut String> {
        if self.dialog.is_some() {
            return match &mut self.dialog {
                Some(Dialog::Input(_, text)) => Some(text),
                _ => None,
            };
        }
        let Screen::Run(session) = &mut self.screen else { return None };
        let choices = session.open_prompt().filter(|_| !session.prompt.aside).map(|prompt| (prompt.choices.len(), prompt.free));
        let (choices, free) = choices?;
        if (free || choices == 0) && session.prompt.choice >= choices { Some(&mut session.prompt.text) } else { None }
    }

    /// Takes a key.
    pub fn key(&mut self, key: Key) {
        let action = self.keys.action(key, &self.contexts());
        // These work wherever one is, whatever is typed.
        match action {
            Some(Action::Suspend) if key.typed().is_none() => return self.wishes.suspend = true,
            Some(Action::Redraw) if key.typed().is_none() => return self.wishes.redraw = true,
            Some(Action::Stop) if key.typed().is_none() => return self.stop_key(),
            _ => {}
        }
        if let Some(text) = self.typing() {
            use crossterm::event::KeyCode;
            match (key.typed(), key.code()) {
                (Some(c), _) if text.chars().count() < TYPED => return text.push(c),
                (_, KeyCode::Backspace) => {
                    text.pop();
                    return;
                }
                _ => {}
            }
        }
        if self.dialog.is_some() {
            self.dialog_key(key, action);
        } else if self.prompt_key(key, action) {
        } else if let Some(action) = action {
            self.act(action);
        }
    }

    /// Scrolls with the wheel.
    pub fn wheel(&mut self, down: bool) {
        let action = if down { Action::Down } else { Action::Up };
        for _ in 0..3 {
            if self.dialog.is_some() { self.scroll_dialog(if down { 1 } else { -1 }) } else { self.act(action) }
        }
    }

    pub(super) fn scroll_dialog(&mut self, by: isize) {
        let count = if let Screen::Run(session) = &self.screen { screens::commands(session).len() } else { 0 };
        let contexts = self.help_contexts();
        match &mut self.dialog {
            Some(Dialog::Help(top)) => *top = top.saturating_add_signed(by).min(dialogs::help_lines(&contexts).saturating_sub(1)),
            Some(Dialog::Text(_, lines, top)) => *top = top.saturating_add_signed(by).min(lines.len().saturating_sub(1)),
            Some(Dialog::Copy(chosen)) => *chosen = chosen.saturating_add_signed(by).min(count.saturating_sub(1)),
            _ => {}
        }
    }

    pub(super) fn help_contexts(&self) -> Vec<Context> {
        let mut contexts = self.contexts();
        if let Screen::Run(session) = &self.screen {
            contexts = vec![Context::Run, Context::Console];
            if session.transport.is_some() {
                contexts.insert(0, Context::Replay);
            }
            contexts.push(Context::Common);
        }
        contexts
    }

    pub(super) fn dialog_key(&mut self, key: Key, action: Option<Action>) {
        match (&mut self.dialog, action) {
            (Some(Dialog::Leave), Some(Action::Detach)) => self.detach(),
            (Some(Dialog::Leave), Some(Action::Stop)) => {
                self.leave_when_over = true;
                self.dialog = Some(Dialog::Stop);
                self.ask_stop(StopLevel::Graceful);
            }
            (Some(Dialog::Stop), Some(Action::Stop)) => self.stop_key(),
            (Some(Dialog::Stop), Some(Action::Open)) => {
                if self.session().is_some_and(|session| session.tape.latest().stop.is_none() && session.is_live()) {
                    self.ask_stop(StopLevel::Graceful);
                } else {
                    self.dialog = None;
                }
            }
            #[expect(clippy::collapsible_match, reason = "a guard cannot look at the session while the dialog is borrowed")]
            (Some(Dialog::Stop), _) if key.typed() == Some('n') => {
                if self.session().is_some_and(|session| session.tape.latest().stop.is_none()) {
                    self.ask_stop(StopLevel::Now);
                }
            }
            (Some(Dialog::Input(purpose, text)), Some(Action::Open)) => {
                let (purpose, text) = (purpose.clone(), std::mem::take(text));
                self.dialog = None;
                self.typed(&purpose, text);
            }
            (Some(Dialog::Copy(chosen)), Some(Action::Open | Action::Copy)) => {
                let chosen = *chosen;
                self.dialog = None;
                let command = self.session().and_then(|session| screens::commands(session).into_iter().nth(chosen));
                if let Some((_, command)) = command {
                    self.say(format!("to the clipboard: {command}"));
                    self.wishes.copy = Some(command);
                }
            }
            (_, Some(Action::Up)) => self.scroll_dialog(-1),
            (_, Some(Action::Down)) => self.scroll_dialog(1),
            (_, Some(Action::PageUp)) => self.scroll_dialog(-10),
            (_, Some(Action::PageDown)) => self.scroll_dialog(10),
            (Some(Dialog::Help(_)), Some(Action::Help))
            | (Some(Dialog::Help(_) | Dialog::Text(..)), Some(Action::Open | Action::Leave))
            | (_, Some(Action::Back)) => {
                self.dialog = None;
                self.left = self.then_leave.map(Left::Ended);
            }
            _ => {}
        }
    }

    /// Keys while a prompt is in front; false if there is none, or the key means something else.
    pub(super) fn prompt_key(&mut self, key: Key, action: Option<Action>) -> bool {
        let by = self.host.user();
        let Screen::Run(session) = &mut self.screen else { return false };
        let Some((number, choices, free)) =
            session.open_prompt().map(|prompt| (prompt.number, prompt.choices.clone(), prompt.free || prompt.choices.is_empty()))
        else {
            return false;
        };
        let state = &mut session.prompt;
        if state.aside {
            if action == Some(Action::Answer) {
                state.aside = false;
                return true;
            }
            return false;
        }
        let last = if free { choices.len() } else { choices.len().saturating_sub(1) };
        if let Some(digit) =
            key.typed().and_then(|c| c.to_digit(10)).filter(|digit| (1..=choices.len()).contains(&(*digit as usize)))
        {
            state.choice = digit as usize - 1;
            return true;
        }
        match action {
            Some(Action::Up) => state.choice = state.choice.saturating_sub(1),
            Some(Action::Down) => state.choice = (state.choice + 1).min(last),
            Some(Action::Back) => state.aside = true,
            Some(Action::Open) if !state.sending => {
                let answer = choices.get(state.choice).cloned().unwrap_or_else(|| state.text.trim().to_owned());
                if answer.is_empty() {
                    state.problem = Some("type an answer first".to_owned());
                    return true;
                }
                state.sending = true;
                state.problem = None;
                let (host, directory) = (Arc::clone(&self.host), session.tape.directory());
                self.job(move || Done::Answered(number, host.send(&directory, &Request::Answer { prompt: number, answer, by })));
            }
            Some(Action::Help | Action::Leave) if !free => return false,
            _ => {}
        }
        true
    }

    pub(super) fn typed(&mut self, purpose: &Purpose, text: String) {
        match (purpose, &mut self.screen) {
            (Purpose::Field(row), _) => {
                let choice = &mut self.start.choice;
                let field = match row {
                    4 => &mut choice.wait,
                    5 => &mut choice.seed,
                    _ => &mut choice.answers,
                };
                text.trim().clone_into(field);
            }
            (Purpose::Jump, Screen::Run(session)) => match words::typed_time(&text) {
                Some(at) => session.jump(at),
                None => self.say("That is not a time; write 1:15 or 75."),
            },
            (Purpose::Search, Screen::Run(session)) => {
                session.searched = text;
                session.console.search(&session.searched.clone());
                self.search(true);
            }
            _ => {}
        }
    }

    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Help => self.dialog = Some(Dialog::Help(0)),
            Action::Leave => self.leave_key(),
            Action::Stop => self.stop_key(),
            Action::Suspend => self.wishes.suspend = true,
            Action::Redraw => self.wishes.redraw = true,
            action => match &self.screen {
                Screen::Start => self.act_start(action),
                Screen::Starting(_) => {}
                Screen::Run(_) => self.act_run(action),
            },
        }
    }
}
