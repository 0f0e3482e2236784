// Command oracle answers with Kubernetes' own translation library: a JSON object with an operation and its input comes in
// on each line, a JSON object with an output, an error or a panic goes out.
//
// With -bench it translates PersistentVolumes, one on each line, and reports what each of them cost.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	v1 "k8s.io/api/core/v1"
	storage "k8s.io/api/storage/v1"
)

type request struct {
	Op    string `json:"op"`
	Input struct {
		PV               *v1.PersistentVolume  `json:"pv"`
		Volume           *v1.Volume            `json:"volume"`
		PodNamespace     string                `json:"podNamespace"`
		InTreePluginName string                `json:"inTreePluginName"`
		StorageClass     *storage.StorageClass `json:"storageClass"`
		DriverName       string                `json:"driverName"`
		VolumeHandle     string                `json:"volumeHandle"`
		NodeID           string                `json:"nodeID"`
	} `json:"input"`
}

type response struct {
	Output any    `json:"output,omitempty"`
	Error  string `json:"error,omitempty"`
	Panic  string `json:"panic,omitempty"`
}

func answer(r *request) (result response) {
	defer func() {
		if cause := recover(); cause != nil {
			result = response{Panic: fmt.Sprint(cause)}
		}
	}()
	var output any
	var err error
	switch r.Op {
	case "TranslateInTreePVToCSI":
		output, err = pvToCSI(r.Input.PV)
	case "TranslateCSIPVToInTree":
		output, err = pvToInTree(r.Input.PV)
	case "TranslateInTreeInlineVolumeToCSI":
		output, err = inlineToCSI(r.Input.Volume, r.Input.PodNamespace)
	case "TranslateInTreeStorageClassToCSI":
		output, err = classToCSI(r.Input.InTreePluginName, r.Input.StorageClass)
	case "RepairVolumeHandle":
		output, err = repair(r.Input.DriverName, r.Input.VolumeHandle, r.Input.NodeID)
	default:
		err = fmt.Errorf("unknown operation %q", r.Op)
	}
	if err != nil {
		return response{Error: "error: " + err.Error()}
	}
	return response{Output: output}
}

func main() {
	bench := flag.String("bench", "", "stream or memory: translate PersistentVolumes and report the cost")
	flag.Parse()
	input := bufio.NewReaderSize(os.Stdin, 1<<20)
	output := bufio.NewWriterSize(os.Stdout, 1<<20)
	defer output.Flush()
	switch *bench {
	case "stream":
		runtime.GOMAXPROCS(1)
		stream(input, output)
		return
	case "memory":
		runtime.GOMAXPROCS(1)
		memory(input)
		return
	}
	decoder := json.NewDecoder(input)
	encoder := json.NewEncoder(output)
	encoder.SetEscapeHTML(false)
	for decoder.More() {
		var r request
		if err := decoder.Decode(&r); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if err := encoder.Encode(answer(&r)); err != nil {
			os.Exit(1)
		}
	}
}

// stream translates line by line, as a command would.
func stream(input *bufio.Reader, output *bufio.Writer) {
	scanner := bufio.NewScanner(input)
	scanner.Buffer(make([]byte, 1<<20), 1<<20)
	count := 0
	begin := cpu()
	for ; scanner.Scan(); count++ {
		var pv v1.PersistentVolume
		if json.Unmarshal(scanner.Bytes(), &pv) != nil {
			os.Exit(1)
		}
		translated, err := pvToCSI(&pv)
		if err != nil {
			continue
		}
		text, err := json.Marshal(translated)
		if err != nil {
			os.Exit(1)
		}
		output.Write(text)
		output.WriteByte('\n')
	}
	report(count, cpu()-begin)
}

// How many volumes are in memory, and how often each is translated.
const (
	inMemory = 1000
	rounds   = 100
)

// memory translates decoded volumes, there and back.
func memory(input *bufio.Reader) {
	var volumes, translated []*v1.PersistentVolume
	for decoder := json.NewDecoder(input); decoder.More() && len(volumes) < inMemory; {
		pv := new(v1.PersistentVolume)
		if decoder.Decode(pv) != nil {
			os.Exit(1)
		}
		csi, err := pvToCSI(pv)
		if err != nil {
			os.Exit(1)
		}
		volumes = append(volumes, pv)
		translated = append(translated, csi)
	}
	runtime.GC()
	there := timed(volumes, pvToCSI)
	runtime.GC()
	report(len(volumes)*rounds, there, timed(translated, pvToInTree))
}

func timed(volumes []*v1.PersistentVolume, work func(*v1.PersistentVolume) (*v1.PersistentVolume, error)) time.Duration {
	begin := cpu()
	for range rounds {
		for _, pv := range volumes {
			if _, err := work(pv); err != nil {
				os.Exit(1)
			}
		}
	}
	return cpu() - begin
}

// report writes the cost of each volume in microseconds.
func report(count int, costs ...time.Duration) {
	for _, cost := range costs {
		fmt.Fprintf(os.Stderr, "%.3f ", float64(cost.Nanoseconds())/float64(count)/1000)
	}
}

func cpu() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
