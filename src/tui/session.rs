//! A run that is looked at: its tape, which of its screens is open, and where each of them is.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{console::ConsoleState, history::History, own::Own, tape::Tape, timeline::TimelineState};
use crate::{
    event::{Event, Fact, Nanos},
    journal::RunState,
    view::{CaseState, CaseView, Prompt, RunView, StepView},
};

/// Time for new events in one turn: what is left of a thirtieth of a second is for keys and drawing.
const BUDGET: Duration = Duration::from_millis(8);
/// Events that a search looks through before it asks to go on.
const SEARCHED: u64 = 20_000;

/// The screens of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tab {
    /// Cases and steps.
    Steps,
    /// Consoles.
    Consoles,
    /// Everything in order.
    Timeline,
    /// Every channel.
    Bench,
    /// Measurements.
    Measured,
    /// Power cuts.
    Cuts,
    /// Result.
    Result,
}

impl Tab {
    /// All, in the order of their keys.
    pub const ALL: [Self; 7] =
        [Self::Steps, Self::Consoles, Self::Timeline, Self::Bench, Self::Measured, Self::Cuts, Self::Result];

    /// What it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Steps => "Steps",
            Self::Consoles => "Consoles",
            Self::Timeline => "Timeline",
            Self::Bench => "Bench",
            Self::Measured => "Measured",
            Self::Cuts => "Cuts",
            Self::Result => "Result",
        }
    }

    /// The next or the previous one.
    #[must_use]
    pub fn beside(self, forward: bool) -> Self {
        let index = Self::ALL.iter().position(|tab| *tab == self).unwrap_or(0);
        let count = Self::ALL.len();
        Self::ALL[if forward { (index + 1) % count } else { (index + count - 1) % count }]
    }
}

/// A row of the tree: a case, or one of its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeRow {
    /// Index of the case.
    pub case: usize,
    /// Index of the step.
    pub step: Option<usize>,
}

/// Where the tree is.
#[derive(Debug)]
pub struct TreeState {
    /// What is chosen.
    pub chosen: TreeRow,
    /// Cases whose steps are shown.
    pub unfolded: BTreeSet<usize>,
    /// Whether the choice follows what is running.
    pub follows: bool,
}

impl TreeState {
    /// The rows that are shown.
    pub fn rows<'a>(&'a self, view: &'a RunView) -> impl Iterator<Item = TreeRow> + 'a {
        let shown = view.cases.iter().enumerate().filter(|(_, case)| !view.is_left_out(case));
        shown.flat_map(move |(index, case)| {
            let steps = if self.unfolded.contains(&index) { case.steps.len() } else { 0 };
            let row = move |step| TreeRow { case: index, step };
            std::iter::once(row(None)).chain((0..steps).map(move |step| row(Some(step))))
        })
    }

    /// What is chosen.
    #[must_use]
    pub fn case<'a>(&self, view: &'a RunView) -> Option<&'a CaseView> {
        view.cases.get(self.chosen.case)
    }

    /// The step that is chosen.
    #[must_use]
    pub fn step<'a>(&self, view: &'a RunView) -> Option<&'a StepView> {
        self.case(view)?.steps.get(self.chosen.step?)
    }

    /// Moves the choice by rows.
    pub fn scroll(&mut self, view: &RunView, by: isize) {
        self.follows = false;
        let rows: Vec<TreeRow> = self.rows(view).collect();
        let now = rows.iter().position(|row| *row == self.chosen).unwrap_or(0);
        let next = now.saturating_add_signed(by).min(rows.len().saturating_sub(1));
        if let Some(row) = rows.get(next) {
            self.chosen = *row;
        }
    }

    /// Shows or hides the steps of the chosen case.
    pub fn unfold(&mut self, open: bool) {
        self.follows = false;
        if open {
            self.unfolded.insert(self.chosen.case);
        } else {
            self.unfolded.remove(&self.chosen.case);
            self.chosen.step = None;
        }
    }

    /// Chooses what is running, or what has just ended.
    fn follow(&mut self, view: &RunView) {
        if !self.follows {
            return;
        }
        let running = view.current_step().map(|(case, step)| (case.name(), &step.id));
        let begun = || view.cases.iter().rev().find(|case| !case.steps.is_empty() && matches!(case.state, CaseState::Running));
        let ended = || {
            let case = begun()?;
            let last = case.steps.iter().rfind(|step| step.ended == Some(view.at)).or(case.steps.last())?;
            Some((case.name(), &last.id))
        };
        let Some((name, id)) = running.or_else(ended) else { return };
        let Some(index) = view.cases.iter().rposition(|case| case.name() == name) else { return };
        if self.chosen.case != index {
            self.unfolded.remove(&self.chosen.case);
        }
        self.unfolded.insert(index);
        let step = view.cases.get(index).and_then(|case| case.steps.iter().rposition(|known| known.id == *id));
        self.chosen = TreeRow { case: index, step };
    }
}

