//! Services and values of a connected device.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use btleplug::api::{Characteristic as Native, Peripheral as _, ValueNotification, WriteType};
use futures::StreamExt as _;

use super::{
    bus::{CHARACTERISTIC, DESCRIPTOR, Objects, SERVICE, property, words},
    refusal::{Meaning, meaning},
    session::{Session, Shared},
};
use crate::channel::{
    ble::{Answer, Characteristic, CharacteristicId, LinkState, Notification, Service, Why, uuid},
    link::LinkError,
};

/// Time in which the signals that came before an answer are surely looked at.
const ECHO: Duration = Duration::from_millis(20);
/// Notifications held back while a value is read.
const HELD: usize = 4096;

/// Who gets notifications.
#[derive(Default)]
pub(super) struct Subscriptions {
    inner: Arc<Mutex<Inner>>,
    task: Option<tokio::task::JoinHandle<()>>,
}

#[derive(Default)]
struct Inner {
    /// UUIDs of characteristics. BlueZ also tells what was read, so others are not passed on.
    wanted: BTreeSet<String>,
    /// Notifications that come while this one is read: one of them is the value read.
    reading: Option<(String, Vec<Vec<u8>>)>,
}

impl Subscriptions {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn end(&mut self) {
        if let Some(task) = self.task.take() {
            #[expect(clippy::disallowed_methods, reason = "the task only waits and tells; nothing of it can be left half done")]
            task.abort();
        }
        self.lock().wanted.clear();
    }
}

impl Drop for Subscriptions {
    fn drop(&mut self) {
        self.end();
    }
}

fn pass(inner: &Mutex<Inner>, shared: &Shared, notified: ValueNotification) {
    let characteristic = notified.uuid.to_string();
    let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
    if !inner.wanted.contains(&characteristic) {
        return;
    }
    if let Some((reading, held)) = &mut inner.reading
        && *reading == characteristic
        && held.len() < HELD
    {
        held.push(notified.value);
        return;
    }
    drop(inner);
    if let Some(sink) = shared.sink() {
        sink(Notification { characteristic, bytes: notified.value });
    }
}

/// What was notified while a value was read: all but one that is the value itself, the last.
fn without_echo(mut held: Vec<Vec<u8>>, read: Option<&Vec<u8>>) -> Vec<Vec<u8>> {
    if let Some(echo) = read.and_then(|read| held.iter().rposition(|value| value == read)) {
        held.remove(echo);
    }
    held
}

/// The meaning of an error of btleplug.
pub(super) fn meaning_of(error: &btleplug::Error) -> Meaning {
    use bluez_async::BluetoothError;
    match error {
        btleplug::Error::NotConnected => Meaning::Unlinked("not connected".to_owned()),
        btleplug::Error::TimedOut(_) => Meaning::Unlinked(error.to_string()),
        btleplug::Error::Other(inner) => match inner.downcast_ref::<BluetoothError>() {
            Some(BluetoothError::DbusError(error)) => {
                meaning(error.name().unwrap_or_default(), error.message().unwrap_or_default())
            }
            Some(BluetoothError::ServiceDiscoveryTimedOut) => Meaning::Unlinked(inner.to_string()),
            _ => Meaning::Fault(inner.to_string()),
        },
        other => Meaning::Fault(other.to_string()),
    }
}

/// The services below a device, in the order of their handles, which are part of the paths.
fn services(objects: &Objects, device: &str) -> Vec<Service> {
    let children = |parent: &str, interface: &'static str| {
        let mut found: Vec<_> = objects
            .iter()
            .filter(|(path, _)| {
                path.strip_prefix(parent).and_then(|rest| rest.strip_prefix('/')).is_some_and(|rest| !rest.contains('/'))
            })
            .filter_map(|(path, interfaces)| Some((path.to_string(), interfaces.get(interface)?)))
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    };
    let own = |properties| uuid(&property::<String>(properties, "UUID")?);
    let characteristic = |(path, properties): (String, _)| {
        Some(Characteristic {
            uuid: own(properties)?,
            access: property(properties, "Flags").unwrap_or_default(),
            descriptors: children(&path, DESCRIPTOR).into_iter().filter_map(|(_, properties)| own(properties)).collect(),
        })
    };
    children(device, SERVICE)
        .into_iter()
        .filter_map(|(path, properties)| {
            Some(Service {
                uuid: own(properties)?,
                primary: property(properties, "Primary").unwrap_or(true),
                characteristics: children(&path, CHARACTERISTIC).into_iter().filter_map(characteristic).collect(),
            })
        })
        .collect()
}

