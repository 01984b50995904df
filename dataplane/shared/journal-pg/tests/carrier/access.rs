//! Passwords and certificates: who is let in, and what is said to whom is not.

use std::path::Path;

use orrery_journal::{Carrier, CarrierError};
use orrery_journal_pg::{ClientCertificate, Options, PgCarrier, Roots, Tls};
use orrery_kit::secrets::Secret;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};

use crate::history::{group, owner};
use crate::server::{Server, options};

const PASSWORD: &str = "a password that is never shown";
const NAME: &str = "db.example";

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for `name` and its key, in PEM.
fn issue(authority: &Authority, name: &str) -> (String, String) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// A server that speaks TLS and asks for passwords, and of one user for a certificate.
fn guarded(authority: &Authority) -> Option<Server> {
    let server = Server::start(&["password_encryption=scram-sha-256"])?;
    server.sql(&format!(
        "CREATE ROLE writer LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE shown LOGIN;
         GRANT CREATE ON DATABASE orrery TO writer, shown"
    ));
    server.sql_there("CREATE SCHEMA orrery AUTHORIZATION writer");
    let (chain, key) = issue(authority, NAME);
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let chain = path(&server.file("server.crt", &chain));
    let key = path(&server.file("server.key", &key));
    let roots = path(&server.file("roots.crt", &authority.pem()));
    let rules = "local all all trust\n\
        hostssl all writer 127.0.0.1/32 scram-sha-256\n\
        hostssl all shown 127.0.0.1/32 cert\n";
    std::fs::write(server.data().join("pg_hba.conf"), rules).unwrap();
    server.set(&[
        "ssl=on",
        &format!("ssl_cert_file={chain}"),
        &format!("ssl_key_file={key}"),
        &format!("ssl_ca_file={roots}"),
    ]);
    server.crash(nix::sys::signal::Signal::SIGQUIT);
    server.begin();
    Some(server)
}

fn writer(server: &Server, authority: &Authority) -> Options {
    let mut options = options(vec![server.host()], "guarded");
    "writer".clone_into(&mut options.address.user);
    options.address.tls = Some(Tls {
        roots: Roots::Pem(authority.pem()),
        server_name: Some(NAME.to_owned()),
        client: None,
    });
    options.password = Some(Secret::new(PASSWORD));
    options
}

/// Why a carrier is not let in; must be final and say nothing of secrets.
fn refused(options: Options) -> String {
    let carrier = PgCarrier::open(options).unwrap();
    let shown = format!("{carrier:?} {}", carrier.name());
    let Err(error) = carrier.prepare() else { panic!("it is let in") };
    assert!(matches!(error, CarrierError::Unusable { .. }), "{error:?}");
    let said = format!("{error} {error:?} {shown}");
    assert!(!said.contains(PASSWORD) && !said.contains("hunter2"), "{said}");
    said
}

#[test]
fn passwords_and_certificates_are_checked_on_both_sides() {
    let (ours, foreign) = (authority("ours"), authority("foreign"));
    let Some(server) = guarded(&ours) else { return };
    let options = || writer(&server, &ours);
    assert!(!format!("{:?}", options()).contains(PASSWORD));

    let carrier = PgCarrier::open(options()).unwrap();
    carrier.prepare().unwrap();
    carrier.take_over(owner(1)).unwrap();
    carrier.append(owner(1), &group(1, 1, &[&vec![7; 3 << 20]])).unwrap();
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = 'orrery'";
    assert_eq!(server.sql(encrypted), "t");

    let wrong = Options { password: Some(Secret::new("hunter2")), ..options() };
    let said = refused(wrong);
    assert!(said.contains("password authentication failed"), "{said}");
    let said = refused(Options { password: None, ..options() });
    assert!(said.contains("password missing"), "{said}");

    let with = |change: &dyn Fn(&mut Tls)| {
        let mut options = options();
        change(options.address.tls.as_mut().unwrap());
        options
    };
    let said = refused(with(&|tls| tls.roots = Roots::Pem(foreign.pem())));
    assert!(said.contains("UnknownIssuer"), "{said}");
    let said = refused(with(&|tls| tls.server_name = Some("other.example".to_owned())));
    assert!(said.contains("not valid for name"), "{said}");
    let said = refused(with(&|tls| tls.server_name = None));
    assert!(said.contains("not valid for name"), "{said}");

    let mut plain = options();
    plain.address.tls = None;
    let said = refused(plain);
    assert!(said.contains("no encryption"), "{said}");

    let shown = |authority: &Authority| {
        let (chain, key) = issue(authority, "shown");
        let client = ClientCertificate { chain, key: Secret::new(key) };
        let mut options = with(&|tls| tls.client = Some(client.clone()));
        "shown".clone_into(&mut options.address.user);
        options.password = None;
        options
    };
    let said = refused(shown(&foreign));
    assert!(said.contains("received fatal alert"), "{said}");
    // Let in, and told what it may not.
    let said = refused(shown(&ours));
    assert!(said.contains("permission denied"), "{said}");
}

#[test]
fn a_server_without_tls_is_not_spoken_to_without_it() {
    let Some(server) = Server::shared() else { return };
    let said = refused(writer(&server, &authority("ours")));
    assert!(said.contains("does not support TLS"), "{said}");
}
