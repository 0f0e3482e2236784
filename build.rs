//! Compiles the files in `proto/` with protox, so that no `protoc` has to be installed. Nothing else happens at build time.

/// CSI, the kubelet's registration of plugins, and OpenTelemetry's spans.
const FILES: [&str; 3] = ["csi.proto", "pluginregistration.proto", "otlp.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed=proto/{file}");
    }
    let descriptors = protox::compile(FILES, ["proto"])?;
    tonic_prost_build::configure()
        .skip_debug([".csi.v1"])
        .compile_fds(descriptors)?;
    Ok(())
}
