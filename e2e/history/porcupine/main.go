// What the linearizability checker porcupine makes of histories of one register. A line of standard input
// is a history: operations with spaces between, each "client:call:return:kind:a:b:output", where
// values are numbers and "-" is none. A return of "-" is an operation without an answer. Prints "ok",
// "illegal" or "unknown" for each.
package main

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

const none = int64(-1)

type input struct {
	kind string
	a, b int64
}

// An answer; without one every answer will do.
type output struct {
	known bool
	value int64
}

// step gives the answer of a register, and its value afterwards.
func step(state int64, in input) (int64, int64) {
	switch in.kind {
	case "read":
		return state, state
	case "write":
		return 0, in.a
	case "swap":
		return state, in.a
	case "change":
		if state == in.a {
			return 1, in.b
		}
		return 0, state
	}
	panic("an unknown kind: " + in.kind)
}

var register = porcupine.Model{
	Init: func() interface{} { return none },
	Step: func(state, in, out interface{}) (bool, interface{}) {
		answer, after := step(state.(int64), in.(input))
		wanted := out.(output)
		return !wanted.known || wanted.value == answer, after
	},
}

func number(text string, otherwise int64) int64 {
	if text == "-" {
		return otherwise
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		panic(err)
	}
	return value
}

func operation(word string) porcupine.Operation {
	parts := strings.Split(word, ":")
	return porcupine.Operation{
		ClientId: int(number(parts[0], 0)),
		Call:     number(parts[1], 0),
		Return:   number(parts[2], math.MaxInt64),
		Input:    input{kind: parts[3], a: number(parts[4], none), b: number(parts[5], none)},
		Output:   output{known: parts[2] != "-", value: number(parts[6], none)},
	}
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		var history []porcupine.Operation
		for _, word := range strings.Fields(lines.Text()) {
			history = append(history, operation(word))
		}
		result := porcupine.CheckOperationsTimeout(register, history, 10*time.Second)
		fmt.Println(strings.ToLower(string(result)))
	}
}
