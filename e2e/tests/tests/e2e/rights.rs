//! What the operator and people may do with the chart's roles, asked of a real API server: exactly
//! what the chart says, and none of its neighbours.
//!
//! Method: the server tells all its resources and subresources; for each and every verb it is asked
//! whether the account may (SubjectAccessReview), and the answers must be the rules of the chart. A
//! table beside says what no rule may ever grant.

#[path = "rights/ask.rs"]
mod ask;

use std::collections::BTreeSet;
use std::process::Command;

use orrery_e2e_cluster::{Cluster, output_within, poll};
use orrery_e2e_tests::orrery_binary;
use serde_json::Value;

use crate::account;
use crate::charts::chart;
use crate::kubernetes::LIMIT;
use ask::{Asker, Right, right};

/// Verbs of requests, and the one that stands for all.
const VERBS: [&str; 9] =
    ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "*"];

/// What an operator of databases must never be able to do, whatever it builds: group, resource and
/// verbs. Each would let whoever takes the account over go on to more than the account.
const NEVER: &[(&str, &str, &[&str])] = &[
    ("", "secrets", &["update", "deletecollection", "*"]),
    ("", "configmaps", &["update", "deletecollection"]),
    ("", "pods", &["create", "update", "patch", "deletecollection"]),
    ("", "pods/exec", &["get", "create"]),
    ("", "pods/attach", &["get", "create"]),
    ("", "pods/portforward", &["get", "create"]),
    ("", "pods/proxy", &["get", "create", "update", "patch", "delete"]),
    ("", "pods/log", &["get"]),
    ("", "pods/ephemeralcontainers", &["update", "patch"]),
    ("", "pods/resize", &["update", "patch"]),
    ("", "pods/eviction", &["create"]),
    ("", "pods/binding", &["create"]),
    ("", "pods/status", &["update", "patch"]),
    ("", "services/proxy", &["get", "create", "update", "patch", "delete"]),
    ("", "services/status", &["update", "patch"]),
    ("", "serviceaccounts", &["impersonate", "update", "deletecollection"]),
    ("", "serviceaccounts/token", &["create"]),
    ("", "users", &["impersonate"]),
    ("", "groups", &["impersonate"]),
    ("authentication.k8s.io", "uids", &["impersonate"]),
    ("authentication.k8s.io", "tokenreviews", &["create"]),
    ("authorization.k8s.io", "subjectaccessreviews", &["create"]),
    ("", "nodes", &["get", "list", "watch", "create", "update", "patch", "delete"]),
    ("", "nodes/proxy", &["get", "create"]),
    ("", "nodes/status", &["update", "patch"]),
    ("", "namespaces", &["create", "update", "patch", "delete"]),
    ("", "persistentvolumes", &["get", "create", "update", "patch", "delete"]),
    ("", "persistentvolumeclaims", &["create", "update", "deletecollection"]),
    ("", "endpoints", &["create", "update", "patch", "delete"]),
    ("discovery.k8s.io", "endpointslices", &["create", "update", "patch", "delete"]),
    ("apps", "statefulsets", &["update", "deletecollection"]),
    ("apps", "statefulsets/scale", &["update", "patch"]),
    ("apps", "deployments", &["update", "deletecollection"]),
    ("apps", "deployments/scale", &["update", "patch"]),
    ("apps", "daemonsets", &["create", "update", "patch", "delete"]),
    ("apps", "replicasets", &["create", "update", "patch", "delete"]),
    ("rbac.authorization.k8s.io", "roles", &["create", "update", "patch", "bind", "escalate"]),
    ("rbac.authorization.k8s.io", "rolebindings", &["create", "update", "patch", "delete"]),
    (
        "rbac.authorization.k8s.io",
        "clusterroles",
        &["create", "update", "patch", "delete", "bind", "escalate"],
    ),
    ("rbac.authorization.k8s.io", "clusterrolebindings", &["create", "update", "patch"]),
    ("certificates.k8s.io", "certificatesigningrequests", &["create", "update"]),
    ("certificates.k8s.io", "certificatesigningrequests/approval", &["update", "patch"]),
    ("certificates.k8s.io", "signers", &["approve", "sign", "attest"]),
    ("apiextensions.k8s.io", "customresourcedefinitions", &["create", "update", "patch", "delete"]),
    (
        "admissionregistration.k8s.io",
        "validatingwebhookconfigurations",
        &["create", "update", "patch", "delete"],
    ),
    (
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
        &["create", "update", "patch", "delete"],
    ),
    ("apiregistration.k8s.io", "apiservices", &["create", "update", "patch", "delete"]),
    ("coordination.k8s.io", "leases", &["list", "watch", "delete", "deletecollection"]),
    ("networking.k8s.io", "ingresses", &["create", "update", "patch", "delete"]),
    // The spec is the user's. An engine may be patched, because a finalizer holds it until its last
    // snapshot is taken, and Kubernetes has no smaller right for that.
    ("orrery.dev", "kvclusters", &["update", "delete", "deletecollection"]),
    ("orrery.dev", "backups", &["update", "patch", "deletecollection"]),
    ("orrery.dev", "backupschedules", &["create", "update", "patch", "delete"]),
    ("orrery.dev", "kvclusters/scale", &["update", "patch"]),
    ("orrery.dev", "kvnamespaces", &["create", "update", "patch", "delete"]),
    // Jobs are made and ended; CronJobs are suspended and given back.
    ("batch", "jobs", &["update", "deletecollection"]),
    ("batch", "jobs/status", &["update", "patch"]),
    ("batch", "cronjobs", &["create", "update", "delete", "deletecollection"]),
    ("batch", "cronjobs/status", &["update"]),
    ("orrery.dev", "schedules", &["update", "deletecollection"]),
    ("orrery.dev", "schedulers", &["update", "delete", "deletecollection"]),
    // Whoever writes a catalog says which images run.
    ("orrery.dev", "releasecatalogs", &["create", "update", "patch", "delete", "deletecollection"]),
    ("*", "*", &["*", "get", "list", "create", "impersonate", "bind", "escalate"]),
];

