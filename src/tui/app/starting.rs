//! Keys of the start screen: bench, plan, what to run and how.

use std::sync::Arc;

use super::{App, Done};
use crate::{
    journal::RunDir,
    tui::{
        dialogs::{Dialog, Purpose},
        host::{Finding, Level, RigState},
        keys::Action,
        paper::{BAD, BOLD, GOOD, PLAIN, WARN},
        screens::{FORM_ROWS, Focus},
    },
};

impl App {
    pub(super) fn act_start(&mut self, action: Action) {
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

    pub(super) fn examine(&mut self) {
        let Some(rig) = self.start.chosen_rig() else { return };
        let (host, path, name) = (Arc::clone(&self.host), rig.path.clone(), rig.name.clone());
        if self.job(move || Done::Doctor(name, host.doctor(&path))) {
            self.say("Examining the bench ... (up to half a minute)");
        }
    }

    pub(super) fn show_doctor(&mut self, rig: &str, found: Result<Vec<Finding>, String>) {
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

    pub(super) fn form(&mut self) {
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
        self.start.focus = Focus::Form;
        self.start.row = 0;
    }

    pub(super) fn form_key(&mut self) {
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
            4..FORM_ROWS => {
                let choice = &self.start.choice;
                let text = [&choice.wait, &choice.seed, &choice.answers][row - 4].clone();
                self.dialog = Some(Dialog::Input(Purpose::Field(row), text));
            }
            _ => {
                let all_chosen = self.start.cases.iter().all(|(case, chosen)| *chosen || case.not_here.is_some());
                let index = row - FORM_ROWS;
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
}
