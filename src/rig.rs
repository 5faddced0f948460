//! Rigs and device profiles: YAML to checked specification.

pub mod model;
