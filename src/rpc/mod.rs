//! The gRPC services: parse, claim, do, answer.
//!
//! This is the only place that knows CSI's messages and gRPC's codes. `request` makes our nouns out of messages,
//! `status` chooses the code of each error, `answer` makes messages out of nouns. What changes something runs in a
//! task of its own that owns its claims, because tonic drops a handler whose client went away.

mod answer;
mod controller;
mod group;
mod identity;
mod node;
mod pages;
mod request;
mod run;
mod server;
mod status;

pub use controller::ControllerService;
pub use group::GroupControllerService;
pub use identity::{IdentityService, PluginInfo};
pub use node::{NodeInfo, NodeService};
pub use server::{Endpoint, EndpointError, Listener, MAX_CALLS, Services};
