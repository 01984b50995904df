//! Jobs that call methods by gRPC: made by the API, run, and shown with their body.

use orrery_api::scheduler::{SchedulerConfig, TargetFile};
use serde_json::{Value, json};

use crate::dispatch::grpc::billing::{Billing, Reflection};
use crate::harness::Stage;

/// A stage with the target `billing`.
fn stage(billing: &Billing) -> Stage {
    let target: TargetFile = serde_json::from_value(json!({
        "name": "billing", "host": "127.0.0.1", "port": billing.address.port(),
    }))
    .unwrap();
    Stage::with(&SchedulerConfig { targets: vec![target], ..crate::harness::config() }, None)
}

fn job(grpc: &Value) -> String {
    json!({"spec": {"when": {"cron": "0 7 1 1 *"}, "action": {"grpc": grpc}}}).to_string()
}

#[test]
fn a_job_calls_a_method_with_its_body() {
    let billing = Billing::good(Reflection::V1);
    let stage = stage(&billing);
    let body = r#"{"customer": "c-1"}"#;
    let grpc = json!({"target": "billing", "method": "shop.Billing/Charge", "body": body});
    assert_eq!(stage.put("/v1/jobs/a", &job(&grpc)).is(201)["result"], "created");
    assert_eq!(stage.put("/v1/jobs/a", &job(&grpc)).is(200)["result"], "same");
    assert_eq!(stage.get("/v1/jobs/a").is(200)["spec"]["action"]["grpc"], grpc);
    // The same but for the body.
    let other = json!({"target": "billing", "method": "shop.Billing/Charge"});
    stage.put("/v1/jobs/b", &job(&other)).is(201);
    for name in ["a", "b"] {
        let run = stage.post(&format!("/v1/jobs/{name}/run"), "").is(202);
        let runs = format!("/v1/jobs/{name}/runs");
        let newest = || stage.get(&runs).is(200)["runs"][0].clone();
        stage.until("it is over", || newest()["result"] == "Succeeded");
        let seen = billing.seen().pop().unwrap();
        assert_eq!(seen.header("idempotency-key"), run["run"]);
        assert_eq!(seen.header("x-orrery-schedule"), name);
        assert_eq!(seen.charge.customer, if name == "a" { "c-1" } else { "" });
    }
    let targets = stage.get("/v1/status").is(200)["targets"].clone();
    assert!(targets.to_string().contains("billing"), "{targets}");
}

#[test]
fn what_cannot_be_called_is_refused_when_it_is_put() {
    let stage = stage(&Billing::good(Reflection::None));
    let refused = |grpc: &Value, reason: &str| {
        stage.put("/v1/jobs/a", &job(grpc)).refused(422, reason);
    };
    let method = "shop.Billing/Charge";
    refused(&json!({"target": "mail", "method": method}), "TargetMissing");
    for method in
        ["", "Charge", "shop.Billing", "/Charge", "shop..B/M", "shop.B/M/N", "1/M", "s/M?x"]
    {
        refused(&json!({"target": "billing", "method": method}), "InvalidSpec");
    }
    refused(&json!({"target": "billing", "method": method, "body": "{"}), "InvalidSpec");
    refused(&json!({"target": "billing", "method": method, "body": "{} {}"}), "InvalidSpec");
    refused(&json!({"target": "billing", "method": method, "headers": []}), "InvalidSpec");
}
