//! Link workers (リンクワーカー) and whoever refers to them: social-prescribing casework.

mod grpc;

pub use grpc::Service;
