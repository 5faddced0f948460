//! Quantities with units, and limits on them.
//!
//! People write quantities as strings with units (`500ms`, `120mA`, `3.3V`, `64KiB`), never as bare numbers: a plan that says
//! `within: 10` does not say ten what. Every quantity is held as a whole number of its smallest unit, so what was written is what
//! is compared and what is printed again: `parse(display(q)) == q` for every `q`.

mod limits;
mod quantity;
mod typed;

pub use limits::{Limits, ParseLimitsError};
pub use quantity::{Dimension, ParseQuantityError, Quantity};
pub use typed::{Current, Size, Span, Voltage};
