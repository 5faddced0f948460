//! Against a model of an instrument, over a stream and over TCP: one that obeys, one that does not, one that answers late or nonsense.

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};

use super::*;

const IDN: &str = "ACME,PSU-3,SN123,1.0";

/// How the model behaves.
#[derive(Debug, Clone, Copy, Default)]
struct Manner {
    /// Its output relay is welded: this is what the rail is at.
    welded: Option<f64>,
    /// The answer to this question so many comes only when the next question has been asked.
    late: Option<&'static str>,
    /// What it answers to MEAS:VOLT?.
    rubbish: Option<&'static str>,
    /// It does not know this command.
    unknown: Option<&'static str>,
    /// Its output follows only after so many looks.
    slow: u32,
}

/// The model: an output of 3.3 V, unless it is told otherwise. Something is in its error queue from the start.
async fn model(stream: impl AsyncRead + AsyncWrite + Unpin, manner: Manner) {
    let (read, mut write) = tokio::io::split(stream);
    let mut lines = BufReader::new(read).lines();
    let (mut on, mut volts, mut looks) = (false, 3.3, 0);
    let mut errors = vec!["-222,\"Data out of range; left by somebody else\"".to_owned()];
    let mut held: Option<String> = None;
    while let Ok(Some(line)) = lines.next_line().await {
        if Some(line.as_str()) == manner.unknown {
            errors.push(format!("-113,\"Undefined header; {line}\""));
            continue;
        }
        let answer = match line.as_str() {
            "*IDN?" => Some(IDN.to_owned()),
            "OUTP ON" => {
                (on, looks) = (true, 0);
                None
            }
            "OUTP OFF" => {
                (on, looks) = (false, 0);
                None
            }
            "OUTP?" => Some(u8::from(on).to_string()),
            "SYST:ERR?" => Some(if errors.is_empty() { "+0,\"No error\"".to_owned() } else { errors.remove(0) }),
            "MEAS:CURR?" => Some("+1.20E-01".to_owned()),
            "MEAS:VOLT?" => {
                looks += 1;
                let at = if (looks > manner.slow) == on { volts } else { 0.01 };
                Some(manner.rubbish.map_or_else(|| format!("{:+.6E}", manner.welded.unwrap_or(at)), str::to_owned))
            }
            other => {
                if let Some(value) = other.strip_prefix("VOLT ") {
                    volts = value.parse().unwrap();
                }
                None
            }
        };
        let Some(answer) = answer else { continue };
        let mut out = held.take().into_iter().collect::<Vec<_>>();
        if manner.late == Some(line.as_str()) && out.is_empty() {
            held = Some(answer);
            continue;
        }
        out.push(answer);
        for answer in out {
            // In two pieces, as a slow line delivers it.
            let (first, second) = answer.split_at(answer.len() / 2);
            if write.write_all(first.as_bytes()).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
            let _ = write.write_all(format!("{second}\r\n").as_bytes()).await;
        }
    }
}

fn parameters(values: &[(&str, &str)]) -> Parameters {
    let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Parameters { values, ..Parameters::default() }
}

async fn opened(manner: Manner, values: &[(&str, &str)]) -> Result<Box<dyn SupplyLink>, LinkError> {
    let (ours, theirs) = tokio::io::duplex(4096);
    tokio::spawn(model(theirs, manner));
    let parameters = parameters(values);
    let instrument = Arc::new(Mutex::new(Transport::stream(Box::new(ours))));
    match supply(instrument, Settings::from(&parameters)?, "the model", value(&parameters, "channel")).await? {
        Opened::Supply(link) => Ok(link),
        _ => panic!("no supply"),
    }
}

