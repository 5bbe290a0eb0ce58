//! Visiting nurses and care managers (訪問看護・居宅介護支援).

mod grpc;

pub use grpc::Service;
