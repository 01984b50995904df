use super::*;

fn pool() -> Pool {
    let pool = json!({"name": "tools", "image": "b:1", "size": 1, "serviceAccountName": "works",
        "resources": {"limits": {"cpu": "1"}}});
    serde_json::from_value(pool).unwrap()
}

/// As a server gives it back, defaults and all.
fn template() -> Value {
    json!({
        "metadata": {"creationTimestamp": null, "labels": {"a": "b"}},
        "spec": {"backoffLimit": 2, "ttlSecondsAfterFinished": 60, "template": {
            "metadata": {"creationTimestamp": null, "annotations": {"c": "d"}},
            "spec": {
                "restartPolicy": "OnFailure", "dnsPolicy": "ClusterFirst", "securityContext": {},
                "schedulerName": "default-scheduler", "terminationGracePeriodSeconds": 30,
                "containers": [{
                    "name": "a", "image": "b:1", "command": ["/bin/run"], "args": ["--to=$(TO)"],
                    "env": [{"name": "TO", "value": "x"}], "resources": {},
                    "imagePullPolicy": "IfNotPresent", "terminationMessagePolicy": "File",
                    "terminationMessagePath": "/dev/termination-log",
                }],
            },
        }},
    })
}

const POD: &str = "/spec/template/spec";
const CONTAINER: &str = "/spec/template/spec/containers/0";

fn with(changes: &[(&str, &str, Value)]) -> Result<Pooled, String> {
    let mut template = template();
    for (at, field, value) in changes {
        template.pointer_mut(at).unwrap()[*field] = value.clone();
    }
    pooled(&template, &pool())
}

#[test]
fn a_template_that_asks_for_nothing_special_becomes_a_command() {
    let pooled = with(&[]).unwrap();
    assert_eq!(pooled.action.pool, "tools");
    assert_eq!(
        (pooled.action.command, pooled.action.args),
        (vec!["/bin/run".to_owned()], vec!["--to=x".to_owned()])
    );
    let env = EnvVar { name: "TO".to_owned(), value: "x".to_owned() };
    assert_eq!(pooled.action.env, [env]);
    let retry = Retry { max_attempts: 3, backoff_seconds: 10, max_backoff_seconds: 600 };
    assert_eq!((pooled.retry, pooled.timeout_seconds), (retry, None));
    // What is left out is seven attempts, as of a Job.
    let default = with(&[("/spec", "backoffLimit", Value::Null)]).unwrap();
    assert_eq!(default.retry.max_attempts, 7);
    with(&[(POD, "serviceAccountName", json!("works"))]).unwrap();
    with(&[(CONTAINER, "resources", json!({"limits": {"cpu": "1"}}))]).unwrap();
}

#[test]
fn deadlines_are_those_of_an_attempt() {
    let deadline = |at: &'static str, seconds: i64| (at, "activeDeadlineSeconds", json!(seconds));
    let once = ("/spec", "backoffLimit", json!(0));
    for (changes, expected) in [
        (vec![once.clone(), deadline("/spec", 60)], Some(60)),
        (vec![once.clone(), deadline("/spec", 60), deadline(POD, 30)], Some(30)),
        (vec![deadline(POD, 30)], Some(30)),
        (vec![once.clone()], None),
    ] {
        assert_eq!(with(&changes).unwrap().timeout_seconds, expected, "{changes:?}");
    }
    let whole = with(&[deadline("/spec", 60)]).unwrap_err();
    assert!(whole.contains("for all attempts together"), "{whole}");
    let long = with(&[once, deadline("/spec", 90_000)]).unwrap_err();
    assert!(long.contains("is not 1 to 86400"), "{long}");
}

#[test]
fn what_a_pod_of_a_pool_does_not_give_is_refused_by_name() {
    let container = template().pointer(CONTAINER).unwrap().clone();
    let job = "/spec";
    for (at, field, value, said) in [
        (job, "parallelism", json!(2), "parallelism is 2"),
        (job, "completions", json!(3), "completions is 3"),
        (job, "completionMode", json!("Indexed"), "completionMode"),
        (job, "suspend", json!(true), "suspend is true"),
        (job, "podFailurePolicy", json!({"rules": [1]}), "jobTemplate.spec.podFailurePolicy"),
        (job, "successPolicy", json!({"rules": [1]}), "jobTemplate.spec.successPolicy"),
        (job, "backoffLimitPerIndex", json!(1), "backoffLimitPerIndex"),
        (job, "backoffLimit", json!(100), "backoffLimit is not 0 to 99"),
        (job, "managedBy", json!("x/y"), "managedBy"),
        (POD, "initContainers", json!([container]), "spec.initContainers"),
        (POD, "containers", json!([container, container]), "exactly one container"),
        (POD, "volumes", json!([{"name": "a"}]), "spec.volumes"),
        (POD, "nodeSelector", json!({"a": "b"}), "spec.nodeSelector"),
        (POD, "tolerations", json!([{"key": "a"}]), "spec.tolerations"),
        (POD, "affinity", json!({"a": {"b": 1}}), "spec.affinity"),
        (POD, "hostNetwork", json!(true), "hostNetwork is true"),
        (POD, "securityContext", json!({"runAsUser": 0}), "spec.securityContext"),
        (POD, "serviceAccountName", json!("other"), "serviceAccountName is \"other\""),
        (POD, "terminationGracePeriodSeconds", json!(90), "terminationGracePeriodSeconds is 90"),
        (POD, "newField", json!(1), "spec.newField is nothing that"),
        (CONTAINER, "image", json!("b:2"), "its image is \"b:2\", and that of pool tools \"b:1\""),
        (CONTAINER, "command", json!(null), "it has no command"),
        (CONTAINER, "command", json!([]), "it has no command"),
        (CONTAINER, "command", json!(["x".repeat(4097)]), "the container's command has more"),
        (CONTAINER, "env", json!([{"name": "S", "valueFrom": {"a": 1}}]), "variable S comes from"),
        (CONTAINER, "env", json!([{"name": "ORRERY_X", "value": "1"}]), "ORRERY_X is the runner's"),
        (CONTAINER, "envFrom", json!([{"a": 1}]), "the container's envFrom"),
        (CONTAINER, "volumeMounts", json!([{"a": 1}]), "the container's volumeMounts"),
        (CONTAINER, "workingDir", json!("/a"), "the container's workingDir"),
        (CONTAINER, "securityContext", json!({"privileged": true}), "securityContext"),
        (
            CONTAINER,
            "resources",
            json!({"limits": {"cpu": "2"}}),
            "resources are not those of pool",
        ),
        (CONTAINER, "livenessProbe", json!({"exec": 1}), "the container's livenessProbe"),
    ] {
        let refusal = with(&[(at, field, value)]).unwrap_err();
        assert!(refusal.contains(said), "{field}: {refusal}");
    }
}
