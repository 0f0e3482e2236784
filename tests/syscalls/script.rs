//! Everything that is done to volumes, in an order in which each state is reached once and each call is tried in it.

use offshoot::csi;
use offshoot::csi::volume_content_source::{SnapshotSource, Type, VolumeSource};

use crate::calls::Call;
use crate::common::parameters;
use crate::machine::calls::range;
use crate::machine::{Machine, calls};
use crate::world::{group_id, snapshot_id, volume_id};

/// The smallest size that every filesystem takes.
const SIZE: u64 = 320 << 20;
const LARGER: u64 = 384 << 20;

/// Volumes that hold the bytes of the base volume.
pub(crate) const LINEAGE: [&str; 2] = ["base", "clone"];
/// Snapshots that hold the bytes of the base volume.
pub(crate) const SNAPSHOTS: [&str; 2] = ["snapshot", "again"];

/// What the volumes hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contents {
    Ext4,
    Xfs,
    Btrfs,
    Block,
}

impl Contents {
    pub(crate) const ALL: [Self; 4] = [Self::Ext4, Self::Xfs, Self::Btrfs, Self::Block];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Btrfs => "btrfs",
            Self::Block => "block",
        }
    }

    pub(crate) fn is_raw(self) -> bool {
        self == Self::Block
    }

    /// Where the filesystem's UUID is.
    pub(crate) fn uuid_offset(self) -> Option<u64> {
        match self {
            Self::Ext4 => Some(0x468),
            Self::Xfs => Some(32),
            Self::Btrfs => Some(0x1_0020),
            Self::Block => None,
        }
    }

    fn capability(self) -> csi::VolumeCapability {
        calls::capability((!self.is_raw()).then(|| self.name()))
    }
}

/// A call that is tried at each of its system calls.
pub(crate) struct Flow {
    pub(crate) name: &'static str,
    /// From where the script stands to where the call can be made.
    pub(crate) prepare: Vec<Call>,
    pub(crate) call: Call,
    /// Back to where the script stands. Works whether the call was made, half made, or not made.
    pub(crate) undo: Vec<Call>,
    /// The volume that it makes.
    pub(crate) makes: Option<&'static str>,
}

/// One line of the script.
pub(crate) enum Step {
    Do(Call),
    /// Write bytes that must never be lost.
    Write,
    /// Find them in the image of the base volume.
    Locate,
    Try(Flow),
}

/// The calls on one machine.
pub(crate) struct Script<'a> {
    machine: &'a Machine,
    contents: Contents,
    steps: Vec<Step>,
}

impl<'a> Script<'a> {
    pub(crate) fn steps(machine: &'a Machine, contents: Contents) -> Vec<Step> {
        let mut script = Self {
            machine,
            contents,
            steps: Vec::new(),
        };
        script.births();
        script.in_use();
        script.out_of_use();
        script.at_rest();
        script.copies();
        script.steps
    }

    fn births(&mut self) {
        let (create, remove) = (self.create("new"), delete("new"));
        self.attempt("create", &[], &create, &[&remove]);
        if self.contents == Contents::Ext4 {
            let other = self.create("other");
            let undo = [&delete("other"), &remove];
            self.attempt("create from template", &[&other], &create, &undo);
        }
        let mut thick = create;
        if let Call::CreateVolume(request) = &mut thick {
            request.parameters = parameters(&[("provisioning", "thick")]);
        }
        self.attempt("create thick", &[], &thick, &[&remove]);
    }

    fn in_use(&mut self) {
        for call in [
            self.create("other"),
            self.create("base"),
            self.publish("base"),
            self.stage("base"),
            self.node_publish("base"),
        ] {
            self.steps.push(Step::Do(call));
        }
        self.steps.push(Step::Write);
        self.cuts([
            "snapshot, in use",
            "group snapshot, in use",
            "modify, in use",
        ]);
    }

