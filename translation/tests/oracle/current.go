//go:build !rbd

package main

import (
	v1 "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
	translation "k8s.io/csi-translation-lib"
	"k8s.io/klog/v2"
)

var translator = translation.New()

func pvToCSI(pv *v1.PersistentVolume) (*v1.PersistentVolume, error) {
	return translator.TranslateInTreePVToCSI(klog.Background(), pv)
}

func pvToInTree(pv *v1.PersistentVolume) (*v1.PersistentVolume, error) {
	return translator.TranslateCSIPVToInTree(pv)
}

func inlineToCSI(volume *v1.Volume, namespace string) (*v1.PersistentVolume, error) {
	return translator.TranslateInTreeInlineVolumeToCSI(klog.Background(), volume, namespace)
}

func classToCSI(name string, class *storage.StorageClass) (*storage.StorageClass, error) {
	return translator.TranslateInTreeStorageClassToCSI(klog.Background(), name, class)
}

func repair(driver, handle, node string) (string, error) {
	return translator.RepairVolumeHandle(driver, handle, node)
}
