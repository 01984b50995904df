//! Certificates as processes judge them, at times that are given.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{Error, RootCertStore};

use super::issue::{IssueError, Pair, Signer, Wish, authority, is_due};

#[path = "tests/rotation.rs"]
mod rotation;

const DAY: Duration = Duration::from_hours(24);
const YEAR: Duration = Duration::from_hours(24 * 365);

fn day(number: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + number * 86_400).expect("a time")
}

fn roots(trusted: &str) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(trusted.as_bytes()) {
        roots.add(certificate.expect("PEM")).expect("an authority");
    }
    Arc::new(roots)
}

/// What a peer says of a certificate: as of a server of this name, and as of a client.
fn judge(pair: &Pair, trusted: &str, name: &str, at: Timestamp) -> [Result<(), Error>; 2] {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).expect("PEM");
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let now = UnixTime::since_unix_epoch(Duration::from_secs(at.as_second() as u64));
    let server = WebPkiServerVerifier::builder_with_provider(roots(trusted), provider.clone());
    let server = server.build().expect("authorities");
    let client = WebPkiClientVerifier::builder_with_provider(roots(trusted), provider);
    let client = client.build().expect("authorities");
    [
        server.verify_server_cert(&certificate, &[], &name, &[], now).map(|_| ()),
        client.verify_client_cert(&certificate, &[], now).map(|_| ()),
    ]
}

fn wish(names: &[String], now: Timestamp) -> Wish<'_> {
    Wish { names, title: "cache-kv-headless", now, life: 90 * DAY }
}

#[test]
fn a_certificate_is_good_for_its_names_and_its_time_and_its_authority() {
    let made = authority(day(0), 5 * YEAR).expect("an authority");
    let signer = Signer::new(&made).expect("its own key");
    let names = ["cache-kv-rw".to_owned(), "*.cache-kv-headless.shop.svc".to_owned()];
    let pair = signer.issue(&wish(&names, day(100))).expect("a certificate");
    let both = [Ok(()), Ok(())];
    assert_eq!(judge(&pair, &made.certificate, "cache-kv-rw", day(101)), both);
    let pod = "cache-kv-1.cache-kv-headless.shop.svc";
    assert_eq!(judge(&pair, &made.certificate, pod, day(189)), both);
    let [server, client] = judge(&pair, &made.certificate, "other-kv-rw", day(101));
    assert!(server.is_err() && client.is_ok(), "{server:?} {client:?}");
    for late_or_early in [day(99), day(191)] {
        let [server, client] = judge(&pair, &made.certificate, "cache-kv-rw", late_or_early);
        assert!(server.is_err() && client.is_err(), "{server:?} {client:?}");
    }
    let other = authority(day(0), 5 * YEAR).expect("an authority");
    let [server, client] = judge(&pair, &other.certificate, "cache-kv-rw", day(101));
    assert!(server.is_err() && client.is_err(), "{server:?} {client:?}");
    let trusted = format!("{}{}", other.certificate, made.certificate);
    assert_eq!(judge(&pair, &trusted, "cache-kv-rw", day(101)), both, "one of two is enough");
}

#[test]
fn what_an_authority_signed_signs_nothing_itself() {
    let made = authority(day(0), YEAR).expect("an authority");
    let names = ["a".to_owned()];
    let pod = Signer::new(&made).expect("usable").issue(&wish(&names, day(0))).expect("signed");
    // Its key pretends to be an authority's.
    let forged = Signer::new(&pod).expect("a key and its certificate");
    let forged = forged.issue(&wish(&names, day(0))).expect("anybody can sign");
    let trusted = format!("{}{}", made.certificate, pod.certificate);
    let [server, client] = judge(&forged, &trusted, "a", day(1));
    assert!(server.is_err() && client.is_err(), "{server:?} {client:?}");
}

#[test]
fn a_key_of_another_authority_is_noticed() {
    let (one, other) = (authority(day(0), YEAR), authority(day(0), YEAR));
    let (one, other) = (one.expect("an authority"), other.expect("an authority"));
    let (one_mark, other_mark) = (Signer::new(&one), Signer::new(&other));
    assert_ne!(one_mark.expect("usable").mark(), other_mark.expect("usable").mark());
    let mixed = Pair { key: other.key, ..one.clone() };
    assert!(matches!(Signer::new(&mixed), Err(IssueError::Mismatch)));
    let cut = Pair { certificate: one.certificate[..100].to_owned(), ..one };
    assert!(matches!(Signer::new(&cut), Err(IssueError::Pem)));
}

#[test]
fn a_third_of_the_life_is_left_for_the_renewal() {
    let (life, until) = (90 * DAY, day(90));
    for (now, due) in [(day(0), false), (day(59), false), (day(60), true), (day(100), true)] {
        assert_eq!(is_due(until, now, life), due, "{now}");
    }
}
