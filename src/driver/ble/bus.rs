//! BlueZ on the system's message bus: objects, properties, signals. Interfaces: `doc/adapter-api.txt` and `doc/device-api.txt` of BlueZ.

use std::{collections::HashMap, sync::Arc, time::Duration};

use dbus::{
    Message, MessageType, Path,
    arg::{PropMap, RefArg, Variant, cast, prop_cast},
    message::MatchRule,
    nonblock::{MsgMatch, Proxy, SyncConnection},
};

use super::state::{Change, Event};
use crate::channel::ble::uuid;

pub(super) const ADAPTER: &str = "org.bluez.Adapter1";
pub(super) const DEVICE: &str = "org.bluez.Device1";
pub(super) const SERVICE: &str = "org.bluez.GattService1";
pub(super) const CHARACTERISTIC: &str = "org.bluez.GattCharacteristic1";
pub(super) const DESCRIPTOR: &str = "org.bluez.GattDescriptor1";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const MANAGER: &str = "org.freedesktop.DBus.ObjectManager";
/// Time for an answer of BlueZ itself.
const CALL: Duration = Duration::from_secs(10);

/// All objects of BlueZ with their interfaces and properties.
pub(super) type Objects = HashMap<Path<'static>, HashMap<String, PropMap>>;

/// A connection to the bus. The matches end when they are dropped.
pub(super) struct Bus {
    connection: Arc<SyncConnection>,
    _matches: [MsgMatch; 2],
}

/// What to do about a bus or a BlueZ that is not there.
fn advice(error: &dbus::Error) -> String {
    let text = error.message().unwrap_or("no reason given").trim();
    match error.name().unwrap_or_default().rsplit('.').next().unwrap_or_default() {
        "ServiceUnknown" | "NameHasNoOwner" => format!(
            "there is no Bluetooth here: BlueZ is not running ({text}); install the package bluez and start it, `sudo systemctl enable --now bluetooth`"
        ),
        "AccessDenied" => {
            format!("this user may not use Bluetooth ({text}); `sudo usermod -aG bluetooth $USER`, then log in again")
        }
        "FileNotFound" | "NoServer" | "Disconnected" | "BadAddress" => format!(
            "there is no Bluetooth here: the system's message bus cannot be reached ({text}); install the packages dbus and bluez, and start them"
        ),
        _ => format!("{text} ({})", error.name().unwrap_or("unnamed error")),
    }
}

/// An error of BlueZ in words.
pub(super) fn words(error: &dbus::Error) -> String {
    advice(error)
}

impl Bus {
    /// Connects. Blocks, and needs a runtime to run the connection on. Every signal of BlueZ goes to `on`, the last is [`Event::BusLost`].
    pub(super) async fn connect(on: Arc<dyn Fn(Event) + Send + Sync>) -> Result<Self, String> {
        let (resource, connection) = dbus_tokio::connection::new_system_sync().map_err(|error| advice(&error))?;
        connection.set_signal_match_mode(true);
        let lost = Arc::clone(&on);
        tokio::spawn(async move {
            let _ = resource.await;
            lost(Event::BusLost);
        });
        let rule = MatchRule::new().with_sender("org.bluez").with_type(MessageType::Signal);
        let owner = MatchRule::new_signal("org.freedesktop.DBus", "NameOwnerChanged");
        let signals = connection.add_match(rule).await.map_err(|error| advice(&error))?;
        let gone = Arc::clone(&on);
        let signals = signals.msg_cb(move |message| {
            events(&message).into_iter().for_each(|event| on(event));
            true
        });
        let owners = connection.add_match(owner).await.map_err(|error| advice(&error))?;
        let owners = owners.cb(move |_, (name, old, _): (String, String, String)| {
            if name == "org.bluez" && !old.is_empty() {
                gone(Event::BusLost);
            }
            true
        });
        Ok(Self { connection, _matches: [signals, owners] })
    }

