//! `orrery verify scheduler`: has a running engine derive every launch that should have happened, and
//! compare it with its ledger.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use orrery_local::control::Request;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::cli::verify::SchedulerProof;
use crate::output;

/// A year of a million jobs takes minutes.
const PATIENCE: Duration = Duration::from_mins(10);
/// A day, in seconds: what is looked at unless asked otherwise.
const DAY: i64 = 86_400;

/// What the engine found.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    from: String,
    to: String,
    is_clean: bool,
    jobs: u64,
    expected: u64,
    launched: u64,
    skipped: u64,
    waiting: u64,
    pending: u64,
    missed: u64,
    duplicated: u64,
    unexpected: u64,
    gaps: u64,
    differences: Vec<String>,
}

pub(crate) fn run(arguments: &SchedulerProof) -> anyhow::Result<ExitCode> {
    let url = match &arguments.url {
        Some(url) => url.trim_end_matches('/').to_owned(),
        None => local(arguments)?,
    };
    let now = jiff::Timestamp::now();
    let to = arguments.to.unwrap_or(now);
    let day = jiff::SignedDuration::from_secs(DAY);
    let from = arguments.from.map_or_else(|| to.checked_sub(day), Ok)?;
    let asked = json!({ "from": from.to_string(), "to": to.to_string() });
    let verdict = ask(&url, arguments, &asked)?;
    output::print(&told(&verdict));
    Ok(if verdict.is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Address of the API of an engine of `orrery up`.
fn local(arguments: &SchedulerProof) -> anyhow::Result<String> {
    let snapshot = crate::commands::ask(&arguments.data.data, Request::Get)?;
    let is_it = |object: &&Json| {
        object["kind"] == "Scheduler" && object["metadata"]["name"] == arguments.name.as_str()
    };
    let Some(found) = snapshot.objects.iter().find(is_it) else {
        bail!("no Scheduler {} runs here; name another one, or give --url", arguments.name);
    };
    let address = found.pointer("/status/endpoints/0/address").and_then(Json::as_str);
    let address = address.context("the Scheduler has no address yet; is it ready?")?;
    let scheme = if found.pointer("/spec/api/tls").is_some() { "https" } else { "http" };
    Ok(format!("{scheme}://{address}"))
}

fn ask(url: &str, arguments: &SchedulerProof, asked: &Json) -> anyhow::Result<Verdict> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("another provider of cryptography was installed before");
    }
    runtime.block_on(async {
        let mut client = reqwest::Client::builder().timeout(PATIENCE);
        if let Some(ca) = &arguments.ca {
            let path = ca.display();
            let pem = std::fs::read(ca).with_context(|| format!("failed to read {path}"))?;
            let trusted = reqwest::Certificate::from_pem_bundle(&pem)
                .with_context(|| format!("{path} has no certificate"))?;
            client = client.tls_certs_only(trusted);
        }
        let client = client.build()?;
        let mut request = client
            .post(format!("{url}/v1/verify"))
            .header("content-type", "application/json")
            .body(asked.to_string());
        if let Some(token) = &arguments.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.with_context(|| format!("failed to reach {url}"))?;
        let status = answer.status();
        let text = answer.text().await.context("the answer was cut short")?;
        if !status.is_success() {
            let problem: Json = serde_json::from_str(&text).unwrap_or_default();
            let detail = problem["detail"].as_str().unwrap_or(&text);
            bail!("{url} answers {status}: {detail}");
        }
        serde_json::from_str(&text).context("the answer is not understood; is it a Scheduler?")
    })
}

fn told(verdict: &Verdict) -> String {
    let Verdict { from, to, jobs, expected, launched, skipped, .. } = verdict;
    let mut text = format!(
        "{from} to {to}: {jobs} jobs, {expected} runs named by their rules\n\
         launched {launched}, skipped for a stated reason {skipped}, waiting {}, due later {}\n\
         missed {}, duplicated {}, unexpected {}, times of which nothing is known {}\n",
        verdict.waiting,
        verdict.pending,
        verdict.missed,
        verdict.duplicated,
        verdict.unexpected,
        verdict.gaps
    );
    for difference in &verdict.differences {
        text.push_str("  ");
        text.push_str(difference);
        text.push('\n');
    }
    text.push_str(if verdict.is_clean {
        "every run is in the ledger exactly once\n"
    } else {
        "the ledger and the rules differ\n"
    });
    text
}
