//! The desk where the operator is asked, and where answers come in from wherever they are given.
//!
//! A prompt and its answer are facts. A prompt that nobody answers says nothing about the device: what rests on it is inconclusive.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::oneshot;

use super::record::Recorder;
use crate::{
    channel::{
        clock::BoxFuture,
        operator::{Answer, Ask, Question, Unanswered},
    },
    event::{Fact, StepId},
};

/// Longest answer and longest name that are taken, in characters.
const LONGEST: usize = 1000;
const LONGEST_NAME: usize = 64;

/// Whether somebody may be waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Attendance {
    /// Nobody is there: what the prepared answers do not answer stays unanswered, at once.
    Nobody,
    /// Somebody may answer until the time is over.
    #[default]
    Somebody,
}

/// An answer that was prepared before the run: to every prompt whose text matches.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// Which prompts: found anywhere in the text.
    pub prompt: regex::Regex,
    /// The answer.
    pub answer: String,
}

/// The desk; clones are the same one.
#[derive(Clone, Default)]
pub struct Desk(Arc<Inner>);

#[derive(Default)]
struct Inner {
    attendance: Attendance,
    prepared: Vec<Prepared>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    recorder: Option<Recorder>,
    last: u32,
    open: BTreeMap<u32, Open>,
}

struct Open {
    question: Question,
    reply: oneshot::Sender<Answer>,
}

impl Desk {
    /// A desk with prepared answers.
    #[must_use]
    pub fn new(attendance: Attendance, prepared: Vec<Prepared>) -> Self {
        Self(Arc::new(Inner { attendance, prepared, state: Mutex::default() }))
    }

    /// Where prompts and answers are recorded from now on.
    pub fn record(&self, recorder: Recorder) {
        self.state().recorder = Some(recorder);
    }

    /// The open prompts: number and question.
    #[must_use]
    pub fn open(&self) -> Vec<(u32, Question)> {
        self.state().open.iter().map(|(number, open)| (*number, open.question.clone())).collect()
    }

    /// Takes an answer.
    ///
    /// # Errors
    /// What is wrong with it: no such open prompt, not one of its choices.
    pub fn answer(&self, prompt: u32, answer: &str, by: &str) -> Result<(), String> {
        let mut state = self.state();
        let Some(open) = state.open.get(&prompt) else {
            let known: Vec<_> = state.open.keys().map(u32::to_string).collect();
            let known = if known.is_empty() { "no prompt is open".to_owned() } else { format!("open: {}", known.join(", ")) };
            return Err(format!("prompt {prompt} is not open; {known}"));
        };
        let text = fitting(&open.question, answer)?;
        let by = plain(by, LONGEST_NAME);
        let by = if by.is_empty() { "somebody".to_owned() } else { by };
        let Some(Open { reply, .. }) = state.open.remove(&prompt) else { return Err("it was answered just now".to_owned()) };
        // Recorded before it is acted on.
        state.fact(Fact::Answered { prompt, answer: text.clone(), by: by.clone() });
        reply.send(Answer { text, by }).map_err(|_| "the step that asked has ended".to_owned())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a prompt.
    fn put(&self, question: &Question, step: Option<&str>) -> (u32, oneshot::Receiver<Answer>) {
        let (reply, answer) = oneshot::channel();
        let mut state = self.state();
        state.last += 1;
        let prompt = state.last;
        let within_ms = u64::try_from(question.within.as_millis()).unwrap_or(u64::MAX);
        let Question { text, picture, choices, free, .. } = question.clone();
        state.fact(Fact::Prompted { prompt, step: step.map(StepId::new), text, picture, choices, free, within_ms });
        state.open.insert(prompt, Open { question: question.clone(), reply });
        (prompt, answer)
    }

    /// Closes a prompt that has no answer.
    fn withdraw(&self, prompt: u32, why: &str) {
        let mut state = self.state();
        if state.open.remove(&prompt).is_some() {
            state.fact(Fact::Unanswered { prompt, why: why.to_owned() });
        }
    }

    async fn serve(&self, question: Question, step: Option<String>) -> Result<Answer, Unanswered> {
        let (prompt, mut answer) = self.put(&question, step.as_deref());
        let mut slip = Slip { desk: self, prompt, why: "the step that asked has ended".to_owned() };
        if let Some(prepared) = self.0.prepared.iter().find(|prepared| prepared.prompt.is_match(&question.text)) {
            if let Err(why) = self.answer(prompt, &prepared.answer, "the answers file") {
                slip.why = format!("the answers file: {why}");
                return Err(Unanswered(slip.why.clone()));
            }
        } else if self.0.attendance == Attendance::Nobody {
            "the run is unattended, and the answers file has no answer".clone_into(&mut slip.why);
            return Err(Unanswered(slip.why.clone()));
        }
        match tokio::time::timeout(question.within, &mut answer).await {
            Ok(Ok(answer)) => Ok(answer),
            _ => {
                slip.why = format!("no answer within {}", crate::units::Span::from(question.within));
                // It may have come at the very last moment.
                answer.try_recv().map_err(|_| Unanswered(slip.why.clone()))
            }
        }
    }
}

impl Ask for Desk {
    fn ask(&self, question: Question, step: Option<String>) -> BoxFuture<'_, Result<Answer, Unanswered>> {
        Box::pin(self.serve(question, step))
    }
}

