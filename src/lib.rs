//! Offshoot: block storage for Kubernetes, as one CSI driver.
//!
//! `volume` holds our nouns; `backend` is where volumes live and `host` what a machine can do; `controller` and `node` are
//! the two halves of the driver; `rpc` speaks CSI; `serve` puts them together. Dependencies point one way:
//! `rpc -> {controller, node} -> backend -> host -> volume` (docs/architecture.md).

pub mod backend;
pub mod blocking;
pub mod config;
pub mod controller;
pub mod csi;
pub mod demo;
pub mod doctor;
mod error_chain;
#[doc(hidden)]
pub mod fuzzing;
pub mod health;
pub mod host;
pub mod in_flight;
pub mod kubelet;
pub mod kubernetes;
pub mod metrics;
pub mod node;
pub mod rpc;
pub mod serve;
pub mod traces;
pub mod translate;
pub mod volume;
mod watcher;

pub use error_chain::error_chain;
pub(crate) use error_chain::exhausted;
