//! Startup, liveness and readiness probes.
//!
//! HTTP and TCP probes come from the machine's side of the bridge, as a kubelet's do; commands run in the container.
//! HTTPS and gRPC probes are not there: they fail and say so.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};

use super::container::Session;

/// Where a container's probes go.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) ip: Ipv4Addr,
    /// For commands.
    pub(super) session: Arc<Session>,
}

/// A probe that goes on for as long as it is asked.
#[derive(Debug)]
pub(super) struct Prober<'a> {
    probe: &'a Probe,
    container: &'a Container,
    target: &'a Target,
    ticks: Interval,
    verdict: Verdict,
}

impl<'a> Prober<'a> {
    pub(super) fn new(probe: &'a Probe, container: &'a Container, target: &'a Target) -> Prober<'a> {
        let first = Instant::now() + seconds(probe.initial_delay_seconds, 0);
        let mut ticks = interval_at(first, seconds(probe.period_seconds, 10));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Prober {
            probe,
            container,
            target,
            ticks,
            verdict: Verdict::new(probe),
        }
    }

    /// Waits until enough outcomes in a row change the verdict; a bad one says why.
    pub(super) async fn next_verdict(&mut self) -> Result<()> {
        let patience = seconds(self.probe.timeout_seconds, 1);
        loop {
            self.ticks.tick().await;
            let attempt = timeout(patience, attempt(self.probe, self.container, self.target)).await;
            let outcome = attempt.unwrap_or_else(|_| bail!("no answer within {} s", patience.as_secs()));
            if self.verdict.settles(outcome.is_ok()) {
                return outcome;
            }
        }
    }
}

/// A probe's setting; zero means the default, as with a kubelet.
fn seconds(value: Option<i32>, default: u32) -> Duration {
    let stated = value
        .and_then(|seconds| u32::try_from(seconds).ok())
        .filter(|seconds| *seconds > 0);
    Duration::from_secs(stated.unwrap_or(default).into())
}

/// Counts outcomes until there are enough of a kind in a row.
#[derive(Debug)]
struct Verdict {
    successes_needed: i32,
    failures_needed: i32,
    settled: Option<bool>,
    last: Option<bool>,
    in_a_row: i32,
}

impl Verdict {
    fn new(probe: &Probe) -> Verdict {
        Verdict {
            successes_needed: probe.success_threshold.unwrap_or(1),
            failures_needed: probe.failure_threshold.unwrap_or(3),
            settled: None,
            last: None,
            in_a_row: 0,
        }
    }

    /// Whether this outcome changes the verdict.
    fn settles(&mut self, success: bool) -> bool {
        self.in_a_row = if self.last == Some(success) {
            self.in_a_row + 1
        } else {
            1
        };
        self.last = Some(success);
        let needed = if success {
            self.successes_needed
        } else {
            self.failures_needed
        };
        let settles = self.in_a_row >= needed && self.settled != Some(success);
        if settles {
            self.settled = Some(success);
        }
        settles
    }
}

async fn attempt(probe: &Probe, container: &Container, target: &Target) -> Result<()> {
    if let Some(exec) = &probe.exec {
        let output = target
            .session
            .run(exec.command.clone().unwrap_or_default())
            .await?;
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {}", output.status, said.trim());
        Ok(())
    } else if let Some(http) = &probe.http_get {
        ensure!(
            http.scheme.as_deref() != Some("HTTPS"),
            "the testbed has no HTTPS probes"
        );
        let port = port(&http.port, container)?;
        get(http, target.ip, port).await
    } else if let Some(tcp) = &probe.tcp_socket {
        let port = port(&tcp.port, container)?;
        TcpStream::connect((target.ip, port))
            .await
            .map(drop)
            .with_context(|| format!("connect to port {port}"))
    } else {
        bail!("the testbed has exec, httpGet and tcpSocket probes only")
    }
}

/// A number, or the name of one of the container's ports.
fn port(stated: &IntOrString, container: &Container) -> Result<u16> {
    let number = match stated {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            ports
                .find(|port| port.name.as_ref() == Some(name))
                .map(|port| port.container_port)
                .or_else(|| name.parse().ok())
                .with_context(|| format!("the container has no port named {name:?}"))?
        }
    };
    u16::try_from(number).with_context(|| format!("port {number}"))
}

/// One HTTP/1.1 request, looking at nothing but the status: 200 to 399 is good.
async fn get(http: &HTTPGetAction, ip: Ipv4Addr, port: u16) -> Result<()> {
    let path = http.path.as_deref().unwrap_or("/");
    let mut request = vec![
        format!("GET {path} HTTP/1.1"),
        format!("Host: {ip}:{port}"),
        "User-Agent: kube-probe".to_owned(),
        "Connection: close".to_owned(),
    ];
    let headers = http.http_headers.iter().flatten();
    request.extend(headers.map(|header| format!("{}: {}", header.name, header.value)));
    let request = request.join("\r\n") + "\r\n\r\n";
    let address = format!("http://{ip}:{port}{path}");
    let mut connection = TcpStream::connect((ip, port))
        .await
        .with_context(|| format!("GET {address}"))?;
    connection.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    // To the end within reason, so that the server does not meet a broken connection.
    let reading = connection.take(1 << 20).read_to_end(&mut answer).await;
    reading.with_context(|| format!("GET {address}"))?;
    let answer = String::from_utf8_lossy(&answer);
    let code = answer.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok());
    let code = code.context("not an HTTP answer")?;
    ensure!(
        (200..400).contains(&code),
        "HTTP probe failed with statuscode: {code}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_need_as_many_in_a_row_as_the_probe_says() {
        let probe = Probe {
            success_threshold: Some(2),
            failure_threshold: Some(3),
            ..Probe::default()
        };
        let mut verdict = Verdict::new(&probe);
        let story: String = "..+.++++..+..."
            .chars()
            .map(|outcome| match (verdict.settles(outcome == '+'), outcome) {
                (true, '+') => 'G',
                (true, _) => 'B',
                (false, _) => '-',
            })
            .collect();
        assert_eq!(story, "-----G-------B");
    }
}
