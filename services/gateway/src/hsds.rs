//! Open Referral HSDS 3.0: reading directories of community resources, as tables (a data package
//! of CSV files) or as JSON, and what they say as resources of ours.

mod csv;
mod json;
mod map;
mod tables;

pub use map::{Mapped, NotUsed, Refused, resources};
pub use tables::{NotRead, Tables};
