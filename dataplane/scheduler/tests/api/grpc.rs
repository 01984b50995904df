//! The same API by gRPC.

use futures::TryStreamExt as _;
use orrery_scheduler::api::grpc::v1;
use orrery_scheduler::api::grpc::v1::scheduler_client::SchedulerClient;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::harness::{Stage, config};

const TOKEN: &str = "a-long-token";
const YEARLY: &str = r#"{"when": {"cron": "0 7 1 1 *", "timeZone": "Europe/Paris"},
    "action": {"http": {"url": "http://127.0.0.1:9/run"}}}"#;

async fn client(stage: &Stage) -> SchedulerClient<Channel> {
    let address = format!("http://{}", stage.grpc);
    let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
    SchedulerClient::new(channel)
}

fn with_token<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let shown = format!("Bearer {TOKEN}").parse().unwrap();
    request.metadata_mut().insert("authorization", shown);
    request
}

fn spec(name: &str, spec: &str) -> v1::JobSpec {
    v1::JobSpec { name: name.to_owned(), spec: spec.to_owned(), exclusions: vec![] }
}

fn reason(status: &Status) -> &str {
    status.metadata().get("orrery-reason").map_or("", |reason| reason.to_str().unwrap())
}

/// Runs what a client does, outside of the threads of the stage.
fn of_client<F: Future>(work: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn jobs_are_made_looked_at_run_and_removed() {
    let stage = Stage::with(&config(), Some(TOKEN));
    of_client(async {
        let mut client = client(&stage).await;
        let wrong = YEARLY.replace("0 7 1 1 *", "0 25 1 1 *");
        let jobs = vec![spec("a", YEARLY), spec("wrong", &wrong), spec("b", YEARLY)];
        let put = client.put_jobs(with_token(v1::PutJobsRequest { jobs })).await.unwrap();
        let results = put.into_inner().results;
        let told: Vec<(&str, &str)> =
            results.iter().map(|result| (&*result.name, &*result.result)).collect();
        assert_eq!(told, [("a", "created"), ("wrong", ""), ("b", "created")]);
        let problem = results[1].problem.as_ref().unwrap();
        assert_eq!((&*problem.title, problem.position), ("InvalidExpression", Some(2)));

        let name = |name: &str| name.to_owned();
        let got = client.get_job(with_token(v1::GetJobRequest { name: name("a") })).await.unwrap();
        let job = got.into_inner();
        assert!(job.spec.contains("\"cron\":\"0 7 1 1 *\""), "{}", job.spec);
        assert_eq!((job.revision, job.next_times.len(), &*job.paused), (1, 3, ""));
        let page = v1::ListJobsRequest { limit: 1, ..v1::ListJobsRequest::default() };
        let page = client.list_jobs(with_token(page)).await.unwrap().into_inner();
        assert_eq!((page.jobs.len(), &*page.next), (1, "a"));
        let paused = v1::PauseJobRequest { name: name("a") };
        let paused = client.pause_job(with_token(paused)).await.unwrap().into_inner();
        assert_eq!(paused.paused, "Asked");
        let resumed = v1::ResumeJobRequest { name: name("a") };
        let resumed = client.resume_job(with_token(resumed)).await.unwrap().into_inner();
        assert_eq!(resumed.paused, "");

        let run = client.run_job(with_token(v1::RunJobRequest { name: name("a") })).await.unwrap();
        let key = run.into_inner().run;
        assert!(key.starts_with("test.default"), "{key}");
        let runs = v1::ListRunsRequest { name: name("a"), limit: 0 };
        let runs = client.list_runs(with_token(runs)).await.unwrap().into_inner().runs;
        assert_eq!((&*runs[0].key, &*runs[0].cause), (&*key, "Manual"));

        let once = v1::OnceRequest {
            delay_seconds: Some(3600),
            action: r#"{"http": {"url": "http://127.0.0.1:9/once"}}"#.to_owned(),
            idempotency_key: "order-7".to_owned(),
            ..v1::OnceRequest::default()
        };
        let made = client.once(with_token(once.clone())).await.unwrap().into_inner();
        let again = client.once(with_token(once)).await.unwrap().into_inner();
        assert_eq!((&*made.result, &*again.result), ("created", "same"));
        assert_eq!(made.name, again.name);

        let range = || ("2020-01-01T00:00:00Z".to_owned(), "2099-01-01T00:00:00Z".to_owned());
        let (from, to) = range();
        let verdict = client.verify(with_token(v1::VerifyRequest { from, to })).await.unwrap();
        let verdict = verdict.into_inner();
        assert!(verdict.is_clean && verdict.jobs >= 3, "{verdict:?}");
        let (from, to) = range();
        let lines = client.read_ledger(with_token(v1::ReadLedgerRequest { from, to })).await;
        let lines: Vec<_> = lines.unwrap().into_inner().try_collect().await.unwrap();
        assert!(lines.iter().any(|line| line.run == key && line.job == "a"), "{lines:?}");

        let ahead = v1::ForecastRequest { step_seconds: 3600, ..v1::ForecastRequest::default() };
        let ahead = client.forecast(with_token(ahead)).await.unwrap().into_inner();
        assert_eq!(ahead.step_seconds, 3600, "{ahead:?}");
        let asked = v1::ExplainRequest { spec: YEARLY.to_owned(), ..v1::ExplainRequest::default() };
        let explained = client.explain(with_token(asked)).await.unwrap().into_inner();
        assert_eq!((&*explained.time_zone, explained.next_times.len()), ("Europe/Paris", 10));

        let gone = v1::DeleteJobRequest { name: name("b") };
        client.delete_job(with_token(gone.clone())).await.unwrap();
        let refused = client.delete_job(with_token(gone)).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused)), (Code::NotFound, "NoSuchJob"));
    });
}

