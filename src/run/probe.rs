//! Steps with a debug probe.

use std::sync::Arc;

use regex::bytes::Regex;

use super::{
    execute::{Executor, Passed, StepResult, compile, failed},
    outcome::{Ended, code},
    residue::Sought,
    values::Unresolved,
};
use crate::{
    channel::{
        link::{Proof, Segment},
        probe::{LockReading, LockVerdict},
    },
    event::{Act, ChannelName, Digest, EvidenceRef, Fact, StepId, Verdict, Witness},
    step::{
        FailAs, Template,
        probe::{Lock, ProbeStep},
    },
};

/// Bytes read at a time: a dump can be stopped between two pieces, and each has its own deadline.
const PIECE: u32 = 256 << 10;

/// What `read-memory` judges.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// Whether it must be readable, or refused.
    pub(super) readable: Option<bool>,
    /// What must be found in the bytes.
    pub(super) holds: Option<&'a Template>,
    /// What must not be found in the bytes.
    pub(super) lacks: Option<&'a Template>,
}

impl Executor {
    pub(super) async fn probe_step(&mut self, channel: &str, step: &ProbeStep, id: &StepId) -> StepResult {
        match step {
            ProbeStep::Halt | ProbeStep::Resume => {
                let halt = *step == ProbeStep::Halt;
                let what = if halt { "halt the core" } else { "let the core run" };
                self.shared.bench.announce(channel, Act::Exchange { what: what.to_owned() }, Some(id)).await?;
                self.mark_all();
                let mut probe = self.probe(channel)?.lock().await;
                let proof = if halt { probe.halt().await? } else { probe.resume().await? };
                drop(probe);
                Ok(self.stimulus(proof, id))
            }
            ProbeStep::DumpMemory { address, length, name } => self.dump(channel, *address, *length, name, id).await,
            ProbeStep::SearchMemory { address, length, secrets, networks, expect, fail_as } => {
                let sought = Sought { secrets, networks, expect: *expect, fail_as: fail_as.as_ref() };
                self.search_memory(channel, (*address, *length), sought, id).await
            }
            ProbeStep::ReadLock { family, expect, fail_as } => {
                self.read_lock(channel, family.clone(), *expect, fail_as.as_ref(), id).await
            }
        }
    }

    pub(super) async fn flash(&mut self, channel: &str, names: &[String], erase_all: bool, id: &StepId) -> StepResult {
        let shared = Arc::clone(&self.shared);
        let (mut segments, mut doubt, mut altered) = (Vec::new(), None, String::new());
        for name in names {
            let image = shared.images.get(name).ok_or_else(|| Unresolved { name: format!("image.{name}") })?;
            let address =
                image.address.ok_or_else(|| Ended::fault(format!("image {name} has no flash address in the device profile")))?;
            // Erased and written anew is preparation, whatever else the file is called. Otherwise what is special about the image is the stimulus.
            doubt = doubt.or_else(|| image.doubt(name).filter(|_| !erase_all));
            if let Some(difference) = &image.difference {
                altered += &format!("; {name} {difference}");
            }
            segments.push(Segment { address, bytes: image.bytes.to_vec() });
        }
        if erase_all && !shared.bench.sacrificial {
            return Err(Ended::fault("the rig does not say that this unit is sacrificial, so nothing is erased"));
        }
        shared.bench.announce(channel, Act::Flash { image: names.join(", "), erase_all }, Some(id)).await?;
        self.mark_all();
        let probe = self.probe(channel)?;
        let proof = probe.lock().await.flash(segments, erase_all).await?;
        let proof = match (proof, doubt) {
            (_, Some(doubt)) => Proof::None(doubt),
            (Proof::Seen(witness), None) => Proof::Seen(Witness { what: witness.what + &altered, ..witness }),
            (proof, None) => proof,
        };
        Ok(self.stimulus(proof, id))
    }

