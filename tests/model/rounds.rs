//! Rounds of calls, and the search for an order in which the model explains what was answered and what is there.
//!
//! A round is one call, the same call twice, or up to four calls at once; each may be cut off. When nothing runs any more,
//! there must be an order of the calls in which the model gives the answers that came and ends in what is seen. A call that
//! was cut off may have been done or not, but wholly; ABORTED must not have been done, and needs a call that it met.

use std::collections::{BTreeSet, VecDeque};
use std::fmt::{self, Write as _};
use std::sync::Arc;

use faultlab::Random;
use tonic::Code;

use crate::call::{Call, Object};
use crate::common::code;
use crate::message::Answer;
use crate::reference::{Model, Outcome};
use crate::world::{CALLERS, World};

/// How to play.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    /// The test that plays it, and the setting of its length.
    pub(crate) test: &'static str,
    pub(crate) length: &'static str,
    pub(crate) seed: u64,
    pub(crate) calls: u64,
}

/// What happened.
#[derive(Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) calls: u64,
    pub(crate) together: u64,
    pub(crate) aborted: u64,
    pub(crate) cut: u64,
    pub(crate) cut_and_done: u64,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} calls ({} of them at once with others, {} aborted, {} cut off, of which at least {} were done)",
            self.calls, self.together, self.aborted, self.cut, self.cut_and_done
        )
    }
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.together += other.together;
        self.aborted += other.aborted;
        self.cut += other.cut;
        self.cut_and_done += other.cut_and_done;
    }
}

/// A call, and what came back: nothing when it was cut off.
pub(crate) struct Played {
    pub(crate) call: Call,
    pub(crate) outcome: Option<Outcome>,
    /// What the driver said about an error.
    message: String,
}

/// For people.
pub(crate) fn describe(round: &[Played]) -> String {
    let one = |it: &Played| match &it.outcome {
        None => format!("{:?} was cut off", it.call),
        Some(Ok(size)) => format!("{:?} gave {size:?}", it.call),
        Some(Err(code)) => format!("{:?} gave {code:?} ({})", it.call, it.message),
    };
    round.iter().map(one).collect::<Vec<_>>().join("; ")
}

impl Played {
    pub(crate) fn new(call: Call, answer: Option<Answer>) -> Self {
        Self {
            call,
            outcome: answer.as_ref().map(outcome),
            message: match answer {
                Some(Err(status)) => status.message().to_owned(),
                _ => String::new(),
            },
        }
    }
}

/// Plays a whole plan in this process; an error tells how to play it again.
pub(crate) async fn play(world: &Arc<World>, plan: Plan) -> Result<Tally, String> {
    let mut random = Random::new(plan.seed);
    let mut model = Arc::new(Model::default());
    let mut tally = Tally::default();
    let mut last = VecDeque::new();
    let mut number = 0_u64;
    while tally.calls < plan.calls {
        let mut calls = draw(&mut random, &model);
        calls.retain(|call| world.can_do(call, &model));
        let round = run(world, &mut random, &model, calls).await;
        let checked = match world.settle().await {
            Ok(()) => check(world, &model, &round).await,
            Err(error) => Err(error),
        };
        last.push_back(describe(&round));
        match checked {
            Ok(after) => {
                tally.count(&round, &model, &after);
                model = Arc::new(after);
            }
            Err(error) => return Err(plan.failed(number, &error, &last)),
        }
        number += 1;
        if last.len() > 8 {
            last.pop_front();
        }
        if number.is_multiple_of(500) {
            let all = check_all(world, &model).await;
            all.map_err(|error| plan.failed(number, &error, &last))?;
        }
    }
    let end = check_all(world, &model).await;
    let end = match end {
        Ok(()) => take_down(world, Arc::unwrap_or_clone(model)).await,
        Err(error) => Err(error),
    };
    end.map_err(|error| plan.failed(number, &error, &last))?;
    Ok(tally)
}

impl Plan {
    pub(crate) fn failed(self, number: u64, error: &str, last: &VecDeque<String>) -> String {
        let mut text = format!(
            "seed {}, round {number}: {error}\nthe last rounds:\n",
            self.seed
        );
        for round in last {
            let _ = writeln!(text, "  {round}");
        }
        let Self {
            test,
            length,
            seed,
            calls,
        } = self;
        let _ = write!(
            text,
            "play it again: {length}={calls} MODEL_SEED={seed} cargo test --test model {test} -- --nocapture"
        );
        text
    }
}

impl Tally {
    pub(crate) fn count(&mut self, round: &[Played], before: &Model, after: &Model) {
        self.calls += round.len() as u64;
        if round.len() > 1 {
            self.together += round.len() as u64;
        }
        let cut = round.iter().filter(|it| it.outcome.is_none()).count() as u64;
        self.cut += cut;
        // With one call, what became of it is known for sure.
        if round.len() == 1 && cut == 1 && before != after {
            self.cut_and_done += 1;
        }
        let aborted = round
            .iter()
            .filter(|it| it.outcome == Some(Err(Code::Aborted)));
        self.aborted += aborted.count() as u64;
    }
}

/// The calls of a round.
pub(crate) fn draw(random: &mut Random, model: &Model) -> Vec<Call> {
    let first = Call::random(random, model);
    match random.below(8) {
        0..=3 => vec![first],
        4 | 5 => vec![first.clone(), first],
        _ => {
            let more = 1 + random.below(CALLERS as u64 - 1);
            let rest = (0..more).map(|_| Call::random(random, model));
            let mut calls: Vec<Call> = rest.collect();
            calls.push(first);
            calls
        }
    }
}

