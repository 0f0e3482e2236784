//! Every call that can carry a secret, with canaries in it.

use std::collections::HashMap;

use offshoot::csi;
use offshoot::csi::controller_client::ControllerClient;
use offshoot::csi::group_controller_client::GroupControllerClient;
use offshoot::csi::node_client::NodeClient;
use offshoot::csi::volume_capability::access_mode::Mode;
use offshoot::csi::volume_capability::{AccessType, MountVolume};
use offshoot::volume::{GroupSnapshotId, Name, SnapshotId, VolumeId};
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::CANARY;
use crate::common::{MIB, block, mode, range};

/// What is wrong with the calls.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Variant {
    Nothing,
    /// Canaries as mount flags.
    Flags,
    /// More secrets than CSI allows.
    TooMany,
    /// Objects that do not exist.
    Unknown,
    /// Ids and names left out.
    Missing,
    /// Paths outside the kubelet's directory.
    Outside,
    /// Raw block where there is a filesystem.
    Block,
    /// Another size.
    Size,
}

impl Variant {
    pub(crate) fn all() -> [Self; 10] {
        use Variant as V;
        [
            V::Nothing,
            V::Flags,
            V::TooMany,
            V::Unknown,
            V::Missing,
            V::Outside,
            V::Block,
            V::Size,
            V::Nothing,
            V::Flags,
        ]
    }
}

/// Plants canaries, and keeps what comes back.
pub(crate) struct Plant {
    kubelet: String,
    variant: Variant,
    pub(crate) planted: u32,
    pub(crate) succeeded: usize,
    pub(crate) errors: Vec<String>,
}

impl Plant {
    pub(crate) fn new(kubelet: String) -> Self {
        Self {
            kubelet,
            variant: Variant::Nothing,
            planted: 0,
            succeeded: 0,
            errors: Vec::new(),
        }
    }

    fn canary(&mut self) -> String {
        self.planted += 1;
        format!("{CANARY}-{}", self.planted)
    }

    fn map(&mut self) -> HashMap<String, String> {
        let count = if matches!(self.variant, Variant::TooMany) {
            300
        } else {
            2
        };
        (0..count).map(|_| (self.canary(), self.canary())).collect()
    }

    fn context(&mut self) -> HashMap<String, String> {
        HashMap::from([("key".to_owned(), self.canary())])
    }

    fn capability(&mut self) -> csi::VolumeCapability {
        if let Variant::Block = self.variant {
            return block();
        }
        let mut volume = MountVolume::default();
        if let Variant::Flags = self.variant {
            let canary = self.canary();
            let flags = [
                format!("noatime,{canary}"),
                format!("password={canary}"),
                format!("{canary}={canary}"),
                format!("commit={canary}"),
            ];
            let which = usize::try_from(self.planted).expect("a number") % flags.len();
            volume.mount_flags = vec![flags[which].clone()];
        }
        mode(AccessType::Mount(volume), Mode::SingleNodeWriter)
    }

    fn id(&self, known: String, unknown: &str) -> String {
        match self.variant {
            Variant::Unknown => unknown.to_owned(),
            Variant::Missing => String::new(),
            _ => known,
        }
    }

    fn name(&self, name: &str) -> String {
        match self.variant {
            Variant::Missing => String::new(),
            _ => name.to_owned(),
        }
    }

    fn volume(&self) -> String {
        let id = VolumeId::for_name(&Name::parse("v").expect("a name"));
        self.id(id.to_string(), "v1-00000000000000000000000000000000")
    }

    fn snapshot(&self) -> String {
        let id = SnapshotId::for_name(&Name::parse("s").expect("a name"));
        self.id(id.to_string(), "s1-00000000000000000000000000000000")
    }

    fn group(&self) -> String {
        let id = GroupSnapshotId::for_name(&Name::parse("g").expect("a name"));
        self.id(id.to_string(), "not-ours")
    }

    fn path(&self, name: &str) -> String {
        match self.variant {
            Variant::Outside => format!("/etc/{name}"),
            Variant::Missing => String::new(),
            _ => format!("{}/{name}", self.kubelet),
        }
    }

