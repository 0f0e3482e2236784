//! The calls that change something, as values that can be repeated.

use offshoot::csi;
use offshoot::csi::controller_client::ControllerClient;
use offshoot::csi::group_controller_client::GroupControllerClient;
use offshoot::csi::node_client::NodeClient;
use prost::Message as _;
use tonic::Status;
use tonic::transport::Channel;

macro_rules! calls {
    ($($name:ident($request:ident) = $client:ident.$method:ident),+ $(,)?) => {
        /// A call of the CSI services.
        #[derive(Clone)]
        pub(crate) enum Call {
            $($name(csi::$request)),+
        }

        impl Call {
            /// The answer as it came over the wire.
            pub(crate) async fn send(&self, channel: Channel) -> Result<Vec<u8>, Status> {
                match self {
                    $(Self::$name(request) => {
                        let answer = $client::new(channel).$method(request.clone()).await?;
                        Ok(answer.into_inner().encode_to_vec())
                    })+
                }
            }

            pub(crate) fn name(&self) -> &'static str {
                match self {
                    $(Self::$name(_) => stringify!($name)),+
                }
            }
        }
    };
}

calls! {
    CreateVolume(CreateVolumeRequest) = ControllerClient.create_volume,
    DeleteVolume(DeleteVolumeRequest) = ControllerClient.delete_volume,
    ControllerPublish(ControllerPublishVolumeRequest) = ControllerClient.controller_publish_volume,
    ControllerUnpublish(ControllerUnpublishVolumeRequest) = ControllerClient.controller_unpublish_volume,
    ControllerExpand(ControllerExpandVolumeRequest) = ControllerClient.controller_expand_volume,
    ControllerModify(ControllerModifyVolumeRequest) = ControllerClient.controller_modify_volume,
    CreateSnapshot(CreateSnapshotRequest) = ControllerClient.create_snapshot,
    DeleteSnapshot(DeleteSnapshotRequest) = ControllerClient.delete_snapshot,
    CreateGroup(CreateVolumeGroupSnapshotRequest) = GroupControllerClient.create_volume_group_snapshot,
    DeleteGroup(DeleteVolumeGroupSnapshotRequest) = GroupControllerClient.delete_volume_group_snapshot,
    NodeStage(NodeStageVolumeRequest) = NodeClient.node_stage_volume,
    NodeUnstage(NodeUnstageVolumeRequest) = NodeClient.node_unstage_volume,
    NodePublish(NodePublishVolumeRequest) = NodeClient.node_publish_volume,
    NodeUnpublish(NodeUnpublishVolumeRequest) = NodeClient.node_unpublish_volume,
    NodeExpand(NodeExpandVolumeRequest) = NodeClient.node_expand_volume,
    ListVolumes(ListVolumesRequest) = ControllerClient.list_volumes,
    ListSnapshots(ListSnapshotsRequest) = ControllerClient.list_snapshots,
    GetGroup(GetVolumeGroupSnapshotRequest) = GroupControllerClient.get_volume_group_snapshot,
}
