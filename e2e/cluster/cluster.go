// Package cluster runs a Kubernetes of one node as plain processes, inside the sandbox: etcd, API server with RBAC, controller
// manager, scheduler, containerd and kubelet. Every component has an identity of its own, and no more rights than in a real cluster.
package cluster

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"embed"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"offshoot.dev/e2e/api"
)

// NodeName is the only node.
const NodeName = "node-1"

const (
	etcd       = "http://127.0.0.1:2379"
	nodeIP     = "10.88.0.1"
	serviceIP  = "10.96.0.1" // of the service "kubernetes": there is no kube-proxy, the API server has it as an address
	server     = "https://" + nodeIP + ":443"
	home       = "/run/offshoot-e2e"
	containerd = "/run/containerd/containerd.sock"
)

// patience is long because the machine may be busy with other work.
const patience = 3 * time.Minute

//go:embed files
var files embed.FS

// Cluster is a running cluster.
type Cluster struct {
	// Bin holds the programs, Images the tars of images, LogDir gets a log for each component.
	Bin, Images, LogDir string
	// Cgroup is the parent of all cgroups of pods.
	Cgroup string
	// Taints are what the node registers with, "key=value:effect".
	Taints string
	// API is the administrator's access, there once Up has returned.
	API *api.Client

	processes map[string]*process
}

// Kubeconfig is the administrator's.
func Kubeconfig() string { return filepath.Join(home, "admin.kubeconfig") }

