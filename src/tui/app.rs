//! What the terminal UI is at, and what each key does to it. Nothing here knows a terminal: keys come in, frames go out.

mod dispatch;
mod drawing;
mod evidence;
mod leaving;
mod searching;
mod starting;
mod watching;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    dialogs::Dialog,
    history::History,
    host::{CaseEntry, Choice, Finding, Host, Started, Survey},
    jobs::Jobs,
    keys::{Action, Keymap},
    own::{Own, Ward},
    paper::{Abilities, BAD, PLAIN},
    screens::StartState,
    session::Session,
    tape::Tape,
};
use crate::journal::{RunDir, RunState};

/// Longest text that can be typed.
const TYPED: usize = 1000;
/// How often clocks on the screen are renewed while nothing happens.
const CLOCK: Duration = Duration::from_millis(500);
/// How often the start screen looks again by itself.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How long the rest of a run's record is read when the screen is already gone.
const LAST_LOOK: Duration = Duration::from_secs(1);

/// What was done elsewhere.
enum Done {
    Survey(Survey),
    Cases(PathBuf, PathBuf, Result<Vec<CaseEntry>, String>),
    Doctor(String, Result<Vec<Finding>, String>),
    Started(Result<Started, String>),
    Answered(u32, Result<(), String>),
    Stopped(Result<(), String>),
    Opened(Result<RunDir, String>),
    History(String, History),
}

/// Which screen.
enum Screen {
    Start,
    Starting(Own),
    Run(Box<Session>),
}

/// What to show first.
pub enum Opening {
    /// The start screen.
    Start,
    /// A run that is started at once.
    Own(Choice),
    /// A run, live or finished.
    Watch(RunDir),
    /// A recorded run, played.
    Replay(RunDir),
}

/// How the screen was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Nothing of its own was running.
    Done,
    /// Its own run has ended with this exit code.
    Ended(i32),
    /// Its own run goes on because somebody wants it to.
    Detached,
}

/// What the loop around it has to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Give the terminal to the shell.
    pub suspend: bool,
    /// Draw everything again.
    pub redraw: bool,
    /// Put this into the clipboard.
    pub copy: Option<String>,
}

/// The terminal UI.
pub struct App {
    host: Arc<dyn Host>,
    keys: Keymap,
    abilities: Abilities,
    screen: Screen,
    start: StartState,
    home: bool,
    dialog: Option<Dialog>,
    message: Option<(String, Instant)>,
    jobs: Jobs<Done>,
    ward: Ward,
    now: Instant,
    looked: Option<Instant>,
    left: Option<Left>,
    leave_when_over: bool,
    /// A run is being started.
    starting: bool,
    /// The run for which this was opened did not begin: leave with this code when its text is closed.
    then_leave: Option<i32>,
    /// For the loop around it.
    pub wishes: Wishes,
}

impl App {
    /// Begins.
    pub fn new(host: Arc<dyn Host>, keys: Keymap, abilities: Abilities, opening: Opening, now: Instant) -> Self {
        let mut app = Self {
            ward: Ward::new(Arc::clone(&host)),
            host,
            keys,
            abilities,
            screen: Screen::Start,
            start: StartState::default(),
            home: matches!(opening, Opening::Start),
            dialog: None,
            message: None,
            jobs: Jobs::new(),
            now,
            looked: None,
            left: None,
            leave_when_over: false,
            starting: false,
            then_leave: None,
            wishes: Wishes::default(),
        };
        match opening {
            Opening::Start => app.look(),
            Opening::Own(choice) => app.begin(choice),
            Opening::Watch(run) => app.watch(&run, None, false),
            Opening::Replay(run) => app.watch(&run, None, true),
        }
        app
    }

    /// The run that signals stop.
    #[must_use]
    pub fn ward(&self) -> Ward {
        self.ward.clone()
    }

    /// How it was left, once it was.
    #[must_use]
    pub fn left(&self) -> Option<Left> {
        self.left
    }

    /// The run that is looked at.
    #[must_use]
    pub fn session(&self) -> Option<&Session> {
        if let Screen::Run(session) = &self.screen { Some(session) } else { None }
    }

    /// The run that was started from here.
    pub fn take_own(&mut self) -> Option<Own> {
        // One that is just being started must not be left to itself.
        while self.starting {
            match self.jobs.take() {
                Some(done) => self.done(done),
                None => std::thread::park_timeout(Duration::from_millis(5)),
            }
        }
        match std::mem::replace(&mut self.screen, Screen::Start) {
            Screen::Start => None,
            Screen::Starting(own) => Some(own),
            Screen::Run(mut session) => {
                let own = session.own.take();
                self.screen = Screen::Run(session);
                own
            }
        }
    }

