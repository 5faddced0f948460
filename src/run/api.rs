//! Steps on what the device offers on its own network.
//!
//! That nobody answers is silence, whatever it was that did not come about: a closed port, a broken handshake, half an answer. What an answer says
//! is judged only if it comes from whom the rig expects.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use super::{
    execute::{Executor, Passed, StepResult, compile, failed, out_of_time, unseen},
    outcome::{Ended, code},
    values,
};
use crate::{
    channel::{
        api::{ApiLink, Ask, Heard, Instance, Scanned, ports},
        link::LinkError,
    },
    event::{Act, ChannelName, EvidenceRef, Fact, StepId, Verdict},
    step::{
        FailAs, Template, Within,
        api::{ApiStep, RequestStep},
    },
};

/// Time for each port; one that answers at all does so at once.
const EACH: Duration = Duration::from_secs(1);
/// Characters of an answer that are told.
const TOLD: usize = 200;
/// Shortest text that may be looked for in an answer: a shorter one is found by chance.
const SHORTEST: usize = 4;
/// Ports that are named.
const NAMED: usize = 20;

impl Executor {
    pub(super) async fn api(&mut self, channel: &str, step: &ApiStep, id: &StepId) -> StepResult {
        let shared = Arc::clone(&self.shared);
        let missing = || Ended::fault(format!("the rig has no API channel {channel}"));
        let link = shared.bench.apis.get(channel).ok_or_else(missing)?;
        shared.bench.announce(channel, Act::Exchange { what: step.describe(channel) }, Some(id)).await?;
        // What the device says on other channels from now on may be its answer.
        self.mark_all();
        let mut link = link.lock().await;
        match step {
            ApiStep::Request(request) => self.api_request(link.as_mut(), channel, request, id).await,
            ApiStep::Scan { ports: tried, declared, within, fail_as } => {
                let tried = self.ports(tried)?;
                let declared = self.ports(declared)?;
                let scanned = self.api_timed(within, link.scan(&tried, EACH)).await?;
                let Some(scanned) = scanned else {
                    let text = format!("the ports of {channel} could not all be tried within {within}");
                    return Err(Ended::judged(Verdict::Inconclusive, code::UNEXPECTED, text));
                };
                let judged = scan(&scanned, |port| declared.iter().any(|range| range.contains(&port)), fail_as);
                self.api_observed(channel, id, told(&scanned), None);
                judged
            }
            ApiStep::Mdns { service, keys, instances, lacks, within, silence, fail_as } => {
                let (service, keys) = (self.text(service)?, self.text(keys)?);
                let lacks = self.secrets(lacks)?;
                let Some(Some(found)) = self.api_timed(within, link.announced(&service)).await? else {
                    let text = format!("{channel} did not answer for {service} within {within}");
                    return Err(unseen(true, *silence, Some(fail_as), &text));
                };
                let text = announced(&found);
                let evidence = self.api_evidence(channel, id, "txt", text.as_bytes());
                self.api_observed(channel, id, format!("{} of {service}: {}", found.len(), shown(&text)), evidence.clone());
                let evidence: Vec<_> = evidence.into_iter().collect();
                match mdns(&found, &keys, *instances, &lacks) {
                    None => Ok(Passed { evidence, judged: true }),
                    Some(why) => Err(failed(Some(fail_as), "", &why).with(evidence)),
                }
            }
        }
    }

    async fn api_request(&mut self, link: &mut dyn ApiLink, channel: &str, request: &RequestStep, id: &StepId) -> StepResult {
        let optional = |text: &Option<Template>| text.as_ref().map(|text| self.text(text)).transpose();
        let ask = Ask {
            method: request.method.clone(),
            path: self.text(&request.path)?,
            bearer: optional(&request.bearer)?,
            body: optional(&request.body)?,
        };
        let pattern = request.pattern.as_ref().map(|pattern| self.pattern(pattern)).transpose()?;
        let lacks = self.secrets(&request.lacks)?;
        // A text that a device gave and that cannot be sent is not a fault of the bench.
        ask.check().map_err(|why| Ended::judged(Verdict::Inconclusive, code::UNEXPECTED, why))?;
        let what = format!("{} {}", ask.method, ask.path);
        let heard = self.api_timed(&request.within, link.request(&ask)).await?;
        let heard = heard.unwrap_or_else(|| Heard::Nothing(format!("no answer within {}", request.within)));
        let (status, body) = match heard {
            Heard::Answer { status, body } => (status, body),
            Heard::Nothing(why) => {
                self.api_observed(channel, id, format!("{what}: {}", shown(&why)), None);
                return Err(unseen(true, request.silence, request.fail_as.as_ref(), &format!("{what}: {why}")));
            }
            Heard::Stranger(shown) => {
                let text = format!("{what}: who answers on {channel} has another certificate than the rig says, {shown}");
                self.api_observed(channel, id, text.clone(), None);
                return Err(Ended::judged(Verdict::Inconclusive, code::CERTIFICATE, text));
            }
        };
        let said = shown(&String::from_utf8_lossy(&body));
        let evidence = self.api_evidence(channel, id, "txt", &body);
        let text = format!("{what}: {status} {said}");
        self.api_observed(channel, id, text.clone(), evidence.clone());
        let place: Vec<_> = evidence.iter().cloned().collect();
        if let Some(secret) = lacks.iter().find(|secret| holds(&body, secret)) {
            let text = format!("{what}: the answer holds `{secret}`");
            return Err(unseen(false, request.silence, request.fail_as.as_ref(), &text).with(place));
        }
        if !request.status.contains(&status) {
            if request.refused.contains(&status) {
                return Err(Ended::Refused { words: text, evidence: place });
            }
            return Err(unseen(false, request.silence, request.fail_as.as_ref(), &text).with(place));
        }
        if let Some(source) = pattern {
            let regex = compile(&source)?;
            let Some(found) = regex.captures(&body) else {
                let text = format!("{text}; `{source}` does not stand in it");
                return Err(unseen(false, request.silence, request.fail_as.as_ref(), &text).with(place));
            };
            let captures: BTreeMap<_, _> = regex
                .capture_names()
                .flatten()
                .filter_map(|name| Some((name.to_owned(), String::from_utf8_lossy(found.name(name)?.as_bytes()).into_owned())))
                .collect();
            if let Some(evidence) = &evidence {
                self.matched(id, channel, &source, &captures, evidence);
            }
        }
        Ok(Passed { evidence: place, judged: true })
    }

