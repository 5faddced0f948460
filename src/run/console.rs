//! Steps with a console: what is sent, and what must or must not appear.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    execute::{Executor, Passed, Shared, StepResult, compile, failed, out_of_time, unseen},
    images::ReadyImage,
    outcome::{Ended, code},
    values::{self, Unresolved},
};
use crate::{
    channel::{
        console::{Console, Expectation},
        link::Proof,
        matcher::Matcher,
    },
    event::{Digest, EvidenceRef, StepId, Verdict, Witness},
    step::{FailAs, SendData, Silence, Template, Within},
};

/// Time allowed for bytes to leave, besides the step's own deadline: a console that takes none is a fault of the bench.
const SEND_LIMIT: Duration = Duration::from_secs(30);

impl Executor {
    pub(super) async fn send(&mut self, channel: &str, data: &SendData) -> StepResult {
        let bytes = match data {
            SendData::Line(text) => format!("{}\n", self.text(text)?).into_bytes(),
            SendData::Text(text) => self.text(text)?.into_bytes(),
            SendData::Bytes(bytes) => bytes.clone(),
        };
        self.mark_all();
        self.transmit(channel, bytes).await.map(|()| Passed::default())
    }

    pub(super) async fn transmit(&mut self, channel: &str, bytes: Vec<u8>) -> Result<(), Ended> {
        let shared = Arc::clone(&self.shared);
        let console = console(&shared, channel)?;
        let len = bytes.len();
        let limit = tokio::time::sleep(SEND_LIMIT);
        tokio::select! {
            biased;
            () = self.stopped() => Err(Ended::cancelled()),
            sent = console.send(bytes) => sent.map(|_| ()).map_err(Ended::from),
            () = limit => Err(Ended::fault(format!("{channel}: {len} bytes did not leave within {SEND_LIMIT:?}; is the line held by flow control?"))),
        }
    }

    pub(super) async fn send_image(
        &mut self,
        channel: &str,
        name: &str,
        chunk: u32,
        ack: &Template,
        within: &Within,
        refused: Option<&Template>,
        id: &StepId,
    ) -> StepResult {
        let shared = Arc::clone(&self.shared);
        let image = shared.images.get(name).ok_or_else(|| Unresolved { name: format!("image.{name}") })?;
        let patterns = self.patterns(ack, refused)?;
        let allowed = values::span(within, &shared.device)?;
        let mut delivered = 0_u64;
        let mut ended = Ok(());
        for part in image.bytes.chunks(chunk.max(1) as usize) {
            self.transmit(channel, part.to_vec()).await?;
            match self.await_any(channel, &patterns, allowed).await? {
                Seen::Match { which: 0, .. } => delivered += part.len() as u64,
                Seen::Match { words, evidence, .. } => {
                    ended = Err(Ended::Refused { words, evidence: vec![evidence] });
                    break;
                }
                Seen::Nothing { text, evidence, silent } => {
                    let code = if silent { code::SILENT } else { code::UNEXPECTED };
                    let text = format!("no acknowledgement of bytes {delivered} to {}: {text}", delivered + part.len() as u64);
                    ended = Err(Ended::judged(Verdict::Inconclusive, code, text).with(evidence));
                    break;
                }
            }
        }
        self.witness_image(name, image, delivered, id);
        ended.map(|()| Passed::default())
    }

    /// The witness of an offered image: the device took every byte, or at least the first one that was altered.
    fn witness_image(&mut self, name: &str, image: &ReadyImage, delivered: u64, id: &StepId) {
        let len = image.bytes.len() as u64;
        let digest = Digest::of(&image.bytes);
        let digest = &digest.0[..16];
        let proof = match (image.doubt(name), &image.difference) {
            (Some(doubt), _) => Proof::None(doubt),
            (None, Some(d)) if delivered > d.first || delivered == len => Proof::Seen(Witness {
                what: format!("{name} ({digest}) {d}; the device acknowledged {delivered} of {len}"),
                evidence: None,
            }),
            (None, None) if delivered == len => Proof::Seen(Witness {
                what: format!("the device acknowledged all {len} bytes of {name} ({digest})"),
                evidence: None,
            }),
            _ => Proof::None(format!("acknowledgement of {name}'s decisive bytes; the device took {delivered} of {len}")),
        };
        self.stimulus(proof, id);
    }

    /// Waits for what proves that an earlier step did what it was meant to.
    pub(super) async fn expect_proof(
        &mut self,
        channel: &str,
        pattern: &Template,
        within: &Within,
        what: &str,
        id: &StepId,
    ) -> StepResult {
        let patterns = self.patterns(pattern, None)?;
        let allowed = values::span(within, &self.shared.device)?;
        match self.await_any(channel, &patterns, allowed).await? {
            Seen::Match { captures, evidence, .. } => {
                self.matched(id, channel, &patterns.sources[0], &captures, &evidence);
                let witness = Witness { what: what.to_owned(), evidence: Some(evidence.clone()) };
                self.stimulus(Proof::Seen(witness), id);
                Ok(Passed { evidence: vec![evidence], judged: false })
            }
            Seen::Nothing { text, evidence, .. } => {
                let text = format!("nothing proves that {what}: {text}");
                Err(Ended::judged(Verdict::Inconclusive, code::NO_WITNESS, text).with(evidence))
            }
        }
    }