    /// Reads what a run has written until now.
    pub fn read_to_end(&mut self) {
        let until = Instant::now() + LAST_LOOK;
        if let Screen::Run(session) = &mut self.screen {
            session.tick(self.now);
            while !session.tape.is_caught_up() && Instant::now() < until {
                session.tick(self.now);
            }
        }
    }

    /// What to tell below the prompt of the shell, after the screen is gone.
    #[must_use]
    pub fn last_words(&self) -> Option<String> {
        let Screen::Run(session) = &self.screen else { return None };
        let view = session.tape.latest();
        let (id, title) = (session.tape.id(), crate::view::lines::title(view));
        if session.tape.last_state() == RunState::Running {
            return Some(format!("{title}: still running; `hilbench tui --attach` comes back to it"));
        }
        let verdict = view.final_verdict();
        let line = format!("{verdict}: {title}: {}; `hilbench show {id}` has the details", crate::view::lines::counts(view));
        Some(crate::view::sanitise::line(&line, 400))
    }

    /// Tells something for a few seconds.
    pub fn say(&mut self, text: impl Into<String>) {
        self.message = Some((text.into(), self.now));
    }

    fn job(&mut self, job: impl FnOnce() -> Done + Send + 'static) -> bool {
        let started = self.jobs.start(job);
        if !started {
            self.say("Too much is going on at once; try again in a moment.");
        }
        started
    }

    fn look(&mut self) {
        self.looked = Some(self.now);
        let host = Arc::clone(&self.host);
        self.job(move || Done::Survey(host.survey()));
    }

    fn begin(&mut self, choice: Choice) {
        if self.starting {
            return;
        }
        let host = Arc::clone(&self.host);
        self.starting = self.job(move || Done::Started(host.start(&choice)));
        if self.starting {
            self.say("Starting ...");
        }
    }

    fn watch(&mut self, run: &RunDir, own: Option<Own>, replay: bool) {
        match Tape::open(run) {
            Ok(tape) => {
                self.ward.set(own.as_ref().map(|own| own.run.clone()));
                self.message = None;
                self.dialog = None;
                self.leave_when_over = false;
                if replay {
                    let (play, failure) = (self.keys.first(Action::Play), self.keys.first(Action::NextFailure));
                    self.say(format!(
                        "{play} plays, {failure} goes to the first failure, {} to the end.",
                        self.keys.first(Action::ToEnd)
                    ));
                }
                self.screen = Screen::Run(Box::new(Session::new(tape, own, replay, self.now)));
            }
            Err(error) => self.say(error.to_string()),
        }
    }

    /// Takes what is new; true if there is something to draw.
    pub fn tick(&mut self, now: Instant) -> bool {
        self.now = now;
        let mut changed = false;
        while let Some(done) = self.jobs.take() {
            self.done(done);
            changed = true;
        }
        if self.message.as_ref().is_some_and(|(_, since)| now.saturating_duration_since(*since) > Duration::from_secs(8)) {
            self.message = None;
            changed = true;
        }
        changed |= self.tick_starting();
        if let Screen::Run(session) = &mut self.screen {
            changed |= session.tick(now);
            if changed {
                self.looked = Some(now);
            }
            if !session.is_going() && matches!(self.dialog, Some(Dialog::Leave)) {
                // The question has answered itself.
                self.dialog = None;
                self.message = Some(("The run has ended meanwhile.".to_owned(), now));
                changed = true;
            }
            let over = if self.leave_when_over && session.tape.is_caught_up() { Self::over(session) } else { None };
            if let Some(left) = over {
                self.leave_run(left);
            }
            self.ask_history();
        } else if matches!(self.screen, Screen::Start)
            && self.looked.is_none_or(|then| now.saturating_duration_since(then) > LOOK_AGAIN)
            && !self.jobs.is_busy()
        {
            self.look();
        }
        changed
    }

    /// Whether it is time to draw only because clocks on the screen go on although nothing happens.
    pub fn clock(&mut self) -> bool {
        let live = self.session().is_some_and(Session::is_live);
        let due = live && self.looked.is_none_or(|then| self.now.saturating_duration_since(then) > CLOCK);
        if due {
            self.looked = Some(self.now);
        }
        due
    }

