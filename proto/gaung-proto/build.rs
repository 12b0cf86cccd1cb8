//! Compiles the schemas with protox, so that no `protoc` has to be installed.

use std::{env, path::PathBuf};

use prost::Message as _;

const SCHEMAS: [&str; 4] = [
    "gaung/message/v1/message.proto",
    "gaung/registry/v1/registry.proto",
    "gaung/relay/v1/relay.proto",
    "gaung/hub/v1/hub.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from("..");
    for schema in SCHEMAS {
        println!("cargo:rerun-if-changed={}", root.join(schema).display());
    }
    let descriptors = protox::compile(SCHEMAS, [&root])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    std::fs::write(out.join("gaung_descriptors.bin"), descriptors.encode_to_vec())?;

    let mut config = prost_build::Config::new();
    config.bytes(["."]);
    if env::var_os("CARGO_FEATURE_GRPC").is_some() {
        tonic_prost_build::configure().compile_fds_with_config(descriptors, config)?;
    } else {
        config.compile_fds(descriptors)?;
    }
    Ok(())
}
