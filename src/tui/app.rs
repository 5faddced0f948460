//! What the terminal UI is at, and what each key does to it. Nothing here knows a terminal: keys come in, frames go out.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use ratatui::buffer::Buffer;

use super::{
    dialogs::{self, Dialog, Purpose},
    history::History,
    host::{CaseEntry, Choice, Finding, Host, Level, RigState, Started, Survey},
    jobs::Jobs,
    keys::{Action, Context, Key, Keymap},
    own::{Own, Ward},
    paper::{Abilities, BAD, BOLD, DIM, FAULT, GOOD, PLAIN, Paper, WARN, finish},
    screens::{self, StartState},
    session::{SPEEDS, Session, Tab, TreeRow},
    tape::Tape,
    words,
};
use crate::{
    event::{Request, StopLevel},
    journal::{RunDir, RunState},
    view::{CaseState, RunView},
};

/// Longest text that can be typed.
const TYPED: usize = 1000;
/// How often clocks on the screen are renewed while nothing happens.
const CLOCK: Duration = Duration::from_millis(500);
/// How often the start screen looks again by itself.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

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
    leave_after_stop: bool,
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
            leave_after_stop: false,
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
            Screen::Run(session) => session.own,
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
                self.leave_after_stop = false;
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
            // Clocks on the screen go on although nothing happens.
            changed |= session.is_live() && self.looked.is_none_or(|then| now.saturating_duration_since(then) > CLOCK);
            if changed {
                self.looked = Some(now);
            }
            let over = session.own.as_mut().and_then(Own::exit);
            if let Some(code) = over.filter(|_| self.leave_after_stop && session.tape.is_caught_up()) {
                self.left = Some(Left::Ended(code));
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

    fn show_doctor(&mut self, rig: &str, found: Result<Vec<Finding>, String>) {
        let lines = match found {
            Err(why) => vec![(why, BAD)],
            Ok(found) => {
                let worst = found.iter().map(|finding| finding.level).max().unwrap_or(Level::Fine);
                let summary = match worst {
                    Level::Fine => ("The bench is in order.", GOOD),
                    Level::Note => ("The bench can be used; see the notes.", WARN),
                    Level::Bad => ("Something has to be mended first.", BAD),
                };
                let mut lines = vec![(summary.0.to_owned(), summary.1), (String::new(), PLAIN)];
                let width = found.iter().map(|finding| finding.subject.len()).max().unwrap_or(0).min(20);
                for finding in found {
                    let (word, style) = match finding.level {
                        Level::Fine => ("ok  ", PLAIN),
                        Level::Note => ("note", WARN),
                        Level::Bad => ("BAD ", BAD),
                    };
                    lines.push((format!("{word} {:<width$}  {}", finding.subject, finding.what), style));
                    for advice in finding.advice.iter().flat_map(|advice| advice.lines()) {
                        lines.push((format!("     {:<width$}  > {advice}", ""), BOLD));
                    }
                }
                lines
            }
        };
        self.message = None;
        self.dialog = Some(Dialog::Text(format!("Bench {rig}"), lines, 0));
    }

    fn contexts(&self) -> Vec<Context> {
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
    fn typing(&mut self) -> Option<&mut String> {
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

    fn scroll_dialog(&mut self, by: isize) {
        let count = if let Screen::Run(session) = &self.screen { screens::commands(session).len() } else { 0 };
        let contexts = self.help_contexts();
        match &mut self.dialog {
            Some(Dialog::Help(top)) => *top = top.saturating_add_signed(by).min(dialogs::help_lines(&contexts).saturating_sub(1)),
            Some(Dialog::Text(_, lines, top)) => *top = top.saturating_add_signed(by).min(lines.len().saturating_sub(1)),
            Some(Dialog::Copy(chosen)) => *chosen = chosen.saturating_add_signed(by).min(count.saturating_sub(1)),
            _ => {}
        }
    }

    fn help_contexts(&self) -> Vec<Context> {
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

    fn dialog_key(&mut self, key: Key, action: Option<Action>) {
        match (&mut self.dialog, action) {
            (Some(Dialog::Leave), Some(Action::Detach)) => self.detach(),
            (Some(Dialog::Leave), Some(Action::Stop)) => {
                self.leave_after_stop = true;
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
                    self.say(format!("copied: {command}"));
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
    fn prompt_key(&mut self, key: Key, action: Option<Action>) -> bool {
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

    fn typed(&mut self, purpose: &Purpose, text: String) {
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

    fn search(&mut self, forward: bool) {
        let Screen::Run(session) = &mut self.screen else { return };
        if session.searched.is_empty() {
            return self.say("Nothing is searched for; / begins.");
        }
        let searched = session.searched.clone();
        let said = match session.tab {
            Tab::Consoles => {
                // From the end on there is nothing below: a first search looks up.
                let forward = forward && (session.console.hit.is_some() || session.console.bottom.is_some());
                if session.console.pattern.is_none() {
                    session.console.search(&searched);
                }
                let found = session.console.find(&session.tape, forward)
                    || session.console.hit.is_none() && session.console.find(&session.tape, !forward);
                if found { None } else { Some(format!("no further `{searched}`")) }
            }
            Tab::Steps | Tab::Result if session.transport.is_none() => {
                if find_case(session, &searched, forward) {
                    None
                } else {
                    Some(format!("no `{searched}`"))
                }
            }
            _ => {
                let pattern = regex::bytes::RegexBuilder::new(&regex::escape(&searched)).case_insensitive(true).build();
                let Ok(pattern) = pattern else { return };
                let played = session.transport.is_some();
                let here = if played {
                    session.tape.position()
                } else {
                    session.timeline.bottom.map_or(session.tape.position(), |seq| seq + 1)
                };
                let forward = forward && (played || session.timeline.bottom.is_some());
                let from = if forward { here } else { here.saturating_sub(1) };
                match session.find_event(&pattern, from, forward) {
                    Ok(seq) if played => {
                        session.seek(seq + 1);
                        None
                    }
                    Ok(seq) => {
                        session.timeline.bottom = Some(seq);
                        None
                    }
                    Err(None) => Some(format!("no further `{searched}`")),
                    Err(Some(seq)) => {
                        if played {
                            session.seek(seq);
                        } else {
                            session.timeline.bottom = Some(seq.saturating_sub(1));
                        }
                        Some(format!(
                            "no `{searched}` among the next 20000 events; {} goes on",
                            self.keys.first(Action::SearchNext)
                        ))
                    }
                }
            }
        };
        if let Some(said) = said {
            self.say(said);
        }
    }

    fn is_live(&self) -> bool {
        self.session().is_some_and(Session::is_live)
    }

    /// The stop key: asks first; while it is asked, and after, it is the answer.
    fn stop_key(&mut self) {
        if matches!(self.screen, Screen::Starting(_)) {
            return self.say("The run is still starting; it can be stopped in a moment.");
        }
        if !self.is_live() {
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

    fn ask_stop(&mut self, level: StopLevel) {
        let Screen::Run(session) = &self.screen else { return };
        let (host, directory, by) = (Arc::clone(&self.host), session.tape.directory(), self.host.user());
        self.job(move || Done::Stopped(host.send(&directory, &Request::Stop { level, by })));
    }

    fn detach(&mut self) {
        let own = matches!(&self.screen, Screen::Run(session) if session.own.is_some());
        self.ward.set(None);
        self.left = Some(if own { Left::Detached } else { Left::Done });
    }

    fn leave_key(&mut self) {
        match &mut self.screen {
            Screen::Starting(_) => self.say("The run is still starting; in a moment it can be left or stopped."),
            Screen::Run(session) if session.is_live() => self.dialog = Some(Dialog::Leave),
            Screen::Run(session) => {
                let code = session.own.as_mut().map(Own::exit);
                match code {
                    Some(None) => self.say("The run is being closed; one moment."),
                    Some(Some(code)) if !self.home => self.left = Some(Left::Ended(code)),
                    _ if self.home => self.go_home(),
                    _ => self.left = Some(Left::Done),
                }
            }
            Screen::Start => {
                if self.start.focus == screens::Focus::Form {
                    self.start.focus = screens::Focus::Plans;
                } else {
                    self.left = Some(Left::Done);
                }
            }
        }
    }

    fn go_home(&mut self) {
        self.ward.set(None);
        self.screen = Screen::Start;
        self.start.focus = screens::Focus::Rigs;
        self.dialog = None;
        self.look();
    }

    fn act(&mut self, action: Action) {
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

    fn act_start(&mut self, action: Action) {
        use screens::Focus;
        match action {
            Action::Up => self.start.scroll(-1),
            Action::Down => self.start.scroll(1),
            Action::PageUp => self.start.scroll(-10),
            Action::PageDown => self.start.scroll(10),
            Action::First => self.start.scroll(isize::MIN),
            Action::Last => self.start.scroll(isize::MAX),
            Action::NextTab | Action::Right => self.start.beside(true),
            Action::PreviousTab | Action::Left => self.start.beside(false),
            Action::Refresh => {
                self.look();
                self.say("Looking again ...");
            }
            Action::Examine => self.examine(),
            Action::Options if self.start.focus != Focus::Form => self.form(),
            Action::Back if self.start.focus == Focus::Form => self.start.focus = Focus::Plans,
            Action::Back => self.start.focus = Focus::Rigs,
            Action::Open => match self.start.focus {
                Focus::Rigs => self.start.take_rig(),
                Focus::Plans => self.form(),
                Focus::Runs => {
                    let Some(run) = self.start.chosen_run() else { return };
                    let directory = run.directory.clone();
                    self.job(move || Done::Opened(RunDir::open(directory).map_err(|error| error.to_string())));
                }
                Focus::Form => self.form_key(),
            },
            _ => {}
        }
    }

    fn examine(&mut self) {
        let Some(rig) = self.start.chosen_rig() else { return };
        let (host, path, name) = (Arc::clone(&self.host), rig.path.clone(), rig.name.clone());
        if self.job(move || Done::Doctor(name, host.doctor(&path))) {
            self.say("Examining the bench ... (up to half a minute)");
        }
    }

    fn form(&mut self) {
        let (Some(rig), Some(plan)) = (self.start.chosen_rig(), self.start.chosen_plan()) else {
            return self.say("Choose a bench and a plan first.");
        };
        if let Some(bad) = &plan.bad {
            return self.say(format!("This plan cannot be run: {bad}"));
        }
        if let RigState::Bad(why) = &rig.state {
            return self.say(format!("This bench cannot be used: {why}"));
        }
        let (rig, plan) = (rig.path.clone(), plan.path.clone());
        let start = &mut self.start;
        if start.choice.rig != rig || start.choice.plan != plan || start.cases.is_empty() {
            start.choice.rig.clone_from(&rig);
            start.choice.plan.clone_from(&plan);
            start.cases.clear();
            start.problem = None;
            let host = Arc::clone(&self.host);
            self.job(move || {
                let cases = host.cases(&plan, &rig);
                Done::Cases(plan, rig, cases)
            });
        }
        self.start.focus = screens::Focus::Form;
        self.start.row = 0;
    }

    fn form_key(&mut self) {
        let row = self.start.row;
        match row {
            0 => {
                let choice = self.start.choice();
                let able = self.start.cases.iter().any(|(case, chosen)| *chosen && case.not_here.is_none());
                if able {
                    self.begin(choice);
                } else {
                    self.say("No case is chosen.");
                }
            }
            1 => self.examine(),
            2 => self.start.choice.wait_for_answers = !self.start.choice.wait_for_answers,
            3 => self.start.choice.fail_fast = !self.start.choice.fail_fast,
            4..screens::FORM_ROWS => {
                let choice = &self.start.choice;
                let text = [&choice.wait, &choice.seed, &choice.answers][row - 4].clone();
                self.dialog = Some(Dialog::Input(Purpose::Field(row), text));
            }
            _ => {
                let all_chosen = self.start.cases.iter().all(|(case, chosen)| *chosen || case.not_here.is_some());
                let index = row - screens::FORM_ROWS;
                // The first that is taken out of all means: only this one.
                if all_chosen && self.start.cases.len() > 1 {
                    for (at, (_, chosen)) in self.start.cases.iter_mut().enumerate() {
                        *chosen = at == index;
                    }
                } else if let Some((_, chosen)) = self.start.cases.get_mut(index) {
                    *chosen = !*chosen;
                }
                if self.start.cases.iter().all(|(_, chosen)| !chosen) {
                    self.start.cases.iter_mut().for_each(|(_, chosen)| *chosen = true);
                }
            }
        }
    }

    fn act_run(&mut self, action: Action) {
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

    fn act_replay(&mut self, action: Action) {
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

    fn open(&mut self) {
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

    fn back(&mut self) {
        let Screen::Run(session) = &mut self.screen else { return };
        if session.tab == Tab::Consoles && (session.console.bottom.is_some() || session.console.hit.is_some()) {
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

    /// The bytes that decided, with what is around them.
    fn evidence(&mut self) {
        let Screen::Run(session) = &self.screen else { return };
        let view = session.tape.view();
        let (title, lines) = match session.tab {
            Tab::Cuts => cut_lines(session, view),
            Tab::Result => {
                let case = screens::order(view).get(session.result).and_then(|index| view.cases.get(*index));
                let Some(case) = case else { return };
                let step = case.decisive().or_else(|| case.steps.last());
                step_lines(session, case.name(), step, &case.state)
            }
            _ => {
                let (Some(case), Some(step)) = (session.tree.case(view), session.tree.step(view)) else { return };
                step_lines(session, case.name(), Some(step), &case.state)
            }
        };
        self.dialog = Some(Dialog::Text(title, lines, 0));
    }

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

    fn draw_front(&mut self, keys: &Keymap, paper: &mut Paper<'_>) {
        let name = |action| keys.first(action);
        if let Screen::Run(session) = &self.screen
            && session.open_prompt().is_some()
            && !session.prompt.aside
            && self.dialog.is_none()
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

    fn footer(&self) -> Vec<(&'static [Action], &'static str)> {
        const MOVE: &[Action] = &[Action::Up, Action::Down];
        if self.dialog.is_some() {
            return vec![(MOVE, "move"), (&[Action::Open], "ok"), (&[Action::Back], "close")];
        }
        match &self.screen {
            Screen::Start if self.start.focus == screens::Focus::Form => vec![
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
fn notice(session: &Session, keys: &Keymap) -> (String, ratatui::style::Style) {
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

/// Chooses the next case or step with a text in it.
fn find_case(session: &mut Session, text: &str, forward: bool) -> bool {
    let text = text.to_lowercase();
    let view = session.tape.view();
    let has = |words: &str| words.to_lowercase().contains(&text);
    if session.tab == Tab::Result {
        let order = screens::order(view);
        let hits = |at: &usize| {
            order.get(*at).and_then(|index| view.cases.get(*index)).is_some_and(|case| has(case.name()) || has(&case.title))
        };
        let found = if forward { (session.result + 1..order.len()).find(hits) } else { (0..session.result).rev().find(hits) };
        let found = found.or_else(|| (0..order.len()).find(hits));
        session.result = found.unwrap_or(session.result);
        return found.is_some();
    }
    let mut rows = Vec::new();
    for (index, case) in view.cases.iter().enumerate().filter(|(_, case)| !view.is_left_out(case)) {
        if has(case.name()) || has(&case.title) {
            rows.push(TreeRow { case: index, step: None });
        }
        for (step, found) in case.steps.iter().enumerate() {
            if has(&found.text) {
                rows.push(TreeRow { case: index, step: Some(step) });
            }
        }
    }
    let key = |row: &TreeRow| (row.case, row.step.map_or(0, |step| step + 1));
    let now = key(&session.tree.chosen);
    let found = if forward { rows.iter().find(|row| key(row) > now) } else { rows.iter().rev().find(|row| key(row) < now) };
    let Some(row) = found.or_else(|| rows.first()).copied() else { return false };
    session.tree.follows = false;
    if row.step.is_some() {
        session.tree.unfolded.insert(row.case);
    }
    session.tree.chosen = row;
    true
}

type Lines = Vec<(String, ratatui::style::Style)>;

fn step_lines(session: &Session, case: &str, step: Option<&crate::view::StepView>, state: &CaseState) -> (String, Lines) {
    const AROUND: u64 = 2048;
    let mut lines = Lines::new();
    if let CaseState::Finished { reason: Some(reason), .. } = state {
        lines.push((reason.to_string(), words::case(state).1));
        lines.push((String::new(), PLAIN));
    }
    let Some(step) = step else {
        lines.push(("It has no steps.".to_owned(), DIM));
        return (format!("Case {case}"), lines);
    };
    lines.push((format!("step {}: {}", step.number(), step.text), BOLD));
    let told = lines.first().map(|(text, _)| text.clone());
    if let Some(reason) = step.reason.as_ref().map(ToString::to_string).filter(|reason| Some(reason) != told.as_ref()) {
        lines.push((reason, words::step(step).1));
    }
    for (channel, pattern, _) in &step.matched {
        lines.push((format!("found on {channel}: {pattern}"), GOOD));
    }
    for witness in &step.witnesses {
        lines.push((format!("proven: {}", witness.what), GOOD));
    }
    for missing in &step.unwitnessed {
        lines.push((format!("NOT PROVEN: {missing}"), WARN));
    }
    let matched = step.matched.iter().map(|(.., place)| place);
    for place in step.evidence.iter().chain(matched.filter(|place| !step.evidence.contains(place))).take(8) {
        lines.push((String::new(), PLAIN));
        lines.push((format!("{}, byte {} to {}:", place.file, place.offset, place.offset.saturating_add(place.len)), DIM));
        let from = place.offset.saturating_sub(AROUND);
        let end = place.offset.saturating_add(place.len.min(AROUND));
        let before = session.tape.bytes(&place.file, from, place.offset);
        // The decisive bytes are marked; some whole lines before and after them say where they stand.
        let before_lines: Vec<&[u8]> = before.split(|byte| *byte == b'\n').collect();
        let (last, earlier) = before_lines.split_last().map_or((&b""[..], &[][..]), |(last, earlier)| (*last, earlier));
        for line in earlier.iter().skip(earlier.len().saturating_sub(6)) {
            lines.push((format!("  {}", shown(line)), DIM));
        }
        let decisive = session.tape.bytes(&place.file, place.offset, end);
        let after = session.tape.bytes(&place.file, end, end + 512);
        let rest = after.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let whole: Vec<u8> = [last, &decisive, rest].concat();
        let whole = whole.strip_suffix(b"\n").unwrap_or(&whole);
        for line in whole.split(|byte| *byte == b'\n').take(40) {
            lines.push((format!("▶ {}", shown(line)), BOLD));
        }
        for line in after.split(|byte| *byte == b'\n').skip(1).take(3) {
            lines.push((format!("  {}", shown(line)), DIM));
        }
    }
    (format!("Case {case}: what decided"), lines)
}

fn shown(line: &[u8]) -> String {
    crate::view::sanitise::sanitise_bytes(line.strip_suffix(b"\r").unwrap_or(line))
}

fn cut_lines(session: &Session, view: &RunView) -> (String, Lines) {
    let searched = session.tree.case(view).filter(|case| case.bad_cuts().next().is_some());
    let searched = searched.or_else(|| view.cases.iter().rev().find(|case| case.steps.iter().any(|step| step.cuts.is_some())));
    let Some(cut) = searched.and_then(|case| case.bad_cuts().nth(session.cuts)) else {
        return ("Power cuts".to_owned(), vec![("No cut has ended badly.".to_owned(), GOOD)]);
    };
    let mut lines = vec![
        (format!("{}: {}", cut.outcome.reason_code().unwrap_or(""), words::cut(cut.outcome).1), BAD),
        ("The same cut again:".to_owned(), DIM),
        (cut.reproduce.clone(), BOLD),
        (String::new(), PLAIN),
    ];
    if let Some(place) = &cut.evidence {
        let bytes = session.tape.excerpt(place, 32 * 1024);
        lines.extend(bytes.split(|byte| *byte == b'\n').take(400).map(|line| (shown(line), PLAIN)));
    }
    (format!("Power cut at {}", cut.point), lines)
}
