//! Rules of time beside other implementations of them: croniter's own tests, and random questions
//! to five programs whose answers are compared.

mod compared;
mod croner;
mod croniter;
mod expression;
pub mod lines;
mod node;
mod piped;
mod python;
mod recurrences;
mod systemd;

/// A program that is started for each text, or is slow, is asked for so much less.
const PROGRAM_SHARE: u64 = 50;

/// Runs what `args` name; true when every difference is explained. The last line counts the tests
/// of croniter and the answers of all peers together.
pub fn run(args: &[String]) -> Result<bool, String> {
    let mut comparisons = 1_000_000;
    let mut seed = 1;
    let mut only: Vec<String> = Vec::new();
    let mut write = None;
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--only" => only.push(words.next().ok_or("--only needs a name")?.clone()),
            "--write" => write = Some(words.next().ok_or("--write needs a file")?.clone()),
            "--comparisons" => comparisons = number(word, words.next())?,
            "--seed" => seed = number(word, words.next())?,
            other => return Err(format!("unknown argument {other}")),
        }
    }
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
    let mut whole = true;
    let (mut passed, mut failed) = (0, 0);
    if wanted("croniter") {
        let suite = croniter::suite(write.as_deref())?;
        whole &= suite.explained;
        passed += suite.passed;
        failed += suite.failed;
    }
    let mut tally = |compared: compared::Compared| {
        whole &= compared.report();
        passed += compared.total() - compared.unexplained_count;
        failed += compared.unexplained_count;
    };
    if wanted("croner") {
        tally(croner::run(comparisons, seed));
    }
    for peer in [node::Peer::Croner, node::Peer::CronParser] {
        if wanted(peer.name()) {
            tally(node::run(peer, comparisons, seed)?);
        }
    }
    if wanted("systemd") {
        tally(systemd::run(comparisons / PROGRAM_SHARE, seed)?);
    }
    if wanted("dateutil") {
        tally(recurrences::run(comparisons / PROGRAM_SHARE, seed)?);
    }
    println!("{passed} passed, {failed} failed");
    Ok(whole)
}

fn number(name: &str, text: Option<&String>) -> Result<u64, String> {
    let text = text.ok_or_else(|| format!("{name} needs a number"))?;
    text.parse().map_err(|error| format!("{name} {text}: {error}"))
}
