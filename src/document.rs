//! YAML documents with closed schemas: from bytes to a checked tree in which every value knows its place.
//!
//! [`read()`] turns a file into a tree of [`Node`]s and stops at the first place that is not YAML. [`check()`] compares the tree with a
//! [`Shape`] and collects *every* unknown key, missing key, wrong type and malformed value. The shapes are plain tables
//! (`rig::keys`, `plan::keys`, `step::keys`); [`json_schema`] and [`key_reference`] are generated from the same tables, so what
//! editors accept, what the documentation says and what the checker does cannot drift apart.

mod check;
mod markdown;
mod node;
mod read;
mod scalar;
mod schema;
mod shape;
mod value;

pub use check::check;
pub use markdown::key_reference;
pub use node::{Node, NodeKind};
pub use read::{MAX_FILE, Unreadable, parse_bytes, read, read_bytes};
pub use scalar::is_name;
pub use schema::json_schema;
pub use shape::{Group, Key, Keys, OneOf, Shape, Word};
pub use value::{Data, Map, Named, Value};
