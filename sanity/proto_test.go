package sanity

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// The numbers of CSI's own options: csi_secret, and alpha_* on whatever they are set.
const (
	secretOption = 1059
	alphaOption  = 1060
)

// facts are everything that stands on the wire or marks it, one line each.
type facts map[string]bool

func compile(t *testing.T, text string) protoreflect.FileDescriptor {
	t.Helper()
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
			Accessor: protocompile.SourceAccessorFromMap(map[string]string{"csi.proto": text}),
		}),
	}
	files, err := compiler.Compile(context.Background(), "csi.proto")
	if err != nil {
		t.Fatal(err)
	}
	return files[0]
}

func collect(file protoreflect.FileDescriptor) facts {
	all := facts{}
	all.add("package %s", file.Package())
	each(file.Extensions(), func(it protoreflect.ExtensionDescriptor) {
		all.add("option %s = %d of %s", it.Name(), it.Number(), it.ContainingMessage().FullName())
	})
	each(file.Enums(), all.enum)
	each(file.Messages(), all.message)
	each(file.Services(), func(service protoreflect.ServiceDescriptor) {
		all.add("service %s alpha=%v", service.FullName(), marked(service, alphaOption))
		each(service.Methods(), func(it protoreflect.MethodDescriptor) {
			all.add("rpc %s(%s) %s stream=%v/%v alpha=%v", it.FullName(), it.Input().FullName(), it.Output().FullName(),
				it.IsStreamingClient(), it.IsStreamingServer(), marked(it, alphaOption))
		})
	})
	return all
}

func (all facts) add(format string, values ...any) {
	all[fmt.Sprintf(format, values...)] = true
}

func (all facts) enum(enum protoreflect.EnumDescriptor) {
	all.add("enum %s alpha=%v", enum.FullName(), marked(enum, alphaOption))
	each(enum.Values(), func(it protoreflect.EnumValueDescriptor) {
		all.add("value %s of %s = %d alpha=%v", it.Name(), enum.FullName(), it.Number(), marked(it, alphaOption))
	})
	for index := range enum.ReservedRanges().Len() {
		all.add("reserved %v in %s", enum.ReservedRanges().Get(index), enum.FullName())
	}
}

func (all facts) message(message protoreflect.MessageDescriptor) {
	if message.IsMapEntry() {
		return
	}
	all.add("message %s alpha=%v", message.FullName(), marked(message, alphaOption))
	each(message.Fields(), func(it protoreflect.FieldDescriptor) {
		all.add("field %s = %d %s secret=%v alpha=%v", it.FullName(), it.Number(), kind(it), marked(it, secretOption),
			marked(it, alphaOption))
	})
	for index := range message.ReservedRanges().Len() {
		all.add("reserved %v in %s", message.ReservedRanges().Get(index), message.FullName())
	}
	each(message.Enums(), all.enum)
	each(message.Messages(), all.message)
}

func kind(field protoreflect.FieldDescriptor) string {
	text := field.Cardinality().String() + " " + field.Kind().String()
	if oneof := field.ContainingOneof(); oneof != nil {
		text += " oneof " + string(oneof.Name())
	}
	switch {
	case field.IsMap():
		return fmt.Sprintf("map<%v, %v>", field.MapKey().Kind(), field.MapValue().Kind())
	case field.Message() != nil:
		return text + " " + string(field.Message().FullName())
	case field.Enum() != nil:
		return text + " " + string(field.Enum().FullName())
	}
	return text
}

// marked tells whether an option of CSI is set, from the bytes of the options: so it needs no Go type of them.
func marked(descriptor protoreflect.Descriptor, option int) bool {
	bytes, err := proto.Marshal(descriptor.Options())
	if err != nil {
		return false
	}
	return containsOption(bytes, option)
}

// containsOption looks for the field of the option with the value true.
func containsOption(bytes []byte, option int) bool {
	var wanted []byte
	for key := uint64(option) << 3; ; key >>= 7 {
		if key < 0x80 {
			wanted = append(wanted, byte(key), 1)
			break
		}
		wanted = append(wanted, byte(key)|0x80)
	}
	return strings.Contains(string(bytes), string(wanted))
}

type list[T any] interface {
	Len() int
	Get(int) T
}

func each[T any](items list[T], do func(T)) {
	for index := range items.Len() {
		do(items.Get(index))
	}
}

func differences(ours, theirs facts) []string {
	var lines []string
	for fact := range ours {
		if !theirs[fact] {
			lines = append(lines, "ours only:   "+fact)
		}
	}
	for fact := range theirs {
		if !ours[fact] {
			lines = append(lines, "theirs only: "+fact)
		}
	}
	slices.SortFunc(lines, func(a, b string) int { return cmp.Compare(a[13:], b[13:]) })
	return lines
}

func read(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../proto/csi.proto")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func official() facts {
	return collect(csi.File_csi_proto)
}

func TestOurProtoIsThatOfCSI(t *testing.T) {
	ours, theirs := collect(compile(t, read(t))), official()
	for _, difference := range differences(ours, theirs) {
		t.Error(difference)
	}
	if len(theirs) < 400 {
		t.Errorf("only %d facts were compared", len(theirs))
	}
	t.Logf("%d facts agree", len(theirs))
}

func TestEveryPlantedDifferenceIsFound(t *testing.T) {
	text := read(t)
	planted := map[string]string{
		"  string vendor_version = 2;":                             "  string vendor_version = 4;",
		"  bool ready_to_use = 5;":                                 "  int32 ready_to_use = 5;",
		"  repeated Topology requisite = 1;":                       "  Topology requisite = 1;",
		"      GET_CAPACITY = 4;":                                  "      GET_CAPACITY = 40;",
		"      reserved 11;":                                       "",
		"  string node_id = 2;":                                    "",
		"  rpc Probe(ProbeRequest) returns (ProbeResponse);":       "  rpc Probe(ProbeRequest) returns (stream ProbeResponse);",
		"  option (alpha_service) = true;":                         "",
		"  map<string, string> secrets = 4 [(csi_secret) = true];": "  map<string, string> secrets = 4;",
		"      GET_VOLUME = 12 [(alpha_enum_value) = true];":       "      GET_VOLUME = 12;",
	}
	theirs := official()
	for from, to := range maps.All(planted) {
		changed := strings.Replace(text, from, to, 1)
		if changed == text {
			t.Errorf("%q is not in the file any more", from)
			continue
		}
		if len(differences(collect(compile(t, changed)), theirs)) == 0 {
			t.Errorf("changing %q to %q was not found", from, to)
		}
	}
}