    fn proxy<'a>(&self, path: &'a str, time: Duration) -> Option<Proxy<'a, Arc<SyncConnection>>> {
        Some(Proxy::new("org.bluez", Path::new(path).ok()?, time, Arc::clone(&self.connection)))
    }

    /// Calls a method without arguments and results.
    pub(super) async fn call(&self, path: &str, interface: &str, method: &str) -> Result<(), dbus::Error> {
        let proxy = self.proxy(path, CALL).ok_or_else(|| dbus::Error::new_failed("not a path"))?;
        proxy.method_call(interface, method, ()).await
    }

    /// Forgets a device.
    pub(super) async fn remove(&self, adapter: &str, device: &str) -> Result<(), dbus::Error> {
        let proxy = self.proxy(adapter, CALL).ok_or_else(|| dbus::Error::new_failed("not a path"))?;
        let path = Path::new(device.to_owned()).map_err(|_| dbus::Error::new_failed("not a path"))?;
        proxy.method_call(ADAPTER, "RemoveDevice", (path,)).await
    }

    /// Sets a boolean property of an adapter.
    pub(super) async fn set(&self, adapter: &str, property: &str, value: bool) -> Result<(), dbus::Error> {
        let proxy = self.proxy(adapter, CALL).ok_or_else(|| dbus::Error::new_failed("not a path"))?;
        proxy.method_call(PROPERTIES, "Set", (ADAPTER, property, Variant(value))).await
    }

    /// Listens to Low Energy only, and reports every advertisement rather than changes.
    pub(super) async fn start_discovery(&self, adapter: &str) -> Result<(), dbus::Error> {
        let proxy = self.proxy(adapter, CALL).ok_or_else(|| dbus::Error::new_failed("not a path"))?;
        let mut filter = PropMap::new();
        filter.insert("Transport".to_owned(), Variant(Box::new("le".to_owned())));
        filter.insert("DuplicateData".to_owned(), Variant(Box::new(true)));
        let () = proxy.method_call(ADAPTER, "SetDiscoveryFilter", (filter,)).await?;
        proxy.method_call(ADAPTER, "StartDiscovery", ()).await
    }

    /// Everything that BlueZ knows.
    pub(super) async fn objects(&self) -> Result<Objects, dbus::Error> {
        let proxy = self.proxy("/", CALL).ok_or_else(|| dbus::Error::new_failed("not a path"))?;
        let (objects,): (Objects,) = proxy.method_call(MANAGER, "GetManagedObjects", ()).await?;
        Ok(objects)
    }
}

/// A property of some type.
pub(super) fn property<T: Clone + 'static>(properties: &PropMap, name: &str) -> Option<T> {
    prop_cast::<T>(properties, name).cloned()
}

/// What properties of a device say.
pub(super) fn change(properties: &PropMap) -> Change {
    type Data<K> = HashMap<K, Variant<Box<dyn RefArg>>>;
    let bytes = |value: &Variant<Box<dyn RefArg>>| cast::<Vec<u8>>(&value.0).cloned();
    let manufacturer = prop_cast::<Data<u16>>(properties, "ManufacturerData");
    let service_data = prop_cast::<Data<String>>(properties, "ServiceData");
    Change {
        address: property(properties, "Address"),
        address_type: property(properties, "AddressType"),
        name: property(properties, "Name"),
        rssi: property(properties, "RSSI"),
        tx_power: property(properties, "TxPower"),
        manufacturer: manufacturer.map(|map| map.iter().filter_map(|(key, value)| Some((*key, bytes(value)?))).collect()),
        service_data: service_data.map(|map| map.iter().filter_map(|(key, value)| Some((uuid(key)?, bytes(value)?))).collect()),
        services: property::<Vec<String>>(properties, "UUIDs").map(|uuids| uuids.iter().filter_map(|text| uuid(text)).collect()),
        connected: property(properties, "Connected"),
        paired: property(properties, "Paired"),
        bonded: property(properties, "Bonded"),
        trusted: property(properties, "Trusted"),
    }
}

/// What a signal says.
fn events(message: &Message) -> Vec<Event> {
    let Some(member) = message.member() else { return Vec::new() };
    match &*member {
        "PropertiesChanged" => {
            let (Some(path), Ok((interface, changed, _))) = (message.path(), message.read3::<String, PropMap, Vec<String>>())
            else {
                return Vec::new();
            };
            of(&path, &interface, &changed, false).into_iter().collect()
        }
        "InterfacesAdded" => {
            let Ok((path, interfaces)) = message.read2::<Path<'static>, HashMap<String, PropMap>>() else { return Vec::new() };
            interfaces.iter().filter_map(|(interface, properties)| of(&path, interface, properties, true)).collect()
        }
        "InterfacesRemoved" => {
            let Ok((path, interfaces)) = message.read2::<Path<'static>, Vec<String>>() else { return Vec::new() };
            let gone = |interface: String| match interface.as_str() {
                ADAPTER => Some(Event::AdapterGone(path.to_string())),
                DEVICE => Some(Event::DeviceGone(path.to_string())),
                _ => None,
            };
            interfaces.into_iter().filter_map(gone).collect()
        }
        _ => Vec::new(),
    }
}

fn of(path: &str, interface: &str, properties: &PropMap, added: bool) -> Option<Event> {
    match interface {
        DEVICE => Some(Event::Device { path: path.to_owned(), change: change(properties), added }),
        ADAPTER => Some(Event::Adapter {
            path: path.to_owned(),
            powered: property(properties, "Powered"),
            discovering: property(properties, "Discovering"),
        }),
        _ => None,
    }
}
