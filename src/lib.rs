//! Offshoot.

pub mod backend;
pub mod controller;
pub mod host;
pub mod in_flight;
pub mod volume;
