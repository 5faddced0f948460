//! What to run, on which bench: rigs and plans that there are, and earlier runs.

use super::super::{
    host::{CaseEntry, Choice, PlanEntry, RigEntry, RigState, Survey},
    paper::{BAD, BOLD, CHOSEN, DIM, FAULT, GOOD, NAME, PLAIN, Paper, WARN},
    words,
};
use crate::{
    event::Verdict,
    journal::{RunState, RunSummary},
    view::sanitise,
};
use ratatui::style::Style;

/// Which list the keys move in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Focus {
    /// Benches.
    Rigs,
    /// Plans.
    Plans,
    /// Earlier runs.
    Runs,
    /// How to run it.
    Form,
}

/// Rows of the form before the cases.
pub const FORM_ROWS: usize = 7;

/// The start screen.
#[derive(Debug)]
pub struct StartState {
    /// What there is; nothing until it was looked.
    pub survey: Option<Survey>,
    /// Which list.
    pub focus: Focus,
    /// Chosen rig.
    pub rig: usize,
    /// Chosen plan.
    pub plan: usize,
    /// Chosen run.
    pub run: usize,
    /// Chosen row of the form.
    pub row: usize,
    /// What will be run.
    pub choice: Choice,
    /// Cases of the chosen plan on the chosen rig: the case, and whether it is to be run.
    pub cases: Vec<(CaseEntry, bool)>,
    /// Why the cases are not known.
    pub problem: Option<String>,
}

impl Default for StartState {
    fn default() -> Self {
        Self {
            survey: None,
            focus: Focus::Rigs,
            rig: 0,
            plan: 0,
            run: 0,
            row: 0,
            choice: Choice { wait_for_answers: true, ..Choice::default() },
            cases: Vec::new(),
            problem: None,
        }
    }
}

impl StartState {
    fn found(&self) -> &Survey {
        static NOTHING: Survey = Survey { rigs: Vec::new(), plans: Vec::new(), runs: Vec::new(), problem: None };
        self.survey.as_ref().unwrap_or(&NOTHING)
    }

    /// The chosen rig.
    #[must_use]
    pub fn chosen_rig(&self) -> Option<&RigEntry> {
        self.found().rigs.get(self.rig)
    }

    /// The chosen plan.
    #[must_use]
    pub fn chosen_plan(&self) -> Option<&PlanEntry> {
        self.found().plans.get(self.plan)
    }

    /// The chosen run.
    #[must_use]
    pub fn chosen_run(&self) -> Option<&RunSummary> {
        self.found().runs.get(self.run)
    }

    /// Channels that a plan needs and the chosen rig does not have.
    #[must_use]
    pub fn lacks(&self, plan: &PlanEntry) -> Vec<String> {
        let Some(rig) = self.chosen_rig() else { return Vec::new() };
        plan.requires.iter().filter(|channel| !rig.channels.contains(channel)).cloned().collect()
    }

    /// Takes the bench: to a plan that fits it.
    pub fn take_rig(&mut self) {
        self.focus = Focus::Plans;
        let fits = |plan: &PlanEntry| plan.bad.is_none() && self.lacks(plan).is_empty();
        if !self.chosen_plan().is_some_and(fits)
            && let Some(index) = self.found().plans.iter().position(fits)
        {
            self.plan = index;
        }
    }

    /// Moves in the list that has the focus.
    pub fn scroll(&mut self, by: isize) {
        let (rigs, plans, runs) = (self.found().rigs.len(), self.found().plans.len(), self.found().runs.len());
        let rows = FORM_ROWS + self.cases.len();
        let (index, count) = match self.focus {
            Focus::Rigs => (&mut self.rig, rigs),
            Focus::Plans => (&mut self.plan, plans),
            Focus::Runs => (&mut self.run, runs),
            Focus::Form => (&mut self.row, rows),
        };
        *index = index.saturating_add_signed(by).min(count.saturating_sub(1));
    }

