//! Allergies (A60): that a facility recorded some, and not which: who has to know asks there.

use tsunagi_proto::catalogue::Payload;
use tsunagi_proto::v1;

use super::acts::{Tells, Told};
use super::encounter::Situation;

impl Situation<'_> {
    pub(super) fn allergies(&self) -> Tells {
        let at = self.visit.happened_at()?;
        let entries = self.visit.group.segments("IAM").chain(self.visit.group.segments("AL1"));
        let (mut recorded, mut removed) = (0_u32, 0_u32);
        for entry in entries {
            // AL1 is of older versions, and says all there is.
            let action = if entry.is("IAM") { entry.field(6).first() } else { "A".into() };
            match &*action.to_ascii_uppercase() {
                "D" => removed = removed.saturating_add(1),
                "X" => {}
                _added_or_changed => recorded = recorded.saturating_add(1),
            }
        }
        if (recorded, removed) == (0, 0) {
            return Ok(Vec::new());
        }
        let facility = Some(self.visit.profile.facility.clone());
        let said = v1::AllergiesRecorded { facility, recorded, removed };
        Ok(vec![Told { at, payload: Payload::AllergiesRecorded(said) }])
    }
}