/// A prompt on the screen.
#[derive(Debug, Default)]
pub struct PromptState {
    /// Which, and when it was first seen.
    pub seen: Option<(u32, Instant)>,
    /// It was put aside.
    pub aside: bool,
    /// Which choice; one past the last is the text.
    pub choice: usize,
    /// What was typed.
    pub text: String,
    /// An answer is on its way.
    pub sending: bool,
    /// What was wrong with the last one.
    pub problem: Option<String>,
}

/// How a recorded run is played.
#[derive(Debug)]
pub struct Transport {
    /// Whether it plays.
    pub playing: bool,
    /// Index into [`SPEEDS`].
    pub speed: usize,
    at: f64,
    last: Instant,
}

/// Speeds; the last is as fast as it goes.
pub const SPEEDS: [f64; 7] = [1.0, 2.0, 5.0, 10.0, 50.0, 200.0, f64::INFINITY];

impl Transport {
    /// Paused.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { playing: false, speed: 0, at: 0.0, last: now }
    }

    /// `5x`, `max`.
    #[must_use]
    pub fn speed_name(&self) -> String {
        let speed = SPEEDS.get(self.speed).copied().unwrap_or(1.0);
        if speed.is_finite() { format!("{speed}x") } else { "max".to_owned() }
    }
}

/// A run that is looked at.
pub struct Session {
    /// The run.
    pub tape: Tape,
    /// Its process, if it was started from here.
    pub own: Option<Own>,
    /// How it is played, if it is.
    pub transport: Option<Transport>,
    /// Which screen.
    pub tab: Tab,
    /// Cases and steps.
    pub tree: TreeState,
    /// Consoles.
    pub console: ConsoleState,
    /// Timeline.
    pub timeline: TimelineState,
    /// First row of the bench screen.
    pub bench: usize,
    /// First row of the measurements.
    pub measured: usize,
    /// Chosen bad cut.
    pub cuts: usize,
    /// Chosen case of the result.
    pub result: usize,
    /// Prompt.
    pub prompt: PromptState,
    /// Earlier runs.
    pub history: Option<History>,
    /// Whether they were asked for.
    pub history_asked: bool,
    /// What was last searched for.
    pub searched: String,
    /// Rows of the body when it was last drawn, for pages.
    pub rows: usize,
    /// Whether its end was shown.
    pub ended: bool,
    was_live: bool,
}

impl Session {
    /// Looks at a run from its end on, or plays it from its beginning.
    #[must_use]
    pub fn new(tape: Tape, own: Option<Own>, replay: bool, now: Instant) -> Self {
        let live = tape.last_state() == RunState::Running;
        Self {
            tape,
            own,
            transport: replay.then(|| Transport::new(now)),
            tab: if live || replay { Tab::Steps } else { Tab::Result },
            tree: TreeState { chosen: TreeRow { case: 0, step: None }, unfolded: BTreeSet::new(), follows: true },
            console: ConsoleState::default(),
            timeline: TimelineState::default(),
            bench: 0,
            measured: 0,
            cuts: 0,
            result: 0,
            prompt: PromptState::default(),
            history: None,
            history_asked: false,
            searched: String::new(),
            rows: 0,
            ended: !live,
            was_live: live,
        }
    }

