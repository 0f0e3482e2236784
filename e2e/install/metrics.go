package install

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// operation is a line such as csi_plugin_operations_seconds_sum{...,method_name="/csi.v1.Node/NodeStageVolume"} 0.5
var operation = regexp.MustCompile(`^csi_plugin_operations_seconds_(sum|count)\{.*method_name="[^"]*/([A-Za-z]+)".*\} (\S+)$`)

// Operations are the calls that the driver has answered so far, in all of its pods: how many, and how many seconds they took.
func (o *Offshoot) Operations(ctx context.Context) map[string][2]float64 {
	operations := map[string][2]float64{}
	pods, err := o.API.List(ctx, "/api/v1/namespaces/"+Namespace+"/pods")
	if err != nil {
		return operations
	}
	for _, pod := range pods {
		for line := range strings.Lines(metrics(ctx, pod.Text("status.podIP"))) {
			found := operation.FindStringSubmatch(strings.TrimSpace(line))
			if found == nil {
				continue
			}
			value, err := strconv.ParseFloat(found[3], 64)
			if err != nil {
				continue
			}
			sum := operations[found[2]]
			if found[1] == "count" {
				sum[0] += value
			} else {
				sum[1] += value
			}
			operations[found[2]] = sum
		}
	}
	return operations
}

func metrics(ctx context.Context, address string) string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+":9810/metrics", nil)
	if err != nil {
		return ""
	}
	response, err := (&http.Client{Transport: &http.Transport{}}).Do(request)
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(bufio.NewReader(response.Body))
	return string(text)
}
