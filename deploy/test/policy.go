package deploy

import (
	"fmt"

	"github.com/google/cel-go/cel"
	admission "k8s.io/api/admissionregistration/v1"
	"k8s.io/apiserver/pkg/cel/environment"
)

// Request is what a policy judges.
type Request struct {
	User, Node, Resource, Name string
	Old, New                   map[string]any
}

// Judge evaluates a policy as the API server does: whether it concerns the request, and what it says against it.
func Judge(policy *admission.ValidatingAdmissionPolicy, request Request) (concerned bool, denied []string, err error) {
	env, err := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion()).Env(environment.NewExpressions)
	if err != nil {
		return false, nil, err
	}
	if env, err = env.Extend(cel.Variable("object", cel.DynType), cel.Variable("oldObject", cel.DynType), cel.Variable("request", cel.DynType), cel.Variable("variables", cel.DynType)); err != nil {
		return false, nil, err
	}
	variables := map[string]any{}
	values := map[string]any{"object": null(request.New), "oldObject": null(request.Old), "request": request.cel(), "variables": variables}
	evaluate := func(expression string) (any, error) {
		ast, issues := env.Compile(expression)
		if issues.Err() != nil {
			return nil, fmt.Errorf("%s: %w", expression, issues.Err())
		}
		program, err := env.Program(ast)
		if err != nil {
			return nil, err
		}
		value, _, err := program.Eval(values)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", expression, err)
		}
		return value.Value(), nil
	}
	for _, condition := range policy.Spec.MatchConditions {
		value, err := evaluate(condition.Expression)
		if err != nil || value != true {
			return false, nil, err
		}
	}
	for _, variable := range policy.Spec.Variables {
		if variables[variable.Name], err = evaluate(variable.Expression); err != nil {
			return true, nil, err
		}
	}
	for _, validation := range policy.Spec.Validations {
		value, err := evaluate(validation.Expression)
		if err != nil {
			return true, nil, err
		}
		if value == true {
			continue
		}
		message := any(validation.Message)
		if validation.MessageExpression != "" {
			if message, err = evaluate(validation.MessageExpression); err != nil {
				return true, nil, err
			}
		}
		denied = append(denied, message.(string))
	}
	return true, denied, nil
}

func (r Request) cel() map[string]any {
	user := map[string]any{"username": r.User}
	if r.Node != "" {
		user["extra"] = map[string]any{"authentication.kubernetes.io/node-name": []string{r.Node}}
	}
	return map[string]any{"userInfo": user, "resource": map[string]any{"resource": r.Resource}, "name": r.Name}
}

func null(object map[string]any) any {
	if object == nil {
		return nil
	}
	return object
}