    /// Whether the run goes on.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.transport.is_none() && self.tape.last_state() == RunState::Running
    }

    /// Whether there is still something to stop: a run that has ended and is only being closed is not going.
    #[must_use]
    pub fn is_going(&self) -> bool {
        self.is_live() && self.tape.latest().finish.is_none()
    }

    /// Bench time now: of the last event, and on a wall clock what has passed since.
    #[must_use]
    pub fn at(&self, now: Instant) -> Nanos {
        let view = self.tape.view();
        let ticks = self.is_live() && view.finish.is_none() && view.header.as_ref().is_some_and(|header| header.clock == "wall");
        match self.tape.last_came() {
            Some(came) if ticks => view.at.after(now.saturating_duration_since(came)),
            _ => view.at,
        }
    }

    /// Takes what is new, and plays on; true if something changed.
    pub fn tick(&mut self, now: Instant) -> bool {
        let first = self.tape.end() == 0;
        let mut changed = self.tape.advance(BUDGET);
        if self.transport.is_some() && first && changed {
            self.tape.seek(0);
        }
        let before = self.tape.last_state();
        changed |= self.tape.state(now) != before;
        if let Some(own) = &mut self.own {
            changed |= own.exit().is_some() && !self.ended;
        }
        changed |= self.play(now);
        if changed {
            self.tree.follow(self.tape.view());
            self.look_at_prompt(now);
        }
        // The end of a run is what everybody wants to see next, unless they are looking at something.
        if self.was_live && !self.ended && !self.is_live() && self.tape.is_caught_up() {
            self.ended = true;
            changed = true;
            if self.tab == Tab::Steps && self.tree.follows {
                self.tab = Tab::Result;
            }
        }
        changed
    }

    fn look_at_prompt(&mut self, now: Instant) {
        let open = self.shown_prompt().map(|prompt| prompt.number);
        if let Some(number) = open
            && self.prompt.seen.is_none_or(|(seen, _)| seen != number)
        {
            self.prompt = PromptState { seen: Some((number, now)), ..PromptState::default() };
        }
    }

    /// The prompt that waits for an answer.
    #[must_use]
    pub fn open_prompt(&self) -> Option<&Prompt> {
        if self.is_live() { self.tape.view().open_prompts().next() } else { None }
    }

    /// The prompt to show: the one that waits, or where a recorded run is played the one that waited at that moment.
    #[must_use]
    pub fn shown_prompt(&self) -> Option<&Prompt> {
        if self.transport.is_some() { self.tape.view().open_prompts().next() } else { self.open_prompt() }
    }

    /// Goes to an event in a recorded run.
    pub fn seek(&mut self, to: u64) {
        self.tape.seek(to);
        let at = self.tape.view().at.0 as f64;
        if let Some(transport) = &mut self.transport {
            transport.at = at;
        }
        self.tree.follow(self.tape.view());
    }

    /// Goes to a time.
    pub fn jump(&mut self, at: Nanos) {
        let to = self.tape.at_time(at);
        self.seek(to);
        if let Some(transport) = &mut self.transport {
            transport.at = transport.at.max(at.0 as f64);
        }
    }

    fn play(&mut self, now: Instant) -> bool {
        const STEP: usize = 2048;
        let Some(transport) = &mut self.transport else { return false };
        let passed = now.saturating_duration_since(transport.last).as_secs_f64();
        transport.last = now;
        if !transport.playing {
            return false;
        }
        let speed = SPEEDS.get(transport.speed).copied().unwrap_or(1.0);
        // A terminal that was stopped does not make the run leap on.
        transport.at += passed.min(0.5) * if speed.is_finite() { speed } else { 0.0 } * 1e9;
        let (limit, position) = (transport.at, self.tape.position());
        let to = if speed.is_finite() {
            let events = self.tape.events(position, STEP);
            events.iter().find(|event| event.at.0 as f64 > limit).map_or(position + events.len() as u64, |event| event.seq)
        } else {
            position + STEP as u64
        };
        if to <= position && position < self.tape.end() {
            return false;
        }
        self.tape.seek(to);
        if self.tape.at_end() && self.tape.is_caught_up() {
            transport.playing = false;
        } else if !speed.is_finite() {
            transport.at = self.tape.view().at.0 as f64;
        }
        true
    }

    /// Plays or pauses; at the end it begins again.
    pub fn toggle_play(&mut self, now: Instant) {
        if self.tape.at_end() {
            self.seek(0);
        }
        let at = self.tape.view().at.0 as f64;
        if let Some(transport) = &mut self.transport {
            transport.playing = !transport.playing;
            transport.last = now;
            transport.at = at;
        }
    }

    /// Plays a finished run again from the beginning.
    pub fn replay(&mut self, now: Instant) {
        self.transport = Some(Transport::new(now));
        self.tape.seek(0);
        self.tab = Tab::Steps;
        self.tree.follows = true;
        self.tree.unfolded.clear();
        self.timeline.bottom = None;
        self.console.bottom = None;
    }

    /// Looks for an event whose text has the pattern; its number, or where to go on looking.
    pub fn find_event(&self, pattern: &regex::bytes::Regex, from: u64, forward: bool) -> Result<u64, Option<u64>> {
        const BLOCK: u64 = 256;
        let end = self.tape.end();
        let mut at = from.min(end);
        let mut looked = 0;
        while looked < SEARCHED {
            let (first, count) = if forward {
                (at, BLOCK)
            } else {
                let first = at.saturating_sub(BLOCK);
                (first, at - first)
            };
            let events = self.tape.events(first, count as usize);
            if events.is_empty() {
                return Err(None);
            }
            let hit = |event: &&Event| self.matches(event, pattern);
            let found = if forward { events.iter().find(hit) } else { events.iter().rev().find(hit) };
            if let Some(event) = found {
                return Ok(event.seq);
            }
            looked += events.len() as u64;
            at = if forward { first + events.len() as u64 } else { first };
        }
        Err(Some(at))
    }

    fn matches(&self, event: &Event, pattern: &regex::bytes::Regex) -> bool {
        if let Some((place, text, _)) = super::words::event(event) {
            return pattern.is_match(text.as_bytes()) || pattern.is_match(place.as_bytes());
        }
        let (file, offset, len) = match &event.fact {
            Fact::Received { channel, offset, len } => (format!("{channel}.rx"), *offset, *len),
            Fact::Sent { channel, offset, len } => (format!("{channel}.tx"), *offset, *len),
            _ => return false,
        };
        // With what came just before: a word may come in two pieces.
        let bytes = self.tape.bytes(&file, offset.saturating_sub(64), offset + len);
        let before = offset.min(64) as usize;
        pattern.find_iter(&bytes).any(|hit| hit.end() > before)
    }
}
