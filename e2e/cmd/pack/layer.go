package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// layer is what an image holds, by path.
type layer struct {
	entries map[string]entry
}

type entry struct {
	mode     int64
	kind     byte
	link     string
	contents []byte
}

func newLayer() *layer { return &layer{entries: map[string]entry{}} }

func (l *layer) put(name string, e entry) {
	name = strings.Trim(path.Clean("/"+name), "/")
	if parent := path.Dir(name); parent != "." {
		if _, known := l.entries[parent]; !known {
			l.directory(parent, 0o755)
		}
	}
	l.entries[name] = e
}

func (l *layer) directory(name string, mode int64) {
	l.put(name, entry{mode: mode, kind: tar.TypeDir})
}

func (l *layer) text(name, contents string) {
	l.put(name, entry{mode: 0o644, kind: tar.TypeReg, contents: []byte(contents)})
}

func (l *layer) link(name, target string) {
	l.put(name, entry{mode: 0o777, kind: tar.TypeSymlink, link: target})
}

// file puts in one file; it stays executable or not.
func (l *layer) file(source, destination string) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	contents, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	mode := int64(0o644)
	if info.Mode()&0o111 != 0 {
		mode = 0o755
	}
	l.put(destination, entry{mode: mode, kind: tar.TypeReg, contents: contents})
	return nil
}

// tree puts in everything below root.
func (l *layer) tree(root string) error {
	return filepath.WalkDir(root, func(source string, d fs.DirEntry, err error) error {
		if err != nil || source == root {
			return err
		}
		name, err := filepath.Rel(root, source)
		if err != nil {
			return err
		}
		switch d.Type() {
		case fs.ModeDir:
			l.directory(name, 0o755)
			return nil
		case fs.ModeSymlink:
			target, err := os.Readlink(source)
			l.link(name, target)
			return err
		case 0:
			return l.file(source, name)
		default:
			return fmt.Errorf("%s is neither file, directory nor link", source)
		}
	})
}

// busybox puts in the program and a link for each of its commands.
func (l *layer) busybox(program string) error {
	commands, err := exec.Command(program, "--list").Output()
	if err != nil {
		return fmt.Errorf("%s --list: %w", program, err)
	}
	for command := range strings.FieldsSeq(string(commands)) {
		l.link("bin/"+command, "busybox")
	}
	l.link("usr/bin/env", "/bin/busybox")
	return l.file(program, "bin/busybox")
}

// tar is the layer as it goes into the image.
func (l *layer) tar() ([]byte, error) {
	var buffer bytes.Buffer
	writer := tar.NewWriter(&buffer)
	for _, name := range slices.Sorted(maps.Keys(l.entries)) {
		e := l.entries[name]
		header := &tar.Header{Name: name, Typeflag: e.kind, Mode: e.mode, Linkname: e.link, Size: int64(len(e.contents)), Format: tar.FormatPAX}
		if e.kind == tar.TypeDir {
			header.Name += "/"
		}
		if err := writer.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := writer.Write(e.contents); err != nil {
			return nil, err
		}
	}
	return buffer.Bytes(), writer.Close()
}
