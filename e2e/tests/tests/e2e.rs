//! The product as a user meets it: real binaries, real clients, real disks.

#[path = "e2e/clients.rs"]
mod clients;
#[path = "e2e/kv.rs"]
mod kv;
#[path = "e2e/not_run.rs"]
mod not_run;
