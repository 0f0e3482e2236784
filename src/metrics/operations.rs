//! How long calls took, and how they ended.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http::{HeaderMap, Request, Response};
use pin_project_lite::pin_project;
use tower::{Layer, Service};
use tracing::Span;

/// The upper bounds that the sidecars use, in seconds (csi-lib-utils).
pub(super) const BUCKETS: [f64; 13] = [
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 25.0, 50.0, 120.0, 300.0, 600.0,
];
/// The codes of gRPC by number, as the sidecars write them.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];
const OK: usize = 0;
const CANCELED: usize = 1;
const UNKNOWN: usize = 2;
/// How many methods are told apart. CSI has fewer; who calls others shall not fill our memory.
const MAX_METHODS: usize = 64;
const OTHER: &str = "other";

/// The calls so far.
#[derive(Default)]
pub struct Operations {
    methods: Mutex<HashMap<String, Method>>,
    in_flight: AtomicU64,
}

/// The calls of a method, by code.
type Method = [Option<Box<Histogram>>; CODES.len()];

/// How many calls took how long.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Histogram {
    /// For each bucket, those that belong into it and no smaller one; the last is for the rest.
    counts: [u64; BUCKETS.len() + 1],
    pub(super) seconds: f64,
}

impl Histogram {
    fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BUCKETS.iter().position(|bound| seconds <= *bound);
        self.counts[bucket.unwrap_or(BUCKETS.len())] += 1;
        self.seconds += seconds;
    }

    /// How many calls took at most as long as each bound, all of them last.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = u64> {
        self.counts.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        })
    }
}

/// The calls of one method that ended with one code.
pub(super) struct Ended {
    pub(super) method: String,
    pub(super) code: &'static str,
    pub(super) histogram: Histogram,
}

impl Operations {
    /// How many calls wait for their answer.
    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// All of them, in order.
    pub(super) fn ended(&self) -> Vec<Ended> {
        let mut all = Vec::new();
        for (method, codes) in self.lock().iter() {
            let with_names = CODES.iter().zip(codes);
            all.extend(with_names.filter_map(|(code, histogram)| {
                Some(Ended {
                    method: method.clone(),
                    code,
                    histogram: histogram.as_deref()?.clone(),
                })
            }));
        }
        all.sort_by(|a, b| (&a.method, a.code).cmp(&(&b.method, b.code)));
        all
    }

    fn observe(&self, method: &str, code: usize, took: Duration) {
        let mut methods = self.lock();
        let known = methods.len() < MAX_METHODS || methods.contains_key(method);
        let name = if known { method } else { OTHER };
        let codes = methods.entry(name.to_owned()).or_default();
        codes[code].get_or_insert_default().observe(took);
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Method>> {
        self.methods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that has begun. If it is dropped before it ended, its caller went away.
struct Call {
    operations: Arc<Operations>,
    method: String,
    began: Instant,
    code: usize,
}

impl Drop for Call {
    fn drop(&mut self) {
        self.operations.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.operations
            .observe(&self.method, self.code, self.began.elapsed());
    }
}

/// Measures every call of a server, and notes its code in its span; does nothing when nobody wants to know.
#[derive(Clone)]
pub struct Measure {
    operations: Option<Arc<Operations>>,
    traced: bool,
}

impl Measure {
    /// A layer that counts in `operations`, and fills the field `code` of the span of a call when it is traced.
    #[must_use]
    pub fn new(operations: Option<Arc<Operations>>, traced: bool) -> Self {
        Self { operations, traced }
    }
}

impl<S> Layer<S> for Measure {
    type Service = Measured<S>;

    fn layer(&self, service: S) -> Measured<S> {
        Measured {
            service,
            measure: self.clone(),
        }
    }
}

/// A service whose calls are measured.
#[derive(Clone)]
pub struct Measured<S> {
    service: S,
    measure: Measure,
}

impl<S, A, B> Service<Request<A>> for Measured<S>
where
    S: Service<Request<A>, Response = Response<B>>,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Answer<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let call = self.measure.operations.as_ref().map(|operations| {
            operations.in_flight.fetch_add(1, Ordering::Relaxed);
            Call {
                operations: operations.clone(),
                method: request.uri().path().to_owned(),
                began: Instant::now(),
                code: CANCELED,
            }
        });
        Answer {
            future: self.service.call(request),
            call,
            traced: self.measure.traced,
        }
    }
}

pin_project! {
    /// The answer to a measured call.
    pub struct Answer<F> {
        #[pin]
        future: F,
        call: Option<Call>,
        traced: bool,
    }
}

impl<F, B, E> Future for Answer<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let answer = ready!(this.future.poll(context));
        let code = || match &answer {
            Ok(response) => code(response.headers()),
            Err(_) => UNKNOWN,
        };
        if *this.traced {
            Span::current().record("code", code());
        }
        if let Some(mut call) = this.call.take() {
            call.code = code();
        }
        Poll::Ready(answer)
    }
}

/// The code of an answer to a unary call. An error stands in the headers; success comes after the message, which is
/// ready when the headers are.
fn code(headers: &HeaderMap) -> usize {
    match headers.get("grpc-status").map(http::HeaderValue::as_bytes) {
        None => OK,
        Some(number) => std::str::from_utf8(number)
            .ok()
            .and_then(|number| number.parse().ok())
            .filter(|number| *number < CODES.len())
            .unwrap_or(UNKNOWN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_in_every_bucket_from_its_own_on() {
        let mut histogram = Histogram::default();
        for millis in [100, 101, 601_000] {
            histogram.observe(Duration::from_millis(millis));
        }
        let counts: Vec<u64> = histogram.cumulative().collect();
        assert_eq!(counts[..2], [1, 2]);
        assert_eq!(counts[12..], [2, 3]);
        assert!((histogram.seconds - 601.201).abs() < 1e-6);
    }

    #[test]
    fn codes_are_read_from_the_headers() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", value.parse().unwrap());
            CODES[code(&headers)]
        };
        assert_eq!(CODES[code(&HeaderMap::new())], "OK");
        assert_eq!(with("10"), "Aborted");
        assert_eq!(with("16"), "Unauthenticated");
        assert_eq!(with("17"), "Unknown");
    }

    #[test]
    fn unknown_methods_do_not_fill_the_memory() {
        let operations = Operations::default();
        for number in 0..1000 {
            operations.observe(&format!("/csi.v1.Node/{number}"), 12, Duration::ZERO);
        }
        let ended = operations.ended();
        assert_eq!(ended.len(), MAX_METHODS + 1);
        let other = ended.iter().find(|it| it.method == OTHER).unwrap();
        assert_eq!(other.histogram.cumulative().last(), Some(936));
    }

    #[test]
    fn a_call_that_is_dropped_was_canceled() {
        let operations = Arc::new(Operations::default());
        let mut service =
            Measure::new(Some(operations.clone()), false).layer(tower::service_fn(|_| {
                std::future::pending::<Result<Response<()>, ()>>()
            }));
        let request = Request::builder().uri("/csi.v1.Node/X").body(()).unwrap();
        let answer = service.call(request);
        assert_eq!(operations.in_flight(), 1);
        drop(answer);
        assert_eq!(operations.in_flight(), 0);
        assert_eq!(operations.ended()[0].code, "Canceled");
    }
}
