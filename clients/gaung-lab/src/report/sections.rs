//! The practicum's sections, filled from what was measured.

mod results;

use super::{
    Run,
    document::{Block, Document, Figure, Table},
    topology,
};
use crate::{
    claims::{Claim, ClaimId, Conditions, Verdict, judge},
    experiment::RunSize,
    rights::Rights,
    samples::{Experiment, Metric, Samples, Series},
    words::{Label, Language, Prose, Unit, fill, number},
};

/// The whole report.
///
/// # Errors
/// If a figure cannot be drawn.
pub(super) fn of(run: &Run, samples: &Samples, language: Language) -> anyhow::Result<Document> {
    let author = Author { run, samples, language, size: if run.quick { RunSize::QUICK } else { RunSize::FULL } };
    let claims = judge(samples, Conditions { cores: run.machine.cores });
    let mut blocks = author.opening();
    blocks.extend(author.introduction());
    blocks.extend(author.way_of_working());
    blocks.extend(author.method());
    blocks.extend(author.results()?);
    blocks.extend(author.analysis(&claims));
    blocks.extend(author.four_clients());
    blocks.extend(author.conclusion(&claims));
    blocks.extend(author.repeat());
    Ok(Document { language, title: author.label(Label::Title), blocks })
}

/// Who writes it: a run, and a language.
struct Author<'a> {
    run: &'a Run,
    samples: &'a Samples,
    language: Language,
    size: RunSize,
}

