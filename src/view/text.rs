//! Numbers as people read them, the same in every display.

use std::time::Duration;

/// A duration for a table: `0.42 s`, `3 min 05 s`, `2 h 07 min`.
#[must_use]
pub fn seconds(span: Duration) -> String {
    let whole = span.as_secs();
    if whole >= 3600 {
        format!("{} h {:02} min", whole / 3600, whole % 3600 / 60)
    } else if whole >= 60 {
        format!("{} min {:02} s", whole / 60, whole % 60)
    } else {
        let hundredths = span.as_millis() / 10;
        format!("{}.{:02} s", hundredths / 100, hundredths % 100)
    }
}

/// A measured value with its unit and at most six significant digits: `8.25 s`, `120 mA`, `3`.
#[must_use]
pub fn quantity(value: f64, unit: &str) -> String {
    let mut number = if value != 0.0 && (value.abs() < 1e-4 || value.abs() >= 1e15) {
        format!("{value:.5e}")
    } else {
        let before = if value.abs() < 1.0 { 0 } else { value.abs().log10() as usize };
        let text = format!("{value:.*}", 5_usize.saturating_sub(before));
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    };
    if !unit.is_empty() && unit != "1" {
        number.push(' ');
        number.push_str(unit);
    }
    number
}

/// A share between 0 and 1 as a percentage that never rounds a bound down: `0 %`, `0.062 %`, `12.5 %`.
#[must_use]
pub fn share(share: f64) -> String {
    let percent = (share * 100.0).clamp(0.0, 100.0);
    if percent == 0.0 {
        return "0 %".to_owned();
    }
    let places = if percent >= 1.0 { 1 } else { (1.0 - percent.log10().floor()).min(9.0) as usize };
    let step = 10_f64.powi(places as i32);
    let up = (percent * step - 1e-9).ceil() / step;
    let text = format!("{up:.places$}");
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{quantity, seconds, share};

    #[test]
    fn durations_read_at_a_glance() {
        for (ms, text) in [
            (0, "0.00 s"),
            (9, "0.00 s"),
            (420, "0.42 s"),
            (59_999, "59.99 s"),
            (60_000, "1 min 00 s"),
            (7_620_000, "2 h 07 min"),
        ] {
            assert_eq!(seconds(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn values_keep_what_matters() {
        for (value, unit, text) in [
            (8.25, "s", "8.25 s"),
            (120.0, "mA", "120 mA"),
            (3.0, "1", "3"),
            (0.0, "V", "0 V"),
            (0.000_01, "s", "1.00000e-5 s"),
            (123_456.7, "B", "123457 B"),
            (100.0, "1", "100"),
        ] {
            assert_eq!(quantity(value, unit), text);
        }
    }

    #[test]
    fn bounds_are_never_rounded_down() {
        for (value, text) in [
            (0.0, "0 %"),
            (0.000_622_7, "0.063 %"),
            (0.125, "12.5 %"),
            (1.0, "100 %"),
            (0.012_34, "1.3 %"),
            (0.000_62, "0.062 %"),
        ] {
            assert_eq!(share(value), text);
        }
    }
}
