//! Driver `scpi-supply`: laboratory supplies that understand SCPI (SCPI-1999, IEEE 488.2), over a serial port, a raw socket or USBTMC.
//!
//! The words differ a little between makers, so each can be replaced in the rig; the defaults are those of SCPI-1999 volume 2 (`OUTPut`,
//! `MEASure`, `SOURce`, `SYSTem:ERRor?`). What counts as proof is what the instrument measures at its output, not what it was told.

mod transport;

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Mutex,
    time::{Instant, sleep},
};

use super::{read_back, word};
use crate::{
    channel::{
        clock::BoxFuture,
        link::{ChannelKind, Driver, LinkError, Measurand, Opened, Parameters, Proof, SupplyLink},
    },
    driver::{
        parameters::{duration, parsed, value},
        shared::Pool,
    },
    event::Witness,
    units::{Current, Quantity, Voltage},
};
use transport::{Place, Transport};

const NAME: &str = "scpi-supply";
/// Time for the rail to follow, if the rig does not say.
const SETTLE: Duration = Duration::from_secs(2);
/// Pause between two looks at the rail.
const LOOK: Duration = Duration::from_millis(50);
/// Below this a rail counts as down, in V.
const DOWN: f64 = 0.5;
/// How far an output may be from what it was set to.
const TOLERANCE: f64 = 0.1;
/// Entries of the error queue that are read.
const ERRORS: usize = 20;
/// SCPI's words for infinity and for "not a number" are 9.9E37 and 9.91E37.
const NO_NUMBER: f64 = 9.0e36;

static INSTRUMENTS: Pool<Transport> = Pool::new();

/// Driver `scpi-supply`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScpiSupply;

/// The instrument's words. `{channel}` and `{value}` are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Words {
    identify: String,
    select: Option<String>,
    on: String,
    off: String,
    state: Option<String>,
    voltage: Option<String>,
    current: Option<String>,
    set_voltage: String,
    set_current: String,
    errors: Option<String>,
}

impl Words {
    fn from(parameters: &Parameters) -> Result<Self, LinkError> {
        let channel = value(parameters, "channel");
        let refused = |what: String| LinkError::new(format!("open {NAME}"), what);
        if channel.is_some_and(|channel| !channel.bytes().all(|byte| byte.is_ascii_alphanumeric()) || channel.len() > 16) {
            return Err(refused("`channel` is the number or the name of an output, in letters and digits".to_owned()));
        }
        let text = |name: &str, default: &str| {
            let words = value(parameters, name).unwrap_or(default).replace("{channel}", channel.unwrap_or_default());
            if words.chars().any(char::is_control) || !words.is_ascii() || words.len() > 200 {
                return Err(refused(format!("`{name}` is one line of ASCII")));
            }
            Ok(words)
        };
        let optional = |name: &str, default: &str| text(name, default).map(|words| Some(words).filter(|words| words != "none"));
        let words = Self {
            identify: text("identify", "*IDN?")?,
            select: optional("select", if channel.is_some() { "INST:NSEL {channel}" } else { "none" })?,
            on: text("output-on", "OUTP ON")?,
            off: text("output-off", "OUTP OFF")?,
            state: optional("output-query", "OUTP?")?,
            voltage: optional("measure-voltage", "MEAS:VOLT?")?,
            current: optional("measure-current", "MEAS:CURR?")?,
            set_voltage: text("set-voltage", "VOLT {value}")?,
            set_current: text("set-current", "CURR {value}")?,
            errors: optional("error-query", "SYST:ERR?")?,
        };
        if words.state.is_none() && words.voltage.is_none() {
            return Err(refused(
                "with neither `output-query` nor `measure-voltage` nothing tells what the output is at".to_owned(),
            ));
        }
        Ok(words)
    }
}

/// What the parameters say.
struct Settings {
    words: Words,
    volts: Option<f64>,
    milliamps: Option<f64>,
    idn: Option<String>,
    settle: Duration,
}

impl Settings {
    fn from(parameters: &Parameters) -> Result<Self, LinkError> {
        let volts = parsed::<Voltage>(parameters, "voltage", "a voltage such as 5V", NAME)?;
        let current = parsed::<Current>(parameters, "current-limit", "a current such as 500mA", NAME)?;
        let volts = volts.map(|volts| Quantity::from(volts).value());
        if volts.is_some_and(|volts| volts <= DOWN) {
            return Err(LinkError::new(
                format!("open {NAME}"),
                format!("`voltage` is above {DOWN} V: below that an output counts as down"),
            ));
        }
        Ok(Self {
            words: Words::from(parameters)?,
            volts,
            milliamps: current.map(|current| Quantity::from(current).value()),
            idn: value(parameters, "idn").map(str::to_owned),
            settle: duration(parameters, "settle", Duration::from_mins(1), NAME)?.unwrap_or(SETTLE),
        })
    }
}

