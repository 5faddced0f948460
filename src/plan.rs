//! Test plans: YAML to checked plan, and binding a plan to a rig.
//!
//! [`load_plan`] checks a plan by itself; [`bind()`] checks it against a rig and its device profile before anything is touched, makes
//! the altered images, and says which cases do not apply.

mod alter;
mod bind;
mod check;
pub mod keys;
mod load;
pub mod model;
mod schema;

pub use alter::{AlterError, alter};
pub use bind::{Applicability, Bound, bind};
pub use load::{PlanFile, load_plan};
pub use schema::{SCHEMAS, key_reference, schema};
