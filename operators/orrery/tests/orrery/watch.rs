//! The stream of changes as a user on one machine meets it: through `curl`.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::stage::{Stage, connect};

const SPECS: &str = r#"
apiVersion: orrery.dev/v1alpha1
kind: KVCluster
metadata: {name: default}
spec:
  http: {mode: "On"}
  resp: {auth: {secretRef: {name: own}}}
---
apiVersion: orrery.dev/v1alpha1
kind: KVNamespace
metadata: {name: shop}
spec: {match: {prefix: "shop:"}}
---
apiVersion: v1
kind: Secret
metadata: {name: own}
stringData: {password: hunter2}
"#;

struct Curl {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Curl {
    fn watch(address: &str, path: &str) -> std::io::Result<Self> {
        let mut child = Command::new("curl")
            .args(["-sS", "-N", "--max-time", "60", "-u", "default:hunter2"])
            .arg(format!("http://{address}{path}"))
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().unwrap());
        Ok(Self { child, lines })
    }

    /// The next line that begins so, without that.
    fn next(&mut self, beginning: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "curl ended");
            if let Some(rest) = line.trim_end().strip_prefix(beginning) {
                return rest.to_owned();
            }
        }
    }
}

impl Drop for Curl {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn changes_are_watched_with_curl_and_gone_on_with_after_a_restart() {
    let stage = Stage::new(SPECS);
    let up = stage.up();
    let cluster = stage.ready("KVCluster", "default", 1);
    stage.ready("KVNamespace", "shop", 1);
    let address = cluster["status"]["endpoints"][2]["address"].as_str().unwrap();
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let mut curl = match Curl::watch(address, "/v1/ns/shop/watch") {
        Ok(curl) => curl,
        Err(error) => return println!("not run: no curl: {error}"),
    };
    let place = curl.next("id: ");
    let mut client = connect(&cluster);
    assert_eq!(client.ask(&["AUTH", "hunter2"]), "+OK");
    for (key, value) in [("other", "1"), ("shop:a", "1"), ("shop:b", "2")] {
        assert_eq!(client.ask(&["SET", key, value]), "+OK");
    }
    let first = curl.next("data: ");
    assert!(first.contains(r#""commands":[["SET","shop:a","1"]]"#), "{first}");
    drop(curl);

    up.interrupt();
    let up = stage.up();
    let cluster = stage.ready("KVCluster", "default", 1);
    let address = cluster["status"]["endpoints"][2]["address"].as_str().unwrap();
    let mut curl = Curl::watch(address, &format!("/v1/watch?from={place}")).unwrap();
    for key in ["other", "shop:a", "shop:b"] {
        let change = curl.next("data: ");
        assert!(change.contains(&format!(r#""key":"{key}""#)), "{change}");
    }
    up.interrupt();
}
