//! The methods, each as the request of REST that it stands for.

use std::pin::Pin;

use futures::{Stream, StreamExt as _, stream};
use http::Method;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tonic::{Request, Response, Status};

use super::super::bulk::NDJSON;
use super::rest::{Asked, Rest, job, json, path, query, unread, whole};
use super::v1;

/// Longest line of a ledger, in bytes: a name, a note and some moments.
const LINE_BYTES_MAX: usize = 1 << 20;

/// One line of the answer to many jobs.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PutLine {
    name: String,
    revision: u32,
    result: String,
    problem: Option<v1::Problem>,
}

/// A number as a part of a query; 0 is left out.
fn number(number: impl Into<i64>) -> String {
    let number = number.into();
    if number == 0 { String::new() } else { number.to_string() }
}

/// Removes what was not given.
fn given(mut body: Json) -> Json {
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|_, value| !value.is_null() && value != &Json::String(String::new()));
    }
    body
}

#[tonic::async_trait]
impl v1::scheduler_server::Scheduler for Rest {
    async fn put_jobs(
        &self,
        request: Request<v1::PutJobsRequest>,
    ) -> Result<Response<v1::PutJobsResponse>, Status> {
        let mut body = vec![];
        for spec in &request.get_ref().jobs {
            let line = json!({
                "name": spec.name,
                "spec": json(&format!("spec of {:?}", spec.name), &spec.spec)?,
                "exclusions": spec.exclusions,
            });
            body.extend_from_slice(line.to_string().as_bytes());
            body.push(b'\n');
        }
        let asked = Asked { kind: NDJSON, body, ..Asked::new(Method::POST, "/v1/jobs") };
        let answer = whole(self.ask(&request, asked).await?).await?;
        let lines = answer.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let results = lines.map(|line| {
            let PutLine { name, revision, result, problem } =
                serde_json::from_slice(line).map_err(|error| unread(&error))?;
            Ok(v1::PutResult { name, revision, result, problem })
        });
        Ok(Response::new(v1::PutJobsResponse { results: results.collect::<Result<_, Status>>()? }))
    }

    async fn get_job(
        &self,
        request: Request<v1::GetJobRequest>,
    ) -> Result<Response<v1::Job>, Status> {
        let asked = Asked::new(Method::GET, path("/v1/jobs/", &request.get_ref().name, ""));
        Ok(Response::new(job(self.typed(&request, asked).await?)?))
    }