    /// An exchange with the step's time; `None` if that was not enough.
    async fn api_timed<T>(
        &self,
        within: &Within,
        act: impl Future<Output = Result<T, LinkError>> + Send,
    ) -> Result<Option<T>, Ended> {
        let clock = &self.shared.bench.clock;
        let own = clock.now().after(values::span(within, &self.shared.device)?);
        let until = own.min(self.deadline);
        let done = self.bounded(async {
            tokio::select! {
                biased;
                done = act => Some(done),
                () = clock.sleep_until(until) => None,
            }
        });
        match done.await? {
            Some(done) => Ok(Some(done?)),
            None if own > self.deadline => Err(out_of_time()),
            None => Ok(None),
        }
    }

    fn ports(&self, text: &Template) -> Result<Vec<std::ops::RangeInclusive<u16>>, Ended> {
        let text = self.text(text)?;
        ports(&text).ok_or_else(|| {
            Ended::judged(
                Verdict::Inconclusive,
                code::NOT_DECLARED,
                format!("`{text}` is no list of ports such as '22, 8000-8100'"),
            )
        })
    }

    /// Texts to look for, none of which is found by chance.
    fn secrets(&self, texts: &[Template]) -> Result<Vec<String>, Ended> {
        let texts = texts.iter().map(|text| self.text(text)).collect::<Result<Vec<_>, _>>()?;
        match texts.iter().find(|text| text.len() < SHORTEST) {
            Some(short) => {
                let text = format!("`{short}` is too short to be looked for in an answer");
                Err(Ended::judged(Verdict::Inconclusive, code::UNEXPECTED, text))
            }
            None => Ok(texts),
        }
    }

    fn api_observed(&self, channel: &str, id: &StepId, what: String, evidence: Option<EvidenceRef>) {
        let (step, channel) = (Some(id.clone()), ChannelName::new(channel));
        self.shared.recorder.fact(Fact::Observed { step, channel, what, evidence });
    }

    fn api_evidence(&self, channel: &str, id: &StepId, ending: &str, bytes: &[u8]) -> Option<EvidenceRef> {
        let step = id.as_str().replace(['/', '.'], "-");
        self.shared.recorder.evidence(&format!("{step}-{channel}.{ending}"), bytes)
    }
}

/// Whether a text stands in bytes.
fn holds(bytes: &[u8], text: &str) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

/// A text of the device for people: short, and nothing that drives a terminal.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TOLD).collect()
}

fn named<'a>(ports: impl Iterator<Item = &'a u16>) -> String {
    let mut names: Vec<_> = ports.take(NAMED + 1).map(u16::to_string).collect();
    if names.len() > NAMED {
        names.truncate(NAMED);
        names.push("and more".to_owned());
    }
    names.join(", ")
}

fn told(scanned: &Scanned) -> String {
    let Scanned { open, closed, silent } = scanned;
    let tried = open.len() + *closed as usize + *silent as usize;
    format!("{tried} ports tried: {closed} closed, {silent} silent, {} open: {}", open.len(), named(open.iter()))
}

/// What a look at ports means.
fn scan(scanned: &Scanned, declared: impl Fn(u16) -> bool, fail_as: &FailAs) -> StepResult {
    let undeclared: Vec<_> = scanned.open.iter().filter(|port| !declared(**port)).collect();
    if !undeclared.is_empty() {
        let text = format!("open and not declared: {} ({})", named(undeclared.into_iter()), told(scanned));
        return Err(failed(Some(fail_as), "", &text));
    }
    if scanned.open.is_empty() {
        let text =
            format!("no declared port was found open, so nothing shows that an open one would be seen ({})", told(scanned));
        return Err(Ended::judged(Verdict::Inconclusive, code::NO_WITNESS, text));
    }
    Ok(Passed { evidence: Vec::new(), judged: true })
}

/// What an answer by mDNS says more, or less, than declared.
fn mdns(found: &[Instance], keys: &str, instances: u32, lacks: &[String]) -> Option<String> {
    let text = announced(found);
    if let Some(secret) = lacks.iter().find(|secret| text.contains(secret.as_str())) {
        return Some(format!("the answer holds `{secret}`"));
    }
    if found.len() != instances as usize {
        return Some(format!("{} instances answered, declared are {instances}", found.len()));
    }
    let declared: Vec<_> = keys.split(',').map(str::trim).collect();
    let other = found.iter().flat_map(|instance| &instance.text).find(|(key, _)| !declared.contains(&key.as_str()));
    other.map(|(key, value)| format!("`{}={}` is not declared", shown(key), shown(value)))
}

/// Instances in words, one a line.
fn announced(found: &[Instance]) -> String {
    let mut lines = String::new();
    for instance in found {
        lines += &format!("{} port {}", instance.name, instance.port.map_or_else(|| "none".to_owned(), |port| port.to_string()));
        for (key, value) in &instance.text {
            lines += &format!(" {key}={value}");
        }
        lines.push('\n');
    }
    lines
}
