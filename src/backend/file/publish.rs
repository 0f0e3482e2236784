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
        if let Some(limit) = limit
            && !known
            && self.index()?.published_to(&publication.node) >= limit as usize
        {
            return Err(BackendError::NodeFull {
                node: publication.node,
                limit,
            });
        }
        let mut publications = volume.publications.clone();
        publications.retain(|it| it.node != publication.node);
        publications.push(publication);
        self.set_publications(volume, publications)
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
