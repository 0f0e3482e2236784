//! Spans of CSI calls, sent to a collector by OTLP over gRPC (`--otlp-endpoint`).
//!
//! `rpc` opens a `tracing` span for each call, and its handlers open spans with the objects that they work on; `layer` makes one
//! span of OpenTelemetry of each call from them, `exporter` sends it. The fields of our spans are chosen by name where they are
//! opened, and are those of the log: so nothing of a request is sent that a log line would not show, and no secret.
//!
//! The crates of OpenTelemetry would bring a random number generator, an executor, a thread of their own and six crates more; one
//! kind of span and one call need none of it.

mod exporter;
mod layer;

pub use exporter::{EndpointError, Exporter};
pub use layer::SpanLayer;

use tokio::sync::mpsc;

/// How many spans wait for being sent at most; more are dropped, and counted.
const QUEUE: usize = 2048;

/// The messages and the client of OTLP, generated from `proto/otlp.proto`.
#[expect(
    clippy::pedantic,
    unreachable_pub,
    reason = "generated code; the proto file documents it"
)]
mod otlp {
    tonic::include_proto!("opentelemetry.proto.collector.trace.v1");
}

/// The layer that makes spans, and the exporter that sends them to the collector at `endpoint`.
pub fn to(endpoint: &str) -> Result<(SpanLayer, Exporter), EndpointError> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let exporter = Exporter::new(endpoint, receiver)?;
    Ok((SpanLayer::new(sender, exporter.dropped()), exporter))
}