#[test]
fn refusals_have_codes_and_reasons_and_names_lead_nowhere_else() {
    let stage = Stage::with(&config(), Some(TOKEN));
    of_client(async {
        let mut client = client(&stage).await;
        let list = v1::ListJobsRequest::default;
        let bare = client.list_jobs(list()).await.unwrap_err();
        assert_eq!((bare.code(), reason(&bare)), (Code::Unauthenticated, "Unauthorized"));
        let mut other = Request::new(list());
        other.metadata_mut().insert("authorization", "Bearer other".parse().unwrap());
        assert_eq!(client.list_jobs(other).await.unwrap_err().code(), Code::Unauthenticated);
        for name in ["../status", "a/run", "", "a?b=c", "\u{e9}"] {
            let asked = v1::GetJobRequest { name: name.to_owned() };
            let refused = client.get_job(with_token(asked)).await.unwrap_err();
            let is_so = matches!(refused.code(), Code::NotFound | Code::InvalidArgument);
            assert!(is_so, "{name}: {refused}");
        }
        let jobs = vec![spec("a", "no JSON")];
        let refused = client.put_jobs(with_token(v1::PutJobsRequest { jobs })).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        let asked = v1::ExplainRequest {
            spec: YEARLY.replace("0 7 1 1 *", "0 0 31 2 *"),
            ..v1::ExplainRequest::default()
        };
        let refused = client.explain(with_token(asked)).await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused)), (Code::InvalidArgument, "NeverFires"));
        // Larger than any request may be.
        let jobs = vec![spec("large", &format!("\"{}\"", "x".repeat(17 << 20)))];
        let refused = client.put_jobs(with_token(v1::PutJobsRequest { jobs })).await.unwrap_err();
        assert_eq!(refused.code(), Code::OutOfRange, "{refused}");
        client.list_jobs(with_token(list())).await.expect("it goes on");
    });
}

#[test]
fn without_a_token_this_machine_is_served() {
    let stage = Stage::new();
    of_client(async {
        let mut client = client(&stage).await;
        client.list_jobs(v1::ListJobsRequest::default()).await.unwrap();
    });
}
