//! Compiles the protocol of Ray's GCS, in Rust alone: no `protoc` needed. Its description is kept besides, for messages that are written as JSON.

use std::path::PathBuf;

use prost::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let roots = ["proto/autoscaler.proto", "proto/jobs.proto", "proto/kv.proto"];
    let files = protox::compile(roots, ["proto"])?;
    let described = PathBuf::from(std::env::var("OUT_DIR")?).join("gcs.bin");
    std::fs::write(described, files.encode_to_vec())?;
    tonic_prost_build::configure()
        .build_server(false)
        .btree_map(".")
        .compile_fds(files)?;
    Ok(())
}
