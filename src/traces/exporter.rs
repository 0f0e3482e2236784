//! Sends spans to the collector, some at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc::Receiver;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tonic::transport::{Channel, Endpoint};
use tracing::{info, warn};

use super::otlp::any_value::Value;
use super::otlp::trace_service_client::TraceServiceClient;
use super::otlp::{
    AnyValue, ExportTraceServiceRequest, InstrumentationScope, KeyValue, Resource, ResourceSpans,
    ScopeSpans, Span,
};
use crate::error_chain;

/// How long a span waits for others, and how many go together.
const DELAY: Duration = Duration::from_secs(2);
const BATCH: usize = 512;
/// How long a collector may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How long the last spans may take when the driver stops.
const LAST_LIMIT: Duration = Duration::from_secs(2);

/// The address of a collector that cannot be used.
#[derive(Debug, Error)]
#[error(
    "--otlp-endpoint {0:?} is not of the form http://host:4317; use a collector on this node or in this cluster"
)]
pub struct EndpointError(String);

/// Sends what the layer hands over.
pub struct Exporter {
    endpoint: Endpoint,
    finished: Receiver<Span>,
    dropped: Arc<AtomicU64>,
}

impl Exporter {
    pub(super) fn new(endpoint: &str, finished: Receiver<Span>) -> Result<Self, EndpointError> {
        let wrong = || EndpointError(endpoint.to_owned());
        let host = endpoint.strip_prefix("http://").ok_or_else(wrong)?;
        if host.is_empty() || host.starts_with('/') {
            return Err(wrong());
        }
        let address = Endpoint::from_shared(endpoint.to_owned()).map_err(|_| wrong())?;
        Ok(Self {
            endpoint: address.timeout(LIMIT).connect_timeout(LIMIT),
            finished,
            dropped: Arc::default(),
        })
    }

    pub(super) fn dropped(&self) -> Arc<AtomicU64> {
        self.dropped.clone()
    }

    /// Sends spans until `stop`, and those that are left then. A collector that is away costs spans, and nothing else.
    pub async fn run(
        mut self,
        attributes: Vec<(&'static str, String)>,
        mut stop: watch::Receiver<bool>,
    ) {
        let mut collector = Collector {
            client: TraceServiceClient::new(self.endpoint.connect_lazy()),
            resource: resource(attributes),
            answers: true,
        };
        let mut spans = Vec::new();
        let mut stopping = false;
        while !stopping {
            stopping = self.collect(&mut spans, &mut stop).await;
            let limit = if stopping { LAST_LIMIT } else { LIMIT };
            collector
                .send(std::mem::take(&mut spans), limit, &self.dropped)
                .await;
        }
    }

    /// Waits for a batch; `true` when it is the last.
    async fn collect(&mut self, spans: &mut Vec<Span>, stop: &mut watch::Receiver<bool>) -> bool {
        let mut deadline = None;
        while spans.len() < BATCH {
            let late = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                span = self.finished.recv() => match span {
                    Some(span) => spans.push(span),
                    None => return true,
                },
                () = late => return false,
                // Whether it was said or its sender is gone: this is the end.
                _ = stop.wait_for(|stop| *stop) => {
                    while let Ok(span) = self.finished.try_recv() {
                        spans.push(span);
                    }
                    return true;
                }
            }
            deadline.get_or_insert_with(|| Instant::now() + DELAY);
        }
        false
    }
}

struct Collector {
    client: TraceServiceClient<Channel>,
    resource: Resource,
    /// The last time it did; a change is worth a line in the log, and only a change.
    answers: bool,
}

impl Collector {
    async fn send(&mut self, spans: Vec<Span>, limit: Duration, dropped: &AtomicU64) {
        if spans.is_empty() {
            return;
        }
        let count = spans.len();
        let sent = timeout(limit, self.client.export(self.request(spans))).await;
        let failure = match sent {
            Ok(Ok(_)) => None,
            Ok(Err(status)) => Some(error_chain(&status)),
            Err(_) => Some(format!("no answer within {} s", limit.as_secs())),
        };
        match failure {
            Some(error) => {
                dropped.fetch_add(count as u64, Ordering::Relaxed);
                if std::mem::replace(&mut self.answers, false) {
                    warn!(
                        error,
                        "the collector of spans does not take them; they are dropped"
                    );
                }
            }
            None if !std::mem::replace(&mut self.answers, true) => {
                let dropped = dropped.swap(0, Ordering::Relaxed);
                info!(dropped, "the collector of spans takes them again");
            }
            None => {}
        }
    }

    fn request(&self, spans: Vec<Span>) -> ExportTraceServiceRequest {
        let scope = InstrumentationScope {
            name: "offshoot".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let scope_spans = ScopeSpans {
            scope: Some(scope),
            spans,
        };
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![scope_spans],
            }],
        }
    }
}

fn resource(attributes: Vec<(&'static str, String)>) -> Resource {
    let attributes = attributes.into_iter().map(|(key, value)| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value)),
        }),
    });
    Resource {
        attributes: attributes.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collectors_are_reached_over_plain_http() {
        let new = |endpoint| Exporter::new(endpoint, tokio::sync::mpsc::channel(1).1).is_ok();
        assert!(new("http://127.0.0.1:4317"));
        assert!(new("http://collector.monitoring.svc:4317"));
        for bad in [
            "",
            "collector:4317",
            "https://collector:4317",
            "http://",
            "http:///x",
        ] {
            assert!(!new(bad), "{bad}");
        }
    }
}