struct Supply {
    instrument: Arc<Mutex<Transport>>,
    settings: Settings,
    identity: String,
}

/// A number as SCPI writes it, perhaps followed by its unit.
fn number(answer: &str) -> Option<f64> {
    let answer = answer.trim();
    let end = answer.find(|c: char| !(c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E'))).unwrap_or(answer.len());
    let (number, unit) = answer.split_at(end);
    let known = unit.trim().is_empty() || matches!(unit.trim(), "V" | "A");
    number.parse::<f64>().ok().filter(|number| known && number.is_finite() && number.abs() < NO_NUMBER)
}

fn state(answer: &str) -> Option<bool> {
    match answer.trim().to_ascii_uppercase().as_str() {
        "1" | "ON" => Some(true),
        "0" | "OFF" => Some(false),
        _ => None,
    }
}

impl Supply {
    fn failed(&self, operation: &str, what: impl Into<String>) -> LinkError {
        LinkError::new(format!("{operation} {}", self.identity), what)
    }

    async fn query<T>(
        &self,
        line: &mut Transport,
        question: &str,
        understood: impl Fn(&str) -> Option<T>,
    ) -> Result<T, LinkError> {
        let answer = line.query(question).await.map_err(|error| self.told(error))?;
        understood(&answer).ok_or_else(|| self.failed("understand", format!("to `{question}` it answers `{answer}`")))
    }

    async fn command(&self, line: &mut Transport, command: &str) -> Result<(), LinkError> {
        line.command(command).await.map_err(|error| self.told(error))
    }

    fn told(&self, error: transport::Failure) -> LinkError {
        LinkError { lost: error.lost, ..self.failed("talk to", error.what) }
    }

    /// The oldest entries of the error queue.
    async fn errors(&self, line: &mut Transport) -> Result<Vec<String>, LinkError> {
        let mut found = Vec::new();
        let Some(question) = &self.settings.words.errors else { return Ok(found) };
        while found.len() < ERRORS {
            // `0,"No error"` or `+0,"No error"`.
            let entry = self.query(line, question, |answer| {
                let (code, _) = answer.split_once(',').unwrap_or((answer, ""));
                code.trim().parse::<i32>().ok().map(|code| (code, answer.to_owned()))
            });
            match entry.await? {
                (0, _) => break,
                (_, text) => found.push(text),
            }
        }
        Ok(found)
    }

    async fn switch(&self, up: bool) -> Result<Proof, LinkError> {
        let line = &mut *self.instrument.lock().await;
        let words = &self.settings.words;
        // What somebody else did before is not held against this act.
        self.errors(line).await?;
        self.select(line).await?;
        if up {
            if let Some(volts) = self.settings.volts {
                self.command(line, &words.set_voltage.replace("{value}", &format!("{volts}"))).await?;
            }
            if let Some(milliamps) = self.settings.milliamps {
                self.command(line, &words.set_current.replace("{value}", &format!("{}", milliamps / 1000.0))).await?;
            }
        }
        self.command(line, if up { &words.on } else { &words.off }).await?;
        let errors = self.errors(line).await?;
        if !errors.is_empty() {
            let operation = format!("switch {}", word(up));
            return Err(
                self.failed(&operation, format!("it says {}; do its words differ? see docs/instruments.md", errors.join("; ")))
            );
        }
        let told = match &words.state {
            None => None,
            Some(question) => Some(read_back(&self.identity, up, self.query(line, question, state).await?)?),
        };
        let Some(question) = &words.voltage else {
            return Ok(told.unwrap_or_else(|| Proof::None(format!("a measured output of {}", self.identity))));
        };
        let begun = Instant::now();
        loop {
            let volts = self.query(line, question, number).await?;
            if self.rail_is(up, volts) {
                let what =
                    format!("{} measures {volts:.3} V, {} ms after the command", self.identity, begun.elapsed().as_millis());
                return Ok(Proof::Seen(Witness { what, evidence: None }));
            }
            if begun.elapsed() >= self.settings.settle {
                let why = match (up, self.settings.volts) {
                    (false, _) => "is something else feeding it, or does a capacitor need a longer `settle`?".to_owned(),
                    (true, Some(wanted)) => {
                        format!("it was set to {wanted} V; is the current limit reached, or a sense wire off?")
                    }
                    (true, None) => "is it set to a voltage?".to_owned(),
                };
                let operation = format!("switch {}", word(up));
                return Err(
                    self.failed(&operation, format!("the output is at {volts:.3} V after {:?}; {why}", self.settings.settle))
                );
            }
            sleep(LOOK).await;
        }
    }

    fn rail_is(&self, up: bool, volts: f64) -> bool {
        match (up, self.settings.volts) {
            (false, _) => volts.abs() < DOWN,
            (true, Some(wanted)) => (volts - wanted).abs() <= wanted * TOLERANCE,
            (true, None) => volts >= DOWN,
        }
    }

    async fn select(&self, line: &mut Transport) -> Result<(), LinkError> {
        match &self.settings.words.select {
            Some(select) => self.command(line, select).await,
            None => Ok(()),
        }
    }

    async fn at(&self) -> Result<Option<bool>, LinkError> {
        let line = &mut *self.instrument.lock().await;
        let words = &self.settings.words;
        self.select(line).await?;
        if let Some(question) = &words.voltage {
            let volts = self.query(line, question, number).await?;
            return Ok(Some(volts.abs() >= DOWN));
        }
        match &words.state {
            Some(question) => self.query(line, question, state).await.map(Some),
            None => Ok(None),
        }
    }

    async fn measured(&self, what: Measurand) -> Result<Option<f64>, LinkError> {
        let line = &mut *self.instrument.lock().await;
        let (question, scale) = match what {
            Measurand::Voltage => (&self.settings.words.voltage, 1.0),
            Measurand::Current => (&self.settings.words.current, 1000.0),
        };
        let Some(question) = question else { return Ok(None) };
        self.select(line).await?;
        Ok(Some(self.query(line, question, number).await? * scale))
    }
}

impl SupplyLink for Supply {
    fn set(&mut self, up: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(self.switch(up))
    }

    fn is_up(&mut self) -> BoxFuture<'_, Result<Option<bool>, LinkError>> {
        Box::pin(self.at())
    }

    fn measure(&mut self, what: Measurand) -> BoxFuture<'_, Result<Option<f64>, LinkError>> {
        Box::pin(self.measured(what))
    }
}