    fn size(&self) -> csi::CapacityRange {
        match self.variant {
            Variant::Size => range(48 * MIB, 48 * MIB),
            _ => range(16 * MIB, 0),
        }
    }

    fn keep<T>(&mut self, answer: Result<Response<T>, Status>) {
        match answer {
            Ok(_) => self.succeeded += 1,
            Err(status) => self.errors.push(format!("{status:?} {status}")),
        }
    }

    /// Every call, in an order in which each can succeed.
    pub(crate) async fn play(&mut self, channel: &Channel, variant: Variant) {
        self.variant = variant;
        self.controller(channel).await;
        self.node(channel).await;
        self.looks(channel).await;
        self.groups(channel).await;
        self.end(channel).await;
    }

    async fn controller(&mut self, channel: &Channel) {
        let mut client = ControllerClient::new(channel.clone());
        let create = csi::CreateVolumeRequest {
            name: self.name("v"),
            capacity_range: Some(self.size()),
            volume_capabilities: vec![self.capability()],
            secrets: self.map(),
            ..Default::default()
        };
        self.keep(client.create_volume(create.clone()).await);
        // Once more, so that what exists is compared.
        self.keep(client.create_volume(create).await);
        let validate = csi::ValidateVolumeCapabilitiesRequest {
            volume_id: self.volume(),
            volume_capabilities: vec![self.capability()],
            volume_context: self.context(),
            secrets: self.map(),
            ..Default::default()
        };
        self.keep(client.validate_volume_capabilities(validate).await);
        let publish = csi::ControllerPublishVolumeRequest {
            volume_id: self.volume(),
            node_id: "n".to_owned(),
            volume_capability: Some(self.capability()),
            secrets: self.map(),
            volume_context: self.context(),
            ..Default::default()
        };
        self.keep(client.controller_publish_volume(publish).await);
        let snapshot = csi::CreateSnapshotRequest {
            source_volume_id: self.volume(),
            name: self.name("s"),
            secrets: self.map(),
            ..Default::default()
        };
        self.keep(client.create_snapshot(snapshot).await);
        let expand = csi::ControllerExpandVolumeRequest {
            volume_id: self.volume(),
            capacity_range: Some(range(16 * MIB, 0)),
            secrets: self.map(),
            volume_capability: Some(self.capability()),
        };
        self.keep(client.controller_expand_volume(expand).await);
        let modify = csi::ControllerModifyVolumeRequest {
            volume_id: self.volume(),
            secrets: self.map(),
            mutable_parameters: HashMap::from([("readAheadKiB".to_owned(), "64".to_owned())]),
        };
        self.keep(client.controller_modify_volume(modify).await);
    }

    async fn node(&mut self, channel: &Channel) {
        let mut client = NodeClient::new(channel.clone());
        let stage = csi::NodeStageVolumeRequest {
            volume_id: self.volume(),
            publish_context: self.context(),
            staging_target_path: self.path("staging"),
            volume_capability: Some(self.capability()),
            secrets: self.map(),
            volume_context: self.context(),
        };
        self.keep(client.node_stage_volume(stage).await);
        let publish = csi::NodePublishVolumeRequest {
            volume_id: self.volume(),
            publish_context: self.context(),
            staging_target_path: self.path("staging"),
            target_path: self.path("target"),
            volume_capability: Some(self.capability()),
            readonly: false,
            secrets: self.map(),
            volume_context: self.context(),
        };
        self.keep(client.node_publish_volume(publish).await);
        let expand = csi::NodeExpandVolumeRequest {
            volume_id: self.volume(),
            volume_path: self.path("target"),
            staging_target_path: self.path("staging"),
            volume_capability: Some(self.capability()),
            secrets: self.map(),
            ..Default::default()
        };
        self.keep(client.node_expand_volume(expand).await);
        let health = csi::NodeGetStorageHealthRequest {
            secrets: self.map(),
        };
        self.keep(client.node_get_storage_health(health).await);
    }

