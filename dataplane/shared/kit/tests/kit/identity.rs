//! The management port with certificates: who is admitted, and new ones under load.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use orrery_kit::health::Health;
use orrery_kit::identity::Identity;
use orrery_operand::client::OperandClient;
use orrery_operand::secured::Caller;
use orrery_operand::{OPERATOR_NAME, OperandError};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest as _, Sha256};

use crate::start_as;

const NAME: &str = "cache-kv-headless.shop.svc";
const DEADLINE: Duration = Duration::from_mins(1);

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: rcgen::Certificate,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut parameters = CertificateParams::new(vec![]).expect("no names");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.self_signed(&key).expect("it is signed");
        Self { issuer: Issuer::new(parameters, key), certificate }
    }

    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let parameters = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        (parameters.signed_by(&key, &self.issuer).expect("it is signed"), key)
    }

    /// Writes what a process of the object is given; `trusted` are the authorities. Gives the hash by
    /// which the process says that it has it.
    fn write(&self, folder: &Path, trusted: &[&Self]) -> String {
        let (certificate, key) = self.sign(NAME);
        let trusted: String = trusted.iter().map(|one| one.certificate.pem()).collect();
        let hash = Sha256::digest(format!("{}{trusted}", certificate.pem()));
        let files =
            [("tls.crt", certificate.pem()), ("tls.key", key.serialize_pem()), ("ca.crt", trusted)];
        for (name, text) in files {
            std::fs::write(folder.join("fresh"), text).expect("writable");
            std::fs::rename(folder.join("fresh"), folder.join(name)).expect("same folder");
        }
        orrery_operand::set_hash::hex(&hash)
    }

    /// Somebody with a certificate for `name`, who trusts `trusted`; `None`: without a certificate.
    fn caller(&self, name: Option<&str>, trusted: &[&Self]) -> Caller {
        let mut roots = RootCertStore::empty();
        for one in trusted {
            roots.add(one.certificate.der().clone()).expect("an authority");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match name {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let (certificate, key) = self.sign(name);
                let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
                let pair = builder.with_client_auth_cert(vec![certificate.der().clone()], key);
                pair.expect("a pair")
            }
        };
        let name = ServerName::try_from(NAME).expect("a name");
        Caller { config: Arc::new(config), name }
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

fn report(address: &str, caller: Caller) -> Result<String, OperandError> {
    report_with(address, "secret", caller)
}

fn report_with(address: &str, token: &str, caller: Caller) -> Result<String, OperandError> {
    block_on(async {
        let client = OperandClient::secured(address, Some(token), caller).expect("an address");
        client.report().await.map(|report| report.system)
    })
}

#[test]
fn the_operator_alone_is_admitted_and_only_by_a_certificate_of_the_authority() {
    let (one, other) = (Authority::new("one"), Authority::new("other"));
    let folder = tempfile::tempdir().expect("a folder");
    one.write(folder.path(), &[&one]);
    let identity = Arc::new(Identity::load(folder.path(), NAME).expect("it is whole"));
    let management = start_as(&Health::default(), Some("secret"), Some(identity));
    let address = management.management.to_string();
    let operator = || one.caller(Some(OPERATOR_NAME), &[&one]);
    assert_eq!(report(&address, operator()).as_deref(), Ok("named"));
    let strangers = [
        ("without a certificate", one.caller(None, &[&one])),
        ("another process of the object", one.caller(Some(NAME), &[&one])),
        ("of another authority", other.caller(Some(OPERATOR_NAME), &[&one])),
        ("who trusts another authority", one.caller(Some(OPERATOR_NAME), &[&other])),
    ];
    for (who, stranger) in strangers {
        let answer = report(&address, stranger);
        let error = answer.expect_err(who);
        assert_ne!(error, OperandError::Unauthenticated, "{who}: it never came to the token");
    }
    let expects = ServerName::try_from("orders-kv-headless.shop.svc").expect("a name");
    let elsewhere = report(&address, Caller { name: expects, ..operator() });
    assert!(elsewhere.is_err(), "another object's process would have to answer: {elsewhere:?}");
    let plain = async {
        let plain = OperandClient::new(&address, Some("secret")).expect("an address");
        plain.report().await
    };
    block_on(plain).expect_err("without TLS");
    let wrong = report_with(&address, "wrong", operator());
    assert_eq!(wrong, Err(OperandError::Unauthenticated), "the token as well");
    assert_eq!(report(&address, operator()).as_deref(), Ok("named"), "others do not notice");
}

#[test]
fn a_silent_peer_keeps_nobody_out() {
    let one = Authority::new("one");
    let folder = tempfile::tempdir().expect("a folder");
    one.write(folder.path(), &[&one]);
    let identity = Arc::new(Identity::load(folder.path(), NAME).expect("it is whole"));
    let management = start_as(&Health::default(), Some("secret"), Some(identity));
    let silent: Vec<_> = (0..40)
        .map(|_| std::net::TcpStream::connect(management.management).expect("it listens"))
        .collect();
    let answer =
        report(&management.management.to_string(), one.caller(Some(OPERATOR_NAME), &[&one]));
    assert_eq!(answer.as_deref(), Ok("named"));
    drop(silent);
}

#[test]
fn an_authority_takes_the_place_of_another_without_a_failed_call() {
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let folder = tempfile::tempdir().expect("a folder");
    old.write(folder.path(), &[&old]);
    let identity = Arc::new(Identity::load(folder.path(), NAME).expect("it is whole"));
    let management = start_as(&Health::default(), Some("secret"), Some(Arc::clone(&identity)));
    let address = management.management.to_string();
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    // Two operators: one keeps its connection, one makes a new one for each call. They go over to the
    // new certificate when the authority that they trust already signs for them.
    let switched = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = [true, false]
        .into_iter()
        .map(|keeps| {
            let (stop, calls, address) = (stop.clone(), calls.clone(), address.clone());
            let switched = switched.clone();
            let before = old.caller(Some(OPERATOR_NAME), &[&old, &new]);
            let after = new.caller(Some(OPERATOR_NAME), &[&old, &new]);
            std::thread::spawn(move || {
                block_on(async {
                    let mut kept = None;
                    while !stop.load(Ordering::Relaxed) {
                        let is_new = switched.load(Ordering::Relaxed);
                        let caller = if is_new { &after } else { &before };
                        let connect = || {
                            OperandClient::secured(&address, Some("secret"), caller.clone())
                                .expect("an address")
                        };
                        let client = match &kept {
                            Some((same, client)) if *same == is_new => OperandClient::clone(client),
                            _ => connect(),
                        };
                        client.report().await.expect("no call fails");
                        kept = keeps.then_some((is_new, client));
                        calls.fetch_add(1, Ordering::Relaxed);
                    }
                });
            })
        })
        .collect();
    let go_on = || {
        let (seen, started) = (calls.load(Ordering::Relaxed), Instant::now());
        while calls.load(Ordering::Relaxed) < seen + 50 {
            assert!(started.elapsed() < DEADLINE, "calls are answered no more");
            assert!(callers.iter().all(|caller| !caller.is_finished()), "a call failed");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let taken_over = |hash: &str| {
        let started = Instant::now();
        while identity.current().hash != hash {
            assert!(started.elapsed() < DEADLINE, "the new files are not taken over");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    go_on();
    let hash = identity.current().hash.clone();
    // What cannot be used changes nothing.
    let good = std::fs::read(folder.path().join("ca.crt")).expect("readable");
    std::fs::write(folder.path().join("ca.crt"), "no authority").expect("writable");
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(identity.current().hash, hash);
    std::fs::write(folder.path().join("ca.crt"), good).expect("writable");
    for (signs, trusted) in [(&old, &[&old, &new][..]), (&new, &[&old, &new]), (&new, &[&new])] {
        if trusted.len() == 1 {
            switched.store(true, Ordering::Relaxed);
            go_on();
        }
        taken_over(&signs.write(folder.path(), trusted));
        go_on();
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.join().expect("no call failed");
    }
    let late = report(&address, old.caller(Some(OPERATOR_NAME), &[&new]));
    late.expect_err("the old authority is not trusted any more");
}
