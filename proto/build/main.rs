//! Compiles the schema without protoc: types and services for tonic, a check for every
//! message out of the constraints that the schema declares, the catalogue of event types, the
//! code sets of `codes/`, and the descriptor for reflection.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a build script talks to cargo through its output and the environment"
)]

mod catalogue;
mod checks;
mod codes;

use std::{env, error::Error, fs, path::PathBuf};

use protox::Compiler;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=care/v1");
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=codes");
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    let mut schema = fs::read_dir("care/v1")?
        .map(|entry| Ok(format!("care/v1/{}", entry?.file_name().display())))
        .collect::<Result<Vec<_>, Box<dyn Error>>>()?;
    schema.sort();

    let mut compiler = Compiler::new(["."])?;
    compiler.include_imports(true).include_source_info(true).open_files(&schema)?;
    tonic_prost_build::configure()
        .build_transport(false)
        .compile_fds(compiler.file_descriptor_set())?;
    let pool = compiler.descriptor_pool();
    fs::write(out_dir.join("checks.rs"), checks::generate(&pool)?)?;
    let (catalogue, fields) = catalogue::generate(&pool)?;
    fs::write(out_dir.join("catalogue.rs"), catalogue)?;
    fs::write(out_dir.join("fields.rs"), fields)?;
    fs::write(out_dir.join("codes.rs"), codes::generate("codes")?)?;
    fs::write(out_dir.join("descriptor.binpb"), compiler.encode_file_descriptor_set())?;
    Ok(())
}
