//! Makes a span of OpenTelemetry from the spans of a call.

use std::fmt::Debug;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::Sender;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use super::otlp::any_value::Value;
use super::otlp::{AnyValue, KeyValue, Span, Status};

/// The span of `rpc` around a whole call, and its fields.
const CALL: &str = "rpc";
const METHOD: &str = "method";
const CODE: &str = "code";
/// Where our spans come from.
const TARGET: &str = "offshoot::rpc";
const KIND_SERVER: i32 = 2;
const STATUS_ERROR: i32 = 2;
const STATUS_UNSET: i32 = 0;
/// Codes of gRPC for which a server is to blame, as OpenTelemetry's conventions for servers have it: UNKNOWN,
/// DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS. The others are answers like any other.
const ERRORS: [i64; 6] = [2, 4, 12, 13, 14, 15];

/// A layer of `tracing` that hands finished calls to the exporter.
pub struct SpanLayer {
    finished: Sender<Span>,
    dropped: Arc<AtomicU64>,
}

/// A call that is under way.
struct Call {
    began: u64,
    method: String,
    code: Option<i64>,
    attributes: Vec<KeyValue>,
}

impl SpanLayer {
    pub(super) fn new(finished: Sender<Span>, dropped: Arc<AtomicU64>) -> Self {
        Self { finished, dropped }
    }
}

impl<S> Layer<S> for SpanLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if is_call(&span) {
            let mut call = Call {
                began: now(),
                method: String::new(),
                code: None,
                attributes: Vec::new(),
            };
            attributes.record(&mut call);
            span.extensions_mut().insert(call);
        } else {
            with_call(&span, |call| attributes.record(call));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            with_call(&span, |call| values.record(call));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else {
            return;
        };
        let call = span.extensions_mut().remove::<Call>();
        if let Some(call) = call
            && self.finished.try_send(call.finish(now())).is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn is_call<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>) -> bool {
    let metadata = span.metadata();
    metadata.name() == CALL && metadata.target().starts_with(TARGET)
}

/// Works on the call that `span` belongs to, if it is a span of ours that operators see too.
fn with_call<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>, work: impl FnOnce(&mut Call)) {
    let metadata = span.metadata();
    if !metadata.target().starts_with(TARGET) || *metadata.level() > Level::INFO {
        return;
    }
    for above in span.scope() {
        if let Some(call) = above.extensions_mut().get_mut::<Call>() {
            work(call);
            return;
        }
    }
}

impl Call {
    fn finish(mut self, ended: u64) -> Span {
        let path = self.method.trim_start_matches('/');
        let (service, method) = path.split_once('/').unwrap_or(("", path));
        let names = [
            ("rpc.system", "grpc"),
            ("rpc.service", service),
            ("rpc.method", method),
        ];
        let names = names.map(|(key, value)| attribute(key, Value::StringValue(value.to_owned())));
        let code = self
            .code
            .map(|code| attribute("rpc.grpc.status_code", Value::IntValue(code)));
        let name = path.to_owned();
        let mut attributes: Vec<KeyValue> = names.into_iter().chain(code).collect();
        attributes.append(&mut self.attributes);
        let failed = self.code.is_none_or(|code| ERRORS.contains(&code));
        Span {
            trace_id: [random(), random()].map(u64::to_be_bytes).concat(),
            span_id: random().to_be_bytes().to_vec(),
            name,
            kind: KIND_SERVER,
            start_time_unix_nano: self.began,
            end_time_unix_nano: ended,
            attributes,
            status: Some(Status {
                message: String::new(),
                code: if failed { STATUS_ERROR } else { STATUS_UNSET },
            }),
        }
    }

    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            (METHOD, Value::StringValue(method)) => self.method = method,
            (CODE, Value::IntValue(code)) => self.code = Some(code),
            // An empty field says nothing, and what a handler says again is the same.
            (_, Value::StringValue(text)) if text.is_empty() => {}
            (name, value) => {
                let name = format!("csi.{name}");
                self.attributes.retain(|it| it.key != name);
                self.attributes.push(attribute(&name, value));
            }
        }
    }
}

impl Visit for Call {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::IntValue(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(
            field,
            Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)),
        );
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, Value::StringValue(value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, Value::StringValue(format!("{value:?}")));
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(value) }),
    }
}

/// Nanoseconds since 1970.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |it| u64::try_from(it.as_nanos()).unwrap_or(u64::MAX))
}

/// Ids must not repeat, and need not be secret: what the standard library's hash tables start with is enough.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(code: Option<i64>) -> Span {
        let call = Call {
            began: 1,
            method: "/csi.v1.Controller/CreateVolume".to_owned(),
            code,
            attributes: Vec::new(),
        };
        call.finish(2)
    }

    #[test]
    fn only_what_a_server_is_to_blame_for_is_an_error() {
        let status = |code| call(code).status.map(|it| it.code);
        assert_eq!(status(Some(0)), Some(STATUS_UNSET));
        assert_eq!(status(Some(10)), Some(STATUS_UNSET));
        assert_eq!(status(Some(13)), Some(STATUS_ERROR));
        assert_eq!(status(None), Some(STATUS_ERROR), "it was cut off");
    }

    #[test]
    fn spans_are_named_after_their_method_and_have_ids_of_their_own() {
        let (one, other) = (call(Some(0)), call(Some(0)));
        assert_eq!(one.name, "csi.v1.Controller/CreateVolume");
        assert_eq!((one.trace_id.len(), one.span_id.len()), (16, 8));
        assert_ne!(one.trace_id, other.trace_id);
    }
}
