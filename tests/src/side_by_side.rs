//! Three webhooks under the same load, in one world and one run: ours with all its rules, KubeRay's own, which looks at names, and an
//! echo on our server, which looks at nothing. They take turns, so that whatever else the machine does happens to all of them.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::Api;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use testbed::{Part, Role, Testbed};

use crate::bench::Form;
use crate::load::{self, Answer, Endpoint};
use crate::process::{Memory, cpu_time};
use crate::work;

/// KubeRay's sample with three groups of workers.
const SAMPLE: &str = "ray-cluster-label-selector.yaml";
const ECHO: &str = "127.0.0.1:9410";

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// How often everybody has a turn.
    pub rounds: u32,
    /// Calls a second where the time of each is taken.
    pub rate: u32,
    /// How many of them, in each round.
    pub timed_calls: u32,
    /// How many as fast as they can be answered, in each round.
    pub fast_calls: u32,
    /// Of a hundred turns, for each part that is timed by itself.
    pub batches: usize,
}

impl From<Form> for Effort {
    fn from(form: Form) -> Self {
        match form {
            // A million calls each, and half a minute at the given rate.
            Form::Full => Self {
                rounds: 5,
                rate: 1000,
                timed_calls: 6_000,
                fast_calls: 200_000,
                batches: 100,
            },
            Form::Quick => Self {
                rounds: 2,
                rate: 200,
                timed_calls: 40,
                fast_calls: 400,
                batches: 1,
            },
        }
    }
}

/// What was measured.
#[derive(Debug)]
pub struct Report {
    effort: Effort,
    review_bytes: usize,
    subjects: Vec<Subject>,
    work: String,
}

/// One of those that are compared.
#[derive(Debug)]
struct Subject {
    name: &'static str,
    endpoint: Endpoint,
    /// What it says to the one review, every time.
    answer: Answer,
    pid: i32,
    /// Bytes that were resident before the first call.
    at_rest: u64,
    /// Sorted in the end.
    times: Vec<Duration>,
    fast: Duration,
    fast_cpu: Duration,
    /// Bytes resident after the last call, and at most.
    after: u64,
    most: u64,
}

/// Has everybody answer the same review.
pub async fn run(testbed: &Testbed, effort: Effort) -> Result<Report> {
    let review = Arc::new(serde_json::to_vec(&review(testbed).await?)?);
    let review_bytes = review.len();
    let echo = Echo::start(testbed)?;
    let mut subjects = subjects(testbed, &echo, &review).await?;
    // Threads of their own, with nothing of the runtime in their way.
    let (_echo, subjects, work) = tokio::task::spawn_blocking(move || {
        for _ in 0..effort.rounds {
            for subject in &mut subjects {
                subject.round(&review, effort)?;
            }
        }
        for subject in &mut subjects {
            subject.end()?;
        }
        let work = work::markdown(&review, effort.batches)?;
        anyhow::Ok((echo, subjects, work))
    })
    .await??;
    Ok(Report {
        effort,
        review_bytes,
        subjects,
        work,
    })
}