impl Author<'_> {
    fn label(&self, label: Label) -> String {
        label.words(self.language).to_owned()
    }

    fn prose(&self, prose: Prose) -> Block {
        Block::Text(prose.words(self.language).to_owned())
    }

    fn heading(&self, label: Label) -> Block {
        Block::Heading(self.label(label))
    }

    fn number(&self, value: f64, places: usize) -> String {
        number(value, places, self.language)
    }

    fn opening(&self) -> Vec<Block> {
        let mut blocks = vec![self.prose(Prose::Made)];
        if self.run.quick {
            blocks.push(self.prose(Prose::Quick));
        }
        if self.run.stopped {
            blocks.push(self.prose(Prose::Partial));
        }
        blocks
    }

    fn introduction(&self) -> Vec<Block> {
        let prose = [Prose::IntroMulticast, Prose::IntroBroadcast, Prose::IntroUnicast];
        let head = self.heading(Label::Introduction);
        [head].into_iter().chain(prose.map(|prose| self.prose(prose))).collect()
    }

    fn way_of_working(&self) -> Vec<Block> {
        let prose = [Prose::WayRelay, Prose::WayHub, Prose::WayThreads, Prose::WayReceipts];
        let head = self.heading(Label::WayOfWorking);
        [head].into_iter().chain(prose.map(|prose| self.prose(prose))).collect()
    }

    fn method(&self) -> Vec<Block> {
        let topology = Figure {
            name: "topology".to_owned(),
            svg: topology::draw(self.size.members(), self.language),
            caption: Prose::FigureTopology.words(self.language).to_owned(),
        };
        let size = &self.size;
        let figures =
            [u64::from(size.burst), size.message_bytes as u64, size.lossy_burst.into(), size.repetitions.into()];
        let figures = figures.map(|figure| self.number(figure as f64, 0));
        vec![
            self.heading(Label::Method),
            Block::Subheading(self.label(Label::Topology)),
            Block::Figure(topology),
            self.prose(Prose::MethodNetwork),
            self.prose(Prose::MethodWays),
            Block::Text(fill(Prose::MethodMeasure.words(self.language), &figures)),
            self.prose(Prose::MethodLoss),
            Block::Subheading(self.label(Label::Environment)),
            Block::Table(self.environment()),
        ]
    }

    fn environment(&self) -> Table {
        let machine = &self.run.machine;
        let rights = match machine.rights {
            Rights::Root => Label::AsRoot,
            Rights::UserNamespace => Label::InUserNamespace,
        };
        let rows = [
            (Label::Processor, format!("{} × {}", machine.cores, machine.processor)),
            (Label::Memory, format!("{} MB", self.number(machine.memory_mb as f64, 0))),
            (Label::System, machine.system.clone()),
            (Label::Kernel, machine.kernel.clone()),
            (Label::Gaung, machine.gaung.clone()),
            (Label::Tools, machine.tools.join("; ")),
            (Label::Rights, self.label(rights)),
            (Label::Taken, machine.taken_at.clone()),
        ];
        let rows = rows.into_iter().map(|(label, value)| vec![self.label(label), value]).collect();
        Table::plain(vec![self.label(Label::Item), self.label(Label::Value)], rows, 2)
    }

    fn results(&self) -> anyhow::Result<Vec<Block>> {
        let mut blocks = vec![self.heading(Label::Results)];
        for &experiment in Experiment::ALL {
            if self.samples.iter().any(|sample| sample.experiment == experiment) {
                blocks.push(Block::Subheading(self.label(Label::experiment(experiment))));
                blocks.push(self.prose(Prose::about(experiment)));
                blocks.extend(results::figures(self, experiment)?);
                blocks.extend(results::tables(self, experiment));
            }
        }
        if !self.run.failures.is_empty() {
            let named =
                |name: &str| name.parse().map_or_else(|_| name.to_owned(), |e| self.label(Label::experiment(e)));
            let rows = self.run.failures.iter().map(|(name, why)| vec![named(name), why.clone()]).collect();
            let head = vec![self.label(Label::ExperimentHead), self.label(Label::FailureHead)];
            blocks.push(self.prose(Prose::Failed));
            blocks.push(Block::Table(Table::plain(head, rows, 2)));
        }
        blocks.extend(self.capture());
        Ok(blocks)
    }

    fn capture(&self) -> Vec<Block> {
        let head = Block::Subheading(self.label(Label::CaptureHead));
        let Some(kinds) = self.run.capture else { return vec![head, self.prose(Prose::NoCapture)] };
        let rows = [
            ("multicast (UDP)".to_owned(), kinds.multicast),
            ("broadcast (UDP)".to_owned(), kinds.broadcast),
            ("unicast (UDP)".to_owned(), kinds.unicast),
            ("TCP".to_owned(), kinds.tcp),
            ("IGMP".to_owned(), kinds.igmp),
            ("ARP".to_owned(), kinds.arp),
            (self.label(Label::OtherFrames), kinds.other),
        ];
        let rows = rows.into_iter().map(|(kind, count)| vec![kind, self.number(count.into(), 0)]).collect();
        let head_row = vec![self.label(Label::FrameKind), self.label(Label::Frames)];
        vec![head, self.prose(Prose::Capture), Block::Table(Table::plain(head_row, rows, 1))]
    }

    fn analysis(&self, claims: &[Claim]) -> Vec<Block> {
        let mut blocks = vec![self.heading(Label::Analysis)];
        for &experiment in Experiment::ALL {
            let about: Vec<_> = claims.iter().filter(|claim| claim.id.experiment() == experiment).collect();
            blocks.push(Block::Subheading(self.label(Label::experiment(experiment))));
            blocks.extend(about.into_iter().map(|claim| self.claim(claim)));
        }
        blocks
    }

    fn claim(&self, claim: &Claim) -> Block {
        let worth = match claim.verdict {
            Verdict::Supported => Label::Supported,
            Verdict::NotSupported => Label::NotSupported,
            Verdict::NotMeasured => Label::NotMeasured,
        };
        let sentence = claim.sentence(self.language);
        Block::Claim { verdict: claim.verdict, worth: self.label(worth), sentence }
    }

    fn four_clients(&self) -> Vec<Block> {
        let heard = |series| self.samples.median(Experiment::Receipts, series, Metric::Heard, 4);
        let heard =
            [Series::Multicast, Series::Tcp, Series::Broadcast].map(heard).into_iter().collect::<Option<Vec<_>>>();
        let told = match heard {
            Some(heard) => {
                let figures: Vec<_> = heard.into_iter().map(|part| Unit::Percent.show(part, self.language)).collect();
                Block::Text(fill(Prose::FourClients.words(self.language), &figures))
            }
            None => self.prose(Prose::FourClientsMissing),
        };
        let commands = "sudo gaung lab up --members 4\nsudo gaung lab shell m1 gaung send lobby Halo semua --receipts\n\
                        sudo gaung lab down";
        vec![self.heading(Label::FourClients), told, Block::Commands(commands.to_owned())]
    }

    fn conclusion(&self, claims: &[Claim]) -> Vec<Block> {
        let of = |verdict| claims.iter().filter(move |claim| claim.verdict == verdict);
        let counts = [
            ClaimId::ALL.len(),
            of(Verdict::Supported).count(),
            of(Verdict::NotSupported).count(),
            of(Verdict::NotMeasured).count(),
        ];
        let figures = counts.map(|count| self.number(count as f64, 0));
        let mut blocks =
            vec![self.heading(Label::Conclusion), Block::Text(fill(Prose::Conclusion.words(self.language), &figures))];
        let against: Vec<_> =
            of(Verdict::NotSupported).map(|claim| claim.id.words(self.language).expected.to_owned()).collect();
        if !against.is_empty() {
            blocks.push(self.prose(Prose::ConclusionNot));
            blocks.push(Block::List(against));
        }
        blocks
    }

    fn repeat(&self) -> Vec<Block> {
        let (code, quick) = (self.language.code(), if self.run.quick { " --quick" } else { "" });
        let whole = format!("cargo build --release\nsudo target/release/gaung lab report --lang {code}{quick}");
        let singles =
            Experiment::ALL.iter().map(|experiment| format!("sudo gaung lab experiment {}", experiment.name()));
        let singles: Vec<_> = singles.chain(["sudo gaung lab up; sudo gaung lab shell m1".to_owned()]).collect();
        vec![
            self.heading(Label::Repeat),
            self.prose(Prose::Repeat),
            Block::Commands(whole),
            self.prose(Prose::RepeatSingle),
            Block::Commands(singles.join("\n")),
        ]
    }
}