    /// Reads memory, and searches it. What cannot be read is searched in vain, and a search that does not find what is there proves nothing.
    pub(super) async fn read_memory(
        &mut self,
        channel: &str,
        address: u32,
        len: u32,
        wanted: Wanted<'_>,
        fail_as: Option<&FailAs>,
        id: &StepId,
    ) -> StepResult {
        let shared = Arc::clone(&self.shared);
        let compiled = |pattern: &Template| -> Result<(String, Regex), Ended> {
            let source = self.pattern(pattern)?;
            compile(&source).map(|regex| (source, regex))
        };
        let (holds, lacks) = (wanted.holds.map(compiled).transpose()?, wanted.lacks.map(compiled).transpose()?);
        shared.bench.announce(channel, Act::ReadMemory { address, len }, Some(id)).await?;
        let read = self.probe(channel)?.lock().await.read(address, len).await?;
        let (was_readable, text, bytes) = match &read {
            Ok(bytes) => (true, format!("{len} bytes at {address:#010x} were read"), bytes.as_slice()),
            Err(refusal) => (false, format!("{len} bytes at {address:#010x} were refused: {refusal}"), refusal.as_bytes()),
        };
        let name = format!("{}-{address:08x}.{}", id.as_str().replace(['/', '.'], "-"), if was_readable { "bin" } else { "txt" });
        let evidence: Vec<_> = shared.recorder.evidence(&name, bytes).into_iter().collect();
        if wanted.readable.is_some_and(|wanted| wanted != was_readable) {
            return Err(failed(fail_as, code::UNEXPECTED, &text).with(evidence));
        }
        if (holds.is_some() || lacks.is_some()) && !was_readable {
            return Err(Ended::judged(Verdict::Inconclusive, code::REFUSED, text).with(evidence));
        }
        if let Some((source, regex)) = &holds
            && !regex.is_match(bytes)
        {
            let text = format!("`{source}` is not in the {len} bytes at {address:#010x}, so a search there proves nothing");
            return Err(Ended::judged(Verdict::Inconclusive, code::NO_WITNESS, text).with(evidence));
        }
        if let Some((source, regex)) = &lacks
            && let Some(found) = regex.find(bytes)
        {
            let text = format!("`{source}` is at {:#010x}", address as usize + found.start());
            return Err(failed(fail_as, code::UNEXPECTED, &text).with(evidence));
        }
        Ok(Passed { evidence, judged: wanted.readable.is_some() || lacks.is_some() })
    }

    async fn dump(&mut self, channel: &str, address: u32, length: u32, name: &str, id: &StepId) -> StepResult {
        let (bytes, refusal) = self.read_all(channel, address, length, id).await?;
        let what =
            refusal.clone().unwrap_or_else(|| format!("{length} bytes at {address:#010x}, blake3 {}", Digest::of(&bytes).0));
        let evidence = self.keep(channel, id, &format!("{name}.bin"), &bytes, what);
        match refusal {
            None => Ok(Passed { evidence, judged: false }),
            // What a refusal means is for `read-memory` to say.
            Some(text) => Err(Ended::judged(Verdict::Inconclusive, code::REFUSED, text).with(evidence)),
        }
    }

    /// Memory piece by piece, and where reading was refused, if it was.
    pub(super) async fn read_all(
        &mut self,
        channel: &str,
        address: u32,
        length: u32,
        id: &StepId,
    ) -> Result<(Vec<u8>, Option<String>), Ended> {
        let shared = Arc::clone(&self.shared);
        shared.bench.announce(channel, Act::ReadMemory { address, len: length }, Some(id)).await?;
        let mut bytes = Vec::new();
        while let Some(left) = length.checked_sub(bytes.len() as u32).filter(|left| *left > 0) {
            let Some(at) = address.checked_add(bytes.len() as u32) else {
                return Err(Ended::fault(format!("{length} bytes at {address:#010x} go beyond the end of the address space")));
            };
            let probe = self.probe(channel)?;
            let read = self.bounded(async { probe.lock().await.read(at, left.min(PIECE)).await }).await??;
            match read {
                Ok(piece) if piece.is_empty() => {
                    return Err(Ended::fault(format!("{channel}: reading at {at:#010x} gave neither bytes nor a refusal")));
                }
                Ok(mut piece) => bytes.append(&mut piece),
                Err(why) => {
                    let text =
                        format!("{} bytes of {length} were read; reading on at {at:#010x} was refused: {why}", bytes.len());
                    return Ok((bytes, Some(text)));
                }
            }
        }
        Ok((bytes, None))
    }

