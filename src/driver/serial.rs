//! Serial ports, by path.

use std::path::{Path, PathBuf};

use tokio_serial::{ErrorKind, SerialPortBuilderExt, SerialStream};

use crate::channel::{
    clock::BoxFuture,
    link::{ChannelKind, Driver, LinkError, Opened, Parameters},
};

/// Baud rate when the rig names none.
pub const DEFAULT_BAUD: u32 = 115_200;

/// Driver `serial`: 8 data bits, no parity, one stop bit, no flow control, opened for this process alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Serial;

/// What the parameters say.
struct Port {
    path: PathBuf,
    baud: u32,
}

impl Port {
    fn from(parameters: &Parameters) -> Result<Self, LinkError> {
        let refuse = |what: String| LinkError::new("open a serial port", what);
        let path = parameters.values.get("path").filter(|path| !path.is_empty());
        let path = path.ok_or_else(|| refuse("the rig names no `path`, such as /dev/ttyACM0".to_owned()))?;
        let baud = match parameters.values.get("baud") {
            None => DEFAULT_BAUD,
            Some(text) => text.parse().ok().filter(|baud| *baud > 0).ok_or_else(|| {
                refuse(format!("`{text}` is not a baud rate; write a whole number above 0, such as {DEFAULT_BAUD}"))
            })?,
        };
        Ok(Self { path: parameters.base.join(path), baud })
    }

    fn open(&self) -> Result<SerialStream, LinkError> {
        let shown = self.path.display();
        let failed = |error: &tokio_serial::Error| {
            let next = match error.kind() {
                ErrorKind::NoDevice => "; is it in use by another program, or unplugged?",
                ErrorKind::Io(std::io::ErrorKind::NotFound) => "; is it plugged in?",
                ErrorKind::Io(std::io::ErrorKind::PermissionDenied) => "; may this user open it (group dialout)?",
                ErrorKind::Io(std::io::ErrorKind::ResourceBusy | std::io::ErrorKind::WouldBlock) => {
                    "; another program has it open"
                }
                _ => "",
            };
            LinkError::new(format!("open serial port {shown}"), format!("{error}{next}"))
        };
        // tokio-serial takes the path as text; one that is not text would be another file.
        let Some(path) = self.path.to_str() else {
            return Err(LinkError::new(format!("open serial port {shown}"), "the path is not UTF-8"));
        };
        // Exclusive is TIOCEXCL and a lock on the file: neither another program nor a second channel of this one gets the port.
        tokio_serial::new(path, self.baud).exclusive(true).open_native_async().map_err(|error| failed(&error))
    }
}

impl Driver for Serial {
    fn name(&self) -> &'static str {
        "serial"
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Console
    }

    fn parameters(&self) -> &'static [(&'static str, bool, &'static str)] {
        &[
            ("path", true, "device file, such as /dev/ttyACM0 or a name under /dev/serial/by-id"),
            ("baud", false, "bits per second, 115200 if not given"),
        ]
    }

    fn identity(&self, parameters: &Parameters) -> Result<String, LinkError> {
        let port = Port::from(parameters)?;
        // Names under /dev/serial are links; the lease is on the port they lead to. A port that is not there keeps its name.
        let path = std::fs::canonicalize(&port.path).unwrap_or(port.path);
        Ok(format!("serial {}", Path::display(&path)))
    }

    fn open<'a>(&'a self, parameters: &'a Parameters) -> BoxFuture<'a, Result<Opened, LinkError>> {
        Box::pin(async move { Ok(Opened::Console(Box::new(Port::from(parameters)?.open()?))) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(values: &[(&str, &str)]) -> Parameters {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Parameters { values, base: PathBuf::from("/rigs") }
    }

    #[test]
    fn parameters_are_checked_before_anything_is_opened() {
        let what = |values: &[(&str, &str)]| Serial.identity(&parameters(values)).unwrap_err().what;
        assert!(what(&[]).contains("path"));
        for baud in ["0", "-1", "fast", "", "1e6", "99999999999"] {
            assert!(what(&[("path", "p"), ("baud", baud)]).contains("not a baud rate"), "{baud}");
        }
        let identity = Serial.identity(&parameters(&[("path", "port"), ("baud", "9600")])).unwrap();
        assert_eq!(identity, "serial /rigs/port");
    }

    #[tokio::test]
    async fn a_port_that_is_not_there_is_said_to_be() {
        let parameters = parameters(&[("path", "/nonexistent/port")]);
        let Err(error) = Serial.open(&parameters).await else { panic!("opened") };
        assert_eq!(error.operation, "open serial port /nonexistent/port");
        assert!(error.what.contains('?'), "{}", error.what);
    }
}
