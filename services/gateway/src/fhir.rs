//! FHIR R4: reading bulk exports (NDJSON) and Bundles, and what their resources say as events.

mod again;
mod corrected;
pub mod directory;
pub mod door;
pub mod files;
pub mod ids;
pub mod map;
mod names;
pub mod reader;
pub mod resource;
mod stations;
pub(crate) mod version;
mod withdrawal;

pub use directory::Directory;
pub use files::{Files, NotRead};
pub use ids::Ids;
pub use map::{Mapped, NotMapped};
pub use reader::{Item, Origin};
