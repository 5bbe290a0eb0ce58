//! The hospital's liaison office (地域連携室): admissions, transfers, discharges, and the planning of
//! a discharge.

mod grpc;

pub use grpc::Service;
