//! A page of the documentation: its blocks, and a shell in the repository that types them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use orrery_e2e_cluster::{output_within, tool};
use orrery_e2e_tests::{orrery_binary, program};

/// A program of this machine, or else one that is built for tests.
pub(crate) fn theirs_or_ours(name: &str) -> PathBuf {
    program(&[name]).unwrap_or_else(|| tool(name).expect("it is built"))
}

/// Longest wait for the commands of one block.
const BLOCK_LIMIT: Duration = Duration::from_mins(5);

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Whole objects.
    Apply(String),
    /// A script.
    Type(String),
}

/// The fenced blocks of a page that a user applies or types; parts of objects are left out.
pub(crate) fn steps(page: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        match language {
            "yaml" if block[0].starts_with("apiVersion:") => {
                steps.push(Step::Apply(block.join("\n")));
            }
            "sh" => steps.push(Step::Type(block.join("\n"))),
            "console" => {
                let typed = block.iter().filter_map(|line| line.strip_prefix("$ "));
                steps.push(Step::Type(typed.collect::<Vec<_>>().join("\n")));
            }
            _ => {}
        }
    }
    steps
}

#[test]
fn blocks_are_told_apart() {
    let page = "a\n```yaml\napiVersion: v1\nkind: A\n```\n```yaml\nspec: {}\n```\n```console\n$ get a\nb\n```\n\
                ```sh\none\ntwo\n```\n```\nfree\n```\n";
    let wanted = [
        Step::Apply("apiVersion: v1\nkind: A".into()),
        Step::Type("get a".into()),
        Step::Type("one\ntwo".into()),
    ];
    assert_eq!(steps(page), wanted);
}

/// A shell in the repository, with kubectl, its plugin and Helm, in one namespace of a cluster.
pub(crate) struct Shell {
    folder: tempfile::TempDir,
    root: PathBuf,
}

impl Shell {
    pub(crate) fn new(kubeconfig: &Path, namespace: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let link = |from: &Path, name: &str| {
            std::os::unix::fs::symlink(from, folder.path().join(name)).expect("a link");
        };
        for name in ["kubectl", "helm"] {
            link(&theirs_or_ours(name), name);
        }
        link(&orrery_binary().expect("make test builds it first"), "kubectl-orrery");
        std::fs::copy(kubeconfig, folder.path().join("config")).expect("it is copied");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let shell = Self { folder, root };
        let namespace = format!("--namespace={namespace}");
        shell.types(&format!("kubectl config set-context --current {namespace}"));
        shell
    }

    pub(crate) fn types(&self, script: &str) {
        let (folder, path) = (self.folder.path(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("sh");
        command.args(["-e", "-c", script]).current_dir(&self.root);
        command.env("KUBECONFIG", folder.join("config"));
        command.env("PATH", format!("{}:{path}", folder.display()));
        let output = output_within(&mut command, BLOCK_LIMIT);
        let output = output.unwrap_or_else(|error| panic!("{error}"));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{}\n{script}\n{out}\n{err}", output.status);
    }
}
