//! croniter's own tests against a shim of its interface over our rules.
//!
//! The tests are obtained from its source distribution when they run; `croniter/` of this crate is
//! the shim, and it is ours.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use orrery_e2e_tests::cache;

use super::python::{interpreter, pip, run};

const VERSION: &str = "7.0.0";

/// Files of the shim.
const SHIM: [(&str, &str); 5] = [
    ("__init__.py", include_str!("../../croniter/croniter/__init__.py")),
    ("croniter.py", include_str!("../../croniter/croniter/croniter.py")),
    ("errors.py", include_str!("../../croniter/croniter/errors.py")),
    ("rules.py", include_str!("../../croniter/croniter/rules.py")),
    ("text.py", include_str!("../../croniter/croniter/text.py")),
];

const BOTH_DAYS: &str = "a restricted day of month beside `#` or `W` is both at once there; here \
                         the days of both fields are united, as for every other pair";
const MIXED: &str =
    "numbered and plain weekdays in one list are refused there; here they are united";
const WRAPPED: &str = "a step over the end of a wrapped range (`Thu-Tue/2`, `Apr-Feb/2`) counts one \
                       off there; here Thursday, Saturday, Monday";
const STAR_LISTED: &str =
    "`*,sat#3` is the third Saturday there; here a list with a star is every day";

/// Tests that do not pass, each with its reason.
const DIFFERENCES: [(&str, &str); 13] = [
    ("test_confirm_sort", STAR_LISTED),
    ("test_issue156", STAR_LISTED),
    ("test_hash_mixup_all_fri_3rd_sat", MIXED),
    ("test_lwom_mixup_all_fri_last_sat", MIXED),
    ("test_issue_k33", BOTH_DAYS),
    ("test_nearest_weekday_with_restricted_day_of_week_still_raises", BOTH_DAYS),
    ("test_nth_weekday_with_restricted_day_of_month_still_raises", BOTH_DAYS),
    ("test_mth_ranges_from", WRAPPED),
    ("test_sunday_ranges_from", WRAPPED),
    (
        "test_last_day_of_month_with_leap_year_century_exception",
        "it asks for the year 2400; rules end with 2199",
    ),
    (
        "test_nearest_weekday_end_of_month_boundary",
        "`31W` of a month with 30 days is its last weekday there; here such a month has no 31st, \
         as for croner and for `31` alone",
    ),
    ("test_nearest_weekday_is_valid", "`W` in a list (`15W,16`) is refused there; here it is read"),
    (
        "test_optimize_cron_expressions",
        "`expand` keeps the weekday of `0 0 1-31 1 0`; here `1-31` or Sunday is every day, and \
         that is what is listed",
    ),
];

/// What the tests gave.
#[derive(Debug)]
pub struct Suite {
    pub passed: u64,
    pub failed: u64,
    /// Every test that failed has its reason.
    pub explained: bool,
}

/// Runs the tests, and writes the page that lists those which fail.
pub fn suite(write: Option<&str>) -> Result<Suite, String> {
    let python = interpreter()?;
    let folder = prepared(&python)?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut pytest = Command::new(&python);
    pytest.current_dir(&folder).env("ORRERY_CONFORMANCE", program);
    pytest.args(["-m", "pytest", "-v", "--tb=no", "-p", "no:cacheprovider", "croniter/tests"]);
    let output = pytest.output().map_err(|error| format!("pytest: {error}"))?;
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut passed = 0;
    let mut failed: Vec<String> = Vec::new();
    for line in report.lines() {
        let mut words = line.split_whitespace();
        let (Some(test), Some(verdict)) = (words.next(), words.next()) else { continue };
        if !test.contains("::") {
            continue;
        }
        match verdict {
            "PASSED" => passed += 1,
            "FAILED" | "ERROR" => failed.push(test.to_owned()),
            _ => {}
        }
    }
    if passed == 0 {
        return Err(format!("no test ran:\n{report}{}", String::from_utf8_lossy(&output.stderr)));
    }
    let reason = |test: &str| {
        let name = test.rsplit("::").next().unwrap_or(test);
        DIFFERENCES.iter().find(|(known, _)| *known == name).map(|(_, reason)| *reason)
    };
    for test in &failed {
        println!("{test}: {}", reason(test).unwrap_or("UNEXPLAINED"));
    }
    if let Some(file) = write {
        let page = page(passed, &failed, &reason);
        fs::write(file, page).map_err(|error| format!("{file}: {error}"))?;
    }
    println!("croniter {VERSION}: {passed} passed, {} failed", failed.len());
    let explained = failed.iter().all(|test| reason(test).is_some());
    Ok(Suite { passed, failed: failed.len() as u64, explained })
}

/// The folder with the shim and the tests beside it.
fn prepared(python: &Path) -> Result<PathBuf, String> {
    let folder = cache::folder(&format!("croniter-suite-{VERSION}"))?;
    let package = folder.join("croniter");
    let archive = folder.join(format!("croniter-{VERSION}.tar.gz"));
    if !archive.is_file() {
        eprintln!("obtaining croniter {VERSION} with pip download …");
        let requirement = format!("croniter=={VERSION}");
        run(pip(python).current_dir(&folder).args([
            "download",
            "--quiet",
            "--no-deps",
            "--no-binary",
            ":all:",
            &requirement,
        ]))?;
    }
    fs::create_dir_all(&package).map_err(|error| error.to_string())?;
    if !package.join("tests/test_croniter.py").is_file() {
        let inside = format!("croniter-{VERSION}/src/croniter/tests");
        run(Command::new("tar")
            .current_dir(&package)
            .arg("xzf")
            .arg(&archive)
            .args(["--strip-components=3", &inside]))?;
    }
    for (name, text) in SHIM {
        fs::write(package.join(name), text).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(folder)
}

fn page(passed: u64, failed: &[String], reason: &dyn Fn(&str) -> Option<&'static str>) -> String {
    let count = failed.len();
    let mut page = format!(
        "# Rules of time against croniter's own tests\n\n\
         Written by `make conformance-scheduler`: the tests of croniter {VERSION}, obtained from \
         its source distribution, run against a shim of its interface whose answers come from our \
         rules. The shim translates spelling (where seconds stand, aliases, `R`, equal ranges, the \
         phase of `expand_from_start_time`); `H` is derived as croniter does.\n\n\
         {passed} passed, {count} failed\n\n| test | why it does not pass |\n|---|---|\n"
    );
    for test in failed {
        let name = test.rsplit("::").next().unwrap_or(test);
        let _ = writeln!(page, "| `{name}` | {} |", reason(test).unwrap_or("UNEXPLAINED"));
    }
    page.push_str(
        "\nBeside these, the shim sends an element that a list has twice only once, because a text \
         of more than 4096 bytes is refused here.\n",
    );
    page
}
