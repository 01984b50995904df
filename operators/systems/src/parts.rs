//! Children that the engines of all systems have, built once: pods under the restricted profile, their
//! volumes, Services, policies, certificates; and the checks that go with them.
//!
//! Must not: know a system. What differs comes in as arguments; the same input gives the same bytes.

pub(crate) mod certificate;
pub(crate) mod checks;
pub(crate) mod config_file;
pub(crate) mod container;
pub(crate) mod frame;
pub(crate) mod journal;
pub(crate) mod names;
pub(crate) mod network;
pub(crate) mod pdb;
pub(crate) mod pod;
pub(crate) mod rules;
pub(crate) mod services;
pub(crate) mod stateful_set;
pub(crate) mod tls;
pub(crate) mod volumes;

pub(crate) use frame::Frame;
