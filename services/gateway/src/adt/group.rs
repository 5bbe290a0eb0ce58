//! The part of a message that is about one patient: what stands between one PID and the next.

use crate::hl7::{Field, Message, Segment};

/// One patient's part of a message. The first has also what stands before it.
#[derive(Debug, Clone)]
pub(super) struct Group<'m> {
    message: &'m Message<'m>,
    segments: Vec<Segment<'m>>,
}

impl<'m> Group<'m> {
    /// The parts of a message, at least one. A repeated PID that says the same is no new part.
    pub(super) fn all(message: &'m Message<'m>) -> Vec<Self> {
        let mut groups = vec![Self { message, segments: Vec::new() }];
        for segment in message.segments().skip(1) {
            let Some(last) = groups.last_mut() else { break };
            let before = last.segment("PID");
            if segment.is("PID") && !before.is_missing() {
                if before.field(3).raw() != segment.field(3).raw() {
                    groups.push(Self { message, segments: vec![segment] });
                }
                continue;
            }
            last.segments.push(segment);
        }
        groups
    }

    /// This part and others as one.
    pub(super) fn with(&self, others: &[Self]) -> Self {
        let others = others.iter().flat_map(|other| other.segments.iter().copied());
        let segments = self.segments.iter().copied().chain(others).collect();
        Self { message: self.message, segments }
    }

    /// Its parts that are about one visit each: what stands between one MRG and the next, with
    /// what stands before the first. One part if there is no MRG.
    pub(super) fn visits(&self) -> Vec<Self> {
        let is_merge = |segment: &Segment<'_>| segment.is("MRG");
        let first = self.segments.iter().position(is_merge).unwrap_or(self.segments.len());
        let (before, rest) = self.segments.split_at(first);
        let mut parts: Vec<Self> = Vec::new();
        for segment in rest {
            if segment.is("MRG") {
                parts.push(Self { message: self.message, segments: before.to_vec() });
            }
            if let Some(part) = parts.last_mut() {
                part.segments.push(*segment);
            }
        }
        if parts.is_empty() { vec![self.clone()] } else { parts }
    }

    /// The first segment of a name. EVN and what is before every part belongs to all.
    pub(super) fn segment(&self, name: &str) -> Segment<'_> {
        let found = self.segments.iter().find(|segment| segment.is(name));
        found.copied().unwrap_or_else(|| {
            if matches!(name, "MSH" | "EVN") {
                self.message.segment(name)
            } else {
                self.message.none()
            }
        })
    }

    pub(super) fn segments(&self, name: &str) -> impl Iterator<Item = Segment<'_>> {
        self.segments.iter().copied().filter(move |segment| segment.is(name))
    }

    pub(super) fn field(&self, segment: &str, number: usize) -> Field<'_> {
        self.segment(segment).field(number)
    }
}
