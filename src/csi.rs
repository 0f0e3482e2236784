//! The messages and services of CSI 1.13, generated from `proto/csi.proto`. None of them implements `Debug`: some hold
//! secrets.
#![expect(
    clippy::pedantic,
    missing_docs,
    reason = "generated code; the proto file and the CSI specification document it"
)]

tonic::include_proto!("csi.v1");
