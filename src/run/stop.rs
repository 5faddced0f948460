//! Stop requests as a level that only rises.

use tokio::sync::watch;

use crate::event::StopLevel;

/// The side that raises the level.
#[derive(Debug)]
pub struct StopSwitch {
    level: watch::Sender<Option<StopLevel>>,
}

/// The side that waits for it; cheap to clone.
#[derive(Debug, Clone)]
pub struct StopSignal {
    level: watch::Receiver<Option<StopLevel>>,
}

impl StopSwitch {
    /// A switch that nobody has touched, and its signal.
    #[must_use]
    pub fn new() -> (Self, StopSignal) {
        let (tx, rx) = watch::channel(None);
        (Self { level: tx }, StopSignal { level: rx })
    }

    /// Raises the level; lowering is ignored.
    pub fn raise(&self, to: StopLevel) {
        self.level.send_if_modified(|level| {
            let higher = level.is_none_or(|now| now < to);
            if higher {
                *level = Some(to);
            }
            higher
        });
    }
}

impl StopSignal {
    /// The level now.
    #[must_use]
    pub fn level(&self) -> Option<StopLevel> {
        *self.level.borrow()
    }

    /// Completes once the level is at least `wanted`; never, if that is not reached.
    pub async fn reached(&self, wanted: StopLevel) {
        let mut level = self.level.clone();
        if level.wait_for(|now| now.is_some_and(|now| now >= wanted)).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{StopLevel, StopSwitch};

    #[tokio::test]
    async fn the_level_only_rises() {
        let (switch, signal) = StopSwitch::new();
        assert_eq!(signal.level(), None);
        switch.raise(StopLevel::Now);
        switch.raise(StopLevel::Graceful);
        assert_eq!(signal.level(), Some(StopLevel::Now));
        signal.reached(StopLevel::Graceful).await;
        signal.reached(StopLevel::Now).await;
        let forced = tokio::time::timeout(std::time::Duration::from_millis(5), signal.reached(StopLevel::Forced)).await;
        assert!(forced.is_err());
    }
}
