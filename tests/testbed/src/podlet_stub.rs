//! Stub.
use anyhow::Result;
use std::path::PathBuf;
/// A Node.
#[derive(Debug, Clone)]
pub struct NodeSpec {}
impl NodeSpec {
    /// d
    pub fn defaults() -> Vec<Self> {
        vec![]
    }
}
/// Output.
#[derive(Debug)]
pub struct Output {}
/// Podlet.
#[derive(Debug)]
pub struct Podlet {}
impl Podlet {
    /// exec
    pub async fn exec(&self, _: &str, _: &str, _: &str, _: &[String]) -> Result<Output> {
        let _ = PathBuf::new();
        anyhow::bail!("stub")
    }
}
/// main
pub fn container_main() -> Result<()> {
    anyhow::bail!("stub")
}
