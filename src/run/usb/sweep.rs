//! The sweep over vendor requests for data.

use std::time::Duration;

use serde_json::{Value, json};

use super::{On, Outcome, absent};
use crate::{
    channel::usb::{Answer, Setup, Transfer},
    event::{Nanos, Verdict},
    run::{
        execute::{Executor, Passed, StepResult, failed},
        outcome::{Ended, code},
    },
    step::{FailAs, usb::Sweep},
};

/// Time for one request: a device has 500 ms to answer (USB 2.0 specification, 9.2.6.4).
const REQUEST: Duration = Duration::from_millis(500);
/// Bytes of each answer that are kept.
const KEPT: usize = 256;
/// Findings that are told in the reason; all are in the evidence.
const TOLD: usize = 5;

#[derive(Default)]
struct Table {
    rows: Vec<Value>,
    tried: usize,
    refused: usize,
    /// Answered and declared.
    declared: usize,
    findings: Vec<String>,
    /// Neither answered nor refused.
    unclear: Vec<String>,
    /// Why it ended early.
    stopped: Option<String>,
}

impl Executor {
    pub(super) async fn usb_sweep(&mut self, on: On<'_>, sweep: &Sweep, end: Nanos, fail_as: &FailAs) -> StepResult {
        if !self.usb_answers(on).await? {
            return Err(match self.usb_await(on, true, end.min(self.shared.bench.clock.now())).await? {
                None => absent(on),
                Some(_) => silent("it did not answer GET_DESCRIPTOR before the sweep, so silence would prove nothing"),
            });
        }
        let mut table = Table::default();
        let swept = self.usb_requests(on, sweep, end, &mut table).await;
        let all = json!({
            "tried": table.tried,
            "refused": table.refused,
            "declared": table.declared,
            "undeclared": table.findings.len(),
            "stopped": table.stopped,
            "answers": table.rows,
        });
        let bytes = serde_json::to_vec(&all).unwrap_or_default();
        let evidence: Vec<_> = self.usb_evidence(on, "requests.json", &bytes).into_iter().collect();
        let what = format!(
            "{} requests tried, {} refused, {} answered as declared, {} answered undeclared",
            table.tried,
            table.refused,
            table.declared,
            table.findings.len()
        );
        self.usb_observed(on, what, evidence.first().cloned());
        // A fault of the bench is told as one, whatever was seen before.
        if let Err(ended) = swept {
            return Err(ended.with(evidence));
        }
        if !table.findings.is_empty() {
            let more = table.findings.len().saturating_sub(TOLD);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let told: Vec<_> = table.findings.iter().take(TOLD).map(String::as_str).collect();
            return Err(failed(Some(fail_as), "", &format!("nobody declared {}{more}", told.join("; "))).with(evidence));
        }
        if let Some(why) = table.stopped {
            return Err(silent(&why).with(evidence));
        }
        if let Some(first) = table.unclear.first() {
            let text = format!("{} requests were neither answered nor refused, the first: {first}", table.unclear.len());
            return Err(silent(&text).with(evidence));
        }
        if !self.usb_answers(on).await? {
            return Err(silent("it did not answer GET_DESCRIPTOR after the sweep, so refusals prove nothing").with(evidence));
        }
        Ok(Passed { evidence, judged: true })
    }

    async fn usb_requests(&self, on: On<'_>, sweep: &Sweep, end: Nanos, table: &mut Table) -> Result<(), Ended> {
        let declared = self.shared.device.usb.get(on.channel).map(|port| port.requests.clone()).unwrap_or_default();
        for setup in sweep.requests() {
            if self.shared.bench.clock.now() >= end {
                table.stopped = Some(format!("the time for the sweep was over after {} requests", table.tried));
                return Ok(());
            }
            table.tried += 1;
            let outcome = self.usb_transfer(on, Transfer::request(setup, sweep.length, REQUEST)).await?;
            let known = declared.contains(&(setup.kind & 3, setup.request));
            match &outcome {
                Outcome::Answer(Answer::Stalled) => table.refused += 1,
                Outcome::Answer(answer @ (Answer::Done(_) | Answer::Overrun)) => {
                    table.rows.push(row(setup, answer, known));
                    if known {
                        table.declared += 1;
                    } else {
                        table.findings.push(format!("{setup}: it {answer}"));
                    }
                }
                Outcome::Answer(answer) => {
                    table.rows.push(row(setup, answer, known));
                    table.unclear.push(format!("{setup}: it {answer}"));
                    // One that is dead refuses nothing any more.
                    if !self.usb_answers(on).await? {
                        table.stopped = Some(format!("it has not answered at all since {setup}"));
                        return Ok(());
                    }
                }
                Outcome::Leaves => {
                    table.rows.push(row(setup, &Answer::Left, known));
                    table.findings.push(format!("{setup}: it leaves the bus, twice in a row"));
                    table.stopped = Some(format!("it leaves the bus on {setup}"));
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

fn silent(text: &str) -> Ended {
    Ended::judged(Verdict::Inconclusive, code::SILENT, text)
}

fn row(setup: Setup, answer: &Answer, declared: bool) -> Value {
    let data = if let Answer::Done(bytes) = answer { &bytes[..bytes.len().min(KEPT)] } else { &[] };
    let data = data.iter().fold(String::new(), |mut out, byte| {
        use std::fmt::Write as _;
        let _ = write!(out, "{byte:02x}");
        out
    });
    json!({
        "type": setup.kind,
        "request": setup.request,
        "value": setup.value,
        "index": setup.index,
        "answer": answer.to_string(),
        "data": data,
        "declared": declared,
    })
}
