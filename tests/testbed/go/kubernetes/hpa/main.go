// Asks the HorizontalPodAutoscaler of Kubernetes, as it is, what it does: the whole controller, in a bubble of simulated time, against a thing that
// can be scaled and metrics that a question tells. A line of JSON in, a line of JSON out.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"testing"
	"testing/synctest"
	"time"

	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	scaleclient "k8s.io/client-go/scale"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	defaults "k8s.io/kubernetes/pkg/apis/autoscaling/v2"
	"k8s.io/kubernetes/pkg/controller/podautoscaler"
	"k8s.io/kubernetes/pkg/controller/podautoscaler/metrics"
)

const (
	syncPeriod = 15 * time.Second
	namespace  = "default"
	name       = "demo"
)

var kind = schema.GroupVersionKind{Group: "rayward.dev", Version: "v1alpha1", Kind: "RayScalingPolicy"}

// What is asked.
type question struct {
	// Of an autoscaler with this spec, whose metrics are external ones.
	Spec autoscalingv2.HorizontalPodAutoscalerSpec `json:"spec"`
	// When there are so many replicas,
	Replicas int32 `json:"replicas"`
	// and metrics are these, in thousandths, at each of its looks; null where nobody knows.
	Series map[string][]*int64 `json:"series"`
}

// What it does: how many replicas there are after each look.
type answer struct {
	Replicas []int32 `json:"replicas"`
}

func main() {
	klog.SetLogger(klog.Logger{})
	// They would wait by the time of another bubble.
	utilruntime.ErrorHandlers = nil
	test := testing.InternalTest{Name: "answer", F: func(t *testing.T) {
		if err := answerAll(t); err != nil {
			t.Fatal(err)
		}
	}}
	// Only a test may have a bubble. This says at last, after the answers, how it has gone, and ends the program.
	testing.Main(regexp.MatchString, []testing.InternalTest{test}, nil, nil)
}

func answerAll(t *testing.T) error {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			return fmt.Errorf("read a question: %w", err)
		}
		var said answer
		synctest.Test(t, func(*testing.T) { said = ask(&asked) })
		if err := out.Encode(said); err != nil {
			return err
		}
	}
	return lines.Err()
}

func ask(asked *question) answer {
	ctx, cancel := context.WithCancel(context.Background())
	hpa := &autoscalingv2.HorizontalPodAutoscaler{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       asked.Spec,
	}
	hpa.Spec.ScaleTargetRef = autoscalingv2.CrossVersionObjectReference{
		APIVersion: kind.GroupVersion().String(), Kind: kind.Kind, Name: name,
	}
	scheme := runtime.NewScheme()
	utilruntime.Must(defaults.RegisterDefaults(scheme))
	scheme.Default(hpa)

	client := fake.NewSimpleClientset(hpa)
	factory := informers.NewSharedInformerFactory(client, 0)
	pods := factory.Core().V1().Pods()
	world := &world{series: asked.Series, pods: pods.Informer().GetIndexer()}
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{kind.GroupVersion()})
	mapper.Add(kind, meta.RESTScopeNamespace)
	controller := podautoscaler.NewHorizontalController(
		ctx, client.CoreV1(), world, client.AutoscalingV2(), mapper, world,
		factory.Autoscaling().V2().HorizontalPodAutoscalers(), pods,
		syncPeriod, 5*time.Minute, 0.1, 5*time.Minute, 30*time.Second,
	)
	go factory.Autoscaling().V2().HorizontalPodAutoscalers().Informer().Run(ctx.Done())
	go pods.Informer().Run(ctx.Done())
	// Once all is listed, which is nothing.
	synctest.Wait()
	world.scale(asked.Replicas)
	go controller.Run(ctx, 1)
	looks := 0
	for _, series := range asked.Series {
		looks = max(looks, len(series))
	}
	for len(world.after) < looks {
		time.Sleep(syncPeriod)
		synctest.Wait()
		world.looked()
	}
	cancel()
	factory.Shutdown()
	return answer{Replicas: world.after[:looks]}
}

// What the controller sees and changes.
type world struct {
	series   map[string][]*int64
	replicas int32
	// How often it has looked.
	looks int
	after []int32
	pods  cache.Indexer
}

func (w *world) looked() {
	for len(w.after) < w.looks {
		w.after = append(w.after, w.replicas)
	}
}

func (w *world) scale(replicas int32) {
	for index := range max(replicas, w.replicas) {
		pod := &v1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, Name: fmt.Sprintf("demo-%d", index), Labels: map[string]string{"app": name},
			},
			Status: v1.PodStatus{
				Phase:      v1.PodRunning,
				Conditions: []v1.PodCondition{{Type: v1.PodReady, Status: v1.ConditionTrue}},
			},
		}
		if index < replicas {
			utilruntime.Must(w.pods.Add(pod))
		} else {
			utilruntime.Must(w.pods.Delete(pod))
		}
	}
	w.replicas = replicas
}

func (w *world) Scales(string) scaleclient.ScaleInterface { return w }

func (w *world) Get(context.Context, schema.GroupResource, string, metav1.GetOptions) (*autoscalingv1.Scale, error) {
	w.looks++
	return &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       autoscalingv1.ScaleSpec{Replicas: w.replicas},
		Status:     autoscalingv1.ScaleStatus{Replicas: w.replicas, Selector: "app=" + name},
	}, nil
}

func (w *world) Update(
	_ context.Context, _ schema.GroupResource, scale *autoscalingv1.Scale, _ metav1.UpdateOptions,
) (*autoscalingv1.Scale, error) {
	w.scale(scale.Spec.Replicas)
	return scale, nil
}

func (w *world) Patch(
	context.Context, schema.GroupVersionResource, string, types.PatchType, []byte, metav1.PatchOptions,
) (*autoscalingv1.Scale, error) {
	return nil, errors.New("nobody patches")
}

func (w *world) GetExternalMetric(metric, _ string, _ labels.Selector) ([]int64, time.Time, error) {
	series := w.series[metric]
	if w.looks > len(series) || series[w.looks-1] == nil {
		return nil, time.Time{}, errors.New("nobody knows")
	}
	return []int64{*series[w.looks-1]}, time.Now(), nil
}

func (w *world) GetResourceMetric(
	context.Context, v1.ResourceName, string, labels.Selector, string,
) (metrics.PodMetricsInfo, time.Time, error) {
	return nil, time.Time{}, errors.New("there are none")
}

func (w *world) GetRawMetric(string, string, labels.Selector, labels.Selector) (metrics.PodMetricsInfo, time.Time, error) {
	return nil, time.Time{}, errors.New("there are none")
}

func (w *world) GetObjectMetric(
	string, string, *autoscalingv2.CrossVersionObjectReference, labels.Selector,
) (int64, time.Time, error) {
	return 0, time.Time{}, errors.New("there are none")
}
