// Package api talks to the Kubernetes API with the standard library: reads are plain requests, because waiting asks often;
// what a person would type goes through kubectl.
package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"
)

// ErrNotFound is the answer to a read of what does not exist.
var ErrNotFound = errors.New("not found")

// Client has one user's access.
type Client struct {
	server, token, kubectl, kubeconfig string
	http                               *http.Client
}

// NewClient trusts the server by its certificate.
func NewClient(server, certificate, token, kubectl, kubeconfig string) (*Client, error) {
	pem, err := os.ReadFile(certificate)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", certificate)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	return &Client{server: server, token: token, kubectl: kubectl, kubeconfig: kubeconfig, http: client}, nil
}

// Ready tells whether the server answers for itself and for what it needs.
func (c *Client) Ready(ctx context.Context) error {
	_, err := c.do(ctx, http.MethodGet, "/readyz", "", nil)
	return err
}

// Get reads one object, or a list.
func (c *Client) Get(ctx context.Context, path string) (Object, error) {
	text, err := c.do(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return nil, err
	}
	var object Object
	if err := json.Unmarshal(text, &object); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return object, nil
}

// List reads the objects of a collection.
func (c *Client) List(ctx context.Context, path string) ([]Object, error) {
	list, err := c.Get(ctx, path)
	if err != nil {
		return nil, err
	}
	return list.Objects("items"), nil
}

// Raw reads what is no object, such as metrics.
func (c *Client) Raw(ctx context.Context, path string) (string, error) {
	text, err := c.do(ctx, http.MethodGet, path, "", nil)
	return string(text), err
}

// Patch merges these fields (JSON) into an object.
func (c *Client) Patch(ctx context.Context, path, fields string) error {
	_, err := c.do(ctx, http.MethodPatch, path, "application/merge-patch+json", []byte(fields))
	return err
}

// Delete begins to delete an object; what is not there is deleted.
func (c *Client) Delete(ctx context.Context, path string) error {
	_, err := c.do(ctx, http.MethodDelete, path, "", nil)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

func (c *Client) do(ctx context.Context, method, path, kind string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.server+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return nil, err
	case response.StatusCode == http.StatusNotFound:
		return nil, fmt.Errorf("%s: %w", path, ErrNotFound)
	case response.StatusCode >= 300:
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, response.Status, strings.TrimSpace(string(text)))
	}
	return text, nil
}

// Kubectl runs kubectl with these arguments; its output is returned, and is in the error if it fails.
func (c *Client) Kubectl(ctx context.Context, input string, arguments ...string) (string, error) {
	command := exec.CommandContext(ctx, c.kubectl, arguments...)
	command.Env = append(os.Environ(), "KUBECONFIG="+c.kubeconfig, "NO_PROXY=*")
	command.Stdin = strings.NewReader(input)
	var output, errors bytes.Buffer
	command.Stdout, command.Stderr = &output, &errors
	if err := command.Run(); err != nil {
		return output.String(), fmt.Errorf("kubectl %s: %w: %s", strings.Join(arguments, " "), err, strings.TrimSpace(errors.String()))
	}
	return output.String(), nil
}

// Apply creates or changes objects given as YAML, in a namespace where they name none.
func (c *Client) Apply(ctx context.Context, namespace, manifest string) error {
	_, err := c.Kubectl(ctx, manifest, "-n", namespace, "apply", "--server-side", "--force-conflicts", "-f", "-")
	return err
}

// Watch sends the objects of a collection as they are and as they change, until the context ends.
func (c *Client) Watch(ctx context.Context, path string) (<-chan Object, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.server+path+"?watch=true", nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	// The usual client gives up after its timeout.
	response, err := (&http.Client{Transport: c.http.Transport}).Do(request)
	if err != nil {
		return nil, err
	}
	objects := make(chan Object)
	go func() {
		defer response.Body.Close()
		defer close(objects)
		decoder := json.NewDecoder(response.Body)
		for {
			var event struct{ Object Object }
			if decoder.Decode(&event) != nil {
				return
			}
			select {
			case objects <- event.Object:
			case <-ctx.Done():
				return
			}
		}
	}()
	return objects, nil
}