// Up starts everything and returns when the node is ready.
func (c *Cluster) Up(ctx context.Context) error {
	c.processes = map[string]*process{}
	if err := os.MkdirAll(c.LogDir, 0o755); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{
		c.network, c.credentials, c.startEtcd, c.startContainerd, c.startServer, c.startControllers, c.StartKubelet, c.nodeReady,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Down ends the components that could still change something. The sandbox ends the rest.
func (c *Cluster) Down() {
	for _, name := range []string{"kubelet", "kube-scheduler", "kube-controller-manager"} {
		c.stop(name)
	}
}

func (c *Cluster) network(context.Context) error {
	for _, command := range []string{
		"ip link set lo up",
		"ip addr add " + serviceIP + "/32 dev lo",
		// With an address of its own: otherwise it has that of a pod, and what was sent to it is lost when that pod goes.
		"ip link add cni0 address 02:00:0a:58:00:01 type bridge",
		"ip addr add " + nodeIP + "/16 dev cni0",
		"ip link set cni0 up",
	} {
		if err := tool(strings.Fields(command)...); err != nil {
			return err
		}
	}
	if err := install("files/network.sh", "/run/cni/bin/e2e", 0o755); err != nil {
		return err
	}
	if err := install("files/network.sh", "/run/cni/bin/loopback", 0o755); err != nil {
		return err
	}
	return write("/run/cni/net.d/10-e2e.conflist", `{"cniVersion":"0.4.0","name":"e2e","plugins":[{"type":"e2e"}]}`, 0o644)
}

// users are the identities: user, group. The built-in roles of RBAC are bound to them.
var users = map[string][2]string{
	"admin":      {"admin", "system:masters"},
	"controller": {"system:kube-controller-manager", ""},
	"scheduler":  {"system:kube-scheduler", ""},
	"kubelet":    {"system:node:" + NodeName, "system:nodes"},
}

// credentials writes a token for each user, and the key of service accounts.
func (c *Cluster) credentials(context.Context) error {
	var tokens strings.Builder
	for name, user := range users {
		token := rand.Text()
		fmt.Fprintf(&tokens, "%s,%s,%s,%q\n", token, user[0], user[0], user[1])
		config := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: e2e, cluster: {server: %q, certificate-authority: %s/server/apiserver.crt}}]
users: [{name: %s, user: {token: %s}}]
contexts: [{name: e2e, context: {cluster: e2e, user: %s}}]
current-context: e2e
`, server, home, name, token, name)
		if err := write(filepath.Join(home, name+".kubeconfig"), config, 0o600); err != nil {
			return err
		}
		if err := write(filepath.Join(home, name+".token"), token, 0o600); err != nil {
			return err
		}
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	encoded, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: encoded})
	return errors.Join(
		write(home+"/tokens.csv", tokens.String(), 0o600),
		write(home+"/accounts.key", string(private), 0o600),
		write(home+"/accounts.pub", string(public), 0o600),
	)
}

func (c *Cluster) startEtcd(ctx context.Context) error {
	err := c.start("etcd", c.program("etcd"), "--data-dir=/var/lib/etcd", "--listen-client-urls="+etcd, "--advertise-client-urls="+etcd,
		"--listen-peer-urls=http://127.0.0.1:2380", "--unsafe-no-fsync", "--log-level=warn")
	if err != nil {
		return err
	}
	return c.until(ctx, "etcd", patience, func() error {
		connection, err := net.Dial("tcp", strings.TrimPrefix(etcd, "http://"))
		if err == nil {
			connection.Close()
		}
		return err
	})
}

func (c *Cluster) startContainerd(ctx context.Context) error {
	images, err := filepath.Glob(filepath.Join(c.Images, "*.tar"))
	if err != nil || len(images) == 0 {
		return errors.Join(err, fmt.Errorf("no images in %s", c.Images))
	}
	return c.StartContainerd(ctx, images...)
}

// StartContainerd starts containerd alone, and gives it images.
func (c *Cluster) StartContainerd(ctx context.Context, images ...string) error {
	if c.processes == nil {
		c.processes = map[string]*process{}
	}
	if err := os.MkdirAll(c.LogDir, 0o755); err != nil {
		return err
	}
	if err := install("files/containerd.toml", home+"/containerd.toml", 0o644); err != nil {
		return err
	}
	if err := c.start("containerd", "containerd", "--config", home+"/containerd.toml"); err != nil {
		return err
	}
	err := c.until(ctx, "containerd", patience, func() error {
		_, err := Ctr("version")
		return err
	})
	if err != nil {
		return err
	}
	for _, image := range images {
		if _, err := Ctr("image", "import", image); err != nil {
			return err
		}
	}
	return nil
}

// Ctr runs containerd's own client, in the namespace that the kubelet uses.
func Ctr(arguments ...string) (string, error) {
	command := exec.Command("ctr", append([]string{"--address", containerd, "--namespace", "k8s.io"}, arguments...)...)
	output, err := command.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("ctr %s: %w: %s", arguments[0], err, strings.TrimSpace(string(output)))
	}
	return string(output), nil
}

func (c *Cluster) startServer(ctx context.Context) error {
	if err := install("files/audit.yaml", home+"/audit.yaml", 0o644); err != nil {
		return err
	}
	err := c.start("kube-apiserver", c.program("kube-apiserver"), "--etcd-servers="+etcd, "--bind-address=0.0.0.0", "--secure-port=443",
		"--advertise-address="+nodeIP, "--cert-dir="+home+"/server", "--token-auth-file="+home+"/tokens.csv",
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
		"--service-account-key-file="+home+"/accounts.pub", "--service-account-signing-key-file="+home+"/accounts.key",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.96.0.0/16",
		"--endpoint-reconciler-type=none", "--kubelet-preferred-address-types=InternalIP",
		"--audit-policy-file="+home+"/audit.yaml", "--audit-log-path="+AuditLog(c.LogDir), "--v=1")
	if err != nil {
		return err
	}
	return c.until(ctx, "kube-apiserver", patience, func() error { return c.Attach(ctx) })
}

// Attach gets access to the API server that runs.
func (c *Cluster) Attach(ctx context.Context) error {
	token, err := os.ReadFile(home + "/admin.token")
	if err != nil {
		return err
	}
	c.API, err = api.NewClient(server, home+"/server/apiserver.crt", string(token), c.program("kubectl"), Kubeconfig())
	if err != nil {
		return err
	}
	return c.API.Ready(ctx)
}

// AuditLog is where the API server notes what service accounts asked for.
func AuditLog(logs string) string { return filepath.Join(logs, "audit.log") }

func (c *Cluster) startControllers(context.Context) error {
	err := c.start("kube-controller-manager", c.program("kube-controller-manager"), "--kubeconfig="+home+"/controller.kubeconfig",
		"--leader-elect=false", "--use-service-account-credentials=true", "--service-account-private-key-file="+home+"/accounts.key",
		"--root-ca-file="+home+"/server/apiserver.crt", "--cert-dir="+home+"/controller", "--bind-address=127.0.0.1", "--v=1")
	return errors.Join(err, c.start("kube-scheduler", c.program("kube-scheduler"), "--kubeconfig="+home+"/scheduler.kubeconfig",
		"--leader-elect=false", "--cert-dir="+home+"/scheduler", "--bind-address=127.0.0.1", "--v=1"))
}

// StartKubelet starts the kubelet, for the first time or again.
func (c *Cluster) StartKubelet(context.Context) error {
	if err := install("files/kubelet.yaml", home+"/kubelet.yaml", 0o644); err != nil {
		return err
	}
	arguments := []string{"--config=" + home + "/kubelet.yaml", "--kubeconfig=" + home + "/kubelet.kubeconfig",
		"--root-dir=/var/lib/kubelet", "--cert-dir=" + home + "/kubelet", "--hostname-override=" + NodeName, "--cgroup-root=/" + c.Cgroup, "--node-ip=" + nodeIP, "--v=2"}
	if c.Taints != "" {
		arguments = append(arguments, "--register-with-taints="+c.Taints)
	}
	return c.start("kubelet", c.program("kubelet"), arguments...)
}

// StartStandalone starts a kubelet that knows no cluster and runs this pod.
func (c *Cluster) StartStandalone(pod string) error {
	if err := errors.Join(install("files/kubelet.yaml", home+"/kubelet.yaml", 0o644), write(home+"/pods/pod.yaml", pod, 0o644)); err != nil {
		return err
	}
	return c.start("kubelet", c.program("kubelet"), "--config="+home+"/kubelet.yaml", "--pod-manifest-path="+home+"/pods",
		"--root-dir=/var/lib/kubelet", "--cert-dir="+home+"/kubelet", "--hostname-override="+NodeName, "--cgroup-root=/"+c.Cgroup, "--v=2")
}

// StopKubelet stops the kubelet; its pods go on.
func (c *Cluster) StopKubelet() { c.stop("kubelet") }

func (c *Cluster) nodeReady(ctx context.Context) error {
	return c.until(ctx, "kubelet", patience, func() error {
		node, err := c.API.Get(ctx, "/api/v1/nodes/"+NodeName)
		if err != nil {
			return err
		}
		if node.Condition("Ready") != "True" {
			return errors.New("the node is not ready")
		}
		_, err = c.API.Get(ctx, "/api/v1/namespaces/default/serviceaccounts/default")
		return err
	})
}

func (c *Cluster) program(name string) string { return filepath.Join(c.Bin, name) }

func install(name, path string, mode os.FileMode) error {
	text, err := files.ReadFile(name)
	if err != nil {
		return err
	}
	return write(path, string(text), mode)
}

func write(path, text string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text), mode)
}

func tool(words ...string) error {
	output, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, strings.TrimSpace(string(output)))
	}
	return nil
}

// KillContainer sends SIGKILL to the processes of a container.
func KillContainer(id string) error {
	_, err := Ctr("task", "kill", "--signal", "SIGKILL", id)
	return err
}