    /// The next list, or the one before.
    pub fn beside(&mut self, forward: bool) {
        self.focus = match (self.focus, forward) {
            (Focus::Rigs, true) | (Focus::Runs, false) => Focus::Plans,
            (Focus::Plans, true) | (Focus::Rigs, false) => Focus::Runs,
            (Focus::Runs, true) | (Focus::Plans, false) => Focus::Rigs,
            (Focus::Form, _) => Focus::Form,
        };
    }

    /// What is to be run, with the cases that are chosen: none of them named if it is all.
    #[must_use]
    pub fn choice(&self) -> Choice {
        let able = || self.cases.iter().filter(|(case, _)| case.not_here.is_none());
        let all = able().all(|(_, chosen)| *chosen);
        let cases =
            if all { Vec::new() } else { able().filter(|(_, chosen)| *chosen).map(|(case, _)| case.id.clone()).collect() };
        Choice { cases, ..self.choice.clone() }
    }

    /// The last result on a rig.
    fn last_on(&self, rig: &str) -> Option<(String, Style)> {
        let run = self.found().runs.iter().find(|run| run.summary.rig.as_deref() == Some(rig))?;
        let (word, style) = run_word(run);
        Some((format!("last: {word}"), style))
    }

    /// Draws it; the last line says more about what is chosen.
    pub fn draw(&self, paper: &mut Paper<'_>) {
        let (width, height) = (paper.width(), paper.height());
        if self.focus == Focus::Form {
            self.draw_form(paper);
            return;
        }
        let upper = height * 6 / 10;
        let half = width / 2;
        self.draw_rigs(&mut paper.part(0, 0, half, upper));
        self.draw_plans(&mut paper.part(half, 0, width - half, upper));
        self.draw_runs(&mut paper.part(0, upper, width, height - upper));
    }

    fn draw_rigs(&self, paper: &mut Paper<'_>) {
        let focused = self.focus == Focus::Rigs;
        let mut inner = paper.framed("1. Choose a bench", focused);
        let rows = inner.height();
        let Some(survey) = &self.survey else {
            inner.text(0, 0, "Looking what there is ...", DIM);
            return;
        };
        if survey.rigs.is_empty() {
            inner.wrapped(
                0,
                0,
                "No rig files in rigs/. `hilbench discover --write rigs/my-bench.yaml` makes one from what is plugged in.",
                WARN,
            );
            return;
        }
        let note = self.chosen_rig().map(rig_note).unwrap_or_default();
        let notes: Vec<String> = super::super::paper::wrap(&note.0, inner.width()).into_iter().take(3).collect();
        let list = rows.saturating_sub(notes.len());
        let top = self.rig.saturating_sub(list.saturating_sub(1));
        for (y, (index, rig)) in survey.rigs.iter().enumerate().skip(top).take(list).enumerate() {
            let (word, style) = rig_word(rig);
            let x = inner.text(0, y, &format!("{word} "), style);
            let last = self.last_on(&rig.name);
            let end = inner.width();
            let last_width = last.as_ref().map_or(0, |(text, _)| text.len() + 1);
            inner.text_within(x, y, &rig.name, end.saturating_sub(x + last_width), PLAIN);
            if let Some((text, style)) = last {
                inner.text_to(end, y, &text, style);
            }
            if index == self.rig {
                inner.style(y, if focused { CHOSEN } else { BOLD });
            }
        }
        for (y, line) in notes.iter().enumerate() {
            inner.text(0, rows.saturating_sub(notes.len()) + y, line, note.1);
        }
    }

