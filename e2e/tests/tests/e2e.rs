//! The product as a user meets it: real binaries, real clients, real disks, a real API server.

#[path = "e2e/account.rs"]
mod account;
#[path = "e2e/adopt.rs"]
mod adopt;
#[path = "e2e/at_rest.rs"]
mod at_rest;
#[path = "e2e/backup.rs"]
mod backup;
#[path = "e2e/carried.rs"]
mod carried;
#[path = "e2e/certificates.rs"]
mod certificates;
#[path = "e2e/charts.rs"]
mod charts;
#[path = "e2e/cli.rs"]
mod cli;
#[path = "e2e/clients.rs"]
mod clients;
#[path = "e2e/cronjobs.rs"]
mod cronjobs;
#[path = "e2e/documentation.rs"]
mod documentation;
#[path = "e2e/gitops.rs"]
mod gitops;
#[path = "e2e/group.rs"]
mod group;
#[path = "e2e/judges.rs"]
mod judges;
#[path = "e2e/kubernetes.rs"]
mod kubernetes;
#[path = "e2e/kv.rs"]
mod kv;
#[path = "e2e/lifecycle.rs"]
mod lifecycle;
#[path = "e2e/monitoring.rs"]
mod monitoring;
#[path = "e2e/not_run.rs"]
mod not_run;
#[path = "e2e/outage.rs"]
mod outage;
#[path = "common/page.rs"]
mod page;
#[path = "e2e/pair.rs"]
mod pair;
#[path = "e2e/refused.rs"]
mod refused;
#[path = "e2e/rights.rs"]
mod rights;
#[path = "e2e/scale.rs"]
mod scale;
#[path = "e2e/schedules.rs"]
mod schedules;
#[path = "e2e/shards.rs"]
mod shards;
#[path = "e2e/traces.rs"]
mod traces;
#[path = "e2e/unfailing.rs"]
mod unfailing;
#[path = "e2e/users.rs"]
mod users;
