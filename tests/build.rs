//! Compiles the side of Ray's GCS that answers, for heads that are only played. The protocol is the one that the service speaks.

const PROTOCOL: &str = "../autoscaler/proto";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed={PROTOCOL}");
    let files = protox::compile(["autoscaler.proto"], [PROTOCOL])?;
    tonic_prost_build::configure()
        .build_client(false)
        .btree_map(".")
        .compile_fds(files)?;
    Ok(())
}
