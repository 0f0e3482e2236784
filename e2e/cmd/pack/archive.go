package main

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"runtime"
)

// settings are the runtime settings of the image (OCI image specification, "config").
type settings struct {
	User       string            `json:",omitempty"`
	Env        []string          `json:",omitempty"`
	Entrypoint []string          `json:",omitempty"`
	Cmd        []string          `json:",omitempty"`
	Labels     map[string]string `json:",omitempty"`
}

type rootFS struct {
	Type    string   `json:"type"`
	DiffIDs []string `json:"diff_ids"`
}

type imageConfig struct {
	Architecture string   `json:"architecture"`
	OS           string   `json:"os"`
	Config       settings `json:"config"`
	RootFS       rootFS   `json:"rootfs"`
}

type manifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// writeArchive writes the image of one layer; the size of the tar is returned.
func writeArchive(out string, names []string, layer []byte, config settings) (int64, error) {
	digest := sum(layer)
	described, err := json.Marshal(imageConfig{
		Architecture: runtime.GOARCH,
		OS:           "linux",
		Config:       config,
		RootFS:       rootFS{Type: "layers", DiffIDs: []string{"sha256:" + digest}},
	})
	if err != nil {
		return 0, err
	}
	configName, layerName := sum(described)+".json", digest+"/layer.tar"
	list, err := json.Marshal([]manifest{{Config: configName, RepoTags: names, Layers: []string{layerName}}})
	if err != nil {
		return 0, err
	}
	file, err := os.Create(out)
	if err != nil {
		return 0, err
	}
	writer := tar.NewWriter(file)
	for _, part := range []struct {
		name     string
		contents []byte
	}{{configName, described}, {layerName, layer}, {"manifest.json", list}} {
		header := &tar.Header{Name: part.name, Mode: 0o644, Size: int64(len(part.contents)), Format: tar.FormatPAX}
		if err := writer.WriteHeader(header); err != nil {
			return 0, errors.Join(err, file.Close())
		}
		if _, err := writer.Write(part.contents); err != nil {
			return 0, errors.Join(err, file.Close())
		}
	}
	if err := writer.Close(); err != nil {
		return 0, errors.Join(err, file.Close())
	}
	info, err := file.Stat()
	if err != nil {
		return 0, errors.Join(err, file.Close())
	}
	return info.Size(), file.Close()
}

func sum(contents []byte) string {
	digest := sha256.Sum256(contents)
	return hex.EncodeToString(digest[:])
}
