//! ControllerPublishVolume, ControllerUnpublishVolume and ValidateVolumeCapabilities.

use thiserror::Error;

use super::Controller;
use super::fit::{self, Misfit};
use crate::backend::BackendError;
use crate::volume::{AccessMode, Capability, NodeId, Publication, Volume, VolumeId};

/// What ControllerPublishVolume asks for.
#[derive(Debug, Clone)]
pub struct PublishVolume {
    /// The volume.
    pub volume_id: VolumeId,
    /// To which node.
    pub node_id: NodeId,
    /// For which use.
    pub capability: Capability,
    /// The node may not write.
    pub read_only: bool,
}

/// Why a volume is not published.
#[derive(Debug, Error)]
pub enum PublishVolumeError {
    /// No volume of ours can be used in this way.
    #[error("no volume can be published in this way")]
    Unsupported(#[source] Misfit),
    /// The volume cannot be used in this way.
    #[error("volume {id} cannot be published in this way")]
    Exceeds {
        /// The volume.
        id: VolumeId,
        /// Why not.
        #[source]
        misfit: Misfit,
    },
    /// It is published to this node in another way.
    #[error(
        "volume {id} is published to node {node} with another capability or readonly flag; unpublish it first"
    )]
    Different {
        /// The volume.
        id: VolumeId,
        /// The node.
        node: NodeId,
    },
    /// It is published to another node.
    #[error(
        "volume {id} is published to node {node}, and cannot be on two nodes in this way; unpublish it there first"
    )]
    Elsewhere {
        /// The volume.
        id: VolumeId,
        /// Where it is.
        node: NodeId,
    },
    /// The storage could not do it.
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl Controller {
    /// Makes a volume available to a node (CSI 1.13, "ControllerPublishVolume").
    pub async fn publish_volume(&self, request: PublishVolume) -> Result<(), PublishVolumeError> {
        let traits = self.backend.traits();
        let capabilities = std::slice::from_ref(&request.capability);
        fit::wanted(capabilities, &traits).map_err(PublishVolumeError::Unsupported)?;
        let volume = self.backend.volume(&request.volume_id).await?;
        let node = self.backend.node(&request.node_id).await?;
        if let Err(misfit) = fit::check_all(capabilities, &volume.contents, &traits) {
            let id = volume.id;
            return Err(PublishVolumeError::Exceeds { id, misfit });
        }
        let publication = Publication {
            node: request.node_id,
            access_mode: request.capability.access_mode,
            block: request.capability.access_type.is_block(),
            read_only: request.read_only,
        };
        if is_published(&volume, &publication, traits.multi_node)? {
            return Ok(());
        }
        self.backend
            .publish_volume(&volume.id, publication, node.max_volumes)
            .await?;
        Ok(())
    }

    /// Takes a volume from one node or from all; OK when it is not there, or does not exist (CSI 1.13,
    /// "ControllerUnpublishVolume": the attacher repeats `NOT_FOUND` for ever).
    pub async fn unpublish_volume(
        &self,
        id: &VolumeId,
        node: Option<&NodeId>,
    ) -> Result<(), BackendError> {
        match self.backend.unpublish_volume(id, node).await {
            Ok(()) | Err(BackendError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Whether the volume can be used in all these ways; the inner error says why not (CSI 1.13,
    /// "ValidateVolumeCapabilities").
    pub async fn validate_capabilities(
        &self,
        id: &VolumeId,
        capabilities: &[Capability],
    ) -> Result<Result<(), Misfit>, BackendError> {
        let volume = self.backend.volume(id).await?;
        let traits = self.backend.traits();
        Ok(fit::check_all(capabilities, &volume.contents, &traits))
    }
}

/// Whether this very publication exists; an error when another one stands in its way.
fn is_published(
    volume: &Volume,
    wanted: &Publication,
    multi_node: bool,
) -> Result<bool, PublishVolumeError> {
    if let Some(existing) = volume.publications.iter().find(|p| p.node == wanted.node) {
        return if existing == wanted {
            Ok(true)
        } else {
            Err(PublishVolumeError::Different {
                id: volume.id.clone(),
                node: wanted.node.clone(),
            })
        };
    }
    let obstacle = volume
        .publications
        .iter()
        .find(|existing| !(multi_node && may_coexist(existing, wanted)));
    match obstacle {
        None => Ok(false),
        Some(existing) => Err(PublishVolumeError::Elsewhere {
            id: volume.id.clone(),
            node: existing.node.clone(),
        }),
    }
}

/// Whether a volume may be published in both ways to two nodes (CSI 1.13, "AccessMode").
fn may_coexist(one: &Publication, other: &Publication) -> bool {
    let writes = |publication: &Publication| !publication.read_only;
    match one.access_mode {
        _ if one.access_mode != other.access_mode => false,
        AccessMode::MultiNodeReaderOnly | AccessMode::MultiNodeMultiWriter => true,
        AccessMode::MultiNodeSingleWriter => !(writes(one) && writes(other)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(access_mode: AccessMode, read_only: bool) -> Publication {
        Publication {
            node: NodeId::parse("n").unwrap(),
            access_mode,
            block: true,
            read_only,
        }
    }

    #[test]
    fn a_second_writer_needs_a_mode_that_allows_it() {
        use AccessMode as M;
        let cases = [
            (
                M::MultiNodeMultiWriter,
                false,
                M::MultiNodeMultiWriter,
                false,
                true,
            ),
            (
                M::MultiNodeSingleWriter,
                false,
                M::MultiNodeSingleWriter,
                false,
                false,
            ),
            (
                M::MultiNodeSingleWriter,
                false,
                M::MultiNodeSingleWriter,
                true,
                true,
            ),
            (
                M::MultiNodeReaderOnly,
                false,
                M::MultiNodeReaderOnly,
                false,
                true,
            ),
            (
                M::MultiNodeReaderOnly,
                true,
                M::MultiNodeMultiWriter,
                false,
                false,
            ),
            (
                M::SingleNodeWriter,
                false,
                M::SingleNodeWriter,
                false,
                false,
            ),
            (
                M::SingleNodeSingleWriter,
                true,
                M::SingleNodeSingleWriter,
                true,
                false,
            ),
        ];
        for (one, one_ro, other, other_ro, allowed) in cases {
            let pair = (publication(one, one_ro), publication(other, other_ro));
            assert_eq!(may_coexist(&pair.0, &pair.1), allowed, "{pair:?}");
        }
    }
}
