//! Addresses that calls may not go to.

use orrery_scheduler::dispatch::{Options, Target};
use orrery_scheduler::run::Outcome;

use super::rig::{Rig, ad_hoc, http, named, note, succeeded};
use super::server::{Server, answer};

fn refused(rig: &Rig, number: u64, uri: &str) {
    let outcome = rig.outcome(http(number, ad_hoc(uri)));
    assert!(matches!(outcome, Outcome::Refused { .. }), "{uri}: {outcome:?}");
    assert!(note(&outcome).contains("not allowed as a target"), "{uri}: {outcome:?}");
}

#[test]
fn metadata_and_link_local_addresses_are_refused() {
    let rig = Rig::new(vec![]);
    for (number, uri) in [
        "http://169.254.169.254/latest/meta-data/",
        "https://169.254.169.254/",
        "http://[fe80::1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://[fd00:ec2::254]/",
        "http://100.100.100.200/",
        // Numbers that the resolver reads as 169.254.169.254.
        "http://2852039166/",
        "http://0xa9.0xfe.0xa9.0xfe/",
    ]
    .into_iter()
    .enumerate()
    {
        refused(&rig, number as u64, uri);
    }
}

#[test]
fn this_machine_is_refused_unless_it_is_allowed() {
    let server = Server::start(|_, stream| answer(stream, 200, &[], ""));
    let port = server.uri("").rsplit(':').next().expect("a port").to_owned();
    let rig = Rig::with(Options::default(), vec![]);
    for (number, host) in
        ["127.0.0.1", "localhost", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]"].into_iter().enumerate()
    {
        refused(&rig, number as u64, &format!("http://{host}:{port}/"));
    }
    assert_eq!(server.connections(), 0);
    let rig = Rig::new(vec![]);
    let outcome = rig.outcome(http(1, ad_hoc(&format!("http://localhost:{port}/"))));
    assert_eq!(outcome, succeeded(""));
}

#[test]
fn a_target_may_be_kept_out_of_private_networks() {
    let rig = Rig::new(vec![Target { allow_private: false, ..Target::new("public") }]);
    let outcome = rig.outcome(http(1, named("public", "http://10.1.2.3/")));
    assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome:?}");
}
