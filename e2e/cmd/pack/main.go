// Command pack writes a container image as one tar (docker-archive: docker load, podman load and ctr image import read it),
// from a directory and single files. The same input gives the same bytes: no clock, no host name, one order.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
)

// list is a flag that can be given several times.
type list []string

func (l *list) String() string         { return strings.Join(*l, " ") }
func (l *list) Set(value string) error { *l = append(*l, value); return nil }

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func run() error {
	var names, files, labels list
	flag.Var(&names, "name", "a name of the image, localhost/offshoot:1 (repeat)")
	flag.Var(&files, "file", "SOURCE:DESTINATION, a file to put in (repeat)")
	flag.Var(&labels, "label", "KEY=VALUE (repeat)")
	root := flag.String("root", "", "a directory whose contents are put in")
	busybox := flag.String("busybox", "", "a static busybox to put in, with a link for each of its commands")
	entrypoint := flag.String("entrypoint", "", "words of the entry point")
	command := flag.String("cmd", "", "words of the default command")
	user := flag.String("user", "", "the user that it runs as, UID:GID")
	out := flag.String("o", "", "the tar to write")
	flag.Parse()
	if len(names) == 0 || *out == "" {
		return errors.New("-name and -o are needed")
	}
	layer := newLayer()
	if err := fill(layer, *root, files, *busybox); err != nil {
		return err
	}
	blob, err := layer.tar()
	if err != nil {
		return err
	}
	settings := settings{
		Env:        []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
		Entrypoint: strings.Fields(*entrypoint),
		Cmd:        strings.Fields(*command),
		User:       *user,
		Labels:     map[string]string{},
	}
	for _, label := range labels {
		key, value, _ := strings.Cut(label, "=")
		settings.Labels[key] = value
	}
	size, err := writeArchive(*out, names, blob, settings)
	if err != nil {
		return err
	}
	fmt.Printf("%s: %.1f MB\n", names[0], float64(size)/1e6)
	return nil
}

// fill puts in what was asked for. What is put in later replaces what was there.
func fill(layer *layer, root string, files []string, busybox string) error {
	layer.text("etc/passwd", "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n")
	layer.text("etc/group", "root:x:0:\nnonroot:x:65532:\n")
	layer.directory("tmp", 0o1777)
	if root != "" {
		if err := layer.tree(root); err != nil {
			return err
		}
	}
	if busybox != "" {
		if err := layer.busybox(busybox); err != nil {
			return err
		}
	}
	for _, pair := range files {
		source, destination, found := strings.Cut(pair, ":")
		if !found {
			return fmt.Errorf("-file %s: SOURCE:DESTINATION is needed", pair)
		}
		if err := layer.file(source, destination); err != nil {
			return err
		}
	}
	return nil
}