    fn cuts(&mut self, names: [&'static str; 3]) {
        let (cut, delete) = (snapshot("again"), delete_snapshot("again"));
        self.attempt(names[0], &[], &cut, &[&delete]);
        let (cut, delete) = (create_group("group"), delete_group("group"));
        self.attempt(names[1], &[], &cut, &[&delete]);
        let (there, back) = (modify("base", "512"), modify("base", "256"));
        self.attempt(names[2], &[], &there, &[&back]);
    }

    fn out_of_use(&mut self) {
        let (publish, unpublish) = (self.node_publish("base"), self.node_unpublish("base"));
        self.attempt("node unpublish", &[], &unpublish, &[&publish]);
        self.steps.push(Step::Do(unpublish.clone()));
        self.attempt("node publish", &[], &publish, &[&unpublish]);
        let (stage, unstage) = (self.stage("base"), self.unstage("base"));
        self.attempt("unstage", &[], &unstage, &[&stage]);
        self.steps.push(Step::Do(unstage.clone()));
        self.attempt("stage", &[], &stage, &[&unstage]);
        let (there, back) = (self.publish("base"), unpublish_from_node("base"));
        self.attempt("controller unpublish", &[], &back, &[&there]);
        self.steps.push(Step::Do(back.clone()));
        self.attempt("controller publish", &[], &there, &[&back]);
        self.steps.push(Step::Locate);
    }

    fn at_rest(&mut self) {
        self.cuts(["snapshot", "group snapshot", "modify"]);
        let (cut, delete) = (snapshot("again"), delete_snapshot("again"));
        self.attempt("delete snapshot", &[&cut], &delete, &[]);
        let (cut, delete) = (create_group("group"), delete_group("group"));
        self.attempt("delete group", &[&cut], &delete, &[]);
    }

    fn copies(&mut self) {
        self.steps.push(Step::Do(snapshot("snapshot")));
        let snapshot = Type::Snapshot(SnapshotSource {
            snapshot_id: snapshot_id("snapshot"),
        });
        let volume = Type::Volume(VolumeSource {
            volume_id: volume_id("base"),
        });
        let clone = self.copy(snapshot.clone(), SIZE);
        let (of_volume, larger) = (self.copy(volume, SIZE), self.copy(snapshot, LARGER));
        let delete = delete("clone");
        self.attempt("create from snapshot", &[], &clone, &[&delete]);
        self.attempt("create from volume", &[], &of_volume, &[&delete]);
        self.attempt("delete", &[&clone], &delete, &[]);
        let expand = expand("clone", LARGER);
        self.attempt("controller expand", &[&clone], &expand, &[&delete]);
        if self.contents == Contents::Ext4 {
            // The tools grow a copy; to grow a mounted ext4 needs a capability that this machine does not give.
            self.attempt("create larger from snapshot", &[], &larger, &[&delete]);
            return;
        }
        let (publish, stage) = (self.publish("clone"), self.stage("clone"));
        let take = [
            &self.unstage("clone"),
            &unpublish_from_node("clone"),
            &delete,
        ];
        self.attempt("stage a larger copy", &[&larger, &publish], &stage, &take);
        let prepare = [&clone, &publish, &stage, &expand];
        self.attempt("node expand", &prepare, &self.node_expand("clone"), &take);
    }

    fn attempt(&mut self, name: &'static str, prepare: &[&Call], call: &Call, undo: &[&Call]) {
        let makes = match call {
            Call::CreateVolume(request) if request.name == "new" => Some("new"),
            Call::CreateVolume(_) => Some("clone"),
            _ => None,
        };
        let owned = |calls: &[&Call]| calls.iter().copied().cloned().collect();
        self.steps.push(Step::Try(Flow {
            name,
            prepare: owned(prepare),
            call: call.clone(),
            undo: owned(undo),
            makes,
        }));
    }

    fn create(&self, name: &str) -> Call {
        Call::CreateVolume(calls::create(name, self.contents.capability(), SIZE))
    }

    fn copy(&self, source: Type, size: u64) -> Call {
        let Call::CreateVolume(request) = self.create("clone") else {
            unreachable!("it is one");
        };
        Call::CreateVolume(csi::CreateVolumeRequest {
            capacity_range: Some(range(size)),
            volume_content_source: Some(csi::VolumeContentSource {
                r#type: Some(source),
            }),
            ..request
        })
    }

    fn publish(&self, name: &str) -> Call {
        Call::ControllerPublish(csi::ControllerPublishVolumeRequest {
            volume_id: volume_id(name),
            node_id: "n".to_owned(),
            volume_capability: Some(self.contents.capability()),
            ..Default::default()
        })
    }

    fn staging(&self, name: &str) -> String {
        self.machine.path(&format!("kubelet/{name}-staging"))
    }

    fn target(&self, name: &str) -> String {
        self.machine.path(&format!("kubelet/{name}"))
    }

    fn stage(&self, name: &str) -> Call {
        Call::NodeStage(csi::NodeStageVolumeRequest {
            volume_id: volume_id(name),
            staging_target_path: self.staging(name),
            volume_capability: Some(self.contents.capability()),
            ..Default::default()
        })
    }

    fn unstage(&self, name: &str) -> Call {
        Call::NodeUnstage(csi::NodeUnstageVolumeRequest {
            volume_id: volume_id(name),
            staging_target_path: self.staging(name),
        })
    }

    fn node_publish(&self, name: &str) -> Call {
        Call::NodePublish(csi::NodePublishVolumeRequest {
            volume_id: volume_id(name),
            staging_target_path: self.staging(name),
            target_path: self.target(name),
            volume_capability: Some(self.contents.capability()),
            ..Default::default()
        })
    }

    fn node_unpublish(&self, name: &str) -> Call {
        Call::NodeUnpublish(csi::NodeUnpublishVolumeRequest {
            volume_id: volume_id(name),
            target_path: self.target(name),
        })
    }

    fn node_expand(&self, name: &str) -> Call {
        Call::NodeExpand(csi::NodeExpandVolumeRequest {
            volume_id: volume_id(name),
            volume_path: self.staging(name),
            volume_capability: Some(self.contents.capability()),
            ..Default::default()
        })
    }
}

fn delete(name: &str) -> Call {
    Call::DeleteVolume(csi::DeleteVolumeRequest {
        volume_id: volume_id(name),
        ..Default::default()
    })
}

fn delete_snapshot(name: &str) -> Call {
    Call::DeleteSnapshot(csi::DeleteSnapshotRequest {
        snapshot_id: snapshot_id(name),
        ..Default::default()
    })
}

fn expand(name: &str, size: u64) -> Call {
    Call::ControllerExpand(csi::ControllerExpandVolumeRequest {
        volume_id: volume_id(name),
        capacity_range: Some(range(size)),
        ..Default::default()
    })
}

fn unpublish_from_node(name: &str) -> Call {
    Call::ControllerUnpublish(csi::ControllerUnpublishVolumeRequest {
        volume_id: volume_id(name),
        ..Default::default()
    })
}

fn snapshot(name: &str) -> Call {
    Call::CreateSnapshot(csi::CreateSnapshotRequest {
        source_volume_id: volume_id("base"),
        name: name.to_owned(),
        ..Default::default()
    })
}

fn create_group(name: &str) -> Call {
    Call::CreateGroup(csi::CreateVolumeGroupSnapshotRequest {
        name: name.to_owned(),
        source_volume_ids: vec![volume_id("base"), volume_id("other")],
        ..Default::default()
    })
}

fn delete_group(name: &str) -> Call {
    Call::DeleteGroup(csi::DeleteVolumeGroupSnapshotRequest {
        group_snapshot_id: group_id(name),
        ..Default::default()
    })
}

fn modify(name: &str, read_ahead: &str) -> Call {
    Call::ControllerModify(csi::ControllerModifyVolumeRequest {
        volume_id: volume_id(name),
        mutable_parameters: parameters(&[("readAheadKiB", read_ahead)]),
        ..Default::default()
    })
}
