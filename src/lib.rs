//! Offshoot.

pub mod backend;
pub mod controller;
pub mod csi;
pub mod host;
pub mod in_flight;
pub mod node;
pub mod rpc;
pub mod volume;
