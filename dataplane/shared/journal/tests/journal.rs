//! The journal as its users meet it.

#![allow(clippy::unwrap_used)]

#[path = "journal/beside.rs"]
mod beside;
#[path = "journal/carried.rs"]
mod carried;
#[path = "journal/carrier.rs"]
mod carrier;
#[path = "journal/evidence.rs"]
mod evidence;
#[path = "journal/failing.rs"]
mod failing;
#[path = "journal/golden.rs"]
mod golden;
#[path = "journal/oracle.rs"]
mod oracle;
#[path = "journal/real_disk.rs"]
mod real_disk;
#[path = "journal/rule.rs"]
mod rule;
#[path = "journal/salvage.rs"]
mod salvage;
#[path = "journal/simulation.rs"]
mod simulation;
#[path = "journal/tail.rs"]
mod tail;
#[path = "journal/version.rs"]
mod version;
