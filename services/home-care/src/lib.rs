//! Visiting nurses and care managers (訪問看護・居宅介護支援), and what they share with everybody
//! on the care team and at home.

mod care_team;
mod grpc;

pub use care_team::CareTeamService;
pub use grpc::Service;
