//! What was measured, against its limits.

use std::collections::BTreeMap;

use super::super::{
    paper::{BAD, BOLD, DIM, GOOD, NAME, PLAIN, Paper},
    session::Session,
};
use crate::{
    event::Limit,
    view::{Measurement, quantity},
};

const SPARKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws it: for each value a line with a gauge, and below the values of the same name so far.
pub fn measured(session: &mut Session, paper: &mut Paper<'_>) {
    let mut inner = paper.framed("Measured", true);
    let view = session.tape.view();
    let mut series: BTreeMap<&str, Vec<(&str, &Measurement)>> = BTreeMap::new();
    for case in &view.cases {
        for step in &case.steps {
            for found in &step.measured {
                series.entry(&found.name).or_default().push((case.name(), found));
            }
        }
    }
    if series.is_empty() {
        inner.text(0, 0, "Nothing has been measured yet.", DIM);
        return;
    }
    let (width, height) = (inner.width(), inner.height());
    let per = 3;
    session.measured = session.measured.min(series.len().saturating_sub((height / per).max(1)));
    for (index, (name, values)) in series.iter().skip(session.measured).take(height / per + 1).enumerate() {
        let y = index * per;
        let Some((case, last)) = values.last() else { continue };
        let style = if last.within { GOOD } else { BAD };
        let x = inner.text(0, y, name, NAME);
        let x = inner.text(x, y, &format!("  {}", quantity(last.value, &last.unit)), BOLD);
        let x = inner.text(x, y, if last.within { "  within limits" } else { "  OUTSIDE LIMITS" }, style);
        let outside = values.iter().filter(|(_, value)| !value.within).count();
        let many = if values.len() > 1 { format!("  {} values, {outside} outside", values.len()) } else { String::new() };
        inner.text(x, y, &format!("{many}  {case}"), DIM);
        gauge(last, &mut inner.part(2, y + 1, width.saturating_sub(2).min(70), 1));
        if values.len() > 1 {
            spark(
                &values.iter().map(|(_, value)| value.value).collect::<Vec<_>>(),
                &mut inner.part(2, y + 2, width.saturating_sub(2), 1),
            );
        }
    }
}

/// `0 s ├───●────────┤ 10 s`: where the value is between its limits.
fn gauge(found: &Measurement, paper: &mut Paper<'_>) {
    let Some(Limit { at_least, at_most }) = found.limit else {
        paper.text(0, 0, "no limit", DIM);
        return;
    };
    let unit = &found.unit;
    let (low, high) = match (at_least, at_most) {
        (Some(low), Some(high)) => (low, high),
        (None, Some(high)) => (0.0_f64.min(found.value), high),
        (Some(low), None) => (low, (low * 2.0).max(found.value)),
        (None, None) => return,
    };
    let left = at_least.map_or_else(|| quantity(low, unit), |low| format!("at least {}", quantity(low, unit)));
    let right = at_most.map_or_else(String::new, |high| format!("at most {}", quantity(high, unit)));
    let room = paper.width().saturating_sub(left.chars().count() + right.chars().count() + 4);
    let x = paper.text(0, 0, &left, DIM) + 1;
    let span = high - low;
    let share = if span > 0.0 { ((found.value - low) / span).clamp(0.0, 1.0) } else { 1.0 };
    let at = (share * room.saturating_sub(1) as f64) as usize;
    let sign = if found.within {
        "●"
    } else if at_most.is_some_and(|high| found.value > high) {
        ">"
    } else {
        "<"
    };
    let end = paper.text(x, 0, &format!("├{}┤", "─".repeat(room)), DIM);
    paper.text(x + 1 + at, 0, sign, if found.within { GOOD } else { BAD });
    paper.text(end + 1, 0, &right, DIM);
}

/// The values so far, the last on the right.
fn spark(values: &[f64], paper: &mut Paper<'_>) {
    let shown = &values[values.len().saturating_sub(paper.width())..];
    let (low, high) = shown.iter().fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(*value), high.max(*value)));
    let sign = |value: &f64| {
        let share = if high > low { (value - low) / (high - low) } else { 0.5 };
        SPARKS[((share * 7.0).round() as usize).min(7)]
    };
    let text: String = shown.iter().map(sign).collect();
    paper.text(0, 0, &text, PLAIN);
}
