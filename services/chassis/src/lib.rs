//! What every service stands on: its settings, who calls it, how it refuses, how it is
//! served, logged and stopped. Knows nothing of what the services do.

pub mod answers;
pub mod caller;
pub mod code_sets;
pub mod config;
pub mod metrics;
pub mod refused;
pub mod server;
pub mod telemetry;
pub mod trace;

pub use caller::caller;
pub use config::Config;
pub use refused::Refused;
pub use trace::Trace;
