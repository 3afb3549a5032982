//! What several rounds of one measurement gave.

use serde_json::Value;

/// The middle of what rounds gave, and the outermost.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of these; `None` when there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self { median, min, max })
    }
}

/// A figure with what each round gave for subject and peer.
#[derive(Clone, PartialEq, Debug)]
pub struct Figure {
    /// As the report calls it.
    pub name: String,
    /// Of what.
    pub unit: String,
    rounds: Vec<[Option<f64>; 2]>,
}

/// Whose figure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// What is measured.
    Subject,
    /// What it is compared with.
    Peer,
}

impl Figure {
    /// What the rounds gave for one side.
    pub fn of(&self, side: Side) -> Option<Spread> {
        Spread::of(self.rounds.iter().filter_map(|round| round[side as usize]))
    }
}

/// All figures of a measurement, in the order of its reports.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Figures {
    /// The figures.
    pub figures: Vec<Figure>,
    /// Verdicts that were not good.
    pub complaints: Vec<String>,
    /// What was run, in words.
    pub what: String,
    count: usize,
}

impl Figures {
    /// Takes a report as `--json` writes it: one or two targets.
    pub fn add_round(&mut self, reports: &Value) {
        self.count += 1;
        for (side, report) in reports.as_array().into_iter().flatten().enumerate().take(2) {
            if side == 0 {
                report["what"].as_str().unwrap_or_default().clone_into(&mut self.what);
            }
            for metric in report["metrics"].as_array().into_iter().flatten() {
                let name = metric["name"].as_str().unwrap_or_default();
                let at = self.figures.iter().position(|figure| figure.name == name);
                let at = at.unwrap_or_else(|| {
                    self.figures.push(Figure {
                        name: name.to_owned(),
                        unit: metric["unit"].as_str().unwrap_or_default().to_owned(),
                        rounds: Vec::new(),
                    });
                    self.figures.len() - 1
                });
                let rounds = &mut self.figures[at].rounds;
                rounds.resize(self.count, [None; 2]);
                rounds[self.count - 1][side] = metric["value"].as_f64();
            }
        }
    }

    /// The figure of this name.
    pub fn find(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }

    /// One side's figure.
    pub fn value(&self, name: &str, side: Side) -> Option<Spread> {
        self.find(name)?.of(side)
    }

    /// The subject's figure `ours` divided by the peer's figure `theirs`, round by round: what
    /// slows a noisy machine slows both.
    pub fn ratio(&self, ours: &str, theirs: &str) -> Option<Spread> {
        let (ours, theirs) = (self.find(ours)?, self.find(theirs)?);
        let rounds = ours.rounds.iter().zip(&theirs.rounds);
        let ratios = rounds.filter_map(|(ours, theirs)| Some(ours[0]? / theirs[1]?));
        Spread::of(ratios.filter(|ratio| ratio.is_finite()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rounds_become_medians_and_ratios_are_taken_in_rounds() {
        let mut figures = Figures::default();
        for (ours, theirs) in [(2.0, 1.0), (30.0, 10.0), (4.0, 4.0)] {
            let metric = |value: f64| json!([{"name": "cpu", "value": value, "unit": "us"}]);
            figures.add_round(&json!([
                {"what": "w", "metrics": metric(ours)},
                {"what": "v", "metrics": metric(theirs)},
            ]));
        }
        let spread = |median, min, max| Some(Spread { median, min, max });
        assert_eq!(figures.value("cpu", Side::Subject), spread(4.0, 2.0, 30.0));
        assert_eq!(figures.value("cpu", Side::Peer), spread(4.0, 1.0, 10.0));
        assert_eq!(figures.ratio("cpu", "cpu"), spread(2.0, 1.0, 3.0));
        assert_eq!(figures.value("other", Side::Subject), None);
        assert_eq!(figures.what, "w");
    }

    #[test]
    fn an_even_number_has_a_median_between() {
        assert_eq!(Spread::of([4.0, 1.0]), Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(Spread::of([]), None);
    }
}