impl Driver for ScpiSupply {
    fn name(&self) -> &'static str {
        NAME
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Supply
    }

    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)] {
        &[
            ("tcp", false, "host and port of its raw socket, such as 192.0.2.7:5025"),
            ("usbtmc", false, "vendor, product and perhaps serial number, such as '1ab1:0e11:DP8C1', or a device file"),
            ("usb", false, "vendor and product of its serial port, such as '0403:6001'"),
            ("serial-number", false, "USB serial number of its serial port"),
            ("interface", false, "USB interface number of its serial port"),
            ("location", false, "place of its serial port in the tree of hubs, such as 1-1.2"),
            ("path", false, "device file of its serial port"),
            ("baud", false, "bits per second of its serial port; 9600 if not given"),
            ("idn", false, "text that its answer to *IDN? must contain, such as the serial number"),
            ("channel", false, "its output, if it has several"),
            ("voltage", false, "what it is set to before it is switched up, such as 5V; otherwise it is left as it is"),
            ("current-limit", false, "likewise, such as 500mA"),
            ("settle", false, "time for the output to follow; 2s if not given"),
            ("identify", false, "its words, if they differ: *IDN?"),
            ("select", false, "INST:NSEL {channel}, or none"),
            ("output-on", false, "OUTP ON"),
            ("output-off", false, "OUTP OFF"),
            ("output-query", false, "OUTP?, or none"),
            ("measure-voltage", false, "MEAS:VOLT?, or none"),
            ("measure-current", false, "MEAS:CURR?, or none"),
            ("set-voltage", false, "VOLT {value}"),
            ("set-current", false, "CURR {value}"),
            ("error-query", false, "SYST:ERR?, or none"),
        ]
    }

    fn check(&self, parameters: &Parameters) -> Result<(), LinkError> {
        Place::from(parameters)?;
        Settings::from(parameters).map(drop)
    }

    fn identity(&self, parameters: &Parameters) -> Result<String, LinkError> {
        Place::from(parameters)?.identity()
    }

    fn open<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>> {
        Box::pin(async move {
            let settings = Settings::from(parameters)?;
            let place = Place::from(parameters)?;
            let identity = place.identity()?;
            let instrument = INSTRUMENTS.get(&identity, place.open()).await?;
            supply(instrument, settings, &identity, value(parameters, "channel")).await
        })
    }
}

/// Makes sure that it is the instrument that the rig means. Asking changes nothing at its outputs.
async fn supply(
    instrument: Arc<Mutex<Transport>>,
    settings: Settings,
    identity: &str,
    channel: Option<&str>,
) -> Result<Opened, LinkError> {
    let identity = channel.map_or_else(|| identity.to_owned(), |channel| format!("output {channel} of {identity}"));
    let supply = Supply { instrument, settings, identity };
    let found = {
        let line = &mut *supply.instrument.lock().await;
        line.identify(&supply.settings.words.identify).await.map_err(|error| supply.told(error))?
    };
    if let Some(wanted) = &supply.settings.idn
        && !found.contains(wanted.as_str())
    {
        return Err(supply.failed("open", format!("it is `{found}`, not `{wanted}`; is that the right instrument?")));
    }
    Ok(Opened::Supply(Box::new(supply)))
}

#[cfg(test)]
mod tests;
