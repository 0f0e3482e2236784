//! In-tree Kubernetes volumes to their CSI equivalents and back.
