//! What the kernel is told: from disturbances to the text of nftables rules and the words of `tc`. Pure functions.

use crate::channel::network::{Direction, Filter, FilterAction, Impairment, Protocol};

/// Mark of connections that began after a filter fell silent: `hilb`.
const MARK: &str = "0x68696c62";
/// Handle of our queueing disciplines, so that nobody else's is taken for ours.
pub(super) const HANDLE: &str = "68b:";

/// The table of a port. Other characters than letters and digits are spelled out, so that two ports never share one.
pub(super) fn table(interface: &str) -> String {
    let spell = |c: char| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("_{:x}", c as u32) };
    format!("hilbench_{}", interface.chars().map(spell).collect::<String>())
}

/// The device that what comes in from the port is redirected through; at most 15 characters.
pub(super) fn mirror(interface: &str) -> String {
    let tail: String = interface.chars().rev().take(11).collect::<Vec<_>>().into_iter().rev().collect();
    format!("hilb{tail}")
}

/// The script that puts the filters in place of what the table had, in one transaction, and how many rules it makes.
/// `portal` is the port to which the device's HTTP goes.
pub(super) fn script(interface: &str, filters: &[Filter], portal: Option<u16>) -> (String, usize) {
    let table = table(interface);
    let (mut counters, mut up, mut down) = (String::new(), Vec::new(), Vec::new());
    for (number, filter) in filters.iter().enumerate() {
        counters += &format!("  counter f{number} {{ packets 0 bytes 0 }}\n");
        let then = |verdict: &str| format!("counter name \"f{number}\" {verdict}");
        match filter.action {
            FilterAction::Drop => {
                if filter.direction.up() {
                    up.extend(matches(filter, true).into_iter().map(|m| m + &then("drop")));
                }
                if filter.direction.down() {
                    down.extend(matches(filter, false).into_iter().map(|m| m + &then("drop")));
                }
            }
            FilterAction::Reject => {
                up.extend(matches(filter, true).into_iter().map(|m| m + &then("reject with icmpx type host-unreachable")));
            }
            FilterAction::Reset => {
                let filter = &Filter { protocol: Some(Protocol::Tcp), ..*filter };
                up.extend(matches(filter, true).into_iter().map(|m| m + &then("reject with tcp reset")));
            }
            FilterAction::Silent => {
                let filter = &Filter { protocol: Some(Protocol::Tcp), ..*filter };
                for (way, chain) in [(true, &mut up), (false, &mut down)] {
                    // A connection whose beginning was seen since then is a new one.
                    for m in matches(filter, way) {
                        chain.push(format!("{m}tcp flags & (fin | syn | rst | ack) == syn ct mark set {MARK}"));
                        if if way { filter.direction.up() } else { filter.direction.down() } {
                            chain.push(format!("{m}ct mark != {MARK} {}", then("drop")));
                        }
                    }
                }
            }
        }
    }
    let mut rules = up.len() + down.len() + 4;
    let lines =
        |rules: Vec<String>| rules.into_iter().flat_map(|rule| ["    ".to_owned(), rule, "\n".to_owned()]).collect::<String>();
    let hook = |name: &str, body: &str| {
        format!("  chain {name} {{\n    type filter hook {name} priority -10; policy accept;\n{body}  }}\n")
    };
    let (from, to) = (format!("    iifname \"{interface}\" jump up\n"), format!("    oifname \"{interface}\" jump down\n"));
    let mut text = format!(
        "add table inet {table}\ndelete table inet {table}\ntable inet {table} {{\n{counters}  chain up {{\n{}  }}\n  chain down {{\n{}  }}\n{}{}{}",
        lines(up),
        lines(down),
        hook("input", &from),
        hook("forward", &format!("{from}{to}")),
        hook("output", &to),
    );
    if let Some(port) = portal {
        rules += 1;
        text += &format!(
            "  chain portal {{\n    type nat hook prerouting priority -100; policy accept;\n    iifname \"{interface}\" meta nfproto ipv4 tcp dport 80 redirect to :{port}\n  }}\n"
        );
    }
    (text + "}\n", rules)
}

/// The script that leaves nothing.
pub(super) fn nothing(interface: &str) -> String {
    let table = table(interface);
    // Added first: to delete what is not there is an error.
    format!("add table inet {table}\ndelete table inet {table}\n")
}

/// What must be true of a packet: alternatives, each ending in a space unless empty.
fn matches(filter: &Filter, from_device: bool) -> Vec<String> {
    let mut text = String::new();
    if let Some(address) = filter.address {
        let family = if address.is_ipv4() { "ip" } else { "ip6" };
        text += &format!("{family} {} {address} ", if from_device { "daddr" } else { "saddr" });
    }
    match (filter.protocol, filter.port) {
        (Some(Protocol::Tcp), _) => text += "meta l4proto tcp ",
        (Some(Protocol::Udp), _) => text += "meta l4proto udp ",
        (Some(Protocol::Icmp), _) => text += "meta l4proto { icmp, ipv6-icmp } ",
        (None, Some(_)) => text += "meta l4proto { tcp, udp } ",
        (None, None) => {}
    }
    match filter.port {
        // A packet between two such ports meets the first rule and is gone.
        Some(port) => vec![format!("{text}th dport {port} "), format!("{text}th sport {port} ")],
        None => vec![text],
    }
}

