//! Asking the person at the bench: what no instrument does or sees.

use std::time::Duration;

use super::clock::BoxFuture;

/// A question to the operator.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Question {
    /// What to do or to look at.
    pub text: String,
    /// A picture that shows it: path as the plan has it.
    pub picture: Option<String>,
    /// Answers to choose from; an answer is one of these, unless `free`.
    pub choices: Vec<String>,
    /// Whether any other text is an answer too.
    pub free: bool,
    /// Time for the answer, on the wall clock: a person does not live in a device's time.
    pub within: Duration,
}

/// The operator's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// One of the choices as it was offered, or free text.
    pub text: String,
    /// Who said it.
    pub by: String,
}

/// Nobody answered; why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered(pub String);

/// Puts questions to the operator.
pub trait Ask: Send + Sync {
    /// Asks, and waits for the answer at most for the question's time. A question that is dropped is withdrawn. `step` is the step that asks.
    fn ask(&self, question: Question, step: Option<String>) -> BoxFuture<'_, Result<Answer, Unanswered>>;
}

/// Nobody is there: for the guard, and for checks.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl Ask for Nobody {
    fn ask(&self, _: Question, _: Option<String>) -> BoxFuture<'_, Result<Answer, Unanswered>> {
        Box::pin(async { Err(Unanswered("there is nobody to ask".to_owned())) })
    }
}

/// Answer to a request to do something: it was done.
pub const DONE: &str = "done";
/// Answer to a request to do something: it cannot be done.
pub const CANNOT: &str = "cannot";
