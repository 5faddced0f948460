//! Lines of GPIO chips, as the kernel's character devices `/dev/gpiochip*` offer them: what `gpio-supply` and `gpio-button` share.
//!
//! A chip is named by what it is: the label that its kernel driver gives it, or the USB device that it is on. The number in `/dev/gpiochip3`
//! changes with the order of plugging.
//!
//! Opening does not change a line: it is requested as it is, and becomes an output only when it is first switched, at the level that is asked
//! for. While this process lives the kernel keeps the level. What happens when it dies is up to the chip (`Documentation/userspace-api/gpio`
//! promises nothing; most chips keep the level): therefore the safe state is driven again by whoever opens the line next.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use gpiocdev::{
    Chip,
    line::{Direction, Value},
    request::{Config, Request},
};
use tokio::time::{Instant, sleep, timeout};

use super::{
    parameters::{flag, required, value},
    serial::ports::Wanted,
    sysfs::{UsbDevice, usb_above},
};
use crate::channel::link::{LinkError, Parameters};

/// Time for the kernel to do what it is asked: a USB chip that hangs is given up by its driver after 5 s.
const ANSWER: Duration = Duration::from_secs(8);
/// Who the kernel says has the line.
const CONSUMER: &str = "hilbench";

/// Parameters of a line, for the tables of drivers.
pub(super) const CHIP: (&str, bool, &str) =
    ("chip", false, "label of the GPIO chip, such as ftdi-cbus; or its name or path, if it never changes on this machine");
pub(super) const USB: (&str, bool, &str) = ("usb", false, "vendor and product of the USB device that has the chip");
pub(super) const SERIAL_NUMBER: (&str, bool, &str) = ("serial-number", false, "USB serial number of that device");
pub(super) const LOCATION: (&str, bool, &str) = ("location", false, "its place in the tree of hubs, such as 1-1.2");

/// Which chip.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct WantedChip {
    label: Option<String>,
    usb: Option<(u16, u16)>,
    serial_number: Option<String>,
    location: Option<String>,
}

/// A chip that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
struct FoundChip {
    path: PathBuf,
    label: String,
    usb: Option<UsbDevice>,
}

impl fmt::Display for FoundChip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(usb) = &self.usb else { return write!(f, "{} ({})", self.path.display(), self.label) };
        write!(f, "{} on usb {:04x}:{:04x} ", self.label, usb.vendor, usb.product)?;
        match &usb.serial_number {
            Some(number) => write!(f, "serial number {number}"),
            None => write!(f, "at {}", usb.location),
        }
    }
}

impl WantedChip {
    fn fits(&self, chip: &FoundChip) -> bool {
        let named = |wanted: &String| {
            chip.label == *wanted
                || chip.path == Path::new(wanted)
                || chip.path.file_name().is_some_and(|name| name == wanted.as_str())
                || std::fs::canonicalize(wanted).is_ok_and(|path| path == chip.path)
        };
        let usb = chip.usb.as_ref();
        self.label.as_ref().is_none_or(named)
            && self.usb.is_none_or(|wanted| usb.is_some_and(|usb| (usb.vendor, usb.product) == wanted))
            && self.serial_number.as_ref().is_none_or(|wanted| usb.is_some_and(|usb| usb.serial_number.as_ref() == Some(wanted)))
            && self.location.as_ref().is_none_or(|wanted| usb.is_some_and(|usb| usb.location == *wanted))
    }

    fn choose(&self, chips: Vec<FoundChip>) -> Result<FoundChip, String> {
        let there = chips.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let mut fitting: Vec<FoundChip> = chips.into_iter().filter(|chip| self.fits(chip)).collect();
        match (fitting.len(), fitting.pop()) {
            (1, Some(one)) => Ok(one),
            (0, _) if there.is_empty() => Err(
                "this user sees no GPIO chip; is it plugged in, and may this user open /dev/gpiochip* (group gpio, or a udev rule)?"
                    .to_owned(),
            ),
            (0, _) => Err(format!("no GPIO chip is what the rig says; there is: {there}")),
            (count, _) => Err(format!("{count} GPIO chips are that; add `serial-number` or `location`; there is: {there}")),
        }
    }
}

