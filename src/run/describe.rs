//! Steps in a few words, for the journal and the progress display.

use crate::{
    step::{Comparison, Outcome, SendData, Step, StepKind},
    units::Span,
};

/// One line for a step, in the plan's own words where it has some.
#[must_use]
pub fn step(step: &Step) -> String {
    match &step.kind {
        StepKind::Power { channel, up } => format!("{channel} {}", if *up { "up" } else { "down" }),
        StepKind::PowerCycle { channel, down_for } => format!("{channel} down for {} and up", Span::from(*down_for)),
        StepKind::Press { channel, hold } => format!("press {channel} for {}", Span::from(*hold)),
        StepKind::Send { channel, data } => match data {
            SendData::Line(text) | SendData::Text(text) => format!("send `{}` to {channel}", text.0),
            SendData::Bytes(bytes) => format!("send {} bytes to {channel}", bytes.len()),
        },
        StepKind::Expect { channel, pattern, within, .. } => {
            format!("expect `{}` on {channel} within {}", pattern.0, within)
        }
        StepKind::Refrain { channel, pattern, during, .. } => format!("no `{}` on {channel} for {}", pattern.0, during),
        StepKind::SendImage { channel, image, .. } => format!("send image {} to {channel}", image.0),
        StepKind::Flash { channel, images, erase_all } => {
            format!("{}flash {} through {channel}", if *erase_all { "erase everything and " } else { "" }, images.join(", "))
        }
        StepKind::Reset { channel } => format!("reset through {channel}"),
        StepKind::ReadMemory { channel, address, length, .. } => {
            format!("read {length} bytes at {address:#010x} through {channel}")
        }
        StepKind::Wait { time } => format!("wait {time}"),
        StepKind::Do { procedure, with, expect, .. } => {
            let with: Vec<_> = with.iter().map(|(name, value)| format!("{name} {}", value.0)).collect();
            let with = if with.is_empty() { String::new() } else { format!(" ({})", with.join(", ")) };
            format!("{procedure}{with}{}", if *expect == Outcome::Refused { ", to be refused" } else { "" })
        }
        StepKind::Check { value, must, .. } => match must {
            Comparison::Equals(other) => format!("check that `{}` is `{}`", value.0, other.0),
            Comparison::Differs(other) => format!("check that `{}` is not `{}`", value.0, other.0),
            Comparison::Matches(pattern) => format!("check that `{}` matches `{}`", value.0, pattern.0),
        },
        StepKind::Measure { name, at_most, .. } => format!("measure {name}, at most {at_most}"),
        StepKind::Retry { attempts, .. } => format!("up to {attempts} attempts"),
        StepKind::Line { channel, step } => step.describe(channel),
        StepKind::Probe { channel, step } => step.describe(channel),
        StepKind::Usb { channel, step } => step.describe(channel),
        StepKind::Ble { channel, step } => step.describe(channel),
        StepKind::Network { channel, step } => step.describe(channel),
        StepKind::Cloud { channel, step } => step.describe(channel),
        StepKind::Api { channel, step } => step.describe(channel),
        StepKind::Reconnect(step) => step.describe(),
        StepKind::Button { channel, pressed } => format!("{} {channel}", if *pressed { "press and hold" } else { "release" }),
        StepKind::MeasureSupply { channel, step } => step.describe(channel),
        StepKind::Prompt(step) => step.describe(),
        StepKind::PowerCutSearch { channel, .. } => format!("cut {channel} at every flash operation"),
    }
}