fn never() -> BTreeSet<Right> {
    let rows = NEVER.iter();
    rows.flat_map(|(group, of, verbs)| verbs.iter().map(|verb| right(group, of, verb))).collect()
}

/// Every right that the rules of a file of the chart give.
fn rules(file: &str) -> BTreeSet<Right> {
    let path = format!("{}/files/{file}", chart("orrery"));
    let text = std::fs::read_to_string(path).expect("it is generated");
    let rules: Value = serde_saphyr::from_str(&text).expect("it is YAML");
    let words = |rule: &Value, field: &str| -> Vec<String> {
        let list = rule[field].as_array().expect("every rule has groups, resources and verbs");
        list.iter().map(|word| word.as_str().expect("a word").to_owned()).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in rules.as_array().expect("a list of rules") {
        for group in words(rule, "apiGroups") {
            for resource in words(rule, "resources") {
                rights.extend(words(rule, "verbs").iter().map(|v| right(&group, &resource, v)));
            }
        }
    }
    rights
}

async fn install_kinds(cluster: &Cluster) {
    let binary = orrery_binary().expect("make test builds it first");
    let crds = output_within(Command::new(binary).arg("crds"), LIMIT).expect("the binary runs");
    let crds = String::from_utf8(crds.stdout).expect("YAML is text");
    let words = ["apply", "--server-side", "-f", "-"];
    let applied = cluster.kubectl_with_input(words, &crds).await.expect("kubectl runs");
    assert!(applied.status.success(), "{}", String::from_utf8_lossy(&applied.stderr));
    let wait = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"];
    assert!(cluster.kubectl(wait).await.expect("kubectl runs").status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_may_do_what_the_chart_says_and_nothing_beside_it() {
    let Some(cluster) = Cluster::shared().await else { return };
    install_kinds(&cluster).await;
    let namespace = cluster.namespace("rights").await.expect("a namespace");
    let other = cluster.namespace("rights-other").await.expect("a namespace");
    let here = namespace.name();
    account::install(&cluster, "narrow", here, Some(here)).await;
    // Roles of the whole cluster carry the release's name: one that no other test has.
    let wide = here.to_owned();
    account::install(&cluster, &wide, here, None).await;
    let asker = Asker::new(&cluster).await;
    let mut questions = asker.every(&VERBS);
    let (never, narrow) = (never(), rules("rules.yaml"));
    let (lease, cluster_wide) = (rules("leader-rules.yaml"), rules("cluster-rules.yaml"));
    for asked in [&never, &narrow, &lease, &cluster_wide] {
        questions.extend(asked.iter().cloned());
    }

    let account = |name: &str| format!("system:serviceaccount:{here}:{name}");
    let groups = vec![
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{here}"),
        "system:authenticated".to_owned(),
    ];
    let all = async |user: &str, at: Option<&str>| {
        asker.allowed(user, &groups, at, questions.clone()).await
    };
    // What every account may: ask who it is.
    let anybody = all(&account("nobody"), Some(here)).await;
    assert!(anybody.iter().all(|right| right.group.ends_with(".k8s.io")), "{anybody:?}");
    let but = |rights: BTreeSet<Right>| -> BTreeSet<Right> {
        rights.difference(&anybody).cloned().collect()
    };
    let in_its_own = but(all(&account("narrow"), Some(here)).await);
    let in_another = but(all(&account("narrow"), Some(other.name())).await);
    let of_the_cluster = but(all(&account("narrow"), None).await);
    let everywhere = but(all(&account(&wide), None).await);
    let elsewhere = but(all(&account(&wide), Some(other.name())).await);
    account::remove(&cluster, &wide, here).await;

    let granted: BTreeSet<Right> = narrow.union(&cluster_wide).cloned().collect();
    let expected: BTreeSet<Right> = granted.union(&lease).cloned().collect();
    for (found, expected, place) in [
        (&in_its_own, &expected, "in its own namespace"),
        (&in_another, &cluster_wide, "in a namespace it was not given"),
        (&of_the_cluster, &cluster_wide, "in the cluster as a whole"),
        (&everywhere, &granted, "of the whole cluster, when it looks after all of it"),
        (&elsewhere, &granted, "in a namespace, when it looks after all of them"),
    ] {
        let differs: Vec<_> = found.symmetric_difference(expected).collect();
        assert!(differs.is_empty(), "{place}: {differs:#?}");
    }
    let both: Vec<_> = expected.intersection(&never).collect();
    assert!(both.is_empty(), "granted and never to be: {both:?}");
}

/// What a file of the chart says of kinds: resources by singular name.
fn kinds() -> Vec<String> {
    let text = std::fs::read_to_string(format!("{}/files/kinds.yaml", chart("orrery")));
    let kinds: Value = serde_saphyr::from_str(&text.expect("it is generated")).expect("YAML");
    let lists = kinds.as_object().expect("a map").values().filter_map(Value::as_array).flatten();
    lists.map(|word| word.as_str().expect("a word").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_look_and_editors_change_and_neither_touches_a_status() {
    let Some(cluster) = Cluster::shared().await else { return };
    install_kinds(&cluster).await;
    let namespace = cluster.namespace("people").await.expect("a namespace");
    let here = namespace.name();
    account::install(&cluster, here, here, None).await;
    for role in ["view", "edit"] {
        let user = format!("--user={role}-of-{here}");
        let role = format!("--clusterrole={role}");
        let bind = ["create", "rolebinding", &user[2..].replace('=', "-"), &role, &user];
        namespace.kubectl(&bind).await.expect("it is bound");
    }
    let asker = Asker::new(&cluster).await;
    let mut questions = asker.every(&VERBS);
    questions.retain(|right| right.group == "orrery.dev");
    let user = |role: &str| format!("{role}-of-{here}");
    let groups = vec!["system:authenticated".to_owned()];
    let may = |role: &str| {
        let (asker, groups, user) = (&asker, &groups, user(role));
        let questions = questions.clone();
        async move { asker.allowed(&user, groups, Some(here), questions).await }
    };

    let rights = |resources: &[String], verbs: &[&str]| -> BTreeSet<Right> {
        let pairs = resources.iter().flat_map(|of| verbs.iter().map(move |verb| (of, verb)));
        pairs.map(|(of, verb)| right("orrery.dev", of, verb)).collect()
    };
    let looked_at = kinds();
    let changed: Vec<String> =
        looked_at.iter().filter(|resource| !resource.ends_with("/status")).cloned().collect();
    let looking = rights(&looked_at, &["get", "list", "watch"]);
    let changing = rights(&changed, &["create", "update", "patch", "delete", "deletecollection"]);
    let editing: BTreeSet<Right> = looking.union(&changing).cloned().collect();

    // The controllers put the chart's roles into the cluster's.
    let told = poll("the roles are aggregated", LIMIT, || async {
        may("view").await.is_superset(&looking) && may("edit").await.is_superset(&editing)
    });
    let told = told.await;
    let (viewer, editor) = (may("view").await, may("edit").await);
    account::remove(&cluster, here, here).await;
    assert_eq!(viewer, looking, "{told:?}");
    assert_eq!(editor, editing, "{told:?}");
    let served: BTreeSet<&str> = questions.iter().map(|right| right.resource.as_str()).collect();
    let known: BTreeSet<&str> = looked_at.iter().map(String::as_str).collect();
    assert_eq!(served, known, "every kind that is served has roles");
}
