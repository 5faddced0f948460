//! The virtual machine: prepared once from Debian packages, then booted for each command.
//!
//! Nothing is installed on the host and nothing needs root: packages are fetched with an apt state of their own and unpacked into a
//! cache. The guest's root is that directory over 9p, under a file system in memory, so a run can change everything and nothing stays.

mod apt;
mod boot;
mod cache;
mod cpio;
mod error;
mod guest;
mod kernel;
mod modules;
mod recipe;
mod tool;
mod unpack;

pub use boot::{Job, Outcome, run};
pub use cache::{Lab, ensure};
pub use error::VmError;
pub use guest::Service;