/// Sends the calls at once, some of which are given up after a while.
async fn run(
    world: &Arc<World>,
    random: &mut Random,
    model: &Arc<Model>,
    calls: Vec<Call>,
) -> Vec<Played> {
    let mut running = Vec::new();
    for (caller, call) in calls.into_iter().enumerate() {
        let patience = (random.below(4) == 0).then(|| random.below(12));
        let (world, model) = (world.clone(), model.clone());
        running.push(async move {
            let answer = deliver(&world, &model, &call, caller, patience).await;
            Played::new(call, answer)
        });
    }
    if let [_] = running.as_slice() {
        return vec![running.remove(0).await];
    }
    let running: Vec<_> = running.into_iter().map(tokio::spawn).collect();
    let mut round = Vec::new();
    for it in running {
        round.push(it.await.expect("no call panics"));
    }
    round
}

/// The answer, unless `patience` ends before it comes. Dropping the call is what tonic does with a handler whose caller went
/// away, whether by RST, deadline or a lost connection.
async fn deliver(
    world: &World,
    model: &Model,
    call: &Call,
    caller: usize,
    patience: Option<u64>,
) -> Option<Answer> {
    let work = world.send(call, caller, model);
    let Some(steps) = patience else {
        return Some(work.await);
    };
    let end = async {
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        answer = work => Some(answer),
        () = end => None,
    }
}

fn outcome(answer: &Answer) -> Outcome {
    match answer {
        Ok(size) => Ok(*size),
        Err(status) => Err(code::<()>(&Err(status.clone()))),
    }
}

/// The model after the round, if it explains it.
pub(crate) async fn check(world: &World, model: &Model, round: &[Played]) -> Result<Model, String> {
    let needs = round.iter().flat_map(|it| it.call.needs());
    let touched: BTreeSet<Object> = needs.map(|(object, _)| object).collect();
    let seen = world.observe(&touched).await?;
    let is_explained = |model: &Model| model.only(&touched).visible() == seen;
    let aborted = |it: &&Played| it.outcome == Some(Err(Code::Aborted));
    for it in round.iter().filter(aborted) {
        let others = round.iter().filter(|other| !std::ptr::eq(*other, it));
        let met = others
            .into_iter()
            .any(|other| other.call.conflicts_with(&it.call));
        // The volumes of a group may have been written to by their own filesystems.
        let not_quiet = world.is_real() && matches!(it.call, Call::Group { .. });
        if !met && !not_quiet {
            return Err(format!("{:?} is aborted, but it met nobody", it.call));
        }
    }
    let left: Vec<&Played> = round.iter().filter(|it| !aborted(it)).collect();
    search(model.clone(), &left, &is_explained).ok_or_else(|| {
        let before = model.only(&touched);
        format!(
            "no order of the calls explains what is there.\nbefore: {before:?}\nthere:  {seen:?}"
        )
    })
}

fn search(model: Model, left: &[&Played], end: &dyn Fn(&Model) -> bool) -> Option<Model> {
    if left.is_empty() {
        return end(&model).then_some(model);
    }
    for (index, next) in left.iter().enumerate() {
        let rest: Vec<&Played> = [&left[..index], &left[index + 1..]].concat();
        let mut after = model.clone();
        let outcome = after.play(&next.call);
        let possible = next.outcome.is_none_or(|it| it == outcome);
        if possible && let Some(found) = search(after, &rest, end) {
            return Some(found);
        }
        if next.outcome.is_none()
            && let Some(found) = search(model.clone(), &rest, end)
        {
            return Some(found);
        }
    }
    None
}

/// Everything is as the model says, and there is nothing else.
pub(crate) async fn check_all(world: &World, model: &Model) -> Result<(), String> {
    let seen = world.observe(&World::everything()).await?;
    if seen != model.clone().visible() {
        return Err(format!("the model has {model:?}\nthere is      {seen:?}"));
    }
    let members: usize = model.groups.values().map(BTreeSet::len).sum();
    let mounts = model.volumes.values().map(|it| {
        let staging = usize::from(it.staged && !it.block);
        staging + it.targets.len()
    });
    let mounts = world.is_real().then(|| mounts.sum::<usize>());
    let expected = (model.volumes.len(), model.snapshots.len() + members, mounts);
    let counted = world.counts().await;
    if counted != expected {
        return Err(format!(
            "volumes, snapshots and mounts are {counted:?} instead of {expected:?}"
        ));
    }
    Ok(())
}

/// Takes everything away again; nothing is left.
async fn take_down(world: &World, mut model: Model) -> Result<(), String> {
    let mut calls = Vec::new();
    for (volume, it) in &model.volumes {
        let volume = *volume;
        calls.extend(it.targets.keys().map(|target| Call::NodeUnpublish {
            volume,
            target: *target,
        }));
        calls.push(Call::Unstage { volume });
        calls.push(Call::Unpublish { volume, node: None });
        calls.push(Call::Delete { volume });
    }
    calls.extend(
        model
            .snapshots
            .keys()
            .map(|it| Call::DeleteSnapshot { snapshot: *it }),
    );
    calls.extend(
        model
            .groups
            .keys()
            .map(|it| Call::DeleteGroup { group: *it }),
    );
    for call in calls {
        let answer = world.send(&call, 0, &model).await;
        let expected = model.play(&call);
        if outcome(&answer) != expected {
            return Err(format!("{call:?} at the end: {answer:?}"));
        }
    }
    check_all(world, &model).await?;
    match world.leftovers() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("left behind: {left:?}")),
    }
}
