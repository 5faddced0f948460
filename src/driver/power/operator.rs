//! Drivers `operator-supply` and `operator-button`: a person switches. What no instrument does on this rig becomes a prompt, and the plan stays as it is.

use std::{sync::Arc, time::Duration};

use super::word;
use crate::{
    channel::{
        clock::BoxFuture,
        link::{ButtonLink, Cause, ChannelKind, Driver, LinkError, Opened, Parameters, Proof, SupplyLink},
        operator::{Ask, CANNOT, DONE, Question, Unanswered},
    },
    driver::parameters::{duration, required, value},
    event::Witness,
};

/// Time for the answer, if the rig does not say.
const WITHIN: Duration = Duration::from_mins(2);
/// Longest time for it.
const LONGEST: Duration = Duration::from_hours(24);

/// Driver `operator-supply` or `operator-button`.
#[derive(Clone)]
pub struct Operator {
    kind: ChannelKind,
    ask: Arc<dyn Ask>,
}

impl Operator {
    /// `operator-supply`: a person at `ask` switches the power.
    #[must_use]
    pub fn supply(ask: Arc<dyn Ask>) -> Self {
        Self { kind: ChannelKind::Supply, ask }
    }

    /// `operator-button`: a person at `ask` presses.
    #[must_use]
    pub fn button(ask: Arc<dyn Ask>) -> Self {
        Self { kind: ChannelKind::Button, ask }
    }
}

struct Person {
    ask: Arc<dyn Ask>,
    what: String,
    picture: Option<String>,
    within: Duration,
}

impl Person {
    async fn act(&mut self, request: String) -> Result<Proof, LinkError> {
        let failed = |what: String| LinkError::new(format!("ask the operator: {request}"), what);
        let question = Question {
            text: request.clone(),
            picture: self.picture.clone(),
            choices: vec![DONE.to_owned(), CANNOT.to_owned()],
            free: false,
            within: self.within,
        };
        match self.ask.ask(question, None).await {
            Ok(answer) if answer.text == DONE => {
                let what = format!("operator {} confirmed: {request}", answer.by);
                Ok(Proof::Seen(Witness { what, evidence: None }))
            }
            Ok(answer) => Err(failed(format!("operator {} answered `{}`", answer.by, answer.text))),
            Err(Unanswered(why)) => Err(LinkError { cause: Cause::Person, ..failed(why) }),
        }
    }
}

impl SupplyLink for Person {
    fn set(&mut self, up: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        let request = format!("switch {} {} ({})", self.what, if up { "on" } else { "off" }, word(up));
        Box::pin(self.act(request))
    }

    fn is_up(&mut self) -> BoxFuture<'_, Result<Option<bool>, LinkError>> {
        Box::pin(async { Ok(None) })
    }
}

impl ButtonLink for Person {
    fn set(&mut self, pressed: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        let request = if pressed { format!("press and hold {}", self.what) } else { format!("let go of {}", self.what) };
        Box::pin(self.act(request))
    }
}

impl Driver for Operator {
    fn name(&self) -> &'static str {
        if self.kind == ChannelKind::Supply { "operator-supply" } else { "operator-button" }
    }

    fn kind(&self) -> ChannelKind {
        self.kind
    }

    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)] {
        &[
            ("what", true, "what the operator switches or presses, as it is called at the bench"),
            ("picture", false, "a picture that shows it"),
            ("within", false, "time for the answer; 2m if not given"),
        ]
    }

    fn check(&self, parameters: &Parameters) -> Result<(), LinkError> {
        required(parameters, "what", self.name())?;
        duration(parameters, "within", LONGEST, self.name()).map(drop)
    }

    fn identity(&self, parameters: &Parameters) -> Result<String, LinkError> {
        Ok(format!("{} in the operator's hands", required(parameters, "what", self.name())?))
    }

    fn open<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>> {
        Box::pin(async move {
            let person = Person {
                ask: Arc::clone(&self.ask),
                what: required(parameters, "what", self.name())?.to_owned(),
                picture: value(parameters, "picture").map(|path| parameters.base.join(path).display().to_string()),
                within: duration(parameters, "within", LONGEST, self.name())?.unwrap_or(WITHIN),
            };
            Ok(if self.kind == ChannelKind::Supply { Opened::Supply(Box::new(person)) } else { Opened::Button(Box::new(person)) })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::operator::{Answer, Nobody};

    /// A person with one answer.
    struct Says(&'static str);

    impl Ask for Says {
        fn ask(&self, question: Question, _: Option<String>) -> BoxFuture<'_, Result<Answer, Unanswered>> {
            assert!(question.choices.contains(&self.0.to_owned()));
            Box::pin(async { Ok(Answer { text: self.0.to_owned(), by: "kim".to_owned() }) })
        }
    }

    async fn supply(ask: impl Ask + 'static) -> Box<dyn SupplyLink> {
        let parameters =
            Parameters { values: [("what".to_owned(), "the bench supply".to_owned())].into(), ..Parameters::default() };
        match Operator::supply(Arc::new(ask)).open(&parameters).await.unwrap() {
            Opened::Supply(link) => link,
            _ => panic!("no supply"),
        }
    }

    #[tokio::test]
    async fn the_operators_word_is_the_witness_and_a_refusal_a_fault() {
        let Proof::Seen(witness) = supply(Says(DONE)).await.set(false).await.unwrap() else { panic!("no witness") };
        assert_eq!(witness.what, "operator kim confirmed: switch the bench supply off (down)");
        let error = supply(Says(CANNOT)).await.set(false).await.unwrap_err();
        assert!(error.cause == Cause::Instrument && error.what.contains("cannot"), "{error}");
        assert_eq!(supply(Nobody).await.set(true).await.unwrap_err().cause, Cause::Person);
    }
}
