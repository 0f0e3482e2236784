//! Metrics and health over HTTP: `/metrics` for Prometheus, `/healthz` and `/readyz` for the kubelet.
//!
//! `operations` counts calls, `families` is the table of all names, `render` writes them, `http` serves them. Nothing here
//! waits for a disk: what is shown of the storage is what the watcher saw last.
#![expect(
    clippy::cast_precision_loss,
    reason = "numbers of Prometheus are floats, exact to 2^53"
)]

mod families;
mod http;
mod operations;
mod process;
mod render;

pub use families::{FAMILIES, Family, Kind};
pub use http::{AddressError, BuildInfo, Monitor};
pub use operations::{Measure, Operations};
