//! Driver `gpio-supply`: a line of a GPIO chip that drives a relay or a load switch.

use std::time::Duration;

use super::{read_back, word};
use crate::{
    channel::{
        clock::BoxFuture,
        finding::{Finding, Severity, look_at},
        link::{ChannelKind, Driver, LinkError, Opened, Parameters, Proof, SupplyLink},
    },
    driver::{
        gpio::{CHIP, LOCATION, Line, SERIAL_NUMBER, Shown, USB, Wanting},
        parameters::duration,
    },
};

const NAME: &str = "gpio-supply";
/// Time for the rail to follow, if the rig does not say: a relay's contacts need 10 ms, a discharging capacitor longer.
const SETTLE: Duration = Duration::from_secs(1);
/// Time for a relay's contacts to settle where nothing senses them.
const CONTACTS: Duration = Duration::from_millis(50);

/// Driver `gpio-supply`.
#[derive(Debug, Clone, Copy, Default)]
pub struct GpioSupply;

struct Supply {
    line: Line,
    settle: Duration,
}

impl SupplyLink for Supply {
    fn set(&mut self, up: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(async move {
            let shown = self.line.switch(up, self.settle).await?;
            let identity = &self.line.identity;
            match shown {
                Shown::Sensed(found) => read_back(&format!("the line that senses the rail of {identity}"), up, found),
                Shown::Pin(found) => {
                    tokio::time::sleep(CONTACTS).await;
                    read_back(identity, up, found)
                }
                Shown::Nothing => {
                    tokio::time::sleep(CONTACTS).await;
                    Ok(Proof::None(format!("a `read-back-line` that senses the rail of {identity} {}", word(up))))
                }
            }
        })
    }

    fn is_up(&mut self) -> BoxFuture<'_, Result<Option<bool>, LinkError>> {
        Box::pin(self.line.is_on())
    }
}

impl Driver for GpioSupply {
    fn name(&self) -> &'static str {
        NAME
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Supply
    }

    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)] {
        &[
            CHIP,
            USB,
            SERIAL_NUMBER,
            LOCATION,
            ("line", true, "the line, by number or by name"),
            ("active-low", false, "true if a low level switches on"),
            ("read-back-line", false, "another line of the chip, wired to the switched rail, that senses it"),
            ("read-back-active-low", false, "true if that line is low while the rail is up"),
            ("read-back", false, "true if the line's own level is proof enough, because the chip measures its pin"),
            ("settle", false, "time for the rail to follow; 1s if not given"),
        ]
    }

    fn check(&self, parameters: &Parameters) -> Result<(), LinkError> {
        Wanting::from(parameters, NAME)?;
        duration(parameters, "settle", Duration::from_secs(30), NAME).map(drop)
    }

    fn identity(&self, parameters: &Parameters) -> Result<String, LinkError> {
        Wanting::from(parameters, NAME)?.identity()
    }

    fn needs_whole_instrument(&self) -> bool {
        // The instrument is the line.
        true
    }

    fn examine<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Vec<Finding>> {
        Box::pin(async move {
            let wanting = match Wanting::from(parameters, NAME) {
                Ok(wanting) => wanting,
                Err(error) => return vec![error.into()],
            };
            let mut found = look_at(self.open(parameters).await).await;
            // A line that nobody has driven yet has no level of its own to read back, and examining must not drive it.
            if wanting.reads_back && found.iter().any(|finding| finding.severity == Severity::Warning) {
                found = vec![Finding::fine("opens; its level is read back whenever it is switched")];
            }
            found
        })
    }

    fn open<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>> {
        Box::pin(async move {
            let settle = duration(parameters, "settle", Duration::from_secs(30), NAME)?.unwrap_or(SETTLE);
            let line = Wanting::from(parameters, NAME)?.open().await?;
            Ok(Opened::Supply(Box::new(Supply { line, settle })))
        })
    }
}
