//! SIGKILL at a system call, a new start, the same call again.

use crate::driver::is_passing;
use crate::flow::Tally;
use crate::lab::Lab;
use crate::script::Flow;
use crate::table::Class;
use crate::tracer::{Action, Fault, Point, Report, Select};
use crate::world::untrue;

/// Kills the driver, or the tool that it started, at one point; how many points that were.
pub(crate) async fn kill_at(
    lab: &mut Lab,
    flow: &Flow,
    points: &[Point],
    number: usize,
    tally: &mut Tally,
) -> Result<usize, String> {
    let point = points[number];
    if point.class == Class::Look {
        return Ok(0);
    }
    let base = lab.world.clone();
    // Of the points of a tool, every other kills the tool alone.
    let action = if point.in_tool && number % 2 == 1 {
        Action::KillTask
    } else {
        Action::Kill
    };
    let report = kill(lab, flow, (Select::Nth(number), action)).await?;
    tally.tool_kills += usize::from(report.killed_tool);
    tally.not_reached += usize::from(report.hit.is_none());
    let mut outcome = recover(lab, flow, points.len(), number, tally).await;
    if outcome.is_ok() {
        outcome = lab.undo(flow, &base).await;
    }
    outcome.map_err(|problem| format!("{}: {problem}", report.place()))?;
    Ok(1)
}

/// Makes the call with the kill in it; afterwards the driver lives again.
pub(crate) async fn kill(
    lab: &mut Lab,
    flow: &Flow,
    (select, action): (Select, Action),
) -> Result<Report, String> {
    // What a driver keeps from call to call would change the count.
    lab.restart().await;
    lab.perform_all(&flow.prepare).await?;
    lab.write()?;
    let fault = Fault::once(select, action);
    let (answer, report) = lab.driver.ask_under(&flow.call, fault).await?;
    lab.note(&report);
    let after = lab.world.after(&flow.call);
    if report.killed_tool {
        if !lab.driver.is_alive() {
            return Err("the driver died with its tool".to_owned());
        }
    } else {
        lab.restart().await;
    }
    match answer {
        Ok(_) => {
            // Killed after the answer, which must hold.
            lab.world = after;
            lab.verify().await?;
        }
        Err(status) if report.hit.is_none() && !is_passing(&status) => {
            return Err(format!("{} fails: {status}", flow.call.name()));
        }
        Err(_) => untrue(&lab.driver, &lab.world, &after).await?,
    }
    Ok(report)
}

/// What the caller does after a kill: it repeats the call, or gives up.
async fn recover(
    lab: &mut Lab,
    flow: &Flow,
    points: usize,
    number: usize,
    tally: &mut Tally,
) -> Result<(), String> {
    if number % 4 == 3 && !flow.undo.is_empty() {
        return Ok(());
    }
    if number % 8 == 5 {
        second_kill(lab, flow, points, number, tally).await?;
    }
    lab.converge(&flow.call).await?;
    lab.verify().await?;
    match flow.makes.filter(|_| number.is_multiple_of(16)) {
        Some(volume) => lab.check_filesystem(volume),
        None => Ok(()),
    }
}

/// Another kill, somewhere in the repetition.
async fn second_kill(
    lab: &mut Lab,
    flow: &Flow,
    points: usize,
    number: usize,
    tally: &mut Tally,
) -> Result<(), String> {
    let at = (number * 7 + 3) % points;
    let fault = Fault::once(Select::Nth(at), Action::Kill);
    let (answer, report) = lab.driver.ask_under(&flow.call, fault).await?;
    lab.note(&report);
    lab.restart().await;
    if report.hit.is_some() {
        tally.second_kills += 1;
        return untrue(&lab.driver, &lab.world, &lab.world.after(&flow.call)).await;
    }
    answer.map_err(|status| format!("{} fails: {status}", flow.call.name()))?;
    Ok(())
}
