use super::*;

fn pair(name: &str) -> (String, String) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let parameters = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("a name");
    (parameters.self_signed(&key).expect("signed").pem(), key.serialize_pem())
}

fn folder(files: &[(&str, &str)]) -> (tempfile::TempDir, Folder) {
    let temporary = tempfile::tempdir().expect("a temporary folder");
    for (name, text) in files {
        std::fs::write(temporary.path().join(name), text).expect("writable");
    }
    let folder = Folder::new(temporary.path());
    (temporary, folder)
}

#[test]
fn an_authority_in_the_folder_asks_peers_for_certificates() {
    let (chain, key) = pair("kv");
    let (_kept, plain) = folder(&[(CHAIN, &chain), (KEY, &key)]);
    assert!(!plain.server().expect("usable").asks_peers);
    let (_kept, mutual) = folder(&[(CHAIN, &chain), (KEY, &key), (AUTHORITY, &chain)]);
    let server = mutual.server().expect("usable");
    assert!(server.asks_peers && server.expires_s.is_some());
}

#[test]
fn what_cannot_be_used_is_refused_and_says_which_file() {
    let (chain, key) = pair("kv");
    let (_, other_key) = pair("kv");
    let refusal = |files: &[(&str, &str)]| {
        let (_kept, folder) = folder(files);
        folder.server().expect_err("it is not usable").to_string()
    };
    assert!(refusal(&[(CHAIN, &chain)]).contains("tls.key"));
    assert!(refusal(&[(CHAIN, ""), (KEY, &key)]).contains("tls.crt"));
    assert!(refusal(&[(CHAIN, "no PEM"), (KEY, &key)]).contains("find a certificate"));
    assert!(refusal(&[(CHAIN, &chain), (KEY, "no PEM")]).contains("tls.key as PEM"));
    assert!(refusal(&[(CHAIN, &chain), (KEY, &other_key)]).contains("with its key"));
    let all = [(CHAIN, chain.as_str()), (KEY, key.as_str()), (AUTHORITY, "-")];
    assert!(refusal(&all).contains("ca.crt"));
    let long = "x".repeat(FILE_BYTES_MAX as usize + 1);
    assert!(refusal(&[(CHAIN, &long), (KEY, &key)]).contains("longer than 1 MiB"));
}

#[test]
fn an_exchanged_file_changes_the_stamp() {
    let (chain, key) = pair("kv");
    let (kept, folder) = folder(&[(CHAIN, &chain), (KEY, &key)]);
    let before = folder.stamp();
    assert_eq!(before, folder.stamp());
    let fresh = kept.path().join("fresh");
    std::fs::write(&fresh, &key).expect("writable");
    std::fs::rename(&fresh, kept.path().join(KEY)).expect("same folder");
    let after = folder.stamp();
    assert_ne!(before, after);
    std::fs::write(kept.path().join(AUTHORITY), &chain).expect("writable");
    assert_ne!(after, folder.stamp());
}

#[test]
fn a_client_needs_an_authority_and_shows_a_certificate_only_with_its_key() {
    let (chain, key) = pair("redis");
    let client = |files: &[(&str, &str)]| {
        let (_kept, folder) = folder(files);
        folder.client().map(|config| config.client_auth_cert_resolver.has_certs())
    };
    assert!(!client(&[(AUTHORITY, &chain)]).expect("usable"));
    assert!(client(&[(AUTHORITY, &chain), (CHAIN, &chain), (KEY, &key)]).expect("usable"));
    for (files, what) in [
        (&[(CHAIN, chain.as_str()), (KEY, key.as_str())][..], "ca.crt"),
        (&[(AUTHORITY, "-")], "ca.crt"),
        (&[(AUTHORITY, &chain), (CHAIN, &chain)], "tls.key"),
        (&[(AUTHORITY, &chain), (KEY, &key)], "tls.crt"),
    ] {
        let refusal = client(files).expect_err("it is not usable").to_string();
        assert!(refusal.contains(what), "{refusal}");
    }
}
