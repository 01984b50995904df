//! One line of the result: what was measured on both sides, and the bar.

/// Which side of the bar is good.
#[derive(Debug, Clone, Copy)]
pub enum Bar {
    AtMost(f64),
    AtLeast(f64),
    /// Ours itself, whatever the peer has.
    OursAtMost(f64),
    /// As above, the other way round.
    OursAtLeast(f64),
    /// Ours itself, or if it is less, so many times the peer's.
    OursAtLeastOr(f64, f64),
    /// Measured for the record; no bar.
    None,
}

/// Pairs of figures from interleaved runs.
#[derive(Debug)]
pub struct Row {
    pub name: String,
    pub unit: &'static str,
    pub bar: Bar,
    /// (ours, theirs) of each round.
    pub pairs: Vec<(f64, f64)>,
}

impl Row {
    pub fn new(name: impl Into<String>, unit: &'static str, bar: Bar) -> Self {
        Self { name: name.into(), unit, bar, pairs: Vec::new() }
    }

    /// `row | ours | peer | ratio | bar | ok or MISS`, medians each.
    pub fn line(&self) -> String {
        let ours = median(self.pairs.iter().map(|pair| pair.0));
        let theirs = median(self.pairs.iter().map(|pair| pair.1));
        let ratio = median(self.pairs.iter().map(|pair| pair.0 / pair.1));
        let (bar, verdict) = match self.bar {
            Bar::AtMost(most) => (format!("<= {most:.2}"), verdict(ratio <= most)),
            Bar::AtLeast(least) => (format!(">= {least:.2}"), verdict(ratio >= least)),
            Bar::OursAtMost(most) => (format!("ours <= {most:.2}"), verdict(ours <= most)),
            Bar::OursAtLeast(least) => (format!("ours >= {least:.2}"), verdict(ours >= least)),
            Bar::OursAtLeastOr(least, times) => {
                let bar = format!("ours >= {least:.0} or >= {times:.0}");
                (bar, verdict(ours >= least || ratio >= times))
            }
            Bar::None => ("-".to_owned(), "-"),
        };
        let unit = self.unit;
        let name = &self.name;
        format!("{name} | {ours:.2} {unit} | {theirs:.2} {unit} | {ratio:.2} | {bar} | {verdict}")
    }
}

fn verdict(held: bool) -> &'static str {
    if held { "ok" } else { "MISS" }
}

/// Median; 0 of nothing.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_compares_its_median_ratio_with_the_bar() {
        let mut row = Row::new("GET", "us", Bar::AtMost(0.6));
        row.pairs = vec![(1.0, 2.0), (1.0, 10.0), (3.0, 4.0)];
        assert_eq!(row.line(), "GET | 1.00 us | 4.00 us | 0.50 | <= 0.60 | ok");
        row.bar = Bar::AtLeast(0.6);
        assert!(row.line().ends_with("MISS"));
        row.bar = Bar::OursAtMost(1.0);
        assert!(row.line().ends_with("| ours <= 1.00 | ok"));
        row.bar = Bar::OursAtLeastOr(2.0, 0.6);
        assert!(row.line().ends_with("| ours >= 2 or >= 1 | MISS"), "{}", row.line());
        row.bar = Bar::OursAtLeastOr(2.0, 0.5);
        assert!(row.line().ends_with("| ok"));
    }
}
