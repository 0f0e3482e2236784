//! Compiles `proto/csi.proto` with protox, so that no `protoc` has to be installed. Nothing else happens at build time.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto/csi.proto");
    let descriptors = protox::compile(["csi.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .skip_debug(["."])
        .compile_fds(descriptors)?;
    Ok(())
}
