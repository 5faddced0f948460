//! Against an embedded broker and a model of a plug that speaks MQTT 3.1.1, as plugs do.

use mqtt5::{
    ConnectOptions, MqttClient, ProtocolVersion,
    broker::{BrokerConfig, MqttBroker, config::StorageConfig},
};

use super::*;

/// How the model plug behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Obeys,
    /// It says what it was told to do, and goes on feeding its load.
    Lies,
    /// It says that it is on, whatever it is told.
    Welded,
    Silent,
}

struct Lab {
    address: String,
    broker: JoinHandle<()>,
    _plug: MqttClient,
}

impl Drop for Lab {
    fn drop(&mut self) {
        #[expect(clippy::disallowed_methods, reason = "a model that ends with its test")]
        self.broker.abort();
    }
}

async fn lab(manner: Manner, gen2: bool) -> Lab {
    let config = BrokerConfig::default()
        .with_bind_addresses(vec!["127.0.0.1:0".parse().unwrap()])
        .with_storage(StorageConfig::new().with_persistence(false));
    let mut broker = MqttBroker::with_config(config).await.unwrap();
    let address = broker.local_addr().unwrap().to_string();
    let broker = tokio::spawn(async move {
        let _ = broker.run().await;
    });
    let plug = MqttClient::new("plug");
    let options = ConnectOptions::new("plug").with_protocol_version(ProtocolVersion::V311);
    plug.connect_with_options(&format!("mqtt://{address}"), options).await.unwrap();
    let on = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    #[expect(clippy::disallowed_methods, reason = "a model that ends with its test")]
    let (say, mut said) = mpsc::unbounded_channel::<(String, String)>();
    let filter = if gen2 { "plug/rpc" } else { "cmnd/plug/+" };
    plug.subscribe(filter, move |message| {
        use std::sync::atomic::Ordering::SeqCst;
        if manner == Manner::Silent {
            return;
        }
        let text = String::from_utf8_lossy(&message.payload).into_owned();
        let set = |to: bool| on.store(to, SeqCst);
        let state = |on: bool| on || manner == Manner::Welded;
        let watts = |on: bool| if on || manner == Manner::Lies { 9.5 } else { 0.0 };
        if gen2 {
            let call: serde_json::Value = serde_json::from_str(&text).unwrap();
            let to = format!("{}/rpc", call["src"].as_str().unwrap());
            let answer = if call["method"] == "Switch.Set" {
                set(call["params"]["on"].as_bool().unwrap());
                r#"{"id":1,"result":{"was_on":true}}"#.to_owned()
            } else {
                let on = on.load(SeqCst);
                format!(r#"{{"id":1,"result":{{"output":{},"apower":{}}}}}"#, state(on), watts(on))
            };
            let _ = say.send((to, answer));
        } else if message.topic.ends_with("/STATUS") {
            let answer = format!(r#"{{"StatusSNS":{{"ENERGY":{{"Power":{}}}}}}}"#, watts(on.load(SeqCst)));
            let _ = say.send(("stat/plug/STATUS8".to_owned(), answer));
        } else {
            match text.as_str() {
                "ON" => set(true),
                "OFF" => set(false),
                _ => {}
            }
            let word = if state(on.load(SeqCst)) { "ON" } else { "OFF" };
            let _ = say.send(("stat/plug/POWER".to_owned(), word.to_owned()));
        }
    })
    .await
    .unwrap();
    let speaker = plug.clone();
    tokio::spawn(async move {
        while let Some((topic, text)) = said.recv().await {
            let _ = speaker.publish(topic, text.into_bytes()).await;
        }
    });
    Lab { address, broker, _plug: plug }
}

fn parameters(address: &str, more: &[(&str, &str)]) -> Parameters {
    let own = [("broker", address), ("topic", "plug"), ("dialect", "tasmota"), ("answer", "2s")];
    let values = own.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Parameters { values, ..Parameters::default() }
}

async fn plug(lab: &Lab, more: &[(&str, &str)]) -> Box<dyn SupplyLink> {
    match MqttPlug.open(&parameters(&lab.address, more)).await.unwrap() {
        Opened::Supply(link) => link,
        _ => panic!("no supply"),
    }
}

#[tokio::test]
async fn what_the_plug_says_and_measures_is_the_witness() {
    for (gen2, dialect) in [(false, "tasmota"), (true, "shelly-gen2")] {
        let lab = lab(Manner::Obeys, gen2).await;
        let mut link = plug(&lab, &[("dialect", dialect)]).await;
        for up in [true, false, true] {
            let Proof::Seen(witness) = link.set(up).await.unwrap() else { panic!("no witness") };
            assert!(witness.what.contains(if up { "reads back up" } else { "down and measures 0 W" }), "{}", witness.what);
            assert_eq!(link.is_up().await.unwrap(), Some(up), "{dialect}");
        }
    }
}

#[tokio::test]
async fn a_plug_that_does_not_switch_is_a_fault_of_the_bench() {
    let welded = lab(Manner::Welded, false).await;
    let error = plug(&welded, &[]).await.set(false).await.unwrap_err();
    assert!(error.what.contains("reads back up"), "{error}");
    let silent = lab(Manner::Silent, false).await;
    let mut link = plug(&silent, &[("answer", "200ms")]).await;
    let error = link.set(false).await.unwrap_err();
    assert!(error.what.contains("says nothing"), "{error}");
    assert_eq!(link.is_up().await.unwrap(), None);
    let lies = lab(Manner::Lies, true).await;
    let error = plug(&lies, &[("dialect", "shelly-gen2")]).await.set(false).await.unwrap_err();
    assert!(error.what.contains("9.5 W"), "{error}");
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_told_and_one_that_goes_is_lost() {
    let gone = lab(Manner::Obeys, false).await;
    let mut link = plug(&gone, &[("answer", "500ms")]).await;
    link.set(true).await.unwrap();
    let address = gone.address.clone();
    drop(gone);
    assert!(link.set(false).await.is_err());
    drop(link);
    let parameters = parameters(&address, &[]);
    assert!(MqttPlug.open(&parameters).await.is_err_and(|error| error.what.contains("is the broker there")));
}

#[test]
fn parameters_that_cannot_be_right_are_refused() {
    let what = |more: &[(&str, &str)]| MqttPlug.check(&parameters("192.0.2.1:1883", more)).unwrap_err().what;
    assert!(MqttPlug.check(&parameters("broker.lab:1883", &[])).is_ok());
    assert!(what(&[("broker", "192.0.2.1")]).contains("host and port"));
    assert!(what(&[("topic", "plug/#")]).contains("wildcards"));
    assert!(what(&[("dialect", "zigbee")]).contains("tasmota, shelly-gen1"));
    assert!(what(&[("password-file", "secret")]).contains("needs `user`"));
    assert!(what(&[("relay", "-1")]).contains("number of a relay"));
}
