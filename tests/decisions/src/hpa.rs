//! The HorizontalPodAutoscaler's own opinion: its controller, as Kubernetes publishes it, in a program in Go that gives it simulated time, a thing to scale
//! and metrics (`tests/testbed/go/kubernetes/hpa`). We are asked by what `simulate --policy` plays.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use fastrand::Rng;
use serde_json::{Map, Value, json};
use workshop::{Cache, GoBuild, Making, dying_with_us};

const PROGRAM: &str = "hpa";
/// How often a HorizontalPodAutoscaler looks.
const SYNC_SECONDS: u32 = 15;
/// Of each course of things.
const LOOKS: usize = 40;

/// An autoscaler, and what its metrics come to over time.
#[derive(Clone, Debug)]
pub struct Course {
    least: u32,
    most: u32,
    replicas: u32,
    metrics: Vec<Metric>,
    behavior: Value,
}

#[derive(Clone, Debug)]
struct Metric {
    /// Divided among the replicas.
    average: bool,
    /// In thousandths, as all numbers here.
    goal: u64,
    series: Vec<Option<u64>>,
}

/// Kubernetes' controller.
#[derive(Debug)]
pub struct Hpa {
    folder: PathBuf,
}

impl Hpa {
    /// Built if it is not there.
    pub fn make() -> Result<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testbed/go/kubernetes");
        let mut hasher = DefaultHasher::new();
        for file in ["go.mod", "hpa/main.go"] {
            let file = folder.join(file);
            let text = std::fs::read(&file).with_context(|| format!("read {}", file.display()))?;
            text.hash(&mut hasher);
        }
        let build = GoBuild {
            folder,
            key: format!("hpa-{:016x}", hasher.finish()),
            executables: &[(PROGRAM, "./hpa")],
            flags: Vec::new(),
            linker_flags: String::new(),
        };
        let making = Making::new(|line| eprintln!("HorizontalPodAutoscaler: {line}"));
        let folder = build.make(&Cache::open()?, &making, |_| Ok(()))?;
        Ok(Self { folder })
    }

    /// How many replicas there are after each look, course by course.
    pub fn ask(&self, courses: &[Course]) -> Result<Vec<Vec<u64>>> {
        let mut program = dying_with_us(&Command::new(self.folder.join(PROGRAM)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the controller")?;
        let mut questions = BufWriter::new(program.stdin.take().expect("it was asked for"));
        let answers = BufReader::new(program.stdout.take().expect("it was asked for"));
        let told = std::thread::scope(|scope| -> Result<Vec<Vec<u64>>> {
            let asking = scope.spawn(move || {
                for course in courses {
                    writeln!(questions, "{}", course.question())?;
                }
                questions.flush()
            });
            let mut told = Vec::new();
            for line in answers.lines() {
                let line = line?;
                // After the answers it says that all went well.
                if told.len() < courses.len() {
                    let answer: Value = serde_json::from_str(&line)?;
                    told.push(serde_json::from_value(answer["replicas"].clone())?);
                }
            }
            asking
                .join()
                .expect("it only writes")
                .context("ask the controller")?;
            Ok(told)
        })?;
        ensure!(program.wait()?.success(), "the controller failed");
        Ok(told)
    }
}

impl Course {
    /// One at random.
    pub fn random(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let least = random.u32(1..4);
        let most = least + random.u32(0..30);
        let missing = *random.choice(&[0.0, 0.0, 0.15]).expect("there are some");
        let metrics = (0..random.usize(1..=2)).map(|_| Metric::random(&mut random, most, missing));
        Self {
            metrics: metrics.collect(),
            behavior: behavior(&mut random),
            least,
            most,
            replicas: random.u32(least..=most),
        }
    }

    /// How many replicas we would have after each look.
    pub fn played(&self) -> Result<Vec<u64>> {
        let told =
            rayward_autoscaler::backtest(&self.policy(), Some(&self.cluster()), &self.csv(), SYNC_SECONDS)?;
        let told: Value = serde_json::from_str(&told)?;
        let moments = told["policies"][0]["moments"]
            .as_array()
            .context("moments")?
            .iter();
        moments
            .map(|moment| moment["groups"]["g"]["replicas"].as_u64().context("replicas"))
            .collect()
    }

    fn question(&self) -> Value {
        let metrics = self.metrics.iter().enumerate().map(|(index, metric)| {
            let goal = format!("{}m", metric.goal);
            let target = if metric.average {
                json!({"type": "AverageValue", "averageValue": goal})
            } else {
                json!({"type": "Value", "value": goal})
            };
            json!({"type": "External", "external": {"metric": {"name": name(index)}, "target": target}})
        });
        let series = self.metrics.iter().enumerate();
        json!({
            "spec": {
                "minReplicas": self.least,
                "maxReplicas": self.most,
                "metrics": metrics.collect::<Vec<_>>(),
                "behavior": self.behavior,
            },
            "replicas": self.replicas,
            "series": series.map(|(index, metric)| (name(index), json!(metric.series))).collect::<Map<_, _>>(),
        })
    }

    fn policy(&self) -> Value {
        let signals = self.metrics.iter().enumerate().map(|(index, metric)| {
            let goal = if metric.average { "averageValue" } else { "value" };
            let name = name(index);
            json!({"name": name, "role": "Target", goal: format!("{}m", metric.goal), "prometheus": {"query": name}})
        });
        json!({
            "kind": "RayScalingPolicy",
            "spec": {"target": {"name": "demo"}, "groups": [{
                "name": "g",
                "signals": signals.collect::<Vec<_>>(),
                "behavior": self.behavior,
            }]},
        })
    }

    /// Nodes go as soon as nobody wants them.
    fn cluster(&self) -> Value {
        let pod = json!({"spec": {"containers": [{"name": "ray", "resources": {"limits": {"cpu": 1, "memory": "1Gi"}}}]}});
        json!({
            "apiVersion": "ray.io/v1",
            "kind": "RayCluster",
            "metadata": {"name": "demo"},
            "spec": {
                "enableInTreeAutoscaling": true,
                "autoscalerOptions": {"idleTimeoutSeconds": 0},
                "headGroupSpec": {"rayStartParams": {"num-cpus": "0"}, "template": pod},
                "workerGroupSpecs": [{
                    "groupName": "g", "replicas": self.replicas, "minReplicas": self.least, "maxReplicas": self.most,
                    "rayStartParams": {}, "template": pod,
                }],
            },
        })
    }

    fn csv(&self) -> String {
        let names = (0..self.metrics.len()).map(name);
        let mut csv = format!("time,{}\n", names.collect::<Vec<_>>().join(","));
        for look in 0..LOOKS {
            let number = |metric: &Metric| {
                let number = metric.series[look];
                number.map_or_else(String::new, |number| {
                    format!("{}.{:03}", number / 1000, number % 1000)
                })
            };
            let numbers: Vec<String> = self.metrics.iter().map(number).collect();
            csv.push_str(&format!(
                "{},{}\n",
                look * SYNC_SECONDS as usize,
                numbers.join(",")
            ));
        }
        csv
    }
}

fn name(metric: usize) -> String {
    format!("m{metric}")
}

impl Metric {
    /// It rests, wanders, leaps to and fro or is anything at all. Eighths are the same in every arithmetic.
    fn random(random: &mut Rng, most: u32, missing: f64) -> Self {
        let average = random.bool();
        let goal = random.u64(1..80) * 125;
        let top = if average { u64::from(most) * 5 / 4 + 1 } else { 3 };
        let any = |random: &mut Rng| random.u64(0..=top * 8) * goal / 8 / 125 * 125;
        let (one, other) = (any(random), any(random));
        let kind = random.u8(0..4);
        let mut now = one;
        let series = (0..LOOKS).map(|look| {
            let number = match kind {
                0 => one,
                1 => {
                    let step = goal / 2 / 125 * 125;
                    now = if random.bool() {
                        now + step
                    } else {
                        now.saturating_sub(step)
                    };
                    now
                }
                2 if look / 3 % 2 == 0 => one,
                2 => other,
                _ => any(random),
            };
            (random.f64() >= missing).then_some(number)
        });
        Self {
            average,
            goal,
            series: series.collect(),
        }
    }
}

/// The longest period is the same in both directions: Kubernetes forgets a change when that of its own direction is over, and we when both are.
fn behavior(random: &mut Rng) -> Value {
    let longest = *random.choice(&[15, 30, 60, 120]).expect("there are some");
    let mut behavior = json!({"scaleUp": scaling(random, longest)});
    if longest != SYNC_SECONDS || random.bool() {
        behavior["scaleDown"] = scaling(random, longest);
    }
    behavior
}

fn scaling(random: &mut Rng, longest: u32) -> Value {
    let mut scaling = json!({});
    if random.u8(0..4) > 0 {
        scaling["stabilizationWindowSeconds"] = (random.u32(0..8) * 20).into();
    }
    if random.u8(0..4) == 0 {
        scaling["tolerance"] = (*random.choice(&["0", "0.05", "0.25"]).expect("there are some")).into();
    }
    if random.u8(0..3) == 0 {
        scaling["selectPolicy"] = (*random
            .choice(&["Max", "Min", "Disabled"])
            .expect("there are some"))
        .into();
    }
    // Left out, they have periods of 15 seconds.
    if longest != SYNC_SECONDS || random.bool() {
        let policies = (0..random.usize(1..=2)).map(|index| {
            let period = if index == 0 {
                longest
            } else {
                random.u32(1..=longest)
            };
            if random.bool() {
                json!({"type": "Pods", "value": random.u32(1..8), "periodSeconds": period})
            } else {
                json!({"type": "Percent", "value": random.u32(5..200), "periodSeconds": period})
            }
        });
        scaling["policies"] = policies.collect();
    }
    scaling
}
