//! Spans of calls, as a collector receives them: decoded with OpenTelemetry's own messages.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Driver, block, code, create};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status};

const SECRET: &str = "canary-of-the-secret";

/// Everything that was received.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().expect("no panic").push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Listens; the address too.
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let service = TraceServiceServer::new(collector.clone());
        let server = Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (collector, format!("http://{address}"))
    }

    fn received(&self) -> Vec<ExportTraceServiceRequest> {
        self.0.lock().expect("no panic").clone()
    }

    /// The spans of a method so far.
    fn spans(&self, method: &str) -> Vec<Span> {
        let resources = self.received().into_iter().flat_map(|it| it.resource_spans);
        let scopes = resources.flat_map(|it| it.scope_spans);
        let spans = scopes.flat_map(|it| it.spans);
        spans.filter(|it| it.name.ends_with(method)).collect()
    }

    async fn wait_for(&self, method: &str, count: usize) -> Vec<Span> {
        for _ in 0..1500 {
            let spans = self.spans(method);
            if spans.len() >= count {
                return spans;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!(
            "{count} spans of {method} are not received: {:?}",
            self.received()
        );
    }
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let attribute = attributes.iter().find(|it| it.key == key);
    let attribute = attribute.unwrap_or_else(|| panic!("no {key} in {attributes:?}"));
    match attribute.value.as_ref().and_then(|it| it.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_collector_gets_spans_with_ids_and_codes_and_without_secrets() {
    let (collector, address) = Collector::start().await;
    let mut driver = Driver::start_with(&["--otlp-endpoint", &address]).await;
    let mut request = create("pvc-1", block());
    request.secrets.insert("key".to_owned(), SECRET.to_owned());
    let created = driver.controller.create_volume(request.clone()).await;
    let id = created
        .expect("it is made")
        .into_inner()
        .volume
        .expect("a volume")
        .volume_id;
    request.capacity_range = Some(offshoot::csi::CapacityRange {
        required_bytes: 1 << 40,
        limit_bytes: 0,
    });
    let refused = driver.controller.create_volume(request).await;
    let refused = code(&refused);
    assert_eq!(refused, Code::AlreadyExists, "it has another size");

    let spans = collector.wait_for("Controller/CreateVolume", 2).await;
    let attributes = &spans[0].attributes;
    assert_eq!(spans[0].name, "csi.v1.Controller/CreateVolume");
    assert_eq!(spans[0].kind(), SpanKind::Server);
    assert_eq!(text(attributes, "csi.volume_id"), id);
    assert_eq!(text(attributes, "csi.name"), "pvc-1");
    assert_eq!(text(attributes, "rpc.system"), "grpc");
    assert_eq!(text(attributes, "rpc.service"), "csi.v1.Controller");
    assert_eq!(text(attributes, "rpc.method"), "CreateVolume");
    assert_eq!(text(attributes, "rpc.grpc.status_code"), "0");
    assert_eq!(
        text(&spans[1].attributes, "rpc.grpc.status_code"),
        i32::from(refused).to_string()
    );
    assert!(spans[0].start_time_unix_nano > 0);
    assert!(spans[0].end_time_unix_nano >= spans[0].start_time_unix_nano);
    assert_eq!((spans[0].trace_id.len(), spans[0].span_id.len()), (16, 8));
    assert_ne!(spans[0].trace_id, spans[1].trace_id);

    let resource = collector.received()[0].resource_spans[0].resource.clone();
    let resource = resource.expect("a resource").attributes;
    assert_eq!(text(&resource, "service.name"), "offshoot");
    assert_eq!(text(&resource, "k8s.node.name"), common::NODE);
    let everything = format!("{:?}", collector.received());
    assert!(!everything.contains(SECRET), "{everything}");
}

#[tokio::test]
async fn the_last_spans_are_sent_before_the_end() {
    let (collector, address) = Collector::start().await;
    let mut driver = Driver::start_with(&["--otlp-endpoint", &address]).await;
    let probe = driver.identity.probe(offshoot::csi::ProbeRequest {}).await;
    assert!(probe.is_ok());
    let process = driver.process();
    kill_process(Pid::from_child(process), Signal::TERM).expect("it can be signalled");
    let status = driver_end(driver).await;
    assert!(status.success());
    assert_eq!(collector.spans("Identity/Probe").len(), 1);
}

/// Waits on another thread: the collector answers on this one.
async fn driver_end(mut driver: Driver) -> std::process::ExitStatus {
    let wait = tokio::task::spawn_blocking(move || driver.process().wait());
    wait.await.expect("no panic").expect("it ends")
}

#[tokio::test]
async fn a_driver_works_and_ends_well_without_its_collector() {
    let mut driver = Driver::start_with(&["--otlp-endpoint", "http://127.0.0.1:9"]).await;
    driver.volume("pvc-1", block()).await;
    let process = driver.process();
    kill_process(Pid::from_child(process), Signal::TERM).expect("it can be signalled");
    assert!(driver_end(driver).await.success());
}
