//! Publications, kept in the record of their volume.

use super::Store;
use crate::backend::{BackendError, Result};
use crate::volume::{NodeId, Publication, Volume, VolumeId};

impl Store {
    pub(super) fn publish_volume(
        &self,
        id: &VolumeId,
        publication: Publication,
        limit: Option<u32>,
    ) -> Result<()> {
        let volume = self.volume(id)?;
        if volume.publications.contains(&publication) {
            return Ok(());
        }
        let known = volume
            .publications
            .iter()
            .any(|it| it.node == publication.node);
        // The place is held until the record is written, so that two volumes never share the last one.
        let reserved = limit.filter(|_| !known);
        if let Some(limit) = reserved
            && !self.index()?.reserve(&publication.node, limit)
        {
            return Err(BackendError::NodeFull {
                node: publication.node,
                limit,
            });
        }
        let node = publication.node.clone();
        let mut publications = volume.publications.clone();
        publications.retain(|it| it.node != node);
        publications.push(publication);
        let published = self.set_publications(volume, publications);
        if reserved.is_some() {
            self.index()?.release(&node);
        }
        published
    }

    pub(super) fn unpublish_volume(&self, id: &VolumeId, node: Option<&NodeId>) -> Result<()> {
        let volume = self.volume(id)?;
        let mut publications = volume.publications.clone();
        publications.retain(|it| node.is_some_and(|node| it.node != *node));
        if publications == volume.publications {
            return Ok(());
        }
        self.set_publications(volume, publications)
    }

    fn set_publications(&self, volume: Volume, publications: Vec<Publication>) -> Result<()> {
        let file = self.volume_file(&volume.id, true)?;
        self.store_volume(
            &file,
            Volume {
                publications,
                ..volume
            },
        )?;
        Ok(())
    }
}