/// The chips that this user may open.
fn chips() -> Vec<FoundChip> {
    let found = |path: PathBuf| {
        let info = Chip::from_path(&path).and_then(|chip| chip.info()).ok()?;
        let name = path.file_name()?;
        let usb = usb_above(&Path::new("/sys/bus/gpio/devices").join(name));
        Some(FoundChip { path, label: info.label, usb })
    };
    gpiocdev::chip::chips().unwrap_or_default().into_iter().filter_map(found).collect()
}

/// How a line is called in the rig.
#[derive(Debug, Clone, PartialEq, Eq)]
enum WantedLine {
    Number(u32),
    Name(String),
}

impl WantedLine {
    fn from(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Number)
    }

    fn find(&self, chip: &FoundChip) -> Result<u32, String> {
        let opened = Chip::from_path(&chip.path).map_err(|error| error.to_string())?;
        let lines = opened.info().map_err(|error| error.to_string())?.num_lines;
        match self {
            Self::Number(number) if *number < lines => Ok(*number),
            Self::Number(number) => Err(format!("{chip} has no line {number}; its lines are 0 to {}", lines.saturating_sub(1))),
            Self::Name(name) => {
                let named = opened.line_info_iter().map_err(|error| error.to_string())?.filter_map(Result::ok);
                let fitting: Vec<u32> = named.filter(|line| line.name == *name).map(|line| line.offset).collect();
                match fitting.as_slice() {
                    [one] => Ok(*one),
                    [] => Err(format!("{chip} has no line called `{name}`; `gpioinfo` lists them, and a number can be used too")),
                    _ => Err(format!("{chip} has {} lines called `{name}`; use a number", fitting.len())),
                }
            }
        }
    }
}

/// What the parameters say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanting {
    chip: WantedChip,
    line: WantedLine,
    active_low: bool,
    /// The line's own level is proof: the chip measures its pin.
    pub(super) reads_back: bool,
    sense: Option<(WantedLine, bool)>,
}

impl Wanting {
    pub(super) fn from(parameters: &Parameters, driver: &str) -> Result<Self, LinkError> {
        let refused = |what: String| LinkError::new(format!("open {driver}"), what);
        let usb = match value(parameters, "usb") {
            None => None,
            Some(text) => Some(Wanted::parse_usb(text).ok_or_else(|| {
                refused(format!(
                    "`usb: {text}` is not vendor and product; write them as four hexadecimal digits each, '0403:6001'"
                ))
            })?),
        };
        let text = |name| value(parameters, name).map(str::to_owned);
        let chip = WantedChip { label: text("chip"), usb, serial_number: text("serial-number"), location: text("location") };
        if chip == WantedChip::default() {
            return Err(refused(
                "the rig does not say which chip; give its label as `chip`, or `usb`, `serial-number`".to_owned(),
            ));
        }
        let line = WantedLine::from(required(parameters, "line", driver)?);
        let sense = value(parameters, "read-back-line").map(WantedLine::from);
        let sense_low = flag(parameters, "read-back-active-low", driver)?;
        if sense.as_ref() == Some(&line) {
            return Err(refused(
                "`read-back-line` is the line that is switched; it has to be another one, wired to the rail".to_owned(),
            ));
        }
        if sense.is_none() && sense_low {
            return Err(refused("`read-back-active-low` is about a `read-back-line`, and there is none".to_owned()));
        }
        let active_low = flag(parameters, "active-low", driver)?;
        let reads_back = flag(parameters, "read-back", driver)?;
        Ok(Self { chip, line, active_low, reads_back, sense: sense.map(|line| (line, sense_low)) })
    }

    fn found(&self) -> Result<(FoundChip, u32), String> {
        let chip = self.chip.choose(chips())?;
        let line = self.line.find(&chip)?;
        Ok((chip, line))
    }

    /// The lease is on the line: other lines of the chip may belong to other rigs.
    pub(super) fn identity(&self) -> Result<String, LinkError> {
        let (chip, line) = self.found().map_err(|what| LinkError::new("find a GPIO line", what))?;
        Ok(format!("line {line} of {chip}"))
    }

