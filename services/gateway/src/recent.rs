//! What is in memory of the patients who were asked for lately. It can always be read again, so
//! whoever was not asked for since is forgotten.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tsunagi_domain::PatientId;

/// Of each patient one thing that is cheap to clone.
#[derive(Debug)]
pub(crate) struct Recent<T> {
    patients_max: usize,
    generations: Mutex<Generations<T>>,
}

/// The young ones, and the old ones.
type Generations<T> = [HashMap<PatientId, T>; 2];

impl<T: Clone + Default> Recent<T> {
    pub(crate) fn new(patients_max: usize) -> Self {
        Self { patients_max, generations: Mutex::default() }
    }

    /// What there is of a patient, or the beginning of it.
    pub(crate) fn get(&self, patient: PatientId) -> T {
        let mut generations = self.generations();
        let [young, old] = &mut *generations;
        let known = old.remove(&patient).unwrap_or_default();
        young.entry(patient).or_insert(known).clone()
    }

    /// Puts something in the place of what there is.
    pub(crate) fn put(&self, patient: PatientId, now: T) {
        let mut generations = self.generations();
        let [young, old] = &mut *generations;
        old.remove(&patient);
        young.insert(patient, now);
    }

    /// When the young generation is full it becomes the old one, and what was still old is
    /// forgotten.
    fn generations(&self) -> MutexGuard<'_, Generations<T>> {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let [young, old] = &mut *generations;
        if young.len() > self.patients_max / 2 {
            *old = std::mem::take(young);
        }
        generations
    }
}
