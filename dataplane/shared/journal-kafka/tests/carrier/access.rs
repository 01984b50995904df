//! Logins and certificates: who is let in, and what is said to whom is not.

use orrery_journal::{Carrier, CarrierError};
use orrery_journal_kafka::{
    ClientCertificate, Host, KafkaCarrier, Mechanism, Options, Roots, Tls, User,
};
use orrery_kit::secrets::Secret;

use crate::broker::{PASSWORD, World, authority, issue, options, shared};
use crate::history::{again, group, owner, records};

const MECHANISMS: [Mechanism; 3] =
    [Mechanism::Plain, Mechanism::ScramSha256, Mechanism::ScramSha512];

fn writer(world: &World, mechanism: Mechanism, journal: &str) -> Options {
    Options {
        tls: Some(Tls { roots: Roots::Pem(world.authority.pem()), client: None }),
        user: Some(User { mechanism, name: "writer".to_owned(), password: Secret::new(PASSWORD) }),
        ..options(world.guarded.clone(), journal)
    }
}

/// Why a carrier is not let in; must be final and say nothing of secrets.
fn refused(options: Options) -> String {
    let carrier = KafkaCarrier::open(options).unwrap();
    let shown = format!("{carrier:?} {}", carrier.name());
    let Err(error) = again(|| carrier.prepare()) else { panic!("it is let in") };
    assert!(matches!(error, CarrierError::Unusable { .. }), "{error:?}");
    let said = format!("{error} {error:?} {shown}");
    assert!(!said.contains(PASSWORD) && !said.contains("hunter2"), "{said}");
    said
}

#[test]
fn every_way_to_log_in_leads_to_a_journal() {
    let Some((world, _guard)) = shared() else { return };
    for mechanism in MECHANISMS {
        let options = writer(&world, mechanism, mechanism.as_str());
        assert!(!format!("{options:?}").contains(PASSWORD));
        let carrier = KafkaCarrier::open(options).unwrap();
        again(|| carrier.prepare()).unwrap();
        again(|| carrier.take_over(owner(1))).unwrap();
        again(|| carrier.append(owner(1), &group(1, 1, &[&vec![7; 3 << 20]]))).unwrap();
        assert_eq!(records(&carrier).len(), 1);
    }
}

#[test]
fn who_is_not_trusted_is_told_why_and_nothing_else() {
    let Some((world, _guard)) = shared() else { return };
    for mechanism in MECHANISMS {
        let mut options = writer(&world, mechanism, "refused");
        options.user.as_mut().unwrap().password = Secret::new("hunter2");
        let said = refused(options);
        assert!(said.contains("refuses the user or the password"), "{said}");
    }
    let with = |change: &dyn Fn(&mut Options)| {
        let mut options = writer(&world, Mechanism::Plain, "refused");
        change(&mut options);
        options
    };
    let foreign = authority("foreign");
    let said = refused(with(&|options| {
        options.tls.as_mut().unwrap().roots = Roots::Pem(foreign.pem());
    }));
    assert!(said.contains("UnknownIssuer"), "{said}");
    let said = refused(with(&|options| {
        options.bootstrap = vec![Host { name: "127.0.0.1".to_owned(), ..world.guarded.clone() }];
    }));
    assert!(said.contains("not valid for name"), "{said}");
    let (chain, key) = issue(&foreign, "writer");
    let certificate = ClientCertificate { chain, key: Secret::new(key) };
    let shown = with(&|options| options.tls.as_mut().unwrap().client = Some(certificate.clone()));
    // A broker that does not trust a certificate hangs up, which it does for other reasons as well.
    let carrier = KafkaCarrier::open(shown).unwrap();
    let Err(error) = carrier.prepare() else { panic!("it is let in") };
    assert!(error.to_string().contains("TLS") || error.to_string().contains("alert"), "{error}");
}

#[test]
fn a_broker_of_another_protocol_is_not_waited_for_without_end() {
    let Some((world, _guard)) = shared() else { return };
    let plain = KafkaCarrier::open(options(world.guarded.clone(), "plain")).unwrap();
    let said = plain.prepare().expect_err("it speaks TLS").to_string();
    assert!(said.contains("not available"), "{said}");
    let nobody = Host { name: "127.0.0.1".to_owned(), port: 1 };
    let carrier = KafkaCarrier::open(options(nobody, "nobody")).unwrap();
    let said = carrier.look().expect_err("nobody listens").to_string();
    assert!(said.contains("failed to connect to 127.0.0.1:1"), "{said}");
}
