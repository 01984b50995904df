package main

import (
	"encoding/json"
	"fmt"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/ext"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"
)

// What kstatus, and so kpt, Flux without expressions and others, think of an object.
func kstatus(input []byte) (string, error) {
	var object unstructured.Unstructured
	if err := object.UnmarshalJSON(input); err != nil {
		return "", err
	}
	result, err := status.Compute(&object)
	if err != nil {
		return "", err
	}
	return result.Status.String(), nil
}

// An object, and a Flux Kustomization with expressions for its kind, as YAML.
type fluxInput struct {
	Kustomization string         `json:"kustomization"`
	Object        map[string]any `json:"object"`
}

// What Flux makes of an object by healthCheckExprs, in the order its RFC 9 lays down: a generation
// not observed, then inProgress, failed, current.
func flux(input []byte) (string, error) {
	var asked fluxInput
	if err := json.Unmarshal(input, &asked); err != nil {
		return "", err
	}
	var read struct {
		Spec struct {
			HealthCheckExprs []struct{ APIVersion, Kind, InProgress, Failed, Current string }
		}
	}
	if err := yaml.Unmarshal([]byte(asked.Kustomization), &read); err != nil {
		return "", err
	}
	object := unstructured.Unstructured{Object: asked.Object}
	observed, found, _ := unstructured.NestedFloat64(asked.Object, "status", "observedGeneration")
	generation, _, _ := unstructured.NestedFloat64(asked.Object, "metadata", "generation")
	if found && observed != generation {
		return "InProgress", nil
	}
	for _, exprs := range read.Spec.HealthCheckExprs {
		if exprs.APIVersion != object.GetAPIVersion() || exprs.Kind != object.GetKind() {
			continue
		}
		for _, one := range [][2]string{
			{"InProgress", exprs.InProgress}, {"Failed", exprs.Failed}, {"Current", exprs.Current},
		} {
			holds, err := evaluate(one[1], asked.Object)
			if err != nil {
				return "", fmt.Errorf("%s: %w", one[0], err)
			}
			if holds {
				return one[0], nil
			}
		}
		return "InProgress", nil
	}
	return "", fmt.Errorf("no expressions for %s", object.GetKind())
}

// The environment Flux gives its expressions: the top-level fields are the variables.
func evaluate(expr string, object map[string]any) (bool, error) {
	env, err := cel.NewEnv(cel.HomogeneousAggregateLiterals(), cel.DefaultUTCTimeZone(true),
		cel.CrossTypeNumericComparisons(true), cel.OptionalTypes(), ext.Strings(), ext.Sets(), ext.Encoders())
	if err != nil {
		return false, err
	}
	parsed, issues := env.Parse(expr)
	if issues != nil && issues.Err() != nil {
		return false, issues.Err()
	}
	program, err := env.Program(parsed, cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return false, err
	}
	value, _, err := program.Eval(object)
	if err != nil {
		return false, err
	}
	holds, isBool := value.Value().(bool)
	if !isBool {
		return false, fmt.Errorf("not a boolean: %v", value)
	}
	return holds, nil
}
