//! The user's cache folder: what was built or downloaded once is there for every later run and every checkout.
//!
//! An artefact is a folder named for everything that decides what is in it. It is made in place, because a Python environment cannot be moved,
//! behind a lock, and counts only once it holds a marker: a run that was killed in the middle leaves nothing that looks finished.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Present in a finished artefact.
const MARKER: &str = ".complete";

/// The cache folder.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `RAYWARD_CACHE`, else where the user's caches are.
    pub fn open() -> Result<Self> {
        let named = |variable: &str| {
            std::env::var_os(variable)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let root = named("RAYWARD_CACHE")
            .or_else(|| named("XDG_CACHE_HOME").map(|folder| folder.join("rayward")))
            .or_else(|| named("HOME").map(|home| home.join(".cache/rayward")))
            .context("find the cache folder: set RAYWARD_CACHE or HOME")?;
        let root = std::path::absolute(&root)?;
        fs::create_dir_all(&root).with_context(|| format!("make the cache folder {}", root.display()))?;
        Ok(Self { root })
    }

    /// The artefact `key`, made by `make` if it is not there. Others that want the same one wait and share it.
    pub fn keep(
        &self,
        key: &str,
        waiting: impl FnOnce(),
        make: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let folder = self.root.join(key);
        if folder.join(MARKER).exists() {
            return Ok(folder);
        }
        let path = self.root.join(format!("{key}.lock"));
        let lock = File::create(&path).with_context(|| format!("create {}", path.display()))?;
        if lock.try_lock().is_err() {
            waiting();
            lock.lock().with_context(|| format!("lock {}", path.display()))?;
        }
        if !folder.join(MARKER).exists() {
            if folder.exists() {
                fs::remove_dir_all(&folder)
                    .with_context(|| format!("remove the unfinished {}", folder.display()))?;
            }
            fs::create_dir_all(&folder)?;
            make(&folder)?;
            File::create(folder.join(MARKER))?;
        }
        Ok(folder)
    }

    /// Where the output of making `key` goes.
    pub fn log(&self, key: &str) -> PathBuf {
        self.root.join(format!("{key}.log"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_finished_is_made_again() -> Result<()> {
        let root = tempfile::tempdir()?;
        let cache = Cache {
            root: root.path().to_owned(),
        };
        let failed = cache.keep(
            "thing-v1",
            || (),
            |folder| {
                fs::write(folder.join("half"), "")?;
                anyhow::bail!("power cut")
            },
        );
        assert!(failed.is_err());
        let made = cache.keep(
            "thing-v1",
            || (),
            |folder| Ok(fs::write(folder.join("whole"), "")?),
        )?;
        assert!(made.join("whole").exists() && !made.join("half").exists());
        let kept = cache.keep("thing-v1", || (), |_| panic!("it is there"))?;
        assert_eq!(kept, made);
        Ok(())
    }

    #[test]
    fn those_who_come_together_share_the_work() -> Result<()> {
        let root = tempfile::tempdir()?;
        let cache = Cache {
            root: root.path().to_owned(),
        };
        let made = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    cache.keep(
                        "thing-v1",
                        || (),
                        |_| {
                            made.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                            Ok(())
                        },
                    )
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
        Ok(())
    }
}
