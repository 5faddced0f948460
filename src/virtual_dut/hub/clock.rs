//! The hub's clock: unset at power-on, then as its time server says (SNTP, RFC 4330).

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

use super::{attach::Servers, lock, pace::Pace};

/// Seconds from 1900, where NTP counts from, to 1970.
const NTP_TO_UNIX: u64 = 2_208_988_800;
/// When this firmware was made, 2026-01-01: earlier times are not believed.
const MADE: u64 = 1_767_225_600;
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the time is asked for once it is set.
const AGAIN: Duration = Duration::from_secs(5);

/// The time as the hub knows it.
#[derive(Debug, Clone)]
pub(super) struct Clock {
    started: Instant,
    set: Arc<Mutex<Option<(Instant, u64)>>>,
}

impl Clock {
    pub(super) fn unset() -> Self {
        Self { started: Instant::now(), set: Arc::default() }
    }

    pub(super) fn is_set(&self) -> bool {
        lock(&self.set).is_some()
    }

    /// Seconds since 1970: since the hub was started if nobody has told it.
    pub(super) fn unix(&self) -> u64 {
        let (since, base) = lock(&self.set).unwrap_or((self.started, 0));
        base + since.elapsed().as_secs()
    }

    /// Asks the server again and again.
    pub(super) async fn keep(&self, servers: &Servers, pace: &Pace) {
        loop {
            let told = ask(servers, pace).await;
            if let Some(unix) = told.filter(|unix| *unix >= MADE) {
                *lock(&self.set) = Some((Instant::now(), unix));
            }
            pace.sleep(if self.is_set() { AGAIN } else { PATIENCE }).await;
        }
    }
}

async fn ask(servers: &Servers, pace: &Pace) -> Option<u64> {
    let socket = servers.udp(servers.clock).await?;
    let mut question = [0; 48];
    // Version 4, client.
    question[0] = 0x23;
    // The server returns it as the originate time: an answer to something else is not taken.
    question[40..48].copy_from_slice(&std::process::id().to_be_bytes().repeat(2));
    socket.send(&question).await.ok()?;
    let mut answer = [0; 96];
    let read = pace.within(PATIENCE, socket.recv(&mut answer)).await?.ok()?;
    let seconds = u64::from(u32::from_be_bytes([answer[40], answer[41], answer[42], answer[43]]));
    // Mode 4 is a server; stratum 0 a kiss of death.
    let good = read >= 48 && answer[0] & 7 == 4 && answer[1] != 0 && answer[24..32] == question[40..48];
    // Times with the top bit clear are those after 2036 (RFC 4330 section 3).
    let era = if seconds < 1 << 31 { 1 << 32 } else { 0 };
    good.then(|| (seconds + era).saturating_sub(NTP_TO_UNIX))
}
