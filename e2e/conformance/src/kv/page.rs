//! The result as a page of the documentation.

use std::fmt::Write;

use super::Unit;

/// A table of units, then every failure by its name.
pub fn markdown(units: &[Unit]) -> String {
    let passed: usize = units.iter().map(|unit| unit.passed).sum();
    let failed: usize = units.iter().map(|unit| unit.failures.len()).sum();
    let mut page = String::from(
        "# KVCluster against the Redis 7.0.15 TCL suite\n\n\
         Written by `make conformance-kv`; external mode, tags `-needs:debug -needs:repl \
         -needs:save`, every unit on a fresh server.\n\n\
         | unit | ok | failed | ignored | end |\n|---|---|---|---|---|\n",
    );
    for unit in units {
        let end = match &unit.aborted {
            None => "whole",
            Some(_) => "aborted",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {end} |",
            unit.name,
            unit.passed,
            unit.failures.len(),
            unit.ignored
        );
    }
    let _ = writeln!(page, "\n{passed} passed, {failed} failed\n");
    for unit in units.iter().filter(|unit| !unit.failures.is_empty()) {
        let _ = writeln!(page, "## {}\n", unit.name);
        for failure in &unit.failures {
            let _ = writeln!(page, "- `{}`", failure.replace('`', "'"));
        }
        page.push('\n');
    }
    page
}
