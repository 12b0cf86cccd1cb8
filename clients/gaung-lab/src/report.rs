//! Writes the report of a run as a folder that can be handed in.

mod document;
mod figures;
mod html;
mod markdown;
mod run;
mod sections;
mod topology;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

pub use self::run::Run;
use crate::{samples::Samples, words::Language};

const SAMPLES: &str = "samples.csv";
const RUN: &str = "run.json";
const CAPTURE: &str = "capture.pcap";

/// Writes `report.html`, which stands alone, `report.md` with its figures, and the samples.
///
/// # Errors
/// What cannot be written.
pub(crate) fn write(folder: &Path, run: &Run, samples: &Samples, language: Language) -> anyhow::Result<PathBuf> {
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display())).map(|()| path)
    };
    let document = sections::of(run, samples, language)?;
    let pictures = folder.join("figures");
    fs::create_dir_all(&pictures).with_context(|| format!("cannot make {}", pictures.display()))?;
    for (name, svg) in document.figures() {
        let _ = put(&format!("figures/{name}.svg"), svg.as_bytes())?;
    }
    let _ = put(SAMPLES, samples.to_csv().as_bytes())?;
    let _ = put(RUN, serde_json::to_string_pretty(run)?.as_bytes())?;
    let _ = put("report.md", markdown::render(&document).as_bytes())?;
    put("report.html", html::render(&document).as_bytes())
}

/// Writes a capture beside the report.
///
/// # Errors
/// If it cannot be written.
pub(crate) fn write_capture(folder: &Path, pcap: &[u8]) -> anyhow::Result<()> {
    let path = folder.join(CAPTURE);
    fs::write(&path, pcap).with_context(|| format!("cannot write {}", path.display()))
}

/// Writes the report of an earlier run again, in any language; returns the page's path.
///
/// # Errors
/// If `from` holds no valid run; what cannot be written.
pub fn rewrite(from: &Path, to: &Path, language: Language) -> anyhow::Result<PathBuf> {
    let read = |name: &str| {
        let path = from.join(name);
        fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}; --from names the folder of a report", path.display()))
    };
    let run: Run = serde_json::from_str(&read(RUN)?).with_context(|| format!("{RUN} makes no sense"))?;
    let samples = Samples::from_csv(&read(SAMPLES)?).with_context(|| format!("{SAMPLES} makes no sense"))?;
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    if let Ok(pcap) = fs::read(from.join(CAPTURE)) {
        write_capture(to, &pcap)?;
    }
    write(to, &run, &samples, language)
}
