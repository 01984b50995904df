//! `orrery up` takes a Redis over that speaks TLS.

use std::process::{Child, Command, Stdio};

use crate::stage::{Stage, connect, until};

/// A real Redis with one key, ended when dropped.
struct Redis(Child);

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts one with the certificate in `folder`, on a port that nobody has; `None` where none is installed.
fn serve(folder: &std::path::Path, port: u16) -> Option<Redis> {
    let port = port.to_string();
    let file = |name: &str| folder.join(name).display().to_string();
    let child = Command::new("redis-server")
        .args(["--port", "0", "--tls-port", &port, "--save", "", "--tls-auth-clients", "no"])
        .args(["--tls-cert-file", &file("tls.crt"), "--tls-key-file", &file("tls.key")])
        .args(["--unixsocket", &file("redis.sock"), "--dir", &file("")])
        .stdout(Stdio::null())
        .spawn();
    child.map_err(|error| println!("not run: no redis-server: {error}")).ok().map(Redis)
}

#[test]
fn a_redis_that_speaks_tls_is_followed_on_one_machine() {
    let own = rcgen::generate_simple_self_signed(["redis.example".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tls.crt"), own.cert.pem()).unwrap();
    std::fs::write(folder.path().join("tls.key"), own.signing_key.serialize_pem()).unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let Some(_redis) = serve(folder.path(), port) else { return };
    let socket = folder.path().join("redis.sock");
    until("the Redis takes a key", || {
        let mut command = Command::new("redis-cli");
        let output = command.arg("-s").arg(&socket).args(["SET", "early", "1"]).output().unwrap();
        output.stdout.starts_with(b"OK").then_some(())
    });
    let authority = own.cert.pem().replace('\n', "\n    ");
    let stage = Stage::new(&format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: old-redis}}\n\
         stringData: {{address: \"127.0.0.1:{port}\"}}\n---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {{name: trust}}\n\
         stringData:\n  ca.crt: |\n    {authority}\n---\n\
         apiVersion: orrery.dev/v1alpha1\nkind: KVCluster\nmetadata: {{name: default}}\n\
         spec:\n  adoptFrom:\n    secretRef: {{name: old-redis}}\n    \
         tls: {{secretRef: {{name: trust}}, serverName: redis.example}}\n"
    ));
    let up = stage.up();
    let cluster = stage.ready("KVCluster", "default", 1);
    assert_eq!(cluster["status"]["adopt"]["state"], "Following");
    let mut client = connect(&cluster);
    assert_eq!(client.ask(&["GET", "early"]), "1");
    assert!(client.ask(&["SET", "mine", "1"]).starts_with("-READONLY"));
    up.interrupt();
}
