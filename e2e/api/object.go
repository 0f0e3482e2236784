package api

import (
	"fmt"
	"strings"
	"time"
)

// Object is a Kubernetes object, or a part of one, as JSON gives it.
type Object map[string]any

// At is the value at a path of field names, "status.phase"; nil where there is none.
func (o Object) At(path string) any {
	var value any = map[string]any(o)
	for field := range strings.SplitSeq(path, ".") {
		fields, ok := value.(map[string]any)
		if !ok {
			return nil
		}
		value = fields[field]
	}
	return value
}

// Text is the value at a path as text; empty where there is none.
func (o Object) Text(path string) string {
	value := o.At(path)
	if value == nil {
		return ""
	}
	return fmt.Sprint(value)
}

// Objects are the elements of the list at a path.
func (o Object) Objects(path string) []Object {
	list, _ := o.At(path).([]any)
	var objects []Object
	for _, element := range list {
		if fields, ok := element.(map[string]any); ok {
			objects = append(objects, fields)
		}
	}
	return objects
}

// Name is the object's name.
func (o Object) Name() string { return o.Text("metadata.name") }

// Annotation is the value of an annotation, whose name may hold dots.
func (o Object) Annotation(name string) string {
	annotations, _ := o.At("metadata.annotations").(map[string]any)
	value, _ := annotations[name].(string)
	return value
}

// Condition is the status of the condition of a type: "True", "False", "Unknown", or empty.
func (o Object) Condition(kind string) string { return o.condition(kind).Text("status") }

// ConditionSince is when the condition of a type came to be what it is.
func (o Object) ConditionSince(kind string) time.Time {
	return o.condition(kind).Time("lastTransitionTime")
}

func (o Object) condition(kind string) Object {
	for _, condition := range o.Objects("status.conditions") {
		if condition.Text("type") == kind {
			return condition
		}
	}
	return nil
}

// Time is the time at a path; zero where there is none.
func (o Object) Time(path string) time.Time {
	at, err := time.Parse(time.RFC3339Nano, o.Text(path))
	if err != nil {
		return time.Time{}
	}
	return at
}
