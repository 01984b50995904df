//! Rules of time beside other implementations of them.

mod compared;
mod croner;
mod expression;
pub mod lines;
mod node;
mod piped;
mod systemd;

/// A program that is started for each text is asked for so much less.
const PROGRAM_SHARE: u64 = 50;

/// The differential runs; true when every difference is explained.
pub fn run(args: &[String]) -> Result<bool, String> {
    let mut comparisons = 1_000_000;
    let mut seed = 1;
    let mut only: Vec<String> = Vec::new();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--only" => only.push(words.next().ok_or("--only needs a name")?.clone()),
            "--comparisons" => comparisons = number(word, words.next())?,
            "--seed" => seed = number(word, words.next())?,
            other => return Err(format!("unknown argument {other}")),
        }
    }
    let mut whole = true;
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
    if wanted("croner") {
        whole &= croner::run(comparisons, seed).report();
    }
    for peer in [node::Peer::Croner, node::Peer::CronParser] {
        if wanted(peer.name()) {
            whole &= node::run(peer, comparisons, seed)?.report();
        }
    }
    if wanted("systemd") {
        whole &= systemd::run(comparisons / PROGRAM_SHARE, seed)?.report();
    }
    Ok(whole)
}

fn number(name: &str, text: Option<&String>) -> Result<u64, String> {
    let text = text.ok_or_else(|| format!("{name} needs a number"))?;
    text.parse().map_err(|error| format!("{name} {text}: {error}"))
}
