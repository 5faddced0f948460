//! Buttons and straps: contacts across the device's own, closed by what also switches supplies.
//!
//! Whatever can switch a supply can press a button: the contacts of a relay are in parallel with the button's. So the instruments' protocols are
//! written once, and a button's driver is a supply's driver under another name.

use crate::{
    channel::{
        clock::BoxFuture,
        finding::Finding,
        link::{ButtonLink, ChannelKind, Driver, LinkError, Opened, Parameters, Proof, SupplyLink},
    },
    driver::power::{command::CommandSupply, gpio::GpioSupply, hid::HidRelay, lcus::LcusRelay},
    event::Witness,
};

/// The drivers of buttons.
#[must_use]
pub fn drivers() -> Vec<Box<dyn Driver>> {
    let same = |name, driver: Box<dyn Driver>| -> Box<dyn Driver> {
        Box::new(AsButton { name, parameters: driver.parameters(), driver, renamed: &[] })
    };
    vec![
        same("gpio-button", Box::new(GpioSupply)),
        same("hid-button", Box::new(HidRelay)),
        same("lcus-button", Box::new(LcusRelay)),
        Box::new(AsButton {
            name: "command-button",
            driver: Box::new(CommandSupply),
            parameters: &[
                ("press", true, "command that presses the button"),
                ("release", true, "command that releases it"),
                ("status", false, "command that prints `on` or `off`; without it nothing proves a press"),
            ],
            renamed: &[("press", "up"), ("release", "down")],
        }),
    ]
}

/// A driver of supplies, used for a button.
struct AsButton {
    name: &'static str,
    driver: Box<dyn Driver>,
    parameters: &'static [(&'static str, bool, &'static str)],
    /// Parameters that the supply's driver calls otherwise: the button's name, the supply's.
    renamed: &'static [(&'static str, &'static str)],
}

impl AsButton {
    fn translated(&self, parameters: &Parameters) -> Parameters {
        let named = |(name, value): (&String, &String)| {
            let renamed = self.renamed.iter().find(|(own, _)| own == name);
            (renamed.map_or_else(|| name.clone(), |(_, supply)| (*supply).to_owned()), value.clone())
        };
        Parameters { values: parameters.values.iter().map(named).collect(), base: parameters.base.clone() }
    }

    /// An error in the words of the button.
    fn told(&self, error: LinkError) -> LinkError {
        let operation = error.operation.replace(self.driver.name(), self.name);
        let what = self
            .renamed
            .iter()
            .fold(error.what.clone(), |what, (own, supply)| what.replace(&format!("`{supply}`"), &format!("`{own}`")));
        LinkError { operation, what, ..error }
    }
}

impl Driver for AsButton {
    fn name(&self) -> &'static str {
        self.name
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Button
    }

    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)] {
        self.parameters
    }

    fn check(&self, parameters: &Parameters) -> Result<(), LinkError> {
        self.driver.check(&self.translated(parameters)).map_err(|error| self.told(error))
    }

    fn identity(&self, parameters: &Parameters) -> Result<String, LinkError> {
        self.driver.identity(&self.translated(parameters)).map_err(|error| self.told(error))
    }

    fn needs_whole_instrument(&self) -> bool {
        self.driver.needs_whole_instrument()
    }

    fn examine<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Vec<Finding>> {
        Box::pin(async move { self.driver.examine(&self.translated(parameters)).await })
    }

    fn open<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>> {
        Box::pin(async move {
            match self.driver.open(&self.translated(parameters)).await.map_err(|error| self.told(error))? {
                Opened::Supply(switch) => Ok(Opened::Button(Box::new(Contacts(switch)))),
                _ => Err(LinkError::new(format!("open {}", self.name), "its driver opened something that is no switch")),
            }
        })
    }
}

/// Contacts across a button.
struct Contacts(Box<dyn SupplyLink>);

impl ButtonLink for Contacts {
    fn set(&mut self, pressed: bool) -> BoxFuture<'_, Result<Proof, LinkError>> {
        Box::pin(async move {
            let word = if pressed { "pressed" } else { "released" };
            Ok(match self.0.set(pressed).await? {
                Proof::Seen(Witness { what, evidence }) => Proof::Seen(Witness { what: format!("{word}: {what}"), evidence }),
                Proof::None(missing) => Proof::None(missing),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn driver(name: &str) -> Box<dyn Driver> {
        drivers().into_iter().find(|driver| driver.name() == name).unwrap()
    }

    fn parameters(values: &[(&str, &str)], base: &std::path::Path) -> Parameters {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Parameters { values, base: base.to_owned() }
    }

    #[tokio::test]
    async fn a_command_presses_and_its_status_is_the_witness() {
        let dir = tempfile::tempdir().unwrap();
        for state in ["on", "off"] {
            std::fs::write(dir.path().join(state), state).unwrap();
        }
        let button = driver("command-button");
        assert_eq!(button.kind(), ChannelKind::Button);
        let told = button.check(&parameters(&[("press", "cp on state")], dir.path())).unwrap_err();
        assert_eq!((told.operation.as_str(), told.what.as_str()), ("open command-button", "the parameter `release` is missing"));
        let values = parameters(&[("press", "cp on state"), ("release", "cp off state"), ("status", "cat state")], dir.path());
        let Opened::Button(mut link) = button.open(&values).await.unwrap() else { panic!("no button") };
        let Proof::Seen(witness) = link.set(true).await.unwrap() else { panic!("no witness") };
        assert!(witness.what.starts_with("pressed: "), "{}", witness.what);
        assert!(matches!(link.set(false).await.unwrap(), Proof::Seen(_)));
        let stuck = parameters(&[("press", "true"), ("release", "true"), ("status", "cat on")], dir.path());
        let Opened::Button(mut link) = button.open(&stuck).await.unwrap() else { panic!("no button") };
        assert!(link.set(false).await.is_err());
    }

    #[test]
    fn a_relay_board_is_one_instrument_whatever_it_switches() {
        let values = parameters(&[("path", "/nonexistent/board"), ("channel", "2")], std::path::Path::new(""));
        assert_eq!(driver("lcus-button").identity(&values).unwrap(), LcusRelay.identity(&values).unwrap());
        let wrong = parameters(&[("path", "p"), ("channel", "9")], std::path::Path::new(""));
        assert_eq!(driver("lcus-button").check(&wrong).unwrap_err().operation, "open lcus-button");
    }
}