/// The words after `netem` for an impairment; nothing if there is none.
pub(super) fn netem(bad: &Impairment) -> Option<String> {
    if *bad == (Impairment { direction: bad.direction, ..Impairment::default() }) {
        return None;
    }
    // Without a rate nothing may be lost because it is late; with one, a router's buffer is finite.
    let mut words = format!("limit {}", if bad.rate.is_some() { 1000 } else { 100_000 });
    let share = |permille: u16| format!("{}.{}%", permille / 10, permille % 10);
    if !bad.delay.is_zero() {
        words += &format!(" delay {}us", bad.delay.as_micros());
        if !bad.jitter.is_zero() {
            words += &format!(" {}us", bad.jitter.as_micros());
        }
    }
    for (name, permille) in [("loss", bad.loss), ("duplicate", bad.duplicate), ("corrupt", bad.corrupt), ("reorder", bad.reorder)]
    {
        if permille > 0 {
            words += &format!(" {name} {}", share(permille));
        }
    }
    if let Some(rate) = bad.rate {
        words += &format!(" rate {rate}bit");
    }
    Some(words)
}

/// Which sides of the port an impairment is on: what goes to the device, what comes from it.
pub(super) fn sides(bad: Option<&Impairment>) -> (Option<String>, Option<String>) {
    let Some(bad) = bad else { return (None, None) };
    let words = netem(bad);
    let direction: Direction = bad.direction;
    (words.clone().filter(|_| direction.down()), words.filter(|_| direction.up()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ALL: Filter =
        Filter { action: FilterAction::Drop, direction: Direction::Both, protocol: None, port: None, address: None };

    #[test]
    fn ports_never_share_a_table_and_names_fit() {
        assert_eq!(table("eth0"), "hilbench_eth0");
        assert_ne!(table("a-b"), table("a.b"));
        assert_ne!(table("a_b"), table("a-b"));
        assert!(mirror("enx00e04c680001").len() <= 15);
        assert_ne!(mirror("enx00e04c680001"), mirror("enx00e04c680002"));
    }

    #[test]
    fn each_filter_counts_what_it_takes_in_its_own_direction() {
        let reject = Filter { action: FilterAction::Reject, protocol: Some(Protocol::Udp), port: Some(53), ..ALL };
        let up = Filter { direction: Direction::Up, address: Some("192.0.2.7".parse().unwrap()), ..ALL };
        let (text, rules) = script("dut0", &[ALL, reject, up], None);
        let chain = |name: &str| {
            let start = text.find(&format!("chain {name} {{")).unwrap();
            text[start..].lines().skip(1).take_while(|line| line.trim() != "}").map(str::trim).collect::<Vec<_>>()
        };
        assert_eq!(
            chain("up"),
            [
                "counter name \"f0\" drop",
                "meta l4proto udp th dport 53 counter name \"f1\" reject with icmpx type host-unreachable",
                "meta l4proto udp th sport 53 counter name \"f1\" reject with icmpx type host-unreachable",
                "ip daddr 192.0.2.7 counter name \"f2\" drop",
            ]
        );
        assert_eq!(chain("down"), ["counter name \"f0\" drop"]);
        assert_eq!(rules, 4 + 1 + 4);
        assert!(text.starts_with("add table inet hilbench_dut0\ndelete table inet hilbench_dut0\n"), "one transaction");
    }

    #[test]
    fn silence_spares_connections_that_began_later() {
        let (text, _) = script("dut0", &[Filter { action: FilterAction::Silent, ..ALL }], None);
        let mark = text.find("== syn ct mark set").unwrap();
        assert!(mark < text.find("ct mark != ").unwrap(), "marked before it is asked for");
        assert!(!text.contains("udp"));
    }

    #[test]
    fn a_portal_takes_port_80_of_the_device_only() {
        let (text, rules) = script("dut0", &[], Some(4711));
        assert!(text.contains("iifname \"dut0\" meta nfproto ipv4 tcp dport 80 redirect to :4711"));
        assert_eq!(rules, 5);
    }

    #[test]
    fn impairments_are_spelled_for_tc() {
        assert_eq!(netem(&Impairment { direction: Direction::Up, ..Impairment::default() }), None);
        let bad = Impairment {
            direction: Direction::Up,
            delay: Duration::from_millis(50),
            jitter: Duration::from_millis(5),
            loss: 125,
            rate: Some(8000),
            reorder: 1000,
            ..Impairment::default()
        };
        let words = "limit 1000 delay 50000us 5000us loss 12.5% reorder 100.0% rate 8000bit";
        assert_eq!(netem(&bad).as_deref(), Some(words));
        assert_eq!(sides(Some(&bad)), (None, Some(words.to_owned())));
        assert_eq!(sides(None), (None, None));
    }
}
