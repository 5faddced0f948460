//! Steps for the person at the bench: what they are, how they are written, how they are told.

use super::{FailAs, Template, Within, build, keys};
use crate::document::{Group, Key, Keys, Map, Shape, Word};

/// A question to the operator, or something to do.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptStep {
    /// What to do or to look at.
    pub text: Template,
    /// A picture that shows it, as the plan has it.
    pub picture: Option<String>,
    /// Answers to choose from; if empty and without `free`, it is something to do, and the answers are `done` and `cannot`.
    pub choices: Vec<String>,
    /// Whether any text is an answer.
    pub free: bool,
    /// Time for the answer.
    pub within: Within,
    /// Name of the value that the answer becomes.
    pub save_as: Option<String>,
    /// The good answers, if the operator judges the device.
    pub pass: Vec<String>,
    /// The bad ones. Any other leaves it open.
    pub fail: Vec<String>,
    /// Reason of a bad one.
    pub fail_as: Option<FailAs>,
    /// Whether the case goes on without an answer. It cannot pass then.
    pub goes_on: bool,
}

const UNATTENDED: &[Word] = &[
    Word { word: "stop", what: "The case ends inconclusive." },
    Word { word: "go-on", what: "The rest of the case is done, but it cannot pass." },
];

/// `prompt`.
pub static PROMPT: Keys = Keys::new(
    "prompt",
    "Asks the operator to do something or what can be seen. Without `choices` and `free-text` the answers are `done` and `cannot`.",
    &[
        Key::needed("text", Shape::Template, "What to do or to look at."),
        Key::needed("within", Shape::Within, "Time for the answer."),
        Key::optional("picture", Shape::Path, "A picture that shows it."),
        Key::optional("choices", Shape::List(&Shape::Line, 2), "Answers to choose from."),
        Key::optional("free-text", Shape::Flag, "Any text is an answer. Default: false."),
        Key::optional("save-as", Shape::Variable, "Name of the value that the answer becomes for later steps."),
        Key::optional("pass", Shape::List(&Shape::Line, 1), "Choices that are good: the operator judges the device."),
        Key::optional("fail", Shape::List(&Shape::Line, 1), "Choices that are bad. Any other is inconclusive."),
        Key::optional("unattended", Shape::Word(UNATTENDED), "What happens without an answer. Default: stop."),
        keys::REASON,
        keys::MEANING,
    ],
)
.groups(&[Group { keys: &["choices", "free-text"], needed: false }]);

/// The step.
#[must_use]
pub fn step(map: &Map) -> PromptStep {
    PromptStep {
        text: build::template(map, "text"),
        picture: map.get("picture").map(|value| value.text().to_owned()),
        choices: map.strings("choices"),
        free: map.flag("free-text"),
        within: build::within(map, "within"),
        save_as: map.get("save-as").map(|value| value.text().to_owned()),
        pass: map.strings("pass"),
        fail: map.strings("fail"),
        fail_as: build::optional_fail_as(map),
        goes_on: map.text("unattended") == "go-on",
    }
}

impl PromptStep {
    /// The step in a few words.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("ask the operator: {}", self.text.0)
    }
}
