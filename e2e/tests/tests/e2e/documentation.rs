//! Goal: what a page of the documentation tells a user to type works as it is written. Method: the
//! objects and the commands of the page, in order, from a shell in the repository whose namespace has
//! an operator.

use crate::kubernetes::Stage;
use crate::page::{Shell, Step, steps};

async fn works_as_written(name: &str, page: &str) {
    let Some(stage) = Stage::new(name).await else { return };
    let shell = Shell::new(stage.kubeconfig(), stage.namespace());
    let steps = steps(page);
    assert!(!steps.is_empty(), "the page has nothing to type");
    for step in steps {
        let shell = &shell;
        tokio::task::block_in_place(|| match step {
            Step::Apply(objects) => {
                shell.types(&format!("kubectl apply -f - <<'END'\n{objects}\nEND"));
                shell.types(
                    "kubectl wait kvcluster,scheduler --all --for=condition=Ready --timeout=4m",
                );
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