/// How many characteristics a name fits.
fn fitting(services: &[Service], wanted: &CharacteristicId) -> usize {
    let of = services.iter().filter(|service| wanted.service.as_ref().is_none_or(|uuid| *uuid == service.uuid));
    of.flat_map(|service| &service.characteristics).filter(|found| found.uuid == wanted.uuid).count()
}

impl Session {
    /// The device's path while there is a link; else why not.
    fn linked(&self) -> Result<String, String> {
        let state = self.shared.state();
        match (&state.link, &state.device) {
            (LinkState::Up, Some(device)) => Ok(device.clone()),
            (LinkState::Lost, _) => Err("the link was lost".to_owned()),
            _ => Err("there is no link; connect first".to_owned()),
        }
    }

    pub(super) async fn services(&self) -> Result<Answer<Vec<Service>>, LinkError> {
        let operation = "list the services";
        self.alive(operation)?;
        let device = match self.linked() {
            Ok(device) => device,
            Err(why) => return self.unlinked(operation, why).await,
        };
        let objects = self.bus.objects().await.map_err(|error| self.fault(operation, words(&error)))?;
        let found = services(&objects, &device);
        // Objects go with the link: half a list is none.
        match self.linked() {
            Ok(_) => Ok(Answer::Done(found)),
            Err(why) => self.unlinked(operation, why).await,
        }
    }

    /// No link: unless the adapter is to blame.
    async fn unlinked<T>(&self, operation: &str, why: String) -> Result<Answer<T>, LinkError> {
        self.settle(operation).await?;
        Ok(Answer::Unlinked(why))
    }

    /// btleplug's name for a characteristic, or why there is none.
    async fn find(&self, operation: &str, wanted: &CharacteristicId) -> Result<Result<Native, Answer<()>>, LinkError> {
        let services = match self.services().await? {
            Answer::Done(services) => services,
            Answer::Unlinked(why) => return Ok(Err(Answer::Unlinked(why))),
            Answer::Refused(refusal) => return Ok(Err(Answer::Refused(refusal))),
            Answer::Unknown(why) => return Ok(Err(Answer::Unknown(why))),
        };
        match fitting(&services, wanted) {
            1 => {}
            0 => return Ok(Err(Answer::Unknown(format!("the device has no characteristic {wanted}")))),
            n => {
                let what = format!(
                    "the device has {n} characteristics {wanted}, which cannot be told apart; name the service too, SERVICE/UUID"
                );
                return Ok(Err(Answer::Unknown(what)));
            }
        }
        let natives = self.peripheral.as_ref().map(|peripheral| peripheral.characteristics()).unwrap_or_default();
        let fits = |native: &Native| {
            native.uuid.to_string() == wanted.uuid
                && wanted.service.as_ref().is_none_or(|service| *service == native.service_uuid.to_string())
        };
        match natives.into_iter().find(fits) {
            Some(native) => Ok(Ok(native)),
            None => Err(self.fault(operation, format!("{wanted} appeared after the services were looked up; connect again"))),
        }
    }

    /// What an operation on a value led to.
    async fn answer<T>(&self, operation: &str, result: Result<T, btleplug::Error>) -> Result<Answer<T>, LinkError> {
        let error = match result {
            Ok(value) => return Ok(Answer::Done(value)),
            Err(error) => error,
        };
        match meaning_of(&error) {
            // "Unlikely error" (0E) is also what BlueZ makes of a link that ended before the answer.
            Meaning::Refused(refusal) if refusal.why == Why::Other && self.goes_down().await => {
                self.unlinked(operation, format!("the link ended: {}", refusal.words)).await
            }
            Meaning::Refused(refusal) => Ok(Answer::Refused(refusal)),
            Meaning::Unlinked(why) => self.unlinked(operation, why).await,
            Meaning::Fault(what) => {
                self.settle(operation).await?;
                Err(self.fault(operation, what))
            }
        }
    }

