//! TLS on one machine: a Secret of the same file, and a client that checks the certificate.

use std::fmt::Write as _;
use std::process::Command;

use crate::stage::{Stage, until};

/// A certificate that is its own authority, and its key.
fn pair() -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn specs(chain: &str, key: &str) -> String {
    let mut text = String::from(
        "apiVersion: orrery.dev/v1alpha1\nkind: KVCluster\nmetadata: {name: default}\nspec:\n  \
         resp: {tls: {secretRef: {name: kv-tls}}}\n---\napiVersion: v1\nkind: Secret\nmetadata: \
         {name: kv-tls}\ntype: kubernetes.io/tls\nstringData:\n",
    );
    for (name, pem) in [("tls.crt", chain), ("tls.key", key)] {
        let _ = writeln!(text, "  {name}: |");
        for line in pem.lines() {
            let _ = writeln!(text, "    {line}");
        }
    }
    text
}

/// Asks over TLS, trusting `chain` alone.
fn ask(stage: &Stage, address: &str, chain: &str, words: &[&str]) -> String {
    let file = stage.data().with_file_name("trusted.pem");
    std::fs::write(&file, chain).unwrap();
    let (host, port) = address.rsplit_once(':').unwrap();
    let mut command = Command::new("redis-cli");
    command.args(["-h", host, "-p", port, "--tls", "--cacert"]).arg(file).args(words);
    let output = command.output().expect("redis-cli is there");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Load over TLS, with `chain` as authority and `other` as one of somebody else.
fn bench(stage: &Stage, address: &str, chain: &str, other: &str) {
    let file = |name: &str, text: &str| {
        let path = stage.data().with_file_name(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (trusted, strange) = (file("authority.pem", chain), file("stranger.pem", other));
    let run = |more: &[&str]| {
        let all = ["bench", "default", "--yes", "--seconds", "1", "--clients", "2", "--keys", "50"];
        let output = stage.run(&[&all, more].concat());
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    for more in [&["--cacert", &trusted, "--pipeline", "500"][..], &["--insecure"]] {
        let (is_fine, said) = run(more);
        assert!(is_fine && said.contains("errors      0"), "{said}");
        assert!(said.contains("keys are removed again"), "{said}");
    }
    for (more, why) in [
        (&[][..], "name the authority of its certificate with --cacert"),
        (&["--cacert", &strange], "invalid peer certificate"),
        (&["--cacert", &trusted, "--sni", "elsewhere"], "not valid for name"),
        (&["--cacert", "nowhere.pem"], "failed to read certificates in nowhere.pem"),
    ] {
        let (is_fine, said) = run(more);
        assert!(!is_fine && said.contains(why), "{said}");
    }
    let plain = stage.run(&["bench", "--address", address, "--seconds", "1"]);
    let said = String::from_utf8_lossy(&plain.stderr);
    assert!(!plain.status.success() && said.contains("does it speak TLS?"), "{said}");
}

#[test]
fn a_secret_in_the_file_makes_clients_speak_tls_and_a_new_one_is_taken_over() {
    let (chain, key) = pair();
    let stage = Stage::new(&specs(&chain, &key));
    let up = stage.up();
    let cluster = stage.ready("KVCluster", "default", 1);
    up.says("redis-cli --tls ");
    let address = cluster["status"]["endpoints"][0]["address"].as_str().unwrap().to_owned();
    assert_eq!(ask(&stage, &address, &chain, &["SET", "a", "1"]), "OK");
    let (next, next_key) = pair();
    assert_eq!(ask(&stage, &address, &next, &["GET", "a"]), "", "not the authority");
    bench(&stage, &address, &chain, &next);
    stage.write("kv.yaml", &specs(&next, &next_key));
    until("the new certificate is used", || {
        (ask(&stage, &address, &next, &["GET", "a"]) == "1").then_some(())
    });
    assert_eq!(ask(&stage, &address, &chain, &["GET", "a"]), "");
    up.interrupt();
}
