//! The page for people, and the description for programs.

use std::process::Command;

use super::YEARLY;
use crate::harness::{Call, Stage, config};

#[test]
fn the_page_is_open_to_all_and_runs_nothing_of_others() {
    let stage = Stage::with(&config(), Some("secret"));
    let files = [("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")];
    for (path, kind) in files {
        let answer = Call::new(stage.address, "GET", path).send();
        assert_eq!(answer.status, 200);
        assert!(answer.header("content-type").unwrap().starts_with(kind), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let text = answer.text();
        for other in ["http://", "https://", "innerHTML", "eval(", "document.write"] {
            let hosts = text.replace("http://www.w3.org/2000/svg", "");
            assert!(!hosts.contains(other), "{path} has {other}");
        }
    }
    let html = Call::new(stage.address, "GET", "/").send();
    for inline in ["<script>", "<style", " style=", " onclick"] {
        assert!(!html.text().contains(inline), "{inline}");
    }
}

#[test]
fn the_description_is_served() {
    let stage = Stage::new();
    let document = stage.get("/v1/openapi.json").is(200);
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["components"]["schemas"]["ScheduleSpec"].is_object());
}

/// A browser, where there is one.
fn browser() -> Option<&'static str> {
    ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok())
}

fn seen(stage: &Stage, hash: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let shown = Command::new(browser()?)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--window-size=360,740"])
        .args(["--virtual-time-budget=8000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.path().display()))
        .arg(format!("http://{}/{hash}", stage.address))
        .output()
        .unwrap();
    Some(String::from_utf8_lossy(&shown.stdout).into_owned())
}

#[test]
fn a_browser_shows_jobs_what_comes_next_and_what_a_rule_says() {
    let stage = Stage::new();
    stage.put("/v1/jobs/shown-in-a-browser", YEARLY).is(201);
    let Some(overview) = seen(&stage, "") else {
        eprintln!("skipped: there is no browser");
        return;
    };
    assert!(overview.contains("shown-in-a-browser") && overview.contains("<svg"), "{overview}");
    assert!(overview.contains(r#"class="good">ready<"#), "{overview}");
    let jobs = seen(&stage, "#/jobs").unwrap();
    assert!(jobs.contains("#/jobs/shown-in-a-browser") && jobs.contains("1 jobs"), "{jobs}");
    let job = seen(&stage, "#/jobs/shown-in-a-browser").unwrap();
    assert!(job.contains("Run now") && job.contains("Revision 1"), "{job}");
    let explain = seen(&stage, "#/explain").unwrap();
    assert!(explain.contains("T07:00:00"), "{explain}");
    assert!(seen(&stage, "#/forecast").unwrap().contains("<svg"));
}
