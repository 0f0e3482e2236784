//! Figures, and the table that shows them.
#![expect(clippy::print_stdout, reason = "the table is what this program makes")]

use std::time::{Duration, Instant};

/// What a figure is measured in.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    Milliseconds,
    PerSecond,
    Mebibytes,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Milliseconds => format!("{value:.3} ms"),
            Self::PerSecond => format!("{value:.0} /s"),
            Self::Mebibytes => format!("{value:.1} MiB"),
        }
    }

    fn more_is_better(self) -> bool {
        matches!(self, Self::PerSecond)
    }
}

/// What is to be reached.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// Ours divided by the floor, at most; for rates, at least.
    Ratio(f64),
    /// Ours, at most; for rates, at least.
    Absolute(f64),
    /// None: the line explains another one.
    Nothing,
}

/// A line of the table: the best of all rounds.
pub(crate) struct Case {
    name: &'static str,
    unit: Unit,
    goal: Goal,
    floor: Option<f64>,
    ours: Option<f64>,
}

impl Case {
    pub(crate) fn new(name: &'static str, unit: Unit, goal: Goal) -> Self {
        Self {
            name,
            unit,
            goal,
            floor: None,
            ours: None,
        }
    }

    pub(crate) fn floor(&mut self, value: f64) {
        self.floor = Some(self.better(self.floor, value));
    }

    pub(crate) fn ours(&mut self, value: f64) {
        self.ours = Some(self.better(self.ours, value));
    }

    fn better(&self, known: Option<f64>, value: f64) -> f64 {
        match known {
            None => value,
            Some(known) if self.unit.more_is_better() => known.max(value),
            Some(known) => known.min(value),
        }
    }

    pub(crate) fn best_floor(&self) -> Option<f64> {
        self.floor
    }

    /// Prints the line.
    pub(crate) fn print(&self) {
        let ours = self.ours.unwrap_or(f64::NAN);
        let ratio = self.floor.map(|floor| ours / floor);
        let sign = if self.unit.more_is_better() {
            ">="
        } else {
            "<="
        };
        let (reached, goal) = match self.goal {
            Goal::Nothing => ("", String::new()),
            Goal::Absolute(goal) => {
                let goal_text = format!("{sign} {}", self.unit.show(goal));
                (self.reaches(ours, goal), goal_text)
            }
            Goal::Ratio(goal) => {
                let ratio = ratio.unwrap_or(f64::NAN);
                (self.reaches(ratio, goal), format!("{sign} {goal} x"))
            }
        };
        println!(
            "{:<52} {:>12} {:>12} {:>7} {:>15}  {reached}",
            self.name,
            self.floor.map_or("-".to_owned(), |it| self.unit.show(it)),
            self.unit.show(ours),
            ratio.map_or("-".to_owned(), |it| format!("{it:.2} x")),
            goal,
        );
    }

    fn reaches(&self, value: f64, goal: f64) -> &'static str {
        let reached = if self.unit.more_is_better() {
            value >= goal
        } else {
            value <= goal
        };
        if reached { "yes" } else { "NO" }
    }
}

pub(crate) fn print_head() {
    println!(
        "{:<52} {:>12} {:>12} {:>7} {:>15}  reached",
        "case (best round; times are medians of it)", "floor", "ours", "ratio", "goal"
    );
}

/// The times of many calls.
#[derive(Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let result = work();
        self.0.push(begin.elapsed());
        result
    }

    pub(crate) async fn call<T>(&mut self, work: impl Future<Output = T>) -> T {
        let begin = Instant::now();
        let result = work.await;
        self.0.push(begin.elapsed());
        result
    }

    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    /// The median, in milliseconds.
    pub(crate) fn median(&mut self) -> f64 {
        self.0.sort_unstable();
        milliseconds(self.0[self.0.len() / 2])
    }
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
