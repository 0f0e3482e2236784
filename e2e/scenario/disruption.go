package scenario

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// steady writes a line with its number every tenth of a second, and stops at the first error.
const steady = `n=0; trap exit TERM; while n=$((n+1)); do echo $n >> /data/lines && sync /data/lines || { echo FAILED at $n > /tmp/failed; sleep 100000; }; sleep 0.1; done`

// lines checks that the pod has written without a gap and without an error until now, and returns how far it is.
func (t *T) lines(pod string) int {
	t.Equal("what the writer noticed", t.Shell(pod, "cat /tmp/failed 2>/dev/null || true"), "")
	count := t.Shell(pod, "awk '$1 != NR { print \"gap at \" NR; bad = 1; exit } END { if (!bad) print NR }' /data/lines")
	number, err := strconv.Atoi(count)
	if err != nil {
		t.Fail("the lines in %s: %s", pod, count)
	}
	return number
}

// goesOn waits until the pod has written more than before.
func (t *T) goesOn(pod string, before int) {
	t.Eventually(pod+" writes on", func() string {
		if now := t.lines(pod); now <= before {
			return fmt.Sprintf("%d lines as before", now)
		}
		return ""
	})
}

// killedWhileStaging: the node plugin is killed again and again while pods with volumes start; all of them start.
func killedWhileStaging(t *T) {
	const pods = 6
	var names []string
	for i := range pods {
		name := fmt.Sprintf("pod-%d", i)
		names = append(names, name)
		t.Apply(claim{name: "data-" + name, size: "64Mi"}, pod{name: name, claims: []string{"data-" + name}})
	}
	kills := 0
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline) && kills < 4; {
		if err := t.Offshoot.KillDriver(t.Context); err == nil {
			kills++
		}
		time.Sleep(2 * time.Second)
	}
	if kills == 0 {
		t.Fail("the driver was never killed")
	}
	t.WaitRunning(names...)
	for _, name := range names {
		t.write(name, "/data-"+name+"/file")
	}
	t.Report("%d kills", kills)
}

// killedUnderLoad: pods do not notice that the node plugin dies.
func killedUnderLoad(t *T) {
	t.Apply(claim{name: "data", size: "64Mi"}, pod{name: "writer", claims: []string{"data"}, script: steady})
	t.WaitRunning("writer")
	for range 3 {
		before := t.lines("writer")
		// The kubelet waits longer after each end of it.
		t.Eventually("death of the driver", func() string {
			if err := t.Offshoot.KillDriver(t.Context); err != nil {
				return err.Error()
			}
			return ""
		})
		t.goesOn("writer", before)
	}
	t.Must(t.Offshoot.WaitReady(t.Context))
	t.goesOn("writer", t.lines("writer"))
	t.DeletePods("writer")
}

// kubeletRestarted: pods go on without the kubelet, and what was asked for meanwhile is done afterwards.
func kubeletRestarted(t *T) {
	t.Apply(claim{name: "data", size: "64Mi"}, pod{name: "writer", claims: []string{"data"}, script: steady},
		claim{name: "other", size: "64Mi"}, pod{name: "leaving", claims: []string{"other"}})
	t.WaitRunning("writer", "leaving")
	before := t.lines("writer")
	t.Cluster.StopKubelet()
	t.Must(t.API().Delete(t.Context, t.core("pods", "leaving")))
	t.Apply(claim{name: "more", size: "64Mi"}, pod{name: "coming", claims: []string{"more"}})
	time.Sleep(3 * time.Second)
	t.Must(t.Cluster.StartKubelet(t.Context))
	t.Gone(t.core("pods", "leaving"))
	t.WaitRunning("coming")
	t.goesOn("writer", before+20)
	t.DeletePods("writer", "coming")
}

// upgraded: the DaemonSet is rolled out while a pod runs; its mount stays, and the new driver unmounts it in the end.
func upgraded(t *T) {
	t.Apply(claim{name: "data", size: "64Mi"}, pod{name: "writer", claims: []string{"data"}, script: steady})
	t.WaitRunning("writer")
	uid := t.Get(t.core("pods", "writer")).Text("metadata.uid")
	old := t.Offshoot.NodePod(t.Context)
	before := t.lines("writer")
	t.Must(t.Offshoot.Upgrade(t.Context, "node.podAnnotations.rollout="+strings.ToLower(t.Namespace)))
	if now := t.Offshoot.NodePod(t.Context); now == old {
		t.Fail("the node's pod is still %s", old)
	}
	t.goesOn("writer", before)
	after := t.Get(t.core("pods", "writer"))
	t.Equal("the pod", after.Text("metadata.uid"), uid)
	t.Equal("restarts of the pod", after.Objects("status.containerStatuses")[0].Text("restartCount"), "0")
	t.DeletePods("writer")
	t.Apply(pod{name: "reader", claims: []string{"data"}})
	t.WaitRunning("reader")
	t.lines("reader")
}