impl State {
    fn fact(&self, fact: Fact) {
        if let Some(recorder) = &self.recorder {
            recorder.fact(fact);
        }
    }
}

/// An open prompt; withdrawn when whoever asked no longer waits.
struct Slip<'a> {
    desk: &'a Desk,
    prompt: u32,
    why: String,
}

impl Drop for Slip<'_> {
    fn drop(&mut self) {
        self.desk.withdraw(self.prompt, &self.why);
    }
}

/// The answer as the question offers it.
fn fitting(question: &Question, answer: &str) -> Result<String, String> {
    let answer = plain(answer, LONGEST);
    if let Some(choice) = question.choices.iter().find(|choice| choice.trim().eq_ignore_ascii_case(&answer)) {
        return Ok(choice.clone());
    }
    if question.free && !answer.is_empty() {
        return Ok(answer);
    }
    let choices = question.choices.join(", ");
    Err(match (question.free, choices.is_empty()) {
        (true, _) => "an answer needs at least one character".to_owned(),
        (false, false) => format!("`{answer}` is none of: {choices}"),
        (false, true) => "this prompt takes no answer".to_owned(),
    })
}

/// One line without control characters, at most so long.
fn plain(text: &str, most: usize) -> String {
    text.trim().chars().filter(|c| !c.is_control()).take(most).collect()
}

/// The longest time that a prompt may take: longer than any case.
pub const LONGEST_PROMPT: Duration = Duration::from_hours(24);

#[cfg(test)]
mod tests {
    use super::*;

    fn question(choices: &[&str], free: bool) -> Question {
        Question {
            text: "Is the light green?".to_owned(),
            choices: choices.iter().map(|c| (*c).to_owned()).collect(),
            free,
            within: Duration::from_secs(5),
            ..Question::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_has_to_fit_and_comes_once() {
        let desk = Desk::default();
        let asked = {
            let desk = desk.clone();
            tokio::spawn(async move { desk.ask(question(&["green", "red"], false), None).await })
        };
        tokio::task::yield_now().await;
        assert_eq!(desk.open().len(), 1);
        assert!(desk.answer(7, "green", "kim").unwrap_err().contains("open: 1"));
        assert!(desk.answer(1, "blue", "kim").unwrap_err().contains("green, red"));
        desk.answer(1, " GREEN\n", "kim\x1b[2J").unwrap();
        assert!(desk.answer(1, "red", "kim").unwrap_err().contains("no prompt is open"));
        assert_eq!(asked.await.unwrap().unwrap(), Answer { text: "green".to_owned(), by: "kim[2J".to_owned() });
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_with_the_time_and_a_dropped_question_is_withdrawn() {
        let desk = Desk::default();
        let Err(Unanswered(why)) = desk.ask(question(&["a"], false), None).await else { panic!("answered") };
        assert!(why.contains("5s"), "{why}");
        assert_eq!(desk.open(), []);
        let dropped = tokio::time::timeout(Duration::from_secs(1), desk.ask(question(&["a"], false), None)).await;
        assert!(dropped.is_err());
        assert_eq!(desk.open(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_not_waited_for_and_prepared_answers_are_taken() {
        let prepared = vec![Prepared { prompt: regex::Regex::new("light").unwrap(), answer: "red".to_owned() }];
        let desk = Desk::new(Attendance::Nobody, prepared);
        let begun = tokio::time::Instant::now();
        assert_eq!(desk.ask(question(&["green", "red"], false), None).await.unwrap().by, "the answers file");
        let Err(Unanswered(why)) = desk.ask(question(&["green"], false), None).await else { panic!("answered") };
        assert!(why.contains("none of: green"), "{why}");
        let other = Question { text: "Anything else?".to_owned(), ..question(&[], true) };
        let Err(Unanswered(why)) = desk.ask(other, None).await else { panic!("answered") };
        assert!(why.contains("unattended"), "{why}");
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