    async fn list_jobs(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsResponse>, Status> {
        #[derive(Deserialize)]
        struct Page {
            jobs: Vec<Json>,
            #[serde(default)]
            next: Option<String>,
        }
        let asked = request.get_ref();
        let parts = [
            ("prefix", &*asked.prefix),
            ("search", &asked.search),
            ("after", &asked.after),
            ("limit", &number(asked.limit)),
            ("tenant", &asked.tenant),
            ("state", &asked.state),
        ];
        let asked = Asked::new(Method::GET, query("/v1/jobs", &parts));
        let Page { jobs, next } = self.typed(&request, asked).await?;
        let jobs = jobs.into_iter().map(job).collect::<Result<_, _>>()?;
        Ok(Response::new(v1::ListJobsResponse { jobs, next: next.unwrap_or_default() }))
    }

    async fn delete_job(
        &self,
        request: Request<v1::DeleteJobRequest>,
    ) -> Result<Response<v1::DeleteJobResponse>, Status> {
        let asked = Asked::new(Method::DELETE, path("/v1/jobs/", &request.get_ref().name, ""));
        self.ask(&request, asked).await?;
        Ok(Response::new(v1::DeleteJobResponse {}))
    }

    async fn run_job(
        &self,
        request: Request<v1::RunJobRequest>,
    ) -> Result<Response<v1::RunJobResponse>, Status> {
        #[derive(Deserialize)]
        struct Begun {
            run: Option<String>,
        }
        let asked = Asked::post(path("/v1/jobs/", &request.get_ref().name, "/run"), &json!({}));
        let Begun { run } = self.typed(&request, asked).await?;
        Ok(Response::new(v1::RunJobResponse { run: run.unwrap_or_default() }))
    }

    async fn pause_job(
        &self,
        request: Request<v1::PauseJobRequest>,
    ) -> Result<Response<v1::Job>, Status> {
        let asked = Asked::post(path("/v1/jobs/", &request.get_ref().name, "/pause"), &json!({}));
        Ok(Response::new(job(self.typed(&request, asked).await?)?))
    }

    async fn resume_job(
        &self,
        request: Request<v1::ResumeJobRequest>,
    ) -> Result<Response<v1::Job>, Status> {
        let asked = Asked::post(path("/v1/jobs/", &request.get_ref().name, "/resume"), &json!({}));
        Ok(Response::new(job(self.typed(&request, asked).await?)?))
    }

    async fn backfill(
        &self,
        request: Request<v1::BackfillRequest>,
    ) -> Result<Response<v1::BackfillResponse>, Status> {
        let v1::BackfillRequest { name, from, to } = request.get_ref();
        let body = json!({ "from": from, "to": to });
        let asked = Asked::post(path("/v1/jobs/", name, "/backfill"), &body);
        Ok(Response::new(self.typed(&request, asked).await?))
    }

    async fn once(
        &self,
        request: Request<v1::OnceRequest>,
    ) -> Result<Response<v1::OnceResponse>, Status> {
        let once = request.get_ref();
        let body = given(json!({
            "name": once.name,
            "at": once.at,
            "delaySeconds": once.delay_seconds,
            "action": json("action", &once.action)?,
            "timeoutSeconds": once.timeout_seconds,
            "startingDeadlineSeconds": once.starting_deadline_seconds,
            "finishWithinSeconds": once.finish_within_seconds,
            "priority": once.priority,
            "tenant": once.tenant,
        }));
        let key = &once.idempotency_key;
        let headers = (!key.is_empty()).then(|| ("idempotency-key", key.clone()));
        let asked =
            Asked { headers: headers.into_iter().collect(), ..Asked::post("/v1/once", &body) };
        Ok(Response::new(self.typed(&request, asked).await?))
    }

    async fn list_runs(
        &self,
        request: Request<v1::ListRunsRequest>,
    ) -> Result<Response<v1::ListRunsResponse>, Status> {
        let v1::ListRunsRequest { name, limit } = request.get_ref();
        let runs = path("/v1/jobs/", name, "/runs");
        let asked = Asked::new(Method::GET, query(&runs, &[("limit", &number(*limit))]));
        Ok(Response::new(self.typed(&request, asked).await?))
    }

    async fn cancel_run(
        &self,
        request: Request<v1::CancelRunRequest>,
    ) -> Result<Response<v1::CancelRunResponse>, Status> {
        let asked = Asked::post(path("/v1/runs/", &request.get_ref().key, "/cancel"), &json!({}));
        self.ask(&request, asked).await?;
        Ok(Response::new(v1::CancelRunResponse {}))
    }

    async fn forecast(
        &self,
        request: Request<v1::ForecastRequest>,
    ) -> Result<Response<v1::ForecastResponse>, Status> {
        let v1::ForecastRequest { from, to, step_seconds, target } = request.get_ref();
        let step = number(*step_seconds);
        let parts = [("from", &**from), ("to", to), ("step", &step), ("target", target)];
        let asked = Asked::new(Method::GET, query("/v1/forecast", &parts));
        Ok(Response::new(self.typed(&request, asked).await?))
    }

    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainResponse>, Status> {
        let asked = request.get_ref();
        let count = Some(asked.count).filter(|count| *count > 0);
        let body = given(json!({
            "name": asked.name,
            "spec": json("spec", &asked.spec)?,
            "exclusions": asked.exclusions,
            "count": count,
            "after": asked.after,
        }));
        let asked = Asked::post("/v1/explain", &body);
        Ok(Response::new(self.typed(&request, asked).await?))
    }

    async fn verify(
        &self,
        request: Request<v1::VerifyRequest>,
    ) -> Result<Response<v1::VerifyResponse>, Status> {
        let v1::VerifyRequest { from, to } = request.get_ref();
        let asked = Asked::post("/v1/verify", &json!({ "from": from, "to": to }));
        Ok(Response::new(self.typed(&request, asked).await?))
    }

    type ReadLedgerStream = Pin<Box<dyn Stream<Item = Result<v1::LedgerLine, Status>> + Send>>;

    async fn read_ledger(
        &self,
        request: Request<v1::ReadLedgerRequest>,
    ) -> Result<Response<Self::ReadLedgerStream>, Status> {
        let v1::ReadLedgerRequest { from, to } = request.get_ref();
        let asked = query("/v1/ledger", &[("from", from), ("to", to)]);
        let answer = self.ask(&request, Asked::new(Method::GET, asked)).await?;
        let pieces = answer.into_body().into_data_stream();
        Ok(Response::new(lines(pieces.boxed()).boxed()))
    }
}

/// What is left of a body that is read line by line.
struct Left<S> {
    pieces: S,
    buffer: Vec<u8>,
}

/// The lines of a body as messages.
fn lines<S, E>(pieces: S) -> impl Stream<Item = Result<v1::LedgerLine, Status>>
where
    S: Stream<Item = Result<bytes::Bytes, E>> + Unpin,
    E: std::fmt::Display,
{
    let left = Left { pieces, buffer: vec![] };
    stream::try_unfold(left, |mut left| async move {
        loop {
            if let Some(end) = left.buffer.iter().position(|byte| *byte == b'\n') {
                let line =
                    serde_json::from_slice(&left.buffer[..end]).map_err(|error| unread(&error))?;
                left.buffer.drain(..=end);
                return Ok(Some((line, left)));
            }
            if left.buffer.len() > LINE_BYTES_MAX {
                return Err(Status::internal("a line of the ledger does not end"));
            }
            match left.pieces.next().await {
                Some(Ok(piece)) => left.buffer.extend_from_slice(&piece),
                Some(Err(error)) => {
                    return Err(Status::unavailable(format!("it was cut short: {error}")));
                }
                None if left.buffer.is_empty() => return Ok(None),
                None => return Err(Status::unavailable("it was cut short")),
            }
        }
    })
}
