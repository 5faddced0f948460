//! Steps on the line that carries a console's bytes.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    console::Seen,
    execute::{Executor, Passed, StepResult, unseen},
    outcome::Ended,
    values,
};
use crate::{
    channel::{console::Console, line::Lines, link::Proof},
    event::{Act, ChannelName, EvidenceRef, Fact, StepId, Witness},
    step::{Template, Within, line::LineStep},
};

/// What the port must be to have lines.
const NO_LINES: &str = "a serial port with modem lines; this one has none";

impl Executor {
    pub(super) async fn line(&mut self, channel: &str, step: &LineStep, id: &StepId) -> StepResult {
        let shared = Arc::clone(&self.shared);
        let missing = || Ended::fault(format!("the rig has no console channel {channel}"));
        let console = shared.bench.consoles.get(channel).ok_or_else(missing)?;
        shared.bench.announce(channel, Act::Exchange { what: step.describe(channel) }, Some(id)).await?;
        match step {
            LineStep::Break { hold } => {
                self.mark_all();
                let lines = console.line("start a line break", |line| line.set_break(true).and_then(|()| line.lines())).await?;
                let held = self.pause(*hold).await;
                // Ended even if the wait was cut short.
                console.line("end a line break", |line| line.set_break(false)).await?;
                held?;
                if lines.is_none() {
                    // A pseudo-terminal takes the command and does nothing.
                    return Ok(self.stimulus(Proof::None(format!("a line break on {channel}: {NO_LINES}")), id));
                }
                Ok(Passed::default())
            }
            LineStep::State(wanted) => {
                self.mark_all();
                let proof = drive(console, *wanted).await?;
                Ok(self.stimulus(proof, id))
            }
            LineStep::Sweep { pattern, rates, within, line, silence, fail_as } => {
                let usual = console.line("read the rate", |line| line.baud()).await?;
                let swept = self.sweep(console, channel, pattern, rates, within, line.as_ref(), id).await;
                console.line("set the rig's rate again", move |line| line.set_baud(usual)).await?;
                match swept? {
                    Swept::Found { baud, captures, evidence } => {
                        self.matched(id, channel, &pattern.0, &captures, &evidence);
                        self.values.set("baud", baud.to_string());
                        shared.recorder.fact(Fact::Measured {
                            step: id.clone(),
                            name: "baud".to_owned(),
                            value: f64::from(baud),
                            unit: "Bd".to_owned(),
                            limit: None,
                            within: true,
                        });
                        Ok(Passed { evidence: vec![evidence], judged: true })
                    }
                    Swept::Nothing { text, silent, evidence } => {
                        Err(unseen(silent, *silence, fail_as.as_ref(), &text).with(evidence))
                    }
                }
            }
        }
    }

    async fn sweep(
        &mut self,
        console: &Console,
        channel: &str,
        pattern: &Template,
        rates: &[u32],
        within: &Within,
        line: Option<&Template>,
        id: &StepId,
    ) -> Result<Swept, Ended> {
        let shared = Arc::clone(&self.shared);
        let patterns = self.patterns(pattern, None)?;
        let allowed = values::span(within, &shared.device)?;
        let line = line.map(|line| self.text(line)).transpose()?;
        let first = console.mark();
        let (mut tried, mut silent) = (Vec::new(), true);
        for baud in rates.iter().copied() {
            if let Err(error) = console.line("set a rate", move |line| line.set_baud(baud)).await {
                // Not every adapter can do every rate; one that is gone cannot do any.
                if error.lost {
                    return Err(error.into());
                }
                tried.push(format!("{baud} (the port cannot)"));
                continue;
            }
            self.mark_all();
            let from = console.mark();
            if let Some(line) = &line {
                self.transmit(channel, format!("{line}\n").into_bytes()).await?;
            }
            let seen = self.await_any(channel, &patterns, allowed).await?;
            let said = console.bytes(from..console.mark()).unwrap_or_default();
            let share = printable(&said).map_or_else(|| "nothing".to_owned(), |share| format!("{share} % printable"));
            let what = format!("at {baud} Bd: {} bytes, {share}", said.len());
            shared.recorder.fact(Fact::Observed {
                step: Some(id.clone()),
                channel: ChannelName::new(channel),
                what,
                evidence: None,
            });
            silent &= said.is_empty();
            match seen {
                Seen::Match { captures, evidence, .. } => return Ok(Swept::Found { baud, captures, evidence }),
                Seen::Nothing { .. } => tried.push(format!("{baud} ({share})")),
            }
        }
        let len = console.mark().saturating_sub(first);
        let evidence = (len > 0).then(|| EvidenceRef { file: format!("{channel}.rx"), offset: first, len });
        let text = format!("`{}` did not appear on {channel} at any of {}", pattern.0, tried.join(", "));
        Ok(Swept::Nothing { text, silent, evidence: evidence.into_iter().collect() })
    }
}

enum Swept {
    Found { baud: u32, captures: BTreeMap<String, String>, evidence: EvidenceRef },
    Nothing { text: String, silent: bool, evidence: Vec<EvidenceRef> },
}

/// Drives the lines and reads them back.
async fn drive(console: &Console, wanted: Lines) -> Result<Proof, Ended> {
    let set = move |line: &mut dyn crate::channel::line::LineControl| match line.lines()? {
        None => Ok(None),
        Some(_) => line.set_lines(wanted).and_then(|()| line.lines()),
    };
    match console.line("drive the modem lines", set).await? {
        None => Ok(Proof::None(format!("modem lines: {NO_LINES}"))),
        Some(found) if found == wanted => {
            Ok(Proof::Seen(Witness { what: format!("the port reads back {found}"), evidence: None }))
        }
        Some(found) => Err(Ended::fault(format!("the port was set to {wanted} and reads back {found}"))),
    }
}

/// Share of bytes that text consists of, in percent; nothing without bytes. At a wrong rate it is low.
fn printable(bytes: &[u8]) -> Option<usize> {
    let good = bytes.iter().filter(|byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x1B)).count();
    (good * 100).checked_div(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn noise_is_told_from_text() {
        assert_eq!(printable(b"boot ok\r\n"), Some(100));
        assert_eq!(printable(b"\xff\x80\x00a"), Some(25));
        assert_eq!(printable(b""), None);
    }
}
