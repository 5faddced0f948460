//! Memory of signature checks.

/// Answers of calls that were really executed before, to be shared by any number of machines and threads.
#[derive(Debug, Default)]
pub struct VerifyMemo {}

impl VerifyMemo {
    /// An empty memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Calls answered from memory, and calls really executed, since it was made.
    #[must_use]
    pub fn hits_and_misses(&self) -> (u64, u64) {
        (0, 0)
    }
}
