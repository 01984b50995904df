package main

import (
	"strings"

	grafana "github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// A dashboard as Grafana's own types read it: unknown and missing fields are errors.
func dashboard(input []byte) (string, error) {
	var read grafana.Dashboard
	if err := read.UnmarshalJSONStrict(input); complains(err) {
		return "", err
	}
	if err := read.Validate(); complains(err) {
		return "", err
	}
	return "valid", nil
}

// Lists without complaints come as errors without text.
func complains(err error) bool {
	return err != nil && strings.TrimSpace(err.Error()) != ""
}
