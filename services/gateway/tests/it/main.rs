//! The gateway's layers against real messages and against other programs.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test that fails says so by panicking"
)]

mod differential;
mod fuzz;
mod real_messages;
mod shared_data;
