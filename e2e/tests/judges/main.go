// What the tools of others make of our files and objects, through their own code. One judge per
// subcommand; each reads standard input, answers on standard output and fails with a reason.
package main

import (
	"fmt"
	"io"
	"os"
)

var judges = map[string]func(input []byte) (string, error){
	"argo-action": argoAction,
	"argo-health": argoHealth,
	"dashboard":   dashboard,
	"flux":        flux,
	"kstatus":     kstatus,
}

func main() {
	if len(os.Args) != 2 || judges[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: judges <judge> < input")
		os.Exit(2)
	}
	input, err := io.ReadAll(os.Stdin)
	if err == nil {
		var answer string
		if answer, err = judges[os.Args[1]](input); err == nil {
			fmt.Println(answer)
			return
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