    fn draw_plans(&self, paper: &mut Paper<'_>) {
        let focused = self.focus == Focus::Plans;
        let mut inner = paper.framed("2. Choose a plan", focused);
        let rows = inner.height();
        let Some(survey) = &self.survey else { return };
        if survey.plans.is_empty() {
            inner.wrapped(0, 0, "No plans in testplans/.", WARN);
            return;
        }
        let note = match self.chosen_plan() {
            Some(PlanEntry { bad: Some(bad), .. }) => (bad.clone(), BAD),
            Some(plan) => {
                let lacks = self.lacks(plan);
                let lack = if lacks.is_empty() { String::new() } else { format!(" This bench has no {}.", lacks.join(", ")) };
                (format!("{} ({} cases).{lack}", plan.title, plan.cases), DIM)
            }
            None => (String::new(), DIM),
        };
        let notes: Vec<String> = super::super::paper::wrap(&note.0, inner.width()).into_iter().take(3).collect();
        let list = rows.saturating_sub(notes.len());
        let top = self.plan.saturating_sub(list.saturating_sub(1));
        for (y, (index, plan)) in survey.plans.iter().enumerate().skip(top).take(list).enumerate() {
            let lacks = self.lacks(plan);
            let (word, style) = match &plan.bad {
                Some(_) => ("BAD ", BAD),
                None if lacks.is_empty() => ("fits", GOOD),
                None => ("n/a ", DIM),
            };
            let x = inner.text(0, y, &format!("{word} "), style);
            inner.text(x, y, &plan.name, if lacks.is_empty() { PLAIN } else { DIM });
            if index == self.plan {
                inner.style(y, if focused { CHOSEN } else { BOLD });
            }
        }
        for (y, line) in notes.iter().enumerate() {
            inner.text(0, rows.saturating_sub(notes.len()) + y, line, note.1);
        }
    }

    fn draw_runs(&self, paper: &mut Paper<'_>) {
        let focused = self.focus == Focus::Runs;
        let mut inner = paper.framed("Or look at a run", focused);
        let survey = self.found();
        if survey.runs.is_empty() {
            let text = if self.survey.is_some() { "Nothing has been run yet." } else { "" };
            inner.text(0, 0, text, DIM);
            return;
        }
        let rows = inner.height();
        let top = self.run.saturating_sub(rows.saturating_sub(1));
        for (y, (index, run)) in survey.runs.iter().enumerate().skip(top).take(rows).enumerate() {
            let (word, style) = run_word(run);
            let started = run.summary.started.as_deref().unwrap_or("?").replace('T', " ").replace('Z', "");
            let x = inner.text(0, y, &format!("{word:<12} "), style);
            let x = inner.text_within(x, y, &started, 20, DIM);
            let what = |text: &Option<String>| sanitise::line(text.as_deref().unwrap_or("?"), 40);
            let x = inner.text(x + 1, y, &format!("{} on {}", what(&run.summary.plan), what(&run.summary.rig)), PLAIN);
            let why = run.damage.clone().or_else(|| run.summary.reason.as_ref().map(|reason| reason.code.clone()));
            inner.text(x + 2, y, &why.unwrap_or_default(), style);
            if index == self.run {
                inner.style(y, if focused { CHOSEN } else { PLAIN });
            }
        }
    }

