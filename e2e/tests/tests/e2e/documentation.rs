//! Goal: what a page of the documentation tells a user to type works as it is written. Method: the
//! objects and the commands of the page, in order, from a shell in the repository whose namespace has
//! an operator.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use orrery_e2e_cluster::{output_within, tool};
use orrery_e2e_tests::orrery_binary;

use crate::kubernetes::Stage;

/// Longest wait for the commands of one block.
const BLOCK_LIMIT: Duration = Duration::from_mins(5);

#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Whole objects.
    Apply(String),
    /// A script.
    Type(String),
}

/// The fenced blocks of a page that a user applies or types; parts of objects are left out.
fn steps(page: &str) -> Vec<Step> {
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

/// A shell in the repository, with kubectl and its plugin, in the namespace of the stage.
struct Shell {
    folder: tempfile::TempDir,
    root: PathBuf,
}

impl Shell {
    fn new(stage: &Stage) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let link = |from: &Path, name: &str| {
            std::os::unix::fs::symlink(from, folder.path().join(name)).expect("a link");
        };
        link(&tool("kubectl").expect("the cluster came with it"), "kubectl");
        link(&orrery_binary().expect("make test builds it first"), "kubectl-orrery");
        std::fs::copy(stage.kubeconfig(), folder.path().join("config")).expect("it is copied");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let shell = Self { folder, root };
        let namespace = format!("--namespace={}", stage.namespace());
        shell.types(&format!("kubectl config set-context --current {namespace}"));
        shell
    }

    fn types(&self, script: &str) {
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

async fn works_as_written(name: &str, page: &str) {
    let Some(stage) = Stage::new(name).await else { return };
    let shell = Shell::new(&stage);
    let steps = steps(page);
    assert!(!steps.is_empty(), "the page has nothing to type");
    for step in steps {
        let shell = &shell;
        tokio::task::block_in_place(|| match step {
            Step::Apply(objects) => {
                shell.types(&format!("kubectl apply -f - <<'END'\n{objects}\nEND"));
                shell.types("kubectl wait kvcluster --all --for=condition=Ready --timeout=4m");
            }
            Step::Type(script) => shell.types(&script),
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_on_backups_works_as_written() {
    works_as_written("page-backup", include_str!("../../../../docs/backup.md")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_on_failover_works_as_written() {
    works_as_written("page-failover", include_str!("../../../../docs/failover.md")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_on_users_works_as_written() {
    works_as_written("page-users", include_str!("../../../../docs/users.md")).await;
}
