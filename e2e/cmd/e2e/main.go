// Command e2e runs Offshoot in a real Kubernetes on this machine, and tells what it saw.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"offshoot.dev/e2e/cluster"
	"offshoot.dev/e2e/sandbox"
)

const usage = `usage: e2e [-cache DIR] [-deploy DIR] COMMAND
  run [-bounded] [-profile NAME] [SCENARIO...]   the scenarios, in a cluster of their own
  image NAME                                     csi-sanity against the image under containerd
  external [SUITE...]                            Kubernetes' own tests for storage drivers
  up [-profile NAME]                             a cluster with Offshoot, until Ctrl-C
  again [-profile NAME] [SCENARIO...]            scenarios in the cluster that is up
  enter COMMAND...                               a command inside the cluster that runs
`

func main() {
	code, err := run()
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func run() (int, error) {
	flag.Usage = func() { fmt.Fprint(os.Stderr, usage); flag.PrintDefaults() }
	cache := flag.String("cache", ".cache", "where the programs (bin) and images are, and where the cluster writes (e2e)")
	deploy := flag.String("deploy", "deploy", "what installs Offshoot")
	// The first process of the namespaces has a syntax of its own: it is not called by people.
	if len(os.Args) > 3 && os.Args[1] == "init" {
		return sandbox.Sandbox{Dir: os.Args[3]}.Init(os.Args[4:])
	}
	flag.Parse()
	root, err := filepath.Abs(*cache)
	if err != nil {
		return 1, err
	}
	manifests, err := filepath.Abs(*deploy)
	if err != nil {
		return 1, err
	}
	box := sandbox.Sandbox{Dir: filepath.Join(root, "e2e")}
	switch command := flag.Arg(0); command {
	case "run", "up", "image", "external":
		inside := append([]string{"-cache", root, "-deploy", manifests, "inside"}, flag.Args()...)
		return 0, box.Run(inside...)
	case "again":
		program, err := os.Executable()
		if err != nil {
			return 1, err
		}
		return 1, box.Enter(append([]string{program, "-cache", root, "-deploy", manifests, "inside"}, flag.Args()...))
	case "enter":
		os.Setenv("KUBECONFIG", cluster.Kubeconfig())
		os.Setenv("PATH", filepath.Join(root, "bin")+":"+os.Getenv("PATH"))
		return 1, box.Enter(flag.Args()[1:])
	case "inside":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		return 0, inside(ctx, root, manifests, box, flag.Args()[1:])
	default:
		flag.Usage()
		return 2, nil
	}
}
