//! The running driver: does it answer, and what does it say.

use std::time::Duration;

use tokio::time::timeout;
use tonic::Status;
use tonic::transport::Endpoint as Address;

use super::finding::{Finding, Level};
use crate::csi;
use crate::csi::identity_client::IdentityClient;
use crate::error_chain;
use crate::rpc::Endpoint;

const CHECK: &str = "driver";
const LIMIT: Duration = Duration::from_secs(5);

/// What became of the question.
enum Answer {
    NotAsked,
    Unusable(String),
    Silent(String),
    Unwell(String),
    Well { name: String, version: String },
}

pub(super) async fn check(endpoint: Option<&str>) -> Vec<Finding> {
    vec![judge(&ask(endpoint).await)]
}

async fn ask(endpoint: Option<&str>) -> Answer {
    let Some(endpoint) = endpoint else {
        return Answer::NotAsked;
    };
    if let Err(error) = Endpoint::parse(endpoint) {
        return Answer::Unusable(error.to_string());
    }
    match timeout(LIMIT, converse(endpoint)).await {
        Ok(answer) => answer,
        Err(_) => Answer::Silent(format!("no answer within {} s", LIMIT.as_secs())),
    }
}

async fn converse(endpoint: &str) -> Answer {
    let address = match Address::from_shared(endpoint.to_owned()) {
        Ok(address) => address,
        Err(error) => return Answer::Unusable(error.to_string()),
    };
    let channel = match address.connect().await {
        Ok(channel) => channel,
        Err(error) => return Answer::Silent(error_chain(&error)),
    };
    let mut identity = IdentityClient::new(channel);
    let said = |status: Status| Answer::Unwell(status.message().to_owned());
    let info = match identity.get_plugin_info(csi::GetPluginInfoRequest {}).await {
        Ok(info) => info.into_inner(),
        Err(status) => return said(status),
    };
    if let Err(status) = identity.probe(csi::ProbeRequest {}).await {
        return said(status);
    }
    Answer::Well {
        name: info.name,
        version: info.vendor_version,
    }
}

fn judge(answer: &Answer) -> Finding {
    match answer {
        Answer::NotAsked => Finding::new(
            CHECK,
            Level::Note,
            "it is not asked",
            "name its socket with --endpoint to ask it",
        ),
        Answer::Unusable(why) => Finding::new(CHECK, Level::Error, why, "correct --endpoint"),
        Answer::Silent(why) => Finding::new(
            CHECK,
            Level::Error,
            format!("no driver answers: {why}"),
            "start it; its log says why it ended",
        ),
        Answer::Unwell(why) => Finding::new(
            CHECK,
            Level::Error,
            format!("the driver is not well: {why}"),
            "its log says more",
        ),
        Answer::Well { name, version } => {
            Finding::ok(CHECK, format!("{name} {version} answers and is well"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_that_is_named_must_answer() {
        assert_eq!(judge(&Answer::NotAsked).level, Level::Note);
        for answer in [
            Answer::Unusable(String::new()),
            Answer::Silent(String::new()),
            Answer::Unwell(String::new()),
        ] {
            assert_eq!(judge(&answer).level, Level::Error);
        }
        let (name, version) = ("offshoot.dev".to_owned(), "1".to_owned());
        assert_eq!(judge(&Answer::Well { name, version }).level, Level::Ok);
    }
}