    /// Whether there is more to take at once.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        match &self.screen {
            Screen::Run(session) => !session.tape.is_caught_up(),
            Screen::Start | Screen::Starting(_) => false,
        }
    }

    /// Whether something is done elsewhere.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.jobs.is_busy()
    }

    fn ask_history(&mut self) {
        let Screen::Run(session) = &mut self.screen else { return };
        if session.history_asked || !session.is_live() {
            return;
        }
        let Some(header) = &session.tape.latest().header else { return };
        session.history_asked = true;
        let (store, plan, rig, id) = (self.host.runs(), header.plan.clone(), header.rig.clone(), session.tape.id().to_owned());
        self.job(move || {
            let history = History::read(&store, &plan, &rig, &id);
            Done::History(id, history)
        });
    }

    fn tick_starting(&mut self) -> bool {
        let Screen::Starting(own) = &mut self.screen else { return false };
        if let Some(run) = own.directory(&self.host.runs()) {
            let Screen::Starting(own) = std::mem::replace(&mut self.screen, Screen::Start) else { return false };
            self.watch(&run, Some(own), false);
            return true;
        }
        let Some(code) = own.exit() else { return false };
        let lines = own.printed().lines().map(|line| (line.to_owned(), PLAIN)).collect();
        self.ward.set(None);
        self.screen = Screen::Start;
        self.dialog = Some(Dialog::Text(format!("The run did not begin (exit code {code})"), lines, 0));
        if !self.home {
            // Opened for this run only: after the text there is nothing to go back to.
            self.then_leave = Some(code);
        }
        true
    }

    fn done(&mut self, done: Done) {
        if matches!(done, Done::Started(_)) {
            self.starting = false;
        }
        match done {
            Done::Survey(survey) => {
                if let Some(problem) = &survey.problem {
                    self.say(problem.clone());
                }
                // What is chosen stays chosen where it moved.
                let keep = |names: Vec<PathBuf>, old: Option<PathBuf>, index: usize| {
                    old.and_then(|old| names.iter().position(|name| *name == old))
                        .unwrap_or_else(|| index.min(names.len().saturating_sub(1)))
                };
                let start = &mut self.start;
                let (rig, plan) =
                    (start.chosen_rig().map(|rig| rig.path.clone()), start.chosen_plan().map(|plan| plan.path.clone()));
                let run = start.chosen_run().filter(|_| start.run > 0).map(|run| run.directory.clone());
                start.rig = keep(survey.rigs.iter().map(|rig| rig.path.clone()).collect(), rig, start.rig);
                start.plan = keep(survey.plans.iter().map(|plan| plan.path.clone()).collect(), plan, start.plan);
                start.run = keep(survey.runs.iter().map(|run| run.directory.clone()).collect(), run, start.run);
                start.survey = Some(survey);
            }
            Done::Cases(plan, rig, found) => {
                if self.start.choice.plan == plan && self.start.choice.rig == rig {
                    match found {
                        Ok(cases) => self.start.cases = cases.into_iter().map(|case| (case, true)).collect(),
                        Err(problem) => self.start.problem = Some(problem),
                    }
                }
            }
            Done::Doctor(rig, found) => self.show_doctor(&rig, found),
            Done::Started(Ok(started)) => {
                let own = Own::new(started);
                self.ward.set(Some(own.run.clone()));
                self.message = None;
                self.screen = Screen::Starting(own);
            }
            Done::Started(Err(why)) => {
                self.dialog = Some(Dialog::Text("The run did not begin".to_owned(), vec![(why, BAD)], 0));
                if !self.home {
                    self.then_leave = Some(4);
                }
            }
            Done::Answered(number, answered) => {
                if let Screen::Run(session) = &mut self.screen
                    && session.prompt.seen.is_some_and(|(seen, _)| seen == number)
                {
                    session.prompt.sending = false;
                    session.prompt.problem = answered.err();
                }
            }
            Done::Stopped(Err(why)) => self.say(format!("The run could not be asked to stop: {why}")),
            Done::Stopped(Ok(())) => {}
            Done::Opened(Ok(run)) => self.watch(&run, None, false),
            Done::Opened(Err(why)) => self.say(why),
            Done::History(id, history) => {
                if let Screen::Run(session) = &mut self.screen
                    && session.tape.id() == id
                {
                    session.history = Some(history);
                }
            }
        }
    }
}