/// What the API server sends to validating webhooks when the sample is applied: with its defaults, its metadata, and what mutating
/// webhooks have added.
async fn review(testbed: &Testbed) -> Result<Value> {
    let path = testbed.samples().join(SAMPLE);
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let sample = testbed::documents(&text)?
        .into_iter()
        .next()
        .context("a sample")?;
    let namespace = testbed.namespace("load").await?;
    let object = namespace.dry_run(&sample).await?.object;
    let groups = object["spec"]["workerGroupSpecs"].as_array().map_or(0, Vec::len);
    ensure!(groups == 3, "{SAMPLE} has {groups} groups");
    let resource = json!({"group": "ray.io", "version": "v1", "resource": "rayclusters"});
    let kind = json!({"group": "ray.io", "version": "v1", "kind": "RayCluster"});
    Ok(json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "2b0c2f5a-1b0e-4d0e-9c59-5d7f7e6b1d35",
            "kind": kind,
            "resource": resource,
            "requestKind": kind,
            "requestResource": resource,
            "name": object["metadata"]["name"],
            "namespace": object["metadata"]["namespace"],
            "operation": "CREATE",
            "userInfo": {"username": "admin", "groups": ["system:masters", "system:authenticated"]},
            "object": object,
            "oldObject": null,
            "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    }))
}

async fn subjects(testbed: &Testbed, echo: &Echo, review: &[u8]) -> Result<Vec<Subject>> {
    let tls = Arc::new(tls(testbed).await?);
    let ours = (testbed.webhook_address(0), testbed.pid(Part::Webhook(0)).await?);
    let theirs = (
        testbed.operator_webhook_address(),
        testbed.pid(Part::Operator).await?,
    );
    let subject = |name, (address, pid), path: &str| {
        let endpoint = Endpoint {
            address,
            path: format!("{path}?timeout=10s"),
            tls: tls.clone(),
        };
        let at_rest = Memory::of(pid)?.resident;
        let answer = load::call(&endpoint, review).with_context(|| format!("call {name}"))?;
        ensure!(
            answer.status == 200,
            "{name} answered {} {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        );
        let said: Value = serde_json::from_slice(&answer.body)?;
        ensure!(
            said["response"]["allowed"] == true,
            "{name} refuses KubeRay's sample: {said}"
        );
        Ok(Subject {
            name,
            endpoint,
            answer,
            pid,
            at_rest,
            times: Vec::new(),
            fast: Duration::ZERO,
            fast_cpu: Duration::ZERO,
            after: 0,
            most: 0,
        })
    };
    Ok(vec![
        subject("Rayward, all rules", ours, "/validate-ray")?,
        subject("KubeRay, names", theirs, "/validate-ray-io-v1-raycluster")?,
        subject("echo", (echo.address, echo.pid()?), "/echo")?,
    ])
}

/// Trusts what the API server trusts: our own authority, and the testbed's for the rest.
async fn tls(testbed: &Testbed) -> Result<ClientConfig> {
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(testbed.client().clone());
    let ours = configurations.get(rayward_webhook::registration::NAME).await?;
    let bundles = ours
        .webhooks
        .into_iter()
        .flatten()
        .filter_map(|webhook| webhook.client_config.ca_bundle);
    let testbeds = std::fs::read(testbed.work().join("credentials/ca.pem"))?;
    let mut roots = RootCertStore::empty();
    for bundle in bundles.map(|bundle| bundle.0).chain([testbeds]) {
        for certificate in CertificateDer::pem_slice_iter(&bundle) {
            roots.add(certificate?)?;
        }
    }
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(ring).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

impl Subject {
    fn round(&mut self, review: &[u8], effort: Effort) -> Result<()> {
        let Effort {
            rate,
            timed_calls,
            fast_calls,
            ..
        } = effort;
        let context = || format!("call {}", self.name);
        let times =
            load::at_rate(&self.endpoint, review, &self.answer, rate, timed_calls).with_context(context)?;
        let before = cpu_time(self.pid)?;
        let fast =
            load::at_full_speed(&self.endpoint, review, &self.answer, fast_calls).with_context(context)?;
        self.times.extend(times);
        self.fast += fast;
        self.fast_cpu += cpu_time(self.pid)?.saturating_sub(before);
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.times.sort_unstable();
        let memory = Memory::of(self.pid)?;
        (self.after, self.most) = (memory.resident, memory.resident_most);
        Ok(())
    }

    /// The time that this share of calls was answered within.
    fn percentile(&self, percent: f64) -> Duration {
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss
        )]
        let rank = (self.times.len() as f64 * percent / 100.0).ceil() as usize;
        self.times[rank.clamp(1, self.times.len()) - 1]
    }
}

impl Report {
    /// Three tables in Markdown.
    pub fn markdown(&self) -> String {
        let Effort {
            rounds,
            rate,
            timed_calls,
            fast_calls,
            batches: _,
        } = self.effort;
        let calls = rounds * fast_calls;
        let mut text = format!(
            "The review has {} bytes.\n\nTime to answer, in microseconds, at {rate} calls a second ({} calls):\n\n\
             | | p50 | p90 | p99 | p99.9 | longest |\n|---|---:|---:|---:|---:|---:|\n",
            self.review_bytes,
            rounds * timed_calls
        );
        for subject in &self.subjects {
            let times =
                [50.0, 90.0, 99.0, 99.9, 100.0].map(|percent| subject.percentile(percent).as_micros());
            let [p50, p90, p99, p999, longest] = times;
            write_line(
                &mut text,
                format_args!(
                    "| {} | {p50} | {p90} | {p99} | {p999} | {longest} |",
                    subject.name
                ),
            );
        }
        write_line(
            &mut text,
            format_args!(
                "\nAs fast as answers come ({calls} calls on kept connections), and memory in MiB:\n\n\
                 | | calls/s | calls/s per core | CPU per call | resident at rest | after | at most |\n|---|---:|---:|---:|---:|---:|---:|"
            ),
        );
        for subject in &self.subjects {
            let mebibytes = |bytes: u64| bytes >> 10;
            let calls = f64::from(calls);
            let cpu = subject.fast_cpu.as_secs_f64();
            let [rest, after, most] =
                [subject.at_rest, subject.after, subject.most]
                    .map(mebibytes)
                    .map(|kibibytes| {
                        f64::from(u32::try_from(kibibytes).expect("it is less than a tebibyte")) / 1024.0
                    });
            write_line(
                &mut text,
                format_args!(
                    "| {} | {:.0} | {:.0} | {:.0} us | {rest:.1} | {after:.1} | {most:.1} |",
                    subject.name,
                    calls / subject.fast.as_secs_f64(),
                    calls / cpu,
                    cpu / calls * 1e6,
                ),
            );
        }
        text + "\nBy themselves, in this process:\n\n" + &self.work
    }
}

fn write_line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a String takes everything");
}

/// The echo server, which ends when this is dropped.
struct Echo {
    address: SocketAddr,
    process: Child,
}

impl Echo {
    fn start(testbed: &Testbed) -> Result<Self> {
        let credentials = testbed.work().join("credentials");
        let process = Command::new("/proc/self/exe")
            .envs([Role::Echo.environment()])
            .arg(format!("--listen={ECHO}"))
            .arg("--tls-cert-file")
            .arg(credentials.join("server.pem"))
            .arg("--tls-key-file")
            .arg(credentials.join("server.key"))
            .spawn()
            .context("start the echo server")?;
        let mut echo = Self {
            address: ECHO.parse()?,
            process,
        };
        while std::net::TcpStream::connect(echo.address).is_err() {
            let ended = echo.process.try_wait()?;
            ensure!(ended.is_none(), "the echo server ended: {ended:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(echo)
    }

    fn pid(&self) -> Result<i32> {
        Ok(self.process.id().try_into()?)
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
