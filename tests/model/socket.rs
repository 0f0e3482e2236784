//! Calls that are given up over a real socket: by RST, by deadline, and with the whole connection.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use faultlab::Random;
use offshoot::csi;
use offshoot::csi::controller_client::ControllerClient;
use offshoot::csi::group_controller_client::GroupControllerClient;
use offshoot::csi::identity_client::IdentityClient;
use offshoot::csi::node_client::NodeClient;
use tonic::Code;
use tonic::transport::Channel;

use crate::call::Call;
use crate::common::connect;
use crate::message::{self, Answer, Envelope};
use crate::reference::Model;
use crate::rounds::{Plan, Played, Tally, check, check_all, describe, draw};
use crate::world::World;

/// How a caller goes away.
#[derive(Debug, Clone, Copy)]
enum Leave {
    /// It drops the call: `RST_STREAM`.
    Reset,
    /// It set a deadline, which both ends know.
    Deadline,
    /// Its connection ends.
    HangUp,
}

/// Plays a plan over a socket; each round has a connection of its own.
pub(crate) async fn play(world: &Arc<World>, plan: Plan) -> Result<Tally, String> {
    let (socket, server) = world.listen().await;
    let (mut random, mut model) = (Random::new(plan.seed), Model::default());
    let (mut tally, mut last) = (Tally::default(), VecDeque::new());
    let mut number = 0_u16;
    while tally.calls < plan.calls {
        let leave = [Leave::Reset, Leave::Deadline, Leave::HangUp][usize::from(number % 3)];
        let calls = draw(&mut random, &model);
        let round = run(world, &socket, &mut random, (leave, calls)).await;
        last.push_back(format!("{leave:?}: {}", describe(&round)));
        let checked = match world.settle().await {
            Ok(()) => check(world, &model, &round).await,
            Err(error) => Err(error),
        };
        let after = checked.map_err(|error| plan.failed(number.into(), &error, &last))?;
        tally.count(&round, &model, &after);
        model = after;
        number += 1;
        if last.len() > 8 {
            last.pop_front();
        }
    }
    let end = check_all(world, &model).await;
    end.map_err(|error| plan.failed(number.into(), &error, &last))?;
    server.abort();
    Ok(tally)
}

async fn run(
    world: &Arc<World>,
    socket: &Path,
    random: &mut Random,
    (leave, calls): (Leave, Vec<Call>),
) -> Vec<Played> {
    let channel = connect(socket).await;
    let mut running = Vec::new();
    for call in calls {
        // From before the server has read the call until after it has answered.
        let patience = (random.below(4) > 0).then(|| Duration::from_micros(random.below(1_500)));
        let (channel, mut envelope) = (channel.clone(), world.envelope.clone());
        if let Leave::Deadline = leave {
            envelope.deadline = patience;
        }
        running.push(tokio::spawn(async move {
            let answer = deliver(channel, &envelope, &call, patience).await;
            Played::new(call, answer)
        }));
    }
    let mut round = Vec::new();
    for it in running {
        round.push(it.await.expect("no call panics"));
    }
    if let Leave::HangUp = leave {
        drop(channel);
    } else {
        // One connection's frames are read in order: after this answer the calls have begun or never will.
        let probe = IdentityClient::new(channel)
            .probe(csi::ProbeRequest {})
            .await;
        probe.expect("the driver answers on");
    }
    // Server and callers share this thread: when it has slept and woken some times, everything sent has been read.
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    round
}

/// The answer, unless the caller leaves before it comes.
async fn deliver(
    channel: Channel,
    envelope: &Envelope,
    call: &Call,
    patience: Option<Duration>,
) -> Option<Answer> {
    let mut controller = ControllerClient::new(channel.clone());
    let mut groups = GroupControllerClient::new(channel.clone());
    let mut node = NodeClient::new(channel);
    let answer = async { message::send!(call, envelope, controller, groups, node) };
    match (patience, envelope.deadline) {
        (Some(patience), None) => tokio::time::timeout(patience, answer).await.ok(),
        _ => Some(answer.await).filter(|it| !is_too_late(it)),
    }
}

/// What tonic says on either end when the deadline is over.
fn is_too_late(answer: &Answer) -> bool {
    let code = answer
        .as_ref()
        .map_or_else(tonic::Status::code, |_| Code::Ok);
    matches!(code, Code::Cancelled | Code::DeadlineExceeded)
}
