//! The dispatcher before servers of all kinds, on loopback.

mod answers;
mod course;
mod fairness;
mod faults;
pub(crate) mod grpc;
mod guarded;
mod pace;
mod pools;
mod resumed;
mod rig;
mod secrets;
pub(crate) mod server;
mod storm;
mod tls;
