//! What people schedule with today, as many launches a second as each makes of trivial jobs that are due
//! all the time. Where a peer does less than keep every launch on disk, it is the better for it.

use std::path::Path;
use std::time::{Duration, Instant};

use orrery_e2e_tests::postgres::{DATABASE, PASSWORD, Postgres, USER};
use tokio_postgres::NoTls;

use crate::postgres::{config, start};
use crate::python;
use crate::row::{Bar, Row};

/// Rows of this module begin with it.
pub(super) const NAME: &str = "launches, beside ";

const APSCHEDULER: [&str; 3] = ["apscheduler==3.11.3", "sqlalchemy==2.0.44", "pg8000==1.31.5"];
const APSCHEDULER_SCRIPT: &str = include_str!("../../python/apscheduler_launches.py");
const CELERY: [&str; 1] = ["celery==5.7.0"];
const CELERY_SCRIPT: &str = include_str!("../../python/celery_launches.py");
/// Jobs that are due every second: more than APScheduler makes.
const JOBS: u32 = 2_000;
/// Beat compares its whole schedule at every launch, so more jobs make it slower: this many are the best for
/// it.
const JOBS_CELERY: u32 = 500;
const SECONDS: u32 = 8;
/// Jobs of pg_cron, all due at each full minute: the shortest it knows.
const JOBS_MINUTE: u32 = 1_000;
/// Where the package has the extension.
const EXTENSION: &str = "/usr/share/postgresql/15/extension/pg_cron.control";

/// Measures a peer that has this folder; gives launches a second.
type Measure = fn(&Path) -> Result<f64, String>;

/// A row for each peer that can be had here; `ours` is launches a second of one core.
pub(super) fn rows(ours: f64, folder: &Path) -> Vec<Row> {
    let peers: [(&str, Measure); 3] = [
        ("APScheduler with its jobs in PostgreSQL", apscheduler),
        ("celery beat with a broker in memory", celery),
        ("pg_cron", pg_cron),
    ];
    let mut rows = vec![];
    for (peer, measure) in peers {
        let name = format!("{NAME}{peer}");
        match measure(folder) {
            Ok(theirs) => {
                rows.push(Row {
                    pairs: vec![(ours, theirs)],
                    ..Row::new(name, "/s", Bar::AtLeast(100.0))
                });
            }
            Err(why) => println!("{name} | not run: {why}"),
        }
    }
    rows
}

fn apscheduler(folder: &Path) -> Result<f64, String> {
    let server = start(&folder.join("apscheduler"), Postgres::start)?;
    let port = server.port();
    let url = format!("postgresql+pg8000://{USER}:{PASSWORD}@127.0.0.1:{port}/{DATABASE}");
    let arguments = [url, JOBS.to_string(), SECONDS.to_string()];
    python::number(&APSCHEDULER, APSCHEDULER_SCRIPT, &arguments, "")
}

fn celery(_: &Path) -> Result<f64, String> {
    let arguments = [JOBS_CELERY.to_string(), SECONDS.to_string()];
    python::number(&CELERY, CELERY_SCRIPT, &arguments, "")
}

/// From the first run of a full minute to the end of its last.
fn pg_cron(folder: &Path) -> Result<f64, String> {
    if !Path::new(EXTENSION).exists() {
        return Err("there is no pg_cron: apt-get install postgresql-15-cron".to_owned());
    }
    let with_cron = |folder: &Path| {
        let host = format!("cron.host={}", folder.display());
        let settings = [
            "shared_preload_libraries=pg_cron",
            "cron.database_name=postgres",
            "max_connections=100",
        ];
        let settings: Vec<&str> = settings.into_iter().chain([&*host]).collect();
        Postgres::start_with(folder, &settings)
    };
    let server = start(&folder.join("pg-cron"), with_cron)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let measured = runtime.block_on(async {
        let (client, connection) = config(&server).connect(NoTls).await?;
        tokio::spawn(connection);
        client.batch_execute("CREATE EXTENSION pg_cron").await?;
        let jobs = format!(
            "SELECT cron.schedule('job-' || n, '* * * * *', 'SELECT 1') \
             FROM generate_series(1, {JOBS_MINUTE}) n"
        );
        client.batch_execute(&jobs).await?;
        let done = "SELECT count(*), extract(epoch FROM max(end_time) - min(start_time))::float8 \
                    FROM cron.job_run_details WHERE status = 'succeeded'";
        let begun = Instant::now();
        loop {
            let row = client.query_one(done, &[]).await?;
            let runs: i64 = row.get(0);
            if runs >= i64::from(JOBS_MINUTE) || begun.elapsed() > Duration::from_secs(150) {
                let seconds: Option<f64> = row.get(1);
                return Ok((runs, seconds.unwrap_or(0.0)));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    let (runs, seconds) = measured.map_err(|error: tokio_postgres::Error| error.to_string())?;
    if runs == 0 {
        return Err("it ran nothing within 150 s".to_owned());
    }
    println!("  pg_cron: {runs} runs of one minute in {seconds:.1} s");
    Ok(runs as f64 / seconds.max(0.001))
}