    pub(super) async fn expect(
        &mut self,
        channel: &str,
        pattern: &Template,
        within: &Within,
        refused: Option<&Template>,
        silence: Silence,
        fail_as: Option<&FailAs>,
        id: &StepId,
    ) -> StepResult {
        let patterns = self.patterns(pattern, refused)?;
        let allowed = values::span(within, &self.shared.device)?;
        match self.await_any(channel, &patterns, allowed).await? {
            Seen::Match { which: 0, captures, evidence, .. } => {
                self.matched(id, channel, &patterns.sources[0], &captures, &evidence);
                Ok(Passed { evidence: vec![evidence], judged: true })
            }
            Seen::Match { words, evidence, .. } => Err(Ended::Refused { words, evidence: vec![evidence] }),
            Seen::Nothing { text, evidence, silent } => Err(unseen(silent, silence, fail_as, &text).with(evidence)),
        }
    }

    pub(super) async fn refrain(&mut self, channel: &str, pattern: &Template, during: &Within, fail_as: &FailAs) -> StepResult {
        let patterns = self.patterns(pattern, None)?;
        let span = values::span(during, &self.shared.device)?;
        let until = self.shared.bench.clock.now().after(span);
        let seen = self.await_any(channel, &patterns, span).await?;
        if self.shared.bench.clock.now() < until && matches!(seen, Seen::Nothing { .. }) {
            return Err(Ended::judged(
                Verdict::Inconclusive,
                code::DEADLINE,
                "the case ended before the time of this step was over",
            ));
        }
        match seen {
            Seen::Match { words, evidence, .. } => Err(failed(Some(fail_as), "", &format!("seen: {words}")).with(vec![evidence])),
            Seen::Nothing { evidence, .. } => Ok(Passed { evidence, judged: true }),
        }
    }

    /// Waits for one of the patterns on a console from its mark; a match moves the mark to its end.
    pub(super) async fn await_any(&mut self, channel: &str, patterns: &Patterns, allowed: Duration) -> Result<Seen, Ended> {
        let shared = Arc::clone(&self.shared);
        let console = console(&shared, channel)?;
        let mark = self.marks.get(channel).copied().unwrap_or_default();
        let from = mark.offset;
        let deadline = shared.bench.clock.now().after(allowed).min(self.deadline);
        let matchers: Vec<&Matcher> = patterns.matchers.iter().collect();
        let seen = tokio::select! {
            biased;
            () = self.stopped() => return Err(Ended::cancelled()),
            seen = console.expect(from, &matchers, deadline) => seen,
        };
        let file = format!("{channel}.rx");
        match seen {
            Expectation::Matched(found) => {
                self.marks.insert(channel.to_owned(), console.after(&found));
                let evidence = EvidenceRef { file, offset: found.start, len: found.end - found.start };
                let words = String::from_utf8_lossy(&found.bytes).trim().to_owned();
                Ok(Seen::Match { which: found.which, words, captures: found.captures, evidence })
            }
            // Not to have seen something says nothing about the device if the bench was not looking all the time.
            Expectation::TimedOut { .. } if let Some(why) = console.unexplained(mark, deadline) => {
                let sources = patterns.sources.join("` nor `");
                Err(Ended::fault(format!("`{sources}` was not seen on {channel}, which was not there all the time: {why}")))
            }
            Expectation::TimedOut { .. } if deadline >= self.deadline => Err(out_of_time()),
            Expectation::TimedOut { seen, .. } => {
                // Ends of lines that an earlier answer left behind are not an answer.
                let silent = console.bytes(from..console.mark()).is_some_and(|bytes| bytes.trim_ascii().is_empty());
                let sources = patterns.sources.join("` nor `");
                let tail = String::from_utf8_lossy(&seen);
                let tail: String = tail.chars().rev().take(200).collect::<Vec<_>>().into_iter().rev().collect();
                let text = if silent {
                    format!("`{sources}` did not appear on {channel} within {allowed:?}; the device said nothing")
                } else {
                    format!("`{sources}` did not appear on {channel} within {allowed:?}; last seen: {:?}", tail.trim())
                };
                let len = console.mark().saturating_sub(from);
                let evidence = if len == 0 { Vec::new() } else { vec![EvidenceRef { file, offset: from, len }] };
                Ok(Seen::Nothing { text, evidence, silent })
            }
            Expectation::Gap { missing } => {
                let text = format!(
                    "{channel}: bytes {} to {} are no longer in memory, so the pattern cannot be looked for",
                    missing.start, missing.end
                );
                Err(Ended::judged(Verdict::Inconclusive, code::UNEXPECTED, text))
            }
            Expectation::Lost { why } => Err(Ended::fault(format!("channel {channel} was lost: {why}"))),
        }
    }

    pub(super) fn patterns(&self, first: &Template, second: Option<&Template>) -> Result<Patterns, Ended> {
        let mut patterns = Patterns { sources: Vec::new(), matchers: Vec::new() };
        for template in std::iter::once(first).chain(second) {
            let source = self.values.pattern(template, &self.shared.device, &self.shared.images)?;
            patterns.matchers.push(Matcher::new(compile(&source)?));
            patterns.sources.push(source);
        }
        Ok(patterns)
    }
}

pub(super) struct Patterns {
    pub(super) sources: Vec<String>,
    matchers: Vec<Matcher>,
}

pub(super) enum Seen {
    Match { which: usize, words: String, captures: BTreeMap<String, String>, evidence: EvidenceRef },
    Nothing { text: String, evidence: Vec<EvidenceRef>, silent: bool },
}

fn console<'a>(shared: &'a Shared, channel: &str) -> Result<&'a Console, Ended> {
    shared.bench.consoles.get(channel).ok_or_else(|| Ended::fault(format!("the rig has no console channel {channel}")))
}
