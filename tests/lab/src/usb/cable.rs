//! A device with its cable.

use std::{net::Shutdown, os::unix::net::UnixStream, time::Duration};

use super::{
    UsbError,
    engine::{Engine, Event},
    fault::Fault,
    model::Model,
    sysfs,
    vhci::Port,
};

/// How long a driver may take to make a terminal; only against hangs.
const TERMINAL: Duration = Duration::from_mins(1);

/// A device that can be plugged in, pulled out and made to misbehave. Pulls itself out when dropped.
pub struct Cable {
    name: String,
    state: State,
}

enum State {
    Out(Box<dyn Model>),
    In(Plugged),
    /// The model was lost in a panic.
    Lost,
}

struct Plugged {
    port: Port,
    stream: UnixStream,
    engine: Engine,
}

impl Cable {
    /// A device beside the bench.
    #[must_use]
    pub fn new(model: impl Model + 'static) -> Self {
        Self::boxed(Box::new(model))
    }

    fn boxed(model: Box<dyn Model>) -> Self {
        Self { name: model.description().name.clone(), state: State::Out(model) }
    }

    /// Puts the plug into a free port. The kernel asks the device what it is afterwards; its device files come later.
    pub fn plug(&mut self) -> Result<(), UsbError> {
        let model = match std::mem::replace(&mut self.state, State::Lost) {
            State::Out(model) => model,
            State::In(plugged) => {
                self.state = State::In(plugged);
                return Ok(());
            }
            State::Lost => return Err(UsbError::Panicked(self.name.clone())),
        };
        match attach(model.description().speed) {
            Ok((port, stream, reading)) => match Engine::start(model, reading) {
                Ok(engine) => self.state = State::In(Plugged { port, stream, engine }),
                Err(source) => return Err(UsbError::Controller { doing: "serve", path: port.location().into(), source }),
            },
            Err(error) => {
                self.state = State::Out(model);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Pulls the plug. Returns when the kernel's drivers have let go of the device; programs are told by udev a little later.
    pub fn unplug(&mut self) -> Result<(), UsbError> {
        let plugged = match std::mem::replace(&mut self.state, State::Lost) {
            State::In(plugged) => plugged,
            other => {
                self.state = other;
                return Ok(());
            }
        };
        let detached = plugged.port.detach();
        // Ends both threads, also if the kernel refused.
        drop(plugged.stream.shutdown(Shutdown::Both));
        let model = plugged.engine.finish();
        self.state = model.map_or(State::Lost, State::Out);
        if matches!(self.state, State::Lost) {
            return Err(UsbError::Panicked(self.name.clone()));
        }
        detached.and_then(|()| plugged.port.wait_free())
    }

    /// Pulls the plug and puts it in again.
    pub fn replug(&mut self) -> Result<(), UsbError> {
        self.unplug()?;
        self.plug()
    }

    /// Pulls the plug, and comes back on another port and under another number of the kernel (`ttyACM1` for `ttyACM0`): a twin
    /// takes the old ones meanwhile. The links by serial number are the same as before.
    pub fn replug_renumbered(&mut self) -> Result<(), UsbError> {
        self.unplug()?;
        let State::Out(model) = &self.state else { return Err(UsbError::Panicked(self.name.clone())) };
        let mut twin = model.twin().map(Self::boxed);
        if let Some(twin) = &mut twin {
            twin.plug()?;
            twin.wait_terminal()?;
        }
        self.plug()?;
        if let Some(mut twin) = twin {
            self.wait_terminal()?;
            twin.unplug()?;
        }
        Ok(())
    }

    /// Makes the device misbehave, if it is plugged in.
    pub fn fault(&self, fault: Fault) {
        self.tell(Event::Fault(fault));
    }

    /// Ends all faults; transfers that wait are answered.
    pub fn heal(&self) {
        self.tell(Event::Heal);
    }

    /// Whether the plug is in.
    #[must_use]
    pub fn is_plugged(&self) -> bool {
        matches!(self.state, State::In(_))
    }

    /// Name of the device in `/sys/bus/usb/devices`, such as `1-1`, while it is plugged in.
    #[must_use]
    pub fn location(&self) -> Option<&str> {
        if let State::In(plugged) = &self.state { Some(plugged.port.location()) } else { None }
    }

    /// Waits for the device's terminal and gives its name, such as `ttyACM0`.
    pub fn wait_terminal(&self) -> Result<String, UsbError> {
        let location = self
            .location()
            .ok_or_else(|| UsbError::Absent(format!("the terminal of `{}`, which is not plugged in", self.name)))?;
        let mut found = None;
        sysfs::until(TERMINAL, || {
            found = sysfs::terminal(location);
            found.is_some()
        });
        found.ok_or_else(|| UsbError::Absent(format!("the terminal of `{}` at {location}", self.name)))
    }

    fn tell(&self, event: Event) {
        if let State::In(plugged) = &self.state {
            plugged.engine.tell(event);
        }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        // Without this the kernel would find out by itself, but the next device might not get this port.
        drop(self.unplug());
    }
}

fn attach(speed: super::Speed) -> Result<(Port, UnixStream, UnixStream), UsbError> {
    let socket = |source| UsbError::Controller { doing: "make a socket for", path: "socketpair".into(), source };
    let (ours, kernels) = UnixStream::pair().map_err(socket)?;
    let reading = ours.try_clone().map_err(socket)?;
    Ok((Port::attach(&kernels, speed)?, ours, reading))
}
