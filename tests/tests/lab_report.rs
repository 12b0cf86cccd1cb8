//! `gaung lab report`: a folder that can be handed in, whose analysis says no more than its samples.
#![allow(missing_docs)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use gaung_tests::{
    needs,
    process::{Ended, Process},
    programs::program,
};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(300);

struct Desk(TempDir);

impl Desk {
    fn report(&self, folder: &str, args: &[&str]) -> Ended {
        let mut command = Command::new(program("gaung"));
        command.args(["lab", "report", "--out"]).arg(self.at(folder)).args(args);
        command.env("XDG_RUNTIME_DIR", self.0.path());
        Process::spawn(command).end_within(PATIENCE)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn read(&self, path: &str) -> String {
        let path = self.at(path);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

#[test]
fn a_report_stands_alone_and_says_no_more_than_its_samples() {
    needs!(Namespaces, Nft, Tcpdump);
    let desk = Desk(TempDir::new().expect("a temporary folder"));
    let made = desk.report("laporan", &["--quick", "--lang", "id"]).expect_code(0);
    assert_eq!(made.stdout, [desk.at("laporan/report.html").display().to_string()]);
    indonesian(&desk);
    captured(&desk.at("laporan/capture.pcap"));

    let from = desk.at("laporan").display().to_string();
    let _ = desk.report("english", &["--from", &from, "--lang", "en"]).expect_code(0);
    assert_eq!(desk.read("english/samples.csv"), desk.read("laporan/samples.csv"));
    assert!(fs::metadata(desk.at("english/capture.pcap")).expect("the capture is copied").len() > 0);
    let flat = "With multicast the sender transmits each message once";
    assert!(claims(&desk.read("english/report.md"), flat).starts_with("supported"));
    falsified(&desk, flat);

    assert_eq!(desk.report("nowhere", &["--from", "/nonexistent"]).code(), 1);
}

fn indonesian(desk: &Desk) {
    let (page, text) = (desk.read("laporan/report.html"), desk.read("laporan/report.md"));
    for section in [
        "I. Pengenalan",
        "II. Cara Kerja",
        "III. Percobaan",
        "IV. Hasil Percobaan",
        "V. Analisis",
        "VI. Tugas Tambahan",
    ] {
        assert!(page.contains(section) && text.contains(section), "{section}");
    }
    assert!(page.contains("<html lang=\"id\">"));
    for outside in ["<script", "<link", "src=", "href=", "url(", "@import", "http-equiv"] {
        assert!(!page.contains(outside), "the page needs {outside}");
    }
    let elsewhere = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!elsewhere.contains("http://") && !elsewhere.contains("https://"), "the page names another place");
    assert_eq!(page.matches("<svg").count(), text.matches("](figures/").count());
    for figure in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        assert!(desk.read(&format!("laporan/{figure}")).starts_with("<svg"), "{figure}");
    }
    let flat = "Pada multicast, pengirim memancarkan setiap pesan hanya satu kali";
    assert!(claims(&text, flat).starts_with("didukung data"), "{}", claims(&text, flat));
}

/// Multicast that cost as much as unicast: the same words are no fact any more.
fn falsified(desk: &Desk, claim: &str) {
    let samples = desk.read("english/samples.csv");
    let unicast_of = |line: &str| {
        let dear = "one-to-many,multicast,4,";
        match line.strip_prefix(dear).filter(|rest| rest.contains("sender_bytes")) {
            Some(rest) => {
                format!("{dear}{}300000", rest.rsplit_once(',').map_or("", |(front, _)| front).to_owned() + ",")
            }
            None => line.to_owned(),
        }
    };
    let changed: Vec<_> = samples.lines().map(unicast_of).collect();
    fs::write(desk.at("english/samples.csv"), changed.join("\n") + "\n").expect("the folder is ours");
    let from = desk.at("english").display().to_string();
    let _ = desk.report("english", &["--from", &from]).expect_code(0);
    let text = desk.read("english/report.md");
    let told = claims(&text, claim);
    assert!(told.starts_with("not supported.** Not supported by this run"), "{told}");
    let conclusion = text.split("## VII.").nth(1).expect("a conclusion");
    assert!(conclusion.contains(claim), "it is named at the end too: {conclusion}");
}

/// The line of the analysis that holds these words, without what stands before its verdict.
fn claims<'a>(text: &'a str, words: &str) -> &'a str {
    let line = text.lines().find(|line| line.starts_with("- **") && line.contains(words));
    line.and_then(|line| line.strip_prefix("- **")).unwrap_or_else(|| panic!("no line with {words:?}"))
}

fn captured(pcap: &Path) {
    let frames = |filter: &str| {
        let output = Command::new("tcpdump").arg("-nr").arg(pcap).arg(filter).output().expect("tcpdump can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().count()
    };
    // Three messages by each way, and to two receivers where each has its own.
    assert!(frames("udp and dst net 239.0.0.0/8") >= 3);
    assert!(frames("udp port 7405") >= 3);
    assert_eq!(frames("udp dst port 9000"), 6);
    assert!(frames("tcp port 7404") > 0);
    assert_eq!(frames("net 127.0.0.0/8"), 0, "what stays on the host is on no wire");
}
