//! What the kubelet must know of this driver: its plugin registration (`pluginregistration` v1).
//!
//! The kubelet watches a directory; the driver serves a socket there, says who it is and at which socket it speaks CSI, and
//! is told what came of it. When the kubelet starts again it finds the socket that is there and asks anew, so nothing has
//! to be watched from here. This takes the place of the sidecar node-driver-registrar.

mod authority;
mod registration;

pub use registration::Registrar;

/// The messages and the service of the registration, generated from `proto/pluginregistration.proto`.
#[expect(
    clippy::pedantic,
    missing_docs,
    reason = "generated code; the proto file documents it"
)]
pub mod api {
    tonic::include_proto!("pluginregistration");
}