    pub(super) async fn read(&self, from: CharacteristicId) -> Result<Answer<Vec<u8>>, LinkError> {
        let operation = format!("read {from}");
        let native = match self.find(&operation, &from).await? {
            Ok(native) => native,
            Err(answer) => return Ok(retype(answer)),
        };
        let Some(peripheral) = &self.peripheral else { return self.unlinked(&operation, "there is no link".to_owned()).await };
        let subscribed = self.subscriptions.lock().wanted.contains(&from.uuid);
        if subscribed {
            self.subscriptions.lock().reading = Some((from.uuid.clone(), Vec::new()));
        }
        let result = peripheral.read(&native).await;
        if subscribed {
            tokio::time::sleep(ECHO).await;
            let held = self.subscriptions.lock().reading.take().map(|(_, held)| held).unwrap_or_default();
            for bytes in without_echo(held, result.as_ref().ok()) {
                if let Some(sink) = self.shared.sink() {
                    sink(Notification { characteristic: from.uuid.clone(), bytes });
                }
            }
        }
        self.answer(&operation, result).await
    }

    pub(super) async fn write(&self, to: CharacteristicId, bytes: Vec<u8>, with_response: bool) -> Result<Answer<()>, LinkError> {
        let operation = format!("write {to}");
        let native = match self.find(&operation, &to).await? {
            Ok(native) => native,
            Err(answer) => return Ok(answer),
        };
        let Some(peripheral) = &self.peripheral else { return self.unlinked(&operation, "there is no link".to_owned()).await };
        let kind = if with_response { WriteType::WithResponse } else { WriteType::WithoutResponse };
        let result = peripheral.write(&native, &bytes, kind).await;
        self.answer(&operation, result).await
    }

    pub(super) async fn subscribe(&mut self, to: CharacteristicId) -> Result<Answer<()>, LinkError> {
        let operation = format!("subscribe to {to}");
        let native = match self.find(&operation, &to).await? {
            Ok(native) => native,
            Err(answer) => return Ok(answer),
        };
        let Some(peripheral) = &self.peripheral else { return self.unlinked(&operation, "there is no link".to_owned()).await };
        if self.subscriptions.task.is_none() {
            // Before subscribing: a notification may follow at once.
            let mut stream = peripheral.notifications().await.map_err(|error| self.fault(&operation, error.to_string()))?;
            let (inner, shared) = (Arc::clone(&self.subscriptions.inner), Arc::clone(&self.shared));
            // A lost link does not end the stream: the session ends the task.
            self.subscriptions.task = Some(tokio::spawn(async move {
                while let Some(notified) = stream.next().await {
                    pass(&inner, &shared, notified);
                }
            }));
        }
        let new = self.subscriptions.lock().wanted.insert(to.uuid.clone());
        let result = peripheral.subscribe(&native).await;
        let answer = self.answer(&operation, result).await;
        if new && !matches!(answer, Ok(Answer::Done(()))) {
            self.subscriptions.lock().wanted.remove(&to.uuid);
        }
        answer
    }
}

fn retype<T>(answer: Answer<()>) -> Answer<T> {
    match answer {
        Answer::Refused(refusal) => Answer::Refused(refusal),
        Answer::Unlinked(why) => Answer::Unlinked(why),
        Answer::Unknown(why) => Answer::Unknown(why),
        Answer::Done(()) => Answer::Unknown("nothing was asked".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(own: &str, characteristics: &[&str]) -> Service {
        let characteristic =
            |text: &&str| Characteristic { uuid: uuid(text).unwrap(), access: Vec::new(), descriptors: Vec::new() };
        Service { uuid: uuid(own).unwrap(), primary: true, characteristics: characteristics.iter().map(characteristic).collect() }
    }

    #[test]
    fn a_second_characteristic_of_the_same_uuid_is_noticed() {
        let services = [service("1000", &["2000", "2001", "2001"]), service("1001", &["2000"])];
        let count = |text: &str| fitting(&services, &CharacteristicId::parse(text).unwrap());
        assert_eq!((count("2000"), count("1001/2000"), count("2001"), count("1001/2001")), (2, 1, 2, 0));
    }

    #[test]
    fn the_value_read_is_not_taken_for_a_notification() {
        let held = || vec![b"a".to_vec(), b"b".to_vec(), b"a".to_vec(), b"c".to_vec()];
        assert_eq!(without_echo(held(), Some(&b"a".to_vec())), [b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]);
        assert_eq!(without_echo(held(), Some(&b"x".to_vec())), held());
        assert_eq!(without_echo(held(), None), held());
    }
}
