//! Rules of time beside other implementations of them.

mod compared;
mod croner;
mod expression;
pub mod lines;

/// The differential runs; true when every difference is explained.
pub fn run(args: &[String]) -> Result<bool, String> {
    let mut comparisons = 1_000_000;
    let mut seed = 1;
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let mut number = || {
            let text = words.next().ok_or_else(|| format!("{word} needs a number"))?;
            text.parse::<u64>().map_err(|error| format!("{word} {text}: {error}"))
        };
        match word.as_str() {
            "--comparisons" => comparisons = number()?,
            "--seed" => seed = number()?,
            other => return Err(format!("unknown argument {other}")),
        }
    }
    let crate_croner = croner::run(comparisons, seed);
    Ok(crate_croner.report())
}
