//! Stopping a run, and leaving it.

use std::sync::Arc;

use super::{App, Done, Left, Screen};
use crate::{
    event::{Request, StopLevel},
    tui::{dialogs::Dialog, keys::Action, screens::Focus, session::Session},
};

impl App {
    /// The stop key: asks first; while it is asked, and after, it is the answer.
    pub(super) fn stop_key(&mut self) {
        if matches!(self.screen, Screen::Starting(_)) {
            return self.say("The run is still starting; it can be stopped in a moment.");
        }
        if !self.session().is_some_and(Session::is_going) {
            let key = self.keys.first(Action::Leave);
            self.dialog = None;
            return self.say(format!("Nothing is running; {key} leaves."));
        }
        if !matches!(self.dialog, Some(Dialog::Stop)) {
            self.dialog = Some(Dialog::Stop);
            return;
        }
        let asked = self.session().and_then(|session| session.tape.latest().stop.as_ref().map(|(level, _)| *level));
        self.ask_stop(match asked {
            None => StopLevel::Graceful,
            Some(StopLevel::Graceful) => StopLevel::Now,
            Some(StopLevel::Now | StopLevel::Forced) => StopLevel::Forced,
        });
    }

    pub(super) fn ask_stop(&mut self, level: StopLevel) {
        let Screen::Run(session) = &self.screen else { return };
        let (host, directory, by) = (Arc::clone(&self.host), session.tape.directory(), self.host.user());
        self.job(move || Done::Stopped(host.send(&directory, &Request::Stop { level, by })));
    }

    pub(super) fn detach(&mut self) {
        let own = matches!(&self.screen, Screen::Run(session) if session.own.is_some());
        self.ward.set(None);
        self.left = Some(if own { Left::Detached } else { Left::Done });
    }

    pub(super) fn leave_key(&mut self) {
        match &mut self.screen {
            Screen::Starting(_) => self.say("The run is still starting; in a moment it can be left or stopped."),
            Screen::Run(session) if session.is_going() => self.dialog = Some(Dialog::Leave),
            Screen::Run(session) => match Self::over(session) {
                Some(left) => self.leave_run(left),
                None => {
                    self.leave_when_over = true;
                    self.say("The run is being closed; one moment.");
                }
            },
            Screen::Start => {
                if self.start.focus == Focus::Form {
                    self.start.focus = Focus::Plans;
                } else {
                    self.left = Some(Left::Done);
                }
            }
        }
    }

    /// How the screen of a run is left, once that run has been closed.
    pub(super) fn over(session: &mut Session) -> Option<Left> {
        match &mut session.own {
            Some(own) => own.exit().map(Left::Ended),
            None => (!session.is_live()).then_some(Left::Done),
        }
    }

    /// Back to where one came from.
    pub(super) fn leave_run(&mut self, left: Left) {
        if self.home {
            self.go_home();
        } else {
            self.left = Some(left);
        }
    }

    pub(super) fn go_home(&mut self) {
        self.ward.set(None);
        self.screen = Screen::Start;
        self.start.focus = Focus::Rigs;
        self.dialog = None;
        self.message = None;
        self.look();
    }
}
