//! The clock of a bench whose device lives in real time.
//!
//! A machine that has no time for the device, because it is overloaded, asleep or stopped, must not make the device look slow. The device
//! beats; while a beat is overdue the clock stands still, so deadlines of steps wait for the device as long as the machine does. The device's
//! own timers are on this clock too, so that neither runs away from the other.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::{
    channel::clock::{BoxFuture, Clock},
    event::Nanos,
};

/// Time between beats.
pub(super) const BEAT: Duration = Duration::from_millis(20);
/// Time after a beat for which the clock goes on without the next one.
const GRACE: Duration = Duration::from_millis(100);

#[derive(Debug)]
struct Beats {
    last: Instant,
    /// Time on the clock at the last beat.
    told: Duration,
}

/// The clock.
#[derive(Debug)]
pub(super) struct Pace(Mutex<Beats>);

impl Pace {
    /// Begins at zero now.
    pub(super) fn start() -> Self {
        Self(Mutex::new(Beats { last: Instant::now(), told: Duration::ZERO }))
    }

    /// Completes after a time on this clock.
    pub(super) async fn sleep(&self, time: Duration) {
        self.sleep_until(self.now().after(time)).await;
    }

    /// What `act` comes to, if it takes no longer than this.
    pub(super) async fn within<T>(&self, limit: Duration, act: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = act => Some(done),
            () = self.sleep(limit) => None,
        }
    }

    /// Time since `earlier`.
    pub(super) fn since(&self, earlier: Nanos) -> Duration {
        self.now().since(earlier)
    }

    /// The device has had its turn.
    pub(super) fn beat(&self) {
        self.beat_at(Instant::now());
    }

    fn beat_at(&self, now: Instant) {
        let mut beats = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let turn = now.saturating_duration_since(beats.last).min(GRACE);
        beats.told += turn;
        beats.last = now;
    }

    fn at(&self, now: Instant) -> Duration {
        let beats = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        beats.told + now.saturating_duration_since(beats.last).min(GRACE)
    }
}

impl Clock for Pace {
    fn now(&self) -> Nanos {
        Nanos::default().after(self.at(Instant::now()))
    }

    fn sleep_until(&self, instant: Nanos) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            loop {
                let now = self.now();
                if now >= instant {
                    return;
                }
                tokio::time::sleep(instant.since(now).max(Duration::from_millis(1))).await;
            }
        })
    }

    fn name(&self) -> &'static str {
        "wall"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_which_the_device_has_no_turn_does_not_count() {
        let pace = Pace::start();
        let start = pace.0.lock().unwrap().last;
        let ms = Duration::from_millis;
        for beat in 1..=50 {
            pace.beat_at(start + BEAT * beat);
        }
        assert_eq!(pace.at(start + ms(1000)), ms(1000), "with every beat in time it is the machine's clock");
        assert_eq!(pace.at(start + ms(1050)), ms(1050));
        assert_eq!(pace.at(start + ms(9000)), ms(1100), "it stands still without beats");
        pace.beat_at(start + ms(9000));
        assert_eq!(pace.at(start + ms(9000)), ms(1100), "and never jumps");
        assert_eq!(pace.at(start + ms(9010)), ms(1110));
    }

    #[tokio::test]
    async fn who_waits_is_woken_once_the_device_had_its_time() {
        let pace = Pace::start();
        let until = Nanos::default().after(Duration::from_millis(60));
        let beats = async {
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                pace.beat();
            }
        };
        tokio::select! {
            () = pace.sleep_until(until) => assert!(pace.now() >= until),
            () = beats => {}
        }
    }
}