    /// Takes the lines as they are.
    pub(super) async fn open(self) -> Result<Line, LinkError> {
        let opened = tokio::task::spawn_blocking(move || self.take());
        match timeout(ANSWER, opened).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => Err(LinkError::new("open a GPIO line", error.to_string())),
            Err(_) => Err(LinkError::new("open a GPIO line", format!("the chip does not answer within {ANSWER:?}"))),
        }
    }

    fn take(self) -> Result<Line, LinkError> {
        let (chip, line) = self.found().map_err(|what| LinkError::new("find a GPIO line", what))?;
        let identity = format!("line {line} of {chip}");
        let failed = |what: &dyn fmt::Display| LinkError::new(format!("open {identity}"), what.to_string());
        let info = Chip::from_path(&chip.path).and_then(|chip| chip.line_info(line)).map_err(|error| failed(&error))?;
        if info.used {
            let what = format!("`{}` has it; end that program, or unbind that kernel driver", info.consumer);
            return Err(failed(&what));
        }
        let mut config = Config::default();
        config.on_chip(&chip.path).with_line(line).as_is();
        if self.active_low {
            config.as_active_low();
        }
        let output = Request::from_config(config).with_consumer(CONSUMER).request().map_err(|error| failed(&error))?;
        let sense = match &self.sense {
            None => None,
            Some((wanted, low)) => {
                let sense = wanted.find(&chip).map_err(|what| failed(&what))?;
                let mut config = Config::default();
                config.on_chip(&chip.path).with_line(sense).as_input();
                if *low {
                    config.as_active_low();
                }
                let request = Request::from_config(config).with_consumer(CONSUMER).request();
                Some((request.map_err(|error| failed(&format!("`read-back-line` {sense}: {error}")))?, sense))
            }
        };
        let driven = info.direction == Direction::Output;
        Ok(Line {
            lines: Arc::new(Lines { output, line, active_low: self.active_low, sense }),
            driven,
            reads_back: self.reads_back,
            identity,
        })
    }
}

/// The requested lines. The kernel gives them to nobody else while this lives.
struct Lines {
    output: Request,
    line: u32,
    active_low: bool,
    sense: Option<(Request, u32)>,
}

impl Lines {
    /// Drives the line and reads it back: a USB chip that was pulled just now takes the write without an error.
    fn drive(&self, on: bool) -> gpiocdev::Result<bool> {
        let mut config = Config::default();
        config.with_line(self.line).as_output(if on { Value::Active } else { Value::Inactive });
        if self.active_low {
            config.as_active_low();
        }
        // Direction and level in one: an input that becomes an output is at the level that is asked for from the first moment on.
        self.output.reconfigure(&config)?;
        self.level()
    }

    fn level(&self) -> gpiocdev::Result<bool> {
        self.output.value(self.line).map(|value| value == Value::Active)
    }

    fn sensed(&self) -> gpiocdev::Result<Option<bool>> {
        let Some((request, line)) = &self.sense else { return Ok(None) };
        request.value(*line).map(|value| Some(value == Value::Active))
    }
}

/// A line that switches something, and perhaps another one that senses whether it did.
pub(super) struct Line {
    lines: Arc<Lines>,
    driven: bool,
    reads_back: bool,
    pub(super) identity: String,
}

/// What a line that was switched says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// The line that senses the rail.
    Sensed(bool),
    /// The pin itself, on a chip that measures it.
    Pin(bool),
    /// Nothing that would prove it.
    Nothing,
}