    async fn looks(&mut self, channel: &Channel) {
        let mut client = ControllerClient::new(channel.clone());
        let list = csi::ListSnapshotsRequest {
            snapshot_id: self.snapshot(),
            secrets: self.map(),
            ..Default::default()
        };
        self.keep(client.list_snapshots(list).await);
        let get = csi::GetSnapshotRequest {
            snapshot_id: self.snapshot(),
            secrets: self.map(),
        };
        self.keep(client.get_snapshot(get).await);
        let health = csi::ControllerGetVolumeHealthRequest {
            volume_id: self.volume(),
            secrets: self.map(),
        };
        self.keep(client.controller_get_volume_health(health).await);
        let health = csi::ControllerListVolumeHealthRequest {
            secrets: self.map(),
            ..Default::default()
        };
        self.keep(client.controller_list_volume_health(health).await);
        let capacity = csi::GetCapacityRequest {
            volume_capabilities: vec![self.capability()],
            ..Default::default()
        };
        self.keep(client.get_capacity(capacity).await);
    }

    async fn groups(&mut self, channel: &Channel) {
        let mut client = GroupControllerClient::new(channel.clone());
        let create = csi::CreateVolumeGroupSnapshotRequest {
            name: self.name("g"),
            source_volume_ids: vec![self.volume()],
            secrets: self.map(),
            ..Default::default()
        };
        self.keep(client.create_volume_group_snapshot(create).await);
        let get = csi::GetVolumeGroupSnapshotRequest {
            group_snapshot_id: self.group(),
            secrets: self.map(),
            ..Default::default()
        };
        self.keep(client.get_volume_group_snapshot(get).await);
        let delete = csi::DeleteVolumeGroupSnapshotRequest {
            group_snapshot_id: self.group(),
            secrets: self.map(),
            ..Default::default()
        };
        self.keep(client.delete_volume_group_snapshot(delete).await);
    }

    async fn end(&mut self, channel: &Channel) {
        let mut node = NodeClient::new(channel.clone());
        let unpublish = csi::NodeUnpublishVolumeRequest {
            volume_id: self.volume(),
            target_path: self.path("target"),
        };
        self.keep(node.node_unpublish_volume(unpublish).await);
        let unstage = csi::NodeUnstageVolumeRequest {
            volume_id: self.volume(),
            staging_target_path: self.path("staging"),
        };
        self.keep(node.node_unstage_volume(unstage).await);
        let mut client = ControllerClient::new(channel.clone());
        let delete = csi::DeleteSnapshotRequest {
            snapshot_id: self.snapshot(),
            secrets: self.map(),
        };
        self.keep(client.delete_snapshot(delete).await);
        // It is published: refused.
        let delete = csi::DeleteVolumeRequest {
            volume_id: self.volume(),
            secrets: self.map(),
        };
        self.keep(client.delete_volume(delete).await);
        let unpublish = csi::ControllerUnpublishVolumeRequest {
            volume_id: self.volume(),
            node_id: "n".to_owned(),
            secrets: self.map(),
        };
        self.keep(client.controller_unpublish_volume(unpublish).await);
    }
}

/// Sends `text` where it is no secret, and gives back what the errors say.
pub(crate) async fn leak(channel: &Channel, text: &str) -> Vec<String> {
    let mut client = ControllerClient::new(channel.clone());
    let create = |name: &str, volume: MountVolume| csi::CreateVolumeRequest {
        name: name.to_owned(),
        capacity_range: Some(range(16 * MIB, 0)),
        volume_capabilities: vec![mode(AccessType::Mount(volume), Mode::SingleNodeWriter)],
        ..Default::default()
    };
    let made = client
        .create_volume(create(text, MountVolume::default()))
        .await;
    made.expect("it is made");
    let unknown = MountVolume {
        fs_type: text.to_owned(),
        ..MountVolume::default()
    };
    let refused = client.create_volume(create("v", unknown)).await;
    let refused = refused.err().expect("no such filesystem");
    vec![refused.message().to_owned()]
}
