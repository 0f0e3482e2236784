//! Plays the script, and tries each of its flows at each of its system calls.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::driver::is_passing;
use crate::kill::kill_at;
use crate::lab::Lab;
use crate::refuse::refuse_at;
use crate::script::{Contents, Flow, Script, Step};
use crate::tracer::{Fault, Point};

/// What is done at the points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Kill,
    Refuse,
}

/// Which points are tried: every `every`-th, from a place that depends on the seed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) every: u64,
    pub(crate) seed: u64,
}

impl Sample {
    pub(crate) fn takes(self, number: usize) -> bool {
        (number as u64 + self.seed).is_multiple_of(self.every)
    }
}

/// What was tried, and what was found.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Points tried, by flow.
    pub(crate) points: BTreeMap<String, usize>,
    /// Second kills, during the repetition.
    pub(crate) second_kills: usize,
    /// Kills of a tool instead of the driver.
    pub(crate) tool_kills: usize,
    /// Points that were not reached: the call took another way, and was over before.
    pub(crate) not_reached: usize,
    /// How often which code was answered to which errno, with the call where the code is not the usual one.
    pub(crate) codes: BTreeMap<String, BTreeMap<String, usize>>,
    /// What must not be.
    pub(crate) problems: Vec<String>,
}

impl Tally {
    pub(crate) fn total(&self) -> usize {
        self.points.values().sum::<usize>() + self.second_kills
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (flow, points) in other.points {
            *self.points.entry(flow).or_default() += points;
        }
        for (errno, codes) in other.codes {
            let all = self.codes.entry(errno).or_default();
            for (code, count) in codes {
                *all.entry(code).or_default() += count;
            }
        }
        self.second_kills += other.second_kills;
        self.tool_kills += other.tool_kills;
        self.not_reached += other.not_reached;
        self.problems.extend(other.problems);
    }
}

/// How often a flow is recorded that others disturb.
const ATTEMPTS: usize = 5;
/// After so many problems a laboratory is given up.
const ENOUGH: usize = 12;

/// Plays the whole script for one kind of contents on one kind of data directory.
pub(crate) async fn play(kind: Kind, data: &str, contents: Contents, sample: Sample) -> Tally {
    let mut tally = Tally::default();
    let mut lab = Lab::new(data, contents).await;
    let wanted = std::env::var("CRASH_FLOW").unwrap_or_default();
    let count = Script::steps(&lab.machine, contents).len();
    for index in 0..count {
        let step = Script::steps(&lab.machine, contents).swap_remove(index);
        let Step::Try(mut flow) = step else {
            if let Err(problem) = advance(&mut lab, &step).await {
                tally
                    .problems
                    .push(format!("{}/{data}: {problem}", contents.name()));
                return tally;
            }
            continue;
        };
        if !flow.name.contains(&wanted) {
            continue;
        }
        let began = Instant::now();
        let name = format!("{} on {data}: {}", contents.name(), flow.name);
        let points = match record(&mut lab, &flow).await {
            Ok(points) => points,
            Err(problem) => {
                tally.problems.push(format!("{name}: {problem}"));
                return tally;
            }
        };
        let mut tried = 0;
        for number in (0..points.len()).filter(|it| sample.takes(*it)) {
            let outcome = match kind {
                Kind::Kill => kill_at(&mut lab, &flow, &points, number, &mut tally).await,
                Kind::Refuse => refuse_at(&mut lab, &flow, &points, number, &mut tally).await,
            };
            match outcome {
                Ok(count) => tried += count,
                Err(problem) => {
                    let problem = format!("{name}, point {number} {problem}");
                    eprintln!("{problem}");
                    tally.problems.push(problem);
                    if tally.problems.len() >= ENOUGH {
                        return tally;
                    }
                    match rebuilt(data, contents, index).await {
                        Ok(new) => (lab, flow) = new,
                        Err(problem) => {
                            tally.problems.push(format!("{name}: {problem}"));
                            return tally;
                        }
                    }
                }
            }
        }
        if std::env::var_os("CRASH_VERBOSE").is_some() {
            eprintln!("{name}: {tried} points in {:?}", began.elapsed());
        }
        *tally.points.entry(name).or_default() += tried;
    }
    tally
}

/// A new laboratory, where the script stands at `index`, and the flow there.
async fn rebuilt(data: &str, contents: Contents, index: usize) -> Result<(Lab, Flow), String> {
    let mut lab = Lab::new(data, contents).await;
    let mut steps = Script::steps(&lab.machine, contents).into_iter();
    for step in steps.by_ref().take(index) {
        advance(&mut lab, &step).await?;
    }
    match steps.next() {
        Some(Step::Try(flow)) => Ok((lab, flow)),
        _ => Err("the script has no flow there".to_owned()),
    }
}

pub(crate) async fn advance(lab: &mut Lab, step: &Step) -> Result<(), String> {
    match step {
        Step::Do(call) => {
            lab.perform(call).await?;
            lab.verify().await
        }
        Step::Write => lab.write(),
        Step::Locate => lab.locate(),
        Step::Try(_) => Ok(()),
    }
}

/// The system calls of a flow, when nothing is done to them.
async fn record(lab: &mut Lab, flow: &Flow) -> Result<Vec<Point>, String> {
    let base = lab.world.clone();
    for _ in 0..ATTEMPTS {
        // The first time is another one: what a driver keeps is made then.
        lab.restart().await;
        lab.perform_all(&flow.prepare).await?;
        let (answer, report) = lab.driver.ask_under(&flow.call, Fault::none()).await?;
        lab.note(&report);
        match answer {
            Ok(_) => {
                lab.world = lab.world.after(&flow.call);
                lab.verify().await?;
                if let Some(volume) = flow.makes {
                    lab.check_filesystem(volume)?;
                }
                lab.undo(flow, &base).await?;
                return Ok(report.points);
            }
            Err(status) if is_passing(&status) => {
                lab.perform(&flow.call).await?;
                lab.undo(flow, &base).await?;
            }
            Err(status) => return Err(format!("{} fails: {status}", flow.call.name())),
        }
    }
    Err(format!("{} is never left alone", flow.call.name()))
}
