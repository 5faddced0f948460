//! A device on a network of its own: a namespace behind a pair of virtual Ethernet ports, with the kernel's own faults of links and packet
//! filters. Needs root and the commands `ip`, `tc` and `nft`, which the guest has.

use std::{fs::File, net::Ipv4Addr, process::Command, thread, time::Duration};

use nix::sched::{CloneFlags, setns};

/// Address of the bench's end.
pub const BENCH: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// A second address of the bench's end, where a cloud can be that is not where names are asked for.
pub const CLOUD: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 3);
/// Address of the device's end.
pub const DEVICE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);

/// A command of the network tools failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the device's network: `{command}`: {answer}; it needs root and the network tools: use `cargo lab test`")]
pub struct NetError {
    command: String,
    answer: String,
}

/// What the device's end of the link does with packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// They vanish.
    Drop,
    /// A firewall answers that the host is not to be reached.
    Prohibit,
    /// A firewall resets connections.
    Reset,
}

/// The network; it goes when this is dropped.
#[derive(Debug)]
pub struct Network {
    name: String,
}

impl Network {
    /// A network with a link that is up. The device's namespace is called `name`, the bench's port `name` with `0`.
    pub fn new(name: &str) -> Result<Self, NetError> {
        let network = Self::without_address(name)?;
        network.inside(&format!("ip addr add {DEVICE}/24 dev eth0"))?;
        Ok(network)
    }

    /// The same with a device that has to find its address itself.
    pub fn without_address(name: &str) -> Result<Self, NetError> {
        let network = Self { name: name.to_owned() };
        call(&format!("ip netns add {name}"))?;
        call(&format!("ip link add {name}0 type veth peer name eth0 netns {name}"))?;
        for address in [BENCH, CLOUD] {
            call(&format!("ip addr add {address}/24 dev {name}0"))?;
        }
        call(&format!("ip link set {name}0 up"))?;
        network.inside("ip link set lo up")?;
        network.inside("ip link set eth0 up")?;
        Ok(network)
    }

    /// Pulls the network cable, or puts it back.
    pub fn link(&self, up: bool) -> Result<(), NetError> {
        self.inside(if up { "ip link set eth0 up" } else { "ip link set eth0 down" })
    }

    /// Delays what the device sends, and loses some of it.
    pub fn impair(&self, delay: Duration, loss_percent: u8) -> Result<(), NetError> {
        self.inside(&format!("tc qdisc replace dev eth0 root netem delay {}us loss {loss_percent}%", delay.as_micros()))
    }

    /// Filters what arrives at the device; `None` lets everything through again.
    pub fn filter(&self, filter: Option<Filter>) -> Result<(), NetError> {
        self.inside("nft flush ruleset")?;
        let verdict = match filter {
            None => return Ok(()),
            Some(Filter::Drop) => "drop",
            Some(Filter::Prohibit) => "reject with icmpx host-unreachable",
            Some(Filter::Reset) => "meta l4proto tcp reject with tcp reset",
        };
        self.inside("nft add table inet lab")?;
        self.inside("nft add chain inet lab input { type filter hook input priority 0 ; }")?;
        self.inside(&format!("nft add rule inet lab input {verdict}"))
    }

    /// Does something as a program on the device would: on a thread in its namespace.
    pub fn on_device<T: Send>(&self, act: impl FnOnce() -> T + Send) -> Result<T, NetError> {
        let inside = || self.enter().map(|()| act());
        match thread::scope(|scope| scope.spawn(inside).join()) {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Takes this thread into the device's namespace, for good.
    pub fn enter(&self) -> Result<(), NetError> {
        let failed = |answer: String| NetError { command: format!("enter {}", self.name), answer };
        let namespace = File::open(format!("/run/netns/{}", self.name)).map_err(|error| failed(error.to_string()))?;
        setns(namespace, CloneFlags::CLONE_NEWNET).map_err(|error| failed(error.to_string()))
    }

    /// Runs a command in the device's namespace.
    pub fn inside(&self, command: &str) -> Result<(), NetError> {
        call(&format!("ip netns exec {} {command}", self.name))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Takes both ports with it. The machine is thrown away anyway.
        drop(call(&format!("ip netns del {}", self.name)));
    }
}

fn call(command: &str) -> Result<(), NetError> {
    let failed = |answer: String| NetError { command: command.to_owned(), answer };
    let mut words = command.split(' ');
    let output =
        Command::new(words.next().unwrap_or_default()).args(words).output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() { Ok(()) } else { Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())) }
}
