// What an installed KubeRay says to an object: its CRDs (with defaults, pruning, schema and CEL) as the API server applies them, then its
// own validators, called as its reconcilers call them. Reads a request on each line of its input and answers on a line of its output.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"

	"github.com/go-logr/logr"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	ctrl "sigs.k8s.io/controller-runtime"
)

// An object, and the states of feature gates under which it is to be judged; each is a change of the defaults.
type request struct {
	Object json.RawMessage
	Gates  []map[string]bool
}

// What one set of gates makes of it.
type verdict struct {
	// "accepted", or who refuses: "schema", "decode" or a function of KubeRay.
	By string `json:"by"`
	// In the words of whoever refuses.
	Message string `json:"message,omitempty"`
	// It did not refuse but fall over.
	Panic bool `json:"panic,omitempty"`
}

// As the operator reads it, when it gets to read it, and a verdict for each set of gates.
type answer struct {
	Object map[string]any `json:"object,omitempty"`
	// Fields that the schema does not have. The API server drops them, or refuses the object if whoever sends it wants that.
	Unknown  []string  `json:"unknown,omitempty"`
	Verdicts []verdict      `json:"verdicts"`
}

func main() {
	definitions := flag.String("definitions", "", "the folder of the CRDs")
	flag.Parse()
	ctrl.SetLogger(logr.Discard())
	kinds, err := readDefinitions(*definitions)
	if err != nil {
		log.Fatal(err)
	}
	lines := bufio.NewReader(os.Stdin)
	answers := json.NewEncoder(os.Stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var request request
		if err := json.Unmarshal(line, &request); err != nil {
			log.Fatal(err)
		}
		if err := answers.Encode(judge(kinds, request)); err != nil {
			log.Fatal(err)
		}
	}
}

func judge(kinds map[string]*kind, request request) answer {
	var object map[string]any
	if err := utiljson.Unmarshal(request.Object, &object); err != nil {
		return refusedAtOnce(request, "decode", err)
	}
	name, _ := object["kind"].(string)
	kind, ok := kinds[name]
	if !ok {
		return refusedAtOnce(request, "schema", fmt.Errorf("no kind %q", name))
	}
	unknown, err := kind.admit(object)
	if err != nil {
		return refusedAtOnce(request, "schema", err)
	}
	admitted, err := json.Marshal(object)
	if err != nil {
		return refusedAtOnce(request, "decode", err)
	}
	defaults := utilfeature.DefaultMutableFeatureGate.DeepCopy()
	verdicts := make([]verdict, 0, len(request.Gates))
	for _, changes := range request.Gates {
		gates := defaults.DeepCopy()
		if err := gates.SetFromMap(changes); err != nil {
			log.Fatal(err)
		}
		utilfeature.DefaultFeatureGate = gates
		verdicts = append(verdicts, validate(name, admitted))
	}
	return answer{Object: object, Unknown: unknown, Verdicts: verdicts}
}

func refusedAtOnce(request request, by string, err error) answer {
	return answer{Verdicts: repeat(verdict{By: by, Message: err.Error()}, len(request.Gates))}
}

func repeat(verdict_ verdict, times int) []verdict {
	verdicts := make([]verdict, times)
	for i := range verdicts {
		verdicts[i] = verdict_
	}
	return verdicts
}