impl Line {
    /// Something on a thread that may wait for the chip.
    async fn ask<T: Send + 'static>(
        &self,
        operation: &str,
        ask: impl FnOnce(&Lines) -> gpiocdev::Result<T> + Send + 'static,
    ) -> Result<T, LinkError> {
        let failed = |what: String| LinkError::new(format!("{operation} {}", self.identity), what);
        let lines = Arc::clone(&self.lines);
        match timeout(ANSWER, tokio::task::spawn_blocking(move || ask(&lines))).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            // Requested lines of a chip that is there do not fail.
            Ok(Ok(Err(error))) => {
                let what = format!("{error}; is the chip still plugged in?");
                Err(LinkError { lost: true, ..failed(what) })
            }
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed(format!("the chip does not answer within {ANSWER:?}"))),
        }
    }

    /// Switches, and looks until the sense line agrees, at most for `settle`.
    pub(super) async fn switch(&mut self, on: bool, settle: Duration) -> Result<Shown, LinkError> {
        let level = self.ask("switch", move |lines| lines.drive(on)).await?;
        self.driven = true;
        if level != on {
            let what = "the pin does not follow; something else holds it, or the chip is going";
            return Err(LinkError::new(format!("switch {}", self.identity), what));
        }
        if self.lines.sense.is_none() {
            return Ok(if self.reads_back { Shown::Pin(level) } else { Shown::Nothing });
        }
        let until = Instant::now() + settle;
        loop {
            match self.ask("read back", Lines::sensed).await? {
                Some(found) if found == on || Instant::now() >= until => return Ok(Shown::Sensed(found)),
                Some(_) => sleep(Duration::from_millis(5)).await,
                None => return Ok(Shown::Nothing),
            }
        }
    }

    /// What it is at now; `None` if nothing would prove that.
    pub(super) async fn is_on(&mut self) -> Result<Option<bool>, LinkError> {
        if self.lines.sense.is_some() {
            return self.ask("read back", Lines::sensed).await;
        }
        // A line that nobody drives is at whatever level its surroundings give it.
        if !self.reads_back || !self.driven {
            return Ok(None);
        }
        self.ask("read back", Lines::level).await.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(values: &[(&str, &str)]) -> Parameters {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Parameters { values, base: PathBuf::new() }
    }

    fn chip(number: u32, label: &str, serial: Option<&str>) -> FoundChip {
        let usb = serial.map(|serial| UsbDevice {
            location: format!("1-{number}"),
            vendor: 0x0403,
            product: 0x6001,
            class: 0,
            serial_number: Some(serial.to_owned()),
            manufacturer: None,
            product_name: None,
            address: None,
        });
        FoundChip { path: PathBuf::from(format!("/dev/gpiochip{number}")), label: label.to_owned(), usb }
    }

    #[test]
    fn a_chip_is_chosen_only_if_there_is_no_doubt() {
        let chips = || vec![chip(0, "pinctrl", None), chip(1, "ftdi-cbus", Some("A")), chip(2, "ftdi-cbus", Some("B"))];
        let chosen = |values: &[(&str, &str)]| {
            let values = [values, &[("line", "0")]].concat();
            Wanting::from(&parameters(&values), "gpio-supply").unwrap().chip.choose(chips()).map(|chip| chip.path)
        };
        assert_eq!(chosen(&[("chip", "pinctrl")]).unwrap(), Path::new("/dev/gpiochip0"));
        assert_eq!(chosen(&[("chip", "ftdi-cbus"), ("serial-number", "B")]).unwrap(), Path::new("/dev/gpiochip2"));
        assert_eq!(chosen(&[("usb", "0403:6001"), ("location", "1-1")]).unwrap(), Path::new("/dev/gpiochip1"));
        assert_eq!(chosen(&[("chip", "/dev/gpiochip2")]).unwrap(), Path::new("/dev/gpiochip2"));
        assert_eq!(chosen(&[("chip", "gpiochip1")]).unwrap(), Path::new("/dev/gpiochip1"));
        assert!(chosen(&[("chip", "ftdi-cbus")]).unwrap_err().contains("2 GPIO chips are that"));
        assert!(chosen(&[("chip", "pinctrl"), ("serial-number", "A")]).unwrap_err().contains("serial number B"));
    }

    #[test]
    fn parameters_that_cannot_be_right_are_refused() {
        let what = |values: &[(&str, &str)]| Wanting::from(&parameters(values), "gpio-supply").unwrap_err().what;
        assert!(what(&[("line", "1")]).contains("which chip"));
        assert!(what(&[("chip", "c")]).contains("`line` is missing"));
        assert!(what(&[("chip", "c"), ("line", "1"), ("usb", "zz")]).contains("four hexadecimal digits"));
        assert!(what(&[("chip", "c"), ("line", "1"), ("active-low", "maybe")]).contains("neither true nor false"));
        assert!(what(&[("chip", "c"), ("line", "1"), ("read-back-line", "1")]).contains("has to be another one"));
        assert!(what(&[("chip", "c"), ("line", "1"), ("read-back-active-low", "true")]).contains("there is none"));
    }
}
