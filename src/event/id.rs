//! Names and instants.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Nanoseconds of the bench clock since the run's anchor. On a virtual bench this is the device's own time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The instant `span` later; saturates at the end of time (584 years).
    #[must_use]
    pub fn after(self, span: std::time::Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Time from `earlier` to `self`; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> std::time::Duration {
        std::time::Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
        #[serde(transparent)]
        pub struct $type(pub String);

        impl $type {
            /// Wraps a name as it stands.
            pub fn new(name: impl Into<String>) -> Self {
                Self(name.into())
            }

            /// The name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl From<&str> for $type {
            fn from(name: &str) -> Self {
                Self(name.to_owned())
            }
        }
    };
}

name! {
    /// A run's identity: `20261123-221530-4f1c`, sortable by start, safe as a directory name.
    RunId
}
name! {
    /// A case of the plan, as written in the plan file.
    CaseId
}
name! {
    /// A step's place: the case (or `setup`, `finally`, `safe-state`), then step numbers from 1, nested ones by dots:
    /// `downgrade-refused/3`, `downgrade-refused/3.2`. Attempts of a retried step share its id.
    StepId
}
name! {
    /// A channel of the rig: `console`, `supply`, `probe`, ...
    ChannelName
}
