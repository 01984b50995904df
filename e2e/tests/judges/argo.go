package main

import (
	"encoding/json"
	"fmt"
	"path"
	"sort"
	"strings"

	lua "github.com/yuin/gopher-lua"
	luajson "layeh.com/gopher-json"
	"sigs.k8s.io/yaml"
)

// An object, what Argo CD is told about its kind, and the action asked for, if any.
type argoInput struct {
	// The ConfigMap argocd-cm, as YAML.
	Config string         `json:"config"`
	Object map[string]any `json:"object"`
	Action string         `json:"action"`
}

type override struct {
	HealthLua string `json:"health.lua"`
	Actions   string `json:"actions"`
}

type actions struct {
	Discovery   string `json:"discovery.lua"`
	Definitions []struct {
		Name string `json:"name"`
		Lua  string `json:"action.lua"`
	} `json:"definitions"`
}

func readArgo(input []byte) (argoInput, map[string]override, string, error) {
	var asked argoInput
	if err := json.Unmarshal(input, &asked); err != nil {
		return asked, nil, "", err
	}
	var config struct {
		Data map[string]string `json:"data"`
	}
	if err := yaml.UnmarshalStrict([]byte(asked.Config), &struct {
		APIVersion any                `json:"apiVersion"`
		Kind       any                `json:"kind"`
		Metadata   any                `json:"metadata"`
		Data       *map[string]string `json:"data"`
	}{Data: &config.Data}); err != nil {
		return asked, nil, "", err
	}
	overrides := map[string]override{}
	if err := yaml.UnmarshalStrict([]byte(config.Data["resource.customizations"]), &overrides); err != nil {
		return asked, nil, "", err
	}
	group, _, _ := strings.Cut(asked.Object["apiVersion"].(string), "/")
	return asked, overrides, group + "/" + asked.Object["kind"].(string), nil
}

// Health as Argo CD decides it: the script of the very kind, else that of a pattern.
func argoHealth(input []byte) (string, error) {
	asked, overrides, key, err := readArgo(input)
	if err != nil {
		return "", err
	}
	script := overrides[key].HealthLua
	for pattern, found := range overrides {
		if matches, _ := path.Match(pattern, key); matches && script == "" {
			script = found.HealthLua
		}
	}
	var health struct{ Status, Message string }
	if err := runLua(script, asked.Object, &health); err != nil {
		return "", err
	}
	switch health.Status {
	case "Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown":
		return health.Status, nil
	}
	return "", fmt.Errorf("%q is no health status", health.Status)
}

// Without an action, the names of those that may be used now; with one, the object it makes. Argo CD
// looks actions up by the very kind only.
func argoAction(input []byte) (string, error) {
	asked, overrides, key, err := readArgo(input)
	if err != nil {
		return "", err
	}
	var own actions
	if err := yaml.UnmarshalStrict([]byte(overrides[key].Actions), &own); err != nil {
		return "", err
	}
	if asked.Action == "" {
		var found map[string]struct{ Disabled bool }
		if err := runLua(own.Discovery, asked.Object, &found); err != nil {
			return "", err
		}
		var names []string
		for name, action := range found {
			if !action.Disabled {
				names = append(names, name)
			}
		}
		sort.Strings(names)
		return strings.Join(names, " "), nil
	}
	for _, definition := range own.Definitions {
		if definition.Name == asked.Action {
			var made map[string]any
			if err := runLua(definition.Lua, asked.Object, &made); err != nil {
				return "", err
			}
			text, err := json.Marshal(restored(made, asked.Object))
			return string(text), err
		}
	}
	return "", fmt.Errorf("there is no action %q", asked.Action)
}

// Lua has one kind of empty table, which comes back as a list: what was a map before is one again.
func restored(made, before any) any {
	switch was := before.(type) {
	case map[string]any:
		if list, isList := made.([]any); isList && len(list) == 0 {
			return map[string]any{}
		}
		if now, isMap := made.(map[string]any); isMap {
			for key := range now {
				now[key] = restored(now[key], was[key])
			}
		}
	case []any:
		if now, isList := made.([]any); isList {
			for i := range now {
				if i < len(was) {
					now[i] = restored(now[i], was[i])
				}
			}
		}
	}
	return made
}

// Runs a script with the global obj under the interpreter and with the libraries Argo CD gives it,
// and reads the table it returns.
func runLua(script string, object map[string]any, result any) error {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{
		{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase},
		{lua.TabLibName, lua.OpenTable}, {lua.OsLibName, lua.OpenOs},
	} {
		call := lua.P{Fn: state.NewFunction(library.open), Protect: true}
		if err := state.CallByParam(call, lua.LString(library.name)); err != nil {
			return err
		}
	}
	state.PreloadModule(lua.OsLibName, func(state *lua.LState) int {
		state.Push(state.GetGlobal(lua.OsLibName))
		return 1
	})
	state.SetGlobal("obj", luajson.DecodeValue(state, object))
	if err := state.DoString(script); err != nil {
		return err
	}
	returned := state.Get(-1)
	if returned.Type() != lua.LTTable {
		return fmt.Errorf("a table is expected, not %s", returned.Type())
	}
	text, err := luajson.Encode(returned)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, result)
}
