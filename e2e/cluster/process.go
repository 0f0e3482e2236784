package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// process is a component that runs until it is stopped; its output goes to a log of its name.
type process struct {
	name    string
	command *exec.Cmd
	ended   chan struct{}
	log     string
}

// start runs a component. Its end is noticed by whoever waits for it.
func (c *Cluster) start(name, program string, arguments ...string) error {
	log := filepath.Join(c.LogDir, name+".log")
	output, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer output.Close()
	command := exec.Command(program, arguments...)
	command.Stdout, command.Stderr = output, output
	// The cluster's own addresses are not to be asked of a proxy.
	command.Env = append(os.Environ(), "NO_PROXY=*", "PATH="+c.Bin+":/usr/sbin:/usr/bin:/sbin:/bin")
	if err := command.Start(); err != nil {
		return fmt.Errorf("failed to start %s: %w", name, err)
	}
	started := &process{name: name, command: command, ended: make(chan struct{}), log: log}
	go func() {
		_ = command.Wait()
		close(started.ended)
	}()
	c.processes[name] = started
	return nil
}

// stop ends a component as an init system does: asked first, then killed.
func (c *Cluster) stop(name string) {
	process, running := c.processes[name]
	if !running {
		return
	}
	delete(c.processes, name)
	_ = process.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-process.ended:
	case <-time.After(20 * time.Second):
		_ = process.command.Process.Kill()
		<-process.ended
	}
}

// until waits for a condition of a component; its end, or the deadline, is an error that quotes its log.
func (c *Cluster) until(ctx context.Context, name string, patience time.Duration, condition func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := condition()
		if err == nil {
			return nil
		}
		process := c.processes[name]
		select {
		case <-process.ended:
			return fmt.Errorf("%s ended: %w\n%s", name, err, tail(process.log))
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not ready after %v: %w\n%s", name, patience, err, tail(process.log))
		}
	}
}

// tail is the end of a log.
func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	const most = 1500
	if len(text) > most {
		text = text[len(text)-most:]
	}
	return string(text)
}
