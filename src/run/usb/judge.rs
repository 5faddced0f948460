//! What the outcome of a transfer means.

use regex::bytes::Regex;

use super::Outcome;
use crate::{
    channel::usb::Answer,
    event::Verdict,
    run::{
        execute::failed,
        outcome::{Ended, code},
    },
    step::{FailAs, Silence, usb::Must},
};

/// What the plan asks of a transfer.
pub(super) struct Asked<'a> {
    /// Bytes for the device.
    pub(super) sent: usize,
    pub(super) must: Must,
    /// What an accepted request's bytes must hold, and how the plan writes it.
    pub(super) pattern: Option<(Regex, String)>,
    pub(super) silence: Silence,
    pub(super) fail_as: Option<&'a FailAs>,
}

/// Whether the outcome judged the device (`Ok(true)`), or was only to be recorded.
pub(super) fn transfer(asked: &Asked<'_>, outcome: &Outcome, what: &str) -> Result<bool, Ended> {
    let inconclusive = |code: &str| Ended::judged(Verdict::Inconclusive, code, what);
    let fails = |code: &str| failed(asked.fail_as, code, what);
    let answer = match outcome {
        Outcome::Answer(answer) => answer,
        // Whatever was asked for, no request may bring a device down; what to call that is for the plan to say.
        Outcome::Leaves if asked.fail_as.is_some() => return Err(fails("")),
        Outcome::Leaves => return Err(inconclusive(code::UNEXPECTED)),
    };
    match (answer, asked.must) {
        (Answer::Absent | Answer::Left, _) => Err(inconclusive(code::SILENT)),
        (Answer::Lacking(_), _) => Err(inconclusive(code::UNEXPECTED)),
        (_, Must::Any) => Ok(false),
        (Answer::Taken(count), Must::Accept) if *count < asked.sent => {
            let text = format!("{what} of {}, and no more in time", asked.sent);
            Err(if asked.silence == Silence::Fail {
                failed(asked.fail_as, code::SILENT, &text)
            } else {
                Ended::judged(Verdict::Inconclusive, code::SILENT, text)
            })
        }
        (Answer::Done(bytes), Must::Accept) => match &asked.pattern {
            Some((pattern, source)) if !pattern.is_match(bytes) => {
                let text = format!("{what}, which do not hold `{source}`");
                Err(match asked.fail_as {
                    Some(_) => failed(asked.fail_as, "", &text),
                    None => Ended::judged(Verdict::Inconclusive, code::UNEXPECTED, text),
                })
            }
            _ => Ok(true),
        },
        (Answer::Taken(_), Must::Accept) | (Answer::Stalled, Must::Refuse) => Ok(true),
        (Answer::Done(_) | Answer::Taken(_) | Answer::Overrun, Must::Refuse) => Err(fails(code::NOT_REFUSED)),
        (Answer::Stalled, Must::Accept) => Err(fails(code::REFUSED)),
        (Answer::Overrun, Must::Accept) => Err(inconclusive(code::UNEXPECTED)),
        // Silence is not a refusal: a device that hangs must not look like one that defends itself.
        (Answer::Silent, _) => Err(if asked.silence == Silence::Fail { fails(code::SILENT) } else { inconclusive(code::SILENT) }),
    }
}