    fn draw_form(&self, paper: &mut Paper<'_>) {
        let plan = self.chosen_plan().map_or("?", |plan| plan.name.as_str());
        let rig = self.chosen_rig().map_or("?", |rig| rig.name.as_str());
        let mut inner = paper.framed(&format!("3. Run {plan} on {rig}"), true);
        let choice = &self.choice;
        let able = self.cases.iter().filter(|(case, _)| case.not_here.is_none()).count();
        let chosen = self.cases.iter().filter(|(case, chosen)| *chosen && case.not_here.is_none()).count();
        let word = |on: bool, yes: &'static str, no: &'static str| if on { yes } else { no };
        let typed = |text: &str, empty: &str| if text.is_empty() { empty.to_owned() } else { text.to_owned() };
        let rows = [
            (format!("Start: {chosen} of {able} cases"), String::new()),
            ("Examine the bench first (doctor)".to_owned(), String::new()),
            (
                "Questions to the operator".to_owned(),
                word(choice.wait_for_answers, "wait for the answer", "nobody is here: skip them").to_owned(),
            ),
            ("After the first case that does not pass".to_owned(), word(choice.fail_fast, "end the run", "go on").to_owned()),
            ("If an instrument is in use, wait".to_owned(), typed(&choice.wait, "not at all")),
            ("Seed of everything random".to_owned(), typed(&choice.seed, "as the rig says")),
            ("File with prepared answers".to_owned(), typed(&choice.answers, "none")),
        ];
        let height = inner.height();
        let all = FORM_ROWS + self.cases.len().max(1);
        let top = self.row.saturating_sub(height.saturating_sub(2)).min(all.saturating_sub(height));
        for y in 0..height {
            let index = top + y;
            if let Some((label, value)) = rows.get(index) {
                let style = if index == 0 { GOOD.add_modifier(ratatui::style::Modifier::BOLD) } else { PLAIN };
                let sign = if index < 2 { "▶ " } else { "  " };
                let x = inner.text(0, y, sign, style);
                inner.text(x, y, label, style);
                inner.text(44, y, value, NAME);
            } else if let Some((case, chosen)) = self.cases.get(index.saturating_sub(FORM_ROWS)).filter(|_| index >= FORM_ROWS) {
                let (sign, style) = match &case.not_here {
                    Some(_) => ("n/a", DIM),
                    None if *chosen => ("[x]", PLAIN),
                    None => ("[ ]", DIM),
                };
                let x = inner.text(2, y, &format!("{sign} "), style);
                let names = self.cases.iter().map(|(case, _)| case.id.len()).max().unwrap_or(0).clamp(8, 34);
                inner.text_within(x, y, &case.id, names, if *chosen && case.not_here.is_none() { BOLD } else { DIM });
                inner.text(x + names + 1, y, case.not_here.as_deref().unwrap_or(&case.title), DIM);
            } else if self.cases.is_empty() && index == FORM_ROWS {
                match &self.problem {
                    Some(problem) => drop(inner.wrapped(2, y, problem, BAD)),
                    None => drop(inner.text(2, y, "reading the cases ...", DIM)),
                }
            }
            if index == self.row {
                inner.style(y, CHOSEN);
            }
        }
    }
}

fn rig_word(rig: &RigEntry) -> (&'static str, Style) {
    match &rig.state {
        RigState::Free => ("free", GOOD),
        RigState::Held(_) => ("BUSY", WARN),
        RigState::Missing(_) => ("AWAY", FAULT),
        RigState::Bad(_) => ("BAD ", BAD),
    }
}

fn rig_note(rig: &RigEntry) -> (String, Style) {
    match &rig.state {
        RigState::Free if rig.title.is_empty() => (rig.path.display().to_string(), DIM),
        RigState::Free => (rig.title.clone(), DIM),
        RigState::Held(why) | RigState::Missing(why) => (why.clone(), WARN),
        RigState::Bad(why) => (why.clone(), BAD),
    }
}

fn run_word(run: &RunSummary) -> (&'static str, Style) {
    match (run.state, run.summary.verdict) {
        (RunState::Running, _) => ("RUNNING", BOLD),
        (RunState::Interrupted, _) => ("BROKEN OFF", FAULT),
        (RunState::Closed, Some(verdict)) => {
            let (_, style) = words::verdict(verdict);
            let word = match verdict {
                Verdict::Pass => "pass",
                Verdict::Fail => "FAIL",
                Verdict::Error => "BENCH ERROR",
                Verdict::Inconclusive => "INCONCLUSIVE",
                Verdict::None => "NO VERDICT",
            };
            (word, style)
        }
        (RunState::Closed, None) => ("?", DIM),
    }
}

/// While a run that was started is not there yet.
pub fn starting(run: &str, paper: &mut Paper<'_>) {
    let mut inner = paper.framed("Starting", true);
    inner.text(0, 0, &format!("The run {run} is starting: files are checked, then the bench is opened."), PLAIN);
}