async fn link(manner: Manner) -> Box<dyn SupplyLink> {
    opened(manner, &[("voltage", "5V"), ("current-limit", "500mA")]).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_it_measures_is_the_witness() {
    let mut link = link(Manner { slow: 3, ..Manner::default() }).await;
    for up in [true, false, true] {
        let Proof::Seen(witness) = link.set(up).await.unwrap() else { panic!("no witness") };
        assert!(witness.what.contains(if up { "measures 5.000 V" } else { "measures 0.010 V" }), "{}", witness.what);
        assert_eq!(link.is_up().await.unwrap(), Some(up));
    }
    assert_eq!(link.measure(Measurand::Voltage).await.unwrap(), Some(5.0));
    assert_eq!(link.measure(Measurand::Current).await.unwrap(), Some(120.0));
}

#[tokio::test(start_paused = true)]
async fn opening_changes_nothing_and_knows_the_instrument() {
    let mut link = opened(Manner::default(), &[("idn", "SN123")]).await.unwrap();
    assert_eq!(link.is_up().await.unwrap(), Some(false));
    let Proof::Seen(witness) = link.set(true).await.unwrap() else { panic!("no witness") };
    assert!(witness.what.contains("3.300 V"), "left at its own voltage: {}", witness.what);
    let Err(wrong) = opened(Manner::default(), &[("idn", "SN124")]).await else { panic!("opened") };
    assert!(wrong.what.contains(IDN), "{wrong}");
}

#[tokio::test(start_paused = true)]
async fn a_welded_output_is_a_fault_of_the_bench() {
    let mut welded = link(Manner { welded: Some(5.0), ..Manner::default() }).await;
    let error = welded.set(false).await.unwrap_err();
    assert!(error.what.contains("5.000 V"), "{error}");
    assert_eq!(welded.is_up().await.unwrap(), Some(true));
    let mut limited = link(Manner { welded: Some(4.4), ..Manner::default() }).await;
    assert!(limited.set(true).await.unwrap_err().what.contains("current limit"));
    let mut within = link(Manner { welded: Some(4.6), ..Manner::default() }).await;
    assert!(matches!(within.set(true).await.unwrap(), Proof::Seen(_)));
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_not_taken_for_the_next_one() {
    let mut late = link(Manner { late: Some("MEAS:VOLT?"), ..Manner::default() }).await;
    let error = late.set(true).await.unwrap_err();
    assert!(error.what.contains("no answer"), "{error}");
    // The held answer comes with the next one: asked for its state, it must not answer with volts.
    let mut words = opened(Manner { late: Some("OUTP?"), ..Manner::default() }, &[("measure-voltage", "none")]).await.unwrap();
    assert!(words.set(true).await.is_err());
    assert!(words.set(false).await.is_err());
    assert_eq!(late.measure(Measurand::Current).await.unwrap(), Some(120.0));
}

#[tokio::test(start_paused = true)]
async fn rubbish_is_told_and_never_a_number() {
    for rubbish in ["", "five", "NaN", "inf", "9.9E37", "-9.91E+37", "\u{1b}[2J5", "1,2", "5 W"] {
        let mut link = link(Manner { rubbish: Some(rubbish), ..Manner::default() }).await;
        assert!(link.set(true).await.is_err(), "{rubbish}");
        assert!(link.set(false).await.is_err(), "{rubbish}");
    }
    assert_eq!(number(" +5.0E+00 V"), Some(5.0));
    assert_eq!((state("ON"), state("0"), state("2")), (Some(true), Some(false), None));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_this_act_counts_and_an_old_one_does_not() {
    let mut good = link(Manner::default()).await;
    assert!(good.set(true).await.is_ok());
    let mut other = link(Manner { unknown: Some("OUTP OFF"), ..Manner::default() }).await;
    let error = other.set(false).await.unwrap_err();
    assert!(error.what.contains("Undefined header; OUTP OFF"), "{error}");
}

#[tokio::test]
async fn over_tcp_two_outputs_are_one_connection_and_a_closed_one_is_lost() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        model(stream, Manner::default()).await;
    });
    let by = |channel: &'static str| {
        parameters(&[("tcp", &address), ("channel", channel), ("select", "INST OUT{channel}"), ("voltage", "5V")])
    };
    let Opened::Supply(mut first) = ScpiSupply.open(&by("1")).await.unwrap() else { panic!("no supply") };
    let Opened::Supply(mut second) = ScpiSupply.open(&by("2")).await.unwrap() else { panic!("no supply") };
    assert!(matches!(first.set(true).await.unwrap(), Proof::Seen(_)));
    assert_eq!(second.is_up().await.unwrap(), Some(true));
    #[expect(clippy::disallowed_methods, reason = "a model that ends with its test")]
    server.abort();
    let _ = server.await;
    let error = first.set(false).await.unwrap_err();
    assert!(error.lost, "{error}");
    let gone = ScpiSupply.open(&parameters(&[("tcp", "127.0.0.1:1")])).await;
    assert!(gone.is_err_and(|error| error.what.contains("raw socket")));
}

#[test]
fn parameters_that_cannot_be_right_are_refused() {
    let what = |values: &[(&str, &str)]| ScpiSupply.check(&parameters(values)).unwrap_err().what;
    let tcp = ("tcp", "192.0.2.7:5025");
    assert!(ScpiSupply.check(&parameters(&[tcp, ("voltage", "5V"), ("channel", "CH1")])).is_ok());
    assert!(ScpiSupply.check(&parameters(&[("usbtmc", "1ab1:0e11:DP8C1")])).is_ok());
    assert!(what(&[]).contains("where it is"));
    assert!(what(&[("tcp", "host")]).contains("host and port"));
    assert!(what(&[tcp, ("path", "/dev/ttyS0")]).contains("several places"));
    assert!(what(&[tcp, ("voltage", "5")]).contains("5V"));
    assert!(what(&[tcp, ("voltage", "0.1V")]).contains("above"));
    assert!(what(&[tcp, ("current-limit", "5V")]).contains("500mA"));
    assert!(what(&[tcp, ("channel", "1;*RST")]).contains("letters and digits"));
    assert!(what(&[tcp, ("output-on", "OUTP\nON")]).contains("one line"));
    assert!(what(&[tcp, ("output-query", "none"), ("measure-voltage", "none")]).contains("nothing tells"));
    assert!(what(&[("usbtmc", "rigol")]).contains("hexadecimal"));
}
