//! Test plans: YAML to checked plan, and binding a plan to a rig.

pub mod model;
