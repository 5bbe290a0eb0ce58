//! HL7 v2 ADT messages as care events: who the patient is (`patient`, `news`), which visit or stay it
//! is about (`visit`, `encounter`), what the trigger event means for it (`trigger`, `acts`,
//! `becomes`, `cancelled`, `changes`, `assumed_end`, `tracking`, `allergies`), what is said a second
//! time (`again`) or under another number (`renumbered`), what is another patient's (`moved`), whose
//! records are one person's (`one_person`), and how a message is taken as a whole (`intake`), patient
//! by patient (`parts`), as events (`events`).
//!
//! Whatever is not taken is refused with the field and the reason: `refusal`, and `rules` where
//! the domain refuses it.

mod acts;
mod again;
mod allergies;
mod assumed_end;
mod becomes;
mod cancelled;
mod changes;
mod encounter;
mod events;
mod group;
mod halves;
mod ids;
pub mod intake;
mod moved;
mod news;
mod one_person;
mod parts;
mod patient;
pub mod profile;
pub mod refusal;
mod renumbered;
mod rules;
mod tracking;
mod trigger;
mod visit;

pub(crate) use events::{MLLP, SSMIX2};
pub use intake::{Intake, Manner, Outcome, Taken};
pub use profile::{ProfileError, Profiles};
pub use refusal::{Kind, Refusal};