    async fn read_lock(
        &mut self,
        channel: &str,
        family: Option<String>,
        expect: Option<Lock>,
        fail_as: Option<&FailAs>,
        id: &StepId,
    ) -> StepResult {
        let what = "read the lock of the debug port".to_owned();
        self.shared.bench.announce(channel, Act::Exchange { what }, Some(id)).await?;
        let probe = self.probe(channel)?;
        let reading = self.bounded(async { probe.lock().await.lock_state(family).await }).await??;
        let text = format!("the debug port is {} (rule {})", reading.text, reading.family);
        let evidence = self.keep(channel, id, "lock.txt", reading.transcript.as_bytes(), text.clone());
        let Some(expect) = expect else { return Ok(Passed { evidence, judged: false }) };
        match judge(&reading, expect) {
            Judgement::Pass => Ok(Passed { evidence, judged: true }),
            Judgement::Fail => Err(failed(fail_as, code::UNEXPECTED, &format!("{text}, not {}", expect.word())).with(evidence)),
            Judgement::Unknown(why) => {
                Err(Ended::judged(Verdict::Inconclusive, code::LOCK_UNKNOWN, format!("{text}: {why}")).with(evidence))
            }
        }
    }

    /// Bytes as evidence, with what they are.
    pub(super) fn keep(&self, channel: &str, id: &StepId, name: &str, bytes: &[u8], what: String) -> Vec<EvidenceRef> {
        let recorder = &self.shared.recorder;
        let evidence = recorder.evidence(&format!("{}-{name}", id.as_str().replace(['/', '.'], "-")), bytes);
        let channel = ChannelName::new(channel);
        recorder.fact(Fact::Observed { step: Some(id.clone()), channel, what, evidence: evidence.clone() });
        evidence.into_iter().collect()
    }
}

/// What a reading means for the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judgement {
    Pass,
    Fail,
    Unknown(&'static str),
}

/// Silence is no lock, and a lock is only believed by a rule that the vendor's manual bears out. An open port has been read, which needs no
/// rule.
fn judge(reading: &LockReading, expect: Lock) -> Judgement {
    match reading.verdict {
        LockVerdict::Undetermined => Judgement::Unknown("neither a lock nor an open port is proven"),
        LockVerdict::NoDebugPort => {
            Judgement::Unknown("a loose wire looks the same; show with a device known to be open that this probe reaches it")
        }
        verdict if !expect.is_met_by(verdict) => Judgement::Fail,
        LockVerdict::ReadProtected | LockVerdict::Locked if !reading.documented => {
            Judgement::Unknown("the rule for this family is uncertain; confirm it on a device whose lock is known")
        }
        LockVerdict::Open | LockVerdict::ReadProtected | LockVerdict::Locked => Judgement::Pass,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(verdict: LockVerdict, documented: bool) -> LockReading {
        LockReading { family: "f".into(), verdict, text: String::new(), documented, transcript: String::new() }
    }

    #[test]
    fn only_what_is_proven_passes_or_fails() {
        use LockVerdict as V;
        for expect in [Lock::Open, Lock::ReadProtected, Lock::Locked, Lock::Closed] {
            for unproven in [V::Undetermined, V::NoDebugPort] {
                assert!(matches!(judge(&reading(unproven, true), expect), Judgement::Unknown(_)), "{expect:?} {unproven:?}");
            }
        }
        for (verdict, expect) in [
            (V::Open, Lock::Open),
            (V::ReadProtected, Lock::ReadProtected),
            (V::ReadProtected, Lock::Closed),
            (V::Locked, Lock::Locked),
            (V::Locked, Lock::Closed),
        ] {
            assert_eq!(judge(&reading(verdict, true), expect), Judgement::Pass, "{verdict:?} {expect:?}");
        }
        for (verdict, expect) in [
            (V::Open, Lock::Closed),
            (V::Open, Lock::Locked),
            (V::Open, Lock::ReadProtected),
            (V::ReadProtected, Lock::Locked),
            (V::ReadProtected, Lock::Open),
            (V::Locked, Lock::Open),
            (V::Locked, Lock::ReadProtected),
        ] {
            assert_eq!(judge(&reading(verdict, true), expect), Judgement::Fail, "{verdict:?} {expect:?}");
        }
        assert!(
            matches!(judge(&reading(V::Locked, false), Lock::Closed), Judgement::Unknown(_)),
            "an uncertain rule never passes"
        );
        assert_eq!(judge(&reading(V::Open, false), Lock::Closed), Judgement::Fail, "what was read was read");
    }
}
