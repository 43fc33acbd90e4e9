//! Where the offline commands put what they made: standard output or a file.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anstream::AutoStream;
use anstream::adapter::strip_str;
use anyhow::Context;

/// Prints a text, with its colours where they are welcome. Whoever stops reading has seen enough.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = AutoStream::auto(io::stdout());
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("write to standard output"),
    }
}

/// Says something beside the output. Where nobody hears it, it does not matter.
pub fn tell(line: &str) {
    let _ = writeln!(AutoStream::auto(io::stderr()), "{line}");
}

/// Writes a text, without colours, to a file: all of it or nothing. What is no plain file, such as a pipe, is written to as it is.
pub fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    let text = strip_str(text).to_string();
    write_bytes(file, text.as_bytes()).with_context(|| format!("write {}", file.display()))
}

fn write_bytes(file: &Path, bytes: &[u8]) -> io::Result<()> {
    // A link stays one.
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    if file.exists() && !file.is_file() {
        return fs::write(file, bytes);
    }
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut new = tempfile::Builder::new()
        .permissions(permissions(&file))
        .tempfile_in(folder)?;
    new.write_all(bytes)?;
    new.persist(file)?;
    Ok(())
}

/// Those of the file that is replaced, or else what any new file gets.
fn permissions(file: &Path) -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(file).map_or_else(
        |_| fs::Permissions::from_mode(0o666),
        |metadata| metadata.permissions(),
    )
}
