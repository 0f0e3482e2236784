//! The little that the node half asks of the Kubernetes API: its own Node and CSINode, and the VolumeAttachments of its node.
//!
//! `api` is a client for a handful of requests, `objects` the few fields that are read of each object, `startup_taint` and `pre_stop`
//! what is done with them. None of it is used unless it is asked for, and no failure of it stops the driver.

mod api;
mod objects;
mod pre_stop;
mod startup_taint;

pub use api::{ApiArgs, ApiError};
pub use pre_stop::{PreStopArgs, PreStopError, pre_stop};
pub use startup_taint::StartupTaint;
