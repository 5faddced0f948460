//! Instruments that are several channels of a rig: a board with several relays, a supply with several outputs. The way to one can often be
//! opened only once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use tokio::sync::Mutex;

use crate::channel::link::LinkError;

/// The instruments of one kind that this process has open, by identity.
pub(super) struct Pool<T>(Mutex<BTreeMap<String, Weak<Mutex<T>>>>);

impl<T> Pool<T> {
    /// None is open.
    pub(super) const fn new() -> Self {
        Self(Mutex::const_new(BTreeMap::new()))
    }

    /// The instrument, opened if no other channel has it already. It is closed with the last channel.
    pub(super) async fn get(
        &self,
        identity: &str,
        open: impl Future<Output = Result<T, LinkError>>,
    ) -> Result<Arc<Mutex<T>>, LinkError> {
        let mut known = self.0.lock().await;
        known.retain(|_, instrument| instrument.strong_count() > 0);
        if let Some(instrument) = known.get(identity).and_then(Weak::upgrade) {
            return Ok(instrument);
        }
        let instrument = Arc::new(Mutex::new(open.await?));
        known.insert(identity.to_owned(), Arc::downgrade(&instrument));
        Ok(instrument)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_instrument_is_opened_once_and_closed_with_its_last_channel() {
        let pool = Pool::new();
        let first = pool.get("a", async { Ok(1) }).await.unwrap();
        let again = pool.get("a", async { Err(LinkError::new("open", "twice")) }).await.unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        assert!(pool.get("b", async { Err(LinkError::new("open", "broken")) }).await.is_err());
        drop((first, again));
        assert_eq!(*pool.get("a", async { Ok(2) }).await.unwrap().lock().await, 2);
    }
}
