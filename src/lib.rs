//! Offshoot.

pub mod backend;
pub mod host;
pub mod volume;
